//! Commutation: what is done to one group does not depend on what is done to another, baselines on different matters may come
//! in any order, and those that contradict each other write nothing there and both say so.

use std::collections::BTreeSet;

use crate::world::parameters;
use engine::controls::security_group::{Hygiene, RuleDescriptions, SecurityGroupParameters};
use engine::controls::tags::RequiredTag;
use engine::desired::Desired;
use engine::edit::{Change, Edit, Risk, Withheld};
use engine::facts::Rule;
use engine::plan::{Permitted, PermittedResource, Plan};
use engine::report::report;
use engine::spec::{Mode, Select};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::ec2::act;
use crate::process::{Cloud, differences, judged_alone, run};
use crate::world::{NOW, World};
use crate::{config, sample, try_some, worlds_and_choices};

/// What is to be done to each group.
fn edits(resources: &[PermittedResource]) -> BTreeSet<(&str, Vec<&Change>)> {
    let changes = resources.iter().map(|resource| resource.edits.iter().map(|edit| &edit.change).collect());
    resources.iter().map(|resource| resource.target.id.as_str()).zip(changes).collect()
}

/// The world with two baselines that enforce on all groups what is written of each: that of the first which is about sources,
/// and that of the second which is about destinations, descriptions and tags.
fn split(world: World) -> Option<World> {
    let mut world = judged_alone(world);
    let [first, second, ..] = world.baselines.as_mut_slice() else { return None };
    for baseline in [&mut *first, &mut *second] {
        baseline.mode = Mode::Enforce;
        baseline.overrides.clear();
        baseline.select = Select { all: Some(true), ..Select::default() };
    }
    let SecurityGroupParameters { internet, sources, .. } = parameters(first).clone();
    first.parameters = SecurityGroupParameters { internet, sources, ..SecurityGroupParameters::default() }.into();
    let SecurityGroupParameters { egress, hygiene, .. } = parameters(second).clone();
    second.parameters = SecurityGroupParameters { egress, hygiene, ..SecurityGroupParameters::default() }.into();
    world.baselines.truncate(2);
    Some(world)
}

/// The end of a world to which only these baselines come, one after the other.
fn one_by_one(world: &World, baselines: [&[Desired]; 2]) -> World {
    let mut cloud = Cloud::new(world.clone());
    for desired in baselines {
        run(&mut cloud, desired);
    }
    cloud.world
}

/// The world with two baselines that want different values of a tag and different texts. What the first requires, the second
/// may forbid.
fn rivals(world: World) -> World {
    let mut world = judged_alone(world);
    let first = world.baselines.remove(0);
    let sources = world.baselines.iter().find_map(|other| parameters(other).sources.clone());
    let rival = |name: &str, parameters: SecurityGroupParameters| {
        let mut rival = first.clone();
        rival.reference.name = name.to_owned();
        rival.reference.uid = name.to_owned();
        rival.mode = Mode::Enforce;
        rival.overrides.clear();
        let tag = RequiredTag { key: "cost".to_owned(), pattern: None, default: Some(format!("of the {name}")) };
        let texts = RuleDescriptions { required: Some(true), min_length: None, stamp_text: tag.default.clone() };
        let hygiene = Hygiene { required_tags: Some(vec![tag]), rule_descriptions: Some(texts), ..Hygiene::default() };
        rival.parameters = SecurityGroupParameters { hygiene: Some(hygiene), ..parameters }.into();
        rival
    };
    let required = parameters(&first).required.clone();
    world.baselines = vec![
        rival("one", SecurityGroupParameters { required, ..SecurityGroupParameters::default() }),
        rival("other", SecurityGroupParameters { sources, ..SecurityGroupParameters::default() }),
    ];
    world
}

/// Whether a baseline would take anything away from a rule if there were no other.
fn minds(world: &World, desired: &Desired, id: &str, rule: &Rule) -> bool {
    let mut alone = world.clone();
    alone.groups.retain(|group| group.id == id);
    alone.groups.iter_mut().for_each(|group| group.rules = vec![rule.clone()]);
    let resources = alone.permit(std::slice::from_ref(desired)).resources;
    resources.iter().flat_map(|resource| &resource.edits).any(|edit| edit.operation.risk() == Risk::ConnectivityRisk)
}

