//! What a run left behind: what it wrote, in order, and the state that it ended in, in words that are the same in every
//! account.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::fleet::{Fleet, is_about_resources};
use super::names::Names;
use crate::emulator::{AccountApi, Call};
use crate::proxy::KubernetesWrite;

/// An AWS write, by what it does to which resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AwsWrite {
    pub(super) operation: String,
    /// The name of the resource.
    pub(super) resource: String,
}

/// The writes of a run, and what came of them.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    pub(super) fleet: Fleet,
    pub(super) aws: Vec<AwsWrite>,
    pub(super) kubernetes: Vec<KubernetesWrite>,
    /// Every change that was made, by its content.
    effects: BTreeMap<String, u32>,
    pub(super) end: End,
}

/// A state in lines of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    resources: BTreeSet<String>,
    /// What the baseline says.
    status: BTreeSet<String>,
}

/// The mutating calls among these that the program made, whatever came of them.
pub(super) fn writes(calls: Vec<Call>) -> Vec<Call> {
    let is_write = |call: &Call| call.principal.as_deref().is_some_and(|principal| principal.ends_with("-write"));
    calls.into_iter().filter(|call| is_write(call) && is_about_resources(call)).collect()
}

impl Trail {
    pub(super) fn new(fleet: Fleet, calls: &[Call], kubernetes: Vec<KubernetesWrite>, names: &Names, end: End) -> Self {
        let aws = calls.iter().map(|call| AwsWrite::of(fleet, call, names)).collect();
        let mut effects = BTreeMap::new();
        for call in calls.iter().filter(|call| call.effect) {
            *effects.entry(effect(fleet, call, names)).or_default() += 1;
        }
        Self { fleet, aws, kubernetes, effects, end }
    }

    /// Fails unless this run made the same changes as another one, each once, and ended in the same state.
    pub(super) fn compare(&self, undisturbed: &Self) -> Result<()> {
        let twice: Vec<&String> = self.effects.iter().filter(|(_, count)| **count > 1).map(|(what, _)| what).collect();
        ensure!(twice.is_empty(), "made more than once: {twice:#?}");
        let changes = |trail: &Self| trail.effects.keys().cloned().collect();
        same("changes", &changes(self), &changes(undisturbed))?;
        self.end.same_resources(&undisturbed.end)?;
        same("statuses", &self.end.status, &undisturbed.end.status)
    }
}

impl AwsWrite {
    fn of(fleet: Fleet, call: &Call, names: &Names) -> Self {
        Self { operation: call.operation().to_owned(), resource: fleet.target(call, names) }
    }
}

impl fmt::Display for AwsWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.resource)
    }
}

/// A change in words.
fn effect(fleet: Fleet, call: &Call, names: &Names) -> String {
    let (before, after) = fleet.states(call, names);
    let gone = before.difference(&after).map(|line| format!("\n  - {line}"));
    let new = after.difference(&before).map(|line| format!("\n  + {line}"));
    let changes: String = gone.chain(new).collect();
    let tags = call.parameters.get("Tags").map(Value::to_string).unwrap_or_default();
    format!("{}{changes} {tags}", AwsWrite::of(fleet, call, names))
}

impl End {
    /// The state of all resources, and what of the status is not a matter of time.
    pub(super) async fn read(fleet: Fleet, aws: &AccountApi, names: &Names, status: &Value) -> Result<Self> {
        let resources = fleet.state(aws, names).await?;
        let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
        let said = |condition: &Value| ["type", "status", "reason"].map(|field| text(condition, field)).join(" ");
        let counts = ["resources", "violations", "withheld", "failed"];
        let counts = counts.map(|field| format!("{field} {}", text(status, field)));
        Ok(Self { resources, status: conditions.map(said).chain(counts).collect() })
    }

    /// Fails while AWS is at work on a resource.
    pub(super) fn settled(&self) -> Result<()> {
        let moving: Vec<&String> = self.resources.iter().filter(|line| line.contains("InProgress")).collect();
        ensure!(moving.is_empty(), "updates have not ended: {moving:#?}");
        Ok(())
    }

    /// Fails unless the resources are as they are in another state.
    pub(super) fn same_resources(&self, other: &Self) -> Result<()> {
        same("resources", &self.resources, &other.resources)
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
