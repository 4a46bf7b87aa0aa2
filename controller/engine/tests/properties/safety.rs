//! Never opens, no window, frame: what holds after every single call, and what a foreign change does.

use engine::edit::{Change, Withheld};
use engine::facts::{Direction, Grant, LiveGroup, Rule, SecurityGroup};
use engine::sequence::State;
use proptest::prelude::*;

use crate::ec2::{History, act, ask, histories, live};
use crate::oracle::{Flows, Lists, Points};
use crate::policy::{Enforced, Judge, cuts, enforced, required, standing};
use crate::world::World;
use crate::{config, sample, worlds, worlds_and_choices};

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

fn grants(rules: &[Rule]) -> impl Iterator<Item = &Grant> {
    rules.iter().map(|rule| &rule.grant)
}

/// What some state lets through and neither the first one nor anything required does.
pub(crate) fn opened(states: &[Vec<Rule>], required: &[Grant], lists: &Lists) -> Vec<String> {
    let points = Points::new(states.iter().flat_map(|rules| grants(rules)).chain(required), lists);
    let opened = |direction: Direction| {
        let flows = |rules: &[Rule]| points.flows(direction, grants(rules), lists);
        let before = flows(&states[0]).or(&points.flows(direction, required, lists));
        let after = states.iter().map(|rules| flows(rules)).fold(points.none(), |all, one| all.or(&one));
        after.without(&before).named(&points)
    };
    DIRECTIONS.into_iter().flat_map(opened).collect()
}

/// What is required and let through by the first state, and not by some other.
pub(crate) fn lost(states: &[Vec<Rule>], required: &[Grant], lists: &Lists) -> Vec<String> {
    if required.is_empty() {
        return Vec::new();
    }
    let points = Points::new(states.iter().flat_map(|rules| grants(rules)).chain(required), lists);
    let lost = |direction: Direction| {
        let flows = |rules: &[Rule]| points.flows(direction, grants(rules), lists);
        let needed = points.flows(direction, required, lists).and(&flows(&states[0]));
        let always = states.iter().map(|rules| flows(rules)).fold(needed.clone(), |all, one| all.and(&one));
        needed.without(&always).named(&points)
    };
    DIRECTIONS.into_iter().flat_map(lost).collect()
}

