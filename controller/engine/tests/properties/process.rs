//! Processes that look, plan and change groups call by call, and what may befall them. EC2 keeps the ids of rules meanwhile.

use std::collections::{BTreeMap, VecDeque};

use engine::call::Call;
use engine::desired::Desired;
use engine::facts::{LiveGroup, Rule, SecurityGroup};
use engine::plan::PermittedResource;
use engine::sequence::group::sequence;
use engine::sequence::{State, Step};

use crate::ec2::{ask, live, perform, put_back};
use crate::oracle::is_partly_public;
use crate::safety::opened;
use crate::world::World;

/// A world of small groups with plenty of room, whose rules are each judged alone. Where several are a violation only
/// together, or not all have room, what goes first decides what stays.
pub(crate) fn judged_alone(mut world: World) -> World {
    let lists = world.lists.clone().unwrap_or_default();
    for group in &mut world.groups {
        group.rules.retain(|rule| !is_partly_public(&rule.grant.peer, &lists));
        group.rules.truncate(6);
    }
    world.account.rules_per_group = 1000;
    world
}

/// EC2 with all rules under ids that stay, and what was seen of each group: at first, and after every call.
pub(crate) struct Cloud {
    pub(crate) world: World,
    live: BTreeMap<String, LiveGroup>,
    pub(crate) seen: BTreeMap<String, Vec<Vec<Rule>>>,
}

impl Cloud {
    pub(crate) fn new(world: World) -> Self {
        let groups = || world.groups.iter();
        let live = groups().map(|group| (group.id.clone(), live(&world, &group.id))).collect();
        let seen = groups().map(|group| (group.id.clone(), vec![group.rules.clone()])).collect();
        Self { world, live, seen }
    }

    pub(crate) fn live(&self, id: &str) -> &LiveGroup {
        &self.live[id]
    }

    /// Whether any call was made on a group.
    pub(crate) fn has_changed(&self, group: &SecurityGroup) -> bool {
        self.seen[&group.id].len() > 1
    }

    /// Makes a call; whether it changed anything.
    pub(crate) fn make(&mut self, id: &str, call: &Call) -> Result<bool, &'static str> {
        let live = self.live.get_mut(id).expect("the group exists");
        let before = State::of(live);
        perform(live, call, &self.world)?;
        put_back(&mut self.world, live);
        self.seen.get_mut(id).expect("the group exists").push(live.plain_rules());
        Ok(State::of(live) != before)
    }
}

/// In what two ends differ: in tags, or in what groups let through. The same may be cut into rules in several ways: what
/// another rule lets through anyway is not repeated.
pub(crate) fn differences(one: &World, other: &World) -> Vec<String> {
    let lists = one.lists.clone().unwrap_or_default();
    let of = |(one, other): (&SecurityGroup, &SecurityGroup)| {
        let mut different = Vec::new();
        if one.rules != other.rules {
            different.extend(opened(&[one.rules.clone(), other.rules.clone()], &[], &lists));
            different.extend(opened(&[other.rules.clone(), one.rules.clone()], &[], &lists));
        }
        different.extend((one.tags != other.tags).then(|| format!("{:?} and {:?}", one.tags, other.tags)));
        different
    };
    one.groups.iter().zip(&other.groups).flat_map(of).collect()
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It takes effect, and a read shows it, whether its reply came or not.
    Seen,
    /// Nobody knows: it takes effect unseen, or it was lost on its way.
    Unknown { effect: bool },
    /// The process ends with it.
    Crash { effect: bool },
}

impl Fate {
    pub(crate) fn has_effect(self) -> bool {
        matches!(self, Self::Seen | Self::Unknown { effect: true } | Self::Crash { effect: true })
    }
}

/// What a process did in one turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It looked at everything and found nothing to do.
    Rests,
    /// It looked and planned, or read a group right before changing it.
    Prepares,
    /// It got no permit, or found a group not as it was planned on: it goes on with the next group.
    GivesUp,
    /// It made a call.
    Calls { fate: Fate, changed: bool },
}

/// One process, between two of its turns.
pub(crate) struct Process<'d> {
    desired: &'d [Desired],
    planned: VecDeque<PermittedResource>,
    work: Option<Work>,
}

struct Work {
    resource: PermittedResource,
    steps: VecDeque<Step>,
    expected: State,
}

impl<'d> Process<'d> {
    pub(crate) fn new(desired: &'d [Desired]) -> Self {
        Self { desired, planned: VecDeque::new(), work: None }
    }

    /// Does the next thing: a call, a fresh read of the next group, or a new look at everything.
    pub(crate) fn turn(&mut self, cloud: &mut Cloud, fate: impl FnOnce() -> Fate) -> Turn {
        if let Some(work) = self.work.take() {
            return self.call(work, cloud, fate);
        }
        if let Some(resource) = self.planned.pop_front() {
            return self.prepare(resource, cloud);
        }
        self.planned = cloud.world.permit(self.desired).resources.into();
        if self.planned.is_empty() { Turn::Rests } else { Turn::Prepares }
    }

    fn prepare(&mut self, resource: PermittedResource, cloud: &Cloud) -> Turn {
        let live = cloud.live(&resource.target.id);
        let expected = resource.target.planned.clone();
        if State::of(live) != expected {
            return Turn::GivesUp;
        }
        let steps = sequence(&resource.edits, live).expect("the group is as it was planned on").into();
        self.work = Some(Work { resource, steps, expected });
        Turn::Prepares
    }

    fn call(&mut self, mut work: Work, cloud: &mut Cloud, fate: impl FnOnce() -> Fate) -> Turn {
        let Some(step) = work.steps.pop_front() else { return Turn::Prepares };
        let id = work.resource.target.id.clone();
        let permit = ask(&cloud.world, self.desired, &work.resource, &step, &work.expected, cloud.live(&id));
        let Ok(permit) = permit else { return Turn::GivesUp };
        let fate = fate();
        let changed = fate.has_effect() && cloud.make(&id, permit.call()).expect("EC2 does what is asked for");
        if fate == Fate::Seen {
            assert_eq!(State::of(cloud.live(&id)), step.after, "the call does what the sequence says");
            work.expected = step.after;
            self.work = Some(work);
        }
        Turn::Calls { fate, changed }
    }
}

/// Lets one process do everything there is to do; how many calls that took.
pub(crate) fn run(cloud: &mut Cloud, desired: &[Desired]) -> usize {
    let (mut process, mut calls) = (Process::new(desired), 0);
    for _ in 0..1000 {
        match process.turn(cloud, || Fate::Seen) {
            Turn::Rests => return calls,
            Turn::Prepares => {}
            Turn::GivesUp => panic!("nobody else changes anything"),
            Turn::Calls { changed, .. } => {
                assert!(changed, "no call is made for nothing");
                calls += 1;
            }
        }
    }
    panic!("it does not come to rest")
}
