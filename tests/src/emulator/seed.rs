//! What an account holds when a test starts.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Rule;

/// What is to be made in one region of an account.
#[derive(Debug, Clone, Default)]
pub struct Seed {
    region: String,
    groups: Vec<GroupSeed>,
    others: Map<String, Value>,
}

/// A security group to be made. Its key in the seed is its name.
#[derive(Debug, Clone, Default)]
pub struct GroupSeed {
    name: String,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
    tags: BTreeMap<String, String>,
    others: Map<String, Value>,
}

/// The ids of what was made, by the keys in the seed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seeded {
    /// Security groups.
    #[serde(default)]
    pub groups: BTreeMap<String, String>,
    /// Prefix lists.
    #[serde(default)]
    pub prefix_lists: BTreeMap<String, String>,
    /// Network interfaces.
    #[serde(default)]
    pub interfaces: BTreeMap<String, String>,
    /// VPCs.
    #[serde(default)]
    pub vpcs: BTreeMap<String, String>,
    /// The ARNs of code signing configurations.
    #[serde(default)]
    pub code_signing_configs: BTreeMap<String, String>,
}

/// Thousands of security groups with internal rules, some of them open to the world.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetSeed {
    /// Where.
    pub region: String,
    /// How many groups.
    pub groups: u32,
    /// The least number of rules in a group.
    pub rules_min: u32,
    /// The greatest number of rules in a group.
    pub rules_max: u32,
    /// How many of the groups are bad.
    pub bad: u32,
    /// How many network interfaces use them.
    pub interfaces: u32,
    /// The same number makes the same fleet.
    pub seed: u32,
    /// Tags of every group.
    pub tags: BTreeMap<String, String>,
}

/// Thousands of functions, most of them good.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionFleetSeed {
    /// Where.
    pub region: String,
    /// How many functions.
    pub functions: u32,
    /// How many of them are bad.
    pub bad_functions: u32,
    /// What is wrong with the bad ones, in a word each.
    pub function_problems: Vec<String>,
    /// Tags of every function.
    pub tags: BTreeMap<String, String>,
}

/// A fleet that was made.
#[derive(Debug, Clone, Deserialize)]
pub struct Fleet {
    /// The VPC that holds it.
    pub vpc: String,
    /// The groups that are open to the world.
    pub bad: Vec<BadGroup>,
}

/// A group of a fleet that is open to the world.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BadGroup {
    /// The group.
    pub group_id: String,
    /// The group's name.
    pub name: String,
    /// What is wrong with it, in a word.
    pub problem: String,
    /// Its rules that are open to the world.
    pub rules: Vec<Rule>,
}

/// A fleet of functions that was made.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionFleet {
    /// The functions that are bad.
    pub bad_functions: Vec<BadFunction>,
}

/// A function of a fleet that is bad.
#[derive(Debug, Clone, Deserialize)]
pub struct BadFunction {
    /// The function's name.
    pub name: String,
    /// What is wrong with it, in a word.
    pub problem: String,
}

impl Default for FleetSeed {
    /// A small fleet without bad groups, in no region yet.
    fn default() -> Self {
        Self {
            region: String::new(),
            groups: 100,
            rules_min: 5,
            rules_max: 10,
            bad: 0,
            interfaces: 0,
            seed: 42,
            tags: BTreeMap::new(),
        }
    }
}

impl Seed {
    /// An empty seed for a region.
    #[must_use]
    pub fn in_region(region: &str) -> Self {
        Self { region: region.to_owned(), ..Self::default() }
    }

    /// And a security group.
    #[must_use]
    pub fn group(mut self, group: GroupSeed) -> Self {
        self.groups.push(group);
        self
    }

    /// And anything else that the emulator can make: `vpcs`, `prefixLists`, `interfaces`, in its own JSON.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.others.insert(key.to_owned(), value);
        self
    }

    pub(super) fn body(&self, account: &str) -> Result<Value> {
        let mut body = self.others.clone();
        body.insert("account".to_owned(), account.into());
        body.insert("region".to_owned(), self.region.clone().into());
        let groups: Result<Vec<Value>> = self.groups.iter().map(GroupSeed::body).collect();
        body.insert("groups".to_owned(), groups?.into());
        Ok(body.into())
    }
}

impl GroupSeed {
    /// A group as AWS makes it: nothing may come in, everything may go out.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds ingress rules in the text form of [`Rule`].
    pub fn ingress<'a>(mut self, rules: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        self.ingress.get_or_insert_default().extend(parsed(&self.name, rules)?);
        Ok(self)
    }

    /// Adds egress rules in the text form of [`Rule`], in place of the one that AWS makes. An empty list allows nothing.
    pub fn egress<'a>(mut self, rules: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        self.egress.get_or_insert_default().extend(parsed(&self.name, rules)?);
        Ok(self)
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds anything else that the emulator knows of a group: `vpc`, `default`, `description`, `ownerId`.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.others.insert(key.to_owned(), value);
        self
    }

    fn body(&self) -> Result<Value> {
        let mut body = self.others.clone();
        body.insert("key".to_owned(), self.name.clone().into());
        body.insert("name".to_owned(), self.name.clone().into());
        body.insert("tags".to_owned(), json!(self.tags));
        for (direction, rules) in [("ingress", &self.ingress), ("egress", &self.egress)] {
            if let Some(rules) = rules {
                body.insert(direction.to_owned(), serde_json::to_value(rules)?);
            }
        }
        Ok(body.into())
    }
}

fn parsed<'a>(group: &str, rules: impl IntoIterator<Item = &'a str>) -> Result<Vec<Rule>> {
    let rules: Result<Vec<Rule>> = rules.into_iter().map(str::parse).collect();
    rules.with_context(|| format!("in the seed of group {group}"))
}

impl Seeded {
    /// The id of the security group with this name in the seed.
    pub fn group(&self, name: &str) -> Result<&str> {
        let id = self.groups.get(name);
        Ok(id.with_context(|| format!("the seed had no group {name}"))?)
    }
}
