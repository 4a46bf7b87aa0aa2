//! One group as the controls see it: its facts, and what follows from them whatever the baseline.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::address::PublicSize;
use crate::exposure::{Audience, Exposure, PrefixLists, offenders};
use crate::facts::{Direction, InterfaceUse, Peer, Rule, SecurityGroup};
use crate::traffic::TrafficSet;

/// One group with everything that is computed once, however many baselines look at it.
#[derive(Debug)]
pub struct GroupView<'a> {
    /// The facts.
    pub group: &'a SecurityGroup,
    /// What its rules open to the world.
    pub exposure: Exposure,
    /// Who carries the group; `None` if the interfaces could not be read.
    pub usage: Option<InterfaceUse>,
    /// The prefix lists of the inventory; `None` if they could not be read.
    pub lists: PrefixLists<'a>,
    /// Characters in the shortest description of a rule; a rule without one counts as 0.
    pub shortest_description: usize,
    /// The ingress rules that let in public addresses, with the widest public part that one network of each has.
    pub public_sources: Vec<(usize, PublicSize)>,
    /// The widest of them, per address family.
    pub widest_source: PublicSize,
    /// Number of ingress and of egress rules.
    pub rule_counts: [usize; 2],
    /// Whether an ingress rule names a prefix list.
    pub prefix_lists: bool,
    /// Whether a rule refers to a group of another account than the one that owns this group.
    pub foreign_references: bool,
    offenders: OnceCell<BTreeMap<usize, TrafficSet>>,
}

impl<'a> GroupView<'a> {
    /// Looks at one group.
    pub fn new(
        group: &'a SecurityGroup,
        usage: Option<&BTreeMap<String, InterfaceUse>>,
        lists: PrefixLists<'a>,
    ) -> Self {
        let count = |direction| group.rules.iter().filter(|rule| rule.grant.direction == direction).count();
        let description = |rule: &Rule| rule.description.as_ref().map_or(0, |text| text.chars().count());
        let widest = |rule: &Rule| {
            let audience = Audience::of(&rule.grant.peer, lists);
            audience.nets().iter().fold(PublicSize::default(), |size, net: &IpNet| size.max(PublicSize::of(*net)))
        };
        let names_list =
            |rule: &Rule| rule.grant.direction == Direction::Ingress && matches!(rule.grant.peer, Peer::PrefixList(_));
        let foreign = |rule: &Rule| matches!(&rule.grant.peer, Peer::Group { account, .. } if *account != group.owner);
        let public_sources: Vec<(usize, PublicSize)> = group
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.grant.direction == Direction::Ingress)
            .map(|(index, rule)| (index, widest(rule)))
            .filter(|(_, size)| !size.is_zero())
            .collect();
        Self {
            group,
            exposure: Exposure::of(&group.rules, lists),
            usage: usage.map(|usage| usage.get(&group.id).copied().unwrap_or_default()),
            lists,
            shortest_description: group.rules.iter().map(description).min().unwrap_or(usize::MAX),
            widest_source: public_sources.iter().fold(PublicSize::default(), |widest, (_, size)| widest.max(*size)),
            public_sources,
            rule_counts: [count(Direction::Ingress), count(Direction::Egress)],
            prefix_lists: group.rules.iter().any(names_list),
            foreign_references: group.rules.iter().any(foreign),
            offenders: OnceCell::new(),
        }
    }

    /// The rules of one direction with their positions. Ingress comes first in the order of the facts.
    pub fn rules(&self, direction: Direction) -> impl Iterator<Item = (usize, &'a Rule)> {
        let group: &'a SecurityGroup = self.group;
        let [ingress, egress] = self.rule_counts;
        let (first, count) = match direction {
            Direction::Ingress => (0, ingress),
            Direction::Egress => (ingress, egress),
        };
        group.rules.iter().enumerate().skip(first).take(count)
    }

    /// The rules that would have to change for the group to open nothing to the world, and the part of each.
    pub fn offenders(&self) -> &BTreeMap<usize, TrafficSet> {
        self.offenders.get_or_init(|| {
            if self.exposure.world.is_empty() {
                BTreeMap::new()
            } else {
                offenders(&self.group.rules, self.lists, &self.exposure.world)
            }
        })
    }
}
