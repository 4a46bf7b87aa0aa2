//! `spec.egress`: the only destinations to which traffic may go out.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::named;
use super::{Bound, Compiled as Parameters, Control, GroupView, Remedy, RuleDeclaration};
use crate::controls::{About, InvalidParameter, PREFIX_LISTS, SECURITY_GROUPS, Setting};
use crate::exposure::Audience;
use crate::facts::{Direction, Grant, Peer, Rule};
use crate::finding::{Severity, Verdict};
use crate::plan::narrow::{Remains, narrow};
use crate::traffic::TrafficSet;

/// The only destinations to which traffic may go out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Traffic that may go out, for example {traffic: tcp/443, peer: 0.0.0.0/0}. A rule that lets out more keeps
    /// this part and loses the rest. An entry is no rule: what no rule lets out stays closed (see required.egress).
    #[schemars(
        length(min = 1, max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["traffic", "peer"])
    )]
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
        Ok(Self { allow: allow.iter().map(parse).collect::<Result<_, _>>()? })
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
        sources: &[SECURITY_GROUPS, PREFIX_LISTS],
    },
    setting: |spec| Setting::optional(spec.egress.as_ref()),
    alike: |one, other| one.egress == other.egress,
    check,
    remedy: Some(remedy),
}];

/// What the entries say about one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Allowed,
    Excessive,
    /// A list that could not be read decides.
    Undecided,
}

impl Compiled {
    fn judge(&self, view: &GroupView<'_>, grant: &Grant) -> Judgement {
        let allows = |Rule { grant: entry, .. }: &Rule| {
            entry.traffic.covers(grant.traffic) && reaches(&entry.peer, &grant.peer, view)
        };
        if self.allow.iter().any(allows) {
            return Judgement::Allowed;
        }
        let may_reach = |Rule { grant: entry, .. }: &Rule| {
            entry.peer.as_network().is_some() && TrafficSet::from(entry.traffic).meets(grant.traffic)
        };
        if Audience::of(&grant.peer, view.lists) == Audience::Unknown && self.allow.iter().any(may_reach) {
            return Judgement::Undecided;
        }
        match narrow(grant, &[&self.bounds(view, &grant.peer)]) {
            Remains::Unchanged => Judgement::Allowed,
            Remains::Grants(_) | Remains::NoExactForm => Judgement::Excessive,
        }
    }

    /// What the entries leave of a rule to one peer.
    fn bounds(&self, view: &GroupView<'_>, peer: &Peer) -> Vec<Bound> {
        let bound = |Rule { grant: entry, .. }: &Rule| Bound {
            traffic: TrafficSet::from(entry.traffic),
            peer: (!reaches(&entry.peer, peer, view)).then(|| entry.peer.resolved(&view.group.owner).into_owned()),
        };
        self.allow.iter().map(bound).collect()
    }
}

/// Whether everybody behind a rule's peer is behind an entry's. Who is in a group or a prefix list has an address, so
/// that `0.0.0.0/0` and `::/0` hold them all, and other networks the lists whose entries all lie inside.
fn reaches(entry: &Peer, peer: &Peer, view: &GroupView<'_>) -> bool {
    let inside = |net: IpNet| match Audience::of(peer, view.lists) {
        Audience::Network(_) => false,
        Audience::Networks(nets) => net.prefix_len() == 0 || nets.iter().all(|other| net.contains(other)),
        Audience::Trusted | Audience::Unknown => net.prefix_len() == 0,
    };
    entry.resolved(&view.group.owner).contains(peer) || entry.as_network().is_some_and(inside)
}

fn excessive<'v>(
    parameters: &'v Parameters,
    view: &'v GroupView<'_>,
    undecided: &'v mut bool,
) -> impl Iterator<Item = (usize, &'v Rule)> {
    view.rules(Direction::Egress).filter(move |(_, rule)| {
        let judgement = parameters.egress.judge(view, &rule.grant);
        *undecided |= judgement == Judgement::Undecided;
        judgement == Judgement::Excessive
    })
}

fn check(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let mut undecided = false;
    let found = named(excessive(parameters, view, &mut undecided).map(|(_, rule)| rule.grant.to_string()));
    if !found.is_empty() {
        Verdict::fail("egress to the declared destinations only", found)
    } else if undecided {
        Verdict::unknown("a prefix list that a rule refers to could not be read")
    } else {
        Verdict::Pass
    }
}

fn remedy(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    excessive(parameters, view, &mut false)
        .map(|(index, rule)| Remedy::keep(index, parameters.egress.bounds(view, &rule.grant.peer)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::SecurityGroupParameters;
    use super::super::vectors::{group, verdict_with};
    use super::*;

    #[test]
    fn egress_is_judged_by_coverage() {
        let allow = RuleDeclaration { traffic: "tcp/443".into(), peer: "0.0.0.0/0".into(), description: None };
        let spec = SecurityGroupParameters { egress: Some(Egress { allow: vec![allow] }), ..Default::default() };
        let verdict = |rules: &[&str]| verdict_with(&spec, "sg-no-unrestricted-egress", &group(rules));
        assert_eq!(verdict(&["tcp/443 to 10.0.0.0/8", "tcp/22 from 10.0.0.0/8"]), Verdict::Pass);
        let expected = "egress to the declared destinations only";
        assert_eq!(verdict(&["all to 0.0.0.0/0"]), Verdict::fail(expected, "all traffic to 0.0.0.0/0"));
        assert_eq!(verdict(&["tcp/443 to ::/0"]), Verdict::fail(expected, "tcp/443 to ::/0"));
    }
}
