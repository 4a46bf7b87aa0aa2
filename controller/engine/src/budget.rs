//! The ledger of changes: how many resources were changed lately on whose behalf, how many a plan would change, and how
//! far each baseline has got with its canary.
//!
//! One ledger serves all cells of a process, so that cells side by side share one budget.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::approval::{Decision, Proposal, Warrant};
use crate::canary::{First, Wave};
use crate::desired::Desired;
use crate::edit::{BaselineRef, Demand, Edit, Withheld};
use crate::evaluate::Evaluation;
use crate::facts::Location;
use crate::kind::{Cell, Kind};
use crate::plan::{Applied, Permitted, PermittedResource, Plan, Proposed, ProposedEdit, ResourceOutcome};
use crate::remediation::COUNTED_FROM;
use crate::tenancy::Account;

/// Budgets are counted over so long.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The blast radius is counted over so long; older changes are forgotten.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A resource that was changed on behalf of a baseline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Charge {
    /// Where the resource is.
    pub location: Location,
    /// Its id.
    pub resource: String,
    /// The kind of the baseline.
    pub kind: Kind,
    /// The baseline, as `namespace/name`: one that is made anew under the same name has spent what the old one had.
    pub baseline: String,
}

/// When a resource was last changed on behalf of a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// When.
    pub at: Timestamp,
    /// Whether somebody approved that very change: what was asked for is not asked for again.
    pub approved: bool,
}

/// What was changed lately, and what every cell would change.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// When each resource was last changed, with an approval and without one apart: what somebody approves later does not
    /// make up for what nobody approved.
    spent: BTreeMap<(Charge, bool), Timestamp>,
    plans: BTreeMap<BaselineRef, BTreeMap<Location, Share>>,
    waves: BTreeMap<BaselineRef, Wave>,
}

/// What a baseline selects in one cell, and what of it would be changed.
#[derive(Clone, Debug, Default)]
struct Share {
    selected: u64,
    to_change: BTreeSet<String>,
    /// Whether nothing in use is to be changed, as far as that could be seen.
    is_calm: bool,
}

/// Charges that were made before the changes, with what they replaced.
#[derive(Debug, Default)]
#[must_use = "what was not changed is given back"]
pub struct Reserved {
    charges: Vec<((Charge, bool), Option<Timestamp>)>,
    at: Timestamp,
}

impl Ledger {
    /// Enters a change that was made before.
    pub fn enter(&mut self, charge: Charge, spent: Spent) {
        let last = self.spent.entry((charge, spent.approved)).or_insert(spent.at);
        *last = spent.at.max(*last);
    }

    /// The canary of one generation of a baseline, to enter what happened to it.
    pub fn wave(&mut self, baseline: BaselineRef) -> &mut Wave {
        self.waves.entry(baseline).or_default()
    }

    /// Takes note of the change sets that somebody approved: a baseline whose canary had failed by then goes on.
    pub fn hear(&mut self, proposals: &[Proposal]) {
        for proposal in proposals.iter().filter(|proposal| proposal.decision == Decision::Approved) {
            if let Some(wave) = self.waves.get_mut(&proposal.baseline) {
                wave.resume(proposal.proposed_at);
            }
        }
    }

