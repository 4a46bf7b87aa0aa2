//! Protocols and ports: what a rule lets through, as a value and as a set with exact arithmetic.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::ranges::Ranges;

/// A range of TCP or UDP ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The lowest port.
    pub from: u16,
    /// The highest port.
    pub to: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { from: 0, to: u16::MAX };

    /// A single port.
    pub const fn single(port: u16) -> Self {
        Self { from: port, to: port }
    }

    /// Whether every port of `other` lies in this range.
    pub fn contains(self, other: Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}-{}", self.from, self.to) }
    }
}

/// ICMP type and code, `None` standing for any. EC2 keeps the type in `FromPort` and the code in
/// `ToPort` (`IpPermission`): they are never ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IcmpMessage {
    /// The ICMP type.
    pub kind: Option<u8>,
    /// The ICMP code; only with a type.
    pub code: Option<u8>,
}

impl IcmpMessage {
    /// Every type and code.
    pub const ANY: Self = Self { kind: None, code: None };

    fn points(self) -> RangeInclusive<u16> {
        match (self.kind, self.code) {
            (None, _) => 0..=u16::MAX,
            (Some(kind), None) => icmp_point(kind, 0)..=icmp_point(kind, u8::MAX),
            (Some(kind), Some(code)) => icmp_point(kind, code)..=icmp_point(kind, code),
        }
    }
}

impl fmt::Display for IcmpMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.code) {
            (None, _) => f.write_str("any"),
            (Some(kind), None) => write!(f, "{kind}"),
            (Some(kind), Some(code)) => write!(f, "{kind}/{code}"),
        }
    }
}

fn icmp_point(kind: u8, code: u8) -> u16 {
    u16::from(kind) << 8 | u16::from(code)
}

/// Protocol and ports of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// Every protocol and port (`-1`).
    All,
    /// TCP (protocol 6).
    Tcp(PortRange),
    /// UDP (protocol 17).
    Udp(PortRange),
    /// ICMP for IPv4 (protocol 1).
    Icmp(IcmpMessage),
    /// ICMP for IPv6 (protocol 58).
    Icmpv6(IcmpMessage),
    /// Any other protocol number: opened whole, EC2 disregards ports for it.
    Protocol(u8),
}

impl Traffic {
    /// Whether this lets through all that `other` lets through.
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Tcp(mine), Self::Tcp(theirs)) | (Self::Udp(mine), Self::Udp(theirs)) => mine.contains(theirs),
            (Self::Icmp(mine), Self::Icmp(theirs)) | (Self::Icmpv6(mine), Self::Icmpv6(theirs)) => {
                let (mine, theirs) = (mine.points(), theirs.points());
                mine.start() <= theirs.start() && theirs.end() <= mine.end()
            }
            _ => self == other,
        }
    }

    /// The protocol as EC2 writes it: `-1`, a name, or a number.
    pub fn protocol(self) -> String {
        match self {
            Self::All => "-1".to_owned(),
            Self::Tcp(_) => "tcp".to_owned(),
            Self::Udp(_) => "udp".to_owned(),
            Self::Icmp(_) => "icmp".to_owned(),
            Self::Icmpv6(_) => "icmpv6".to_owned(),
            Self::Protocol(number) => number.to_string(),
        }
    }

    /// The ports, or ICMP type and code, as text; `None` where the protocol has neither.
    pub fn ports(self) -> Option<String> {
        match self {
            Self::Tcp(ports) | Self::Udp(ports) => Some(ports.to_string()),
            Self::Icmp(message) | Self::Icmpv6(message) => Some(message.to_string()),
            Self::All | Self::Protocol(_) => None,
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all traffic"),
            Self::Tcp(ports) if *ports == PortRange::ALL => f.write_str("all of tcp"),
            Self::Udp(ports) if *ports == PortRange::ALL => f.write_str("all of udp"),
            Self::Protocol(number) => write!(f, "protocol {number}"),
            other => write!(f, "{}/{}", other.protocol(), other.ports().unwrap_or_default()),
        }
    }
}

/// A text that is not of the form that it should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no traffic: {hint}")]
pub struct TrafficError {
    text: String,
    hint: &'static str,
}

const HINT: &str =
    "write tcp/443, udp/6000-6010, tcp, udp, icmp, icmp/3/4, icmpv6/128, a protocol number such as 50, or all";

