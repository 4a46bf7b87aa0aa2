//! Approvals: whatever part of a proposal people approve, in whatever order, each step is safe; what is left is proposed
//! again, and once everything is approved the end is that of enforcement.

use std::collections::{BTreeMap, BTreeSet};

use engine::approval::{ChangeSetName, Decision, Proposal};
use engine::desired::Desired;
use engine::edit::{Edit, Withheld};
use engine::plan::{Permitted, Plan, Proposed};
use engine::rails::Circumstances;
use engine::sequence::group::sequence;
use engine::spec::{Mode, OverrideMode};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::ec2::ask;
use crate::policy::{enforced, required};
use crate::process::{Cloud, differences, judged_alone, run};
use crate::safety::{lost, not_forbidden, opened};
use crate::world::{NOW, World};
use crate::{sample, try_some, worlds_and_choices};

/// The world with every baseline asking before it changes anything.
fn proposing(world: World) -> World {
    let mut world = judged_alone(world);
    for baseline in &mut world.baselines {
        baseline.mode = baseline.mode.min(Mode::Propose);
        for over in &mut baseline.overrides {
            over.mode = over.mode.map(|mode| if mode == OverrideMode::Enforce { OverrideMode::Propose } else { mode });
        }
    }
    world
}

/// The same baselines, enforcing what they propose.
fn enforcing(desired: &[Desired]) -> Vec<Desired> {
    let mut desired = desired.to_vec();
    for active in desired.iter_mut().flat_map(|desired| &mut desired.controls) {
        active.hold = active.hold.take().filter(|hold| *hold != Withheld::Approval);
    }
    desired
}

/// What is proposed to people, and what they decided.
struct Office<'d> {
    desired: &'d [Desired],
    proposals: Vec<Proposal>,
    opened: usize,
}

impl<'d> Office<'d> {
    fn new(desired: &'d [Desired]) -> Self {
        Self { desired, proposals: Vec::new(), opened: 0 }
    }

    /// Looks, closes what is not asked for any more, and puts into change sets what is to be proposed.
    fn look(&mut self, world: &World, dice: &mut Dice<'_>) -> Permitted {
        let proposed = world.propose(self.desired);
        let asked = asked(&proposed);
        self.proposals.retain(|proposal| !proposal.changes.is_disjoint(&asked));
        let permitted = self.check(world, proposed);
        let sets = 1 + dice.below(3);
        let mut packed: BTreeMap<usize, Vec<&Edit>> = BTreeMap::new();
        for edit in permitted.to_propose.iter().flat_map(|resource| &resource.edits) {
            packed.entry(dice.below(sets)).or_default().push(edit);
        }
        for edits in packed.into_values() {
            self.propose(&edits);
        }
        permitted
    }

    fn check(&self, world: &World, proposed: Plan<Proposed>) -> Permitted {
        let circumstances = Circumstances { proposals: self.proposals.clone(), ..Circumstances::default() };
        world.check_under(proposed, &circumstances)
    }

    /// A change set for each baseline that answers for some of these edits.
    fn propose(&mut self, edits: &[&Edit]) {
        let mut by_baseline: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for edit in edits {
            let changes = by_baseline.entry(edit.demands[0].baseline.clone()).or_default();
            changes.insert((edit.resource.clone(), edit.change.clone()));
        }
        for (baseline, changes) in by_baseline {
            let name = ChangeSetName { namespace: baseline.namespace.clone(), name: self.opened.to_string() };
            self.proposals.push(Proposal { name, baseline, decision: Decision::Open, changes, proposed_at: NOW });
            self.opened += 1;
        }
    }

    fn approve(&mut self, mut wanted: impl FnMut() -> bool) {
        self.proposals.iter_mut().filter(|_| wanted()).for_each(|proposal| proposal.decision = Decision::Approved);
    }

    /// Makes everything that is approved by now; how many calls that took.
    fn make(&self, cloud: &mut Cloud) -> usize {
        let permitted = self.check(&cloud.world, cloud.world.propose(self.desired));
        let mut calls = 0;
        for resource in &permitted.resources {
            let id = &resource.target.id;
            let mut expected = engine::sequence::State::of(cloud.live(id));
            for step in sequence(&resource.edits, cloud.live(id)).expect("the group is as it was planned on") {
                let permit = ask(&cloud.world, self.desired, resource, &step, &expected, cloud.live(id));
                cloud.make(id, permit.expect("it is approved").call()).expect("EC2 does what is asked for");
                expected = step.after;
                calls += 1;
            }
        }
        calls
    }
}

