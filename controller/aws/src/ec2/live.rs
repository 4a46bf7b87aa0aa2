//! The read right before and after a write: the rules of some groups with their ids and tags, by
//! DescribeSecurityGroupRules, and whether the groups still exist, by DescribeSecurityGroups.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::SecurityGroupRule;
use engine::facts::{LiveGroup, LiveRule, Tags};
use jiff::Timestamp;
use tokio::time::Instant;

use super::rules::of_row;
use super::{FILTER_VALUES, PAGE, filter, tags};
use crate::connection::Connection;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::{UniqueIds, each_page};
use crate::retry::Reads;

/// What the read role must be allowed to do for this read.
pub const IAM_ACTIONS: &[&str] = &["ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups"];

const RULES: Operation = Operation::DescribeSecurityGroupRules;
const GROUPS: Operation = Operation::DescribeSecurityGroups;

/// The groups with these ids as they are now. A group that is absent from the answer was not found by this
/// read, which alone does not prove that it was deleted.
///
/// `now` is asked before each chunk of 200 groups: that is the time by which the facts are true. The whole read ends
/// within the connection's read timeout.
///
/// # Errors
/// Any failure of any page: there is no partial answer.
pub async fn read_live(
    connection: &Connection,
    group_ids: &[String],
    now: impl Fn() -> Timestamp,
) -> Result<BTreeMap<String, LiveGroup>, AwsError> {
    let reads = connection.reads(Instant::now() + connection.read_timeout());
    let mut groups = BTreeMap::new();
    for chunk in group_ids.chunks(FILTER_VALUES) {
        let read_at = now();
        let (mut rules, tags) =
            tokio::try_join!(rules(connection, &reads, chunk), group_tags(connection, &reads, chunk))?;
        groups.extend(tags.into_iter().map(|(id, tags)| {
            let rules = rules.remove(&id).unwrap_or_default();
            (id.clone(), LiveGroup { id, rules, tags, read_at })
        }));
    }
    Ok(groups)
}

async fn rules(
    connection: &Connection,
    reads: &Reads<'_>,
    ids: &[String],
) -> Result<BTreeMap<String, Vec<LiveRule>>, AwsError> {
    let request =
        connection.read_client().describe_security_group_rules().filters(filter("group-id", ids)).max_results(PAGE);
    let mut rules: BTreeMap<String, Vec<LiveRule>> = BTreeMap::new();
    let mut seen = UniqueIds::new(RULES);
    let send = |token| request.clone().set_next_token(token).send();
    each_page(
        reads,
        RULES,
        send,
        |page| page.next_token(),
        |page| {
            for row in page.security_group_rules.unwrap_or_default() {
                let (group, rule) = convert(row)?;
                seen.insert(&rule.id)?;
                rules.entry(group).or_default().push(rule);
            }
            Ok(())
        },
    )
    .await?;
    Ok(rules)
}

fn convert(mut row: SecurityGroupRule) -> Result<(String, LiveRule), AwsError> {
    let missing = |member: &str| AwsError::unusable(RULES.name(), format!("a rule has no {member}"));
    let id = row.security_group_rule_id.take().ok_or_else(|| missing("SecurityGroupRuleId"))?;
    let group = row.group_id.take().ok_or_else(|| missing("GroupId"))?;
    let tags = tags(row.tags.take());
    let rule = of_row(row).map_err(|error| AwsError::unusable(RULES.name(), format!("{id}: {error}")))?;
    Ok((group, LiveRule { id, rule, tags }))
}

async fn group_tags(
    connection: &Connection,
    reads: &Reads<'_>,
    ids: &[String],
) -> Result<BTreeMap<String, Tags>, AwsError> {
    let request =
        connection.read_client().describe_security_groups().filters(filter("group-id", ids)).max_results(PAGE);
    let mut found = BTreeMap::new();
    let send = |token| request.clone().set_next_token(token).send();
    each_page(
        reads,
        GROUPS,
        send,
        |page| page.next_token(),
        |page| {
            for group in page.security_groups.unwrap_or_default() {
                let id = group.group_id.ok_or_else(|| AwsError::unusable(GROUPS.name(), "a group has no GroupId"))?;
                found.insert(id, tags(group.tags));
            }
            Ok(())
        },
    )
    .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::Tag;

    use super::*;

    #[test]
    fn a_row_becomes_a_rule_with_its_id_and_tags() {
        let row = || {
            SecurityGroupRule::builder()
                .security_group_rule_id("sgr-1")
                .group_id("sg-1")
                .group_owner_id("111122223333")
                .is_egress(false)
                .ip_protocol("tcp")
                .from_port(22)
                .to_port(22)
                .cidr_ipv4("10.0.0.0/8")
                .tags(Tag::builder().key("team").value("payments").build())
        };
        let (group, rule) = convert(row().build()).unwrap();
        assert_eq!((group.as_str(), rule.id.as_str()), ("sg-1", "sgr-1"));
        assert_eq!(rule.rule.grant.to_string(), "tcp/22 from 10.0.0.0/8");
        assert_eq!(rule.tags.get("team").map(String::as_str), Some("payments"));
        assert!(convert(row().set_security_group_rule_id(None).build()).is_err());
        assert!(convert(row().set_group_id(None).build()).is_err());
        assert!(convert(row().to_port(-7).build()).is_err());
    }
}
