//! Determinism: the order in which AWS and the API server list things leaves no trace.

use engine::desired::Desired;
use engine::edit::BaselineRef;
use engine::plan::{Permitted, Plan, plan};
use engine::report::{CellReport, report};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::world::{NOW, World, brief};
use crate::{config, worlds_and_choices};

/// Everything that comes of a world.
fn outcome(world: &World, desired: &[Desired]) -> (Vec<engine::plan::ProposedEdit>, Permitted, Vec<CellReport>) {
    let evaluation = world.evaluate(desired);
    let proposed = plan(desired, &world.inventory(), &evaluation);
    let edits = proposed.stage.edits.clone();
    let permitted = world.check(proposed);
    let permitted_plan = Plan { cell: world.cell(), stage: permitted.clone() };
    let mut reports = report(&evaluation, &permitted_plan.applied(Vec::new()), NOW);
    reports.sort_by_key(|report| report.reference.clone());
    (edits, permitted, reports)
}

proptest! {
    #![proptest_config(config())]

    /// The order of groups, of rules as they were read, and of baselines changes neither plan nor reports.
    #[test]
    fn the_order_of_the_input_leaves_no_trace((world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        let mut shuffled = world.clone();
        shuffled.groups = dice.shuffled(&world.groups);
        shuffled.baselines = dice.shuffled(&world.baselines);
        for group in &mut shuffled.groups {
            group.rules = dice.shuffled(&group.rules);
            // The normal form of the facts.
            group.rules.sort();
        }
        let (edits, permitted, reports) = outcome(&world, &world.desired());
        let (other_edits, other_permitted, other_reports) = outcome(&shuffled, &shuffled.desired());
        prop_assert_eq!(brief(&permitted), brief(&other_permitted));
        prop_assert_eq!(edits, other_edits);
        prop_assert_eq!(permitted.resources, other_permitted.resources);
        prop_assert_eq!(permitted.withheld, other_permitted.withheld);
        prop_assert_eq!(reports, other_reports);
    }

    /// What a baseline sees does not depend on which others look.
    #[test]
    fn a_baseline_sees_the_same_alone_and_in_company(world in crate::worlds()) {
        let desired = world.desired();
        let together = world.evaluate(&desired);
        for (one, seen) in desired.iter().zip(&together.baselines) {
            let alone = world.evaluate(std::slice::from_ref(one));
            let references: Vec<&BaselineRef> = alone.baselines.iter().map(|baseline| &baseline.reference).collect();
            prop_assert_eq!(references, vec![&one.reference]);
            prop_assert_eq!(&alone.baselines[0], seen);
        }
    }
}
