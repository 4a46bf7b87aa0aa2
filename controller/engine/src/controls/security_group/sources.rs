//! `spec.sources`: the only sources from which traffic may come in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::internet::parse_networks;
use super::{Bound, Compiled as Parameters, Control, GroupView, Remedy};
use crate::address::AddressSet;
use crate::controls::named;
use crate::controls::{About, InvalidParameter, PREFIX_LISTS, SECURITY_GROUPS, Setting};
use crate::edit::Withheld;
use crate::exposure::Audience;
use crate::facts::{Direction, Peer, Rule};
use crate::finding::{Severity, Verdict};
use crate::schema;
use crate::traffic::{Traffic, TrafficSet};

/// The only sources from which traffic may come in. The group itself is always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.cidrs) || self.cidrs.all(c, isCIDR(c) && c.matches('/(0|[1-9][0-9]*)$'))",
        "message": "sources.cidrs holds valid CIDRs, for example 10.0.0.0/8"
    },
    {
        "rule": "(has(self.cidrs) && self.cidrs.size() > 0) || (has(self.prefixLists) && self.prefixLists.size() > 0) || (has(self.securityGroups) && self.securityGroups.size() > 0)",
        "message": "sources names at least one of cidrs, prefixLists, securityGroups; leave sources out to allow any"
    }
]))]
pub struct Sources {
    /// Networks that may send, such as 10.0.0.0/8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 43)))]
    pub cidrs: Option<Vec<String>>,
    /// Prefix lists (pl-…) that rules may name as their source. A list of your own whose entries all lie inside cidrs is
    /// allowed as well; one of AWS has to be named here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(max = 30), regex(pattern = "^pl-[0-9a-f]+$")))]
    pub prefix_lists: Option<Vec<String>>,
    /// Security groups (sg-…) that rules may name as their source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 30), regex(pattern = "^sg-[0-9a-f]+$")))]
    pub security_groups: Option<Vec<String>>,
    /// Traffic that is judged, such as tcp/22, tcp/8000-9000, udp or icmp: what else a rule lets in is not looked at. Left
    /// out: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50), transform = schema::traffic)]
    pub ports: Option<Vec<String>>,
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    networks: Vec<Peer>,
    addresses: AddressSet,
    prefix_lists: Vec<String>,
    groups: Vec<String>,
    judged: TrafficSet,
}

impl Compiled {
    pub(super) fn new(sources: Option<&Sources>) -> Result<Self, InvalidParameter> {
        let Sources { cidrs, prefix_lists, security_groups, ports } = sources.cloned().unwrap_or_default();
        let networks = parse_networks("sources.cidrs", &cidrs.unwrap_or_default())?;
        let judged = match ports {
            None => TrafficSet::universe(),
            Some(ports) => ports
                .iter()
                .map(|text| text.parse::<Traffic>())
                .collect::<Result<_, _>>()
                .map_err(|problem| InvalidParameter::new("sources.ports", problem))?,
        };
        Ok(Self {
            addresses: networks.iter().filter_map(Peer::as_network).collect(),
            networks,
            prefix_lists: prefix_lists.unwrap_or_default(),
            groups: security_groups.unwrap_or_default(),
            judged,
        })
    }

    /// Whether a source may send; `None` where an unreadable list decides.
    fn allows(&self, view: &GroupView<'_>, peer: &Peer) -> Option<bool> {
        match peer {
            Peer::Group { id, .. } => Some(*id == view.group.id || self.groups.contains(id)),
            Peer::PrefixList(id) if self.prefix_lists.contains(id) => Some(true),
            _ => match Audience::of(peer, view.lists) {
                Audience::Network(net) => Some(self.addresses.covers(net)),
                Audience::Networks(nets) => Some(nets.iter().all(|net| self.addresses.covers(*net))),
                Audience::Trusted => Some(self.is_everybody()),
                Audience::Unknown => {
                    if self.is_everybody() {
                        Some(true)
                    } else {
                        None
                    }
                }
            },
        }
    }

    /// Whether every address may send, so that nobody has to know who is in a list.
    fn is_everybody(&self) -> bool {
        let worlds = self.networks.iter().filter_map(Peer::as_network).filter(|net| net.prefix_len() == 0);
        worlds.count() > 1
    }

    /// Whether some of a list may send: no rule for the list itself says so.
    fn allows_some(&self, view: &GroupView<'_>, peer: &Peer) -> bool {
        let Audience::Networks(nets) = Audience::of(peer, view.lists) else {
            return false;
        };
        let mut networks = self.networks.iter().filter_map(Peer::as_network);
        networks.any(|mine| nets.iter().any(|net| mine.contains(net) || net.contains(&mine)))
    }

