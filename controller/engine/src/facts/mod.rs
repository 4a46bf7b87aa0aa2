//! What AWS says, as plain values that hold only what controls look at.
//!
//! A [`Source`] is one bulk read of one AWS thing with its age and its completeness; the
//! [`Inventory`] holds the latest facts of every source in one account and region, shared by
//! all kinds of baseline there.

mod ec2;
mod gathered;
mod grant;
mod lambda;
mod live;
mod resource;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::kind::Kind;

pub use ec2::{DefaultRoute, InterfaceUse, LiveGroup, LiveRule, PrefixList, PrefixListEntries, SecurityGroup, Subnet};
pub use gathered::{Gathered, Pace};
pub use grant::{Direction, Grant, GrantError, Peer, Rule};
pub use lambda::{
    AccountSettings, Alias, CodeSigningConfig, Configuration, Cors, EDGE_REGION, Environment, Function, FunctionUrl,
    Lambda, LayerVersion, LiveFunction, LogFormat, Logging, Package, QualifiedPolicy, Recursion, RuntimeManagement,
    Tracing, UpdateOn, UpdateStatus, UrlAuth, Variables, Version, Vpc,
};
pub use live::Live;
pub use resource::{Resource, ResourceType};

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

impl Location {
    /// The partition of AWS that the region is in, as ARNs write it.
    pub fn partition(&self) -> &'static str {
        match self.region.split('-').next() {
            Some("cn") => "aws-cn",
            _ if self.region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
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
    /// Its turn has not come yet: so many resources are read one by one.
    NotReadYet,
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
            Self::NotReadYet => "NotReadYet",
        }
    }

    /// Whether it lasts until a person does something about it; anything else may pass by itself.
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::AccessDenied | Self::CredentialsExpired | Self::RegionUnknown => true,
            Self::Throttled | Self::EndpointUnavailable | Self::ReplyUnusable | Self::NotReadYet => false,
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
            Self::NotReadYet => "it is read one by one, within the account's API rate: nothing to do",
        }
    }
}

/// One read: what it brought, when, and whether it is whole. Copies share the facts.
#[derive(Clone, Debug)]
pub struct Source<T> {
    state: Result<Arc<T>, ReadFailure>,
    read_at: Timestamp,
}

/// Of what was never read.
impl<T> Default for Source<T> {
    fn default() -> Self {
        Self::failed(ReadFailure::NotReadYet, Timestamp::MIN)
    }
}

impl<T> Source<T> {
    /// A complete read that began at `read_at`: nothing in it is older.
    pub fn complete(facts: T, read_at: Timestamp) -> Self {
        Self { state: Ok(Arc::new(facts)), read_at }
    }

    /// A read that began at `read_at` and failed; whatever pages had come are thrown away.
    pub fn failed(failure: ReadFailure, read_at: Timestamp) -> Self {
        Self { state: Err(failure), read_at }
    }

    /// The facts if they are whole, else why there are none.
    pub fn facts(&self) -> Result<&T, ReadFailure> {
        self.state.as_deref().map_err(|failure| *failure)
    }

    /// When the read began.
    pub fn read_at(&self) -> Timestamp {
        self.read_at
    }

    /// The facts if they are whole and at most `max_age` old at `now`.
    pub fn fresh(&self, now: Timestamp, max_age: SignedDuration) -> Option<&T> {
        let age = now.duration_since(self.read_at);
        self.state.as_deref().ok().filter(|_| age <= max_age)
    }
}

/// The latest facts of all sources in one account and region, whatever kinds of baseline look at them.
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
    /// `ec2/subnets` with their routes: DescribeSubnets, DescribeRouteTables and DescribeNatGateways, by id.
    pub subnets: Source<BTreeMap<String, Subnet>>,
    /// Everything of Lambda.
    pub lambda: Lambda,
}

impl Inventory {
    /// Of an account and region of which nothing was read yet.
    pub fn unread(location: Location) -> Self {
        Self {
            location,
            security_groups: Source::default(),
            network_interfaces: Source::default(),
            prefix_lists: Source::default(),
            subnets: Source::default(),
            lambda: Lambda::default(),
        }
    }

    /// The list of a kind's resources and nothing else: what a later list is compared with. Whoever kept more would keep what
    /// others have long replaced.
    #[must_use]
    pub fn list_of(&self, kind: Kind) -> Self {
        let unread = Self::unread(self.location.clone());
        match kind {
            Kind::SecurityGroup => Self { security_groups: self.security_groups.clone(), ..unread },
            Kind::Lambda => {
                let lambda = Lambda { functions: self.lambda.functions.clone(), ..Lambda::default() };
                Self { lambda, ..unread }
            }
        }
    }

    /// Whether the lists say the same of a resource as at an earlier look. What could not be read shows no change.
    pub fn shows_as_before(&self, kind: Kind, id: &str, before: &Self) -> bool {
        fn alike<T: PartialEq>(now: &Source<Vec<T>>, before: &Source<Vec<T>>, is: impl Fn(&&T) -> bool) -> bool {
            match (now.facts(), before.facts()) {
                (Ok(now), Ok(before)) => now.iter().find(&is) == before.iter().find(&is),
                _ => true,
            }
        }
        match kind {
            Kind::SecurityGroup => alike(&self.security_groups, &before.security_groups, |group| group.id == id),
            Kind::Lambda => alike(&self.lambda.functions, &before.lambda.functions, |function| function.name == id),
        }
    }

    /// The newer of both, source by source. What is read of Lambda one by one goes with its list.
    #[must_use]
    pub fn or_newer(self, other: Self) -> Self {
        fn newer<T>(one: Source<T>, other: Source<T>) -> Source<T> {
            if other.read_at > one.read_at { other } else { one }
        }
        let lambda =
            if other.lambda.functions.read_at > self.lambda.functions.read_at { other.lambda } else { self.lambda };
        Self {
            location: self.location,
            security_groups: newer(self.security_groups, other.security_groups),
            network_interfaces: newer(self.network_interfaces, other.network_interfaces),
            prefix_lists: newer(self.prefix_lists, other.prefix_lists),
            subnets: newer(self.subnets, other.subnets),
            lambda,
        }
    }

    /// Of an account and region of which nothing could be read.
    pub fn failed(location: Location, failure: ReadFailure, read_at: Timestamp) -> Self {
        Self {
            security_groups: Source::failed(failure, read_at),
            network_interfaces: Source::failed(failure, read_at),
            prefix_lists: Source::failed(failure, read_at),
            subnets: Source::failed(failure, read_at),
            lambda: Lambda { functions: Source::failed(failure, read_at), ..Lambda::default() },
            ..Self::unread(location)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_a_kind_is_compared_and_nothing_else_is_kept() {
        let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
        let mut inventory = Inventory::unread(location);
        inventory.security_groups = Source::complete(Vec::new(), Timestamp::UNIX_EPOCH);
        inventory.lambda.functions = Source::complete(Vec::new(), Timestamp::UNIX_EPOCH);
        inventory.lambda.layers = Source::complete(Vec::new(), Timestamp::UNIX_EPOCH);
        let (groups, functions) = (inventory.list_of(Kind::SecurityGroup), inventory.list_of(Kind::Lambda));
        assert!(groups.security_groups.facts().is_ok() && groups.lambda.functions.facts().is_err());
        assert!(functions.lambda.functions.facts().is_ok() && functions.security_groups.facts().is_err());
        assert!(functions.lambda.layers.facts().is_err());
    }
}
