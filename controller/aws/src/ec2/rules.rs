//! Rules of security groups between EC2's three spellings and the normal form of the engine.
//!
//! `DescribeSecurityGroups` groups several peers in one `IpPermission`, `DescribeSecurityGroupRules`
//! shows one `SecurityGroupRule` per peer, `ModifySecurityGroupRules` takes a `SecurityGroupRuleRequest`.
//! For protocol `-1` the first omits the ports and the second writes -1.

use aws_sdk_ec2::types::{
    IpPermission, IpRange, Ipv6Range, PrefixListId, SecurityGroupRule, SecurityGroupRuleRequest, UserIdGroupPair,
};
use engine::facts::{Direction, Grant, Peer, Rule};
use engine::traffic::{IcmpMessage, PortRange, Traffic};
use ipnet::{Ipv4Net, Ipv6Net};

/// A rule of EC2 that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAGrant {
    #[error("protocol {0:?} is none")]
    Protocol(String),
    #[error("ports or type and code {from:?} to {to:?} of {protocol:?} are none")]
    Ports { protocol: String, from: Option<i32>, to: Option<i32> },
    #[error("peer {0:?} is none")]
    Peer(String),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("it has {0} peers")]
    Peers(usize),
}

/// Protocol and ports as EC2 writes them. Names and numbers of a protocol are the same.
fn traffic(protocol: Option<&str>, from: Option<i32>, to: Option<i32>) -> Result<Traffic, NotAGrant> {
    let protocol = protocol.ok_or(NotAGrant::Missing("the protocol"))?;
    let bad_ports = || NotAGrant::Ports { protocol: protocol.to_owned(), from, to };
    let ports = || ports(from, to).ok_or_else(bad_ports);
    let icmp = || icmp(from, to).ok_or_else(bad_ports);
    match protocol.to_ascii_lowercase().as_str() {
        "-1" => Ok(Traffic::All),
        "tcp" | "6" => Ok(Traffic::Tcp(ports()?)),
        "udp" | "17" => Ok(Traffic::Udp(ports()?)),
        "icmp" | "1" => Ok(Traffic::Icmp(icmp()?)),
        "icmpv6" | "58" => Ok(Traffic::Icmpv6(icmp()?)),
        // EC2 disregards the ports of every other protocol.
        number => number.parse().map(Traffic::Protocol).map_err(|_| NotAGrant::Protocol(protocol.to_owned())),
    }
}

fn ports(from: Option<i32>, to: Option<i32>) -> Option<PortRange> {
    let (from, to) = (u16::try_from(from?).ok()?, u16::try_from(to?).ok()?);
    (from <= to).then_some(PortRange { from, to })
}

/// Type and code: -1 or nothing is any, and any type goes with any code only.
fn icmp(from: Option<i32>, to: Option<i32>) -> Option<IcmpMessage> {
    let part = |value: Option<i32>| match value {
        None | Some(-1) => Some(None),
        Some(value) => u8::try_from(value).ok().map(Some),
    };
    match (part(from)?, part(to)?) {
        (None, Some(_)) => None,
        (kind, code) => Some(IcmpMessage { kind, code }),
    }
}

/// Protocol, `FromPort` and `ToPort` of a request; the ports are absent where EC2 disregards them.
fn render(traffic: Traffic) -> (String, Option<i32>, Option<i32>) {
    let icmp = |part: Option<u8>| Some(part.map_or(-1, i32::from));
    let (from, to) = match traffic {
        Traffic::All | Traffic::Protocol(_) => (None, None),
        Traffic::Tcp(ports) | Traffic::Udp(ports) => (Some(ports.from.into()), Some(ports.to.into())),
        Traffic::Icmp(message) | Traffic::Icmpv6(message) => (icmp(message.kind), icmp(message.code)),
    };
    (traffic.protocol(), from, to)
}

fn v4(cidr: &str) -> Result<Peer, NotAGrant> {
    let net: Ipv4Net = cidr.parse().map_err(|_| NotAGrant::Peer(cidr.to_owned()))?;
    Ok(Peer::network(net.into()))
}

fn v6(cidr: &str) -> Result<Peer, NotAGrant> {
    let net: Ipv6Net = cidr.parse().map_err(|_| NotAGrant::Peer(cidr.to_owned()))?;
    Ok(Peer::network(net.into()))
}

/// A group as a peer. The account is absent where the referenced group was deleted, and in old replies for
/// groups of the same owner.
fn group(id: Option<String>, account: Option<String>, owner: &str) -> Result<Peer, NotAGrant> {
    let id = id.ok_or(NotAGrant::Missing("the referenced group"))?;
    let account = account.filter(|account| !account.is_empty()).unwrap_or_else(|| owner.to_owned());
    Ok(Peer::Group { id, account })
}

/// EC2 omits an empty description; emulators and old rules write it empty.
fn description(given: Option<String>) -> Option<String> {
    given.filter(|text| !text.is_empty())
}

