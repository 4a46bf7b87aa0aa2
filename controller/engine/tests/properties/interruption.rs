//! Crash confluence and unknown outcomes: wherever a process is stopped, and whatever replies are lost, the next look at the
//! groups leads to the same end, and no call is repeated blindly.

use engine::edit::Withheld;
use engine::plan::{Failure, Outcome, ResourceOutcome};
use engine::rails::{Circumstances, FRESHNESS};
use engine::retries::Retries;
use engine::sequence::State;
use jiff::SignedDuration;
use proptest::prelude::*;

use crate::dice::Dice;
use crate::ec2::{act, ask, perform};
use crate::process::{Cloud, Fate, Process, Turn, differences, judged_alone, run};
use crate::world::NOW;
use crate::{config, sample, try_some, worlds, worlds_and_choices};

/// What befalls a call; once the numbers have run out, nothing.
fn fate(dice: &mut Dice<'_>) -> Fate {
    match dice.below(7) {
        0..=2 => Fate::Seen,
        3 => Fate::Unknown { effect: true },
        4 => Fate::Unknown { effect: false },
        5 => Fate::Crash { effect: true },
        _ => Fate::Crash { effect: false },
    }
}

proptest! {
    #![proptest_config(config())]

    /// No call has a second effect, and none gets a permit again on what it has left, or on a read that is too old to show it.
    #[test]
    fn no_call_has_a_second_effect_or_gets_a_second_permit(world in worlds()) {
        let (mut changed, desired) = (world.clone(), world.desired());
        let mut wrong = Vec::new();
        act(&mut changed, &desired, &world.permit(&desired), |seen| {
            let mut again = seen.after.clone();
            let repeated = perform(&mut again, &seen.step.call, &world);
            if again != *seen.after {
                wrong.push(format!("{:?} twice: {repeated:?}", seen.step.call));
            }
            let expected = State::of(seen.before);
            let refused = ask(&world, &desired, seen.resource, seen.step, &expected, seen.after).err();
            if refused != Some(Withheld::ForeignChange) {
                wrong.push(format!("{:?} permitted again: {refused:?}", seen.step.call));
            }
            let mut old = seen.before.clone();
            old.read_at = NOW - FRESHNESS - SignedDuration::from_millis(1);
            let refused = ask(&world, &desired, seen.resource, seen.step, &expected, &old).err();
            if refused != Some(Withheld::IncompleteKnowledge) {
                wrong.push(format!("{:?} permitted on an old read: {refused:?}", seen.step.call));
            }
        });
        prop_assert!(wrong.is_empty(), "{:?}", wrong);
    }

}

/// Whatever calls processes die at and whatever replies are lost, those that follow end where an undisturbed one ends,
/// and make hardly more calls than it but for those of which nobody knew what had come.
#[test]
fn wherever_processes_die_the_end_is_the_same() {
    try_some(worlds_and_choices(), |(world, choices)| {
        let world = judged_alone(world);
        let desired = world.desired();
        let mut undisturbed = Cloud::new(world.clone());
        let calls = run(&mut undisturbed, &desired);
        let (mut cloud, mut dice) = (Cloud::new(world), Dice::new(&choices));
        let (mut process, mut effective, mut unknown) = (Process::new(&desired), 0, 0);
        for _ in 0..1000 {
            match process.turn(&mut cloud, || fate(&mut dice)) {
                Turn::Rests => break,
                Turn::Prepares => {}
                Turn::GivesUp => prop_assert!(false, "nobody else changes anything"),
                Turn::Calls { fate, changed } => {
                    effective += usize::from(changed);
                    unknown += usize::from(fate != Fate::Seen);
                    if matches!(fate, Fate::Crash { .. }) {
                        process = Process::new(&desired);
                    }
                }
            }
        }
        // What is left of a plan may take another sort of call: what was to be narrowed goes whole.
        let most = calls + unknown + cloud.world.groups.len();
        prop_assert!(effective <= most, "{effective} calls instead of {calls}, {unknown} of them unknown");
        let different = differences(&undisturbed.world, &cloud.world);
        prop_assert!(different.is_empty(), "{different:?}");
        Ok(())
    });
}

/// After an unknown outcome the group is planned on a new read: what had no effect is tried again after a moment, and
/// never later than in five minutes; what had one is gone on with at once, without what is done.
#[test]
fn after_an_unknown_outcome_the_next_try_comes_from_what_is_read() {
    try_some(worlds_and_choices(), |(world, choices)| {
        let (desired, mut dice) = (world.desired(), Dice::new(&choices));
        let permitted = world.permit(&desired);
        for resource in &permitted.resources {
            let mut retries = Retries::default();
            let failures = 1 + dice.below(12);
            let unknown = ResourceOutcome {
                id: resource.target.id.clone(),
                edits: resource.edits.clone(),
                warrant: resource.warrant.clone(),
                outcome: Outcome::Failed(Failure::OutcomeUnknown),
                calls_verified: 0,
                request_ids: Vec::new(),
                finished_at: NOW,
            };
            (0..failures).for_each(|_| retries.note(std::slice::from_ref(&unknown)));
            let waits = |seconds| {
                let now = NOW + SignedDuration::from_secs(seconds);
                retries.waits(&resource.target.id, &resource.edits, now).is_some()
            };
            prop_assert!(waits(0) && !waits(300));
            let mut process_world = world.clone();
            process_world.groups.retain(|group| group.id == resource.target.id);
            let mut cloud = Cloud::new(process_world);
            let mut process = Process::new(&desired);
            let turn = loop {
                match process.turn(&mut cloud, || Fate::Unknown { effect: true }) {
                    Turn::Prepares => {}
                    turn => break turn,
                }
            };
            prop_assert_eq!(turn, Turn::Calls { fate: Fate::Unknown { effect: true }, changed: true });
            let circumstances = Circumstances { retries, ..Circumstances::default() };
            let next = cloud.world.check_under(cloud.world.propose(&desired), &circumstances);
            let backs_off = next.withheld.iter().any(|held| matches!(held.reason, Withheld::BackingOff(_)));
            prop_assert!(!backs_off, "{:?}", next.withheld);
            prop_assert!(next.resources.iter().all(|next| next.edits != resource.edits));
        }
        Ok(())
    });
}

#[test]
fn the_generated_worlds_have_enough_calls_to_die_at() {
    let (mut several, mut resources) = (0, 0);
    for world in sample(500) {
        let desired = world.desired();
        let mut cloud = Cloud::new(judged_alone(world));
        let calls = run(&mut cloud, &desired);
        several += usize::from(calls > 1);
        resources += usize::from(cloud.seen.values().filter(|states| states.len() > 1).count() > 1);
    }
    assert!(
        several > 40 && resources > 10,
        "{several} of 500 worlds with several calls, {resources} with several groups"
    );
}
