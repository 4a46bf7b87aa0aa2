//! What the canary holds back: everything that can break connections, until the few that went first have stood.

use engine::approval::{ChangeSetName, Decision, Proposal};
use engine::budget::Ledger;
use engine::facts::InterfaceUse;
use engine::plan::{Failure, Outcome, Permitted, Plan};
use engine::rails::{self, Moment};
use jiff::Timestamp;
use serde_json::json;

use super::limits::{applied, changed, later, limited};
use super::{Case, NOW, all, group};

/// Three groups with an open port, of which some are in use, and a baseline with a canary of one resource.
fn case(in_use: &[&str]) -> Case {
    let case = Case::with(|case| {
        case.groups = ["sg-0", "sg-1", "sg-2"].map(|id| group(id, "shop", &["tcp/22 0.0.0.0/0"])).to_vec();
        let used = |id: &&str| ((*id).to_owned(), InterfaceUse { interfaces: 2, ..InterfaceUse::default() });
        case.usage = Some(in_use.iter().map(used).collect());
    });
    limited(case, json!({"canary": {"resources": 1, "soak": "30m"}}))
}

fn reasons(permitted: &Permitted) -> Vec<&'static str> {
    permitted.withheld.iter().map(|held| held.reason.reason()).collect()
}

/// Changes what may be changed, to this outcome.
fn change(case: &Case, ledger: &mut Ledger, now: Timestamp, outcome: &Outcome) -> Vec<String> {
    let (permitted, reserved) = case.reserve(ledger, now);
    ledger.settle(reserved, &applied(all(&permitted, outcome)));
    changed(&permitted).into_iter().map(str::to_owned).collect()
}

#[test]
fn the_rest_follows_once_the_canary_has_stood() {
    let (case, mut ledger) = (case(&["sg-0", "sg-1", "sg-2"]), Ledger::default());
    let (first, reserved) = case.reserve(&mut ledger, NOW);
    assert_eq!((changed(&first), reasons(&first)), (vec!["sg-0"], vec!["Canary", "Canary"]));
    // What is verified counts from when it was: the epoch, in these outcomes.
    ledger.settle(reserved, &applied(all(&first, &Outcome::Verified)));
    let (waiting, _reserved) = case.reserve(&mut ledger, later(29));
    assert_eq!(changed(&waiting), ["sg-0"], "the same one may be changed again");
    assert_eq!(ledger.next_soaked(&case.desired(), later(29)), Some(later(30)));
    let (rest, _reserved) = case.reserve(&mut ledger, later(30));
    assert_eq!(changed(&rest), ["sg-0", "sg-1", "sg-2"]);
}

#[test]
fn what_nobody_uses_neither_waits_nor_counts() {
    let (case, mut ledger) = (case(&["sg-2"]), Ledger::default());
    assert_eq!(change(&case, &mut ledger, NOW, &Outcome::Verified), ["sg-0", "sg-1", "sg-2"]);
}

#[test]
fn what_was_not_changed_is_no_canary() {
    let (case, mut ledger) = (case(&["sg-0", "sg-1"]), Ledger::default());
    let denied = Outcome::Failed(Failure::WriteDenied);
    assert_eq!(change(&case, &mut ledger, NOW, &denied), ["sg-0", "sg-2"]);
    let without = Case { groups: case.groups[1..].to_vec(), ..case.clone() };
    assert_eq!(change(&without, &mut ledger, NOW, &Outcome::Verified), ["sg-1", "sg-2"]);
}

#[test]
fn another_baseline_that_asks_for_the_same_without_a_canary_waits_for_none() {
    let mut case = case(&["sg-0", "sg-1", "sg-2"]);
    case.baselines.push(super::baseline("other", json!({"internet": {"denyPresets": ["Admin"]}})));
    assert_eq!(changed(&case.reserve(&mut Ledger::default(), NOW).0), ["sg-0", "sg-1", "sg-2"]);
}

