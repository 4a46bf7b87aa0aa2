//! Fixpoint and monotone convergence: a sweep leaves nothing to do for the next one, and never a worse state on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::parameters;
use engine::controls::security_group::OnOverlap;
use engine::edit::{Change, Operation, Withheld};
use engine::facts::{Direction, Rule};
use engine::finding::Verdict;
use engine::plan::Permitted;
use proptest::prelude::*;

use crate::ec2::{History, act, histories};
use crate::oracle::{Flows, Message, Place, Points, is_public};
use crate::policy::{Judge, cuts, enforced, required};
use crate::world::{World, brief};
use crate::{config, sample, worlds};

/// Sweeps until nothing is permitted any more; what each sweep permitted.
fn sweeps(mut world: World) -> Vec<Permitted> {
    let mut sweeps = Vec::new();
    loop {
        let desired = world.desired();
        let permitted = world.permit(&desired);
        if permitted.resources.is_empty() {
            return sweeps;
        }
        act(&mut world, &desired, &permitted, |_| {});
        sweeps.push(permitted);
        assert!(sweeps.len() < 30, "it does not come to rest: {:?}", sweeps.last().map(brief));
    }
}

/// Whether a sweep says itself that another has to follow, or adds a public source that may make the world of others.
fn is_continued(world: &World, permitted: &Permitted) -> bool {
    let waits =
        |reason: &Withheld| matches!(reason, Withheld::RuleQuota | Withheld::SweepLimit | Withheld::RequiredFirst);
    // A rule that is only reported while some of it is allowed may go once another baseline has narrowed it.
    let desired = world.desired();
    let reports = world.baselines.iter().any(|baseline| {
        let accepted = desired.iter().any(|desired| desired.reference == baseline.reference);
        let internet = parameters(baseline).internet.as_ref();
        accepted && internet.is_some_and(|internet| internet.on_overlap == Some(OnOverlap::Report))
    });
    let lists = world.lists.clone().unwrap_or_default();
    let public = |rule: &Rule| rule.grant.direction == Direction::Ingress && is_public(&rule.grant.peer, &lists);
    let replaces = |change: &Change| match change {
        Change::Rule { before: Some(before), after } => {
            after.iter().any(|rule| public(rule) && rule.grant.peer != before.grant.peer)
        }
        Change::Rule { before: None, .. } | Change::Restore { .. } | Change::Tags { .. } | Change::Properties(_) => {
            false
        }
    };
    // A demand that would cut a rule into more than 60 is left out, and may have room on one of the pieces.
    let many = |change: &Change| matches!(change, Change::Rule { after, .. } if after.len() > 30);
    let mut edits = permitted.resources.iter().flat_map(|resource| &resource.edits);
    reports
        || edits.any(|edit| many(&edit.change) || replaces(&edit.change))
        || permitted.withheld.iter().any(|edit| waits(&edit.reason))
}

proptest! {
    #![proptest_config(config())]

    /// Once all permitted edits are made, planning again permits nothing.
    #[test]
    fn a_sweep_leaves_nothing_to_do_for_the_next(world in worlds()) {
        let sweeps = sweeps(world.clone());
        let continued = sweeps.first().is_some_and(|first| is_continued(&world, first));
        let told: Vec<String> = sweeps.iter().map(brief).collect();
        prop_assert!(sweeps.len() < 2 || continued, "{}", told.join("\nthen\n"));
    }

    /// A group on which no repairable control fails is left alone, and every edit answers a failure.
    #[test]
    fn what_complies_is_left_alone(world in worlds()) {
        let desired = world.desired();
        let evaluation = world.evaluate(&desired);
        let mut failing = BTreeSet::new();
        for baseline in &evaluation.baselines {
            let fails = baseline.findings.iter().filter(|finding| matches!(finding.verdict, Verdict::Fail { .. }));
            failing.extend(fails.map(|finding| (finding.resource.clone(), baseline.reference.clone(), finding.control)));
        }
        for resource in &world.permit(&desired).resources {
            for edit in &resource.edits {
                // A stamp on a required rule that is added answers the failure that it would be.
                let asked = edit.demands.iter().filter(|demand| {
                    edit.operation != Operation::AddGrant || demand.control != "sg-rule-described"
                });
                for demand in asked {
                    let finding = (edit.resource.clone(), demand.baseline.clone(), demand.control);
                    prop_assert!(failing.contains(&finding), "{:?} without {:?}", edit, finding);
                }
            }
        }
    }

    /// Call by call less and less of what enforced controls forbid is let through, and every rule that is narrowed loses
    /// some of it. What is let through after a call is part of what was let through before, so that no weighting of
    /// exposure can rank it worse.
    #[test]
    fn violations_only_ever_become_fewer(world in worlds()) {
        let desired = world.desired();
        for History { resource, states } in histories(&world, &desired) {
            let (enforced, judge) = (enforced(&world, &desired, world.group(&resource.target.id)), Judge::new(&world, world.group(&resource.target.id)));
            let required = required(&enforced, world.group(&resource.target.id));
            let cuts = cuts(&enforced);
            let edits = resource.edits.iter().filter_map(|edit| narrowing(&edit.change));
            let named: Vec<(&Rule, &[Rule])> = edits.collect();
            let rules = states.iter().flatten().chain(named.iter().flat_map(|(_, after)| after.iter()));
            let points = Points::new(rules.clone().map(|rule| &rule.grant).chain(&cuts).chain(&required), &judge.lists);
            let forbidden: BTreeMap<&Rule, Flows> = rules.map(|rule| {
                // What is required is nobody's violation.
                let direction = rule.grant.direction;
                let required = points.flows(direction, &required, &judge.lists);
                let flows = points.flows(direction, [&rule.grant], &judge.lists).without(&required);
                let forbidden = |message: Message| {
                    let forbidden = judge.forbids(&enforced, rule, message);
                    move |place: &Place| forbidden.includes(place)
                };
                (rule, flows.only(&points, forbidden))
            }).collect();
            for direction in [Direction::Ingress, Direction::Egress] {
                let open = |rules: &[Rule]| {
                    let rules = rules.iter().filter(|rule| rule.grant.direction == direction);
                    rules.fold(points.none(), |open, rule| open.or(&forbidden[rule]))
                };
                for (before, after) in states.iter().zip(&states[1..]) {
                    let more = open(after).without(&open(before)).named(&points);
                    prop_assert!(more.is_empty(), "{} lets through {:?} as well", resource.target.id, more);
                }
                for (before, after) in named.iter().filter(|(before, _)| before.grant.direction == direction) {
                    let less = forbidden[*before].without(&open(after));
                    prop_assert!(!less.is_empty(), "{} loses nothing that is forbidden", before.grant);
                }
            }
        }
    }
}

#[test]
fn of_many_worlds_that_are_changed_one_sweep_must_be_enough() {
    let (mut changed, mut excused) = (0, 0);
    for world in sample(500) {
        let permitted = world.permit(&world.desired());
        if !permitted.resources.is_empty() {
            changed += 1;
            excused += usize::from(is_continued(&world, &permitted));
        }
    }
    assert!(changed > 100 && changed > 2 * excused, "{excused} of {changed} may be continued");
}

/// What a change makes of a rule, if it takes anything away.
fn narrowing(change: &Change) -> Option<(&Rule, &[Rule])> {
    match change {
        Change::Rule { before: Some(before), after }
            if matches!(change.operation(), Operation::NarrowGrant | Operation::RemoveGrant) =>
        {
            Some((before, after))
        }
        _ => None,
    }
}
