//! What the journal tells a process that has just begun to lead: what was changed within the last day, and what was repaired.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{ChangeSet, EditOutcome, EditRecord, Outcome, Phase};
use engine::budget::{Charge, DAY, Ledger, Spent, not_as_planned};
use engine::canary::Wave;
use engine::edit::{Impact, Risk};
use engine::kind::Cell;
use engine::rivals::{Part, Subject};
use jiff::Timestamp;
use kube::Client;

use crate::journal::{INTERRUPTED, Open, baseline, baselines, cell, location, proposed_at};
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
    pub repairs: BTreeMap<Cell, Vec<Repair>>,
    /// Change sets that wait for people, by the uid of the baseline and by cell.
    pub waiting: BTreeMap<Cell, BTreeMap<String, usize>>,
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
        let Some(cell) = cell(set) else { return };
        self.enter_waves(set);
        if Open::of(set).is_some_and(|open| open.is_pending()) {
            let waiting = self.waiting.entry(cell.clone()).or_default();
            *waiting.entry(set.spec.baseline.uid.clone()).or_default() += 1;
        }
        let approved = set.status.as_ref().is_some_and(|status| status.decided_by.is_some());
        for edit in &set.spec.edits {
            let is_recent = |at: &Timestamp| now.duration_since(*at) < DAY;
            let Some(at) = changed_at(set, edit, now).filter(is_recent) else { continue };
            for baseline in &edit.baselines {
                let Cell { location, kind } = cell.clone();
                let charge = Charge { location, resource: edit.resource.clone(), kind, baseline: baseline.clone() };
                self.ledger.enter(charge, Spent { at, approved });
            }
            if outcome_of(set, edit).is_some_and(|outcome| outcome.outcome == Outcome::Verified) {
                let repairs = self.repairs.entry(cell.clone()).or_default();
                repairs.extend(edit.controls.iter().map(|control| (subject(edit), control.clone(), at)));
            }
        }
    }

    /// Enters what happened in the canaries of the baselines that demanded the edits of a change set, however long ago.
    fn enter_waves(&mut self, set: &ChangeSet) {
        for baseline in baselines(set) {
            enter_wave(self.ledger.wave(baseline.clone()), set, &baseline.to_string());
        }
        let approved = set.status.as_ref().is_some_and(|status| status.decided_by.is_some());
        if approved && set.phase() != Phase::Rejected {
            self.ledger.wave(baseline(set)).resume(proposed_at(set));
        }
    }
}

fn enter_wave(wave: &mut Wave, set: &ChangeSet, baseline: &String) {
    let location = location(set);
    let demanded = |edit: &&EditRecord| edit.baselines.is_empty() || edit.baselines.contains(baseline);
    let demanded: Vec<&EditRecord> = set.spec.edits.iter().filter(demanded).collect();
    let disruptive = demanded
        .iter()
        .filter(|edit| edit.risk == Risk::ConnectivityRisk.to_string() && edit.impact != Impact::None.to_string());
    // What was interrupted may not have been changed: it is no canary that has stood.
    let has_stood = |outcome: &&EditOutcome| outcome.is_touched() && !was_interrupted(outcome);
    for outcome in disruptive.filter_map(|edit| outcome_of(set, edit)).filter(has_stood) {
        wave.change(&location, &outcome.resource, outcome.finished_at.0);
    }
    let went_wrong = |outcome: &&EditOutcome| outcome.outcome == Outcome::Unknown && !was_interrupted(outcome);
    for outcome in demanded.iter().filter_map(|edit| outcome_of(set, edit)).filter(went_wrong) {
        wave.fail(outcome.finished_at.0, not_as_planned(&outcome.resource, &location));
    }
    if let Some(at) = set.status.as_ref().and_then(|status| status.rolled_back_at.as_ref()) {
        wave.fail(at.0, was_undone(set));
    }
}

fn subject(edit: &EditRecord) -> Subject {
    let part = edit.change().map_or(Part::Rules, |change| Part::from(change.operation()));
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

/// Whether the process ended that was to change the resource.
fn was_interrupted(outcome: &EditOutcome) -> bool {
    outcome.reason.as_deref() == Some(INTERRUPTED)
}

#[cfg(test)]
mod tests {
    use engine::facts::Location;
    use serde_json::{Value, json};

    use super::*;

    const AT: &str = "2026-01-01T00:00:00Z";

    /// A change set of one disruptive edit for each of two resources that two baselines demand, with these outcomes.
    fn set(outcomes: &Value) -> ChangeSet {
        let edit = |id: &str| {
            json!({
                "resource": id, "operation": "RemoveGrant", "controls": ["c"], "baselines": ["net/all", "team/edge"],
                "risk": "ConnectivityRisk", "impact": "2 interfaces", "before": [], "after": [], "calls": [],
            })
        };
        let baseline = json!({"kind": "SecurityGroupBaseline", "name": "edge", "uid": "b", "generation": 1});
        let others = json!([{"kind": "K", "namespace": "net", "name": "all", "uid": "a", "generation": 3}]);
        let edits = [edit("sg-1"), edit("sg-2")];
        let spec = json!({"baseline": baseline, "otherBaselines": others, "account": "1", "region": "r", "hash": "h", "edits": edits});
        let metadata = json!({"namespace": "team", "name": "edge-1", "creationTimestamp": AT});
        let status = json!({"phase": "Applying", "edits": outcomes});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn what_was_interrupted_is_spent_but_no_canary_that_stands() {
        let now: Timestamp = AT.parse().unwrap();
        let location = Location { account: "1".to_owned(), region: "r".to_owned() };
        let outcome = |id: &str, outcome: &str, reason: Option<&str>| json!({"resource": id, "outcome": outcome, "reason": reason, "verifiedCalls": 0, "finishedAt": AT});
        let made = outcome("sg-1", "Verified", None);
        let mut expected = Wave::default();
        expected.change(&location, "sg-1", now);
        for outcomes in [json!([made]), json!([made, outcome("sg-2", "Unknown", Some(INTERRUPTED))])] {
            let (mut past, set) = (Past::default(), set(&outcomes));
            past.enter(&set, now);
            assert_eq!(
                baselines(&set).map(|baseline| baseline.to_string()).collect::<Vec<_>>(),
                ["team/edge", "net/all"]
            );
            for baseline in baselines(&set) {
                assert_eq!(*past.ledger.wave(baseline), expected);
            }
            for resource in ["sg-1", "sg-2"] {
                let edit = set.spec.edits.iter().find(|edit| edit.resource == resource).unwrap();
                assert_eq!(changed_at(&set, edit, now), Some(now), "{resource} counts for the budget");
            }
        }
    }
}
