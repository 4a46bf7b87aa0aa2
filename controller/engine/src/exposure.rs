//! What a group's own ingress rules open to the internet, computed once per group whatever
//! the number of baselines that look at it.
//!
//! The world is judged on the union of all rules that cover a port, per protocol and port, IPv4
//! and IPv6 apart. A list that cannot be read cannot close a port that is open without it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::address::{AddressSet, PublicSize};
use crate::facts::{Direction, Peer, PrefixList, PrefixListEntries, Rule};
use crate::ranges::Ranges;
use crate::traffic::{Space, Traffic, TrafficSet};

/// The prefix lists of an inventory by id, or `None` if that source could not be read.
pub type PrefixLists<'a> = Option<&'a BTreeMap<String, PrefixList>>;

/// Who is behind a peer, seen from the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// A single network.
    Network(IpNet),
    /// The networks of a customer's prefix list.
    Networks(&'a [IpNet]),
    /// Nobody from the internet: a security group, or a list of AWS, trusted by default.
    Trusted,
    /// A list that could not be read.
    Unknown,
}

impl<'a> Audience<'a> {
    /// Looks a peer up.
    pub fn of(peer: &Peer, lists: PrefixLists<'a>) -> Self {
        match peer {
            Peer::V4(net) => Self::Network(IpNet::V4(*net)),
            Peer::V6(net) => Self::Network(IpNet::V6(*net)),
            Peer::Group { .. } => Self::Trusted,
            Peer::PrefixList(id) => match lists.and_then(|lists| lists.get(id)).map(|list| &list.entries) {
                Some(PrefixListEntries::AwsManaged) => Self::Trusted,
                Some(PrefixListEntries::Known(nets)) => Self::Networks(nets),
                Some(PrefixListEntries::Unreadable) | None => Self::Unknown,
            },
        }
    }

    /// The networks behind the peer, as far as they are known and count.
    pub fn nets(&self) -> &[IpNet] {
        match self {
            Self::Network(net) => std::slice::from_ref(net),
            Self::Networks(nets) => nets,
            Self::Trusted | Self::Unknown => &[],
        }
    }

    fn public_size(&self) -> PublicSize {
        match self {
            Self::Network(net) => PublicSize::of(*net),
            Self::Networks(nets) => nets.iter().copied().collect::<AddressSet>().public_size(),
            Self::Trusted | Self::Unknown => PublicSize::default(),
        }
    }
}

/// One ingress rule as the world sees it.
#[derive(Clone, Copy, Debug)]
struct Opening<'a> {
    /// Position in the group's rules.
    rule: usize,
    traffic: Traffic,
    audience: Audience<'a>,
    size: PublicSize,
}

/// What a group opens to the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Traffic that is open to the world, proven by complete facts.
    pub world: TrafficSet,
    /// Traffic that would be open to the world if an unreadable prefix list held it, and is not otherwise.
    pub unknown: TrafficSet,
    /// Whether rules that open every port of a protocol add up to the world.
    pub all_traffic: Knowledge,
}

/// A statement that can also be beyond our knowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Knowledge {
    /// It holds.
    Yes,
    /// It does not hold.
    #[default]
    No,
    /// A prefix list that could not be read decides.
    Unknown,
}

impl Exposure {
    /// Judges the ingress rules of one group.
    pub fn of(rules: &[Rule], lists: PrefixLists<'_>) -> Self {
        let openings = openings(rules, lists);
        if openings.is_empty() {
            return Self::default();
        }
        let world = TrafficSet::build(|space| world_points(space, &openings));
        let unreadable: TrafficSet = openings
            .iter()
            .filter(|opening| opening.audience == Audience::Unknown)
            .map(|opening| opening.traffic)
            .collect();
        let unknown = if unreadable.is_empty() { unreadable } else { unreadable.difference(&world) };
        Self { all_traffic: all_traffic(&openings), world, unknown }
    }
}

