//! The flow oracle: which traffic each write opened and which it cut, worked out from the ledger alone.
//!
//! It shares no code with the engine, on purpose: the engine's own reckoning is what it checks. The arithmetic is exact.
//! A flow is a direction, a protocol, a port (an ICMP type and code in its place) and a peer address; prefix lists and
//! groups are opaque peers, which equal themselves alone.

mod named;
mod region;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, bail};
use ipnet::{Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use range_set_blaze::RangeSetBlaze;

use crate::emulator::{Call, Direction, GroupChange, GroupRules, PeerKind, Rule};
use named::NamedFlows;
use region::Region;

/// A set of allowed flows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowSet(BTreeMap<(Direction, Peers), Region>);

/// The spaces in which peers live.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Peers {
    V4,
    V6,
    /// A prefix list or a group, as one point.
    Opaque(String),
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

impl FlowSet {
    /// All that the rules of a group allow.
    pub fn of(rules: &GroupRules) -> Result<Self> {
        let mut flows = Self::default();
        for rule in &rules.ingress {
            flows.allow(Direction::Ingress, rule)?;
        }
        for rule in &rules.egress {
            flows.allow(Direction::Egress, rule)?;
        }
        Ok(flows)
    }

    /// The flows of rules such as `ingress tcp 443 10.0.0.0/8`: a direction and the text form of [`Rule`].
    pub fn parse<'a>(rules: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut flows = Self::default();
        for text in rules {
            let (direction, rule) = match text.split_once(' ') {
                Some(("ingress", rule)) => (Direction::Ingress, rule),
                Some(("egress", rule)) => (Direction::Egress, rule),
                _ => bail!("`{text}` starts with neither `ingress` nor `egress`"),
            };
            flows.allow(direction, &rule.parse()?)?;
        }
        Ok(flows)
    }

    /// Whether there is no flow in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The flows that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    /// The flows that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// The flows that are in this set alone.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a - b)
    }

    fn combine(&self, other: &Self, operation: region::Operation) -> Self {
        let empty = Region::default();
        let spaces = self.0.keys().chain(other.0.keys());
        let combined = spaces.map(|space| {
            let region = |set: &'_ Self| set.0.get(space).unwrap_or(&empty).clone();
            (space.clone(), region(self).combine(&region(other), operation))
        });
        Self(combined.filter(|(_, region)| !region.is_empty()).collect())
    }

    fn allow(&mut self, direction: Direction, rule: &Rule) -> Result<()> {
        let context = || format!("cannot judge the rule `{rule}`");
        let (peers, addresses) = peers(rule).with_context(context)?;
        let services = services(rule).with_context(context)?;
        let region = self.0.entry((direction, peers)).or_default();
        *region = region.combine(&Region::new(services, addresses), |a, b| a | b);
        Ok(())
    }
}

/// The peers of a rule, as addresses in their space.
fn peers(rule: &Rule) -> Result<(Peers, RangeSetBlaze<u128>)> {
    Ok(match rule.peer_kind {
        PeerKind::CidrV4 => {
            let net: Ipv4Net = rule.peer.parse()?;
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            (Peers::V4, (u128::from(first)..=u128::from(last)).into())
        }
        PeerKind::CidrV6 => {
            let net: Ipv6Net = rule.peer.parse()?;
            let range = net.network().to_bits()..=net.broadcast().to_bits();
            (Peers::V6, range.into())
        }
        PeerKind::PrefixList => opaque(format!("prefixlist {}", rule.peer)),
        PeerKind::Group => opaque(match &rule.peer_account {
            Some(account) => format!("group {account}/{}", rule.peer),
            None => format!("group {}", rule.peer),
        }),
    })
}

fn opaque(name: String) -> (Peers, RangeSetBlaze<u128>) {
    (Peers::Opaque(name), (0..=0).into())
}

