//! Facts of EC2: security groups, the interfaces that use them, prefix lists.

use ipnet::IpNet;
use jiff::Timestamp;

use super::{Location, Resource, ResourceType, Rule, Tags};

/// A security group as `DescribeSecurityGroups` shows it, rules in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: String,
    /// The group's name, unique in its VPC and immutable.
    pub name: String,
    /// The group's description, immutable.
    pub description: String,
    /// The account that owns the group; another one for a shared VPC's groups.
    pub owner: String,
    /// `vpc-…`.
    pub vpc: String,
    /// Tags of the group.
    pub tags: Tags,
    /// Every rule of both directions, sorted, one grant each.
    pub rules: Vec<Rule>,
}

/// The name of the default group of each VPC; no other group can have it.
pub(super) const DEFAULT_GROUP: &str = "default";

impl SecurityGroup {
    /// Whether this is the default group of its VPC, which cannot be deleted or renamed.
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT_GROUP
    }

    /// Who it is.
    pub fn resource<'a>(&'a self, location: &'a Location) -> Resource<'a> {
        let Self { id, name, owner, vpc, tags, .. } = self;
        Resource { resource_type: ResourceType::SecurityGroup, id, name, owner, vpc, tags, location }
    }
}

/// How many interfaces carry a security group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceUse {
    /// All interfaces with the group.
    pub interfaces: u32,
    /// The load balancers that some of them belong to: each may have several.
    pub load_balancers: u32,
    /// The interfaces of functions among them.
    pub functions: u32,
}

/// A subnet and the way out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Id of its Availability Zone, which means the same zone in every account.
    pub zone: String,
    /// Where its route table sends what is for the internet.
    pub default_route: DefaultRoute,
}

/// Where a route table sends what is for the internet (`0.0.0.0/0` and `::/0`), the most open of its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefaultRoute {
    /// Nowhere.
    None,
    /// To something else: a transit gateway, an appliance, a peering connection, …
    Other,
    /// To a NAT gateway, or out only through an egress-only internet gateway.
    Nat,
    /// To an internet gateway: the subnet is public.
    Internet,
}

/// A managed prefix list that a rule refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixList {
    /// The owner's account id, or `AWS`.
    pub owner: String,
    /// The version whose entries these are.
    pub version: i64,
    /// How many entries count against a group's rule quota (EC2 counts the maximum, not the present number).
    pub max_entries: i32,
    /// The networks in the list, if they could be read.
    pub entries: PrefixListEntries,
}

/// The content of a prefix list, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixListEntries {
    /// A list of AWS (`OwnerId=AWS`): wide on purpose, trusted and not expanded.
    AwsManaged,
    /// The networks of a customer's list.
    Known(Vec<IpNet>),
    /// A shared list that this account may not read.
    Unreadable,
}

/// A rule as `DescribeSecurityGroupRules` shows it, with the id that a write needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRule {
    /// `sgr-…`.
    pub id: String,
    /// The grant and its description.
    pub rule: Rule,
    /// Tags of the rule itself.
    pub tags: Tags,
}

/// The rules of one group read right before a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveGroup {
    /// `sg-…`.
    pub id: String,
    /// All rules of both directions.
    pub rules: Vec<LiveRule>,
    /// Tags of the group at the same read.
    pub tags: Tags,
    /// When the read was begun: what it shows is at least as new.
    pub read_at: Timestamp,
}

impl LiveGroup {
    /// The rules without ids and tags, sorted: comparable with [`SecurityGroup::rules`].
    pub fn plain_rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.rules.iter().map(|live| live.rule.clone()).collect();
        rules.sort();
        rules
    }
}