/// The rules that have to change so that nothing of `world` stays open to the world, and the part of
/// each that has to go.
///
/// For each port the widest sources go first, and only as many as it takes: a narrow rule beside
/// `0.0.0.0/0` is somebody's legitimate flow. The choice for a port does not depend on which
/// ports are forbidden, so a stricter baseline never spares a rule that a laxer one would narrow.
pub fn offenders(rules: &[Rule], lists: PrefixLists<'_>, world: &TrafficSet) -> BTreeMap<usize, TrafficSet> {
    let openings = openings(rules, lists);
    let mut parts: BTreeMap<usize, Vec<(Space, RangeInclusive<u16>)>> = BTreeMap::new();
    for space in Space::ALL {
        for interval in intervals(space, &openings) {
            // The same rules apply to all of an interval, but its first number may be a protocol with a space of its own.
            if world.space(space).meets(&interval) {
                for rule in excess(covering(space, &openings, *interval.start())) {
                    parts.entry(rule).or_default().push((space, interval.clone()));
                }
            }
        }
    }
    let as_set = |parts: Vec<(Space, RangeInclusive<u16>)>| {
        TrafficSet::build(|space| {
            let points = parts.iter().filter(|(of, _)| *of == space).map(|(_, range)| range.clone());
            points.collect::<Ranges<u16>>().intersection(&space.universe())
        })
    };
    parts.into_iter().map(|(rule, parts)| (rule, as_set(parts))).collect()
}

fn openings<'a>(rules: &[Rule], lists: PrefixLists<'a>) -> Vec<Opening<'a>> {
    let ingress = rules.iter().enumerate().filter(|(_, rule)| rule.grant.direction == Direction::Ingress);
    ingress
        .map(|(index, rule)| {
            let audience = Audience::of(&rule.grant.peer, lists);
            Opening { rule: index, traffic: rule.grant.traffic, audience, size: audience.public_size() }
        })
        .filter(|opening| !opening.size.is_zero() || opening.audience == Audience::Unknown)
        .collect()
}

/// The points of a space that are open to the world.
fn world_points(space: Space, openings: &[Opening<'_>]) -> Ranges<u16> {
    let relevant = || openings.iter().filter(|opening| space.points(opening.traffic).is_some());
    let sum = relevant().fold(PublicSize::default(), |sum, opening| sum.plus(opening.size));
    if !sum.is_world() {
        return Ranges::default();
    }
    let alone = relevant().filter(|opening| opening.size.is_world());
    let alone: Ranges<u16> = alone.filter_map(|opening| space.points(opening.traffic)).collect();
    let together = intervals(space, openings).into_iter().filter(|interval| {
        !alone.meets(interval) && union_size(&covering(space, openings, *interval.start())).is_world()
    });
    let world = alone.union(&together.collect());
    if space == Space::Other { world.intersection(&space.universe()) } else { world }
}

/// The stretches of a space within which the same rules apply.
fn intervals(space: Space, openings: &[Opening<'_>]) -> Vec<RangeInclusive<u16>> {
    let ranges = || openings.iter().filter_map(|opening| space.points(opening.traffic));
    let mut starts: Vec<u16> =
        ranges().flat_map(|range| [Some(*range.start()), range.end().checked_add(1)]).flatten().collect();
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..=end)
        .filter(|interval| ranges().any(|range| range.contains(interval.start())))
        .collect()
}

fn covering<'o, 'a>(space: Space, openings: &'o [Opening<'a>], point: u16) -> Vec<&'o Opening<'a>> {
    let covers = |opening: &&Opening<'_>| space.points(opening.traffic).is_some_and(|range| range.contains(&point));
    openings.iter().filter(covers).collect()
}

