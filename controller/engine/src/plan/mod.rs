//! Plans: the ordered edits of one cell, worst first, at one of three stages.
//!
//! `Plan<Proposed>` is what the controls ask for. Only the rails make a `Plan<Permitted>` of it, only acting
//! on that makes a `Plan<Applied>`, and only a `Plan<Applied>` can be reported.

mod conflict;
mod demands;
pub(crate) mod group;
pub mod narrow;
pub(crate) mod properties;
mod propose;
mod settle;

pub use demands::Say;
use jiff::Timestamp;
use propose::Proposing;

use crate::approval::Warrant;
use crate::controls::Catalogue;
use crate::controls::lambda::Functions;
use crate::controls::security_group::{DEFAULT_CLOSED, SecurityGroups};
use crate::desired::Desired;
use crate::edit::{BaselineRef, Edit, Withheld};
use crate::evaluate::Evaluation;
use crate::facts::{Inventory, Live, Location, Resource, ResourceType, Tags};
use crate::kind::{Cell, Kind};
use crate::questions::questions;
use crate::sequence::State;

/// The edits of one cell at one stage.
#[derive(Clone, Debug)]
pub struct Plan<Stage> {
    /// The kind of its baselines, and the account and region.
    pub cell: Cell,
    /// What is known at this stage.
    pub stage: Stage,
}

/// What the controls ask for, worst first.
#[derive(Clone, Debug, Default)]
pub struct Proposed {
    /// Each edit, and why it is not made if that is settled already.
    pub edits: Vec<ProposedEdit>,
    /// The baselines that had a say in it, sorted: those with a control that may make edits.
    pub baselines: Vec<BaselineRef>,
}

/// An edit that controls ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedEdit {
    /// The edit.
    pub edit: Edit,
    /// Why it is not made, as far as controls and overlap of baselines settle it.
    pub hold: Option<Withheld>,
}

/// What the rails let through, and what they hold back.
#[derive(Clone, Debug, Default)]
pub struct Permitted {
    /// Resources to change, worst first.
    pub resources: Vec<PermittedResource>,
    /// Resources with edits that nothing but an approval holds back and that no change set proposes yet, worst first.
    pub to_propose: Vec<PermittedResource>,
    /// Edits that are held back, worst first, each with its reason.
    pub withheld: Vec<WithheldEdit>,
}

/// All edits to one resource, on the facts that they were planned on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermittedResource {
    /// The resource when it was planned: anything else found before the write is a foreign change.
    pub target: Target,
    /// The edits, worst first.
    pub edits: Vec<Edit>,
    /// The baselines that had a say in the plan, sorted: another one may contradict it.
    pub baselines: Vec<BaselineRef>,
    /// On whose word.
    pub warrant: Warrant,
}

/// A resource that is to be changed, as it was when that was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is.
    pub resource_type: ResourceType,
    /// By this it is named, unique in its cell.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The account that owns it.
    pub owner: String,
    /// The VPC that it is in, empty if it is in none.
    pub vpc: String,
    /// Its tags.
    pub tags: Tags,
    /// What the edits rest on.
    pub planned: State,
}

impl Target {
    /// A resource, and what the edits of it rest on.
    pub fn new(resource: Resource<'_>, planned: State) -> Self {
        let Resource { resource_type, id, name, owner, vpc, tags, location: _ } = resource;
        Self {
            resource_type,
            id: id.to_owned(),
            name: name.to_owned(),
            owner: owner.to_owned(),
            vpc: vpc.to_owned(),
            tags: tags.clone(),
            planned,
        }
    }

    /// Whether a live read shows the tags by which the resource was selected, exempt or owned, if it shows all of them. Those
    /// of a security group are a part of its state.
    pub fn has_tags_of(&self, live: &Live) -> bool {
        match live {
            Live::Function(function) => function.tags.as_ref().is_none_or(|tags| *tags == self.tags),
            Live::Group(_) => true,
        }
    }

    /// Who it is.
    pub fn resource<'a>(&'a self, location: &'a Location) -> Resource<'a> {
        let Self { resource_type, id, name, owner, vpc, tags, planned: _ } = self;
        Resource { resource_type: *resource_type, id, name, owner, vpc, tags, location }
    }
}

/// An edit that is not made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithheldEdit {
    /// The edit.
    pub edit: Edit,
    /// Why not.
    pub reason: Withheld,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What happened to each resource that was to be changed.
    pub outcomes: Vec<ResourceOutcome>,
    /// Edits that were held back.
    pub withheld: Vec<WithheldEdit>,
}