/// Adds the rules of one permission of `DescribeSecurityGroups`, one per peer. `owner` is the group's account.
pub(super) fn flatten(
    direction: Direction,
    permission: IpPermission,
    owner: &str,
    rules: &mut Vec<Rule>,
) -> Result<(), NotAGrant> {
    let traffic = traffic(permission.ip_protocol.as_deref(), permission.from_port, permission.to_port)?;
    let mut add = |peer: Peer, text: Option<String>| {
        rules.push(Rule { grant: Grant { direction, traffic, peer }, description: description(text) });
    };
    for range in permission.ip_ranges.unwrap_or_default() {
        add(v4(&range.cidr_ip.ok_or(NotAGrant::Missing("the CIDR"))?)?, range.description);
    }
    for range in permission.ipv6_ranges.unwrap_or_default() {
        add(v6(&range.cidr_ipv6.ok_or(NotAGrant::Missing("the CIDR"))?)?, range.description);
    }
    for list in permission.prefix_list_ids.unwrap_or_default() {
        let id = list.prefix_list_id.ok_or(NotAGrant::Missing("the prefix list"))?;
        add(Peer::PrefixList(id), list.description);
    }
    for pair in permission.user_id_group_pairs.unwrap_or_default() {
        add(group(pair.group_id, pair.user_id, owner)?, pair.description);
    }
    Ok(())
}

/// The rule of one row of `DescribeSecurityGroupRules`.
pub(super) fn of_row(row: SecurityGroupRule) -> Result<Rule, NotAGrant> {
    let owner = row.group_owner_id.ok_or(NotAGrant::Missing("the owner"))?;
    let egress = row.is_egress.ok_or(NotAGrant::Missing("the direction"))?;
    let direction = if egress { Direction::Egress } else { Direction::Ingress };
    let traffic = traffic(row.ip_protocol.as_deref(), row.from_port, row.to_port)?;
    let peers = [
        row.cidr_ipv4.map(|cidr| v4(&cidr)),
        row.cidr_ipv6.map(|cidr| v6(&cidr)),
        row.prefix_list_id.map(|id| Ok(Peer::PrefixList(id))),
        row.referenced_group_info.map(|info| group(info.group_id, info.user_id, &owner)),
    ];
    let mut peers: Vec<_> = peers.into_iter().flatten().collect();
    match (peers.pop(), peers.len()) {
        (Some(peer), 0) => {
            Ok(Rule { grant: Grant { direction, traffic, peer: peer? }, description: description(row.description) })
        }
        (None, _) => Err(NotAGrant::Peers(0)),
        (Some(_), others) => Err(NotAGrant::Peers(others + 1)),
    }
}

/// A rule as `Authorize…` takes it, the description at its peer.
pub(super) fn permission(rule: &Rule) -> IpPermission {
    let (protocol, from, to) = render(rule.grant.traffic);
    let text = rule.description.clone();
    let permission = IpPermission::builder().ip_protocol(protocol).set_from_port(from).set_to_port(to);
    match &rule.grant.peer {
        Peer::V4(net) => {
            permission.ip_ranges(IpRange::builder().cidr_ip(net.to_string()).set_description(text).build())
        }
        Peer::V6(net) => {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(net.to_string()).set_description(text).build())
        }
        Peer::PrefixList(id) => {
            permission.prefix_list_ids(PrefixListId::builder().prefix_list_id(id).set_description(text).build())
        }
        Peer::Group { id, account } => permission.user_id_group_pairs(
            UserIdGroupPair::builder().group_id(id).user_id(account).set_description(text).build(),
        ),
    }
    .build()
}