impl FromStr for Traffic {
    type Err = TrafficError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |hint| TrafficError { text: text.to_owned(), hint };
        let (protocol, detail) = match text.split_once('/') {
            Some((protocol, detail)) => (protocol, Some(detail)),
            None => (text, None),
        };
        let ports = || detail.map_or(Ok(PortRange::ALL), |detail| parse_ports(detail).map_err(refuse));
        let icmp = || detail.map_or(Ok(IcmpMessage::ANY), |detail| parse_icmp(detail).map_err(refuse));
        match protocol {
            "tcp" | "6" => Ok(Self::Tcp(ports()?)),
            "udp" | "17" => Ok(Self::Udp(ports()?)),
            "icmp" | "1" => Ok(Self::Icmp(icmp()?)),
            "icmpv6" | "58" => Ok(Self::Icmpv6(icmp()?)),
            "all" | "-1" if detail.is_none() => Ok(Self::All),
            number => match (number.parse::<u8>(), detail) {
                (Ok(number), None) => Ok(Self::Protocol(number)),
                _ => Err(refuse(HINT)),
            },
        }
    }
}

fn parse_ports(text: &str) -> Result<PortRange, &'static str> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok(PortRange { from, to }),
        (Ok(_), Ok(_)) => Err("a port range starts with its smaller port"),
        _ => Err("ports are numbers from 0 to 65535, or a range such as 6000-6010"),
    }
}

fn parse_icmp(text: &str) -> Result<IcmpMessage, &'static str> {
    const HINT: &str = "ICMP is written as a type, or a type and a code, each 0 to 255: icmp/11 or icmp/3/4";
    let (kind, code) = match text.split_once('/') {
        Some((kind, code)) => (kind, Some(code.parse::<u8>().map_err(|_| HINT)?)),
        None => (text, None),
    };
    Ok(IcmpMessage { kind: Some(kind.parse().map_err(|_| HINT)?), code })
}

/// One of the five number spaces that traffic lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    /// All other protocol numbers, each one point.
    Other,
}

impl Space {
    pub(crate) const ALL: [Self; 5] = [Self::Tcp, Self::Udp, Self::Icmp, Self::Icmpv6, Self::Other];

    /// Every point of the space. The four protocols that have a space of their own are not in `Other`.
    pub(crate) fn universe(self) -> Ranges<u16> {
        match self {
            Self::Other => Ranges::from_iter([0..=0, 2..=5, 7..=16, 18..=57, 59..=255]),
            Self::Tcp | Self::Udp | Self::Icmp | Self::Icmpv6 => Ranges::from(0..=u16::MAX),
        }
    }

    /// The points of this space that one kind of traffic takes up, if any. `All` takes up the whole of each.
    pub(crate) fn points(self, traffic: Traffic) -> Option<RangeInclusive<u16>> {
        match (self, traffic) {
            (Self::Tcp, Traffic::Tcp(ports)) | (Self::Udp, Traffic::Udp(ports)) => Some(ports.from..=ports.to),
            (Self::Icmp, Traffic::Icmp(message)) | (Self::Icmpv6, Traffic::Icmpv6(message)) => Some(message.points()),
            (Self::Other, Traffic::Protocol(number)) => Some(u16::from(number)..=u16::from(number)),
            (Self::Other, Traffic::All) => Some(0..=255),
            (_, Traffic::All) => Some(0..=u16::MAX),
            _ => None,
        }
    }
}

/// A set of traffic with exact arithmetic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficSet {
    tcp: Ranges<u16>,
    udp: Ranges<u16>,
    icmp: Ranges<u16>,
    icmpv6: Ranges<u16>,
    other: Ranges<u16>,
}

impl TrafficSet {
    /// Nothing at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// All traffic of every protocol.
    pub fn universe() -> Self {
        Self::build(Space::universe)
    }

    /// TCP, UDP and every protocol that has no ports: all but ICMP, which has controls of its own.
    pub fn universe_without_icmp() -> Self {
        Self { icmp: Ranges::default(), icmpv6: Ranges::default(), ..Self::universe() }
    }

    /// All ICMP, for both address families.
    pub fn all_icmp() -> Self {
        Self { icmp: Space::Icmp.universe(), icmpv6: Space::Icmpv6.universe(), ..Self::default() }
    }

