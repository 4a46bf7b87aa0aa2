//! What baselines forbid and require, flow by flow, read from their specs as the catalogue of controls describes it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use engine::controls::security_group::{
    Icmp, Internet, OnOverlap, Preset, RuleDeclaration, SecurityGroupParameters, Sources,
};
use engine::desired::Desired;
use engine::facts::{Direction, Grant, Peer, PrefixListEntries, Rule, SecurityGroup};
use engine::traffic::Traffic;
use ipnet::IpNet;

use crate::oracle::{Lists, Message, Place, carries, holds, is_public, is_world, networks};
use crate::world::World;

/// One control of one baseline that may change a group.
pub(crate) struct Enforced<'w> {
    pub(crate) control: &'static str,
    pub(crate) parameters: &'w SecurityGroupParameters,
}

/// The controls that may change a group.
pub(crate) fn enforced<'w>(world: &'w World, desired: &'w [Desired], group: &SecurityGroup) -> Vec<Enforced<'w>> {
    let may = desired.iter().filter(|desired| desired.code.forbids(&group.tags).is_none());
    may.flat_map(|desired| named(world, desired, group)).collect()
}

/// The controls that are enforced, also those that may not change this group since somebody else owns it.
pub(crate) fn standing<'w>(world: &'w World, desired: &'w [Desired], group: &SecurityGroup) -> Vec<Enforced<'w>> {
    desired.iter().flat_map(|desired| named(world, desired, group)).collect()
}

fn named<'w>(world: &'w World, desired: &'w Desired, group: &SecurityGroup) -> Vec<Enforced<'w>> {
    let location = world.location();
    let scope = desired.scope(group.resource(&location));
    let written = world.baselines.iter().find(|baseline| baseline.reference == desired.reference);
    let parameters = crate::world::parameters(written.expect("every compiled baseline was written"));
    let active = desired.controls.iter().filter(|active| active.hold.is_none() && scope.includes(active.about));
    active.map(|active| Enforced { control: active.about.id, parameters }).collect()
}

/// The grants that some of these controls require of a group.
pub(crate) fn required(enforced: &[Enforced<'_>], group: &SecurityGroup) -> Vec<Grant> {
    let requiring = enforced.iter().filter(|by| by.control == "sg-required-rules-present" && !group.is_default());
    let declared = requiring.filter_map(|by| by.parameters.required.as_ref());
    let grants = declared.flat_map(|required| {
        let ingress = required.ingress.iter().map(|rule| grant(rule, Direction::Ingress));
        ingress.chain(required.egress.iter().map(|rule| grant(rule, Direction::Egress)))
    });
    grants.collect()
}

fn grant(rule: &RuleDeclaration, direction: Direction) -> Grant {
    Grant { direction, traffic: rule.traffic.parse().unwrap(), peer: rule.peer.parse().unwrap() }
}

/// What decides about the flows of one group, as it is before anything is changed.
pub(crate) struct Judge<'w> {
    pub(crate) world: &'w World,
    pub(crate) group: &'w SecurityGroup,
    pub(crate) lists: Lists,
    world_open: RefCell<BTreeMap<Message, (bool, bool)>>,
    public: RefCell<BTreeMap<Peer, bool>>,
}

impl<'w> Judge<'w> {
    pub(crate) fn new(world: &'w World, group: &'w SecurityGroup) -> Self {
        let lists = world.lists.clone().unwrap_or_default();
        Self { world, group, lists, world_open: Default::default(), public: Default::default() }
    }

    /// Whether a rule for this peer takes part in opening a message to the world.
    fn is_world(&self, message: Message, peer: &Peer) -> bool {
        let mut known = self.world_open.borrow_mut();
        let (v4, v6) = *known.entry(message).or_insert_with(|| is_world(message, &self.group.rules, &self.lists));
        match peer {
            Peer::V4(_) => v4,
            Peer::V6(_) => v6,
            Peer::PrefixList(_) | Peer::Group { .. } => v4 || v6,
        }
    }

    fn is_public(&self, peer: &Peer) -> bool {
        let mut known = self.public.borrow_mut();
        *known.entry(peer.clone()).or_insert_with(|| is_public(peer, &self.lists))
    }