/// The protocols and ports of a rule, as one range of numbers: see [`number`].
fn services(rule: &Rule) -> Result<RangeInclusive<u32>> {
    let protocol = match rule.protocol.as_str() {
        "-1" => return Ok(number(0, 0)..=number(u8::MAX, u16::MAX)),
        "icmp" => ICMP,
        "tcp" => TCP,
        "udp" => UDP,
        "icmpv6" => ICMP_V6,
        other => other.parse().context("unknown protocol")?,
    };
    let ports = match (protocol, rule.from_port, rule.to_port) {
        (TCP | UDP, Some(from), Some(to)) => u16::try_from(from)?..=u16::try_from(to)?,
        (ICMP | ICMP_V6, Some(-1), _) => 0..=u16::MAX,
        (ICMP | ICMP_V6, Some(kind), Some(-1)) => icmp(kind, 0)?..=icmp(kind, 255)?,
        (ICMP | ICMP_V6, Some(kind), Some(code)) => icmp(kind, code)?..=icmp(kind, code)?,
        (TCP | UDP | ICMP | ICMP_V6, _, _) => bail!("its ports are missing"),
        // AWS looks at the ports of no other protocol.
        _ => 0..=u16::MAX,
    };
    Ok(number(protocol, *ports.start())..=number(protocol, *ports.end()))
}

/// A protocol and a port as one number, so that a range can span protocols.
fn number(protocol: u8, port: u16) -> u32 {
    (u32::from(protocol) << 16) | u32::from(port)
}

fn icmp(kind: i32, code: i32) -> Result<u16> {
    Ok(u16::from_be_bytes([u8::try_from(kind)?, u8::try_from(code)?]))
}

/// The flows that were closed before and are open after.
pub fn opened(before: &GroupRules, after: &GroupRules) -> Result<FlowSet> {
    Ok(FlowSet::of(after)?.difference(&FlowSet::of(before)?))
}

/// The flows that were open before and are closed after.
pub fn lost(before: &GroupRules, after: &GroupRules) -> Result<FlowSet> {
    Ok(FlowSet::of(before)?.difference(&FlowSet::of(after)?))
}

/// Fails if any write opened a flow that is not in `allowed_to_add`, and says which write and which flows.
///
/// Writes that a fault made in somebody else's name do not count.
pub fn assert_never_opened(calls: &[Call], allowed_to_add: &FlowSet) -> Result<()> {
    assert_none("opened", written(calls), |_, change| {
        Ok(opened(&change.rules_before(), &change.rules_after())?.difference(allowed_to_add))
    })
}

/// Fails if any write cut a flow that is in `must_keep`, and says which write and which flows.
///
/// Writes that a fault made in somebody else's name do not count.
pub fn assert_never_lost(calls: &[Call], must_keep: &FlowSet) -> Result<()> {
    assert_none("cut", written(calls), |_, change| {
        Ok(lost(&change.rules_before(), &change.rules_after())?.intersection(must_keep))
    })
}

/// Fails if any write by a role cut a flow of a rule whose peer is somebody in particular, and that is not in
/// `may_cut`; says which write and which flows.
///
/// Such a rule counts from when it was first seen, also once a write by a role has removed it. `calls` are those of
/// everybody: what others name counts as well, and what they take away no more.
pub fn assert_named_peers_kept(calls: &[Call], may_cut: &FlowSet) -> Result<()> {
    let mut named = NamedFlows::default();
    assert_none("cut", calls.iter().filter(|call| call.effect), |call, change| {
        if call.is_by_a_role() {
            return Ok(named.cut_by(change)?.difference(may_cut));
        }
        named.learn(change)?;
        Ok(FlowSet::default())
    })
}

fn written(calls: &[Call]) -> impl Iterator<Item = &Call> {
    calls.iter().filter(|call| call.wrote_groups())
}

