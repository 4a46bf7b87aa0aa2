//! Metamorphic properties of what is proposed, before the rails: how a change of the input may change the plan.

use std::collections::BTreeMap;

use crate::world::parameters_mut;
use engine::edit::{Change, Edit, Withheld};
use engine::facts::{Peer, Rule};
use engine::finding::Verdict;
use engine::plan::{ProposedEdit, plan};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::generators::{group, tighten};
use crate::knowledge::taken;
use crate::oracle::Points;
use crate::world::World;
use crate::{config, worlds, worlds_and_choices};

fn proposed(world: &World) -> Vec<ProposedEdit> {
    world.propose(&world.desired()).stage.edits
}

/// An edit without the names of those who ask for it.
fn anonymous(ProposedEdit { edit, hold }: ProposedEdit) -> (Edit, Option<&'static str>) {
    (Edit { demands: Vec::new(), ..edit }, hold.map(|hold| hold.reason()))
}

proptest! {
    #![proptest_config(config())]

    /// Another group changes nothing for the others, and gets no edit if nothing is wrong with it.
    #[test]
    fn a_group_is_planned_without_regard_to_others((world, choices) in worlds_and_choices()) {
        let mut more = world.clone();
        let added = group(&mut Dice::new(&choices), 9);
        let id = added.id.clone();
        more.groups.push(added);
        let desired = world.desired();
        let evaluation = more.evaluate(&desired);
        let edits = plan(&desired, &more.inventory(), &evaluation).stage.edits;
        let (own, others): (Vec<_>, Vec<_>) = edits.into_iter().partition(|edit| edit.edit.resource == id);
        prop_assert_eq!(others, world.propose(&desired).stage.edits);
        let mut findings = evaluation.baselines.iter().flat_map(|baseline| &baseline.findings);
        let fails = findings.any(|finding| finding.resource == id && matches!(finding.verdict, Verdict::Fail { .. }));
        prop_assert!(fails || own.is_empty(), "{:?}", own);
    }

    /// The same baseline once more asks for nothing more.
    #[test]
    fn a_copy_of_a_baseline_changes_nothing((world, choices) in worlds_and_choices()) {
        let mut twice = world.clone();
        let mut copy = Dice::new(&choices).pick(&world.baselines).clone();
        copy.reference.name.push_str("-copy");
        copy.reference.uid.push_str("-copy");
        twice.baselines.push(copy);
        let anonymous = |world| proposed(world).into_iter().map(anonymous).collect::<Vec<_>>();
        prop_assert_eq!(anonymous(&world), anonymous(&twice));
    }

    /// Groups that are named otherwise get the same edits under their new names.
    #[test]
    fn names_decide_nothing(world in worlds()) {
        let mut renamed = world.clone();
        renamed.groups.iter_mut().for_each(|group| {
            rename(&mut group.id);
            group.rules.iter_mut().for_each(rename_rule);
            group.rules.sort();
        });
        renamed.usage = world.usage.clone().map(|usage| {
            usage.into_iter().map(|(mut id, used)| { rename(&mut id); (id, used) }).collect()
        });
        renamed.baselines.iter_mut().for_each(|baseline| {
            let sources = parameters_mut(baseline).sources.iter_mut();
            sources.flat_map(|sources| sources.security_groups.iter_mut()).flatten().for_each(rename);
        });
        let mut expected = proposed(&world);
        expected.iter_mut().for_each(|ProposedEdit { edit, .. }| {
            rename(&mut edit.resource);
            if let Change::Rule { before, after } = &mut edit.change {
                before.iter_mut().chain(after).for_each(rename_rule);
            }
        });
        expected.sort_by(|one, other| one.edit.worst_first(&other.edit).then_with(|| one.hold.cmp(&other.hold)));
        prop_assert_eq!(expected, proposed(&renamed));
    }

    /// A baseline that demands more takes away at least what it took away before, unless it now contradicts another.
    #[test]
    fn a_tighter_baseline_spares_nothing((world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        let mut tighter = world.clone();
        let position = dice.below(tighter.baselines.len());
        tighten(&mut dice, &mut tighter.baselines[position]);
        let (desired, tighter_desired) = (world.desired(), tighter.desired());
        prop_assume!(desired.len() == tighter_desired.len());
        let (before, after) = (world.propose(&desired).stage.edits, tighter.propose(&tighter_desired).stage.edits);
        let contradicts = |edit: &ProposedEdit| matches!(edit.hold, Some(Withheld::Conflicting(_) | Withheld::NoExactForm));
        prop_assume!(!after.iter().any(contradicts));
        let lists = world.lists.clone().unwrap_or_default();
        for group in &world.groups {
            let (loose, tight) = (carried_out(&before, &group.id), carried_out(&after, &group.id));
            let rules = loose.iter().chain(&tight).filter_map(|edit| match &edit.change {
                Change::Rule { after, .. } => Some(after),
                Change::Restore { .. } | Change::Tags { .. } | Change::Properties(_) => None,
            });
            let points = Points::new(rules.flatten().chain(&group.rules).map(|rule| &rule.grant), &lists);
            let (loose, tight) = (taken(group, &loose, &points, &lists), taken(group, &tight, &points, &lists));
            for (rule, lost) in loose {
                let spared = tight.get(&rule).map_or_else(|| lost.clone(), |more| lost.without(more));
                prop_assert!(spared.is_empty(), "{} keeps {:?}", rule.grant, spared.named(&points));
            }
        }
    }
}

/// The edits of a group that are carried out, now or as soon as required rules are there.
fn carried_out(edits: &[ProposedEdit], id: &str) -> Vec<Edit> {
    let of = edits.iter().filter(|edit| edit.edit.resource == id);
    let made = of.filter(|edit| matches!(edit.hold, None | Some(Withheld::RequiredFirst)));
    made.map(|edit| edit.edit.clone()).collect()
}

/// Turns the order of generated groups around.
fn rename(id: &mut String) {
    let new: BTreeMap<&str, &str> = BTreeMap::from([("sg-0", "sg-9"), ("sg-1", "sg-8"), ("sg-2", "sg-7")]);
    if let Some(new) = new.get(id.as_str()) {
        *id = (*new).to_owned();
    }
}

fn rename_rule(rule: &mut Rule) {
    if let Peer::Group { id, .. } = &mut rule.grant.peer {
        rename(id);
    }
}
