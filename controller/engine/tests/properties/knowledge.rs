//! Partial knowledge is inert: what could not be read is never acted on.

use std::collections::BTreeMap;

use engine::edit::{Change, Edit, Withheld};
use engine::evaluate::{Keep, MAX_AGE, evaluate};
use engine::facts::{Direction, Inventory, Peer, PrefixListEntries, ReadFailure, Rule, SecurityGroup, Source};
use engine::finding::Verdict;
use engine::kind::Kind;
use engine::plan::{Permitted, plan};
use jiff::SignedDuration;
use proptest::prelude::*;

use crate::dice::Dice;
use crate::oracle::{Flows, Lists, Points};
use crate::world::{NOW, World};
use crate::{config, worlds, worlds_and_choices};

/// The world with one of its sources unread, or a single list of it.
fn hide(world: &World, dice: &mut Dice<'_>) -> World {
    let mut hidden = world.clone();
    match dice.below(4) {
        0 => hidden.usage = None,
        1 => hidden.lists = None,
        2 => {
            let id = format!("pl-{}", 1 + dice.below(4));
            hidden.lists.iter_mut().for_each(|lists| {
                lists.remove(&id);
            });
        }
        _ => {
            let id = format!("pl-{}", 1 + dice.below(4));
            let list = hidden.lists.iter_mut().filter_map(|lists| lists.get_mut(&id)).next();
            list.into_iter().for_each(|list| list.entries = PrefixListEntries::Unreadable);
        }
    }
    hidden
}

/// What edits take away from each rule of a group.
pub(crate) fn taken(group: &SecurityGroup, edits: &[Edit], points: &Points, lists: &Lists) -> BTreeMap<Rule, Flows> {
    let flows =
        |rules: &[Rule], direction: Direction| points.flows(direction, rules.iter().map(|rule| &rule.grant), lists);
    let mut taken = BTreeMap::new();
    for edit in edits {
        let Change::Rule { before: Some(before), after } = &edit.change else {
            continue;
        };
        let direction = before.grant.direction;
        // What other rules let through anyway is not repeated in the edit.
        let others: Vec<Rule> = group.rules.iter().filter(|rule| *rule != before).cloned().collect();
        let left = flows(after, direction).or(&flows(&others, direction));
        taken.insert(before.clone(), flows(std::slice::from_ref(before), direction).without(&left));
    }
    taken
}

/// The edits of a group that are made in this sweep or, for want of room in it, in the next ones.
fn edits_of(permitted: &Permitted, group: &SecurityGroup) -> Vec<Edit> {
    let made = permitted.resources.iter().flat_map(|resource| &resource.edits);
    let follow = permitted.withheld.iter().filter(|held| held.reason == Withheld::SweepLimit).map(|held| &held.edit);
    made.chain(follow).filter(|edit| edit.resource == group.id).cloned().collect()
}