/// Whether an edit sets what the rivals want otherwise.
fn is_contested(edit: &Edit) -> bool {
    match &edit.change {
        Change::Tags { after, .. } => after.contains_key("cost"),
        Change::Rule { before, after } => {
            let told = |text: &Option<String>| text.as_deref().is_some_and(|text| text.starts_with("of the o"));
            before.as_ref().is_none_or(|before| !told(&before.description))
                && after.iter().any(|rule| told(&rule.description))
        }
        Change::Restore { .. } | Change::Properties(_) => false,
    }
}

proptest! {
    #![proptest_config(config())]

    /// Once some groups are changed, in any order, what is planned for the others is what was planned before.
    #[test]
    fn changing_one_group_changes_no_plan_for_another((world, choices) in worlds_and_choices()) {
        let (desired, mut dice) = (world.desired(), Dice::new(&choices));
        let planned = world.permit(&desired).resources;
        let mut left = dice.shuffled(&planned);
        let mut changed = world.clone();
        while let Some(resource) = left.pop() {
            let id = resource.target.id.clone();
            let only = Permitted { resources: vec![resource], ..Permitted::default() };
            act(&mut changed, &desired, &only, |_| {});
            let mut next = changed.permit(&desired).resources;
            next.retain(|next| next.target.id != id && left.iter().any(|left| left.target.id == next.target.id));
            prop_assert_eq!(edits(&next), edits(&left));
        }
    }

    /// Where two baselines want different values neither is written, each edit names the other, and both reports say so.
    #[test]
    fn baselines_that_contradict_each_other_write_nothing_there((world, _) in worlds_and_choices()) {
        let world = rivals(world);
        let desired = world.desired();
        if desired.len() < 2 {
            return Ok(());
        }
        let permitted = world.permit(&desired);
        for edit in permitted.resources.iter().flat_map(|resource| &resource.edits) {
            prop_assert!(!is_contested(edit), "{edit:?}");
            let Change::Rule { before: None, after } = &edit.change else { continue };
            for rule in after {
                let minded = desired.iter().any(|desired| minds(&world, desired, &edit.resource, rule));
                prop_assert!(!minded, "{edit:?}");
            }
        }
        let held: Vec<_> = permitted.withheld.iter().filter(|held| matches!(held.reason, Withheld::Conflicting(_))).cloned().collect();
        for held in &held {
            let mine: BTreeSet<String> = held.edit.demands.iter().map(|demand| demand.baseline.to_string()).collect();
            let Withheld::Conflicting(others) = &held.reason else { continue };
            prop_assert!(!others.is_empty() && others.iter().all(|other| !mine.contains(other)), "{held:?}");
        }
        let evaluation = world.evaluate(&desired);
        let applied = Plan { cell: world.cell(), stage: permitted }.applied(Vec::new());
        let reports = report(&evaluation, &applied, NOW);
        let told = reports.iter().filter(|report| report.withheld.contains_key("Conflicting")).count();
        prop_assert_eq!(told, if held.is_empty() { 0 } else { 2 });
    }
}

/// Two baselines on different matters reach the same end together, and one after the other in either order.
#[test]
fn baselines_on_different_matters_come_in_any_order() {
    try_some(worlds_and_choices(), |(world, _)| {
        let Some(world) = split(world) else { return Ok(()) };
        let desired = world.desired();
        let [first, second] = desired.as_slice() else { return Ok(()) };
        let (first, second) = (std::slice::from_ref(first), std::slice::from_ref(second));
        let together = one_by_one(&world, [&desired, &[]]);
        for order in [[first, second], [second, first]] {
            let different = differences(&together, &one_by_one(&world, order));
            prop_assert!(different.is_empty(), "{different:?}");
        }
        Ok(())
    });
}

#[test]
fn enough_of_the_generated_worlds_have_several_groups_matters_and_rivals() {
    let (mut groups, mut matters, mut rivalries) = (0, 0, 0);
    for world in sample(500) {
        groups += usize::from(world.permit(&world.desired()).resources.len() > 1);
        if let Some(world) = split(world.clone()) {
            let desired = world.desired();
            let acts = |desired: &Desired| !world.permit(std::slice::from_ref(desired)).resources.is_empty();
            matters += usize::from(desired.len() == 2 && desired.iter().all(acts));
        }
        let world = rivals(world);
        let withheld = world.permit(&world.desired()).withheld;
        rivalries += usize::from(withheld.iter().any(|held| matches!(held.reason, Withheld::Conflicting(_))));
    }
    assert!(
        groups > 10 && matters > 10 && rivalries > 100,
        "{groups} with groups, {matters} matters, {rivalries} rivals"
    );
}
