//! `spec.required`: rules that every selected group must have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compiled as Parameters, Control, GroupView, Remedy};
use crate::controls::named;
use crate::controls::{About, InvalidParameter, SECURITY_GROUPS, Setting};
use crate::facts::{Direction, Grant, Peer, Rule, SecurityGroup};
use crate::finding::{Severity, Verdict};
use crate::schema;
use crate::traffic::Traffic;

/// Rules that every selected group must have. The default group of a VPC is left out: it is to be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Required {
    /// Rules that must let traffic in. A wider rule that is there does as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["traffic", "peer"])
    )]
    pub ingress: Vec<RuleDeclaration>,
    /// Rules that must let traffic out. A wider rule that is there does as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["traffic", "peer"])
    )]
    pub egress: Vec<RuleDeclaration>,
}

/// One rule as a person writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(isCIDR(self.peer) && self.peer.matches('/(0|[1-9][0-9]*)$')) || self.peer.matches('^pl-[0-9a-f]+$') || self.peer.matches('^([0-9]{12}/)?sg-[0-9a-f]+$')",
        "message": "peer is a CIDR such as 10.0.0.0/8, a prefix list pl-…, or a security group sg-… (of another account: 111122223333/sg-…)"
    }
]))]
pub struct RuleDeclaration {
    /// Protocol and ports: tcp/443, udp/6000-6010, tcp, icmp, icmp/3/4, a protocol number such as 50, or all.
    #[schemars(transform = schema::traffic)]
    pub traffic: String,
    /// Where the traffic comes from or goes to: a CIDR such as 10.0.0.0/8, a prefix list (pl-…) or a security group (sg-…; of
    /// another account: 111122223333/sg-…).
    #[schemars(length(max = 43))]
    pub peer: String,
    /// Description that the rule gets if Baseward adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-zA-Z0-9. _:/()#,@\[\]+=&;{}!$*-]*$"))]
    pub description: Option<String>,
}

impl RuleDeclaration {
    /// The declaration as a rule.
    pub(super) fn parse(&self, field: &str, direction: Direction) -> Result<Rule, InvalidParameter> {
        let traffic = self.traffic.parse::<Traffic>().map_err(|problem| InvalidParameter::new(field, problem))?;
        let peer = self.peer.parse::<Peer>().map_err(|problem| InvalidParameter::new(field, problem))?;
        Ok(Rule { grant: Grant { direction, traffic, peer }, description: self.description.clone() })
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    rules: Vec<Rule>,
}

impl Compiled {
    pub(super) fn new(required: Option<&Required>) -> Result<Self, InvalidParameter> {
        let Required { ingress, egress } = required.cloned().unwrap_or_default();
        let ingress = ingress.iter().map(|rule| rule.parse("required.ingress", Direction::Ingress));
        let egress = egress.iter().map(|rule| rule.parse("required.egress", Direction::Egress));
        Ok(Self { rules: ingress.chain(egress).collect::<Result<_, _>>()? })
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules that no single rule of a group covers.
    fn missing<'p>(&'p self, group: &'p SecurityGroup) -> impl Iterator<Item = &'p Rule> + 'p {
        self.rules.iter().filter(|Rule { grant, .. }| {
            let peer = grant.peer.resolved(&group.owner);
            !group.rules.iter().any(|rule| {
                rule.grant.direction == grant.direction
                    && rule.grant.traffic.covers(grant.traffic)
                    && rule.grant.peer.contains(&peer)
            })
        })
    }

    /// The rules that a group must have, peers resolved to its account.
    fn for_group<'p>(&'p self, group: &'p SecurityGroup) -> impl Iterator<Item = Rule> + 'p {
        self.rules.iter().cloned().map(|mut rule| {
            rule.grant.peer = rule.grant.peer.in_account(&group.owner);
            rule
        })
    }
}

/// Id of the control whose remedy adds access: only as far as the account grants.
pub const REQUIRED_RULES_PRESENT: &str = "sg-required-rules-present";

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[Control {
    about: About {
        id: REQUIRED_RULES_PRESENT,
        title: "Declared allow rules exist on the selected groups",
        severity: Severity::Low,
        field: "required",
        default: "Off",
        remedy: "adds the missing rule (AuthorizeSecurityGroupIngress or …Egress), as far as the AWSAccount lets the namespace add rules",
        since: "0.1.0",
        sources: &[SECURITY_GROUPS],
    },
    setting: |spec| {
        let empty = |required: &&Required| required.ingress.is_empty() && required.egress.is_empty();
        Setting::optional(spec.required.as_ref().filter(|required| !empty(required)))
    },
    alike: |one, other| one.required == other.required,
    check,
    remedy: Some(remedy),
}];

fn check(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    if view.group.is_default() {
        return Verdict::not_applicable("the default group of a VPC is to be empty");
    }
    let missing = parameters.required.missing(view.group);
    let missing = named(missing.map(|rule| &rule.grant));
    if missing.is_empty() {
        Verdict::Pass
    } else {
        Verdict::fail("every declared rule", format!("no rule for {missing}"))
    }
}

/// Every declared rule, present or not: a plan that narrows the rule which covers it must add it.
fn remedy(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    if view.group.is_default() {
        return Vec::new();
    }
    parameters.required.for_group(view.group).map(Remedy::Require).collect()
}

#[cfg(test)]
mod tests {
    use super::super::SecurityGroupParameters;
    use super::super::vectors::{group, verdict_with};
    use super::*;

    fn spec(traffic: &str, peer: &str) -> SecurityGroupParameters {
        let rule = RuleDeclaration { traffic: traffic.to_owned(), peer: peer.to_owned(), description: None };
        let required = Some(Required { ingress: vec![rule], egress: Vec::new() });
        SecurityGroupParameters { required, ..Default::default() }
    }

    #[test]
    fn a_wider_rule_covers_a_required_one_and_another_source_does_not() {
        let spec = spec("tcp/443", "10.0.0.0/8");
        let verdict = |rules: &[&str]| verdict_with(&spec, "sg-required-rules-present", &group(rules));
        assert_eq!(verdict(&["tcp/400-500 from 10.0.0.0/8"]), Verdict::Pass);
        assert_eq!(verdict(&["all from 0.0.0.0/0"]), Verdict::Pass);
        let missing = Verdict::fail("every declared rule", "no rule for tcp/443 from 10.0.0.0/8");
        assert_eq!(verdict(&["tcp/443 from 10.0.0.0/9"]), missing);
    }

    #[test]
    fn a_required_group_is_one_of_the_same_account() {
        let spec = spec("tcp/443", "sg-1");
        assert_eq!(verdict_with(&spec, "sg-required-rules-present", &group(&["tcp/443 from sg-1"])), Verdict::Pass);
    }
}