/// What may be made, now or once it is approved.
fn asked(proposed: &Plan<Proposed>) -> BTreeSet<(String, engine::edit::Change)> {
    let may = proposed.stage.edits.iter().filter(|edit| matches!(edit.hold, None | Some(Withheld::Approval)));
    may.map(|proposed| (proposed.edit.resource.clone(), proposed.edit.change.clone())).collect()
}

/// Proposes and has some of it approved, as often as there are choices; then approves everything. How many calls each took.
fn decide(cloud: &mut Cloud, desired: &[Desired], choices: &[u16]) -> (usize, usize) {
    let (mut office, mut dice) = (Office::new(desired), Dice::new(choices));
    let (mut some, mut rest) = (0, 0);
    for _ in 0..2 {
        office.look(&cloud.world, &mut dice);
        office.approve(|| dice.one_in(2));
        some += office.make(cloud);
    }
    for _ in 0..30 {
        let waiting = office.look(&cloud.world, &mut dice);
        office.approve(|| true);
        rest += office.make(cloud);
        if waiting.to_propose.is_empty() && waiting.resources.is_empty() && office.proposals.is_empty() {
            return (some, rest);
        }
    }
    panic!("it does not come to rest")
}

/// After each call of whatever was approved nothing is let through that was closed but what is required, nothing goes
/// away that is required, and nothing that no control forbids; in the end everything is as if it had been enforced.
#[test]
fn whatever_part_is_approved_is_safe_and_all_of_it_is_enforcement() {
    try_some(worlds_and_choices(), |(world, choices)| {
        let world = proposing(world);
        let desired = world.desired();
        let enforcing = enforcing(&desired);
        let mut twin = Cloud::new(world.clone());
        if run(&mut twin, &enforcing) == 0 {
            return Ok(());
        }
        let mut cloud = Cloud::new(world.clone());
        decide(&mut cloud, &desired, &choices);
        let different = differences(&twin.world, &cloud.world);
        prop_assert!(different.is_empty(), "{different:?}");
        let lists = world.lists.clone().unwrap_or_default();
        for group in world.groups.iter().filter(|group| cloud.has_changed(group)) {
            let (states, enforced) = (&cloud.seen[&group.id], enforced(&world, &enforcing, group));
            let required = required(&enforced, group);
            let opened = opened(states, &required, &lists);
            prop_assert!(opened.is_empty(), "{} opened {opened:?}", group.id);
            let lost = lost(states, &required, &lists);
            prop_assert!(lost.is_empty(), "{} lost {lost:?}", group.id);
            let spared = not_forbidden(&world, &enforced, group, states);
            prop_assert!(spared.is_empty(), "{} lost {spared:?}", group.id);
        }
        Ok(())
    });
}

/// Without an approval nothing is permitted, and everything that would be made is proposed, just once.
#[test]
fn what_nobody_approved_is_proposed_and_not_made() {
    try_some(worlds_and_choices(), |(world, choices)| {
        let world = proposing(world);
        let (desired, mut dice) = (world.desired(), Dice::new(&choices));
        let mut office = Office::new(&desired);
        let first = office.look(&world, &mut dice);
        prop_assert_eq!(&first.resources, &Vec::new());
        let proposed = first.to_propose.iter().flat_map(|resource| &resource.edits);
        let proposed: BTreeSet<_> = proposed.map(|edit| (edit.resource.clone(), edit.change.clone())).collect();
        let made = world.permit(&enforcing(&desired)).resources;
        let made =
            made.iter().flat_map(|resource| &resource.edits).map(|edit| (edit.resource.clone(), edit.change.clone()));
        prop_assert_eq!(proposed, made.collect::<BTreeSet<_>>());
        prop_assert_eq!(office.look(&world, &mut dice).to_propose, Vec::new());
        Ok(())
    });
}

#[test]
fn of_the_generated_proposals_many_are_approved_in_part() {
    let mut both = 0;
    for (number, world) in sample(500).enumerate() {
        let world = proposing(world);
        let choices: Vec<u16> = (0..40).map(|choice| u16::try_from(number * 31 + choice * 7).unwrap()).collect();
        let (some, rest) = decide(&mut Cloud::new(world.clone()), &world.desired(), &choices);
        both += usize::from(some > 0 && rest > 0);
    }
    assert!(both > 20, "{both} of 500 proposals");
}
