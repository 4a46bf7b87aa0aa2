//! Undo: what was changed comes back exactly, and never over what somebody else has changed since.

use std::collections::BTreeSet;

use engine::edit::{Change, Edit, Impact, Withheld};
use engine::facts::{Grant, LiveGroup, LiveRule, Rule, Tags};
use engine::plan::PermittedResource;
use engine::sequence::State;
use engine::sequence::group::sequence;
use engine::undo::Made;
use engine::undo::group::undo;
use proptest::prelude::*;

use crate::dice::Dice;
use crate::process::{Cloud, run};
use crate::safety::{lost, opened};
use crate::world::World;
use crate::{config, sample, worlds, worlds_and_choices};

/// A group that was changed as planned, and what is written down of it.
struct Changed {
    before: LiveGroup,
    after: LiveGroup,
    made: Vec<Made>,
}

/// Each permitted resource of a world, changed. Where there is room for everything at once: what comes back is added first.
fn changed(world: &World) -> Vec<Changed> {
    let desired = world.desired();
    let resources = world.permit(&desired).resources;
    let roomy = roomy(world);
    let change = |PermittedResource { target, edits, .. }: PermittedResource| {
        let mut cloud = Cloud::new(roomy.clone());
        let before = cloud.live(&target.id).clone();
        for step in sequence(&edits, &before).unwrap() {
            cloud.make(&target.id, &step.call).unwrap();
        }
        let made =
            edits.into_iter().map(|Edit { change, .. }| Made { tags: tags(&change, &before), change, whole: true });
        Changed { made: made.collect(), after: cloud.live(&target.id).clone(), before }
    };
    resources.into_iter().map(change).collect()
}

fn roomy(world: &World) -> World {
    let mut roomy = world.clone();
    roomy.account.rules_per_group = 1000;
    roomy
}

/// The tags of the rule that is changed, as the journal keeps them.
fn tags(change: &Change, live: &LiveGroup) -> Tags {
    let Change::Rule { before: Some(before), .. } = change else { return Tags::new() };
    live.rules.iter().find(|found| found.rule == *before).map(|found| found.tags.clone()).unwrap_or_default()
}

/// The group after some changes, and its rules after every call.
fn after(world: &World, live: &LiveGroup, changes: &[Change]) -> (LiveGroup, Vec<Vec<Rule>>) {
    let edit = |change: &Change| Edit::new(&live.id, change.clone(), Vec::new(), Impact::Unknown);
    let edits: Vec<Edit> = changes.iter().map(edit).collect();
    let (mut live, mut states) = (live.clone(), vec![live.plain_rules()]);
    for step in sequence(&edits, &live.clone()).unwrap() {
        crate::ec2::perform(&mut live, &step.call, world).unwrap();
        assert_eq!(State::of(&live), step.after);
        states.push(live.plain_rules());
    }
    (live, states)
}

/// Rules with the tags that may be set on them: those of AWS cannot be made anew.
fn tagged(live: &LiveGroup) -> BTreeSet<(Rule, Vec<(String, String)>)> {
    let own = |found: &LiveRule| found.tags.clone().into_iter().filter(|(key, _)| !key.starts_with("aws:")).collect();
    live.rules.iter().map(|found| (found.rule.clone(), own(found))).collect()
}

/// Changes a part of the group that was changed, so that it is neither as it was left nor as it was before.
fn disturb(live: &mut LiveGroup, made: &Made, position: usize) -> bool {
    match &made.change {
        Change::Rule { before: Some(_), after } if !after.is_empty() => {
            let left = &after[position % after.len()];
            let found = live.rules.iter_mut().find(|found| found.rule == *left).unwrap();
            found.rule.description = Some("changed by hand".to_owned());
            true
        }
        Change::Tags { after, .. } => {
            let key = after.keys().nth(position % after.len()).unwrap();
            live.tags.insert(key.clone(), "changed by hand".to_owned());
            true
        }
        Change::Rule { .. } | Change::Restore { .. } | Change::Properties(_) => false,
    }
}

proptest! {
    #![proptest_config(config())]

    /// Rules with their descriptions and tags, and the tags of the group, are as they were; on the way nothing is let
    /// through that neither state lets through, and nothing goes away that both do. There is nothing to undo a second time.
    #[test]
    fn what_was_changed_comes_back_exactly(world in worlds()) {
        let (lists, roomy) = (world.lists.clone().unwrap_or_default(), roomy(&world));
        for Changed { before, after: left, made } in changed(&world) {
            let changes = undo(&made, &left).unwrap();
            let (back, states) = after(&roomy, &left, &changes);
            prop_assert_eq!(State::of(&back), State::of(&before));
            prop_assert_eq!(tagged(&back), tagged(&before));
            let earlier: Vec<Grant> = before.rules.iter().map(|found| found.rule.grant.clone()).collect();
            let opened = opened(&states, &earlier, &lists);
            prop_assert!(opened.is_empty(), "{} opened {opened:?}", left.id);
            let lost = lost(&states, &earlier, &lists);
            prop_assert!(lost.is_empty(), "{} lost {lost:?}", left.id);
            prop_assert_eq!(undo(&made, &back), Ok(Vec::new()));
        }
    }

    /// Somebody else's change of what was changed stops the undo; a change beside it stays as it is.
    #[test]
    fn what_somebody_else_changed_since_is_never_overwritten((world, choices) in worlds_and_choices()) {
        let (roomy, mut dice) = (roomy(&world), Dice::new(&choices));
        for Changed { before, after: left, made } in changed(&world) {
            let mut disturbed = left.clone();
            if disturb(&mut disturbed, dice.pick(&made), dice.below(9)) {
                prop_assert_eq!(undo(&made, &disturbed), Err(Withheld::ForeignChange));
            }
            let grant = Grant { peer: "198.51.100.0/24".parse().unwrap(), ..crate::generators::grant(&mut dice) };
            let foreign = LiveRule {
                id: "sgr-foreign".to_owned(),
                rule: Rule { grant, description: Some("by hand".to_owned()) },
                tags: Tags::new(),
            };
            let with = |group: &LiveGroup| {
                let mut more = group.clone();
                more.rules.push(foreign.clone());
                more.tags.insert("by".to_owned(), "hand".to_owned());
                more
            };
            let changes = undo(&made, &with(&left)).unwrap();
            let (back, _) = after(&roomy, &with(&left), &changes);
            prop_assert_eq!(State::of(&back), State::of(&with(&before)));
            prop_assert!(back.rules.contains(&foreign));
        }
    }
}

#[test]
fn enough_of_the_generated_changes_can_be_disturbed() {
    let (mut made, mut disturbed, mut calls) = (0, 0, 0);
    for world in sample(500) {
        for Changed { after, made: changes, .. } in changed(&world) {
            made += changes.len();
            disturbed += changes.iter().filter(|made| disturb(&mut after.clone(), made, 0)).count();
        }
        calls += run(&mut Cloud::new(world.clone()), &world.desired());
    }
    assert!(made > 300 && disturbed > 50 && calls > 200, "{made} changes, {disturbed} to disturb, {calls} calls");
}