/// What happened to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceOutcome {
    /// Id of the resource.
    pub id: String,
    /// The edits that were to be made.
    pub edits: Vec<Edit>,
    /// On whose word.
    pub warrant: Warrant,
    /// What came of them.
    pub outcome: Outcome,
    /// How many calls were seen to have taken effect.
    pub calls_verified: usize,
    /// AWS's ids of the write requests, for the audit trail.
    pub request_ids: Vec<String>,
    /// When that was known.
    pub finished_at: Timestamp,
}

impl ResourceOutcome {
    /// Whether it is certain that nothing was written.
    pub fn is_untouched(&self) -> bool {
        matches!(self.outcome, Outcome::Withheld(_)) && self.calls_verified == 0
    }
}

/// What came of the edits to one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Written, read back, and as planned.
    Verified,
    /// A call was not made; the reason is one of the rails', found right before it.
    Withheld(Withheld),
    /// AWS refused a call, or the state after a call is not as planned. What was added stays, nothing
    /// more is removed, and the next sweep plans anew.
    Failed(Failure),
}

impl Outcome {
    /// The reason as it stands in change sets and in the audit trail.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Verified => "Verified",
            Self::Withheld(reason) => reason.reason(),
            Self::Failed(failure) => failure.reason(),
        }
    }

    /// What it is, and what to do about it.
    pub fn explain(&self) -> String {
        match self {
            Self::Verified => "made".to_owned(),
            Self::Withheld(reason) => reason.explain(),
            Self::Failed(failure) => failure.advice().to_owned(),
        }
    }

    /// Whether a call was sent and nobody saw what came of it.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Failed(Failure::OutcomeUnknown | Failure::NotVerified))
    }
}

/// Why a resource could not be changed, by what a person has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The write role lacks a permission.
    WriteDenied,
    /// The group is full although it seemed to have room.
    RuleQuota,
    /// The account has not enough concurrency left although it seemed to have.
    ConcurrencyQuota,
    /// AWS no longer lets functions with this runtime be updated.
    RuntimeBlocked,
    /// The key cannot be used: it is denied to the function or to Baseward, disabled, or gone.
    KeyUnusable,
    /// The execution role of the function is gone, or Lambda may not assume it.
    RoleUnusable,
    /// AWS took the update and could not carry it out.
    UpdateFailed,
    /// AWS throttled the write, or the own rate limit left no time for it.
    Throttled,
    /// The resource is gone.
    NotFound,
    /// The outcome of a write is not known, and the read that followed did not show it.
    OutcomeUnknown,
    /// The read that followed a write does not show what was planned.
    NotVerified,
    /// The request never left this process: no connection, no credentials, or no role to write with.
    NotSent,
    /// AWS refused the write for another reason.
    Refused,
}

impl Failure {
    /// Every failure.
    pub const ALL: [Self; 13] = [
        Self::WriteDenied,
        Self::RuleQuota,
        Self::ConcurrencyQuota,
        Self::RuntimeBlocked,
        Self::KeyUnusable,
        Self::RoleUnusable,
        Self::UpdateFailed,
        Self::Throttled,
        Self::NotFound,
        Self::OutcomeUnknown,
        Self::NotVerified,
        Self::NotSent,
        Self::Refused,
    ];

