//! Single-writer safety: two processes that look, plan and write at any moments, each call with a permit on a fresh read.

use proptest::prelude::*;

use crate::dice::Dice;
use crate::policy::{enforced, required, standing};
use crate::process::{Cloud, Fate, Process, Turn, differences, judged_alone, run};
use crate::safety::{lost, opened};
use crate::{try_some, worlds_and_choices};

/// However two processes take turns, nothing opens, nothing required goes away even for a moment, and every group ends
/// as one process alone leaves it.
#[test]
fn two_processes_leave_what_one_leaves() {
    try_some(worlds_and_choices(), |(world, choices)| {
        let world = judged_alone(world);
        let desired = world.desired();
        let mut alone = Cloud::new(world.clone());
        let calls = run(&mut alone, &desired);
        if calls == 0 {
            return Ok(());
        }
        let (mut cloud, mut dice) = (Cloud::new(world.clone()), Dice::new(&choices));
        let mut processes = [Process::new(&desired), Process::new(&desired)];
        let (mut who, mut at_rest, mut effective) = (0, 0, 0);
        while at_rest < 2 {
            who = if at_rest == 0 { dice.below(2) } else { 1 - who };
            let turn = processes[who].turn(&mut cloud, || Fate::Seen);
            at_rest = if turn == Turn::Rests { at_rest + 1 } else { 0 };
            effective += usize::from(matches!(turn, Turn::Calls { .. }));
            // What is left of a plan may take another sort of call: what was to be narrowed goes whole.
            let most = calls + world.groups.len();
            prop_assert!(effective <= most, "more calls than the {calls} of one process: {:?}", cloud.seen);
        }
        let lists = world.lists.clone().unwrap_or_default();
        let different = differences(&alone.world, &cloud.world);
        prop_assert!(different.is_empty(), "{different:?}");
        for group in world.groups.iter().filter(|group| cloud.has_changed(group)) {
            let states = &cloud.seen[&group.id];
            let opened = opened(states, &required(&enforced(&world, &desired, group), group), &lists);
            prop_assert!(opened.is_empty(), "{} opened {opened:?}", group.id);
            let lost = lost(states, &required(&standing(&world, &desired, group), group), &lists);
            prop_assert!(lost.is_empty(), "{} lost {lost:?}", group.id);
        }
        Ok(())
    });
}