#[test]
fn after_a_change_that_is_not_as_planned_all_wait_for_an_approval() {
    let (mut case, mut ledger) = (case(&["sg-0", "sg-1", "sg-2"]), Ledger::default());
    assert_eq!(case.too_many(&mut ledger), [""; 0]);
    assert_eq!(change(&case, &mut ledger, NOW, &Outcome::Failed(Failure::NotVerified)), ["sg-0"]);
    assert_eq!(case.too_many(&mut ledger), ["CanaryFailed"]);
    case.circumstances.too_many = ledger.too_many(&case.desired(), NOW);
    let (stopped, _reserved) = case.reserve(&mut ledger, later(60));
    assert_eq!((changed(&stopped), reasons(&stopped)), (vec![""; 0], vec!["CanaryFailed"; 3]));
    assert_eq!(stopped.to_propose.len(), 3, "somebody can approve it");
    let proposal = |proposed_at| Proposal {
        name: ChangeSetName { namespace: "security".to_owned(), name: "edge-1".to_owned() },
        baseline: case.baselines[0].reference.clone(),
        proposed_at,
        decision: Decision::Approved,
        changes: Default::default(),
    };
    ledger.hear(&[proposal(later(-1))]);
    assert_eq!(case.too_many(&mut ledger), ["CanaryFailed"], "that was proposed before it failed");
    ledger.hear(&[proposal(later(1))]);
    assert_eq!(case.too_many(&mut ledger), [""; 0]);
    case.circumstances.too_many.clear();
    assert_eq!(changed(&case.reserve(&mut ledger, later(60)).0).len(), 3);
}

#[test]
fn an_undo_stops_the_rest_and_an_edited_baseline_begins_anew() {
    let (mut case, mut ledger) = (case(&["sg-0", "sg-1", "sg-2"]), Ledger::default());
    change(&case, &mut ledger, NOW, &Outcome::Verified);
    let reference = case.baselines[0].reference.clone();
    ledger.wave(reference.clone()).fail(later(5), "change set edge-1 was undone".to_owned());
    assert_eq!(case.too_many(&mut ledger), ["CanaryFailed"]);
    case.baselines[0].reference = engine::edit::BaselineRef { generation: 2, ..reference };
    assert_eq!(case.too_many(&mut ledger), [""; 0]);
    assert_eq!(changed(&case.reserve(&mut ledger, later(5)).0), ["sg-0"]);
}

#[test]
fn a_canary_that_cannot_be_changed_right_now_is_not_over() {
    let canary = json!({"canary": {"regions": ["eu-west-1"], "soak": "30m"}});
    let mut both = limited(case(&["sg-0", "sg-1", "sg-2"]), canary);
    both.account.regions.push("us-east-1".to_owned());
    // What is held in the other region while the first is as it is after this change.
    let held = |change: &dyn Fn(&mut Case)| {
        let (mut first, mut ledger) = (both.clone(), Ledger::default());
        change(&mut first);
        assert_eq!(first.too_many(&mut ledger), ["OtherCells"]);
        let (plan, evaluation) = both.looked();
        ledger.look(&elsewhere(plan), &evaluation, &both.desired(), NOW);
        let (desired, inventory) = (both.desired(), both.inventory());
        let moment = Moment { desired: &desired, circumstances: &both.circumstances, now: later(60) };
        let permitted = elsewhere(rails::apply(both.looked().0, &inventory, &both.account, moment));
        let (plan, _reserved) = ledger.reserve(permitted, &desired, &both.account, later(60));
        reasons(&plan.stage)
    };
    let waits = vec!["Canary"; 3];
    assert_eq!(held(&|_| ()), waits);
    assert_eq!(held(&|first| first.leading = false), waits);
    assert_eq!(held(&|first| first.account.writes_stopped = true), waits);
    assert_eq!(held(&|first| first.account.write_distrust = Some("not proven".to_owned())), waits);
    assert_eq!(held(&|first| first.account.writable = false), waits);
    let clean = |first: &mut Case| first.groups.iter_mut().for_each(|group| group.rules.clear());
    assert_eq!(held(&clean), [""; 0], "nothing is left to change there");
}

fn elsewhere<S>(mut plan: Plan<S>) -> Plan<S> {
    plan.cell.location.region = "us-east-1".to_owned();
    plan
}

#[test]
fn what_was_changed_first_stands_from_when_it_was_done_with() {
    let (case, mut ledger) = (case(&["sg-0", "sg-1", "sg-2"]), Ledger::default());
    let (first, reserved) = case.reserve(&mut ledger, NOW);
    let mut outcomes = all(&first, &Outcome::Verified);
    outcomes.iter_mut().for_each(|outcome| {
        (outcome.calls_verified, outcome.finished_at) = (1, later(5));
    });
    ledger.settle(reserved, &applied(outcomes));
    assert_eq!(ledger.next_soaked(&case.desired(), later(10)), Some(later(35)));
}
