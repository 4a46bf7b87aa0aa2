//! Change sets that people decide on: proposed, taken up by a later process, decided, made, and closed.

use std::collections::BTreeSet;

use crds::{ChangeSet, ChangeSetStatus, EditOutcome, Outcome, Phase};
use engine::approval::{ChangeSetName, Decision, Proposal};
use engine::desired::Desired;
use engine::edit::{Change, Withheld};
use engine::plan::{Plan, Proposed};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::Journal;
use super::entry::{Entry, INTERRUPTED, NOT_ASKED_FOR, baseline, missing, proposed_at};
use super::pack::{Packed, change_sets};
use crate::act::Prepared;
use crate::authority::AuthorityNow;

/// A change set that people decide on.
#[derive(Clone, Debug)]
pub struct Open {
    entry: Entry,
    hash: String,
    proposal: Proposal,
    /// Whether an earlier process began to make its edits: what has no outcome may have been made.
    interrupted: bool,
}

/// What was decided on a change set, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What.
    pub decision: Decision,
    /// Who; empty where nobody did.
    pub by: Option<String>,
}

impl Open {
    /// The change set, if people decide on it.
    pub fn of(set: &ChangeSet) -> Option<Self> {
        let status = set.status.clone().unwrap_or_default();
        let decision = match status.phase? {
            Phase::Proposed => Decision::Open,
            Phase::Approved => Decision::Approved,
            Phase::Applying if status.decided_by.is_some() => Decision::Approved,
            Phase::Rejected => Decision::Rejected,
            Phase::Applying | Phase::Applied | Phase::PartlyApplied | Phase::RolledBack | Phase::Expired => {
                return None;
            }
        };
        let interrupted = status.phase == Some(Phase::Applying);
        Some(Self::new(set, Entry { proposed: true, ..Entry::of(set) }, decision, interrupted))
    }

    fn new(set: &ChangeSet, entry: Entry, decision: Decision, interrupted: bool) -> Self {
        let proposal = proposal_of(set, &entry, decision);
        Self { entry, hash: set.spec.hash.clone(), proposal, interrupted }
    }

    /// What the rails have to know of it.
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// Which change set.
    pub fn name(&self) -> &ChangeSetName {
        &self.proposal.name
    }

    /// The hash that an approval has to name.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether it is that of an entry.
    pub(super) fn is_of(&self, entry: &Entry) -> bool {
        self.entry.is(entry)
    }

    /// Whether some of its edits were made.
    pub fn is_begun(&self) -> bool {
        self.entry.status.phase == Some(Phase::Applying)
    }

    /// Whether somebody wanted none of it, or no more. That is for good, whatever becomes of that word: it may be pruned.
    fn is_rejected(&self) -> bool {
        self.entry.status.phase == Some(Phase::Rejected)
    }

    /// Whether it counts as waiting for somebody or something.
    pub fn is_pending(&self) -> bool {
        self.proposal.decision != Decision::Rejected
    }

    /// Why nothing more of it is made, if that is so.
    fn is_over(&self, asked: &BTreeSet<(&str, &Change)>, desired: &[Desired]) -> Option<&'static str> {
        if desired.iter().all(|desired| desired.reference != self.proposal.baseline) {
            return Some("its baseline was edited, suspended or deleted since: what is still wrong is proposed anew");
        }
        let is_asked = |(resource, change): &(String, Change)| asked.contains(&(resource.as_str(), change));
        let none = !self.proposal.changes.iter().any(is_asked);
        none.then_some("what it would change is not there any more: what is still wrong is proposed anew")
    }

    /// The outcome of a resource that has none and is left alone from now on, for this reason.
    fn unmade(&self, why: &str, now: Timestamp) -> EditOutcome {
        match self.interrupted {
            true => missing(Outcome::Unknown, INTERRUPTED, now),
            false => missing(Outcome::Withheld, why, now),
        }
    }

    /// The status that it ends with.
    fn last_status(&self, why: &str, now: Timestamp) -> ChangeSetStatus {
        match self.entry.status.phase {
            Some(Phase::Applying) => self.entry.ended(&self.unmade(NOT_ASKED_FOR, now)),
            _ => ChangeSetStatus {
                phase: Some(Phase::Expired),
                message: Some(why.to_owned()),
                ..self.entry.status.clone()
            },
        }
    }
}

/// The edits of a change set, and what was decided on it.
pub fn proposal_of(set: &ChangeSet, entry: &Entry, decision: Decision) -> Proposal {
    let edits = set.spec.edits.iter();
    let changes = edits.filter_map(|edit| Some((edit.resource.clone(), edit.change()?))).collect();
    let name = ChangeSetName { namespace: entry.namespace.clone(), name: entry.name.clone() };
    Proposal { name, baseline: baseline(set), proposed_at: proposed_at(set), decision, changes }
}

impl Journal {
    /// What the rails have to know of the change sets that people decide on.
    pub fn proposals(&self) -> Vec<Proposal> {
        self.open.iter().map(|open| open.proposal.clone()).collect()
    }

    /// The change sets that people decide on.
    pub fn open(&self) -> &[Open] {
        &self.open
    }

