//! Determinism: the order in which AWS and the API server list things, and the words in which a policy is written, leave no
//! trace.

use std::collections::BTreeMap;

use engine::desired::Desired;
use engine::edit::BaselineRef;
use engine::plan::{Permitted, ProposedEdit, plan};
use engine::report::{CellReport, report};
use proptest::prelude::*;

use super::statements::respelled;
use super::world::{NOW, World};
use super::{config, worlds, worlds_and_choices};

use crate::dice::Dice;
use crate::world::brief;

/// Everything that comes of a world.
fn outcome(world: &World, desired: &[Desired]) -> (Vec<ProposedEdit>, Permitted, Vec<CellReport>) {
    let evaluation = world.evaluate(desired);
    let proposed = plan(desired, &world.inventory(), &evaluation);
    let edits = proposed.stage.edits.clone();
    let permitted = world.check(proposed, desired);
    let stage = permitted.stage.clone();
    let mut reports = report(&evaluation, &permitted.applied(Vec::new()), NOW);
    reports.sort_by_key(|report| report.reference.clone());
    (edits, stage, reports)
}

/// The verdict of each control of each baseline on each resource, in one word.
fn words(world: &World) -> BTreeMap<(BaselineRef, &'static str, String), &'static str> {
    let evaluation = world.evaluate(&world.desired());
    let words = evaluation.baselines.iter().flat_map(|baseline| {
        let found = baseline.findings.iter();
        found.map(|found| ((baseline.reference.clone(), found.control, found.resource.clone()), found.verdict.word()))
    });
    words.collect()
}

proptest! {
    #![proptest_config(config())]

    /// The order of functions, of layers and of baselines changes neither plan nor reports.
    #[test]
    fn the_order_of_the_input_leaves_no_trace((world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        let mut shuffled = world.clone();
        shuffled.functions = dice.shuffled(&world.functions);
        shuffled.layers = dice.shuffled(&world.layers);
        shuffled.baselines = dice.shuffled(&world.baselines);
        let (edits, permitted, reports) = outcome(&world, &world.desired());
        let (other_edits, other_permitted, other_reports) = outcome(&shuffled, &shuffled.desired());
        prop_assert_eq!(brief(&permitted), brief(&other_permitted));
        prop_assert_eq!(edits, other_edits);
        prop_assert_eq!(permitted.resources, other_permitted.resources);
        prop_assert_eq!(permitted.to_propose, other_permitted.to_propose);
        prop_assert_eq!(permitted.withheld, other_permitted.withheld);
        prop_assert_eq!(reports, other_reports);
    }

    /// The order of statements and of URLs changes no verdict and no edit: an approval is of an edit as it was proposed.
    #[test]
    fn the_order_of_statements_and_urls_leaves_no_trace((world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        let mut shuffled = world.clone();
        let policies = shuffled.functions.iter_mut().flat_map(|deep| deep.policies.values_mut());
        for statements in policies.chain(shuffled.layers.iter_mut().map(|layer| &mut layer.statements)) {
            *statements = dice.shuffled(statements);
        }
        for deep in &mut shuffled.functions {
            deep.urls = dice.shuffled(&deep.urls);
        }
        prop_assert_eq!(words(&world), words(&shuffled));
        let (edits, permitted, _) = outcome(&world, &world.desired());
        let (other_edits, other_permitted, _) = outcome(&shuffled, &shuffled.desired());
        prop_assert_eq!(edits, other_edits);
        prop_assert_eq!(permitted.resources, other_permitted.resources);
    }

    /// Policies that say the same get the same verdicts in whatever words and order they say it.
    #[test]
    fn policies_that_say_the_same_get_the_same_verdicts((world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        let mut other = world.clone();
        let policies = other.functions.iter_mut().flat_map(|deep| deep.policies.values_mut());
        for statements in policies.chain(other.layers.iter_mut().map(|layer| &mut layer.statements)) {
            *statements = dice.shuffled(statements).iter().map(|one| respelled(&mut dice, one)).collect();
        }
        prop_assert_eq!(words(&world), words(&other));
    }

    /// What a baseline sees does not depend on which others look, nor does the same look twice come to different things.
    #[test]
    fn a_baseline_sees_the_same_alone_and_in_company(world in worlds()) {
        let desired = world.desired();
        let together = world.evaluate(&desired);
        for (one, seen) in desired.iter().zip(&together.baselines) {
            let alone = world.evaluate(std::slice::from_ref(one));
            prop_assert_eq!(&alone.baselines[0], seen);
        }
        let (one, other) = (outcome(&world, &desired), outcome(&world, &world.desired()));
        prop_assert_eq!((one.0, one.1.resources, one.2), (other.0, other.1.resources, other.2));
    }
}
