//! What may hold an edit back: the plan-wide rails, and the permit for each single write.
//!
//! Where several baselines ask for the same edit, it is made as soon as one of them may: nobody holds up the others by
//! asking for the same under stricter limits.

mod candidates;
mod owner;
mod permit;

use std::collections::BTreeMap;

use candidates::{Candidate, Candidates, Room};
use jiff::{SignedDuration, Timestamp};
use owner::owner;
pub use permit::{Authority, permit, still_allowed};

use crate::approval::{ChangeSetName, Decision, Proposal, Warrant, proposal, rejected_and_rest};
use crate::contests::Contests;
use crate::controls::resources;
use crate::desired::Desired;
use crate::edit::{BaselineRef, Edit, Withheld};
use crate::facts::{Inventory, Resource, ResourceType, SecurityGroup};
use crate::kind::Kind;
use crate::plan::{Permitted, PermittedResource, Plan, Proposed, ProposedEdit, Target, WithheldEdit};
use crate::retries::Retries;
use crate::sequence::State;
use crate::tenancy::Account;

/// At most so many resources are changed in one sweep of a cell, the worst first.
pub const RESOURCES_PER_SWEEP: usize = 20;

/// At most so many edits are made to one resource in one sweep: they have to fit into one change set.
pub const EDITS_PER_RESOURCE: usize = 50;

/// A write rests on a read that is at most this old.
pub const FRESHNESS: SignedDuration = SignedDuration::from_secs(10);

/// What came before, and what people decided; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// What was tried in vain.
    pub retries: Retries,
    /// What somebody else keeps undoing.
    pub contests: Contests,
    /// Change sets that propose edits, and what was decided on them.
    pub proposals: Vec<Proposal>,
    /// Baselines that have to ask before they change so much of what they select, each with the reason.
    pub too_many: BTreeMap<BaselineRef, Withheld>,
}

/// The moment of planning.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The baselines that were planned for.
    pub desired: &'a [Desired],
    /// What came before.
    pub circumstances: &'a Circumstances,
    /// The time.
    pub now: Timestamp,
}

/// Holds back what nobody's word lets through at any time: in this account, or on this resource.
pub fn hold_for_good(plan: Plan<Proposed>, inventory: &Inventory, account: &Account) -> Plan<Proposed> {
    let resources = by_id(plan.cell.kind, inventory);
    let read_only = (!account.writable).then_some(Withheld::ReadOnlyAccount);
    hold(plan, |edit| read_only.clone().or_else(|| owner(*resources.get(edit.resource.as_str())?)))
}

/// Holds back what nobody's word lets through right now: in this account, or by this process.
pub fn hold_for_now(plan: Plan<Proposed>, account: &Account, leading: bool) -> Plan<Proposed> {
    let reason = account_holds(account).or_else(|| (!leading).then_some(Withheld::NotLeader));
    hold(plan, |_| reason.clone())
}

/// Holds back what nothing but the want of an approval has held back so far.
fn hold(plan: Plan<Proposed>, reason: impl Fn(&Edit) -> Option<Withheld>) -> Plan<Proposed> {
    let Plan { cell, stage: Proposed { edits, baselines } } = plan;
    let hold = |ProposedEdit { edit, hold }: ProposedEdit| {
        let firm = match hold {
            None | Some(Withheld::Approval) => reason(&edit),
            Some(_) => None,
        };
        ProposedEdit { hold: firm.or(hold), edit }
    };
    let edits = edits.into_iter().map(hold).collect();
    Plan { cell, stage: Proposed { edits, baselines } }
}

