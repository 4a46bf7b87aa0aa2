//! EC2 as far as rules go: what it refuses, what its calls do. And a sweep that acts on it as the controller does.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::call::Call;
use engine::desired::Desired;
use engine::facts::{Direction, Grant, Live, LiveGroup, LiveRule, Peer, Rule, Tags};
use engine::permit::Permit;
use engine::plan::{Permitted, PermittedResource};
use engine::rails::{Authority, permit};
use engine::sequence::group::sequence;
use engine::sequence::{State, Step};

use crate::world::{NOW, World};

/// What one call did to one group.
pub(crate) struct Seen<'s> {
    pub(crate) resource: &'s PermittedResource,
    pub(crate) step: &'s Step,
    /// The group before the call.
    pub(crate) before: &'s LiveGroup,
    /// The group after it.
    pub(crate) after: &'s LiveGroup,
}

/// Makes the calls of every permitted resource and shows each to an observer; the world is then as the calls left it.
pub(crate) fn act(world: &mut World, desired: &[Desired], permitted: &Permitted, mut observe: impl FnMut(&Seen<'_>)) {
    for resource in &permitted.resources {
        let mut live = live(world, &resource.target.id);
        let planned = resource.target.planned.clone();
        assert_eq!(State::of(&live), planned, "nothing else changes the group");
        let steps = sequence(&resource.edits, &live).expect("the group is as it was planned on");
        assert!(!steps.is_empty(), "a permitted resource is changed");
        let mut expected = planned;
        for step in &steps {
            let permit = ask(world, desired, resource, step, &expected, &live);
            let before = live.clone();
            let made = perform(&mut live, permit.expect("nothing has changed since the plan").call(), world);
            made.expect("EC2 does what is asked for");
            assert_eq!(State::of(&live), step.after, "the call does what the sequence says");
            observe(&Seen { resource, step, before: &before, after: &live });
            expected = step.after.clone();
        }
        put_back(world, &live);
    }
}

/// What happened to one group in a sweep.
pub(crate) struct History {
    pub(crate) resource: PermittedResource,
    /// The rules as they were found, then after every call.
    pub(crate) states: Vec<Vec<Rule>>,
}

/// A sweep over a copy of the world.
pub(crate) fn histories(world: &World, desired: &[Desired]) -> Vec<History> {
    let mut changed = world.clone();
    let permitted = world.permit(desired);
    let mut histories: Vec<History> = Vec::new();
    act(&mut changed, desired, &permitted, |seen| {
        if histories.last().is_none_or(|last| last.resource.target.id != seen.resource.target.id) {
            let states = vec![seen.before.plain_rules()];
            histories.push(History { resource: seen.resource.clone(), states });
        }
        histories.last_mut().unwrap().states.push(seen.after.plain_rules());
    });
    histories
}

/// Asks the rails for a permit, with everybody's authority as it was at planning, and what was approved still approved.
pub(crate) fn ask(
    world: &World,
    desired: &[Desired],
    resource: &PermittedResource,
    step: &Step,
    expected: &State,
    live: &LiveGroup,
) -> Result<Permit, engine::edit::Withheld> {
    let authority = Authority {
        desired,
        account: Some(&world.account),
        approved: &resource.warrant.change_set().cloned().into_iter().collect(),
        namespaces: &[],
        lease_left: Some(Duration::from_secs(15)),
        write_timeout: Duration::from_secs(5),
    };
    permit(&world.location(), resource, step.call.clone(), expected, &Live::Group(live.clone()), &authority, NOW)
}

/// A fresh read of a group.
pub(crate) fn live(world: &World, id: &str) -> LiveGroup {
    let group = world.groups.iter().find(|group| group.id == id).expect("the group exists");
    let rule = |(number, rule): (usize, &Rule)| LiveRule {
        id: format!("sgr-{number}"),
        rule: rule.clone(),
        tags: Tags::from([("owner".to_owned(), "ana".to_owned()), ("aws:stack".to_owned(), "shop".to_owned())]),
    };
    LiveGroup {
        id: id.to_owned(),
        rules: group.rules.iter().enumerate().map(rule).collect(),
        tags: group.tags.clone(),
        read_at: NOW,
    }
}

pub(crate) fn put_back(world: &mut World, live: &LiveGroup) {
    let group = world.groups.iter_mut().find(|group| group.id == live.id).expect("the group exists");
    group.rules = live.plain_rules();
    group.tags = live.tags.clone();
}

/// Carries out a call, or refuses it whole as EC2 would, with its error code.
pub(crate) fn perform(group: &mut LiveGroup, call: &Call, world: &World) -> Result<(), &'static str> {
    let mut live = group.clone();
    match call {
        Call::Authorize { direction, rules, tags } => {
            assert!(tags.keys().all(|key| !key.starts_with("aws:")), "InvalidParameterValue: {tags:?}");
            for rule in rules {
                assert_eq!(rule.grant.direction, *direction);
                let id = unused(&live);
                live.rules.push(LiveRule { id, rule: rule.clone(), tags: tags.clone() });
            }
            refuse_beyond_quota(&live, *direction, rules, world)?;
        }
        Call::Modify { rules } => {
            for (id, rule) in rules {
                let mut found = live.rules.iter_mut();
                let found = found.find(|found| found.id == *id).ok_or("InvalidSecurityGroupRuleId.NotFound")?;
                assert_eq!(
                    std::mem::discriminant(&found.rule.grant.peer),
                    std::mem::discriminant(&rule.grant.peer),
                    "the kind of a source cannot change"
                );
                found.rule = rule.clone();
            }
        }
        Call::Revoke { direction, rule_ids } => {
            for id in rule_ids {
                let found = live.rules.iter().position(|found| found.id == *id);
                let found = live.rules.remove(found.ok_or("InvalidPermission.NotFound")?);
                assert_eq!(found.rule.grant.direction, *direction);
            }
        }
        Call::Lambda(call) => unreachable!("{call:?} is no call of EC2"),
        Call::Untag { tags } => live.tags.retain(|key, value| tags.get(key) != Some(value)),
        Call::Tag { tags } => live.tags.extend(tags.clone()),
    }
    let grants: BTreeSet<&Grant> = live.rules.iter().map(|found| &found.rule.grant).collect();
    if grants.len() < live.rules.len() {
        return Err("InvalidPermission.Duplicate");
    }
    *group = live;
    Ok(())
}

