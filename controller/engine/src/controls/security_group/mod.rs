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
pub use hygiene::{Hygiene, MaxRules, RuleDescriptions};
pub use internet::{BroadCidr, Icmp, Internet, OnOverlap, Preset};
pub use references::References;
pub use required::{REQUIRED_RULES_PRESENT, Required, RuleDeclaration};
pub use sources::Sources;
pub use view::GroupView;

use jiff::Timestamp;

use super::{About, Catalogue, InvalidParameter, NETWORK_INTERFACES, PREFIX_LISTS};
use crate::controls;
use crate::desired::{ActiveControl, Reason, Refusal};
use crate::edit::{Impact, Withheld};
use crate::evaluate::MAX_AGE;
use crate::facts::{Inventory, Peer, ReadFailure, Resource, Rule, SecurityGroup, Tags};
use crate::plan::narrow::{Remains, narrow};
use crate::plan::{ProposedEdit, Say, group};
use crate::questions::Question;
use crate::tenancy::Assignment;
use crate::traffic::TrafficSet;

/// The controls on security groups.
#[derive(Debug)]
pub struct SecurityGroups;

/// One control on security groups.
pub type Control = super::Control<SecurityGroups>;

/// All controls of this kind, in the order of the spec.
pub fn controls() -> impl Iterator<Item = &'static Control> {
    SecurityGroups::controls()
}

impl Catalogue for SecurityGroups {
    type Parameters = SecurityGroupParameters;
    type Compiled = Compiled;
    type Found<'a> = &'a SecurityGroup;
    type Index = ();
    type View<'a> = GroupView<'a>;
    type Remedy = Remedy;

    const ALWAYS: &'static [&'static str] = &[NETWORK_INTERFACES, PREFIX_LISTS];

    fn controls() -> impl Iterator<Item = &'static Control> {
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

    fn compiled(parameters: &controls::Compiled) -> Option<&Compiled> {
        match parameters {
            controls::Compiled::SecurityGroup(parameters) => Some(parameters),
            controls::Compiled::Lambda(_) => None,
        }
    }

    fn found(inventory: &Inventory) -> Result<Vec<&SecurityGroup>, ReadFailure> {
        Ok(inventory.security_groups.facts()?.iter().collect())
    }

    fn read_at(inventory: &Inventory) -> Timestamp {
        inventory.security_groups.read_at()
    }

    fn resource<'a>(group: &'a SecurityGroup, inventory: &'a Inventory) -> Resource<'a> {
        group.resource(&inventory.location)
    }

    fn index(_: &Inventory) {}

    fn view<'a>(group: &'a SecurityGroup, (): &'a (), inventory: &'a Inventory, now: Timestamp) -> GroupView<'a> {
        let usage = inventory.network_interfaces.fresh(now, MAX_AGE);
        GroupView::new(group, usage, inventory.prefix_lists.fresh(now, MAX_AGE))
    }

    fn concerns(_: &About, _: &GroupView<'_>) -> bool {
        true
    }

    fn impact(view: &GroupView<'_>) -> Impact {
        view.usage.map_or(Impact::Unknown, Impact::from)
    }

    fn plan(view: &GroupView<'_>, questions: &[Question<'_, Self>], say: &Say<'_>) -> Vec<ProposedEdit> {
        group::plan(view, questions, say)
    }

    fn failure(source: &'static str, inventory: &Inventory) -> Option<ReadFailure> {
        match source {
            NETWORK_INTERFACES => inventory.network_interfaces.facts().err(),
            PREFIX_LISTS => inventory.prefix_lists.facts().err(),
            _ => None,
        }
    }
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

    /// Judges a group that has just the required rules: whatever the other controls would take away is a contradiction.
    pub(crate) fn refuse_contradiction(&self, active: &[ActiveControl]) -> Result<(), Refusal> {
        let mut rules = self.required_rules().to_vec();
        rules.sort();
        let group = SecurityGroup {
            id: String::new(),
            name: String::new(),
            description: String::new(),
            owner: String::new(),
            vpc: String::new(),
            tags: Tags::new(),
            rules,
        };
        let view = GroupView::new(&group, None, None);
        let is_active = |control: &&Control| active.iter().any(|active| active.about.id == control.about.id);
        for control in controls().filter(is_active) {
            for remedy in control.remedy.map(|remedy| remedy(self, &view)).unwrap_or_default() {
                let Remedy::Keep { rule, within, must_narrow, .. } = remedy else {
                    continue;
                };
                let Some(required) = group.rules.get(rule) else {
                    continue;
                };
                if must_narrow || narrow(&required.grant, &[&within]) != Remains::Unchanged {
                    let message = format!(
                        "the required rule {} is forbidden by {} of the same baseline",
                        required.grant, control.about.id
                    );
                    return Err(Refusal::new(Reason::RequiredRuleForbidden, message));
                }
            }
        }
        Ok(())
    }

    /// The first required rule that the account does not let the namespace add.
    pub(crate) fn beyond_grant(&self, cell: &Assignment, namespace: &str) -> Option<Refusal> {
        let rule = self.required_rules().iter().find(|rule| !cell.grant.may_add.allows(rule))?;
        let message = format!(
            "the required rule {} is beyond the mayAddRules that AWSAccount {:?} grants namespace {namespace:?}",
            rule.grant, cell.account
        );
        Some(Refusal::new(Reason::RequiredRuleBeyondGrant, message))
    }
}