    /// Notes what a cell would change if nothing but limits and the moment held it back. A cell that could not be read keeps what it was seen with.
    pub fn look(&mut self, plan: &Plan<Proposed>, evaluation: &Evaluation, desired: &[Desired], now: Timestamp) {
        for baseline in &evaluation.baselines {
            let is_current = |other: &BaselineRef| other.uid != baseline.reference.uid || *other == baseline.reference;
            self.plans.retain(|other, _| is_current(other));
            self.waves.retain(|other, _| is_current(other));
            let cells = self.plans.entry(baseline.reference.clone()).or_default();
            let share = cells.entry(plan.cell.location.clone()).or_default();
            if evaluation.failure.is_some() {
                continue;
            }
            let mine =
                plan.stage.edits.iter().filter(|proposed| {
                    proposed.edit.demands.iter().any(|demand| demand.baseline == baseline.reference)
                });
            let is_calm = evaluation.partial.is_empty() && !mine.clone().any(is_to_stand);
            let to_change = mine.filter(|proposed| proposed.hold.is_none());
            let to_change = to_change.map(|proposed| proposed.edit.resource.clone()).collect();
            *share = Share { selected: baseline.resources, to_change, is_calm };
        }
        for Desired { reference, first, .. } in desired {
            let cells = first.as_ref().map(First::cells).unwrap_or_default();
            let shares = self.plans.get(reference);
            let is_calm = |cell| shares.and_then(|shares| shares.get(cell)).is_some_and(|share: &Share| share.is_calm);
            if !cells.is_empty() && cells.iter().all(is_calm) {
                self.wave(reference.clone()).settle(now);
            }
        }
    }

