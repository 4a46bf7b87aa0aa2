//! `spec.internet`: what the internet may reach.

mod parameters;

use ipnet::IpNet;

pub use parameters::{BroadCidr, Icmp, Internet, OnOverlap, Preset};
pub(super) use parameters::{Compiled, parse_networks};

use super::{Bound, Compiled as Parameters, Control, GroupView, Remedy};
use crate::address::PublicSize;
use crate::controls::named;
use crate::controls::{About, PREFIX_LISTS, SECURITY_GROUPS, Setting};
use crate::edit::Withheld;
use crate::exposure::{Audience, Knowledge, opens_every_port};
use crate::facts::{Direction, Grant, Peer, Rule};
use crate::finding::{Severity, Verdict};
use crate::traffic::{Traffic, TrafficSet};

macro_rules! port_control {
    ($preset:ident, $id:literal, $title:literal, $severity:ident, $expected:literal) => {
        Control {
            about: About {
                id: $id,
                title: $title,
                severity: Severity::$severity,
                field: "internet.denyPresets",
                default: concat!("[", stringify!($preset), "] is one of the four that are all on"),
                remedy: NARROW,
                since: "0.1.0",
                sources: &[SECURITY_GROUPS, PREFIX_LISTS],
            },
            setting: |spec| Preset::$preset.setting(spec.internet.as_ref()),
            alike: replaced_alike,
            check: |_, view| check_ports(view, Preset::$preset.traffic(), $expected),
            remedy: Some(|parameters, view| close_ports(parameters, view, Preset::$preset.traffic())),
        }
    };
}

const NARROW: &str = "narrows the rule to what may remain (AuthorizeSecurityGroupIngress, then RevokeSecurityGroupIngress; ModifySecurityGroupRules where one rule becomes one), removes it where nothing remains";

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    port_control!(
        Admin,
        "sg-no-open-admin-ports",
        "Remote-admin ports are not reachable from the internet",
        Critical,
        "no admin port from the internet"
    ),
    Control {
        about: About {
            id: "sg-no-world-all-traffic",
            title: "No ingress rule opens every port or protocol to the internet",
            severity: Severity::Critical,
            field: "internet.denyAllTraffic",
            default: "true",
            remedy: "keeps internet.allowPorts and loses the rest, while that control is enforced as well; withheld (NoExactForm) otherwise",
            since: "0.1.0",
            sources: &[SECURITY_GROUPS, PREFIX_LISTS],
        },
        setting: |spec| Setting::switch(spec.internet.as_ref().and_then(|internet| internet.deny_all_traffic)),
        alike: |_, _| true,
        check: check_all_traffic,
        remedy: Some(close_all_traffic),
    },
    port_control!(
        FileSharing,
        "sg-no-open-file-sharing-ports",
        "SMB/CIFS, FTP and NFS ports are not reachable from the internet",
        High,
        "no file-sharing port from the internet"
    ),
    port_control!(
        Database,
        "sg-no-open-database-ports",
        "Database and cache ports are not reachable from the internet",
        High,
        "no database port from the internet"
    ),
    port_control!(
        HighRisk,
        "sg-no-open-high-risk-ports",
        "Other commonly attacked ports are not reachable from the internet",
        High,
        "no commonly attacked port from the internet"
    ),
    Control {
        about: About {
            id: "sg-world-ingress-only-allowed-ports",
            title: "Internet ingress exists only for the approved service ports",
            severity: Severity::High,
            field: "internet.allowPorts",
            default: "[tcp/80, tcp/443]",
            remedy: NARROW,
            since: "0.1.0",
            sources: &[SECURITY_GROUPS, PREFIX_LISTS],
        },
        setting: |spec| Setting::recommended(spec.internet.as_ref().and_then(|internet| internet.allow_ports.as_ref())),
        alike: |one, other| {
            let (mine, theirs) = (&one.internet, &other.internet);
            mine.allowed == theirs.allowed && mine.icmp_kept == theirs.icmp_kept && replaced_alike(one, other)
        },
        check: |parameters, view| {
            let Compiled { not_allowed, allowed_text, .. } = &parameters.internet;
            check_ports(view, not_allowed, allowed_text)
        },
        remedy: Some(close_unapproved_ports),
    },
    Control {
        about: About {
            id: "sg-no-broad-public-cidr",
            title: "Public source or destination ranges are narrow",
            severity: Severity::Medium,
            field: "internet.broadCidr",
            default: "{maxWidthV4: 16, maxWidthV6: 32}",
            remedy: "report only: which narrower range is meant is not known",
            since: "0.1.0",
            sources: &[SECURITY_GROUPS, PREFIX_LISTS],
        },
        setting: |spec| Setting::recommended(spec.internet.as_ref().and_then(|internet| internet.broad_cidr.as_ref())),
        alike: |one, other| {
            let (mine, theirs) = (&one.internet, &other.internet);
            mine.allowed == theirs.allowed && mine.broad_text == theirs.broad_text
        },
        check: check_broad,
        remedy: None,
    },
    Control {
        about: About {
            id: "sg-icmp-limited",
            title: "ICMP from the internet is limited to path-MTU and reachability types",
            severity: Severity::Low,
            field: "internet.icmp",
            default: "Off",
            remedy: NARROW,
            since: "0.1.0",
            sources: &[SECURITY_GROUPS, PREFIX_LISTS],
        },
        setting: |spec| match spec.internet.as_ref().and_then(|internet| internet.icmp.as_ref()) {
            Some(icmp) if icmp.is_on() => Setting::Named,
            _ => Setting::Off,
        },
        alike: |one, other| one.internet.icmp_forbidden == other.internet.icmp_forbidden && replaced_alike(one, other),
        check: |parameters, view| {
            check_ports(view, &parameters.internet.icmp_forbidden, "only the allowed ICMP types from the internet")
        },
        remedy: Some(|parameters, view| close_ports(parameters, view, &parameters.internet.icmp_forbidden)),
    },
];