    /// A set built space by space.
    pub(crate) fn build(mut points: impl FnMut(Space) -> Ranges<u16>) -> Self {
        Self {
            tcp: points(Space::Tcp),
            udp: points(Space::Udp),
            icmp: points(Space::Icmp),
            icmpv6: points(Space::Icmpv6),
            other: points(Space::Other),
        }
    }

    pub(crate) fn space(&self, space: Space) -> &Ranges<u16> {
        match space {
            Space::Tcp => &self.tcp,
            Space::Udp => &self.udp,
            Space::Icmp => &self.icmp,
            Space::Icmpv6 => &self.icmpv6,
            Space::Other => &self.other,
        }
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        Space::ALL.iter().all(|space| self.space(*space).is_empty())
    }

    /// What is in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        Self::build(|space| self.space(space).intersection(other.space(space)))
    }

    /// What is in either set.
    pub fn union(&self, other: &Self) -> Self {
        Self::build(|space| self.space(space).union(other.space(space)))
    }

    /// What is in this set and not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        Self::build(|space| self.space(space).difference(other.space(space)))
    }

    /// Whether the two sets share anything. Allocates nothing.
    pub fn intersects(&self, other: &Self) -> bool {
        Space::ALL.iter().any(|space| !self.space(*space).is_disjoint(other.space(*space)))
    }

    /// Whether the set shares anything with one kind of traffic. Allocates nothing.
    pub fn meets(&self, traffic: Traffic) -> bool {
        match traffic {
            Traffic::All => !self.is_empty(),
            Traffic::Tcp(ports) => self.tcp.meets(&(ports.from..=ports.to)),
            Traffic::Udp(ports) => self.udp.meets(&(ports.from..=ports.to)),
            Traffic::Icmp(message) => self.icmp.meets(&message.points()),
            Traffic::Icmpv6(message) => self.icmpv6.meets(&message.points()),
            Traffic::Protocol(number) => self.other.meets(&(number.into()..=number.into())),
        }
    }

    /// Whether the set holds all of one kind of traffic.
    pub fn covers(&self, traffic: Traffic) -> bool {
        match traffic {
            Traffic::All => Space::ALL.iter().all(|space| space.universe().is_subset(self.space(*space))),
            Traffic::Tcp(ports) => self.tcp.covers(&(ports.from..=ports.to)),
            Traffic::Udp(ports) => self.udp.covers(&(ports.from..=ports.to)),
            Traffic::Icmp(message) => self.icmp.covers(&message.points()),
            Traffic::Icmpv6(message) => self.icmpv6.covers(&message.points()),
            Traffic::Protocol(number) => self.other.covers(&(number.into()..=number.into())),
        }
    }

    /// Whether all of this set is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        Space::ALL.iter().all(|space| self.space(*space).is_subset(other.space(*space)))
    }

    /// How many points (ports, ICMP messages, protocols) the set holds: a measure of exposure.
    pub fn size(&self) -> u64 {
        Space::ALL
            .iter()
            .flat_map(|space| self.space(*space).iter())
            .map(|range| u64::from(range.end() - range.start()) + 1)
            .sum()
    }

    /// The fewest rules that let exactly this set through, in a fixed order.
    ///
    /// A set that holds everything is `-1`. Anything else is written out, which for "all but one
    /// port" means hundreds of protocol numbers; the caller decides how many rules are too many.
    pub fn rules(&self) -> Vec<Traffic> {
        if *self == Self::universe() {
            return vec![Traffic::All];
        }
        let ports = |set: &Ranges<u16>, make: fn(PortRange) -> Traffic| -> Vec<Traffic> {
            set.iter().map(|range| make(PortRange { from: *range.start(), to: *range.end() })).collect()
        };
        let mut rules = ports(&self.tcp, Traffic::Tcp);
        rules.extend(ports(&self.udp, Traffic::Udp));
        rules.extend(icmp_rules(&self.icmp).into_iter().map(Traffic::Icmp));
        rules.extend(icmp_rules(&self.icmpv6).into_iter().map(Traffic::Icmpv6));
        rules.extend(self.other.iter().flatten().filter_map(|number| u8::try_from(number).ok()).map(Traffic::Protocol));
        rules
    }
}