proptest! {
    #![proptest_config(config())]

    /// With less knowledge, verdicts become unknown at most, and no edit takes away what full knowledge would leave.
    #[test]
    fn what_is_hidden_is_never_acted_on((mut world, choices) in worlds_and_choices()) {
        world.account.rules_per_group = 1000;
        let mut hidden = hide(&world, &mut Dice::new(&choices));
        hidden.account.rules_per_group = 1000;
        let (full, partial) = (world.desired(), hidden.desired());
        let (known, guessed) = (world.evaluate(&full), hidden.evaluate(&partial));
        for (known, guessed) in known.baselines.iter().zip(&guessed.baselines) {
            let verdicts: BTreeMap<_, _> = known.findings.iter().map(|finding| ((&finding.resource, finding.control), &finding.verdict)).collect();
            for finding in &guessed.findings {
                let before = verdicts[&(&finding.resource, finding.control)];
                let weaker = matches!(finding.verdict, Verdict::Unknown { .. }) || finding.verdict.word() == before.word();
                prop_assert!(weaker, "{} on {}: {:?} was {:?}", finding.control, finding.resource, finding.verdict, before);
            }
        }
        let lists = world.lists.clone().unwrap_or_default();
        let plenty = world.check(plan(&full, &world.inventory(), &known));
        let few = hidden.check(plan(&partial, &hidden.inventory(), &guessed));
        for group in &world.groups {
            let (plenty_of, few_of) = (edits_of(&plenty, group), edits_of(&few, group));
            let rules = plenty_of.iter().chain(&few_of).flat_map(|edit| match &edit.change {
                Change::Rule { before, after } => before.iter().chain(after).collect::<Vec<_>>(),
                Change::Restore { .. } | Change::Tags { .. } | Change::Properties(_) => Vec::new(),
            });
            let points = Points::new(rules.chain(&group.rules).map(|rule| &rule.grant), &lists);
            let (more, less) = (taken(group, &plenty_of, &points, &lists), taken(group, &few_of, &points, &lists));
            for (rule, lost) in less {
                let beyond = more.get(&rule).map_or_else(|| lost.clone(), |more| lost.without(more)).named(&points);
                prop_assert!(beyond.is_empty(), "{} of {} loses {:?}", rule.grant, group.id, beyond);
            }
        }
    }

    /// A rule for a list that could not be read is never narrowed because of what might be in it.
    #[test]
    fn an_unread_list_is_narrowed_only_by_controls_that_need_not_know_it((mut world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        let id = format!("pl-{}", 1 + dice.below(4));
        world.lists.iter_mut().for_each(|lists| {
            lists.remove(&id);
        });
        const KNOWN_WITHOUT: [&str; 4] = ["sg-default-closed", "sg-no-unrestricted-egress", "sg-rule-described", "sg-required-rules-present"];
        for resource in &world.permit(&world.desired()).resources {
            for edit in &resource.edits {
                if let Change::Rule { before: Some(before), .. } = &edit.change
                    && before.grant.peer == Peer::PrefixList(id.clone())
                {
                    let known = edit.demands.iter().all(|demand| KNOWN_WITHOUT.contains(&demand.control));
                    prop_assert!(known, "{:?}", edit);
                }
            }
        }
    }

    /// Nothing is planned while the groups themselves could not be read, or were read too long ago to judge by.
    #[test]
    fn without_fresh_groups_nothing_is_planned(world in worlds()) {
        let (desired, read) = (world.desired(), world.inventory());
        let failed = Source::failed(ReadFailure::Throttled, NOW);
        let unread = Inventory { security_groups: failed, ..read.clone() };
        for (inventory, now) in [(unread, NOW), (read, NOW + MAX_AGE + SignedDuration::from_secs(1))] {
            let evaluation = evaluate(Kind::SecurityGroup, &desired, &inventory, now, Keep::All);
            prop_assert!(evaluation.baselines.iter().all(|baseline| baseline.findings.is_empty()));
            prop_assert_eq!(plan(&desired, &inventory, &evaluation).stage.edits, Vec::new());
        }
    }

    /// The default group is closed only while it is known that nobody uses it.
    #[test]
    fn without_interfaces_no_default_group_is_closed((mut world, _) in worlds_and_choices()) {
        world.usage = None;
        let plan = world.permit(&world.desired());
        let edits = plan.resources.iter().flat_map(|resource| &resource.edits);
        let closes = |edit: &Edit| edit.demands.iter().any(|demand| demand.control == "sg-default-closed");
        prop_assert!(!edits.into_iter().any(closes));
        let held = plan.withheld.iter().filter(|held| held.edit.demands.iter().all(|demand| demand.control == "sg-default-closed"));
        for held in held.filter(|held| held.reason != Withheld::Audit && held.reason != Withheld::NotNamed) {
            let owned = matches!(
                held.reason,
                Withheld::IncompleteKnowledge | Withheld::InfrastructureAsCode(_) | Withheld::OwnedByOtherAccount(_)
                    | Withheld::ManagedByService(_) | Withheld::ReadOnlyAccount | Withheld::WritesStopped
            );
            prop_assert!(owned, "{:?}", held.reason);
        }
    }
}
