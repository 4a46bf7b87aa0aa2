//! Controls of `SecurityGroupBaseline`.

mod default_group;
mod egress;
mod hygiene;
mod internet;
mod references;
mod required;
mod sources;
#[cfg(test)]
mod vectors;
mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use default_group::{DEFAULT_CLOSED, DefaultGroup};
pub use egress::Egress;
pub use hygiene::{Hygiene, MaxRules, RequiredTag, RuleDescriptions};
pub use internet::{BroadCidr, Icmp, Internet, OnOverlap, Preset};
pub use references::References;
pub use required::{REQUIRED_RULES_PRESENT, Required, RuleDeclaration};
pub use sources::Sources;
pub use view::GroupView;

use super::{About, InvalidParameter, Setting};
use crate::edit::Withheld;
use crate::facts::{Peer, Rule, Tags};
use crate::finding::Verdict;
use crate::traffic::TrafficSet;

/// One control on security groups.
#[derive(Debug)]
pub struct Control {
    /// What a person wants to know of it.
    pub about: About,
    /// Whether a spec uses it.
    pub setting: fn(&SecurityGroupParameters) -> Setting,
    /// Whether two specs ask the same: then one verdict, and one remedy, does for both.
    pub alike: fn(&Compiled, &Compiled) -> bool,
    /// The verdict on one group.
    pub check: fn(&Compiled, &GroupView<'_>) -> Verdict,
    /// What would have to change, for a group that fails; `None` for a control that only reports.
    pub remedy: Option<fn(&Compiled, &GroupView<'_>) -> Vec<Remedy>>,
}

/// All controls of this kind, in the order of the spec.
pub fn controls() -> impl Iterator<Item = &'static Control> {
    [
        internet::CONTROLS,
        sources::CONTROLS,
        required::CONTROLS,
        egress::CONTROLS,
        default_group::CONTROLS,
        references::CONTROLS,
        hygiene::CONTROLS,
    ]
    .into_iter()
    .flatten()
}

/// What a control asks for, before the demands of all controls and baselines are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A rule keeps only what lies within one of the bounds; nothing left means that it goes.
    Keep {
        /// Position of the rule in the group's rules.
        rule: usize,
        /// What may remain.
        within: Vec<Bound>,
        /// The rule must not go on opening every port, whatever the other controls leave of it.
        must_narrow: bool,
        /// Why the control itself asks to hold this back, if it does.
        held: Option<Withheld>,
    },
    /// What this rule lets through must be let through.
    Require(Rule),
    /// A rule gets this description.
    Describe {
        /// Position of the rule in the group's rules.
        rule: usize,
        /// The new description.
        text: String,
    },
    /// The group gets these tags.
    Tag(Tags),
}

/// A region of flows: some traffic, with some peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The traffic.
    pub traffic: TrafficSet,
    /// The peers; `None` is everybody.
    pub peer: Option<Peer>,
}

impl Bound {
    /// Some traffic, whoever is at the other end.
    pub fn anybody(traffic: TrafficSet) -> Self {
        Self { traffic, peer: None }
    }

    /// All traffic with one peer.
    pub fn all_with(peer: Peer) -> Self {
        Self { traffic: TrafficSet::universe(), peer: Some(peer) }
    }
}

impl Remedy {
    /// A rule goes away whole.
    fn remove(rule: usize) -> Self {
        Self::keep(rule, Vec::new())
    }

    /// A rule keeps only what lies within the bounds.
    fn keep(rule: usize, within: Vec<Bound>) -> Self {
        Self::Keep { rule, within, must_narrow: false, held: None }
    }

    /// The same demand, held back by the control itself.
    fn held_by(self, reason: Withheld) -> Self {
        match self {
            Self::Keep { rule, within, must_narrow, .. } => {
                Self::Keep { rule, within, must_narrow, held: Some(reason) }
            }
            other => other,
        }
    }
}

/// The fields of a `SecurityGroupBaseline` that say what good looks like, grouped by topic.
///
/// A field left out is judged by its recommended default and reported; it is enforced once it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroupParameters {
    /// What the internet may reach. Rules are judged by the addresses that they cover: 0.0.0.0/1 and 128.0.0.0/1 together are
    /// the world as much as 0.0.0.0/0 is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet: Option<Internet>,
    /// The only sources from which traffic may come in. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Sources>,
    /// Rules that every selected group must have. Off while left out. The AWSAccount must grant the namespace
    /// the right to add them (spec.namespaces[].mayAddRules).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<Required>,
    /// The only destinations to which traffic may go out. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// The default group of each VPC, which everything without a group of its own gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_group: Option<DefaultGroup>,
    /// Rules that refer to other groups and to prefix lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<References>,
    /// Names, descriptions, tags and size: what makes a group reviewable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hygiene: Option<Hygiene>,
}

impl SecurityGroupParameters {
    /// Every recommended value written out, as `baseward init` prints it.
    pub fn recommended() -> Self {
        Self {
            internet: Some(Internet::recommended()),
            sources: None,
            required: None,
            egress: None,
            default_group: Some(DefaultGroup::recommended()),
            references: Some(References::recommended()),
            hygiene: Some(Hygiene::recommended()),
        }
    }
}

/// The parameters with every text parsed and every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    internet: internet::Compiled,
    sources: sources::Compiled,
    required: required::Compiled,
    egress: egress::Compiled,
    default_group: default_group::Compiled,
    references: references::Compiled,
    hygiene: hygiene::Compiled,
}

impl Compiled {
    /// Parses a spec.
    ///
    /// # Errors
    /// The first value that cannot be used, with the way to mend it.
    pub fn new(parameters: &SecurityGroupParameters) -> Result<Self, InvalidParameter> {
        let SecurityGroupParameters { internet, sources, required, egress, default_group, references, hygiene } =
            parameters;
        Ok(Self {
            internet: internet::Compiled::new(internet.as_ref())?,
            sources: sources::Compiled::new(sources.as_ref())?,
            required: required::Compiled::new(required.as_ref())?,
            egress: egress::Compiled::new(egress.as_ref())?,
            default_group: default_group::Compiled::new(default_group.as_ref()),
            references: references::Compiled::new(references.as_ref()),
            hygiene: hygiene::Compiled::new(hygiene.as_ref())?,
        })
    }

    /// The rules that selected groups must have.
    pub fn required_rules(&self) -> &[Rule] {
        self.required.rules()
    }
}
