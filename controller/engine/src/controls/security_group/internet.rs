//! `spec.internet`: what the internet may reach.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::named;
use super::{Bound, Compiled as Parameters, Control, GroupView, Remedy};
use crate::address::PublicSize;
use crate::controls::{About, InvalidParameter, PREFIX_LISTS, SECURITY_GROUPS, Setting};
use crate::edit::Withheld;
use crate::exposure::{Audience, Knowledge, opens_every_port};
use crate::facts::{Direction, Peer};
use crate::finding::{Severity, Verdict};
use crate::traffic::{Traffic, TrafficSet};

/// What the internet may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.onOverlap) || self.onOverlap != 'Replace' || (has(self.replaceWith) && self.replaceWith.size() > 0)",
        "message": "onOverlap: Replace needs replaceWith, the networks that stand in for the internet"
    },
    {
        "rule": "!has(self.replaceWith) || self.replaceWith.all(c, isCIDR(c) && cidr(c).prefixLength() > 0)",
        "message": "replaceWith holds valid CIDRs other than /0, for example 203.0.113.0/24"
    },
    {
        "rule": "!has(self.allowPorts) || self.allowPorts.all(p, p.matches('^(tcp|udp)/[0-9]{1,5}(-[0-9]{1,5})?$') && p.split('/')[1].split('-').all(n, int(n) <= 65535))",
        "message": "ports look like tcp/443 or udp/6000-6010, from 0 to 65535"
    },
    {
        "rule": "!has(self.allowPorts) || self.allowPorts.all(p, !p.matches('^(tcp|udp)/[0-9]{1,5}-[0-9]{1,5}$') || int(p.split('/')[1].split('-')[0]) <= int(p.split('-')[1]))",
        "message": "a port range starts with its smaller port"
    },
    {
        "rule": "!has(self.allowPorts) || self.allowPorts.all(p, !p.matches('^(tcp|udp)/[0-9]{1,5}(-[0-9]{1,5})?$') || ![22, 23, 3389, 5985, 5986].exists(a, int(p.split('/')[1].split('-')[0]) <= a && a <= int(p.split('/')[1].split('-')[p.split('/')[1].split('-').size() - 1])))",
        "message": "remote-admin ports (22, 23, 3389, 5985, 5986) cannot be allowed from the internet, also not inside a range"
    }
]))]
pub struct Internet {
    /// Ports that may be open to the whole internet, such as tcp/443 or udp/6000-6010. A rule that opens more
    /// to the world keeps these and loses the rest. Remote-admin ports are refused here. Recommended: tcp/80 and tcp/443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 50),
        inner(
            length(max = 15),
            regex(pattern = r"^(tcp|udp)/[0-9]{1,5}(-[0-9]{1,5})?$")
        )
    )]
    pub allow_ports: Option<Vec<String>>,
    /// Whether rules that open every port or protocol to the world are forbidden. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_all_traffic: Option<bool>,
    /// Groups of ports that must not be open to the world; each is a control with a severity of its own.
    /// A preset that a written list leaves out is off. Recommended: all four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub deny_presets: Option<Vec<Preset>>,
    /// What Enforce does with a rule that opens forbidden and allowed ports at once: Split keeps the allowed
    /// part, Replace also lets the networks of replaceWith keep all of it, Report leaves the rule alone. Recommended: Split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_overlap: Option<OnOverlap>,
    /// Networks that keep access when the internet loses it, with onOverlap: Replace. Only as far as the
    /// rule let them in before: nothing is ever opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), inner(length(max = 43)))]
    pub replace_with: Option<Vec<String>>,
    /// How wide a single public source may be. Reported only: which narrower range is meant is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broad_cidr: Option<BroadCidr>,
    /// Which ICMP messages the internet may send. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
}

/// A group of ports that must not be open to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// Remote administration: SSH, Telnet, RDP, WinRM.
    Admin,
    /// SMB, FTP, NFS.
    FileSharing,
    /// Databases and caches.
    Database,
    /// Other ports that are commonly attacked: mail, development servers, container and cluster APIs.
    HighRisk,
}

/// What Enforce does with a rule that opens forbidden and allowed ports at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnOverlap {
    /// The allowed part stays, the rest goes.
    #[default]
    Split,
    /// As `Split`, and the networks of `replaceWith` keep all of it.
    Replace,
    /// The rule is reported and left alone.
    Report,
}

