//! The parameters of `spec.internet`, as they are written and as the checks use them.

use std::sync::LazyLock;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::{AddressSet, PublicSize};
use crate::controls::{InvalidParameter, Setting};
use crate::facts::Peer;
use crate::schema;
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
        "rule": "!has(self.replaceWith) || self.replaceWith.all(c, isCIDR(c) && c.matches('/(0|[1-9][0-9]*)$'))",
        "message": "replaceWith holds valid CIDRs, for example 203.0.113.0/24"
    },
    {
        "rule": "!has(self.replaceWith) || self.replaceWith.all(c, !isCIDR(c) || (cidr(c).ip().family() == 4 ? cidr(c).prefixLength() >= 8 : cidr(c).prefixLength() >= 16 || (cidr(c).prefixLength() > 3 && !cidr('2000::/3').containsCIDR(c))))",
        "message": "a network of replaceWith is no wider than an IPv4 /8 or a public IPv6 /16: wider ones are the internet"
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
    #[schemars(length(max = 50), transform = schema::ports)]
    pub allow_ports: Option<Vec<String>>,
    /// Whether rules that open every port or protocol to the world are forbidden. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_all_traffic: Option<bool>,
    /// Groups of ports that must not be open to the world; each is a control with a severity of its own. Admin: SSH, Telnet,
    /// RDP, WinRM. FileSharing: SMB, FTP, NFS. Database: databases and caches. HighRisk: other ports that are commonly
    /// attacked, such as mail, development servers, container and cluster APIs. A preset that a written list leaves out is
    /// off. Recommended: all four.
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
    /// How wide a single range of public addresses may be. Reported only: which narrower range is meant is not known.
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

/// How wide a single range of public addresses may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BroadCidr {
    /// Prefix length of the widest IPv4 range that passes: with 16, a /16 passes and a /15 fails. Recommended: 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 32))]
    pub max_width_v4: Option<i32>,
    /// Prefix length of the widest IPv6 range that passes: with 32, a /32 passes and a /31 fails. Recommended: 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 128))]
    pub max_width_v6: Option<i32>,
}

/// Which ICMP messages the internet may send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Icmp {
    /// Whether ICMP is judged. Left out: it is, as icmp is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Allowed ICMP types for IPv4, with or without a code, such as 11 or 3/4. Recommended: 3/4 and 11 (path MTU, time exceeded).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), transform = schema::icmp)]
    pub allowed_v4: Option<Vec<String>>,
    /// Allowed ICMP types for IPv6, with or without a code. Recommended: 1, 2, 3, 4 (errors that IPv6 needs) and 128 (echo
    /// request).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), transform = schema::icmp)]
    pub allowed_v6: Option<Vec<String>>,
}

impl Icmp {
    /// Whether ICMP is judged.
    pub(super) fn is_on(&self) -> bool {
        self.enabled != Some(false)
    }
}

const ALLOW_PORTS: [&str; 2] = ["tcp/80", "tcp/443"];
const MAX_WIDTH_V4: i32 = 16;
const MAX_WIDTH_V6: i32 = 32;
const ICMP_V4: [&str; 2] = ["3/4", "11"];
const ICMP_V6: [&str; 5] = ["1", "2", "3", "4", "128"];

impl Preset {
    const ALL: [Self; 4] = [Self::Admin, Self::FileSharing, Self::Database, Self::HighRisk];

    /// The ports of the preset (control catalogue).
    fn ports(self) -> &'static [&'static str] {
        match self {
            Self::Admin => &["tcp/22", "tcp/3389", "udp/3389", "tcp/5985", "tcp/5986", "tcp/23"],
            Self::FileSharing => {
                &["tcp/445", "tcp/139", "udp/137", "udp/138", "tcp/20", "tcp/21", "tcp/2049", "tcp/111", "udp/111"]
            }
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

    /// The ports of the preset as a set.
    pub(super) fn traffic(self) -> &'static TrafficSet {
        static SETS: LazyLock<[TrafficSet; 4]> = LazyLock::new(|| {
            Preset::ALL.map(|preset| preset.ports().iter().filter_map(|port| port.parse::<Traffic>().ok()).collect())
        });
        let [admin, file_sharing, database, high_risk] = &*SETS;
        match self {
            Self::Admin => admin,
            Self::FileSharing => file_sharing,
            Self::Database => database,
            Self::HighRisk => high_risk,
        }
    }

    pub(super) fn setting(self, internet: Option<&Internet>) -> Setting {
        match internet.and_then(|internet| internet.deny_presets.as_ref()) {
            None => Setting::Recommended,
            Some(presets) if presets.contains(&self) => Setting::Named,
            Some(_) => Setting::Off,
        }
    }
}