/// EC2 can say "all", "one type with every code" and "one type with one code".
fn icmp_rules(points: &Ranges<u16>) -> Vec<IcmpMessage> {
    if *points == Space::Icmp.universe() {
        return vec![IcmpMessage::ANY];
    }
    let mut rules = Vec::new();
    for range in points.iter() {
        for kind in (range.start() >> 8..=range.end() >> 8).filter_map(|kind| u8::try_from(kind).ok()) {
            let whole = IcmpMessage { kind: Some(kind), code: None };
            let codes = whole.points();
            if points.covers(&codes) {
                rules.push(whole);
                continue;
            }
            let present = *codes.start().max(range.start())..=*codes.end().min(range.end());
            rules.extend(present.map(|point| IcmpMessage { kind: Some(kind), code: u8::try_from(point & 0xff).ok() }));
        }
    }
    rules
}

impl From<Traffic> for TrafficSet {
    fn from(traffic: Traffic) -> Self {
        std::iter::once(traffic).collect()
    }
}

impl FromIterator<Traffic> for TrafficSet {
    fn from_iter<I: IntoIterator<Item = Traffic>>(traffic: I) -> Self {
        let traffic: Vec<Traffic> = traffic.into_iter().collect();
        Self::build(|space| {
            let points: Ranges<u16> = traffic.iter().filter_map(|traffic| space.points(*traffic)).collect();
            if space == Space::Other { points.intersection(&space.universe()) } else { points }
        })
    }
}

impl fmt::Display for TrafficSet {
    /// At most six kinds of traffic by name, the rest counted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 6;
        if self.other.iter().flatten().count() > 16 {
            return f.write_str("all traffic");
        }
        let rules = self.rules();
        for (index, traffic) in rules.iter().take(NAMED).enumerate() {
            write!(f, "{}{traffic}", if index == 0 { "" } else { ", " })?;
        }
        if rules.len() > NAMED {
            write!(f, " and {} more", rules.len() - NAMED)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> TrafficSet {
        texts.iter().map(|text| text.parse::<Traffic>().unwrap()).collect()
    }

    #[test]
    fn numbers_and_names_of_a_protocol_are_the_same_traffic() {
        assert_eq!("6/22".parse::<Traffic>(), "tcp/22".parse());
        assert_eq!("17".parse::<Traffic>(), "udp".parse());
        assert_eq!("58/128".parse::<Traffic>(), "icmpv6/128".parse());
        assert_eq!("-1".parse::<Traffic>(), "all".parse());
    }

    #[test]
    fn malformed_traffic_is_refused_with_the_way_to_mend_it() {
        for text in ["tcp/70000", "tcp/20-10", "tcp/", "sctp/1", "all/22", "icmp/300", "50/22", "", "tcp/-1"] {
            let error = text.parse::<Traffic>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?} is no traffic: ")), "{error}");
        }
    }

    #[test]
    fn all_covers_ports_and_protocols_but_a_protocol_covers_no_port() {
        let all = Traffic::All;
        assert!(all.covers("tcp/22".parse().unwrap()));
        assert!(all.covers("50".parse().unwrap()));
        assert!(!"50".parse::<Traffic>().unwrap().covers("tcp/22".parse().unwrap()));
        assert!(!"udp/22".parse::<Traffic>().unwrap().covers("tcp/22".parse().unwrap()));
        assert!("icmp/3".parse::<Traffic>().unwrap().covers("icmp/3/4".parse().unwrap()));
    }

    #[test]
    fn a_difference_is_written_with_the_fewest_rules() {
        let rest = set(&["tcp"]).difference(&set(&["tcp/22", "tcp/3389"]));
        assert_eq!(rest.rules(), set(&["tcp/0-21", "tcp/23-3388", "tcp/3390-65535"]).rules());
        assert_eq!(TrafficSet::universe().rules(), [Traffic::All]);
        assert_eq!(set(&["icmp/3/4", "icmp/11"]).rules().len(), 2);
        assert_eq!(set(&["icmp"]).rules(), [Traffic::Icmp(IcmpMessage::ANY)]);
    }

    #[test]
    fn the_universe_is_the_union_of_its_parts() {
        let parts = TrafficSet::universe_without_icmp().union(&TrafficSet::all_icmp());
        assert_eq!(parts, TrafficSet::universe());
        assert_eq!(TrafficSet::from(Traffic::All), TrafficSet::universe());
    }
}