    /// From whom, or to whom, the enforced controls forbid a rule to let a message through.
    pub(crate) fn forbids(&self, enforced: &[Enforced<'_>], rule: &Rule, message: Message) -> Forbidden {
        Forbidden(enforced.iter().map(|by| self.by(by, &rule.grant, message)).collect())
    }

    fn by(&self, Enforced { control, parameters }: &Enforced<'_>, grant: &Grant, message: Message) -> By {
        let none = Internet::default();
        let internet = parameters.internet.as_ref().unwrap_or(&none);
        match *control {
            "sg-no-open-admin-ports" => self.closes(internet, grant, message, preset(Preset::Admin, message)),
            "sg-no-open-file-sharing-ports" => {
                self.closes(internet, grant, message, preset(Preset::FileSharing, message))
            }
            "sg-no-open-database-ports" => self.closes(internet, grant, message, preset(Preset::Database, message)),
            "sg-no-open-high-risk-ports" => self.closes(internet, grant, message, preset(Preset::HighRisk, message)),
            "sg-world-ingress-only-allowed-ports" => {
                self.closes(internet, grant, message, !allowed(internet, grant, message))
            }
            "sg-icmp-limited" => {
                let icmp = internet.icmp.clone().unwrap_or_default();
                self.closes(internet, grant, message, message.is_icmp() && !icmp_allowed(&icmp, message))
            }
            "sg-ingress-from-allowed-sources" if grant.direction == Direction::Ingress => {
                self.is_outside(&parameters.sources.clone().unwrap_or_default(), grant, message)
            }
            "sg-no-unrestricted-egress" if grant.direction == Direction::Egress => {
                self.keeps_in(&parameters.egress.clone().unwrap_or_default().allow, grant, message)
            }
            "sg-default-closed" => By::when(self.group.is_default() && self.is_unused()),
            "sg-no-untrusted-account-reference" => {
                let trusted = parameters.references.clone().unwrap_or_default().trusted_accounts.unwrap_or_default();
                By::when(matches!(&grant.peer, Peer::Group { account, .. }
                    if *account != self.group.owner && !trusted.contains(account)))
            }
            _ => By::Nobody,
        }
    }

    fn is_unused(&self) -> bool {
        self.world.usage.as_ref().is_some_and(|usage| !usage.contains_key(&self.group.id))
    }

    /// Whether a rule loses a message to the internet: because the world may send it, and the rule takes part in that.
    fn closes(&self, internet: &Internet, grant: &Grant, message: Message, forbidden: bool) -> By {
        // A rule for everything loses, with the ports, ICMP that nobody allows.
        let together = grant.traffic == Traffic::All && message.is_icmp();
        let closes = grant.direction == Direction::Ingress
            && forbidden
            && self.is_public(&grant.peer)
            && (together || self.is_world(message, &grant.peer));
        let replaces = internet.on_overlap == Some(OnOverlap::Replace) && grant.peer.as_network().is_some();
        match closes {
            true if replaces => By::Outside(nets(internet.replace_with.as_deref().unwrap_or_default())),
            closes => By::when(closes),
        }
    }

    fn is_outside(&self, sources: &Sources, grant: &Grant, message: Message) -> By {
        let judged = sources.ports.as_ref().is_none_or(|ports| any(ports, message));
        let listed = |ids: &Option<Vec<String>>, id: &String| ids.as_ref().is_some_and(|ids| ids.contains(id));
        let known = networks(&grant.peer, &self.lists).is_some();
        match &grant.peer {
            _ if !judged => By::Nobody,
            Peer::Group { id, .. } => By::when(*id != self.group.id && !listed(&sources.security_groups, id)),
            Peer::PrefixList(id) if listed(&sources.prefix_lists, id) => By::Nobody,
            Peer::PrefixList(id) if !known => By::when(self.is_of_aws(id)),
            _ => By::Outside(nets(sources.cidrs.as_deref().unwrap_or_default())),
        }
    }

    fn is_of_aws(&self, list: &String) -> bool {
        self.lists.get(list).is_some_and(|list| list.entries == PrefixListEntries::AwsManaged)
    }

    fn keeps_in(&self, allow: &[RuleDeclaration], grant: &Grant, message: Message) -> By {
        let carrying = allow.iter().filter(|entry| carries(entry.traffic.parse().unwrap(), message));
        let peers: Vec<&str> = carrying.map(|entry| entry.peer.as_str()).collect();
        let named = peers.iter().any(|peer| !peer.contains('/') && grant.peer.to_string().ends_with(peer));
        let list = |peer: &str| networks(&Peer::PrefixList(peer.to_owned()), &self.lists).unwrap_or_default();
        let reached = |peer: &&str| peer.parse().map_or_else(|_| list(peer), |net| vec![net]);
        match networks(&grant.peer, &self.lists) {
            _ if named => By::Nobody,
            Some(_) => By::Outside(peers.iter().flat_map(reached).collect()),
            None => By::when(!peers.iter().any(|peer| peer.ends_with("/0"))),
        }
    }
}

/// From whom, or to whom, a message is forbidden.
pub(crate) struct Forbidden(Vec<By>);

/// The same by one control.
enum By {
    Nobody,
    Everybody,
    /// Everybody but those behind these networks.
    Outside(Vec<IpNet>),
}

impl By {
    fn when(forbidden: bool) -> Self {
        if forbidden { Self::Everybody } else { Self::Nobody }
    }
}

impl Forbidden {
    pub(crate) fn includes(&self, place: &Place) -> bool {
        self.0.iter().any(|by| match by {
            By::Nobody => false,
            By::Everybody => true,
            By::Outside(nets) => !nets.iter().any(|net| holds(*net, place)),
        })
    }
}

fn nets(texts: &[String]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn any<T: AsRef<str>>(texts: &[T], message: Message) -> bool {
    texts.iter().any(|text| carries(text.as_ref().parse().unwrap(), message))
}

/// Whether a rule keeps a message although everything else is closed to the internet.
fn allowed(internet: &Internet, grant: &Grant, message: Message) -> bool {
    if message.is_icmp() {
        let of_its_family = match &grant.peer {
            Peer::V4(_) => message.protocol == 1,
            Peer::V6(_) => message.protocol == 58,
            _ => true,
        };
        let icmp = internet.icmp.as_ref().filter(|icmp| icmp.enabled != Some(false));
        let kept = icmp.is_some_and(|icmp| icmp_allowed(icmp, message)) && of_its_family;
        return grant.traffic != Traffic::All || kept;
    }
    match &internet.allow_ports {
        Some(ports) => any(ports, message),
        None => message == Message::tcp(80) || message == Message::tcp(443),
    }
}

fn icmp_allowed(icmp: &Icmp, message: Message) -> bool {
    let (written, recommended, prefix): (_, &[&str], _) = match message.protocol {
        1 => (&icmp.allowed_v4, &["3/4", "11"], "icmp"),
        _ => (&icmp.allowed_v6, &["1", "2", "3", "4", "128"], "icmpv6"),
    };
    let allows = |text: &str| carries(format!("{prefix}/{text}").parse().unwrap(), message);
    match written {
        Some(texts) => texts.iter().any(|text| allows(text)),
        None => recommended.iter().any(|text| allows(text)),
    }
}

/// The ports of the presets, from the catalogue of controls.
fn preset(preset: Preset, message: Message) -> bool {
    let (tcp, udp): (&[u16], &[u16]) = match preset {
        Preset::Admin => (&[22, 3389, 5985, 5986, 23], &[3389]),
        Preset::FileSharing => (&[445, 139, 20, 21, 2049, 111], &[137, 138, 111]),
        Preset::Database => (
            &[
                1433, 1434, 1521, 2483, 2484, 3306, 5432, 5439, 6379, 7000, 7001, 7199, 8182, 9042, 9092, 9160, 9200,
                9300, 5601, 11211, 27017, 27018, 50000,
            ],
            &[1434, 11211],
        ),
        Preset::HighRisk => {
            (&[25, 110, 135, 143, 3000, 4333, 5000, 5500, 8080, 8088, 8888, 2375, 2376, 6443, 10250], &[])
        }
    };
    let is = |make: fn(u16) -> Message| move |port: &u16| make(*port) == message;
    tcp.iter().any(is(Message::tcp)) || udp.iter().any(is(Message::udp))
}

/// Every port at which a policy may begin or end, as grants that cut the number lines there.
pub(crate) fn cuts(enforced: &[Enforced<'_>]) -> Vec<Grant> {
    const PORTS: [u16; 48] = [
        20, 21, 22, 23, 25, 80, 110, 111, 135, 139, 143, 443, 445, 1433, 1434, 1521, 2049, 2375, 2376, 2483, 2484,
        3000, 3306, 3389, 4333, 5000, 5432, 5439, 5500, 5601, 5985, 5986, 6379, 6443, 7000, 7001, 7199, 8080, 8088,
        8182, 8888, 9042, 9092, 9160, 9200, 9300, 10250, 11211,
    ];
    let grant = |traffic: String, peer: &str| Grant {
        direction: Direction::Ingress,
        traffic: traffic.parse().unwrap(),
        peer: peer.parse().unwrap(),
    };
    let mut cuts: Vec<Grant> = PORTS.iter().map(|port| grant(format!("tcp/{port}"), "10.0.0.0/8")).collect();
    for text in [
        "tcp/27017-27018",
        "tcp/50000",
        "udp/111",
        "udp/137-138",
        "udp/1434",
        "udp/3389",
        "udp/11211",
        "icmp/3/4",
        "icmp/11",
        "icmp/8",
        "icmpv6/1",
        "icmpv6/2",
        "icmpv6/3",
        "icmpv6/4",
        "icmpv6/128",
        "tcp/1000-2000",
        "udp/53",
        "tcp/0",
        "tcp/0-1024",
    ] {
        cuts.push(grant(text.to_owned(), "203.0.113.0/24"));
    }
    for by in enforced {
        let sources = by.parameters.sources.clone().unwrap_or_default().cidrs.unwrap_or_default();
        let replaced = by.parameters.internet.clone().unwrap_or_default().replace_with.unwrap_or_default();
        cuts.extend(sources.iter().chain(&replaced).map(|net| grant("tcp".to_owned(), net)));
        let allow = by.parameters.egress.clone().unwrap_or_default().allow;
        cuts.extend(allow.iter().map(|entry| grant(entry.traffic.clone(), &entry.peer)));
    }
    cuts
}
