//! Undo: what was changed of a function comes back exactly, how far ever it was changed, and never over what somebody else
//! has changed since.

use std::collections::{BTreeMap, BTreeSet};

use engine::edit::{Change, Edit, Impact, Withheld};
use engine::facts::{Live, Tags};
use engine::permission::canonical;
use engine::property::{Json, Property};
use engine::sequence::properties::renewed;
use engine::sequence::{State, sequence};
use engine::undo::{Made, undo};
use proptest::prelude::*;
use serde_json::json;

use super::service::{live, perform, properties};
use super::world::{Deep, Layer, World};
use super::{config, sample, worlds_and_choices};

use crate::dice::Dice;

/// A resource that was changed, wholly or in part, and what is written down of it.
struct Changed {
    id: String,
    before: World,
    after: World,
    made: Vec<Made>,
    properties: BTreeSet<Property>,
}

fn read(world: &World, id: &str, properties: &BTreeSet<Property>) -> Live {
    live(world, id, properties).expect("it is there")
}

/// Makes the first so many calls for some edits; how many there would be.
fn make(world: &mut World, id: &str, edits: &[Edit], most: usize) -> usize {
    let properties = properties(edits);
    let steps = sequence(edits, &read(world, id, &properties)).expect("it is as it was planned on");
    for step in steps.iter().take(most) {
        let call = renewed(&step.call, &read(world, id, &properties)).expect("it is ready");
        perform(world, id, &call).expect("Lambda does what is asked for");
        assert_eq!(State::of(&read(world, id, &properties)), step.after);
    }
    steps.len()
}

/// Each permitted resource of a world, changed by some of its calls or by all of them.
fn changed(world: &World, dice: &mut Dice<'_>) -> Vec<Changed> {
    let mut all = Vec::new();
    for resource in world.permit(&world.desired()).resources {
        let (id, mut after) = (resource.target.id, world.clone());
        let calls = make(&mut after.clone(), &id, &resource.edits, usize::MAX);
        let most = if dice.one_in(2) { dice.below(calls + 1) } else { calls };
        make(&mut after, &id, &resource.edits, most);
        let whole = most == calls;
        let made = |edit: &Edit| Made { change: edit.change.clone(), tags: Tags::new(), whole };
        let properties = properties(&resource.edits);
        let made = resource.edits.iter().map(made).collect();
        all.push(Changed { id, before: world.clone(), after, made, properties });
    }
    all
}

/// The edits of an undo.
fn back(id: &str, changes: Vec<Change>) -> Vec<Edit> {
    changes.into_iter().map(|change| Edit::new(id, change, Vec::new(), Impact::Unknown)).collect()
}

/// A function apart from revisions, from the order of statements, and from how each is spelled.
fn told(deep: &Deep) -> String {
    let mut policies: BTreeMap<&String, Vec<Json>> = BTreeMap::new();
    for (qualifier, statements) in &deep.policies {
        policies.insert(qualifier, statements.iter().map(canonical).collect());
    }
    policies.values_mut().for_each(|statements| statements.sort());
    let plain = Deep { policies: BTreeMap::new(), changed: BTreeMap::new(), ..deep.clone() };
    format!("{plain:?} {policies:?}")
}

fn told_of_layer(layer: &Layer) -> Vec<Json> {
    let mut statements: Vec<Json> = layer.statements.iter().map(canonical).collect();
    statements.sort();
    statements
}

/// Everything of a world.
fn whole(world: &World) -> (Vec<String>, Vec<Vec<Json>>) {
    (world.functions.iter().map(told).collect(), world.layers.iter().map(told_of_layer).collect())
}

proptest! {
    #![proptest_config(config())]

    /// Also where only some of the calls were made. There is nothing to undo a second time.
    #[test]
    fn what_was_changed_comes_back_exactly((world, choices) in worlds_and_choices()) {
        for Changed { id, before, mut after, made, properties } in changed(&world, &mut Dice::new(&choices)) {
            let changes = undo(&made, &read(&after, &id, &properties)).unwrap();
            make(&mut after, &id, &back(&id, changes), usize::MAX);
            prop_assert_eq!(whole(&after), whole(&before));
            prop_assert_eq!(undo(&made, &read(&after, &id, &properties)), Ok(Vec::new()));
        }
    }

    /// An undo that is interrupted is finished by the next one.
    #[test]
    fn an_undo_that_was_interrupted_goes_on((world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        for Changed { id, before, mut after, made, properties } in changed(&world, &mut dice) {
            let changes = undo(&made, &read(&after, &id, &properties)).unwrap();
            make(&mut after, &id, &back(&id, changes), dice.below(3));
            let rest = undo(&made, &read(&after, &id, &properties)).unwrap();
            make(&mut after, &id, &back(&id, rest), usize::MAX);
            prop_assert_eq!(whole(&after), whole(&before));
        }
    }

    /// Somebody else's change of any property that was to change stops the undo, of whole changes and of those that were
    /// made in part; a change beside it stays as it is.
    #[test]
    fn what_somebody_else_changed_since_is_never_overwritten((world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        for Changed { id, before, mut after, made, properties } in changed(&world, &mut dice) {
            let Live::Function(mut disturbed) = read(&after, &id, &properties) else { panic!("{id} is no group") };
            let all: Vec<Property> = disturbed.properties.keys().cloned().collect();
            let foreign = Some(Json::of(&"changed by hand"));
            disturbed.properties.insert(dice.pick(&all).clone(), foreign);
            prop_assert_eq!(undo(&made, &Live::Function(disturbed)), Err(Withheld::ForeignChange));

            let beside = |world: &mut World| for deep in &mut world.functions {
                deep.function.tags.insert("by".to_owned(), "hand".to_owned());
                deep.function.configuration.timeout = 7;
                deep.policies.entry("live".to_owned()).or_default().push(json!({"Sid": "byhand", "Effect": "Deny"}));
            };
            let mut with = before.clone();
            beside(&mut after);
            beside(&mut with);
            let changes = undo(&made, &read(&after, &id, &properties)).unwrap();
            make(&mut after, &id, &back(&id, changes), usize::MAX);
            prop_assert_eq!(whole(&after), whole(&with));
        }
    }
}

#[test]
fn enough_of_the_generated_changes_are_made_in_part() {
    let (mut in_part, mut in_whole, mut names) = (0, 0, BTreeSet::new());
    for (world, choices) in sample(600).zip(crate::numbers(600, 40)) {
        for Changed { made, properties, .. } in changed(&world, &mut Dice::new(&choices)) {
            in_part += usize::from(made.iter().any(|made| !made.whole));
            in_whole += usize::from(made.iter().all(|made| made.whole));
            names.extend(properties.into_iter().map(|property| property.name));
        }
    }
    assert!(in_part > 50 && in_whole > 100, "{in_part} {in_whole}");
    assert_eq!(names.len(), engine::property::PropertyName::ALL.len(), "{names:?}");
}