    /// Whether the next try may well succeed. What is read after a write is not what was planned also if somebody changed
    /// the resource meanwhile.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Throttled | Self::OutcomeUnknown | Self::NotVerified | Self::NotSent => true,
            Self::WriteDenied
            | Self::RuleQuota
            | Self::ConcurrencyQuota
            | Self::RuntimeBlocked
            | Self::KeyUnusable
            | Self::RoleUnusable
            | Self::UpdateFailed
            | Self::NotFound
            | Self::Refused => false,
        }
    }

    /// The reason as it stands in status and change sets.
    pub fn reason(self) -> &'static str {
        match self {
            Self::WriteDenied => "WriteDenied",
            Self::RuleQuota => "RuleQuota",
            Self::ConcurrencyQuota => "ConcurrencyQuota",
            Self::RuntimeBlocked => "RuntimeBlocked",
            Self::KeyUnusable => "KeyUnusable",
            Self::RoleUnusable => "RoleUnusable",
            Self::UpdateFailed => "UpdateFailed",
            Self::Throttled => "Throttled",
            Self::NotFound => "NotFound",
            Self::OutcomeUnknown => "OutcomeUnknown",
            Self::NotVerified => "NotVerified",
            Self::NotSent => "NotSent",
            Self::Refused => "Refused",
        }
    }

    /// What went wrong and what to do, in one sentence.
    pub fn advice(self) -> &'static str {
        match self {
            Self::WriteDenied => "AWS denied the write: attach the write policy of Baseward to the writeRole",
            Self::RuleQuota => "the group is full: remove rules, or raise the quota and spec.rulesPerSecurityGroup",
            Self::ConcurrencyQuota => {
                "too little concurrency is left: lower reservations, or raise the account's quota"
            }
            Self::RuntimeBlocked => {
                "AWS no longer lets this runtime be updated: deploy the function with a supported one"
            }
            Self::KeyUnusable => {
                "the KMS key cannot be used: check that it is enabled and that its policy lets the function use it"
            }
            Self::RoleUnusable => "the function's execution role is gone or cannot be assumed: mend the role",
            Self::UpdateFailed => "AWS could not carry out the update: the controller's log tells the reason code",
            Self::Throttled => "AWS throttled the write: it is tried again; raise rateShare if that lasts",
            Self::NotFound => "the resource is gone: nothing to do",
            Self::OutcomeUnknown => "AWS did not say whether it wrote, and it does not show: it is planned anew",
            Self::NotVerified => "what was read after the write is not what was planned: it is planned anew",
            Self::NotSent => "the write could not be sent to AWS: it is tried again; the controller's log tells why",
            Self::Refused => "AWS refused the write: the controller's log tells AWS's words",
        }
    }
}

/// The baselines that have a control which may make edits, at least once they are approved, sorted.
pub(crate) fn with_a_say(desired: &[Desired]) -> Vec<BaselineRef> {
    let speaking = desired.iter().filter(|desired| desired.has_a_say());
    let mut references: Vec<_> = speaking.map(|desired| desired.reference.clone()).collect();
    references.sort();
    references
}

/// Plans the edits of a cell from what was found wrong.
pub fn plan(desired: &[Desired], inventory: &Inventory, evaluation: &Evaluation) -> Plan<Proposed> {
    let mut edits = match evaluation.kind {
        Kind::SecurityGroup => edits::<SecurityGroups>(desired, inventory, evaluation),
        Kind::Lambda => edits::<Functions>(desired, inventory, evaluation),
    };
    edits.sort_by(|one, other| one.edit.worst_first(&other.edit).then_with(|| one.hold.cmp(&other.hold)));
    let cell = Cell { kind: evaluation.kind, location: inventory.location.clone() };
    Plan { cell, stage: Proposed { edits, baselines: with_a_say(desired) } }
}

fn edits<C: Catalogue>(desired: &[Desired], inventory: &Inventory, evaluation: &Evaluation) -> Vec<ProposedEdit> {
    let index = C::index(inventory);
    let Ok(resources) = C::found(inventory) else {
        return Vec::new();
    };
    let (questions, proposing) = (questions::<C>(desired), Proposing::new(desired));
    let edits = evaluation.failing().filter_map(|index| resources.get(index)).flat_map(|found| {
        let view = C::view(*found, &index, inventory, evaluation.now());
        let say = Say::new(desired, C::resource(*found, inventory), evaluation.now());
        let anyway = C::plan(&view, &questions, &say);
        if proposing.is_empty() {
            return anyway;
        }
        proposing.beside(anyway, C::plan(&view, &questions, &say.once_approved()))
    });
    C::together(edits.collect(), inventory)
}

impl PermittedResource {
    /// Whether the edits rest on nobody using the resource. An undo does not: it is wanted most where somebody does.
    pub fn must_be_unused(&self) -> bool {
        if matches!(self.warrant, Warrant::Rollback(_)) {
            return false;
        }
        let mut demands = self.edits.iter().flat_map(|edit| &edit.demands);
        demands.any(|demand| demand.control == DEFAULT_CLOSED)
    }
}

impl Permitted {
    /// Withholds the edits of a resource.
    pub(crate) fn hold(&mut self, resource: PermittedResource, reason: &Withheld) {
        let hold = |edit| WithheldEdit { edit, reason: reason.clone() };
        self.withheld.extend(resource.edits.into_iter().map(hold));
    }
}

impl Plan<Permitted> {
    /// The plan after every resource was tried, or given up with a reason.
    pub fn applied(self, outcomes: Vec<ResourceOutcome>) -> Plan<Applied> {
        Plan { cell: self.cell, stage: Applied { outcomes, withheld: self.stage.withheld } }
    }
}
