//! What a baseline in `Audit` would do if its mode were `Enforce`: the evidence for switching it.
//!
//! Each baseline is switched alone, beside the others as they are: nothing here mixes what two of them might do one day.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::controls::{read_at, resources};
use crate::desired::Desired;
use crate::edit::{BaselineRef, Edit, Impact, Risk, Withheld};
use crate::evaluate::{ControlCount, Evaluation};
use crate::facts::{Function, Inventory, ReadFailure, SecurityGroup};
use crate::kind::Kind;
use crate::plan::{Plan, Proposed, ProposedEdit, plan};
use crate::rails::{hold_for_good, hold_for_now, hold_without_room};
use crate::spec::Mode;
use crate::tenancy::Account;

/// So many baselines are looked at in one sweep of a cell; the others keep what was found before, and have their turn in
/// the next ones. A fleet of baselines in `Audit` must not cost a plan each, every time.
pub const PER_SWEEP: usize = 2;

/// After so many sweeps in which nothing was due, one has its turn all the same: tags, exemptions and accounts can change
/// without a control that counts anything else.
pub const QUIET_SWEEPS: usize = 4;

/// What somebody changed so long ago counts no longer.
const LATELY: SignedDuration = SignedDuration::from_hours(24);

/// For so long after a write of our own a change can be that write, which AWS shows late.
const SHOWN_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// What would be done, as counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Edits that would be made, by what they can break.
    pub edits: BTreeMap<Risk, u64>,
    /// Resources that would be changed, by whether anything uses them.
    pub resources: BTreeMap<Usage, u64>,
    /// Edits that would still be held back, by reason.
    pub withheld: BTreeMap<&'static str, u64>,
    /// Resources with any of these edits, made or held back, that infrastructure as code owns.
    pub owned_by_code: u64,
    /// Resources with any of these edits that somebody else has changed lately.
    pub changed_by_others: u64,
}

/// Whether anything uses a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// Interfaces carry it, or it can be called.
    InUse,
    /// Nothing does.
    Unused,
    /// That could not be read.
    Unknown,
}

impl From<Impact> for Usage {
    fn from(impact: Impact) -> Self {
        match impact {
            Impact::Interfaces { .. } | Impact::Callers => Self::InUse,
            Impact::None => Self::Unused,
            Impact::Unknown => Self::Unknown,
        }
    }
}

impl Readiness {
    /// Adds what was found elsewhere.
    pub fn add(&mut self, other: &Self) {
        let Self { edits, resources, withheld, owned_by_code, changed_by_others } = other;
        sum(&mut self.edits, edits);
        sum(&mut self.resources, resources);
        sum(&mut self.withheld, withheld);
        self.owned_by_code += owned_by_code;
        self.changed_by_others += changed_by_others;
    }

    fn of(plan: &Plan<Proposed>, switched: &Desired, beside: Beside<'_>) -> Self {
        let (mut readiness, mut changed, mut seen) = (Self::default(), BTreeMap::new(), BTreeSet::new());
        let mut conflicting = BTreeSet::new();
        let is_mine = |edit: &Edit| edit.demands.iter().any(|demand| demand.baseline == switched.reference);
        let (mine, others): (Vec<_>, Vec<_>) = plan.stage.edits.iter().partition(|proposed| is_mine(&proposed.edit));
        for ProposedEdit { edit, hold } in mine {
            seen.insert(edit.resource.as_str());
            if matches!(hold, Some(Withheld::Conflicting(_))) {
                conflicting.insert(edit.resource.as_str());
            }
            match hold {
                Some(reason) => readiness.withhold(reason),
                None => {
                    *readiness.edits.entry(edit.operation.risk()).or_default() += 1;
                    changed.insert(edit.resource.as_str(), Usage::from(edit.impact));
                }
            }
        }
        // Who contradicts an edit of somebody else may have none of its own there.
        for ProposedEdit { edit, hold } in others {
            if let Some(reason @ Withheld::Conflicting(with)) = hold
                && with.contains(&switched.reference.to_string())
                && conflicting.insert(edit.resource.as_str())
            {
                readiness.withhold(reason);
            }
        }
        for usage in changed.into_values() {
            *readiness.resources.entry(usage).or_default() += 1;
        }
        let found = resources(beside.evaluation.kind, beside.inventory).unwrap_or_default().into_iter();
        let owned = found.filter(|found| seen.contains(found.id) && switched.code.owner(found.tags).is_some());
        readiness.owned_by_code = number(owned.count());
        readiness.changed_by_others = number(beside.others.changed(&seen));
        readiness
    }

    fn withhold(&mut self, reason: &Withheld) {
        *self.withheld.entry(reason.reason()).or_default() += 1;
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn sum<K: Copy + Ord>(sums: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        *sums.entry(*key).or_default() += count;
    }
}

/// What one baseline would do if its mode were `Enforce` and nothing else changed; `None` unless it is `Audit`, and where the
/// groups could not be read.
///
/// What time alone decides is left out: windows, budgets, the blast radius, the canary and the limit of a sweep.
pub fn readiness(baseline: &BaselineRef, desired: &[Desired], beside: Beside<'_>) -> Option<Readiness> {
    let Beside { inventory, evaluation, account, .. } = beside;
    let switched = desired.iter().find(|desired| desired.reference == *baseline)?.switched_to_enforce()?;
    if evaluation.failure.is_some() {
        return None;
    }
    let others = desired.iter().filter(|other| other.reference != *baseline && other.has_a_say());
    let mut hypothesis: Vec<Desired> = others.cloned().collect();
    hypothesis.push(switched.clone());
    let proposed = hold_for_good(plan(&hypothesis, inventory, evaluation), inventory, account);
    let proposed = hold_for_now(proposed, account, true);
    Some(Readiness::of(&hold_without_room(proposed, inventory, account), &switched, beside))
}

/// What is known of a cell beside its baselines.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// What AWS says.
    pub inventory: &'a Inventory,
    /// The verdicts.
    pub evaluation: &'a Evaluation,
    /// How far anybody may go in the account.
    pub account: &'a Account,
    /// Who else changes what is there.
    pub others: &'a Others,
}

