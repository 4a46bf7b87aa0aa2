//! `ec2/prefix_lists`: the managed prefix lists that rules refer to.
//!
//! DescribeManagedPrefixLists by a filter on the ids: a list that is gone or no longer shared is
//! then absent, while naming its id would fail the whole call. GetManagedPrefixListEntries for the
//! lists of customers, once per list and version. Lists of AWS are not expanded.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::ManagedPrefixList;
use engine::facts::{Peer, PrefixList, PrefixListEntries, SecurityGroup};
use ipnet::IpNet;

use super::{FILTER_VALUES, filter};
use crate::error::{AwsError, ErrorClass};
use crate::limiter::Operation;
use crate::paging::{UniqueIds, each_page};
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["ec2:DescribeManagedPrefixLists", "ec2:GetManagedPrefixListEntries"];

const LISTS: Operation = Operation::DescribeManagedPrefixLists;
const ENTRIES: Operation = Operation::GetManagedPrefixListEntries;
/// The largest page of both operations (`MaxResults`).
const PAGE: i32 = 100;
/// The owner of AWS's own lists.
const AWS: &str = "AWS";

/// The ids of all lists that rules of the groups refer to.
pub(crate) fn referred_to(groups: &[SecurityGroup]) -> BTreeSet<String> {
    let rules = groups.iter().flat_map(|group| &group.rules);
    rules
        .filter_map(|rule| match &rule.grant.peer {
            Peer::PrefixList(id) => Some(id.clone()),
            _ => None,
        })
        .collect()
}

/// The lists with these ids, as far as the account can see them. A list whose entries it may not
/// read is `Unreadable`; a list that it cannot see at all is absent.
pub(crate) async fn observe(
    ec2: &aws_sdk_ec2::Client,
    reads: &Reads<'_>,
    ids: BTreeSet<String>,
    previous: Option<&BTreeMap<String, PrefixList>>,
) -> Result<BTreeMap<String, PrefixList>, AwsError> {
    let ids: Vec<String> = ids.into_iter().collect();
    let mut found = Vec::new();
    for chunk in ids.chunks(FILTER_VALUES) {
        describe(ec2, reads, chunk, &mut found).await?;
    }
    let mut lists = BTreeMap::new();
    for item in found {
        let (id, mut list) = convert(item)?;
        if list.owner != AWS {
            list.entries = match previous.and_then(|lists| lists.get(&id)).and_then(|old| known(old, &list)) {
                Some(entries) => entries,
                None => entries(ec2, reads, &id, list.version).await?,
            };
        }
        lists.insert(id, list);
    }
    Ok(lists)
}

async fn describe(
    ec2: &aws_sdk_ec2::Client,
    reads: &Reads<'_>,
    ids: &[String],
    found: &mut Vec<ManagedPrefixList>,
) -> Result<(), AwsError> {
    let request = ec2.describe_managed_prefix_lists().filters(filter("prefix-list-id", ids)).max_results(PAGE);
    let mut seen = UniqueIds::new(LISTS);
    let send = |token| request.clone().set_next_token(token).send();
    each_page(
        reads,
        LISTS,
        send,
        |page| page.next_token(),
        |page| {
            for list in page.prefix_lists.unwrap_or_default() {
                seen.insert(list.prefix_list_id().unwrap_or_default())?;
                found.push(list);
            }
            Ok(())
        },
    )
    .await
}

/// A list as described; the entries of a customer's list are not known yet.
fn convert(item: ManagedPrefixList) -> Result<(String, PrefixList), AwsError> {
    let id = item.prefix_list_id.ok_or_else(|| AwsError::unusable(LISTS.name(), "a list has no PrefixListId"))?;
    let missing = |member: &str| AwsError::unusable(LISTS.name(), format!("{id} has no {member}"));
    let owner = item.owner_id.ok_or_else(|| missing("OwnerId"))?;
    let list = if owner == AWS {
        // EC2 shows neither size nor version of AWS's lists.
        let weight = aws_list_weight(item.prefix_list_name.as_deref().unwrap_or_default());
        let max_entries = item.max_entries.unwrap_or(weight);
        PrefixList { owner, version: item.version.unwrap_or(0), max_entries, entries: PrefixListEntries::AwsManaged }
    } else {
        let version = item.version.ok_or_else(|| missing("Version"))?;
        let max_entries = item.max_entries.ok_or_else(|| missing("MaxEntries"))?;
        PrefixList { owner, version, max_entries, entries: PrefixListEntries::Unreadable }
    };
    Ok((id, list))
}