/// The widest prefix that a single public source may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BroadCidr {
    /// Shortest IPv4 prefix length. Recommended: 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 32))]
    pub max_width_v4: Option<i32>,
    /// Shortest IPv6 prefix length. Recommended: 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 128))]
    pub max_width_v6: Option<i32>,
}

/// Which ICMP messages the internet may send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Icmp {
    /// Whether ICMP is judged. Recommended: true once icmp is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Allowed ICMP types for IPv4, with or without a code, such as 11 or 3/4. Recommended: 3/4 and 11 (path MTU, time exceeded).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 50),
        inner(length(max = 7), regex(pattern = r"^[0-9]{1,3}(/[0-9]{1,3})?$"))
    )]
    pub allowed_v4: Option<Vec<String>>,
    /// Allowed ICMP types for IPv6. Recommended: 1, 2, 3, 4 and 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 50),
        inner(length(max = 7), regex(pattern = r"^[0-9]{1,3}(/[0-9]{1,3})?$"))
    )]
    pub allowed_v6: Option<Vec<String>>,
}

const ALLOW_PORTS: [&str; 2] = ["tcp/80", "tcp/443"];
const MAX_WIDTH_V4: i32 = 16;
const MAX_WIDTH_V6: i32 = 32;
const ICMP_V4: [&str; 2] = ["3/4", "11"];
const ICMP_V6: [&str; 5] = ["1", "2", "3", "4", "128"];

impl Preset {
    const ALL: [Self; 4] = [
        Self::Admin,
        Self::FileSharing,
        Self::Database,
        Self::HighRisk,
    ];

    /// The ports of the preset (control catalogue).
    fn ports(self) -> &'static [&'static str] {
        match self {
            Self::Admin => &[
                "tcp/22", "tcp/3389", "udp/3389", "tcp/5985", "tcp/5986", "tcp/23",
            ],
            Self::FileSharing => &[
                "tcp/445", "tcp/139", "udp/137", "udp/138", "tcp/20", "tcp/21", "tcp/2049",
                "tcp/111", "udp/111",
            ],
            Self::Database => &[
                "tcp/1433",
                "tcp/1434",
                "udp/1434",
                "tcp/1521",
                "tcp/2483",
                "tcp/2484",
                "tcp/3306",
                "tcp/5432",
                "tcp/5439",
                "tcp/6379",
                "tcp/7000",
                "tcp/7001",
                "tcp/7199",
                "tcp/8182",
                "tcp/9042",
                "tcp/9092",
                "tcp/9160",
                "tcp/9200",
                "tcp/9300",
                "tcp/5601",
                "tcp/11211",
                "udp/11211",
                "tcp/27017",
                "tcp/27018",
                "tcp/50000",
            ],
            Self::HighRisk => &[
                "tcp/25",
                "tcp/110",
                "tcp/135",
                "tcp/143",
                "tcp/3000",
                "tcp/4333",
                "tcp/5000",
                "tcp/5500",
                "tcp/8080",
                "tcp/8088",
                "tcp/8888",
                "tcp/2375",
                "tcp/2376",
                "tcp/6443",
                "tcp/10250",
            ],
        }
    }

    fn setting(self, internet: Option<&Internet>) -> Setting {
        match internet.and_then(|internet| internet.deny_presets.as_ref()) {
            None => Setting::Recommended,
            Some(presets) if presets.contains(&self) => Setting::Named,
            Some(_) => Setting::Off,
        }
    }
}

impl Internet {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self {
            allow_ports: Some(ALLOW_PORTS.map(str::to_owned).to_vec()),
            deny_all_traffic: Some(true),
            deny_presets: Some(Preset::ALL.to_vec()),
            on_overlap: Some(OnOverlap::Split),
            replace_with: None,
            broad_cidr: Some(BroadCidr {
                max_width_v4: Some(MAX_WIDTH_V4),
                max_width_v6: Some(MAX_WIDTH_V6),
            }),
            icmp: None,
        }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    allowed: TrafficSet,
    not_allowed: TrafficSet,
    presets: [TrafficSet; 4],
    on_overlap: OnOverlap,
    replace_with: Vec<Peer>,
    broad: PublicSize,
    broad_text: String,
    icmp_forbidden: TrafficSet,
}

