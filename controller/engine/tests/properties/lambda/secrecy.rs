//! Secrecy: environment variables go along with their key and never otherwise, and their values are told nowhere.

use std::collections::BTreeSet;
use std::fmt::Debug;

use engine::call::{Call, LambdaOperation};
use engine::plan::Plan;
use engine::property::PropertyName;
use engine::report::{report, summarise};
use engine::sequence::sequence;
use proptest::prelude::*;

use super::generators::CANARY;
use super::service::{act, live, properties};
use super::world::{NOW, World};
use super::{config, sample, worlds};

fn tells(what: &impl Debug) -> bool {
    format!("{what:?}").contains(CANARY)
}

/// How many calls sent variables again, and how many set a key of a function without any.
fn sent(world: &mut World) -> (usize, usize) {
    let (mut with, mut without) = (0, 0);
    let desired = world.desired();
    let permitted = world.permit(&desired);
    act(world, &desired, &permitted, |seen| {
        let Call::Lambda(call) = seen.call else { panic!("{:?}", seen.call) };
        let sets_key = call.changes.iter().any(|change| change.property.name == PropertyName::KmsKey);
        let known = seen.before.deep(&seen.resource.target.id).map(|deep| &deep.variables);
        match &call.environment {
            Some(variables) => {
                assert!(sets_key && call.operation == LambdaOperation::UpdateFunctionConfiguration);
                assert!(!variables.is_empty(), "an empty map erases the variables");
                assert_eq!(Some(&variables.clone().into_inner()), known, "they go back as they were read");
                with += 1;
            }
            None => {
                assert!(!sets_key || known.is_none_or(|known| known.is_empty()), "the key goes without its variables");
                without += usize::from(sets_key);
            }
        }
    });
    (with, without)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn variables_go_along_with_their_key_and_never_otherwise(mut world in worlds()) {
        sent(&mut world);
    }

    /// Plans, edits, what is read before a write, calls, states and reports: none of their texts holds a value.
    #[test]
    fn no_text_tells_a_value(world in worlds()) {
        let desired = world.desired();
        let (inventory, evaluation, plan) = (world.inventory(), world.evaluate(&desired), world.propose(&desired));
        prop_assert!(!tells(&inventory) && !tells(&evaluation) && !tells(&plan));
        let permitted = world.check(plan, &desired);
        prop_assert!(!tells(&permitted));
        for resource in &permitted.stage.resources {
            let live = live(&world, &resource.target.id, &properties(&resource.edits)).unwrap();
            prop_assert!(!tells(&live));
            let Ok(steps) = sequence(&resource.edits, &live) else { continue };
            prop_assert!(!tells(&steps));
            for step in &steps {
                let text = step.call.to_string();
                prop_assert!(!text.contains(CANARY) && !tells(&step.call));
            }
            for edit in &resource.edits {
                let text = format!("{} {} {}", edit.operation, edit.impact, edit.controls().join(" "));
                prop_assert!(!text.contains(CANARY) && !tells(&edit.change));
            }
        }
        for held in &permitted.stage.withheld {
            prop_assert!(!held.reason.explain().contains(CANARY));
        }
        let applied: Plan<_> = permitted.applied(Vec::new());
        let reports = report(&evaluation, &applied, NOW);
        prop_assert!(!tells(&reports) && !tells(&summarise(&reports)));
    }
}

#[test]
fn enough_of_the_generated_functions_have_variables_to_tell_and_to_lose() {
    let (mut kept, mut bare, mut told) = (0, 0, BTreeSet::new());
    for mut world in sample(1500) {
        let (with, without) = sent(&mut world);
        kept += with;
        bare += without;
        told.extend(world.functions.iter().flat_map(|deep| deep.variables.keys().cloned()));
        assert!(world.functions.iter().flat_map(|deep| deep.variables.values()).all(|value| value.contains(CANARY)));
    }
    assert!(kept > 20 && told.len() == 4, "{kept} {bare} {told:?}");
}