/// How many rules a reference to one of AWS's lists counts as ("AWS-managed prefix list weight" in the VPC user
/// guide). A list that is not in that table counts as one: too low a guess ends with a refusal by EC2 before
/// anything is removed, too high a one would hold the edit back for ever.
fn aws_list_weight(name: &str) -> i32 {
    const WEIGHTS: [(&str, i32); 6] = [
        ("cloudfront.origin-facing", 55),
        ("route53-healthchecks", 25),
        ("vpc-lattice", 10),
        ("s3express", 6),
        ("groundstation", 5),
        ("ec2-instance-connect", 2),
    ];
    WEIGHTS.iter().find(|(service, _)| name.ends_with(service)).map_or(1, |(_, weight)| *weight)
}

/// The entries that were read before, if they are of the same version.
fn known(old: &PrefixList, new: &PrefixList) -> Option<PrefixListEntries> {
    let same = old.version == new.version && old.owner == new.owner;
    (same && matches!(old.entries, PrefixListEntries::Known(_))).then(|| old.entries.clone())
}

async fn entries(
    ec2: &aws_sdk_ec2::Client,
    reads: &Reads<'_>,
    id: &str,
    version: i64,
) -> Result<PrefixListEntries, AwsError> {
    let request = ec2.get_managed_prefix_list_entries().prefix_list_id(id).target_version(version).max_results(PAGE);
    let mut nets: Vec<IpNet> = Vec::new();
    let mut seen = UniqueIds::new(ENTRIES);
    let send = |token| request.clone().set_next_token(token).send();
    let read = each_page(
        reads,
        ENTRIES,
        send,
        |page| page.next_token(),
        |page| {
            for entry in page.entries.unwrap_or_default() {
                let cidr = entry.cidr.unwrap_or_default();
                seen.insert(&cidr)?;
                let net: IpNet =
                    cidr.parse().map_err(|_| AwsError::unusable(ENTRIES.name(), format!("{id} holds {cidr:?}")))?;
                nets.push(net.trunc());
            }
            Ok(())
        },
    );
    match read.await {
        Ok(()) => {
            nets.shrink_to_fit();
            Ok(PrefixListEntries::Known(nets))
        }
        Err(error) if matches!(error.class, ErrorClass::Denied | ErrorClass::NotFound) => {
            tracing::debug!(%error, prefix_list = id, "Entries of a prefix list are not readable");
            Ok(PrefixListEntries::Unreadable)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(version: i64, entries: PrefixListEntries) -> PrefixList {
        PrefixList { owner: "111122223333".to_owned(), version, max_entries: 10, entries }
    }

    #[test]
    fn entries_are_kept_for_the_same_version_only_and_only_if_they_were_read() {
        let nets = PrefixListEntries::Known(vec!["10.0.0.0/8".parse().unwrap()]);
        let new = list(3, PrefixListEntries::Unreadable);
        assert_eq!(known(&list(3, nets.clone()), &new), Some(nets.clone()));
        assert_eq!(known(&list(2, nets), &new), None);
        assert_eq!(known(&list(3, PrefixListEntries::Unreadable), &new), None);
    }

    #[test]
    fn lists_of_aws_are_not_expanded_and_have_the_documented_weight() {
        for (name, weight) in [
            ("com.amazonaws.global.cloudfront.origin-facing", 55),
            ("com.amazonaws.eu-west-1.ipv6.route53-healthchecks", 25),
            ("com.amazonaws.eu-west-1.s3express", 6),
            ("com.amazonaws.eu-west-1.s3", 1),
            ("com.amazonaws.eu-west-1.new-service", 1),
        ] {
            let item = ManagedPrefixList::builder().prefix_list_id("pl-1").owner_id("AWS").prefix_list_name(name);
            let (_, list) = convert(item.build()).unwrap();
            assert_eq!((list.entries, list.max_entries), (PrefixListEntries::AwsManaged, weight), "{name}");
        }
    }

    #[test]
    fn a_list_of_a_customer_needs_owner_version_and_size() {
        let whole =
            || ManagedPrefixList::builder().prefix_list_id("pl-1").owner_id("111122223333").version(1).max_entries(5);
        assert!(convert(whole().build()).is_ok());
        for broken in [
            whole().set_prefix_list_id(None),
            whole().set_owner_id(None),
            whole().set_version(None),
            whole().set_max_entries(None),
        ] {
            assert!(convert(broken.build()).is_err());
        }
    }
}