impl Compiled {
    pub(super) fn new(internet: Option<&Internet>) -> Result<Self, InvalidParameter> {
        let internet = internet.cloned().unwrap_or_default();
        let Internet {
            allow_ports,
            deny_all_traffic: _,
            deny_presets: _,
            on_overlap,
            replace_with,
            broad_cidr,
            icmp,
        } = internet;
        let allowed = parse_set("internet.allowPorts", "", &allow_ports, &ALLOW_PORTS)?;
        let icmp = icmp.unwrap_or_default();
        let icmp_allowed = parse_set(
            "internet.icmp.allowedV4",
            "icmp/",
            &icmp.allowed_v4,
            &ICMP_V4,
        )?
        .union(&parse_set(
            "internet.icmp.allowedV6",
            "icmpv6/",
            &icmp.allowed_v6,
            &ICMP_V6,
        )?);
        let broad = broad_cidr.unwrap_or_default();
        let (v4, v6) = (
            broad.max_width_v4.unwrap_or(MAX_WIDTH_V4),
            broad.max_width_v6.unwrap_or(MAX_WIDTH_V6),
        );
        Ok(Self {
            not_allowed: TrafficSet::universe_without_icmp().difference(&allowed),
            allowed,
            presets: Preset::ALL.map(|preset| {
                preset
                    .ports()
                    .iter()
                    .filter_map(|port| port.parse::<Traffic>().ok())
                    .collect()
            }),
            on_overlap: on_overlap.unwrap_or_default(),
            replace_with: parse_networks(
                "internet.replaceWith",
                replace_with.as_deref().unwrap_or_default(),
            )?,
            broad: PublicSize {
                v4: addresses_v4(v4),
                v6: addresses_v6(v6),
            },
            broad_text: format!("no public source wider than an IPv4 /{v4} or an IPv6 /{v6}"),
            icmp_forbidden: TrafficSet::all_icmp().difference(&icmp_allowed),
        })
    }
}

fn addresses_v4(width: i32) -> u64 {
    1 << (32 - width.clamp(0, 32))
}

fn addresses_v6(width: i32) -> u128 {
    1u128
        .checked_shl(u32::try_from(128 - width.clamp(0, 128)).unwrap_or(0))
        .unwrap_or(u128::MAX)
}

fn parse_set(
    field: &str,
    prefix: &str,
    written: &Option<Vec<String>>,
    recommended: &[&str],
) -> Result<TrafficSet, InvalidParameter> {
    let texts: Vec<&str> = match written {
        Some(written) => written.iter().map(String::as_str).collect(),
        None => recommended.to_vec(),
    };
    let parse = |text: &str| format!("{prefix}{text}").parse::<Traffic>();
    texts
        .into_iter()
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(|problem| InvalidParameter::new(field, problem))
}

/// Networks as peers.
pub(super) fn parse_networks(field: &str, texts: &[String]) -> Result<Vec<Peer>, InvalidParameter> {
    let parse = |text: &String| {
        let problem = || {
            InvalidParameter::new(
                field,
                format!("{text:?} is no CIDR: write 10.0.0.0/8 or 2001:db8::/32"),
            )
        };
        text.parse::<IpNet>()
            .map(Peer::network)
            .map_err(|_| problem())
    };
    texts.iter().map(parse).collect()
}

