//! What happened before, as far as change sets tell it: what waits for people, what was changed, and what was tried in vain.

use std::sync::Arc;

use anyhow::Context;
use crds::{ChangeSet, EditOutcome};
use engine::approval::{Decision, Proposal, Warrant};
use engine::budget::{DAY, Ledger};
use engine::edit::{Edit, Withheld};
use engine::kind::Cell;
use engine::plan::{Failure, Outcome, Plan, Proposed, ResourceOutcome};
use engine::rails::Circumstances;
use engine::retries::Retries;
use jiff::Timestamp;
use kube::Client;

use crate::journal::{Entry, Open, cell, proposal_of};
use crate::kubernetes::each_change_set;
use crate::past::Past;

/// What happened before; by default nothing is known of it.
#[derive(Debug, Default)]
pub struct History {
    past: Past,
    /// Change sets that people decide on.
    open: Vec<(Cell, Proposal)>,
    /// What came of resources within the last day, oldest first.
    tried: Vec<Tried>,
}

#[derive(Debug)]
struct Tried {
    cell: Cell,
    set: Arc<Proposal>,
    resource: String,
    outcome: Outcome,
    at: Timestamp,
}

impl History {
    /// Reads it from a cluster.
    ///
    /// # Errors
    /// Change sets cannot be listed.
    pub async fn read(client: &Client) -> anyhow::Result<Self> {
        let (mut history, now) = (Self::default(), Timestamp::now());
        let read = each_change_set(client, |set| history.enter(set, now)).await;
        read.context("ChangeSets cannot be listed: give the files with -f, or ask for the right")?;
        Ok(history.in_order())
    }

    fn in_order(mut self) -> Self {
        self.tried.sort_by_key(|tried| tried.at);
        Self { past: self.past.in_order(), ..self }
    }

    fn enter(&mut self, set: &ChangeSet, now: Timestamp) {
        self.past.enter(set, now);
        let Some(cell) = cell(set) else { return };
        if let Some(open) = Open::of(set) {
            self.open.push((cell.clone(), open.proposal().clone()));
        }
        let outcomes = set.status.iter().flat_map(|status| &status.edits);
        let mut proposal: Option<Arc<Proposal>> = None;
        for edit in outcomes.filter(|edit| now.duration_since(edit.finished_at.0) < DAY) {
            let Some(outcome) = outcome(edit) else { continue };
            let proposal =
                Arc::clone(proposal.get_or_insert_with(|| Arc::new(proposal_of(set, &Entry::of(set), Decision::Open))));
            let (cell, resource, at) = (cell.clone(), edit.resource.clone(), edit.finished_at.0);
            self.tried.push(Tried { cell, set: proposal, resource, outcome, at });
        }
    }

    /// What was changed within the last day, and what cells would change.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.past.ledger
    }

    /// What the rails have to know before they judge the plan of a cell.
    pub fn circumstances(&self, plan: &Plan<Proposed>, now: Timestamp) -> Circumstances {
        let mut circumstances = Circumstances { retries: self.retries(plan, now), ..Circumstances::default() };
        for (subject, control, at) in self.past.repairs.get(&plan.cell).into_iter().flatten() {
            circumstances.contests.restore(subject, control, *at);
        }
        let open = self.open.iter().filter(|(cell, _)| *cell == plan.cell);
        circumstances.proposals = open.map(|(_, proposal)| proposal.clone()).collect();
        circumstances
    }

    /// What the controller remembers of what it tried, unless it was started anew since.
    fn retries(&self, plan: &Plan<Proposed>, now: Timestamp) -> Retries {
        let mut retries = Retries::default();
        for Tried { set, resource, outcome, at, .. } in self.tried.iter().filter(|tried| tried.cell == plan.cell) {
            let edits = plan.stage.edits.iter().map(|proposed| &proposed.edit);
            let edits: Vec<Edit> =
                edits.filter(|edit| edit.resource == *resource && set.holds(edit)).cloned().collect();
            retries.note(&[ResourceOutcome {
                id: resource.clone(),
                edits,
                warrant: Warrant::Baselines,
                outcome: outcome.clone(),
                calls_verified: 0,
                request_ids: Vec::new(),
                finished_at: *at,
            }]);
        }
        retries.prune(now);
        retries
    }
}

