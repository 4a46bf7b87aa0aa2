//! Convergence: what complies is left alone, and once everything permitted is made there is nothing left to do.

use std::collections::BTreeSet;

use engine::call::Call;
use engine::edit::{BaselineRef, Edit};
use engine::finding::Verdict;
use engine::plan::Permitted;
use engine::property::PropertyName;
use engine::sequence::properties::changes;
use proptest::prelude::*;

use super::service::act;
use super::world::World;
use super::{config, sample, worlds};

/// More looks than one are needed only where an edit awaits another: what is proposed beside it, what another control sets
/// of the same property, or concurrent runs that another function gives back.
const MOST_LOOKS: usize = 4;

/// Looks and acts until nothing more is permitted.
fn settle(world: &mut World) -> Vec<Permitted> {
    let mut looks = Vec::new();
    while looks.len() <= MOST_LOOKS {
        let desired = world.desired();
        let permitted = world.permit(&desired);
        if permitted.resources.is_empty() {
            break;
        }
        act(world, &desired, &permitted, |_| {});
        looks.push(permitted);
    }
    looks
}

/// Failures by resource, baseline and control.
fn failing(world: &World) -> BTreeSet<(String, BaselineRef, &'static str)> {
    let evaluation = world.evaluate(&world.desired());
    let failing = evaluation.baselines.iter().flat_map(|baseline| {
        let failures = baseline.findings.iter().filter(|found| matches!(found.verdict, Verdict::Fail { .. }));
        failures.map(|found| (found.resource.clone(), baseline.reference.clone(), found.control))
    });
    failing.collect()
}

fn edits(permitted: &Permitted) -> impl Iterator<Item = &Edit> {
    permitted.resources.iter().flat_map(|resource| &resource.edits)
}

/// Whether an edit is all that its controls can ask for: of statements, URLs and tags there may be several.
fn is_whole(edit: &Edit) -> bool {
    use PropertyName::{LayerStatement, Statement, Tag, UrlAuth, UrlCors};
    !changes(edit)
        .iter()
        .any(|change| matches!(change.property.name, Statement | LayerStatement | UrlAuth | UrlCors | Tag))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn once_everything_permitted_is_made_nothing_is_left_to_do(mut world in worlds()) {
        let looks = settle(&mut world);
        let told: Vec<String> = looks.iter().map(crate::world::brief).collect();
        prop_assert!(looks.len() <= MOST_LOOKS, "{}", told.join("\nthen\n"));
        let mut made: BTreeSet<_> = BTreeSet::new();
        for edit in looks.iter().flat_map(edits) {
            prop_assert!(made.insert((edit.resource.clone(), edit.change.clone())), "{edit:?} was made twice");
        }
    }

    /// Every edit answers a failure, and what is all that a control can ask for makes it pass, or at least fail no more.
    #[test]
    fn every_edit_mends_what_it_answers(mut world in worlds()) {
        let (desired, before) = (world.desired(), failing(&world));
        let permitted = world.permit(&desired);
        for edit in edits(&permitted) {
            for demand in &edit.demands {
                let finding = (edit.resource.clone(), demand.baseline.clone(), demand.control);
                prop_assert!(before.contains(&finding), "{edit:?} without {finding:?}");
            }
        }
        act(&mut world, &desired, &permitted, |_| {});
        let after = failing(&world);
        for edit in edits(&permitted).filter(|edit| is_whole(edit)) {
            for demand in &edit.demands {
                let finding = (edit.resource.clone(), demand.baseline.clone(), demand.control);
                prop_assert!(!after.contains(&finding), "{edit:?} leaves {finding:?}");
            }
        }
    }

    /// A function on which no control fails is left alone: no edit, held or not, is about it.
    #[test]
    fn what_complies_is_left_alone(mut world in worlds()) {
        settle(&mut world);
        let (desired, failing) = (world.desired(), failing(&world));
        let about: BTreeSet<&String> = failing.iter().map(|(resource, ..)| resource).collect();
        for proposed in &world.propose(&desired).stage.edits {
            prop_assert!(about.contains(&proposed.edit.resource), "{proposed:?}");
        }
    }
}

#[test]
fn most_worlds_are_changed_and_nearly_all_at_one_look() {
    let (mut changed, mut again, mut clean, mut calls) = (0, 0, 0, 0);
    for mut world in sample(800) {
        let looks = settle(&mut world.clone()).len();
        changed += usize::from(looks > 0);
        again += usize::from(looks > 1);
        let desired = world.desired();
        let permitted = world.permit(&desired);
        act(&mut world, &desired, &permitted, |seen| calls += usize::from(matches!(seen.call, Call::Lambda(_))));
        clean += usize::from(world.functions.len() > about(&world));
    }
    assert!(changed > 300 && again * 5 < changed && clean > 50 && calls > 800, "{changed} {again} {clean} {calls}");
}

/// How many functions fail anything.
fn about(world: &World) -> usize {
    let failing = failing(world);
    let resources: BTreeSet<&String> = failing.iter().map(|(resource, ..)| resource).collect();
    world.functions.iter().filter(|deep| resources.contains(&deep.function.name)).count()
}
