//! What the ledger of changes holds back: budgets and the blast radius.

use engine::budget::{Charge, Ledger, Reserved, Spent};
use engine::edit::{BaselineRef, Withheld};
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::kind::Kind;
use engine::plan::{Applied, Outcome, Permitted, Plan, Proposed, ResourceOutcome, plan};
use engine::rails::{self, Moment};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Case, NOW, all, baseline, cell, group, location, reasons};

/// So many groups with an open port, and so many without.
pub(super) fn fleet(bad: usize, good: usize) -> Case {
    Case::with(|case| {
        let bad = (0..bad).map(|number| group(&format!("sg-bad-{number:02}"), "shop", &["tcp/22 0.0.0.0/0"]));
        let good = (0..good).map(|number| group(&format!("sg-good-{number:02}"), "shop", &["tcp/443 0.0.0.0/0"]));
        case.groups = bad.chain(good).collect();
    })
}

pub(super) fn limited(mut case: Case, remediation: serde_json::Value) -> Case {
    case.baselines[0].remediation = serde_json::from_value(remediation).unwrap();
    case
}

impl Case {
    pub(super) fn looked(&self) -> (Plan<Proposed>, Evaluation) {
        let (desired, inventory) = (self.desired(), self.inventory());
        let evaluation = evaluate(Kind::SecurityGroup, &desired, &inventory, NOW, Keep::All);
        let proposed = plan(&desired, &inventory, &evaluation);
        (rails::hold_for_good(proposed, &inventory, &self.account), evaluation)
    }

    /// What a ledger leaves of the plan at some time.
    pub(super) fn reserve(&self, ledger: &mut Ledger, now: Timestamp) -> (Permitted, Reserved) {
        let (desired, inventory) = (self.desired(), self.inventory());
        let moment = Moment { desired: &desired, circumstances: &self.circumstances, now };
        let held = rails::hold_for_now(self.looked().0, &self.account, self.leading);
        let permitted = rails::apply(held, &inventory, &self.account, moment);
        let (plan, reserved) = ledger.reserve(permitted, &desired, &self.account, now);
        (plan.stage, reserved)
    }

    pub(super) fn too_many(&self, ledger: &mut Ledger) -> Vec<&'static str> {
        let (held, evaluation) = self.looked();
        ledger.look(&held, &evaluation, &self.desired(), NOW);
        ledger.too_many(&self.desired(), NOW).values().map(Withheld::reason).collect()
    }
}

/// What was done in this cell.
pub(super) fn applied(outcomes: Vec<ResourceOutcome>) -> Plan<Applied> {
    Plan { cell: cell(), stage: Applied { outcomes, withheld: Vec::new() } }
}

pub(super) fn changed(permitted: &Permitted) -> Vec<&str> {
    permitted.resources.iter().map(|resource| resource.target.id.as_str()).collect()
}

