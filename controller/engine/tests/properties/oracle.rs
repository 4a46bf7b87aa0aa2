//! Which flows rules let through, by brute force: the number lines of protocols, ports and addresses are cut wherever
//! some rule begins or ends, and each piece is tried. Shares no arithmetic with the engine.

use std::collections::{BTreeMap, BTreeSet};

use engine::facts::{Direction, Grant, Peer, PrefixList, PrefixListEntries, Rule};
use engine::traffic::{IcmpMessage, Traffic};
use ipnet::IpNet;

/// The prefix lists that are known.
pub(crate) type Lists = BTreeMap<String, PrefixList>;

/// A protocol number, and a port or ICMP type and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) protocol: u8,
    pub(crate) number: u16,
}

/// Somebody at the other end: an address, or whoever is behind a name that cannot be looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    V4(u32),
    V6(u128),
    Opaque(Peer),
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// A protocol that no generated rule names.
const SOME_OTHER: u8 = 99;

impl Message {
    pub(crate) fn is_icmp(self) -> bool {
        self.protocol == ICMP || self.protocol == ICMPV6
    }

    pub(crate) fn tcp(number: u16) -> Self {
        Self { protocol: TCP, number }
    }

    pub(crate) fn udp(number: u16) -> Self {
        Self { protocol: UDP, number }
    }
}

/// The protocol and the first and last number of some traffic; `None` for all of it.
fn stretch(traffic: Traffic) -> Option<(u8, u16, u16)> {
    let icmp = |IcmpMessage { kind, code }| match (kind, code) {
        (None, _) => (0, u16::MAX),
        (Some(kind), None) => (u16::from(kind) * 256, u16::from(kind) * 256 + 255),
        (Some(kind), Some(code)) => (u16::from(kind) * 256 + u16::from(code), u16::from(kind) * 256 + u16::from(code)),
    };
    match traffic {
        Traffic::All => None,
        Traffic::Tcp(ports) => Some((TCP, ports.from, ports.to)),
        Traffic::Udp(ports) => Some((UDP, ports.from, ports.to)),
        Traffic::Icmp(message) => Some((ICMP, icmp(message).0, icmp(message).1)),
        Traffic::Icmpv6(message) => Some((ICMPV6, icmp(message).0, icmp(message).1)),
        Traffic::Protocol(number) => Some((number, 0, u16::MAX)),
    }
}

pub(crate) fn carries(traffic: Traffic, message: Message) -> bool {
    stretch(traffic).is_none_or(|(protocol, first, last)| {
        protocol == message.protocol && first <= message.number && message.number <= last
    })
}

pub(crate) fn holds(net: IpNet, place: &Place) -> bool {
    match (net, place) {
        (IpNet::V4(net), Place::V4(address)) => {
            (u32::from(net.network())..=u32::from(net.broadcast())).contains(address)
        }
        (IpNet::V6(net), Place::V6(address)) => {
            (u128::from(net.network())..=u128::from(net.broadcast())).contains(address)
        }
        _ => false,
    }
}

/// The networks behind a peer, if it can be looked up.
pub(crate) fn networks(peer: &Peer, lists: &Lists) -> Option<Vec<IpNet>> {
    match peer {
        Peer::V4(net) => Some(vec![IpNet::V4(*net)]),
        Peer::V6(net) => Some(vec![IpNet::V6(*net)]),
        Peer::Group { .. } => None,
        Peer::PrefixList(id) => match &lists.get(id)?.entries {
            PrefixListEntries::Known(nets) => Some(nets.clone()),
            PrefixListEntries::AwsManaged | PrefixListEntries::Unreadable => None,
        },
    }
}

/// Where flows are tried: one point of each piece.
pub(crate) struct Points {
    pub(crate) messages: Vec<Message>,
    pub(crate) places: Vec<Place>,
}

impl Points {
    /// Cuts the number lines at the ends of all of these grants.
    pub(crate) fn new<'g>(grants: impl IntoIterator<Item = &'g Grant>, lists: &Lists) -> Self {
        let lowest = |protocol| Message { protocol, number: 0 };
        let mut messages = BTreeSet::from([TCP, UDP, ICMP, ICMPV6, SOME_OTHER].map(lowest));
        let mut places = BTreeSet::from([Place::V4(0), Place::V6(0)]);
        for grant in grants {
            if let Some((protocol, first, last)) = stretch(grant.traffic) {
                messages.insert(Message { protocol, number: first });
                messages.extend(last.checked_add(1).map(|number| Message { protocol, number }));
            }
            let Some(nets) = networks(&grant.peer, lists) else {
                places.insert(Place::Opaque(grant.peer.clone()));
                continue;
            };
            for net in nets {
                places.extend(
                    match net {
                        IpNet::V4(net) => {
                            let after = u32::from(net.broadcast()).checked_add(1);
                            [Some(Place::V4(net.network().into())), after.map(Place::V4)]
                        }
                        IpNet::V6(net) => {
                            let after = u128::from(net.broadcast()).checked_add(1);
                            [Some(Place::V6(net.network().into())), after.map(Place::V6)]
                        }
                    }
                    .into_iter()
                    .flatten(),
                );
            }
        }
        Self { messages: messages.into_iter().collect(), places: places.into_iter().collect() }
    }

    /// No flow at all.
    pub(crate) fn none(&self) -> Flows {
        Flows { rows: vec![vec![0; self.places.len().div_ceil(64)]; self.messages.len()] }
    }

    /// Every flow in one direction that some grants let through.
    pub(crate) fn flows<'g>(
        &self,
        direction: Direction,
        grants: impl IntoIterator<Item = &'g Grant>,
        lists: &Lists,
    ) -> Flows {
        let Flows { mut rows } = self.none();
        for grant in grants.into_iter().filter(|grant| grant.direction == direction) {
            let (mut mask, nets) = (vec![0u64; self.places.len().div_ceil(64)], networks(&grant.peer, lists));
            for (position, place) in self.places.iter().enumerate() {
                let reached = match &nets {
                    Some(nets) => nets.iter().any(|net| holds(*net, place)),
                    None => matches!(place, Place::Opaque(peer) if *peer == grant.peer),
                };
                mask[position / 64] |= u64::from(reached) << (position % 64);
            }
            for (row, message) in rows.iter_mut().zip(&self.messages) {
                if carries(grant.traffic, *message) {
                    row.iter_mut().zip(&mask).for_each(|(word, mask)| *word |= mask);
                }
            }
        }
        Flows { rows }
    }
}