macro_rules! port_control {
    ($preset:ident, $id:literal, $title:literal, $severity:ident, $expected:literal) => {
        Control {
            about: About {
                id: $id,
                title: $title,
                severity: Severity::$severity,
                field: "internet.denyPresets",
                default: concat!(
                    "[",
                    stringify!($preset),
                    "] is one of the four that are all on"
                ),
                remedy: NARROW,
                since: "0.1.0",
                sources: &[SECURITY_GROUPS, PREFIX_LISTS],
            },
            setting: |spec| Preset::$preset.setting(spec.internet.as_ref()),
            check: |parameters, view| {
                check_ports(view, preset(parameters, Preset::$preset), $expected)
            },
            remedy: Some(|parameters, view| {
                close_ports(parameters, view, preset(parameters, Preset::$preset))
            }),
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
        setting: |spec| {
            Setting::switch(
                spec.internet
                    .as_ref()
                    .and_then(|internet| internet.deny_all_traffic),
            )
        },
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
        setting: |spec| {
            Setting::recommended(
                spec.internet
                    .as_ref()
                    .and_then(|internet| internet.allow_ports.as_ref()),
            )
        },
        check: |parameters, view| {
            let Compiled {
                allowed,
                not_allowed,
                ..
            } = &parameters.internet;
            check_ports(
                view,
                not_allowed,
                format_args!("nothing but {allowed} from the internet"),
            )
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
        setting: |spec| {
            Setting::recommended(
                spec.internet
                    .as_ref()
                    .and_then(|internet| internet.broad_cidr.as_ref()),
            )
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
        setting: |spec| match spec
            .internet
            .as_ref()
            .and_then(|internet| internet.icmp.as_ref())
        {
            Some(icmp) if icmp.enabled != Some(false) => Setting::Named,
            _ => Setting::Off,
        },
        check: |parameters, view| {
            check_ports(
                view,
                &parameters.internet.icmp_forbidden,
                "only the allowed ICMP types from the internet",
            )
        },
        remedy: Some(|parameters, view| {
            close_ports(parameters, view, &parameters.internet.icmp_forbidden)
        }),
    },
];

fn preset(parameters: &Parameters, preset: Preset) -> &TrafficSet {
    let [admin, file_sharing, database, high_risk] = &parameters.internet.presets;
    match preset {
        Preset::Admin => admin,
        Preset::FileSharing => file_sharing,
        Preset::Database => database,
        Preset::HighRisk => high_risk,
    }
}

/// `Fail` beats `Unknown`: a list that cannot be read cannot close a port that is open without it.
fn check_ports(view: &GroupView<'_>, forbidden: &TrafficSet, expected: impl ToString) -> Verdict {
    if view.exposure.world.intersects(forbidden) {
        let open = view
            .offenders()
            .iter()
            .filter(|(_, part)| part.intersects(forbidden));
        let describe = |(index, part): (&usize, &TrafficSet)| {
            let rule = view.group.rules.get(*index)?;
            let peer = source(view, &rule.grant.peer);
            Some(match rule.grant.traffic {
                Traffic::All => format!("all traffic from {peer}"),
                _ => format!("{} from {peer}", part.intersection(forbidden)),
            })
        };
        Verdict::fail(expected.to_string(), named(open.filter_map(describe)))
    } else if view.exposure.unknown.intersects(forbidden) {
        Verdict::unknown(
            "a prefix list that could not be read decides whether these ports are open to the internet",
        )
    } else {
        Verdict::Pass
    }
}

/// A peer as a person knows it: a prefix list with what makes it wide.
fn source(view: &GroupView<'_>, peer: &Peer) -> String {
    match Audience::of(peer, view.lists) {
        Audience::Networks(nets) => {
            let widest = nets
                .iter()
                .max_by_key(|net| PublicSize::of(**net))
                .map(ToString::to_string);
            format!("{peer} (holds {})", widest.unwrap_or_default())
        }
        _ => peer.to_string(),
    }
}

fn close_ports(
    parameters: &Parameters,
    view: &GroupView<'_>,
    forbidden: &TrafficSet,
) -> Vec<Remedy> {
    narrow(parameters, view, forbidden, |lost, _| {
        TrafficSet::universe().difference(lost)
    })
}

fn close_unapproved_ports(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    let Compiled {
        allowed,
        not_allowed,
        ..
    } = &parameters.internet;
    narrow(
        parameters,
        view,
        not_allowed,
        |lost, traffic| match traffic {
            // "Everything but" has no exact form; what is approved has.
            Traffic::All => allowed.clone(),
            _ => TrafficSet::universe().difference(lost),
        },
    )
}

/// One demand for each rule that takes part in opening forbidden traffic to the world.
fn narrow(
    parameters: &Parameters,
    view: &GroupView<'_>,
    forbidden: &TrafficSet,
    keep: impl Fn(&TrafficSet, Traffic) -> TrafficSet,
) -> Vec<Remedy> {
    let Compiled {
        on_overlap,
        replace_with,
        ..
    } = &parameters.internet;
    let demand = |(index, part): (&usize, &TrafficSet)| {
        let lost = part.intersection(forbidden);
        let rule = view.group.rules.get(*index).filter(|_| !lost.is_empty())?;
        let mut within = vec![Bound::anybody(keep(&lost, rule.grant.traffic))];
        if *on_overlap == OnOverlap::Replace {
            within.extend(replace_with.iter().cloned().map(Bound::all_with));
        }
        let remedy = Remedy::keep(*index, within);
        let overlaps = !TrafficSet::from(rule.grant.traffic).is_subset(&lost);
        Some(if *on_overlap == OnOverlap::Report && overlaps {
            remedy.held_by(Withheld::ReportOnly)
        } else {
            remedy
        })
    };
    view.offenders().iter().filter_map(demand).collect()
}

fn check_all_traffic(_: &Parameters, view: &GroupView<'_>) -> Verdict {
    match view.exposure.all_traffic {
        Knowledge::No => Verdict::Pass,
        Knowledge::Unknown => {
            Verdict::unknown("a prefix list that could not be read has every port open")
        }
        Knowledge::Yes => {
            let whole = whole_rules(view).map(|(_, rule)| {
                format!(
                    "{} from {}",
                    rule.grant.traffic,
                    source(view, &rule.grant.peer)
                )
            });
            Verdict::fail(
                "no rule that opens every port to the internet",
                named(whole),
            )
        }
    }
}

fn close_all_traffic(_: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    let demand = |(rule, _)| Remedy::Keep {
        rule,
        within: vec![Bound::anybody(TrafficSet::universe())],
        must_narrow: true,
        held: None,
    };
    whole_rules(view).map(demand).collect()
}

/// The rules that each open every port of a protocol and take part in opening it to the world.
fn whole_rules<'v>(
    view: &'v GroupView<'_>,
) -> impl Iterator<Item = (usize, &'v crate::facts::Rule)> {
    let every_port = |(index, rule): &(usize, &crate::facts::Rule)| {
        opens_every_port(rule.grant.traffic) && view.offenders().contains_key(index)
    };
    view.rules(Direction::Ingress).filter(every_port)
}

fn check_broad(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let Compiled {
        broad,
        broad_text,
        allowed,
        ..
    } = &parameters.internet;
    let too_broad = |size: PublicSize| size.v4 > broad.v4 || size.v6 > broad.v6;
    let judged = || {
        let relevant = |traffic: Traffic| !TrafficSet::from(traffic).is_subset(allowed);
        view.rules(Direction::Ingress)
            .filter(move |(_, rule)| relevant(rule.grant.traffic))
    };
    if too_broad(view.widest_source) {
        let sources = judged().flat_map(|(_, rule)| {
            let broad_nets: Vec<IpNet> = Audience::of(&rule.grant.peer, view.lists)
                .nets()
                .iter()
                .copied()
                .filter(|net| too_broad(PublicSize::of(*net)))
                .collect();
            broad_nets
                .into_iter()
                .map(|net| format!("{} from {net}", rule.grant.traffic))
        });
        let found = named(sources);
        if !found.is_empty() {
            return Verdict::fail(broad_text.clone(), found);
        }
    }
    let unreadable = |(_, rule): (usize, &crate::facts::Rule)| {
        Audience::of(&rule.grant.peer, view.lists) == Audience::Unknown
    };
    if judged().any(unreadable) {
        return Verdict::unknown("a prefix list that a rule refers to could not be read");
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{group, remedies, verdict};
    use super::*;

    #[test]
    fn a_world_rule_for_everything_keeps_the_allowed_ports() {
        let group = group(&["all from 0.0.0.0/0"]);
        let keep = remedies("sg-world-ingress-only-allowed-ports", &group);
        let allowed: TrafficSet = ["tcp/80", "tcp/443"]
            .iter()
            .map(|port| port.parse::<Traffic>().unwrap())
            .collect();
        assert_eq!(keep, [Remedy::keep(0, vec![Bound::anybody(allowed)])]);
    }

    #[test]
    fn findings_name_the_port_and_the_source() {
        let group = group(&["tcp/20-80 from 0.0.0.0/0", "tcp/22 from 10.0.0.0/8"]);
        assert_eq!(
            verdict("sg-no-open-admin-ports", &group),
            Verdict::fail(
                "no admin port from the internet",
                "tcp/22-23 from 0.0.0.0/0"
            )
        );
    }

    #[test]
    fn a_broad_source_on_an_allowed_port_is_not_judged() {
        assert_eq!(
            verdict(
                "sg-no-broad-public-cidr",
                &group(&["tcp/443 from 8.0.0.0/8"])
            ),
            Verdict::Pass
        );
        assert_eq!(
            verdict(
                "sg-no-broad-public-cidr",
                &group(&["tcp/8443 from 10.0.0.0/7"])
            ),
            Verdict::fail(
                "no public source wider than an IPv4 /16 or an IPv6 /32",
                "tcp/8443 from 10.0.0.0/7"
            )
        );
    }

    #[test]
    fn every_port_of_the_presets_parses() {
        for preset in Preset::ALL {
            assert!(
                preset
                    .ports()
                    .iter()
                    .all(|port| port.parse::<Traffic>().is_ok()),
                "{preset:?}"
            );
        }
    }
}