/// Who else changes the resources of one cell, as far as it shows from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// When a change was last seen that nobody here has made.
    changed: BTreeMap<String, Timestamp>,
    /// When a resource was last written here.
    own: BTreeMap<String, Timestamp>,
}

impl Others {
    /// Compares a look with the last one that showed anything. A resource that came or went in between has not changed.
    pub fn watch(&mut self, kind: Kind, before: &Inventory, now: &Inventory, at: Timestamp) {
        if resources(kind, now).is_err() {
            return;
        }
        // What was written here since then is seen for the first time, however long ago that is.
        let may_be_own =
            |written: Timestamp| written > read_at(kind, before) || at.duration_since(written) < SHOWN_WITHIN;
        self.own.retain(|_, written| may_be_own(*written));
        self.changed.retain(|_, seen| at.duration_since(*seen) < LATELY);
        let news = match kind {
            Kind::SecurityGroup => {
                different::<SecurityGroup>(before.security_groups.facts(), now.security_groups.facts())
            }
            Kind::Lambda => different::<Function>(before.lambda.functions.facts(), now.lambda.functions.facts()),
        };
        self.changed.extend(news.into_iter().filter(|id| !self.own.contains_key(id)).map(|id| (id, at)));
    }

    /// Takes note of resources that were written here.
    pub fn except(&mut self, resources: impl IntoIterator<Item = String>, at: Timestamp) {
        self.own.extend(resources.into_iter().map(|id| (id, at)));
    }

    /// How many of some resources others have changed.
    fn changed(&self, resources: &BTreeSet<&str>) -> usize {
        self.changed.keys().filter(|id| resources.contains(id.as_str())).count()
    }
}

/// Facts that have an id.
trait Identified: PartialEq {
    fn id(&self) -> &str;
}

impl Identified for SecurityGroup {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for Function {
    fn id(&self) -> &str {
        &self.name
    }
}

/// The ids of what is in both, and not the same.
fn different<T: Identified>(before: Result<&Vec<T>, ReadFailure>, now: Result<&Vec<T>, ReadFailure>) -> Vec<String> {
    let before = before.map(Vec::as_slice).unwrap_or_default().iter();
    let before: BTreeMap<&str, &T> = before.map(|fact| (fact.id(), fact)).collect();
    let now = now.map(Vec::as_slice).unwrap_or_default().iter();
    let differs = |fact: &&T| before.get(fact.id()).is_some_and(|before| before != fact);
    now.filter(differs).map(|fact| fact.id().to_owned()).collect()
}

/// What was found out about the baselines of one cell.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// The oldest first.
    known: Vec<(BaselineRef, Readiness)>,
    /// So many of them are due.
    due: usize,
    /// What the controls counted in the last sweep, and what others had changed.
    seen: (Vec<ControlCount>, BTreeSet<String>),
    /// Sweeps since anything was due.
    quiet: usize,
}

impl Outlook {
    /// Looks anew at some of the baselines in `Audit`: those that were never looked at, then those whose turn it is. They
    /// have one as soon as a control counts anything else, and now and then all the same. What is no longer there, or no
    /// longer in `Audit`, is forgotten.
    pub fn renew(&mut self, desired: &[Desired], beside: Beside<'_>) {
        let in_audit: BTreeSet<&BaselineRef> =
            desired.iter().filter(|desired| desired.mode == Mode::Audit).map(|desired| &desired.reference).collect();
        self.known.retain(|(reference, _)| in_audit.contains(reference));
        let unseen = in_audit.iter().filter(|reference| self.of(reference).is_none());
        let unseen: Vec<BaselineRef> = unseen.take(PER_SWEEP).map(|reference| (*reference).clone()).collect();
        let turns = self.turns(beside, PER_SWEEP - unseen.len());
        let known: Vec<BaselineRef> = self.known.iter().take(turns).map(|(reference, _)| reference.clone()).collect();
        for reference in unseen.into_iter().chain(known) {
            if let Some(found) = readiness(&reference, desired, beside) {
                self.known.retain(|(other, _)| *other != reference);
                self.known.push((reference, found));
            }
        }
    }

    /// How many of those that are known have their turn, of at most so many.
    fn turns(&mut self, beside: Beside<'_>, most: usize) -> usize {
        let baselines = beside.evaluation.baselines.iter();
        let counts = baselines.flat_map(|baseline| baseline.controls.clone()).collect();
        let seen = (counts, beside.others.changed.keys().cloned().collect());
        if seen != self.seen {
            self.seen = seen;
            self.due = self.known.len();
        } else if self.due == 0 && self.quiet >= QUIET_SWEEPS {
            self.due = 1;
        }
        let turns = self.due.min(most);
        self.due -= turns;
        self.quiet = if turns == 0 { self.quiet.saturating_add(1) } else { 0 };
        turns
    }

    /// What was found out about a baseline.
    pub fn of(&self, baseline: &BaselineRef) -> Option<&Readiness> {
        self.known.iter().find(|(reference, _)| reference == baseline).map(|(_, readiness)| readiness)
    }
}