/// A rule as `ModifySecurityGroupRules` takes it. A description that is not sent would be erased.
pub(super) fn request(rule: &Rule) -> SecurityGroupRuleRequest {
    let (protocol, from, to) = render(rule.grant.traffic);
    let request = SecurityGroupRuleRequest::builder()
        .ip_protocol(protocol)
        .set_from_port(from)
        .set_to_port(to)
        .set_description(rule.description.clone());
    match &rule.grant.peer {
        Peer::V4(net) => request.cidr_ipv4(net.to_string()),
        Peer::V6(net) => request.cidr_ipv6(net.to_string()),
        Peer::PrefixList(id) => request.prefix_list_id(id),
        // The request has no member for the account: ids of groups are unique over all of them.
        Peer::Group { id, .. } => request.referenced_group_id(id),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::ReferencedSecurityGroup;

    use super::*;

    fn rule(direction: Direction, traffic: Traffic, peer: &str) -> Rule {
        let grant = Grant { direction, traffic, peer: peer.parse().unwrap() };
        Rule { grant, description: Some("kept".to_owned()) }
    }

    fn all_kinds() -> Vec<Rule> {
        let mut traffics: Vec<Traffic> = ["all", "tcp", "udp/53", "icmp", "icmp/8", "icmpv6/1/4", "50", "0"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        traffics.push(Traffic::Tcp(PortRange { from: 0, to: 21 }));
        let peers = ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0", "pl-0123", "111122223333/sg-2"];
        [Direction::Ingress, Direction::Egress]
            .into_iter()
            .flat_map(|direction| traffics.iter().map(move |traffic| (direction, *traffic)))
            .flat_map(|(direction, traffic)| peers.iter().map(move |peer| rule(direction, traffic, peer)))
            .collect()
    }

    #[test]
    fn what_is_authorised_is_what_is_read_back() {
        for rule in all_kinds() {
            let mut read = Vec::new();
            flatten(rule.grant.direction, permission(&rule), "999988887777", &mut read).unwrap();
            assert_eq!(read, [rule]);
        }
    }

    /// A row as EC2 shows it after a rule was written with a request.
    fn row(rule: &Rule, request: SecurityGroupRuleRequest) -> SecurityGroupRule {
        let account = match &rule.grant.peer {
            Peer::Group { account, .. } => Some(account.clone()),
            _ => None,
        };
        let referenced = request.referenced_group_id;
        let info = referenced.map(|id| ReferencedSecurityGroup::builder().group_id(id).set_user_id(account).build());
        SecurityGroupRule::builder()
            .group_owner_id("999988887777")
            .is_egress(rule.grant.direction == Direction::Egress)
            .set_ip_protocol(request.ip_protocol)
            .from_port(request.from_port.unwrap_or(-1))
            .to_port(request.to_port.unwrap_or(-1))
            .set_cidr_ipv4(request.cidr_ipv4)
            .set_cidr_ipv6(request.cidr_ipv6)
            .set_prefix_list_id(request.prefix_list_id)
            .set_referenced_group_info(info)
            .set_description(request.description)
            .build()
    }

    #[test]
    fn what_is_modified_is_what_is_read_back() {
        for rule in all_kinds() {
            assert_eq!(of_row(row(&rule, request(&rule))), Ok(rule));
        }
    }

    #[test]
    fn names_numbers_and_case_of_a_protocol_are_the_same() {
        for (given, expected) in [("6", "tcp/22"), ("TCP", "tcp/22"), ("17", "udp/22"), ("udp", "udp/22")] {
            assert_eq!(traffic(Some(given), Some(22), Some(22)), Ok(expected.parse().unwrap()));
        }
        assert_eq!(traffic(Some("58"), Some(128), Some(-1)), Ok("icmpv6/128".parse().unwrap()));
        assert_eq!(traffic(Some("1"), Some(-1), Some(-1)), Ok("icmp".parse().unwrap()));
        assert_eq!(traffic(Some("icmpv6"), None, None), Ok("icmpv6".parse().unwrap()));
    }

    #[test]
    fn ports_of_protocols_that_have_none_are_disregarded() {
        assert_eq!(traffic(Some("-1"), Some(22), Some(22)), Ok(Traffic::All));
        assert_eq!(traffic(Some("50"), Some(-1), Some(-1)), Ok(Traffic::Protocol(50)));
        assert_eq!(traffic(Some("132"), Some(1), Some(2)), Ok(Traffic::Protocol(132)));
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for (protocol, from, to) in [
            (None, None, None),
            (Some("tcp"), None, None),
            (Some("tcp"), Some(-1), Some(-1)),
            (Some("tcp"), Some(22), Some(21)),
            (Some("udp"), Some(0), Some(65536)),
            (Some("icmp"), Some(-1), Some(3)),
            (Some("icmp"), Some(256), Some(-1)),
            (Some("300"), None, None),
            (Some("sctp"), None, None),
            (Some(""), None, None),
        ] {
            assert!(traffic(protocol, from, to).is_err(), "{protocol:?} {from:?} {to:?}");
        }
        assert!(v4("10.0.0.0").is_err());
        assert!(v4("::/0").is_err());
        assert!(v6("10.0.0.0/8").is_err());
    }

    #[test]
    fn host_bits_are_cleared_and_empty_descriptions_are_none() {
        let range = IpRange::builder().cidr_ip("100.68.0.18/18").description("").build();
        let permission = IpPermission::builder().ip_protocol("-1").ip_ranges(range).build();
        let mut rules = Vec::new();
        flatten(Direction::Ingress, permission, "111122223333", &mut rules).unwrap();
        let [Rule { grant, description }] = rules.as_slice() else { panic!("one rule") };
        assert_eq!(grant.peer.to_string(), "100.68.0.0/18");
        assert_eq!(*description, None);
    }

    #[test]
    fn a_group_without_an_account_is_one_of_the_owner() {
        let pair = UserIdGroupPair::builder().group_id("sg-1").build();
        let permission = IpPermission::builder().ip_protocol("-1").user_id_group_pairs(pair).build();
        let mut rules = Vec::new();
        flatten(Direction::Ingress, permission, "111122223333", &mut rules).unwrap();
        assert_eq!(rules.first().unwrap().grant.peer.to_string(), "111122223333/sg-1");
    }

    #[test]
    fn a_row_has_exactly_one_peer() {
        let row = SecurityGroupRule::builder().group_owner_id("1").is_egress(false).ip_protocol("-1");
        assert_eq!(of_row(row.clone().build()), Err(NotAGrant::Peers(0)));
        let two = row.cidr_ipv4("10.0.0.0/8").prefix_list_id("pl-1").build();
        assert_eq!(of_row(two), Err(NotAGrant::Peers(2)));
    }
}