/// Fails if there is anything wrong with any change of a group, and says what.
fn assert_none<'c>(
    verb: &str,
    calls: impl Iterator<Item = &'c Call>,
    mut wrong: impl FnMut(&Call, &GroupChange) -> Result<FlowSet>,
) -> Result<()> {
    let mut complaints = String::new();
    for call in calls {
        for change in &call.groups {
            let flows = wrong(call, change)?;
            if !flows.is_empty() {
                let (seq, operation) = (call.seq, call.operation());
                complaints.push_str(&format!("\ncall {seq}, {operation}, {verb} in {}:\n{flows}", change.group_id));
            }
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("writes {verb} what they must not have:{complaints}")
}

impl fmt::Display for FlowSet {
    /// A line per flow, in the text form that [`FlowSet::parse`] reads (where a rule can say it).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((direction, peers), region) in &self.0 {
            let direction = match direction {
                Direction::Ingress => "ingress",
                Direction::Egress => "egress",
            };
            for (services, addresses) in region.slabs() {
                for service in service_names(services) {
                    for peer in peer_names(peers, addresses) {
                        writeln!(f, "  {direction} {service} {peer}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A range of services in words: its whole protocols together, one that it covers in part for itself.
fn service_names(services: &RangeInclusive<u32>) -> Vec<String> {
    let split = |number: u32| ((number >> 16) as u8, (number & 0xffff) as u16);
    let ((first, from), (last, to)) = (split(*services.start()), split(*services.end()));
    let mut names = Vec::new();
    let mut whole: Option<(u8, u8)> = None;
    for protocol in first..=last {
        let from = if protocol == first { from } else { 0 };
        let to = if protocol == last { to } else { u16::MAX };
        if (from, to) == (0, u16::MAX) {
            whole = Some((whole.map_or(protocol, |(start, _)| start), protocol));
        } else {
            names.extend(whole.take().map(protocol_names));
            names.push(port_names(protocol, from, to));
        }
    }
    names.extend(whole.map(protocol_names));
    names
}

fn protocol_names((first, last): (u8, u8)) -> String {
    match (first, last) {
        (0, u8::MAX) => "all".to_owned(),
        (first, last) if first == last => port_names(first, 0, u16::MAX),
        (first, last) => format!("protocols {first}-{last}"),
    }
}

fn port_names(protocol: u8, from: u16, to: u16) -> String {
    let name = match protocol {
        ICMP => "icmp".to_owned(),
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        ICMP_V6 => "icmpv6".to_owned(),
        other => return other.to_string(),
    };
    if (from, to) == (0, u16::MAX) {
        return format!("{name} *");
    }
    if matches!(protocol, TCP | UDP) {
        return if from == to { format!("{name} {from}") } else { format!("{name} {from}-{to}") };
    }
    let ([kind, code], [last_kind, last_code]) = (from.to_be_bytes(), to.to_be_bytes());
    match (code, last_code) {
        (0, 255) if kind == last_kind => format!("{name} {kind}"),
        _ if from == to => format!("{name} {kind}:{code}"),
        _ => format!("{name} {kind}:{code}-{last_kind}:{last_code}"),
    }
}

/// The fewest CIDRs that make up the addresses.
fn peer_names(peers: &Peers, addresses: &RangeSetBlaze<u128>) -> Vec<String> {
    let ranges = addresses.ranges();
    match peers {
        Peers::V4 => {
            // What came from 32 bits fits into them.
            let address = |bits: u128| Ipv4Addr::from_bits(bits as u32);
            ranges
                .flat_map(|range| Ipv4Subnets::new(address(*range.start()), address(*range.end()), 0))
                .map(|net| net.to_string())
                .collect()
        }
        Peers::V6 => ranges
            .flat_map(|range| {
                let (start, end) = range.into_inner();
                Ipv6Subnets::new(Ipv6Addr::from_bits(start), Ipv6Addr::from_bits(end), 0)
            })
            .map(|net| net.to_string())
            .collect(),
        Peers::Opaque(name) => vec![name.clone()],
    }
}

#[cfg(test)]
mod tests;