pub(super) fn later(minutes: i64) -> Timestamp {
    NOW.checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

#[test]
fn a_budget_holds_for_an_hour_and_counts_a_resource_once() {
    let case = limited(fleet(3, 0), json!({"budget": {"perHour": 2}}));
    let mut ledger = Ledger::default();
    let (first, _reserved) = case.reserve(&mut ledger, NOW);
    assert_eq!(changed(&first), ["sg-bad-00", "sg-bad-01"]);
    let budget: Vec<_> = first.withheld.iter().filter(|held| held.reason.reason() == "Budget").collect();
    assert!(budget.len() == 1 && budget[0].reason.explain().contains("baseline security/edge lets 2"), "{budget:?}");
    let (again, _reserved) = case.reserve(&mut ledger, later(59));
    assert_eq!(changed(&again), ["sg-bad-00", "sg-bad-01"], "the same two, and no third");
    let (later, _reserved) = case.reserve(&mut Ledger::default(), later(60));
    assert_eq!(changed(&later).len(), 2);
}

#[test]
fn what_was_not_touched_is_given_back_and_what_may_have_been_is_not() {
    let case = limited(fleet(2, 0), json!({"budget": {"perHour": 1}}));
    let only_other = |ledger: &mut Ledger| {
        let other = Case { groups: vec![case.groups[1].clone()], ..case.clone() };
        changed(&other.reserve(ledger, NOW).0).len()
    };
    let settled = |outcome: &Outcome| {
        let mut ledger = Ledger::default();
        let (permitted, reserved) = case.reserve(&mut ledger, NOW);
        ledger.settle(reserved, &applied(all(&permitted, outcome)));
        only_other(&mut ledger)
    };
    assert_eq!(settled(&Outcome::Withheld(Withheld::ForeignChange)), 1);
    assert_eq!(settled(&Outcome::Verified), 0);
    assert_eq!(settled(&Outcome::Failed(engine::plan::Failure::OutcomeUnknown)), 0);
}

#[test]
fn the_budget_of_the_account_is_shared_by_all_and_survives_a_restart() {
    let mut case = fleet(3, 0);
    case.account.changes_per_hour = 2;
    let mut ledger = Ledger::default();
    for (number, minutes) in [(8, -30), (9, -61)] {
        let charge = Charge {
            location: location(),
            kind: Kind::SecurityGroup,
            resource: format!("sg-other-{number}"),
            baseline: "elsewhere/other".to_owned(),
        };
        ledger.enter(charge, Spent { at: later(minutes), approved: false });
    }
    assert_eq!(changed(&case.reserve(&mut ledger, NOW).0), ["sg-bad-00"], "one of two was spent within the hour");
}

#[test]
fn a_large_share_asks_and_what_was_approved_does_not_count_again() {
    let mut ledger = Ledger::default();
    assert_eq!(fleet(5, 15).too_many(&mut ledger), [""; 0], "a quarter");
    assert_eq!(fleet(6, 14).too_many(&mut ledger), ["BlastRadius"]);
    assert_eq!(fleet(6, 13).too_many(&mut ledger), [""; 0], "fewer than 20 are not counted");
    let wide = limited(fleet(6, 14), json!({"blastRadius": {"maxShare": 30}}));
    assert_eq!(wide.too_many(&mut ledger), [""; 0]);
    let yesterday = |approved| {
        let mut ledger = Ledger::default();
        for number in 0..3 {
            let (resource, baseline) = (format!("sg-good-{number:02}"), "security/edge".to_owned());
            let spent = Spent { at: later(-23 * 60), approved };
            ledger.enter(Charge { location: location(), resource, kind: Kind::SecurityGroup, baseline }, spent);
        }
        fleet(3, 17).too_many(&mut ledger)
    };
    assert_eq!(yesterday(false), ["BlastRadius"], "slices add up");
    assert_eq!(yesterday(true), [""; 0]);
}

#[test]
fn what_is_approved_later_does_not_make_up_for_what_nobody_approved() {
    let mut ledger = Ledger::default();
    for (hours, approved) in [(-20, false), (-10, true)] {
        for number in 0..3 {
            let (resource, baseline) = (format!("sg-good-{number:02}"), "security/edge".to_owned());
            let spent = Spent { at: later(hours * 60), approved };
            ledger.enter(Charge { location: location(), resource, kind: Kind::SecurityGroup, baseline }, spent);
        }
    }
    assert_eq!(fleet(3, 17).too_many(&mut ledger), ["BlastRadius"]);
}

#[test]
fn what_takes_long_counts_from_when_it_was_done() {
    let case = limited(fleet(2, 0), json!({"budget": {"perHour": 1}}));
    let only_other = Case { groups: vec![case.groups[1].clone()], ..case.clone() };
    let mut ledger = Ledger::default();
    let (permitted, reserved) = case.reserve(&mut ledger, NOW);
    let mut outcomes = all(&permitted, &Outcome::Verified);
    outcomes.iter_mut().for_each(|outcome| outcome.finished_at = later(20));
    ledger.settle(reserved, &applied(outcomes));
    assert_eq!(changed(&only_other.reserve(&mut ledger, later(79)).0).len(), 0);
    assert_eq!(changed(&only_other.reserve(&mut ledger, later(80)).0).len(), 1);
}

#[test]
fn nothing_is_changed_before_every_cell_was_looked_at() {
    let mut case = fleet(1, 0);
    case.account.regions.push("us-east-1".to_owned());
    let mut ledger = Ledger::default();
    assert_eq!(case.too_many(&mut ledger), ["OtherCells"]);
    let (mut elsewhere, evaluation) = case.looked();
    elsewhere.cell.location.region = "us-east-1".to_owned();
    ledger.look(&elsewhere, &evaluation, &case.desired(), NOW);
    assert_eq!(case.too_many(&mut ledger), [""; 0]);
    let reference: BaselineRef = case.baselines[0].reference.clone();
    case.baselines[0].reference = BaselineRef { generation: 2, ..reference };
    assert_eq!(case.too_many(&mut ledger), ["OtherCells"], "another generation selects something else");
}

#[test]
fn what_waits_for_a_look_at_other_cells_is_not_proposed() {
    let mut case = Case::with(|case| {
        case.baselines.push(baseline("other", json!({"internet": {"denyPresets": ["Admin"]}})));
    });
    let [one, other] = [0, 1].map(|index| case.baselines[index].reference.clone());
    let share = || Withheld::BlastRadius("6 of 20 resources".to_owned());
    let proposes = |case: &mut Case, both: [Withheld; 2]| {
        case.circumstances.too_many = [one.clone(), other.clone()].into_iter().zip(both).collect();
        (case.permitted().to_propose.len(), reasons(case))
    };
    assert_eq!(proposes(&mut case, [Withheld::OtherCells, Withheld::OtherCells]), (0, vec!["OtherCells"]));
    let undecided = [[share(), Withheld::OtherCells], [Withheld::OtherCells, share()]];
    for both in undecided {
        assert_eq!(proposes(&mut case, both), (0, vec!["OtherCells"]), "one of them may not have to ask");
    }
    assert_eq!(proposes(&mut case, [share(), share()]), (1, vec!["BlastRadius"]));
}
