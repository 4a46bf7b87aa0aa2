//! `spec.references`: rules that refer to other groups and to prefix lists.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compiled as Parameters, Control, GroupView, Remedy};
use crate::address::AddressSet;
use crate::controls::named;
use crate::controls::{About, PREFIX_LISTS, SECURITY_GROUPS, Setting};
use crate::exposure::Audience;
use crate::facts::{Direction, Peer, Rule};
use crate::finding::{Severity, Verdict};

/// Rules that refer to other groups and to prefix lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct References {
    /// Ids of the accounts whose security groups rules may refer to, in quotes. The account that owns the group is always
    /// trusted. Recommended: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 12), regex(pattern = "^[0-9]{12}$")))]
    pub trusted_accounts: Option<Vec<String>>,
    /// Whether ingress rules may use prefix lists that hold so much of the internet that they are the world. Reported only:
    /// one list feeds many groups. Lists that AWS keeps are trusted. Recommended: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_lists_may_be_world: Option<bool>,
}

impl References {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self { trusted_accounts: Some(Vec::new()), prefix_lists_may_be_world: Some(false) }
    }
}

/// The parameters of this topic.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    trusted_accounts: Vec<String>,
}

impl Compiled {
    pub(super) fn new(references: Option<&References>) -> Self {
        let trusted_accounts = references.and_then(|references| references.trusted_accounts.clone());
        Self { trusted_accounts: trusted_accounts.unwrap_or_default() }
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "sg-no-untrusted-account-reference",
            title: "Rules reference security groups of trusted accounts only",
            severity: Severity::Medium,
            field: "references.trustedAccounts",
            default: "the account that owns the group",
            remedy: "removes the rule",
            since: "0.1.0",
            sources: &[SECURITY_GROUPS],
        },
        setting: |spec| {
            Setting::recommended(spec.references.as_ref().and_then(|references| references.trusted_accounts.as_ref()))
        },
        alike: |one, other| one.references == other.references,
        check: check_accounts,
        remedy: Some(|parameters, view| untrusted(parameters, view).map(|(index, _)| Remedy::remove(index)).collect()),
    },
    Control {
        about: About {
            id: "sg-prefix-list-no-world",
            title: "Customer prefix lists used by ingress rules hold no world ranges",
            severity: Severity::High,
            field: "references.prefixListsMayBeWorld",
            default: "false",
            remedy: "report only: one list feeds many groups and perhaps other accounts",
            since: "0.1.0",
            sources: &[SECURITY_GROUPS, PREFIX_LISTS],
        },
        setting: |spec| {
            let may = spec.references.as_ref().and_then(|references| references.prefix_lists_may_be_world);
            Setting::switch(may.map(|may| !may))
        },
        alike: |_, _| true,
        check: check_prefix_lists,
        remedy: None,
    },
];

fn untrusted<'v>(parameters: &'v Parameters, view: &'v GroupView<'_>) -> impl Iterator<Item = (usize, &'v Rule)> {
    let trusted =
        |account: &String| *account == view.group.owner || parameters.references.trusted_accounts.contains(account);
    let refers = move |rule: &Rule| matches!(&rule.grant.peer, Peer::Group { account, .. } if !trusted(account));
    view.group.rules.iter().enumerate().filter(move |(_, rule)| refers(rule))
}

fn check_accounts(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    if !view.foreign_references {
        return Verdict::Pass;
    }
    let found = named(untrusted(parameters, view).map(|(_, rule)| &rule.grant));
    if found.is_empty() { Verdict::Pass } else { Verdict::fail("references to trusted accounts only", found) }
}

fn check_prefix_lists(_: &Parameters, view: &GroupView<'_>) -> Verdict {
    if !view.prefix_lists {
        return Verdict::Pass;
    }
    let (mut world, mut unreadable) = (BTreeSet::new(), false);
    for (_, rule) in view.rules(Direction::Ingress) {
        let Peer::PrefixList(id) = &rule.grant.peer else {
            continue;
        };
        match Audience::of(&rule.grant.peer, view.lists) {
            Audience::Networks(nets) if nets.iter().copied().collect::<AddressSet>().public_size().is_world() => {
                world.insert(id.clone());
            }
            Audience::Unknown => unreadable = true,
            _ => {}
        }
    }
    if !world.is_empty() {
        Verdict::fail("no prefix list that holds the world", named(world.into_iter()))
    } else if unreadable {
        Verdict::unknown("a prefix list that a rule refers to could not be read")
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{group, remedies, verdict};
    use super::*;

    #[test]
    fn a_group_of_another_account_is_untrusted_and_its_own_is_not() {
        let group = group(&["tcp/22 from sg-1", "tcp/22 from 444455556666/sg-2"]);
        let fail = Verdict::fail("references to trusted accounts only", "tcp/22 from 444455556666/sg-2");
        assert_eq!(verdict("sg-no-untrusted-account-reference", &group), fail);
        let at = group.rules.iter().position(|rule| rule.grant.to_string().contains("sg-2")).unwrap();
        assert_eq!(remedies("sg-no-untrusted-account-reference", &group), [Remedy::remove(at)]);
    }
}
