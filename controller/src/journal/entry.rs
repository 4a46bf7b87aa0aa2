//! A change set that is in the API, and how far it has got.

use crds::{
    BaselineName, ChangeSet, ChangeSetSpec, ChangeSetStatus, EditOutcome, MAX_REQUEST_IDS, OtherBaseline, Outcome,
    Phase, Undoes,
};
use engine::approval::{ChangeSetName, Warrant};
use engine::edit::BaselineRef;
use engine::facts::Location;
use engine::kind::{Cell, Kind};
use engine::plan::{PermittedResource, ResourceOutcome};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::audit::Mandate;

/// Why nobody knows what came of a resource: the process that was to change it ended first.
pub const INTERRUPTED: &str = "Interrupted";

/// Why a resource was left alone: nothing is asked for any more.
pub const NOT_ASKED_FOR: &str = "NotAskedFor";

/// A change set that is in the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Its resources, each once.
    pub resources: Vec<String>,
    /// Its status before the edits that are made now.
    pub status: ChangeSetStatus,
    /// Whether somebody decided on it: its edits may be made in several sweeps.
    pub proposed: bool,
    /// What it undoes, if it is an undo.
    pub undoes: Option<Undoes>,
    /// Whether its last status is written.
    pub closed: bool,
}

impl Entry {
    /// The entry of an object.
    pub fn of(set: &ChangeSet) -> Self {
        let (namespace, name) = (set.namespace().unwrap_or_default(), set.name_any());
        let status = set.status.clone().unwrap_or_default();
        let (resources, proposed) = (resources(&set.spec), set.spec.proposed);
        let undoes = set.spec.undoes.clone();
        Self { namespace, name, resources, status, proposed, undoes, closed: false }
    }

    /// Whether both are of the same object.
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.namespace == other.namespace
    }

    /// Whether a name is that of its object.
    pub fn is_named(&self, name: &ChangeSetName) -> bool {
        self.name == name.name && self.namespace == name.namespace
    }

    /// Whether the edits that came to this outcome are in it.
    pub fn is_of(&self, outcome: &ResourceOutcome) -> bool {
        self.holds(&outcome.warrant, &outcome.id)
    }

    /// Whether the edits of a resource are in it.
    pub fn covers(&self, resource: &PermittedResource) -> bool {
        self.holds(&resource.warrant, &resource.target.id)
    }

    fn holds(&self, warrant: &Warrant, resource: &String) -> bool {
        match warrant {
            Warrant::Approval(name) => self.is_named(name),
            Warrant::Baselines | Warrant::Rollback(_) => !self.proposed && self.resources.contains(resource),
        }
    }

    /// On whose word its edits are made.
    pub fn mandate(&self) -> Mandate {
        let Self { namespace, name, status, undoes, .. } = self;
        let undoes = undoes.as_ref();
        Mandate {
            change_set: format!("{namespace}/{name}"),
            undoes: undoes.map(|undoes| format!("{namespace}/{}", undoes.change_set)),
            approval: undoes.map(|undoes| undoes.approval.clone()),
            approved_by: undoes.map(|undoes| undoes.by.clone()).or_else(|| status.decided_by.clone()),
        }
    }

    /// How far it has got once these outcomes are known.
    pub fn progress(&self, outcomes: &[ResourceOutcome]) -> ChangeSetStatus {
        let now: Vec<EditOutcome> = outcomes.iter().filter(|outcome| self.is_of(outcome)).map(edit_outcome).collect();
        let earlier = self.status.edits.iter().filter(|old| now.iter().all(|new| new.resource != old.resource));
        let edits: Vec<EditOutcome> = earlier.cloned().chain(now.iter().cloned()).collect();
        let all_made = || edits.iter().all(|edit| edit.outcome == Outcome::Verified);
        let phase = match edits.len() < self.resources.len() {
            true => Phase::Applying,
            // What was not made of a proposal is made later, as long as it is asked for.
            false if self.proposed && !all_made() => Phase::Applying,
            false => Phase::of(&edits),
        };
        ChangeSetStatus { phase: Some(phase), edits, ..self.status.clone() }
    }

    /// How it ends when nothing more of it is made.
    pub fn ended(&self, missing: &EditOutcome) -> ChangeSetStatus {
        let mut edits = self.status.edits.clone();
        let without = self.resources.iter().filter(|id| edits.iter().all(|edit| edit.resource != **id));
        let added: Vec<EditOutcome> =
            without.map(|id| EditOutcome { resource: id.clone(), ..missing.clone() }).collect();
        edits.extend(added);
        ChangeSetStatus { phase: Some(Phase::of(&edits)), edits, ..self.status.clone() }
    }
}

