//! What the journal tells a process that has just begun to lead: what was changed within the last day, and what was repaired.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{ChangeSet, EditOutcome, EditRecord, Outcome, Phase};
use engine::budget::{Charge, DAY, Ledger, Spent, not_as_planned};
use engine::edit::{Impact, Operation, Risk};
use engine::facts::Location;
use engine::rivals::{Part, Subject};
use jiff::Timestamp;
use kube::Client;

use crate::journal::{INTERRUPTED, Open, baseline, location, proposed_at};
use crate::kubernetes::each_change_set;
use crate::rollback::was_undone;

const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A finding that was repaired: what of which resource, id of the control, and when.
pub type Repair = (Subject, String, Timestamp);

/// What happened before this process began to lead.
#[derive(Debug, Default)]
pub struct Past {
    /// What was changed within the last day.
    pub ledger: Ledger,
    /// Findings that were repaired within the last day, oldest first.
    pub repairs: BTreeMap<Location, Vec<Repair>>,
    /// Change sets that wait for people, by the uid of the baseline and by cell.
    pub waiting: BTreeMap<Location, BTreeMap<String, usize>>,
}

/// Reads the journal, as often as it takes: without it nobody knows what the budgets have room for.
pub async fn read(client: &Client) -> Past {
    loop {
        match try_read(client).await {
            Ok(past) => return past,
            Err(error) => {
                tracing::warn!(%error, "The journal of the last day cannot be read: nothing is looked at yet");
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        }
    }
}

async fn try_read(client: &Client) -> kube::Result<Past> {
    let (mut past, now) = (Past::default(), Timestamp::now());
    each_change_set(client, |set| past.enter(set, now)).await?;
    Ok(past.in_order())
}

impl Past {
    /// The same with the oldest repairs first.
    pub fn in_order(mut self) -> Self {
        self.repairs.values_mut().for_each(|repairs| repairs.sort_by_key(|(.., at)| *at));
        self
    }

    /// Enters what was changed by a change set within the day before `now`.
    pub fn enter(&mut self, set: &ChangeSet, now: Timestamp) {
        // An undo repairs nothing, and no budget was asked for it.
        if set.spec.undoes.is_some() {
            return;
        }
        let location = location(set);
        self.enter_wave(set, now);
        if Open::of(set).is_some_and(|open| open.is_pending()) {
            let waiting = self.waiting.entry(location.clone()).or_default();
            *waiting.entry(set.spec.baseline.uid.clone()).or_default() += 1;
        }
        let approved = set.status.as_ref().is_some_and(|status| status.decided_by.is_some());
        for edit in &set.spec.edits {
            let is_recent = |at: &Timestamp| now.duration_since(*at) < DAY;
            let Some(at) = changed_at(set, edit, now).filter(is_recent) else { continue };
            for baseline in &edit.baselines {
                let charge =
                    Charge { location: location.clone(), resource: edit.resource.clone(), baseline: baseline.clone() };
                self.ledger.enter(charge, Spent { at, approved });
            }
            if outcome_of(set, edit).is_some_and(|outcome| outcome.outcome == Outcome::Verified) {
                let repairs = self.repairs.entry(location.clone()).or_default();
                repairs.extend(edit.controls.iter().map(|control| (subject(edit), control.clone(), at)));
            }
        }
    }

    /// Enters what happened in the canary of the baseline that a change set was made for, however long ago.
    fn enter_wave(&mut self, set: &ChangeSet, now: Timestamp) {
        let (wave, location) = (self.ledger.wave(baseline(set)), location(set));
        for edit in &set.spec.edits {
            let is_disruptive =
                edit.risk == Risk::ConnectivityRisk.to_string() && edit.impact != Impact::None.to_string();
            if let Some(at) = changed_at(set, edit, now).filter(|_| is_disruptive) {
                wave.change(&location, &edit.resource, at);
            }
        }
        let Some(status) = &set.status else { return };
        let is_unknown =
            |edit: &&EditOutcome| edit.outcome == Outcome::Unknown && edit.reason.as_deref() != Some(INTERRUPTED);
        for edit in status.edits.iter().filter(is_unknown) {
            wave.fail(edit.finished_at.0, not_as_planned(&edit.resource, &location));
        }
        if let Some(at) = &status.rolled_back_at {
            wave.fail(at.0, was_undone(set));
        }
        if status.decided_by.is_some() && status.phase != Some(Phase::Rejected) {
            wave.resume(proposed_at(set));
        }
    }
}

fn subject(edit: &EditRecord) -> Subject {
    let part = if edit.operation == Operation::AddTags.to_string() { Part::Tags } else { Part::Rules };
    Subject { resource: edit.resource.clone(), part }
}

fn outcome_of<'s>(set: &'s ChangeSet, edit: &EditRecord) -> Option<&'s EditOutcome> {
    set.status.as_ref()?.edits.iter().find(|outcome| outcome.resource == edit.resource)
}

/// When a resource was changed, or may have been: at the latest `now`.
fn changed_at(set: &ChangeSet, edit: &EditRecord, now: Timestamp) -> Option<Timestamp> {
    match outcome_of(set, edit) {
        Some(outcome) => outcome.is_touched().then_some(outcome.finished_at.0),
        // Nobody knows what came of it.
        None => (set.phase() == Phase::Applying).then_some(now),
    }
}