    /// How far the looks at all cells have come: it grows whenever cells that wait for others may go on.
    pub fn progress<'d>(&self, desired: impl IntoIterator<Item = &'d Desired>) -> usize {
        let is_settled = |desired: &Desired| self.waves.get(&desired.reference).is_some_and(Wave::is_settled);
        let steps = |desired: &Desired| [self.has_seen(desired), is_settled(desired)].into_iter().filter(|step| *step);
        desired.into_iter().map(|desired| steps(desired).count()).sum()
    }

    /// When the changes of a canary will have stood long enough, the first of some baselines.
    pub fn next_soaked<'d>(&self, desired: impl IntoIterator<Item = &'d Desired>, now: Timestamp) -> Option<Timestamp> {
        let until = |desired: &Desired| self.waves.get(&desired.reference)?.soaks_until(desired.first.as_ref()?, now);
        desired.into_iter().filter_map(until).min()
    }

    /// Whether every cell of a baseline was looked at.
    fn has_seen(&self, desired: &Desired) -> bool {
        let seen = self.plans.get(&desired.reference);
        desired.cells.iter().all(|cell| seen.is_some_and(|seen| seen.contains_key(cell)))
    }

    /// The baselines that have to ask before they change anything, each with the reason.
    pub fn too_many(&self, desired: &[Desired], now: Timestamp) -> BTreeMap<BaselineRef, Withheld> {
        let reason = |desired: &Desired| Some((desired.reference.clone(), self.too_many_of(desired, now)?));
        desired.iter().filter_map(reason).collect()
    }

    fn too_many_of(&self, desired: &Desired, now: Timestamp) -> Option<Withheld> {
        if !self.has_seen(desired) {
            return Some(Withheld::OtherCells);
        }
        if let Some(failed) = self.failed(desired, now) {
            return Some(failed);
        }
        let shares = || {
            let cells = self.plans.get(&desired.reference);
            cells.into_iter().flatten().filter(|(location, _)| desired.cells.contains(location))
        };
        let selected: u64 = shares().map(|(_, share)| share.selected).sum();
        let name = desired.reference.to_string();
        let is_mine = |charge: &Charge| charge.kind == desired.reference.kind && charge.baseline == name;
        let recent = self
            .spent
            .iter()
            .filter(|((charge, approved), at)| is_mine(charge) && !approved && now.duration_since(**at) < DAY);
        let mut changed: BTreeSet<(&Location, &str)> =
            recent.map(|((charge, _), _)| (&charge.location, charge.resource.as_str())).collect();
        changed.extend(
            shares().flat_map(|(location, share)| share.to_change.iter().map(move |id| (location, id.as_str()))),
        );
        let (changed, max_share) = (u64::try_from(changed.len()).unwrap_or(u64::MAX), desired.limits.max_share);
        (selected >= COUNTED_FROM && changed.saturating_mul(100) > selected.saturating_mul(max_share)).then(|| {
            Withheld::BlastRadius(format!(
                "{changed} of {selected} resources would change within a day, more than {max_share} percent"
            ))
        })
    }

    /// Why everything of a baseline waits for an approval, if its canary failed.
    fn failed(&self, desired: &Desired, now: Timestamp) -> Option<Withheld> {
        self.waves.get(&desired.reference)?.failure(desired.first.as_ref()?, now)
    }

    /// Charges what is about to be changed, worst first, and withholds what goes beyond a budget.
    pub fn reserve(
        &mut self,
        plan: Plan<Permitted>,
        desired: &[Desired],
        account: &Account,
        now: Timestamp,
    ) -> (Plan<Permitted>, Reserved) {
        let Plan { cell, stage: mut permitted } = plan;
        let location = &cell.location;
        self.spent.retain(|_, at| now.duration_since(*at) < DAY);
        let mut reserved = Reserved { charges: Vec::new(), at: now };
        for resource in std::mem::take(&mut permitted.resources) {
            let beyond = self.beyond(&cell, &resource, desired, account, now).map(Withheld::Budget);
            match beyond.or_else(|| self.canary(location, &resource, desired, now)) {
                Some(reason) => permitted.hold(resource, &reason),
                None => {
                    let approved = resource.warrant != Warrant::Baselines;
                    let charges = payers(&resource).into_iter().map(|baseline| charge(&cell, &resource, baseline));
                    let entries = charges.map(|charge| (charge, approved));
                    reserved.charges.extend(entries.map(|entry| (entry.clone(), self.spent.insert(entry, now))));
                    for desired in with_canary(&resource.edits, desired) {
                        self.wave(desired.reference.clone()).change(location, &resource.target.id, now);
                    }
                    permitted.resources.push(resource);
                }
            }
        }
        (Plan { cell, stage: permitted }, reserved)
    }

    /// The budget that has no room for a resource: the account's, or that of each baseline that asks.
    fn beyond(
        &self,
        cell: &Cell,
        resource: &PermittedResource,
        desired: &[Desired],
        account: &Account,
        now: Timestamp,
    ) -> Option<String> {
        let in_account = |charge: &Charge| charge.location.account == cell.location.account;
        let limit = account.changes_per_hour;
        if self.changed_beside(cell, resource, in_account, now) >= limit {
            return Some(format!("AWSAccount {:?} lets {limit} resources change in an hour", account.name));
        }
        let mut limits = payers(resource).into_iter().map(|name| {
            let mut baselines = desired.iter();
            let limit = baselines.find(|desired| desired.reference.to_string() == name)?.limits.per_hour;
            let is_payer = |charge: &Charge| charge.kind == cell.kind && charge.baseline == name;
            let spent = self.changed_beside(cell, resource, is_payer, now);
            (spent >= limit).then(|| format!("baseline {name} lets {limit} resources change in an hour"))
        });
        let first = limits.next()??;
        limits.all(|limit| limit.is_some()).then_some(first)
    }

    /// The canary that a resource has to wait for: that of each of the baselines that ask for a disruptive edit of it.
    fn canary(
        &self,
        location: &Location,
        resource: &PermittedResource,
        desired: &[Desired],
        now: Timestamp,
    ) -> Option<Withheld> {
        let untouched = Wave::default();
        let holds = |demand: &Demand| {
            let baseline = desired.iter().find(|desired| desired.reference == demand.baseline)?;
            let wave = self.waves.get(&demand.baseline).unwrap_or(&untouched);
            wave.holds(baseline.first.as_ref()?, location, &resource.target.id, now)
        };
        let held = |edit: &Edit| edit.demands.iter().map(holds).collect::<Option<Vec<Withheld>>>()?.into_iter().min();
        resource.edits.iter().filter(|edit| edit.is_disruptive()).find_map(held)
    }

    /// How many other resources were changed within the hour: one that is changed again counts once.
    fn changed_beside(
        &self,
        cell: &Cell,
        resource: &PermittedResource,
        counts: impl Fn(&Charge) -> bool,
        now: Timestamp,
    ) -> usize {
        let recent = self.spent.iter().filter(|(_, at)| now.duration_since(**at) < HOUR);
        let charges = recent.map(|((charge, _), _)| charge).filter(|charge| counts(charge));
        // Resources of different kinds may have the same id.
        let changed = charges.map(|charge| (charge.kind, &charge.location, charge.resource.as_str()));
        let this = (cell.kind, &cell.location, resource.target.id.as_str());
        changed.filter(|other| *other != this).collect::<BTreeSet<_>>().len()
    }

    /// Gives back what was charged for resources that were not touched, and notes which changes went wrong. The others count
    /// from when they were done with: a long sweep must not have its changes run out of the hour before they are an hour old.
    pub fn settle(&mut self, reserved: Reserved, applied: &Plan<Applied>) {
        let Plan { cell, stage: Applied { outcomes, .. } } = applied;
        for outcome in outcomes {
            self.note(&cell.location, outcome, reserved.at);
        }
        for (entry, before) in reserved.charges.into_iter().rev() {
            let Some(outcome) = outcomes.iter().find(|outcome| outcome.id == entry.0.resource) else {
                continue;
            };
            match if outcome.is_untouched() { before } else { Some(outcome.finished_at) } {
                Some(at) => self.spent.insert(entry, at),
                None => self.spent.remove(&entry),
            };
        }
    }

    /// Notes what came of a resource in the canaries that it was reserved for.
    fn note(&mut self, location: &Location, outcome: &ResourceOutcome, reserved_at: Timestamp) {
        let baselines: BTreeSet<&BaselineRef> =
            outcome.edits.iter().flat_map(|edit| &edit.demands).map(|demand| &demand.baseline).collect();
        for baseline in baselines {
            let Some(wave) = self.waves.get_mut(baseline) else { continue };
            if outcome.outcome.is_unknown() {
                wave.fail(outcome.finished_at, not_as_planned(&outcome.id, location));
            } else if outcome.calls_verified == 0 {
                wave.spare(location, &outcome.id, reserved_at);
            } else {
                wave.stand(location, &outcome.id, reserved_at, outcome.finished_at);
            }
        }
    }

    /// Forgets the plans of baselines that are gone.
    pub fn keep(&mut self, uids: &BTreeSet<String>) {
        self.plans.retain(|reference, _| uids.contains(&reference.uid));
        self.waves.retain(|reference, _| uids.contains(&reference.uid));
    }
}

