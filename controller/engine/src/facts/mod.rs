//! What AWS says, as plain values that hold only what controls look at.
//!
//! A [`Source`] is one bulk read of one AWS thing with its age and its completeness; the
//! [`Inventory`] holds the latest facts of every source in one account and region, shared by
//! all kinds of baseline there.

mod ec2;
mod grant;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

pub use ec2::{InterfaceUse, LiveGroup, LiveRule, PrefixList, PrefixListEntries, SecurityGroup};
pub use grant::{Direction, Grant, GrantError, Peer, Rule};

/// Tags of an AWS resource, ordered by key.
pub type Tags = BTreeMap<String, String>;

/// One AWS account and region: where a cell reads and writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Twelve-digit account id.
    pub account: String,
    /// Region name, for example `eu-west-1`.
    pub region: String,
}

/// Why a source could not be read, by what a person has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadFailure {
    /// The role lacks the permission.
    AccessDenied,
    /// The credentials have expired or are invalid.
    CredentialsExpired,
    /// AWS throttled the reads beyond all patience.
    Throttled,
    /// The region does not exist or is not enabled for the account.
    RegionUnknown,
    /// The endpoint did not answer, or answered with a server error.
    EndpointUnavailable,
    /// The reply was truncated, undecodable, or pages repeated.
    ReplyUnusable,
}

impl ReadFailure {
    /// The reason as it stands in conditions.
    pub fn reason(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::CredentialsExpired => "CredentialsExpired",
            Self::Throttled => "Throttled",
            Self::RegionUnknown => "RegionUnknown",
            Self::EndpointUnavailable => "EndpointUnavailable",
            Self::ReplyUnusable => "ReplyUnusable",
        }
    }

    /// Whether it lasts until a person does something about it; anything else may pass by itself.
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::AccessDenied | Self::CredentialsExpired | Self::RegionUnknown => true,
            Self::Throttled | Self::EndpointUnavailable | Self::ReplyUnusable => false,
        }
    }

    /// What went wrong and what to do, in words that do not change from one attempt to the next.
    pub fn advice(self) -> &'static str {
        match self {
            Self::AccessDenied => {
                "AWS denied the read: attach the read policy of Baseward to the role and check its trust policy and external id"
            }
            Self::CredentialsExpired => {
                "the credentials are missing, invalid or have expired: check the identity the controller runs with, and its clock"
            }
            Self::Throttled => "AWS throttles the reads: lower rateShare or find who uses up the account's API rate",
            Self::RegionUnknown => {
                "the region is unknown or not enabled for this account: correct spec.regions of the AWSAccount"
            }
            Self::EndpointUnavailable => {
                "the AWS endpoint did not answer: nothing to do if it passes, else check the network path"
            }
            Self::ReplyUnusable => {
                "AWS sent a reply that cannot be used (truncated, undecodable or repeating pages): it is read again at the next sweep"
            }
        }
    }
}

/// One bulk read: what it brought, when, and whether it is whole.
#[derive(Clone, Debug)]
pub struct Source<T> {
    state: Result<T, ReadFailure>,
    read_at: Timestamp,
}

impl<T> Source<T> {
    /// A complete read that began at `read_at`: nothing in it is older.
    pub fn complete(facts: T, read_at: Timestamp) -> Self {
        Self { state: Ok(facts), read_at }
    }

    /// A read that began at `read_at` and failed; whatever pages had come are thrown away.
    pub fn failed(failure: ReadFailure, read_at: Timestamp) -> Self {
        Self { state: Err(failure), read_at }
    }

    /// The facts if they are whole, else why there are none.
    pub fn facts(&self) -> Result<&T, ReadFailure> {
        self.state.as_ref().map_err(|failure| *failure)
    }

    /// When the read began.
    pub fn read_at(&self) -> Timestamp {
        self.read_at
    }

    /// The facts if they are whole and at most `max_age` old at `now`.
    pub fn fresh(&self, now: Timestamp, max_age: SignedDuration) -> Option<&T> {
        let age = now.duration_since(self.read_at);
        self.state.as_ref().ok().filter(|_| age <= max_age)
    }
}

/// The latest facts of all sources in one account and region.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Which account and region these facts are from.
    pub location: Location,
    /// `ec2/security_groups`: DescribeSecurityGroups.
    pub security_groups: Source<Vec<SecurityGroup>>,
    /// `ec2/network_interfaces`: DescribeNetworkInterfaces, reduced to who uses which group.
    pub network_interfaces: Source<BTreeMap<String, InterfaceUse>>,
    /// `ec2/prefix_lists`: the managed prefix lists that rules refer to, by id.
    pub prefix_lists: Source<BTreeMap<String, PrefixList>>,
}

impl Inventory {
    /// Of an account and region of which nothing could be read.
    pub fn failed(location: Location, failure: ReadFailure, read_at: Timestamp) -> Self {
        Self {
            location,
            security_groups: Source::failed(failure, read_at),
            network_interfaces: Source::failed(failure, read_at),
            prefix_lists: Source::failed(failure, read_at),
        }
    }
}