/// What a group lost although a rule carried it that no control forbids to.
pub(crate) fn not_forbidden(
    world: &World,
    enforced: &[Enforced<'_>],
    group: &SecurityGroup,
    states: &[Vec<Rule>],
) -> Vec<String> {
    let (judge, cuts) = (Judge::new(world, group), cuts(enforced));
    let points = Points::new(states.iter().flat_map(|rules| grants(rules)).chain(&cuts), &judge.lists);
    let mut spared = Vec::new();
    for direction in DIRECTIONS {
        let flows = |rules: &[Rule]| points.flows(direction, grants(rules), &judge.lists);
        let stayed = states.iter().skip(1).map(|rules| flows(rules)).reduce(|one, other| one.and(&other));
        let lost = stayed.map(|stayed| flows(&states[0]).without(&stayed));
        for rule in group.rules.iter().filter(|rule| rule.grant.direction == direction) {
            let carried: Option<Flows> = lost.as_ref().map(|lost| lost.and(&flows(std::slice::from_ref(rule))));
            for (message, place) in carried.iter().flat_map(|carried| carried.each(&points)) {
                if !judge.forbids(enforced, rule, message).includes(place) {
                    spared.push(format!("{message:?} {place:?} of {}", rule.grant));
                }
            }
        }
    }
    spared
}

proptest! {
    #![proptest_config(config())]

    /// After every call the group lets through nothing new but what is required and may be added.
    #[test]
    fn no_call_opens_anything_that_was_closed(world in worlds()) {
        let (desired, lists) = (world.desired(), world.lists.clone().unwrap_or_default());
        for History { resource, states } in histories(&world, &desired) {
            let group = world.group(&resource.target.id);
            let opened = opened(&states, &required(&enforced(&world, &desired, group), group), &lists);
            prop_assert!(opened.is_empty(), "{} opened {opened:?}", group.id);
        }
    }

    /// What is required and there stays there after every call, whatever else is changed.
    #[test]
    fn nothing_required_goes_away_even_for_a_moment(world in worlds()) {
        let (desired, lists) = (world.desired(), world.lists.clone().unwrap_or_default());
        for History { resource, states } in histories(&world, &desired) {
            let group = world.group(&resource.target.id);
            let lost = lost(&states, &required(&standing(&world, &desired, group), group), &lists);
            prop_assert!(lost.is_empty(), "{} lost {lost:?}", group.id);
        }
    }

    /// A flow goes away only if every rule that carried it was forbidden to by a control that may change the group.
    #[test]
    fn only_what_some_enforced_control_forbids_goes_away(world in worlds()) {
        let desired = world.desired();
        for History { resource, states } in histories(&world, &desired) {
            let group = world.group(&resource.target.id);
            let spared = not_forbidden(&world, &enforced(&world, &desired, group), group, &states);
            prop_assert!(spared.is_empty(), "{} lost {spared:?}", group.id);
        }
    }

    /// Groups without a permitted edit, and rules that no edit names, stay exactly as they are.
    #[test]
    fn only_what_an_edit_names_is_changed(world in worlds()) {
        let (mut changed, desired) = (world.clone(), world.desired());
        let permitted = world.permit(&desired);
        act(&mut changed, &desired, &permitted, |_| {});
        for (before, after) in world.groups.iter().zip(&changed.groups) {
            let resource = permitted.resources.iter().find(|resource| resource.target.id == before.id);
            let edits = resource.map(|resource| resource.edits.as_slice()).unwrap_or_default();
            if !edits.is_empty() {
                prop_assert!(!enforced(&world, &desired, before).is_empty(), "{} is nobody's to change", before.id);
            }
            let named = |rule: &&Rule| edits.iter().any(|edit| match &edit.change {
                Change::Rule { before, after } => before.as_ref() == Some(*rule) || after.contains(rule),
                Change::Restore { .. } | Change::Tags { .. } | Change::Properties(_) => false,
            });
            let unnamed = |rules: &[Rule]| rules.iter().filter(|rule| !named(rule)).cloned().collect::<Vec<_>>();
            prop_assert_eq!(unnamed(&before.rules), unnamed(&after.rules));
            let set = |key: &String| edits.iter().any(|edit| {
                matches!(&edit.change, Change::Tags { after, .. } if after.contains_key(key))
            });
            prop_assert!(after.tags.iter().all(|(key, value)| before.tags.get(key) == Some(value) || set(key)));
            prop_assert!(before.tags.keys().all(|key| after.tags.contains_key(key)));
        }
    }

    /// Whatever somebody else changes between two calls, the next call gets no permit, so that nothing of it is lost.
    #[test]
    fn a_foreign_change_stops_the_sequence((world, choices) in worlds_and_choices()) {
        let (mut changed, desired) = (world.clone(), world.desired());
        let permitted = world.permit(&desired);
        let choice = usize::from(choices.first().copied().unwrap_or(0));
        let mut verdicts = Vec::new();
        act(&mut changed, &desired, &permitted, |seen| {
            let mut disturbed = seen.before.clone();
            disturb(&mut disturbed, choice);
            let refused = ask(&world, &desired, seen.resource, seen.step, &State::of(seen.before), &disturbed);
            verdicts.push(refused.map(|_| ()));
        });
        prop_assert!(verdicts.iter().all(|verdict| *verdict == Err(Withheld::ForeignChange)), "{:?}", verdicts);
    }
}

/// One of the things that somebody else may do to a group.
fn disturb(group: &mut LiveGroup, choice: usize) {
    let count = group.rules.len().max(1);
    let mut rules = group.rules.iter_mut();
    match (choice % 4, rules.nth(choice / 4 % count)) {
        (0, Some(rule)) => rule.rule.description = Some("changed by hand".to_owned()),
        (1, Some(rule)) => {
            let id = rule.id.clone();
            group.rules.retain(|other| other.id != id);
        }
        (2, Some(rule)) => {
            let mut added = rule.clone();
            added.id = "sgr-foreign".to_owned();
            added.rule.grant.peer = "198.51.100.0/24".parse().unwrap();
            group.rules.push(added);
        }
        _ => {
            group.tags.insert("changed".to_owned(), "by hand".to_owned());
        }
    }
}

#[test]
fn the_generated_worlds_are_changed_often_enough() {
    let (mut steps, mut changed) = (0, 0);
    for world in sample(500) {
        let histories = histories(&world, &world.desired());
        changed += usize::from(!histories.is_empty());
        steps += histories.iter().map(|history| history.states.len() - 1).sum::<usize>();
        for group in &world.groups {
            assert_eq!(live(&world, &group.id).plain_rules(), group.rules);
        }
    }
    assert!(changed > 100 && steps > 200, "{changed} of 500 worlds with {steps} calls");
}