/// The id of a new rule.
fn unused(live: &LiveGroup) -> String {
    let mut ids = (live.rules.len()..).map(|number| format!("sgr-new-{number}"));
    ids.find(|id| live.rules.iter().all(|found| found.id != *id)).unwrap()
}

/// The quota is checked only when rules are added, and holds for each direction and address family.
fn refuse_beyond_quota(
    live: &LiveGroup,
    direction: Direction,
    added: &[Rule],
    world: &World,
) -> Result<(), &'static str> {
    let quota = i64::from(world.account.rules_per_group);
    let weight = |rule: &Rule| match &rule.grant.peer {
        Peer::V4(_) => (1, 0),
        Peer::V6(_) => (0, 1),
        Peer::Group { .. } => (1, 1),
        Peer::PrefixList(id) => {
            let list = world.lists.as_ref().and_then(|lists| lists.get(id));
            let most = list.map_or(1, |list| i64::from(list.max_entries));
            (most, most)
        }
    };
    let sum = |rules: &mut dyn Iterator<Item = &Rule>| {
        rules.map(weight).fold((0, 0), |(v4, v6), (more_v4, more_v6)| (v4 + more_v4, v6 + more_v6))
    };
    let mut standing = live.rules.iter().map(|found| &found.rule).filter(|rule| rule.grant.direction == direction);
    let ((v4, v6), (new_v4, new_v6)) = (sum(&mut standing), sum(&mut added.iter()));
    let has_room = (new_v4 == 0 || v4 <= quota) && (new_v6 == 0 || v6 <= quota);
    if has_room { Ok(()) } else { Err("RulesPerSecurityGroupLimitExceeded") }
}