/// Whether what is closed to the internet stays open to the same networks.
fn replaced_alike(one: &Parameters, other: &Parameters) -> bool {
    one.internet.on_overlap == other.internet.on_overlap && one.internet.replace_with == other.internet.replace_with
}

/// `Fail` beats `Unknown`: a list that cannot be read cannot close a port that is open without it.
fn check_ports(view: &GroupView<'_>, forbidden: &TrafficSet, expected: &str) -> Verdict {
    if view.exposure.world.intersects(forbidden) {
        let open = view.offenders().iter().filter(|(_, part)| part.intersects(forbidden));
        let describe = |(index, part): (&usize, &TrafficSet)| {
            let rule = view.group.rules.get(*index)?;
            let peer = source(view, &rule.grant.peer);
            Some(match rule.grant.traffic {
                Traffic::All => format!("all traffic from {peer}"),
                _ => format!("{} from {peer}", part.intersection(forbidden)),
            })
        };
        Verdict::fail(expected, named(open.filter_map(describe)))
    } else if view.exposure.unknown.intersects(forbidden) {
        Verdict::unknown("a prefix list that could not be read decides whether these ports are open to the internet")
    } else {
        Verdict::Pass
    }
}

/// A peer as a person knows it: a prefix list with what makes it wide.
fn source(view: &GroupView<'_>, peer: &Peer) -> String {
    match Audience::of(peer, view.lists) {
        Audience::Networks(nets) => {
            let widest = nets.iter().max_by_key(|net| PublicSize::of(**net)).map(ToString::to_string);
            format!("{peer} (holds {})", widest.unwrap_or_default())
        }
        _ => peer.to_string(),
    }
}

fn close_ports(parameters: &Parameters, view: &GroupView<'_>, forbidden: &TrafficSet) -> Vec<Remedy> {
    narrow(parameters, view, forbidden, |lost, _| TrafficSet::universe().difference(lost))
}

fn close_unapproved_ports(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    let Compiled { not_allowed, icmp_kept: [icmp_v4, icmp_v6], .. } = &parameters.internet;
    let icmp = |peer: &Peer| match peer {
        Peer::V4(_) => icmp_v4.clone(),
        Peer::V6(_) => icmp_v6.clone(),
        Peer::PrefixList(_) | Peer::Group { .. } => icmp_v4.union(icmp_v6),
    };
    narrow(parameters, view, not_allowed, |lost, grant| {
        match grant.traffic {
            // A rule for everything keeps what is approved; other ICMP goes with the rest of it.
            Traffic::All => TrafficSet::universe_without_icmp().difference(lost).union(&icmp(&grant.peer)),
            _ => TrafficSet::universe().difference(lost),
        }
    })
}

/// One demand for each rule that takes part in opening forbidden traffic to the world.
fn narrow(
    parameters: &Parameters,
    view: &GroupView<'_>,
    forbidden: &TrafficSet,
    keep: impl Fn(&TrafficSet, &Grant) -> TrafficSet,
) -> Vec<Remedy> {
    let Compiled { on_overlap, replace_with, .. } = &parameters.internet;
    let demand = |(index, part): (&usize, &TrafficSet)| {
        let lost = part.intersection(forbidden);
        let rule = view.group.rules.get(*index).filter(|_| !lost.is_empty())?;
        let mut within = vec![Bound::anybody(keep(&lost, &rule.grant))];
        if *on_overlap == OnOverlap::Replace {
            within.extend(replace_with.iter().cloned().map(Bound::all_with));
        }
        let remedy = Remedy::keep(*index, within);
        let overlaps = keep(&lost, &rule.grant).meets(rule.grant.traffic);
        Some(if *on_overlap == OnOverlap::Report && overlaps { remedy.held_by(Withheld::ReportOnly) } else { remedy })
    };
    view.offenders().iter().filter_map(demand).collect()
}