/// Holds back what the resources have no room for. What has to wait for its turn alone is let through.
pub fn hold_without_room(plan: Plan<Proposed>, inventory: &Inventory, account: &Account) -> Plan<Proposed> {
    let Plan { cell, stage: Proposed { edits, baselines } } = plan;
    let found = by_id(cell.kind, inventory);
    let mut candidates = Candidates::new(Room::new(cell.kind, inventory, account));
    let hold = |ProposedEdit { edit, hold }: ProposedEdit| {
        let resource = found.get(edit.resource.as_str()).filter(|_| hold.is_none());
        let no_room = resource.and_then(|resource| candidates.add(*resource, edit.clone(), None));
        let reason = no_room.map(|held| held.reason).filter(|reason| *reason == Withheld::RuleQuota);
        ProposedEdit { edit, hold: hold.or(reason) }
    };
    let edits = edits.into_iter().map(hold).collect();
    Plan { cell, stage: Proposed { edits, baselines } }
}

/// Lets through what may be made now, ordered by resource, worst first; tells what is to be proposed, and why the rest waits.
pub fn apply(plan: Plan<Proposed>, inventory: &Inventory, account: &Account, moment: Moment<'_>) -> Plan<Permitted> {
    let Plan { cell, stage: Proposed { edits, baselines } } = plan;
    let found = by_id(cell.kind, inventory);
    let room = || Room::new(cell.kind, inventory, account);
    let mut sorted = Sorted { make: Candidates::new(room()), propose: Candidates::new(room()), withheld: Vec::new() };
    for proposed in edits {
        if let Some(resource) = found.get(proposed.edit.resource.as_str()) {
            sorted.add(*resource, proposed, moment);
        }
    }
    let Sorted { make, propose, withheld } = sorted;
    let groups = groups(inventory);
    let resource = |Candidate { resource, edits, change_set }: Candidate<'_>| PermittedResource {
        target: Target::new(resource, planned(resource, &edits, &groups)),
        edits,
        baselines: baselines.clone(),
        warrant: change_set.map_or(Warrant::Baselines, Warrant::Approval),
    };
    let to_propose = propose.worst_first().into_iter().map(resource).collect();
    let mut permitted = Permitted { resources: Vec::new(), to_propose, withheld };
    for candidate in make.worst_first() {
        admit(&mut permitted, resource(candidate), moment);
    }
    permitted
        .withheld
        .sort_by(|one, other| one.edit.worst_first(&other.edit).then_with(|| one.reason.cmp(&other.reason)));
    Plan { cell, stage: permitted }
}

/// What the edits of a resource rest on.
fn planned(resource: Resource<'_>, edits: &[Edit], groups: &BTreeMap<&str, &SecurityGroup>) -> State {
    // A function may be called like the id of a group.
    match groups.get(resource.id).filter(|_| resource.resource_type == ResourceType::SecurityGroup) {
        Some(group) => State::Group { rules: group.rules.clone(), tags: group.tags.clone() },
        None => State::before(edits),
    }
}

fn by_id(kind: Kind, inventory: &Inventory) -> BTreeMap<&str, Resource<'_>> {
    let mut found = BTreeMap::new();
    for resource in resources(kind, inventory).unwrap_or_default() {
        // A function may have the name by which the settings of the account go, which come later and are never edited.
        found.entry(resource.id).or_insert(resource);
    }
    found
}

fn groups(inventory: &Inventory) -> BTreeMap<&str, &SecurityGroup> {
    let groups = inventory.security_groups.facts().map(Vec::as_slice).unwrap_or_default();
    groups.iter().map(|group| (group.id.as_str(), group)).collect()
}

fn account_holds(account: &Account) -> Option<Withheld> {
    if !account.writable {
        Some(Withheld::ReadOnlyAccount)
    } else if account.writes_stopped {
        Some(Withheld::WritesStopped)
    } else {
        account.write_distrust.clone().map(Withheld::WriteRoleUnproven)
    }
}

/// Edits by what happens to them.
struct Sorted<'a> {
    make: Candidates<'a>,
    propose: Candidates<'a>,
    withheld: Vec<WithheldEdit>,
}