    /// How many change sets wait, by the uid of the baseline.
    pub fn pending(&self) -> std::collections::BTreeMap<String, usize> {
        let mut pending = std::collections::BTreeMap::new();
        for open in self.open.iter().filter(|open| open.is_pending()) {
            *pending.entry(open.proposal.baseline.uid.clone()).or_default() += 1;
        }
        pending
    }

    /// Takes note of what people decided since.
    pub async fn decide(&mut self, decide: impl Fn(&Open) -> Decided) {
        let mut news = Vec::new();
        for open in &mut self.open {
            let Decided { decision, by } = decide(open);
            if decision == open.proposal.decision || open.is_rejected() {
                continue;
            }
            open.proposal.decision = decision;
            let status = match (open.is_begun(), decision) {
                // What was begun is not undone by taking back the approval.
                (true, Decision::Open | Decision::Approved) => continue,
                // Who rejects it, or wants it undone, wants no more of it.
                (true, Decision::Rejected) => {
                    open.entry.ended(&open.unmade(Withheld::Rejected.reason(), Timestamp::now()))
                }
                (false, _) => open.entry.status.clone(),
            };
            let phase = match decision {
                Decision::Open => Phase::Proposed,
                Decision::Approved => Phase::Approved,
                Decision::Rejected => Phase::Rejected,
            };
            open.entry.status = ChangeSetStatus { phase: Some(phase), decided_by: by, ..status };
            news.push((open.entry.clone(), open.entry.status.clone()));
        }
        for (entry, status) in news {
            tracing::info!(change_set = entry.name, namespace = entry.namespace, phase = ?status.phase, by = status.decided_by, "Change set decided");
            self.put(entry, status).await;
        }
    }

    /// Closes the change sets of which nothing is asked for any more, and forgets those that were rejected.
    pub async fn expire(&mut self, plan: &Plan<Proposed>, desired: &[Desired], now: Timestamp) {
        if self.open.is_empty() {
            return;
        }
        let may_be_made = |hold: &Option<Withheld>| matches!(hold, None | Some(Withheld::Approval));
        let asked = plan.stage.edits.iter().filter(|proposed| may_be_made(&proposed.hold));
        let asked: BTreeSet<(&str, &Change)> =
            asked.map(|proposed| (proposed.edit.resource.as_str(), &proposed.edit.change)).collect();
        let (over, open): (Vec<Open>, Vec<Open>) =
            std::mem::take(&mut self.open).into_iter().partition(|open| open.is_over(&asked, desired).is_some());
        self.open = open;
        for open in over.into_iter().filter(Open::is_pending) {
            let why = open.is_over(&asked, desired).unwrap_or_default();
            tracing::info!(change_set = open.entry.name, namespace = open.entry.namespace, why, "Change set closed");
            self.put(open.entry.clone(), open.last_status(why, now)).await;
        }
    }

    /// Puts edits that wait for an approval into change sets of their own, as long as there is room for one.
    pub async fn propose(&mut self, prepared: &[Prepared], authority: &AuthorityNow, has_room: impl Fn(&str) -> bool) {
        let Packed { sets, .. } = change_sets(&self.cell.location, prepared, authority);
        for mut set in sets {
            set.spec.proposed = true;
            if !has_room(&set.spec.baseline.uid) {
                continue;
            }
            match self.create(&set).await {
                Ok(set) => self.opened(&set).await,
                Err(error) => {
                    tracing::warn!(%error, namespace = set.namespace(), "Change set not proposed yet");
                    self.may_be_there(&error);
                }
            }
        }
    }

    /// Takes note of a change set that was proposed, and says so in it, now or as soon as that is possible.
    async fn opened(&mut self, set: &ChangeSet) {
        let status = ChangeSetStatus { phase: Some(Phase::Proposed), ..ChangeSetStatus::default() };
        let entry = Entry { proposed: true, status: status.clone(), ..Entry::of(set) };
        self.open.push(Open::new(set, entry.clone(), Decision::Open, false));
        self.put(entry, status).await;
    }

    /// Says of a change set that it was undone, by which approval, and how far.
    pub async fn rolled_back(&mut self, set: &ChangeSet, approval: &str, how_far: &str, now: Timestamp) {
        let entry = Entry::of(set);
        let status = ChangeSetStatus {
            phase: Some(Phase::RolledBack),
            rolled_back_by: Some(approval.to_owned()),
            rolled_back_at: Some(Time(now)),
            message: Some(how_far.to_owned()),
            ..entry.status.clone()
        };
        tracing::info!(change_set = entry.name, namespace = entry.namespace, how_far, "Change set undone");
        self.put(entry, status).await;
    }

    /// The entries of the approved change sets that some resources are in.
    pub(super) fn begun(&self, approved: &[&Prepared]) -> Vec<Entry> {
        let names: BTreeSet<_> = approved.iter().filter_map(|ready| ready.resource.warrant.change_set()).collect();
        self.open.iter().filter(|open| names.contains(&open.proposal.name)).map(|open| open.entry.clone()).collect()
    }

    /// Remembers how far a change set has got; one that is done is nobody's to decide on any more.
    pub(super) fn noted(&mut self, entry: &Entry, status: &ChangeSetStatus) {
        for open in self.open.iter_mut().filter(|open| open.entry.is(entry)) {
            open.entry.status = status.clone();
        }
        self.open.retain(|open| open.entry.status.phase != Some(Phase::Applied));
    }
}
