//! `spec.defaultGroup`: the default group of each VPC.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compiled as Parameters, Control, GroupView, Remedy};
use crate::controls::named;
use crate::controls::{About, NETWORK_INTERFACES, SECURITY_GROUPS, Setting};
use crate::edit::Withheld;
use crate::finding::{Severity, Verdict};

/// The default group of each VPC, which everything without a group of its own gets. It is in scope wherever its VPC
/// is selected, whatever its name and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefaultGroup {
    /// Whether the default group must have no rules at all, in or out. Enforce removes them only once no network interface
    /// carries the group. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<bool>,
    /// Whether a network interface that carries the default group is a violation. Reported only. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbid_use: Option<bool>,
}

impl DefaultGroup {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self { close: Some(true), forbid_use: Some(true) }
    }
}

/// This topic has switches only.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled;

impl Compiled {
    pub(super) fn new(_: Option<&DefaultGroup>) -> Self {
        Self
    }
}

/// The control whose edits rest on no interface carrying the group.
pub const DEFAULT_CLOSED: &str = "sg-default-closed";

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: DEFAULT_CLOSED,
            title: "The default security group of each VPC has no rules",
            severity: Severity::High,
            field: "defaultGroup.close",
            default: "true",
            remedy: "removes every rule, once no interface carries the group",
            since: "0.1.0",
            sources: &[SECURITY_GROUPS, NETWORK_INTERFACES],
        },
        setting: |spec| Setting::switch(spec.default_group.as_ref().and_then(|group| group.close)),
        alike: |_, _| true,
        check: check_closed,
        remedy: Some(close),
    },
    Control {
        about: About {
            id: "sg-default-unused",
            title: "No network interface uses a default security group",
            severity: Severity::Medium,
            field: "defaultGroup.forbidUse",
            default: "true",
            remedy: "report only: which group the interface needs is not known",
            since: "0.1.0",
            sources: &[SECURITY_GROUPS, NETWORK_INTERFACES],
        },
        setting: |spec| Setting::switch(spec.default_group.as_ref().and_then(|group| group.forbid_use)),
        alike: |_, _| true,
        check: check_unused,
        remedy: None,
    },
];

const NOT_DEFAULT: &str = "not the default group of its VPC";

fn check_closed(_: &Parameters, view: &GroupView<'_>) -> Verdict {
    if !view.group.is_default() {
        return Verdict::not_applicable(NOT_DEFAULT);
    }
    let rules = named(view.group.rules.iter().map(|rule| &rule.grant));
    if rules.is_empty() { Verdict::Pass } else { Verdict::fail("no rules in the default group", rules) }
}

fn close(_: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    if !view.group.is_default() {
        return Vec::new();
    }
    let held = match view.usage {
        Some(usage) if usage.interfaces == 0 => None,
        Some(_) => Some(Withheld::InUse),
        None => Some(Withheld::IncompleteKnowledge),
    };
    let remove = |index| {
        let remedy = Remedy::remove(index);
        match &held {
            None => remedy,
            Some(reason) => remedy.held_by(reason.clone()),
        }
    };
    (0..view.group.rules.len()).map(remove).collect()
}

fn check_unused(_: &Parameters, view: &GroupView<'_>) -> Verdict {
    if !view.group.is_default() {
        return Verdict::not_applicable(NOT_DEFAULT);
    }
    match view.usage.map(|usage| usage.interfaces) {
        None => Verdict::unknown("the network interfaces could not be read"),
        Some(0) => Verdict::Pass,
        Some(interfaces) => {
            Verdict::fail("no interface with the default group", format!("{interfaces} interface(s) with it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{default_group, group, view};
    use super::*;
    use crate::facts::InterfaceUse;

    #[test]
    fn a_default_group_in_use_is_reported_and_left_alone() {
        let default = default_group(&["all from sg-1", "all to 0.0.0.0/0"]);
        let mut view = view(&default);
        assert!(matches!(
            check_closed(&crate::controls::security_group::vectors::recommended(), &view),
            Verdict::Fail { .. }
        ));
        view.usage = Some(InterfaceUse { interfaces: 1, load_balancers: 0, functions: 0 });
        let remedies = close(&crate::controls::security_group::vectors::recommended(), &view);
        assert_eq!(remedies.len(), 2);
        assert!(remedies.iter().all(|remedy| matches!(remedy, Remedy::Keep { held: Some(Withheld::InUse), .. })));
        view.usage = None;
        let remedies = close(&crate::controls::security_group::vectors::recommended(), &view);
        assert!(
            remedies
                .iter()
                .all(|remedy| matches!(remedy, Remedy::Keep { held: Some(Withheld::IncompleteKnowledge), .. }))
        );
    }

    #[test]
    fn other_groups_are_not_judged() {
        let group = group(&["all from sg-1"]);
        assert_eq!(
            check_closed(&crate::controls::security_group::vectors::recommended(), &view(&group)),
            Verdict::not_applicable(NOT_DEFAULT)
        );
    }
}