fn union_size(openings: &[&Opening<'_>]) -> PublicSize {
    if let [only] = openings {
        return only.size;
    }
    openings.iter().flat_map(|opening| opening.audience.nets().iter().copied()).collect::<AddressSet>().public_size()
}

/// The fewest, widest openings without which the others are not the world.
fn excess(mut covering: Vec<&Opening<'_>>) -> Vec<usize> {
    // A rule for all protocols goes last among equals: it can rarely be narrowed exactly.
    covering.sort_by_key(|opening| (opening.traffic == Traffic::All, opening.rule));
    let mut gone = Vec::new();
    loop {
        let size = union_size(&covering);
        let widest = if size.v4 > crate::address::WORLD_V4 {
            widest_by(&covering, |size| u128::from(size.v4))
        } else if size.v6 > crate::address::WORLD_V6 {
            widest_by(&covering, |size| size.v6)
        } else {
            return gone;
        };
        let Some(position) = widest else { return gone };
        gone.push(covering.remove(position).rule);
    }
}

/// The first of those with the largest public part.
fn widest_by(covering: &[&Opening<'_>], measure: impl Fn(PublicSize) -> u128) -> Option<usize> {
    let largest = covering.iter().map(|opening| measure(opening.size)).max()?;
    covering.iter().position(|opening| measure(opening.size) == largest)
}

/// Whether rules that each open every port of TCP, of UDP, or everything, add up to the world.
fn all_traffic(openings: &[Opening<'_>]) -> Knowledge {
    let mut unknown = false;
    for whole in [Whole::Everything, Whole::Tcp, Whole::Udp] {
        let matching: Vec<_> = openings.iter().filter(|opening| whole.opened_by(opening.traffic)).collect();
        if !matching.is_empty() && union_size(&matching).is_world() {
            return Knowledge::Yes;
        }
        unknown |= matching.iter().any(|opening| opening.audience == Audience::Unknown);
    }
    if unknown { Knowledge::Unknown } else { Knowledge::No }
}

/// What counts as "every port": `-1`, or all of TCP or UDP but perhaps port 0.
#[derive(Clone, Copy)]
enum Whole {
    Everything,
    Tcp,
    Udp,
}

impl Whole {
    fn opened_by(self, traffic: Traffic) -> bool {
        match (self, traffic) {
            (_, Traffic::All) => true,
            (Self::Tcp, Traffic::Tcp(ports)) | (Self::Udp, Traffic::Udp(ports)) => {
                ports.from <= 1 && ports.to == u16::MAX
            }
            _ => false,
        }
    }
}

/// Whether one kind of traffic opens every port of a protocol (`sg-no-world-all-traffic`).
pub fn opens_every_port(traffic: Traffic) -> bool {
    [Whole::Everything, Whole::Tcp, Whole::Udp].into_iter().any(|whole| whole.opened_by(traffic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Grant;

    fn rule(traffic: &str, peer: &str) -> Rule {
        let grant =
            Grant { direction: Direction::Ingress, traffic: traffic.parse().unwrap(), peer: peer.parse().unwrap() };
        Rule { grant, description: None }
    }

    fn set(traffic: &str) -> TrafficSet {
        TrafficSet::from(traffic.parse::<Traffic>().unwrap())
    }

    #[test]
    fn halves_in_two_rules_are_the_world_only_where_both_apply() {
        let rules = [rule("tcp/22", "8.0.0.0/8"), rule("tcp/1-1024", "9.0.0.0/8")];
        assert_eq!(Exposure::of(&rules, None).world, set("tcp/22"));
    }

    #[test]
    fn a_narrow_rule_beside_the_world_stays() {
        let rules = [rule("tcp/22", "0.0.0.0/0"), rule("tcp/22", "203.0.113.7/32"), rule("tcp/22", "8.0.0.0/9")];
        let world = Exposure::of(&rules, None).world;
        assert_eq!(offenders(&rules, None, &world), BTreeMap::from([(0, set("tcp/22"))]));
    }

    #[test]
    fn both_halves_go_when_each_alone_is_the_world() {
        let rules = [rule("tcp/22", "0.0.0.0/1"), rule("tcp/22", "128.0.0.0/1")];
        let world = Exposure::of(&rules, None).world;
        assert_eq!(offenders(&rules, None, &world).keys().copied().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn an_unreadable_list_is_unknown_only_where_nothing_else_is_open() {
        let rules = [rule("tcp/20-30", "pl-1"), rule("tcp/22", "0.0.0.0/0")];
        let exposure = Exposure::of(&rules, None);
        assert_eq!(exposure.world, set("tcp/22"));
        assert_eq!(exposure.unknown, set("tcp/20-30").difference(&set("tcp/22")));
    }

    #[test]
    fn every_port_of_tcp_in_two_halves_of_the_world_is_all_traffic() {
        let rules = [rule("tcp/1-65535", "0.0.0.0/1"), rule("tcp", "128.0.0.0/1")];
        assert_eq!(Exposure::of(&rules, None).all_traffic, Knowledge::Yes);
        assert_eq!(Exposure::of(&[rule("tcp/2-65535", "0.0.0.0/0")], None).all_traffic, Knowledge::No);
    }
}