impl Internet {
    /// Every recommended value.
    pub(in crate::controls::security_group) fn recommended() -> Self {
        Self {
            allow_ports: Some(ALLOW_PORTS.map(str::to_owned).to_vec()),
            deny_all_traffic: Some(true),
            deny_presets: Some(Preset::ALL.to_vec()),
            on_overlap: Some(OnOverlap::Split),
            replace_with: None,
            broad_cidr: Some(BroadCidr { max_width_v4: Some(MAX_WIDTH_V4), max_width_v6: Some(MAX_WIDTH_V6) }),
            icmp: None,
        }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controls::security_group) struct Compiled {
    pub(super) allowed: TrafficSet,
    pub(super) not_allowed: TrafficSet,
    pub(super) allowed_text: String,
    pub(super) on_overlap: OnOverlap,
    pub(super) replace_with: Vec<Peer>,
    pub(super) broad: PublicSize,
    pub(super) broad_text: String,
    pub(super) icmp_forbidden: TrafficSet,
    /// Messages that a rule for everything keeps, for IPv4 and IPv6: none while ICMP is not judged.
    pub(super) icmp_kept: [TrafficSet; 2],
}

impl Compiled {
    pub(in crate::controls::security_group) fn new(internet: Option<&Internet>) -> Result<Self, InvalidParameter> {
        let internet = internet.cloned().unwrap_or_default();
        let Internet { allow_ports, deny_all_traffic: _, deny_presets: _, on_overlap, replace_with, broad_cidr, icmp } =
            internet;
        let allowed = parse_set("internet.allowPorts", "", &allow_ports, &ALLOW_PORTS)?;
        let icmp_judged = icmp.as_ref().is_some_and(Icmp::is_on);
        let icmp = icmp.unwrap_or_default();
        let icmp_v4 = parse_set("internet.icmp.allowedV4", "icmp/", &icmp.allowed_v4, &ICMP_V4)?;
        let icmp_v6 = parse_set("internet.icmp.allowedV6", "icmpv6/", &icmp.allowed_v6, &ICMP_V6)?;
        let broad = broad_cidr.unwrap_or_default();
        let (v4, v6) = (broad.max_width_v4.unwrap_or(MAX_WIDTH_V4), broad.max_width_v6.unwrap_or(MAX_WIDTH_V6));
        Ok(Self {
            not_allowed: TrafficSet::universe_without_icmp().difference(&allowed),
            allowed_text: match allowed.is_empty() {
                true => "nothing from the internet".to_owned(),
                false => format!("nothing but {allowed} from the internet"),
            },
            allowed,
            on_overlap: on_overlap.unwrap_or_default(),
            replace_with: parse_replacement(replace_with.as_deref().unwrap_or_default())?,
            broad: PublicSize { v4: addresses_v4(v4), v6: addresses_v6(v6) },
            broad_text: format!("no public source wider than an IPv4 /{v4} or an IPv6 /{v6}"),
            icmp_forbidden: TrafficSet::all_icmp().difference(&icmp_v4.union(&icmp_v6)),
            icmp_kept: if icmp_judged { [icmp_v4, icmp_v6] } else { Default::default() },
        })
    }
}

fn addresses_v4(width: i32) -> u64 {
    1 << (32 - width.clamp(0, 32))
}

fn addresses_v6(width: i32) -> u128 {
    1u128.checked_shl(u32::try_from(128 - width.clamp(0, 128)).unwrap_or(0)).unwrap_or(u128::MAX)
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
    texts.into_iter().map(parse).collect::<Result<_, _>>().map_err(|problem| InvalidParameter::new(field, problem))
}

/// The networks that stand in for the internet: a world among them would leave everything as it is.
fn parse_replacement(texts: &[String]) -> Result<Vec<Peer>, InvalidParameter> {
    const FIELD: &str = "internet.replaceWith";
    let networks = parse_networks(FIELD, texts)?;
    let together: AddressSet = networks.iter().filter_map(Peer::as_network).collect();
    if together.public_size().is_world() {
        let problem = "these networks together are the internet: name narrower ones";
        return Err(InvalidParameter::new(FIELD, problem));
    }
    Ok(networks)
}

/// Networks as peers.
pub(in crate::controls::security_group) fn parse_networks(
    field: &str,
    texts: &[String],
) -> Result<Vec<Peer>, InvalidParameter> {
    let parse = |text: &String| {
        let problem =
            || InvalidParameter::new(field, format!("{text:?} is no CIDR: write 10.0.0.0/8 or 2001:db8::/32"));
        text.parse::<IpNet>().map(Peer::network).map_err(|_| problem())
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_the_presets_parses() {
        for preset in Preset::ALL {
            assert!(preset.ports().iter().all(|port| port.parse::<Traffic>().is_ok()), "{preset:?}");
        }
    }

    #[test]
    fn what_stands_in_for_the_internet_must_not_be_the_internet() {
        let internet = |nets: &[&str]| Internet {
            replace_with: Some(nets.iter().map(|net| (*net).to_owned()).collect()),
            ..Internet::default()
        };
        assert!(Compiled::new(Some(&internet(&["203.0.113.0/24"]))).is_ok());
        assert!(Compiled::new(Some(&internet(&["0.0.0.0/1", "128.0.0.0/1"]))).is_err());
    }
}