/// The generation of the baseline that a change set was made for.
pub fn baseline(set: &ChangeSet) -> BaselineRef {
    let BaselineName { name, uid, generation, .. } = set.spec.baseline.clone();
    BaselineRef { kind: kind(set), namespace: set.namespace().unwrap_or_default(), name, uid, generation }
}

/// The generations of all baselines that demand edits of a change set.
pub fn baselines(set: &ChangeSet) -> impl Iterator<Item = BaselineRef> {
    let reference = |other: &OtherBaseline| {
        let OtherBaseline { namespace, name, uid, generation, .. } = other.clone();
        BaselineRef { kind: kind(set), namespace, name, uid, generation }
    };
    [baseline(set)].into_iter().chain(set.spec.other_baselines.iter().map(reference))
}

/// When a change set was proposed, rounded up: the API server keeps whole seconds.
pub fn proposed_at(set: &ChangeSet) -> Timestamp {
    let created = set.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    created.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}

/// The kind of all baselines of a change set. One of a newer version names a kind that is not known: it is in no cell, and
/// nobody asks.
fn kind(set: &ChangeSet) -> Kind {
    Kind::of(&set.spec.baseline.kind).unwrap_or(Kind::SecurityGroup)
}

/// The cell of a change set, if its kind is known.
pub fn cell(set: &ChangeSet) -> Option<Cell> {
    Some(Cell { kind: Kind::of(&set.spec.baseline.kind)?, location: location(set) })
}

/// The account and region of a change set.
pub fn location(set: &ChangeSet) -> Location {
    Location { account: set.spec.account.clone(), region: set.spec.region.clone() }
}

/// The resources of a change set, each once.
pub fn resources(spec: &ChangeSetSpec) -> Vec<String> {
    let mut resources: Vec<String> = spec.edits.iter().map(|edit| edit.resource.clone()).collect();
    resources.sort();
    resources.dedup();
    resources
}

/// The resources of which nobody knows what came of them: their change set was begun, and they have no outcome.
pub fn interrupted(set: &ChangeSet) -> Vec<String> {
    if set.phase() != Phase::Applying {
        return Vec::new();
    }
    let outcomes = || set.status.iter().flat_map(|status| &status.edits);
    let is_open = |id: &String| outcomes().all(|outcome| outcome.resource != *id);
    resources(&set.spec).into_iter().filter(is_open).collect()
}

/// What can be said of a change set that nobody works on any more.
pub fn abandoned(set: &ChangeSet, now: Timestamp) -> ChangeSetStatus {
    let entry = Entry::of(set);
    match entry.status.phase {
        None if entry.proposed => ChangeSetStatus { phase: Some(Phase::Expired), ..entry.status },
        None | Some(_) => entry.ended(&missing(Outcome::Unknown, INTERRUPTED, now)),
    }
}

/// The outcome of a resource that has none.
pub fn missing(outcome: Outcome, reason: &str, now: Timestamp) -> EditOutcome {
    EditOutcome {
        resource: String::new(),
        outcome,
        reason: Some(reason.to_owned()),
        verified_calls: 0,
        request_ids: Vec::new(),
        finished_at: Time(now),
    }
}

fn edit_outcome(resource: &ResourceOutcome) -> EditOutcome {
    let is_made = resource.outcome == engine::plan::Outcome::Verified;
    let reason = (!is_made).then(|| resource.outcome.reason().to_owned());
    EditOutcome {
        resource: resource.id.clone(),
        outcome: Outcome::from(&resource.outcome),
        reason,
        verified_calls: i32::try_from(resource.calls_verified).unwrap_or(i32::MAX),
        request_ids: resource.request_ids.iter().take(MAX_REQUEST_IDS).cloned().collect(),
        finished_at: Time(resource.finished_at),
    }
}
