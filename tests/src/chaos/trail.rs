//! What a run left behind: what it wrote, in order, and the state that it ended in, in words that are the same in every
//! account.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::emulator::{AccountApi, Call, Group, GroupRules, Rule, Seeded};
use crate::proxy::KubernetesWrite;

/// An AWS write, by what it does to which group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AwsWrite {
    pub(super) operation: String,
    /// The name of the group.
    pub(super) group: String,
}

/// The writes of a run, and what came of them.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    pub(super) aws: Vec<AwsWrite>,
    pub(super) kubernetes: Vec<KubernetesWrite>,
    /// Every change that was made, by its content.
    effects: BTreeMap<String, u32>,
    pub(super) end: End,
}

/// A state in lines of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Every rule and every tag of every group.
    groups: BTreeSet<String>,
    /// What the baseline says.
    status: BTreeSet<String>,
}

/// The names of what AWS has named otherwise in every account.
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    pub(super) fn of(account: &str, seeded: &Seeded) -> Self {
        let of_seed = seeded.groups.iter().chain(&seeded.prefix_lists).map(|(name, id)| (id.clone(), name.clone()));
        Self(of_seed.chain([(account.to_owned(), "account".to_owned())]).collect())
    }

    fn translate(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
    }

    fn rules(&self, rules: &GroupRules) -> BTreeSet<String> {
        let text = |direction: &str, rule: &Rule| {
            let account = rule.peer_account.as_deref().unwrap_or_default();
            let description = rule.description.as_deref().unwrap_or_default();
            self.translate(&format!("{direction} {rule} {account} # {description} {:?}", rule.tags))
        };
        let ingress = rules.ingress.iter().map(|rule| text("ingress", rule));
        ingress.chain(rules.egress.iter().map(|rule| text("egress", rule))).collect()
    }
}

/// The mutating EC2 calls among these that the program made, whatever came of them.
pub(super) fn writes(calls: Vec<Call>) -> Vec<Call> {
    let is_write = |call: &Call| call.principal.as_deref().is_some_and(|principal| principal.ends_with("-write"));
    calls.into_iter().filter(|call| is_write(call) && call.service.as_deref() == Some("ec2")).collect()
}

impl Trail {
    pub(super) fn new(calls: &[Call], kubernetes: Vec<KubernetesWrite>, names: &Names, end: End) -> Self {
        let aws = calls.iter().map(|call| AwsWrite::of(call, names)).collect();
        let mut effects = BTreeMap::new();
        for call in calls.iter().filter(|call| call.effect) {
            *effects.entry(effect(call, names)).or_default() += 1;
        }
        Self { aws, kubernetes, effects, end }
    }

    /// Fails unless this run made the same changes as another one, each once, and ended in the same state.
    pub(super) fn compare(&self, undisturbed: &Self) -> Result<()> {
        let twice: Vec<&String> = self.effects.iter().filter(|(_, count)| **count > 1).map(|(what, _)| what).collect();
        ensure!(twice.is_empty(), "made more than once: {twice:#?}");
        let changes = |trail: &Self| trail.effects.keys().cloned().collect();
        same("changes", &changes(self), &changes(undisturbed))?;
        self.end.same_groups(&undisturbed.end)?;
        same("statuses", &self.end.status, &undisturbed.end.status)
    }
}

impl AwsWrite {
    fn of(call: &Call, names: &Names) -> Self {
        let parameters = &call.parameters;
        let group = parameters.get("GroupId").or_else(|| parameters.pointer("/Resources/0")).and_then(Value::as_str);
        Self { operation: call.operation().to_owned(), group: names.translate(group.unwrap_or_default()) }
    }
}

impl fmt::Display for AwsWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ec2 {} {}", self.operation, self.group)
    }
}

/// A change in words.
fn effect(call: &Call, names: &Names) -> String {
    let changes = call.groups.iter().map(|change| {
        let (before, after) = (names.rules(&change.rules_before()), names.rules(&change.rules_after()));
        let gone = before.difference(&after).map(|rule| format!("\n  - {rule}"));
        let new = after.difference(&before).map(|rule| format!("\n  + {rule}"));
        gone.chain(new).collect::<String>()
    });
    let changes: String = changes.collect();
    let tags = call.parameters.get("Tags").map(Value::to_string).unwrap_or_default();
    format!("{}{changes} {tags}", AwsWrite::of(call, names))
}

impl End {
    /// The state of all groups, and what of the status is not a matter of time.
    pub(super) async fn read(aws: &AccountApi, region: &str, names: &Names, status: &Value) -> Result<Self> {
        let of_group = |group: &Group| {
            let tags = group.tags.iter().map(|(key, value)| format!("tag {key}={value}"));
            let lines = names.rules(&group.rules).into_iter().chain(tags);
            lines.map(|line| format!("{} {line}", group.name)).collect::<Vec<String>>()
        };
        let groups = aws.groups(region).await?.iter().flat_map(of_group).collect();
        let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
        let said = |condition: &Value| ["type", "status", "reason"].map(|field| text(condition, field)).join(" ");
        let counts = ["resources", "violations", "withheld", "failed"];
        let counts = counts.map(|field| format!("{field} {}", text(status, field)));
        Ok(Self { groups, status: conditions.map(said).chain(counts).collect() })
    }

    /// Fails unless the groups are as they are in another state.
    pub(super) fn same_groups(&self, other: &Self) -> Result<()> {
        same("rules and tags", &self.groups, &other.groups)
    }
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).map(Value::to_string).unwrap_or_default()
}

fn same(what: &str, here: &BTreeSet<String>, undisturbed: &BTreeSet<String>) -> Result<()> {
    let (more, less) = (here.difference(undisturbed), undisturbed.difference(here));
    let differing: Vec<String> =
        more.map(|line| format!("+ {line}")).chain(less.map(|line| format!("- {line}"))).collect();
    ensure!(differing.is_empty(), "{what} differ from those of the undisturbed run:\n{}", differing.join("\n"));
    Ok(())
}
