//! `spec.egress`: the only destinations to which traffic may go out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::named;
use super::{Bound, Compiled as Parameters, Control, GroupView, Remedy, RuleDeclaration};
use crate::controls::{About, InvalidParameter, SECURITY_GROUPS, Setting};
use crate::facts::{Direction, Rule};
use crate::finding::{Severity, Verdict};
use crate::traffic::TrafficSet;

/// The only destinations to which traffic may go out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Traffic that may go out, for example {traffic: tcp/443, peer: 0.0.0.0/0}. A rule that lets out more keeps
    /// this part and loses the rest.
    #[schemars(length(min = 1, max = 50))]
    pub allow: Vec<RuleDeclaration>,
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    allow: Vec<Rule>,
}

impl Compiled {
    pub(super) fn new(egress: Option<&Egress>) -> Result<Self, InvalidParameter> {
        let Egress { allow } = egress.cloned().unwrap_or_default();
        let parse = |rule: &RuleDeclaration| rule.parse("egress.allow", Direction::Egress);
        Ok(Self {
            allow: allow.iter().map(parse).collect::<Result<_, _>>()?,
        })
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[Control {
    about: About {
        id: "sg-no-unrestricted-egress",
        title: "Egress is limited to declared destinations",
        severity: Severity::Low,
        field: "egress",
        default: "Off",
        remedy: "narrows the rule to the allowed part (AuthorizeSecurityGroupEgress, then RevokeSecurityGroupEgress), removes it where nothing remains",
        since: "0.1.0",
        sources: &[SECURITY_GROUPS],
    },
    setting: |spec| Setting::optional(spec.egress.as_ref()),
    check,
    remedy: Some(remedy),
}];

/// Egress rules that let out more than some allowed entry.
fn excessive<'v>(
    parameters: &'v Parameters,
    view: &'v GroupView<'_>,
) -> impl Iterator<Item = (usize, &'v Rule)> {
    let allowed = |rule: &Rule| {
        parameters.egress.allow.iter().any(|entry| {
            let peer = entry.grant.peer.clone().in_account(&view.group.owner);
            entry.grant.traffic.covers(rule.grant.traffic) && peer.contains(&rule.grant.peer)
        })
    };
    view.rules(Direction::Egress)
        .filter(move |(_, rule)| !allowed(rule))
}

fn check(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let found = named(excessive(parameters, view).map(|(_, rule)| rule.grant.to_string()));
    if found.is_empty() {
        Verdict::Pass
    } else {
        Verdict::fail("egress to the declared destinations only", found)
    }
}

fn remedy(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    let bound = |entry: &Rule| Bound {
        traffic: TrafficSet::from(entry.grant.traffic),
        peer: Some(entry.grant.peer.clone().in_account(&view.group.owner)),
    };
    let within: Vec<Bound> = parameters.egress.allow.iter().map(bound).collect();
    excessive(parameters, view)
        .map(|(index, _)| Remedy::keep(index, within.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::SecurityGroupParameters;
    use super::super::vectors::{group, verdict_with};
    use super::*;

    #[test]
    fn egress_is_judged_by_coverage() {
        let allow = RuleDeclaration {
            traffic: "tcp/443".into(),
            peer: "0.0.0.0/0".into(),
            description: None,
        };
        let spec = SecurityGroupParameters {
            egress: Some(Egress { allow: vec![allow] }),
            ..Default::default()
        };
        let verdict =
            |rules: &[&str]| verdict_with(&spec, "sg-no-unrestricted-egress", &group(rules));
        assert_eq!(
            verdict(&["tcp/443 to 10.0.0.0/8", "tcp/22 from 10.0.0.0/8"]),
            Verdict::Pass
        );
        let expected = "egress to the declared destinations only";
        assert_eq!(
            verdict(&["all to 0.0.0.0/0"]),
            Verdict::fail(expected, "all traffic to 0.0.0.0/0")
        );
        assert_eq!(
            verdict(&["tcp/443 to ::/0"]),
            Verdict::fail(expected, "tcp/443 to ::/0")
        );
    }
}
