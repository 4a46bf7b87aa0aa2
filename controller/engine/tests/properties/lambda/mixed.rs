//! Accounts in which baselines of both kinds go by the same names: neither kind touches the plans or budgets of the other.

use engine::budget::Ledger;
use engine::desired::{Baseline, Desired};
use engine::edit::{BaselineRef, Withheld};
use engine::evaluate::{Keep, evaluate};
use engine::facts::{Inventory, Lambda};
use engine::kind::{Cell, Kind};
use engine::plan::{Outcome, Permitted, Plan, ResourceOutcome, plan};
use engine::rails::{self, Circumstances, Moment};
use engine::remediation::Remediation;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::config;
use super::world::{NOW, World};
use crate::dice::Dice;
use crate::world::World as Groups;

/// Both kinds in one account and region.
struct Mixed {
    groups: Groups,
    lambda: World,
}

/// Baselines of this kind by these names, each with a small budget and a canary.
fn renamed(dice: &mut Dice<'_>, baselines: &mut [Baseline]) {
    for (number, baseline) in baselines.iter_mut().enumerate() {
        baseline.reference.namespace = "team-0".to_owned();
        baseline.reference.name = format!("baseline-{number}");
        baseline.namespace.name = "team-0".to_owned();
        let canary = dice.one_in(2).then(|| json!({"resources": 1, "soak": "30m"}));
        let mut remediation = json!({"budget": {"perHour": 1 + dice.below(2)}});
        if let Some(canary) = canary {
            remediation["canary"] = canary;
        }
        baseline.remediation = serde_json::from_value::<Remediation>(remediation).unwrap();
    }
}

fn mixed((mut groups, mut lambda, choices): (Groups, World, Vec<u16>)) -> Mixed {
    let mut dice = Dice::new(&choices);
    renamed(&mut dice, &mut groups.baselines);
    renamed(&mut dice, &mut lambda.baselines);
    // As names go, a function may be a group.
    if let (Some(deep), Some(group)) = (lambda.functions.first_mut(), groups.groups.first()) {
        deep.function.name = group.id.clone();
    }
    lambda.account.namespaces = groups.account.namespaces.clone();
    lambda.account.namespaces[0].select = None;
    groups.account = lambda.account.clone();
    Mixed { groups, lambda }
}

fn worlds() -> impl Strategy<Value = Mixed> {
    let choices = prop::collection::vec(any::<u16>(), 0..40);
    (crate::worlds(), super::worlds(), choices).prop_map(mixed)
}

impl std::fmt::Debug for Mixed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}\n{:?}", self.groups, self.lambda)
    }
}

impl Mixed {
    fn desired(&self, kind: Kind) -> Vec<Desired> {
        match kind {
            Kind::SecurityGroup => self.groups.desired(),
            Kind::Lambda => self.lambda.desired(),
        }
    }

    /// What was read of the account: of the other kind too, or not.
    fn inventory(&self, kind: Kind, both: bool) -> Inventory {
        let groups = Inventory { prefix_lists: self.groups.inventory().prefix_lists, ..self.lambda.inventory() };
        let fresh = |inventory: Inventory| Inventory { location: self.lambda.location(), ..inventory };
        match kind {
            Kind::Lambda if both => groups,
            Kind::Lambda => self.lambda.inventory(),
            Kind::SecurityGroup if both => {
                fresh(Inventory { lambda: self.lambda.inventory().lambda, ..self.groups.inventory() })
            }
            Kind::SecurityGroup => fresh(Inventory { lambda: Lambda::default(), ..self.groups.inventory() }),
        }
    }

    /// Looks at a cell of a kind, reserves and settles as the controller does, and tells what it is left with.
    fn sweep(&self, kind: Kind, both: bool, ledger: &mut Ledger) -> (Permitted, Vec<(BaselineRef, Withheld)>) {
        let now = if kind == Kind::Lambda { NOW } else { crate::world::NOW };
        let (desired, inventory, account) = (self.desired(kind), self.inventory(kind, both), &self.lambda.account);
        let evaluation = evaluate(kind, &desired, &inventory, now, Keep::All);
        let proposed = rails::hold_for_good(plan(&desired, &inventory, &evaluation), &inventory, account);
        ledger.look(&proposed, &evaluation, &desired, at());
        let too_many = ledger.too_many(&desired, at());
        let circumstances = Circumstances { too_many: too_many.clone(), ..Circumstances::default() };
        let moment = Moment { desired: &desired, circumstances: &circumstances, now };
        let permitted = rails::apply(rails::hold_for_now(proposed, account, true), &inventory, account, moment);
        let (permitted, reserved) = ledger.reserve(permitted, &desired, account, at());
        let outcome = |resource: &engine::plan::PermittedResource| ResourceOutcome {
            id: resource.target.id.clone(),
            edits: resource.edits.clone(),
            warrant: resource.warrant.clone(),
            outcome: Outcome::Verified,
            calls_verified: 1,
            request_ids: Vec::new(),
            finished_at: at(),
        };
        let left = permitted.stage.clone();
        let outcomes = permitted.stage.resources.iter().map(outcome).collect();
        let cell = Cell { kind, location: self.lambda.location() };
        ledger.settle(reserved, &Plan { cell, stage: permitted.stage }.applied(outcomes));
        (left, too_many.into_iter().collect())
    }
}

/// One ledger serves both kinds, by one clock.
fn at() -> Timestamp {
    NOW
}

proptest! {
    #![proptest_config(config())]

    /// Whatever one kind has spent, failed at or waits for, and whatever was read for it: the other does what it would do
    /// if it were alone.
    #[test]
    fn neither_kind_touches_the_other(mixed in worlds()) {
        for (kind, other) in [(Kind::Lambda, Kind::SecurityGroup), (Kind::SecurityGroup, Kind::Lambda)] {
            let alone = mixed.sweep(kind, false, &mut Ledger::default());
            let mut ledger = Ledger::default();
            mixed.sweep(other, true, &mut ledger);
            let reference = |desired: &Desired| desired.reference.clone();
            for baseline in mixed.desired(other).iter().map(reference) {
                ledger.wave(baseline).fail(at(), "something went wrong".to_owned());
            }
            let beside = mixed.sweep(kind, true, &mut ledger);
            prop_assert_eq!(crate::world::brief(&alone.0), crate::world::brief(&beside.0));
            prop_assert_eq!((&alone.0.resources, &alone.0.withheld), (&beside.0.resources, &beside.0.withheld));
            prop_assert_eq!(alone.1, beside.1);
        }
    }
}

#[test]
fn enough_of_the_generated_accounts_are_changed_for_both_kinds() {
    let mut both = 0;
    for ((groups, lambda), choices) in crate::sample(400).zip(super::sample(400)).zip(crate::numbers(400, 40)) {
        let mixed = mixed((groups, lambda, choices));
        let changes = |kind| !mixed.sweep(kind, true, &mut Ledger::default()).0.resources.is_empty();
        both += usize::from(changes(Kind::Lambda) && changes(Kind::SecurityGroup));
    }
    assert!(both > 50, "{both}");
}