/// What came of a resource, if that has a say in when it is tried again.
fn outcome(edit: &EditOutcome) -> Option<Outcome> {
    let reason = edit.reason.as_deref().unwrap_or_default();
    match edit.outcome {
        crds::Outcome::Verified => Some(Outcome::Verified),
        crds::Outcome::Failed | crds::Outcome::Unknown => {
            Failure::ALL.into_iter().find(|failure| failure.reason() == reason).map(Outcome::Failed)
        }
        crds::Outcome::Withheld => {
            (reason == Withheld::ForeignChange.reason()).then_some(Outcome::Withheld(Withheld::ForeignChange))
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::edit::{BaselineRef, Change, Demand, Impact};
    use engine::facts::{Location, Tags};
    use engine::kind::Kind;
    use engine::plan::ProposedEdit;
    use serde_json::json;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    /// A tag that is missing on sg-1.
    fn edit(generation: i64) -> Edit {
        let (namespace, name, uid) = ("team".to_owned(), "edge".to_owned(), "u".to_owned());
        let baseline = BaselineRef { kind: Kind::SecurityGroup, namespace, name, uid, generation };
        let change = Change::Tags { before: Tags::new(), after: [("owner".to_owned(), "ana".to_owned())].into() };
        Edit::new("sg-1", change, vec![Demand { baseline, control: "sg-required-tags" }], Impact::None)
    }

    /// A change set with that edit, for the first generation of the baseline.
    fn set(name: &str, phase: &str, outcome: Option<(&str, &str, i64)>) -> ChangeSet {
        let edits = outcome.map(|(outcome, reason, minute)| {
            json!({"resource": "sg-1", "outcome": outcome, "reason": reason, "verifiedCalls": 1, "finishedAt": at(minute)})
        });
        let text = json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSet",
            "metadata": {"name": name, "namespace": "team", "creationTimestamp": at(0)},
            "spec": {
                "baseline": {"kind": "SecurityGroupBaseline", "name": "edge", "uid": "u", "generation": 1},
                "account": "111122223333", "region": "eu-west-1", "hash": "sha256:7f3a",
                "edits": [{"resource": "sg-1", "controls": ["sg-required-tags"], "baselines": ["team/edge"], "operation": "AddTags",
                    "risk": "ConfigOnly", "impact": "None", "before": [], "after": [{"tags": {"owner": "ana"}}], "calls": ["CreateTags"]}],
            },
            "status": {"phase": phase, "edits": edits.into_iter().collect::<Vec<_>>()},
        });
        serde_json::from_value(text).unwrap()
    }

    /// What the rails are told where this edit is asked for after these change sets.
    fn told(sets: &[ChangeSet], edit: &Edit, minute: i64) -> Circumstances {
        let mut history = History::default();
        sets.iter().for_each(|set| history.enter(set, at(0)));
        let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
        let edits = vec![ProposedEdit { edit: edit.clone(), hold: None }];
        let cell = Cell { kind: Kind::SecurityGroup, location };
        let plan = Plan { cell, stage: Proposed { edits, baselines: Vec::new() } };
        history.in_order().circumstances(&plan, at(minute))
    }

    #[test]
    fn what_was_tried_in_vain_waits_as_long_as_the_same_is_asked_for() {
        let denied = |name, minute| set(name, "Expired", Some(("Failed", "WriteDenied", minute)));
        let waits = |sets: &[ChangeSet], generation, minute| {
            let edit = edit(generation);
            told(sets, &edit, minute).retries.waits("sg-1", std::slice::from_ref(&edit), at(minute)).cloned()
        };
        let last = Some(Outcome::Failed(Failure::WriteDenied));
        let (once, twice) = ([denied("a", 10)], [denied("b", 20), denied("a", 10)]);
        assert_eq!((waits(&once, 1, 10), waits(&once, 1, 11)), (last.clone(), None));
        assert_eq!((waits(&twice, 1, 21), waits(&twice, 1, 22)), (last, None));
        assert_eq!(waits(&once, 2, 10), None);
    }

    #[test]
    fn what_was_repaired_three_times_within_an_hour_is_contested() {
        let made = |minute: i64| set(&format!("edge-{minute}"), "Applied", Some(("Verified", "", minute)));
        let contest = |sets: &[ChangeSet]| told(sets, &edit(1), 31).contests.waits(&edit(1), at(30));
        assert_eq!(contest(&[made(30), made(10)]), None);
        let contest = contest(&[made(30), made(10), made(20)]).unwrap();
        assert_eq!((contest.repairs, contest.since, contest.next), (3, at(10), at(31)));
    }

    #[test]
    fn what_puts_back_a_change_is_no_repair_and_spends_no_budget() {
        let undo = |minute: i64| {
            let mut set = set(&format!("undo-{minute}"), "Applied", Some(("Verified", "", minute)));
            let [change_set, approval, by] = ["edge-1", "cab-1182", "ana"].map(str::to_owned);
            set.spec.undoes = Some(crds::Undoes { change_set, approval, by });
            set
        };
        let sets = [undo(10), undo(20), undo(30)];
        assert_eq!(told(&sets, &edit(1), 31).contests.waits(&edit(1), at(30)), None);
        let known = |sets: &[ChangeSet]| {
            let mut past = Past::default();
            sets.iter().for_each(|set| past.enter(set, at(31)));
            format!("{past:?}")
        };
        assert_eq!(known(&sets), known(&[]));
        assert_ne!(known(&[set("edge-1", "Applied", Some(("Verified", "", 10)))]), known(&[]));
    }

    #[test]
    fn change_sets_that_people_decide_on_are_known_and_others_are_not() {
        let sets = ["Proposed", "Approved", "Rejected", "Applied", "Expired"].map(|phase| set(phase, phase, None));
        let proposals = told(&sets, &edit(1), 1).proposals;
        let decisions: Vec<Decision> = proposals.iter().map(|proposal| proposal.decision).collect();
        assert_eq!(decisions, [Decision::Open, Decision::Approved, Decision::Rejected]);
        assert!(proposals.iter().all(|proposal| proposal.holds(&edit(1)) && !proposal.holds(&edit(2))));
    }
}