    fn judges(&self, rule: &Rule) -> bool {
        self.judged.meets(rule.grant.traffic)
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[Control {
    about: About {
        id: "sg-ingress-from-allowed-sources",
        title: "Ingress sources are inside the declared allow-list",
        severity: Severity::Medium,
        field: "sources",
        default: "Off",
        remedy: "narrows the rule to the allowed sources, removes it where none remains",
        since: "0.1.0",
        sources: &[SECURITY_GROUPS, PREFIX_LISTS],
    },
    setting: |spec| Setting::optional(spec.sources.as_ref()),
    alike: |one, other| one.sources == other.sources,
    check,
    remedy: Some(remedy),
}];

fn outside<'v>(parameters: &'v Parameters, view: &'v GroupView<'_>) -> impl Iterator<Item = (usize, &'v Rule)> {
    let sources = &parameters.sources;
    view.rules(Direction::Ingress)
        .filter(|(_, rule)| sources.judges(rule) && sources.allows(view, &rule.grant.peer) == Some(false))
}

fn check(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let found = named(outside(parameters, view).map(|(_, rule)| &rule.grant));
    if !found.is_empty() {
        return Verdict::fail("ingress from the declared sources only", found);
    }
    let sources = &parameters.sources;
    let undecided =
        |(_, rule): (usize, &Rule)| sources.judges(rule) && sources.allows(view, &rule.grant.peer).is_none();
    if view.prefix_lists && view.rules(Direction::Ingress).any(undecided) {
        return Verdict::unknown("a prefix list that a rule refers to could not be read");
    }
    Verdict::Pass
}

fn remedy(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    let sources = &parameters.sources;
    let Compiled { networks, judged, .. } = sources;
    let keep = |(index, rule): (usize, &Rule)| {
        let mut within = vec![Bound::anybody(TrafficSet::universe().difference(judged))];
        if rule.grant.peer.as_network().is_some() {
            within.extend(networks.iter().cloned().map(Bound::all_with));
        }
        let remedy = Remedy::keep(index, within);
        let partly = sources.allows_some(view, &rule.grant.peer);
        if partly { remedy.held_by(Withheld::NoExactForm) } else { remedy }
    };
    outside(parameters, view).map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::super::SecurityGroupParameters;
    use super::super::vectors::{group, list, remedies_with, verdict_with};
    use super::*;

    fn spec(cidrs: &[&str]) -> SecurityGroupParameters {
        let cidrs = Some(cidrs.iter().map(|cidr| (*cidr).to_owned()).collect());
        SecurityGroupParameters { sources: Some(Sources { cidrs, ..Sources::default() }), ..Default::default() }
    }

    #[test]
    fn a_source_in_two_declared_halves_is_inside() {
        let spec = spec(&["10.0.0.0/9", "10.128.0.0/9"]);
        assert_eq!(
            verdict_with(&spec, "sg-ingress-from-allowed-sources", &group(&["tcp/22 from 10.0.0.0/8"])),
            Verdict::Pass
        );
    }

    #[test]
    fn a_wider_source_keeps_the_declared_part() {
        let (spec, group) = (spec(&["10.1.0.0/16"]), group(&["tcp/22 from 10.0.0.0/8", "tcp/22 from sg-0"]));
        assert!(matches!(verdict_with(&spec, "sg-ingress-from-allowed-sources", &group), Verdict::Fail { .. }));
        let within = vec![Bound::anybody(TrafficSet::empty()), Bound::all_with("10.1.0.0/16".parse().unwrap())];
        assert_eq!(remedies_with(&spec, "sg-ingress-from-allowed-sources", &group), [Remedy::keep(0, within)]);
    }

    #[test]
    fn a_list_is_allowed_by_its_name_or_by_all_its_networks() {
        let judged = |sources: Sources, nets: &[&str]| {
            let group = group(&["tcp/22 from pl-1"]);
            let lists = if nets.is_empty() { Default::default() } else { list("pl-1", nets) };
            let spec = SecurityGroupParameters { sources: Some(sources), ..Default::default() };
            let parameters = Parameters::new(&spec).unwrap();
            let view = GroupView::new(&group, None, Some(&lists));
            (check(&parameters, &view).word(), remedy(&parameters, &view))
        };
        let named = Sources { prefix_lists: Some(vec!["pl-1".to_owned()]), ..Sources::default() };
        let cidrs = || spec(&["10.0.0.0/8"]).sources.unwrap();
        let nothing = Remedy::keep(0, vec![Bound::anybody(TrafficSet::empty())]);
        assert_eq!(judged(named, &["8.8.8.8/32"]), ("Pass", Vec::new()));
        assert_eq!(judged(cidrs(), &["10.1.0.0/16", "10.2.0.0/16"]), ("Pass", Vec::new()));
        assert_eq!(judged(cidrs(), &["8.8.8.8/32"]), ("Fail", vec![nothing.clone()]));
        let partly = nothing.held_by(Withheld::NoExactForm);
        assert_eq!(judged(cidrs(), &["10.1.0.0/16", "8.8.8.8/32"]), ("Fail", vec![partly]));
        assert_eq!(judged(cidrs(), &[]), ("Unknown", Vec::new()));
    }
}
