//! Security-group rules as the emulator shows them, and a short text form of them for tests.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail};
use serde::{Deserialize, Serialize};

/// One rule of a security group, in the ledger's shape.
///
/// Its text form is `PROTOCOL PORTS PEER`: `tcp 22 0.0.0.0/0`, `udp 0-65535 ::/0`, `tcp 443 group @web`,
/// `tcp 443 prefixlist pl-1`, `icmp 8 10.0.0.0/8` (type 8, any code), `icmp 3:4 10.0.0.0/8`, `icmp * 10.0.0.0/8`;
/// protocols that have no ports have no such word: `all 0.0.0.0/0`, `50 10.0.0.0/8`. A peer `@KEY` stands for the group or
/// prefix list with that key in the same seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// AWS's name of the rule; a rule to be seeded has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1` for all.
    pub protocol: String,
    /// The first port, or the ICMP type (-1 for all); none where the protocol has none.
    pub from_port: Option<i32>,
    /// The last port, or the ICMP code (-1 for all); none where the protocol has none.
    pub to_port: Option<i32>,
    /// What `peer` is.
    pub peer_kind: PeerKind,
    /// A CIDR, or the id of a prefix list or group.
    pub peer: String,
    /// The account that owns a peer group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_account: Option<String>,
    /// The rule's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The rule's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// What a rule lets in from or out to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerKind {
    /// IPv4 addresses.
    #[default]
    CidrV4,
    /// IPv6 addresses.
    CidrV6,
    /// A prefix list.
    PrefixList,
    /// The interfaces of a security group.
    Group,
}

/// Which way the traffic goes, seen from the interface that has the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To the interface.
    Ingress,
    /// From the interface.
    Egress,
}

impl Rule {
    /// The same rule with a description.
    #[must_use]
    pub fn described(mut self, description: &str) -> Self {
        self.description = Some(description.to_owned());
        self
    }

    fn has_ports(protocol: &str) -> bool {
        matches!(protocol, "tcp" | "udp" | "icmp" | "icmpv6")
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text)
            .with_context(|| format!("`{text}` is no rule: write PROTOCOL PORTS PEER, such as `tcp 22 0.0.0.0/0`"))
    }
}

fn parse(text: &str) -> Result<Rule> {
    let mut words = text.split_whitespace();
    let protocol = match words.next().context("it is empty")? {
        "all" => "-1",
        protocol => protocol,
    };
    let (from_port, to_port) = if Rule::has_ports(protocol) {
        let (from, to) = ports(protocol, words.next().context("there are no ports")?)?;
        (Some(from), Some(to))
    } else {
        (None, None)
    };
    let (peer_kind, peer) = match (words.next().context("there is no peer")?, words.next()) {
        ("group", Some(peer)) => (PeerKind::Group, peer),
        ("prefixlist", Some(peer)) => (PeerKind::PrefixList, peer),
        (peer, None) if peer.contains(':') => (PeerKind::CidrV6, peer),
        (peer, None) if peer.contains('/') => (PeerKind::CidrV4, peer),
        (peer, _) => bail!("`{peer}` is no CIDR, nor `group ID` or `prefixlist ID`"),
    };
    if let Some(word) = words.next() {
        bail!("`{word}` is too much");
    }
    Ok(Rule { protocol: protocol.to_owned(), from_port, to_port, peer_kind, peer: peer.to_owned(), ..Rule::default() })
}

fn ports(protocol: &str, text: &str) -> Result<(i32, i32)> {
    let icmp = protocol.starts_with("icmp");
    let number = |text: &str| text.parse().with_context(|| format!("`{text}` is no number"));
    match (icmp, text) {
        (true, "*") => Ok((-1, -1)),
        (false, "*") => Ok((0, 65535)),
        (true, text) => match text.split_once(':') {
            Some((kind, code)) => Ok((number(kind)?, number(code)?)),
            None => Ok((number(text)?, -1)),
        },
        (false, text) => match text.split_once('-') {
            Some((from, to)) => Ok((number(from)?, number(to)?)),
            None => Ok((number(text)?, number(text)?)),
        },
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let icmp = self.protocol.starts_with("icmp");
        match self.protocol.as_str() {
            "-1" => f.write_str("all")?,
            protocol => f.write_str(protocol)?,
        }
        match (self.from_port, self.to_port) {
            (Some(-1), _) if icmp => f.write_str(" *")?,
            (Some(kind), Some(-1)) if icmp => write!(f, " {kind}")?,
            (Some(kind), Some(code)) if icmp => write!(f, " {kind}:{code}")?,
            (Some(0), Some(65535)) => f.write_str(" *")?,
            (Some(from), Some(to)) if from == to => write!(f, " {from}")?,
            (Some(from), Some(to)) => write!(f, " {from}-{to}")?,
            _ => {}
        }
        match self.peer_kind {
            PeerKind::Group => f.write_str(" group")?,
            PeerKind::PrefixList => f.write_str(" prefixlist")?,
            PeerKind::CidrV4 | PeerKind::CidrV6 => {}
        }
        write!(f, " {}", self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_it_is_written() -> Result<()> {
        for text in [
            "tcp 22 0.0.0.0/0",
            "tcp 20-443 10.0.0.0/8",
            "udp * ::/0",
            "all 0.0.0.0/0",
            "50 10.0.0.0/8",
            "icmp * 10.0.0.0/8",
            "icmp 8 10.0.0.0/8",
            "icmp 3:4 10.0.0.0/8",
            "tcp 443 group @web",
            "tcp 443 prefixlist pl-1",
        ] {
            assert_eq!(text.parse::<Rule>()?.to_string(), text);
        }
        Ok(())
    }

    #[test]
    fn what_is_no_rule_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "it is empty"),
            ("tcp", "there are no ports"),
            ("tcp 22", "there is no peer"),
            ("tcp ssh 0.0.0.0/0", "`ssh` is no number"),
            ("tcp 22 everywhere", "`everywhere` is no CIDR"),
            ("tcp 22 group sg-1 now", "`now` is too much"),
        ] {
            let error = format!("{:#}", text.parse::<Rule>().unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_ledgers_shape_is_understood() -> Result<()> {
        let json = r#"{"ruleId": "sgr-1", "protocol": "tcp", "fromPort": 22, "toPort": 22, "peerKind": "cidrv4",
            "peer": "0.0.0.0/0", "peerAccount": null, "description": null, "tags": {}}"#;
        let rule: Rule = serde_json::from_str(json)?;
        assert_eq!(rule.to_string(), "tcp 22 0.0.0.0/0");
        Ok(())
    }
}