fn check_all_traffic(_: &Parameters, view: &GroupView<'_>) -> Verdict {
    match view.exposure.all_traffic {
        Knowledge::No => Verdict::Pass,
        Knowledge::Unknown => Verdict::unknown("a prefix list that could not be read has every port open"),
        Knowledge::Yes => {
            let whole = whole_rules(view)
                .map(|(_, rule)| format!("{} from {}", rule.grant.traffic, source(view, &rule.grant.peer)));
            Verdict::fail("no rule that opens every port to the internet", named(whole))
        }
    }
}

fn close_all_traffic(_: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    if view.exposure.all_traffic != Knowledge::Yes {
        return Vec::new();
    }
    let demand = |(rule, _)| Remedy::Keep {
        rule,
        within: vec![Bound::anybody(TrafficSet::universe())],
        must_narrow: true,
        held: None,
    };
    whole_rules(view).map(demand).collect()
}

/// The rules that each open every port of a protocol and take part in opening it to the world.
fn whole_rules<'v>(view: &'v GroupView<'_>) -> impl Iterator<Item = (usize, &'v Rule)> {
    let every_port =
        |(index, rule): &(usize, &Rule)| opens_every_port(rule.grant.traffic) && view.offenders().contains_key(index);
    view.rules(Direction::Ingress).filter(every_port)
}

fn check_broad(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let Compiled { broad, broad_text, allowed, .. } = &parameters.internet;
    let too_broad = |size: PublicSize| size.v4 > broad.v4 || size.v6 > broad.v6;
    let judged = |traffic: Traffic| !allowed.covers(traffic);
    if too_broad(view.widest_source) {
        let sources = view
            .public_sources
            .iter()
            .filter(|(_, size)| too_broad(*size))
            .filter_map(|(index, _)| view.group.rules.get(*index))
            .filter(|rule| judged(rule.grant.traffic))
            .flat_map(|rule| {
                let broad_nets: Vec<IpNet> = Audience::of(&rule.grant.peer, view.lists)
                    .nets()
                    .iter()
                    .copied()
                    .filter(|net| too_broad(PublicSize::of(*net)))
                    .collect();
                broad_nets.into_iter().map(|net| format!("{} from {net}", rule.grant.traffic))
            });
        let found = named(sources);
        if !found.is_empty() {
            return Verdict::fail(broad_text.clone(), found);
        }
    }
    let unreadable = |(_, rule): (usize, &Rule)| {
        Audience::of(&rule.grant.peer, view.lists) == Audience::Unknown && judged(rule.grant.traffic)
    };
    if view.prefix_lists && view.rules(Direction::Ingress).any(unreadable) {
        return Verdict::unknown("a prefix list that a rule refers to could not be read");
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests {
    use super::super::SecurityGroupParameters;
    use super::super::vectors::{group, remedies, verdict, verdict_with};
    use super::*;

    #[test]
    fn a_world_rule_for_everything_keeps_the_allowed_ports() {
        let group = group(&["all from 0.0.0.0/0"]);
        let keep = remedies("sg-world-ingress-only-allowed-ports", &group);
        let allowed: TrafficSet = ["tcp/80", "tcp/443"].iter().map(|port| port.parse::<Traffic>().unwrap()).collect();
        assert_eq!(keep, [Remedy::keep(0, vec![Bound::anybody(allowed)])]);
    }

    #[test]
    fn an_empty_list_of_ports_allows_nothing_and_says_so() {
        let internet = Internet { allow_ports: Some(Vec::new()), ..Internet::default() };
        let spec = SecurityGroupParameters { internet: Some(internet), ..Default::default() };
        assert_eq!(
            verdict_with(&spec, "sg-world-ingress-only-allowed-ports", &group(&["tcp/443 from 0.0.0.0/0"])),
            Verdict::fail("nothing from the internet", "tcp/443 from 0.0.0.0/0")
        );
    }

    #[test]
    fn findings_name_the_port_and_the_source() {
        let group = group(&["tcp/20-80 from 0.0.0.0/0", "tcp/22 from 10.0.0.0/8"]);
        assert_eq!(
            verdict("sg-no-open-admin-ports", &group),
            Verdict::fail("no admin port from the internet", "tcp/22-23 from 0.0.0.0/0")
        );
    }

    #[test]
    fn a_broad_source_on_an_allowed_port_is_not_judged() {
        assert_eq!(verdict("sg-no-broad-public-cidr", &group(&["tcp/443 from 8.0.0.0/8"])), Verdict::Pass);
        assert_eq!(
            verdict("sg-no-broad-public-cidr", &group(&["tcp/8443 from 10.0.0.0/7"])),
            Verdict::fail("no public source wider than an IPv4 /16 or an IPv6 /32", "tcp/8443 from 10.0.0.0/7")
        );
    }
}