/// Whether a canary is not over before this is made: it can break connections, and waits for people at most. A canary in an
/// account that nobody may write to is never over.
fn is_to_stand(proposed: &ProposedEdit) -> bool {
    let waits = matches!(proposed.hold, None | Some(Withheld::Approval | Withheld::ReadOnlyAccount));
    waits && proposed.edit.is_disruptive()
}

/// How a canary went wrong whose change is not what was planned.
pub fn not_as_planned(resource: &str, location: &Location) -> String {
    let Location { account, region } = location;
    format!("{resource} in {account}/{region} was not as planned after its change")
}

/// The baselines that ask for edits which can break connections of a resource in use, as far as they have a canary.
fn with_canary<'d>(edits: &[Edit], desired: &'d [Desired]) -> Vec<&'d Desired> {
    let disruptive = || edits.iter().filter(|edit| edit.is_disruptive());
    let asks = |desired: &&Desired| {
        let mut demands = disruptive().flat_map(|edit| &edit.demands);
        desired.first.is_some() && demands.any(|demand| demand.baseline == desired.reference)
    };
    desired.iter().filter(asks).collect()
}

/// The baselines that ask for the edits of a resource, each once.
fn payers(resource: &PermittedResource) -> BTreeSet<String> {
    let demands = resource.edits.iter().flat_map(|edit| &edit.demands);
    demands.map(|demand| demand.baseline.to_string()).collect()
}

fn charge(Cell { location, kind }: &Cell, resource: &PermittedResource, baseline: String) -> Charge {
    Charge { location: location.clone(), resource: resource.target.id.clone(), kind: *kind, baseline }
}