/// A set of flows: for each message, who may send or receive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flows {
    rows: Vec<Vec<u64>>,
}

impl Flows {
    fn combine(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let row = |(mine, theirs): (&Vec<u64>, &Vec<u64>)| {
            mine.iter().zip(theirs).map(|(mine, theirs)| combine(*mine, *theirs)).collect()
        };
        Self { rows: self.rows.iter().zip(&other.rows).map(row).collect() }
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine & theirs)
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine | theirs)
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine & !theirs)
    }

    /// Those flows of the set that are wanted.
    pub(crate) fn only<W: Fn(&Place) -> bool>(&self, points: &Points, wanted: impl Fn(Message) -> W) -> Self {
        let mut only = points.none();
        for (row, (mine, message)) in only.rows.iter_mut().zip(self.rows.iter().zip(&points.messages)) {
            if mine.iter().all(|word| *word == 0) {
                continue;
            }
            let wanted = wanted(*message);
            for (position, place) in points.places.iter().enumerate() {
                let set = mine[position / 64] >> (position % 64) & 1 == 1;
                row[position / 64] |= u64::from(set && wanted(place)) << (position % 64);
            }
        }
        only
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.iter().flatten().all(|word| *word == 0)
    }

    /// Each flow of the set.
    pub(crate) fn each<'p>(&'p self, points: &'p Points) -> impl Iterator<Item = (Message, &'p Place)> {
        let rows = self.rows.iter().zip(&points.messages);
        rows.flat_map(move |(row, message)| {
            let places = points.places.iter().enumerate();
            let set = places.filter(move |(position, _)| row[position / 64] >> (position % 64) & 1 == 1);
            set.map(move |(_, place)| (*message, place))
        })
    }

    /// The first flows of the set in words, for a message that tells what went wrong.
    pub(crate) fn named(&self, points: &Points) -> Vec<String> {
        self.each(points).take(5).map(|(message, place)| format!("{message:?} {place:?}")).collect()
    }
}

/// Whether some rules open a message to the world of IPv4, and to that of IPv6.
pub(crate) fn is_world(message: Message, rules: &[Rule], lists: &Lists) -> (bool, bool) {
    let open = rules.iter().filter(|rule| rule.grant.direction == Direction::Ingress);
    let open = open.filter(|rule| carries(rule.grant.traffic, message));
    let nets: Vec<IpNet> = open.filter_map(|rule| networks(&rule.grant.peer, lists)).flatten().collect();
    (public_v4(&nets) > 1 << 24, public_v6(&nets) > 1 << 112)
}

/// Whether a peer holds any public address.
pub(crate) fn is_public(peer: &Peer, lists: &Lists) -> bool {
    let nets = networks(peer, lists).unwrap_or_default();
    public_v4(&nets) > 0 || public_v6(&nets) > 0
}

/// Whether a peer holds public addresses, and too few of a family to be the world by itself: whether it is depends on who
/// else is let in.
pub(crate) fn is_partly_public(peer: &Peer, lists: &Lists) -> bool {
    let nets = networks(peer, lists).unwrap_or_default();
    let some = |count: u128, most: u128| 0 < count && count <= most;
    some(public_v4(&nets), 1 << 24) || some(public_v6(&nets), 1 << 112)
}

const PRIVATE: [&str; 10] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

fn public_v4(nets: &[IpNet]) -> u128 {
    let stretch = |net: &IpNet| match net {
        IpNet::V4(net) => Some((u128::from(u32::from(net.network())), u128::from(u32::from(net.broadcast())))),
        IpNet::V6(_) => None,
    };
    let private: Vec<(u128, u128)> = PRIVATE.iter().filter_map(|net| stretch(&net.parse().unwrap())).collect();
    count(
        nets.iter().filter_map(stretch).collect(),
        |piece| !private.iter().any(|(first, last)| (first..=last).contains(&&piece)),
        &private,
    )
}

fn public_v6(nets: &[IpNet]) -> u128 {
    let stretch = |net: &IpNet| match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some((u128::from(net.network()), u128::from(net.broadcast()))),
    };
    let global = (0x2000 << 112, (0x4000 << 112) - 1);
    count(nets.iter().filter_map(stretch).collect(), |piece| (global.0..=global.1).contains(&piece), &[global])
}

/// How many numbers in the union of some stretches are wanted; `ends` are where wanting may begin or end.
fn count(stretches: Vec<(u128, u128)>, wanted: impl Fn(u128) -> bool, ends: &[(u128, u128)]) -> u128 {
    let all = stretches.iter().chain(ends);
    let cuts: BTreeSet<u128> = all.flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).flatten().collect();
    let mut sum = 0;
    let pieces = cuts.iter().zip(cuts.iter().skip(1).map(|next| next - 1).chain([u128::MAX]));
    for (first, last) in pieces {
        if wanted(*first) && stretches.iter().any(|(from, to)| from <= first && first <= to) {
            sum += last - first + 1;
        }
    }
    sum
}
