//! The normal form of a security-group rule: one direction, one kind of traffic, one peer.
//!
//! Description and tags are attributes of a rule, not part of its identity. EC2 merges rules
//! with equal protocol and ports on read-back and canonicalises CIDRs; grants undo the first
//! and compare networks, not strings (`AuthorizeSecurityGroupIngress`, `IpPermission`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::traffic::{Traffic, TrafficError};

/// Which way the traffic of a rule flows, seen from the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Into the interfaces that carry the group.
    Ingress,
    /// Out of the interfaces that carry the group.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        })
    }
}

/// The other end of a rule: exactly one kind per rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// An IPv4 network.
    V4(Ipv4Net),
    /// An IPv6 network.
    V6(Ipv6Net),
    /// A managed prefix list (`pl-…`).
    PrefixList(String),
    /// Another security group, or the group itself.
    Group {
        /// `sg-…`.
        id: String,
        /// The account that owns the referenced group. Empty in a declaration that names none: the account
        /// of the group that the rule belongs to.
        account: String,
    },
}

impl Peer {
    /// A network as a peer, host bits cleared as EC2 does.
    pub fn network(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => Self::V4(net.trunc()),
            IpNet::V6(net) => Self::V6(net.trunc()),
        }
    }

    /// The peer with the account filled in where a declaration left it out.
    pub fn in_account(self, owner: &str) -> Self {
        self.resolved(owner).into_owned()
    }

    /// The peer as seen from a group of an account: a declared group without an account belongs to it.
    pub fn resolved(&self, owner: &str) -> Cow<'_, Self> {
        match self {
            Self::Group { id, account } if account.is_empty() => {
                Cow::Owned(Self::Group { id: id.clone(), account: owner.to_owned() })
            }
            other => Cow::Borrowed(other),
        }
    }

    /// The network, if the peer is one.
    pub fn as_network(&self) -> Option<IpNet> {
        match self {
            Self::V4(net) => Some(IpNet::V4(*net)),
            Self::V6(net) => Some(IpNet::V6(*net)),
            Self::PrefixList(_) | Self::Group { .. } => None,
        }
    }

    /// Whether everything behind `other` is also behind this peer. Lists and groups contain only themselves.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::V4(mine), Self::V4(theirs)) => mine.contains(theirs),
            (Self::V6(mine), Self::V6(theirs)) => mine.contains(theirs),
            _ => self == other,
        }
    }

    /// What is behind both peers. Networks nest or are disjoint, so it is one of the two or nothing.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.contains(other) {
            Some(other.clone())
        } else if other.contains(self) {
            Some(self.clone())
        } else {
            None
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(net) => net.fmt(f),
            Self::V6(net) => net.fmt(f),
            Self::PrefixList(id) => f.write_str(id),
            Self::Group { id, account } => write!(f, "{account}/{id}"),
        }
    }
}

/// A text that is no peer or no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The peer has none of the four forms.
    #[error(
        "{0:?} is no peer: write a CIDR such as 10.0.0.0/8, a prefix list pl-…, or a security group sg-… (of another account: 111122223333/sg-…)"
    )]
    Peer(String),
    /// The traffic has none of the known forms.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
}

impl FromStr for Peer {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("pl-") {
            return Ok(Self::PrefixList(text.to_owned()));
        }
        let (account, id) = text.split_once('/').unwrap_or(("", text));
        if id.starts_with("sg-") {
            return Ok(Self::Group { id: id.to_owned(), account: account.to_owned() });
        }
        text.parse::<IpNet>().map(Self::network).map_err(|_| GrantError::Peer(text.to_owned()))
    }
}

/// One direction, one kind of traffic, one peer: the unit of judging and of writing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Ingress or egress.
    pub direction: Direction,
    /// Protocol and ports.
    pub traffic: Traffic,
    /// Who may send or receive.
    pub peer: Peer,
}

impl Grant {
    /// Whether every flow that `other` allows is allowed by this grant as well.
    pub fn covers(&self, other: &Self) -> bool {
        self.direction == other.direction && self.traffic.covers(other.traffic) && self.peer.contains(&other.peer)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let preposition = match self.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        write!(f, "{} {preposition} {}", self.traffic, self.peer)
    }
}

/// A grant with the attributes that a rewrite has to carry over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// What is let through.
    pub grant: Grant,
    /// The rule's description, at most 255 characters.
    pub description: Option<String>,
}
