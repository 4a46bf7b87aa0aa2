//! Concord: no two edits contradict each other, and where baselines do, nothing is written and each is told of the other.

use std::collections::{BTreeMap, BTreeSet};

use engine::desired::Desired;
use engine::edit::{Edit, Withheld};
use engine::plan::ProposedEdit;
use engine::property::{Property, PropertyChange};
use engine::report::report;
use engine::sequence::properties::changes;
use proptest::prelude::*;

use super::world::{NOW, World};
use super::{config, sample, worlds};

/// The edits that nothing but an approval holds back, by that.
fn free(edits: &[ProposedEdit], waiting: bool) -> impl Iterator<Item = &Edit> {
    let free = edits.iter().filter(move |proposed| match proposed.hold {
        None => true,
        Some(Withheld::Approval) => waiting,
        Some(_) => false,
    });
    free.map(|proposed| &proposed.edit)
}

/// Whom an edit speaks for.
fn askers(edit: &Edit) -> BTreeSet<String> {
    edit.demands.iter().map(|demand| demand.baseline.to_string()).collect()
}

/// Whether all who ask for it would have it made without an approval.
fn enforced(edit: &Edit, desired: &[Desired]) -> bool {
    edit.demands.iter().all(|demand| {
        let asking = desired.iter().filter(|desired| desired.reference == demand.baseline);
        let mut controls = asking.flat_map(|desired| &desired.controls);
        controls.any(|active| active.about.id == demand.control && active.hold.is_none())
    })
}

fn abouts(edit: &Edit) -> Option<(&str, &Property)> {
    Some((edit.resource.as_str(), &changes(edit).first()?.property))
}

proptest! {
    #![proptest_config(config())]

    /// Whoever asks: what is made, and what would be made once all of it is approved, gives each property one value, and was
    /// planned on the one that it has.
    #[test]
    fn no_two_edits_contradict_each_other(world in worlds()) {
        let plan = world.propose(&world.desired());
        for waiting in [false, true] {
            let mut known: BTreeMap<(&str, &Property), &PropertyChange> = BTreeMap::new();
            for edit in free(&plan.stage.edits, waiting) {
                // It may rest on a statement that stays.
                prop_assert!(changes(edit).iter().any(|change| change.before != change.after), "{edit:?}");
                for change in changes(edit) {
                    let other = known.insert((&edit.resource, &change.property), change);
                    prop_assert!(other.is_none_or(|other| other == change), "{change:?} and {other:?}");
                }
            }
        }
    }

    /// An edit that contradicts others is not made, nor is any other of what it is about. It names each of the others, and
    /// each of them learns of it.
    #[test]
    fn baselines_that_contradict_each_other_write_nothing_and_are_told(world in worlds()) {
        let desired = world.desired();
        let plan = world.propose(&desired);
        let edits = &plan.stage.edits;
        let made: BTreeSet<_> = free(edits, false).filter_map(abouts).collect();
        let permitted = world.check(plan.clone(), &desired);
        let reports = report(&world.evaluate(&desired), &permitted.applied(Vec::new()), NOW);
        let told: BTreeMap<String, BTreeSet<String>> =
            reports.into_iter().map(|report| (report.reference.to_string(), report.conflicts)).collect();
        for ProposedEdit { edit, hold } in edits {
            let Some(Withheld::Conflicting(others)) = hold else { continue };
            // What is enforced waits for nobody who only proposes something else.
            if !enforced(edit, &desired) {
                continue;
            }
            prop_assert!(!made.contains(&abouts(edit).unwrap()), "{edit:?} is written all the same");
            let mine = askers(edit);
            prop_assert!(!others.is_empty() && others.iter().all(|other| !mine.contains(other)), "{mine:?} {others:?}");
            for (one, other) in mine.iter().flat_map(|one| others.iter().map(move |other| (one, other))) {
                prop_assert!(told[one].contains(other) && told[other].contains(one), "{told:?}");
            }
        }
    }

    /// A baseline on its own contradicts nobody.
    #[test]
    fn no_baseline_contradicts_itself(world in worlds()) {
        for desired in world.desired() {
            for ProposedEdit { edit, hold } in world.propose(std::slice::from_ref(&desired)).stage.edits {
                prop_assert!(!matches!(hold, Some(Withheld::Conflicting(_))), "{edit:?} {hold:?}");
            }
        }
    }
}

#[test]
fn enough_of_the_generated_baselines_contradict_each_other() {
    let conflicts = |world: &World| {
        let edits = world.propose(&world.desired()).stage.edits;
        edits.iter().filter(|proposed| matches!(proposed.hold, Some(Withheld::Conflicting(_)))).count()
    };
    let found: usize = sample(800).map(|world| usize::from(conflicts(&world) > 0)).sum();
    assert!(found > 30, "{found}");
}