impl<'a> Sorted<'a> {
    fn add(&mut self, resource: Resource<'a>, ProposedEdit { edit, hold }: ProposedEdit, moment: Moment<'_>) {
        if let Some(reason) = hold.as_ref().filter(|hold| **hold != Withheld::Approval) {
            return self.withheld.push(WithheldEdit { edit, reason: reason.clone() });
        }
        let (rejected, rest) = rejected_and_rest(&moment.circumstances.proposals, edit);
        self.withheld.extend(rejected.map(|edit| WithheldEdit { edit, reason: Withheld::Rejected }));
        let Some(edit) = rest else { return };
        let held = match way(&edit, hold, moment) {
            Way::Make(change_set) => self.make.add(resource, edit, change_set),
            Way::Propose(reason) => {
                let no_room = self.propose.add(resource, edit.clone(), None);
                no_room.or(Some(WithheldEdit { edit, reason }))
            }
            Way::Wait(reason) => Some(WithheldEdit { edit, reason }),
        };
        self.withheld.extend(held);
    }
}

/// What happens to an edit.
enum Way {
    /// It is made, in this change set if it is in one.
    Make(Option<ChangeSetName>),
    /// It is put into a new change set, and waits for this.
    Propose(Withheld),
    /// It waits for this.
    Wait(Withheld),
}

/// What happens to an edit that nothing but people may hold back, and nobody who asks for it has rejected.
fn way(edit: &Edit, hold: Option<Withheld>, moment: Moment<'_>) -> Way {
    let Moment { desired, circumstances, now } = moment;
    let asks = hold.or_else(|| too_many(edit, &circumstances.too_many));
    let change_set = match (asks, proposal(&circumstances.proposals, edit)) {
        // A word that was given counts, also where it is not needed any more.
        (_, Some(Proposal { decision: Decision::Approved, name, .. })) => Some(name.clone()),
        (Some(reason), Some(_)) => return Way::Wait(reason),
        // Whether anybody has to be asked shows once all of them were looked at.
        (Some(Withheld::OtherCells), None) => return Way::Wait(Withheld::OtherCells),
        (Some(reason), None) => return Way::Propose(reason),
        (None, _) => None,
    };
    let contested = circumstances.contests.waits(edit, now).map(Withheld::Contested);
    match contested.or_else(|| window(edit, desired, now)) {
        Some(reason) => Way::Wait(reason),
        None => Way::Make(change_set),
    }
}

/// Why an edit needs an approval, if each of the baselines that ask for it has to ask; as long as one of them may turn out
/// not to have to, that.
fn too_many(edit: &Edit, too_many: &BTreeMap<BaselineRef, Withheld>) -> Option<Withheld> {
    let reasons = edit.demands.iter().map(|demand| too_many.get(&demand.baseline));
    let reasons: Vec<&Withheld> = reasons.collect::<Option<_>>()?;
    let undecided = reasons.iter().find(|reason| ***reason == Withheld::OtherCells);
    undecided.or(reasons.first()).map(|reason| (*reason).clone())
}

/// The window that an edit waits for, if each of the baselines that ask for it has one that is closed: the first to open.
fn window(edit: &Edit, desired: &[Desired], now: Timestamp) -> Option<Withheld> {
    let asking = |desired: &&Desired| edit.demands.iter().any(|demand| demand.baseline == desired.reference);
    let openings: Option<Vec<Timestamp>> =
        desired.iter().filter(asking).map(|desired| desired.limits.opens(edit, now)).collect();
    openings?.into_iter().min().map(Withheld::Window)
}

/// Admits a resource to the plan, unless it was just tried in vain or the sweep has no room for it.
fn admit(permitted: &mut Permitted, resource: PermittedResource, moment: Moment<'_>) {
    let another = |other: &PermittedResource| other.target.id == resource.target.id;
    let reason = match moment.circumstances.retries.waits(&resource.target.id, &resource.edits, moment.now) {
        Some(last) => Withheld::BackingOff(Box::new(last.clone())),
        None if permitted.resources.len() >= RESOURCES_PER_SWEEP => Withheld::SweepLimit,
        // What another change set covers rests on what is there afterwards.
        None if permitted.resources.iter().any(another) => Withheld::SweepLimit,
        None => return permitted.resources.push(resource),
    };
    permitted.hold(resource, &reason);
}
