//! Worlds out of choices, biased to the ports, networks and combinations that matter.

use std::collections::BTreeMap;

use crate::world::parameters_mut;
use engine::controls::security_group::{
    BroadCidr, DefaultGroup, Egress, Hygiene, Icmp, Internet, MaxRules, OnOverlap, Preset, References, Required,
    RuleDeclaration, RuleDescriptions, SecurityGroupParameters, Sources, controls,
};
use engine::controls::tags::RequiredTag;
use engine::desired::Baseline;
use engine::edit::BaselineRef;
use engine::facts::{Direction, Grant, InterfaceUse, Peer, PrefixList, PrefixListEntries, Rule, SecurityGroup, Tags};
use engine::finding::Severity;
use engine::kind::Kind;
use engine::remediation::Remediation;
use engine::spec::{
    Accounts, CodeMode, InfrastructureAsCode, Match, MayAddRules, Mode, NamespaceGrant, Override, OverrideMode, Select,
};
use engine::tenancy::{Account, Namespace};
use engine::traffic::{IcmpMessage, PortRange, Traffic};

use crate::dice::Dice;
use crate::world::{ACCOUNT, NOW, World};

/// An account that groups may be shared from or refer to.
pub(crate) const OTHER_ACCOUNT: &str = "444455556666";

const PORTS: [u16; 14] = [22, 443, 80, 3389, 5432, 0, 65535, 3306, 23, 21, 8080, 1, 25, 30];

const NETWORKS: [&str; 32] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "::/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "203.0.113.0/24",
    "10.1.0.0/16",
    "8.0.0.0/8",
    "9.0.0.0/8",
    "11.0.0.0/9",
    "8.0.0.0/7",
    "10.0.0.0/7",
    "12.0.0.0/8",
    "12.0.0.0/6",
    "192.168.0.0/16",
    "172.16.0.0/12",
    "10.1.2.0/24",
    "203.0.113.7/32",
    "10.0.0.0/9",
    "10.128.0.0/9",
    "100.64.0.0/10",
    "192.0.0.0/2",
    "::/1",
    "2000::/3",
    "2600::/12",
    "2600::/16",
    "2601::/16",
    "fc00::/7",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "fe80::/10",
    "0.0.0.0/2",
];

const LISTS: [&str; 4] = ["pl-1", "pl-2", "pl-3", "pl-4"];
const GROUPS: [&str; 4] = ["sg-0", "sg-1", "sg-a", "sg-b"];

/// A whole world.
pub(crate) fn world(dice: &mut Dice<'_>) -> World {
    let account = account(dice);
    let baselines = (0..1 + dice.below(4)).map(|number| baseline(dice, number)).collect();
    let lists = (!dice.one_in(8)).then(|| lists(dice));
    let groups: Vec<SecurityGroup> = (0..1 + dice.below(4) / 2).map(|number| group(dice, number)).collect();
    let usage = (!dice.one_in(8)).then(|| usage(dice, &groups));
    World { groups, lists, usage, account, baselines }
}

fn lists(dice: &mut Dice<'_>) -> BTreeMap<String, PrefixList> {
    let mut lists = BTreeMap::new();
    for id in LISTS {
        let entries = match dice.below(6) {
            0 | 1 => PrefixListEntries::Known(dice.some(&NETWORKS).iter().map(|net| net.parse().unwrap()).collect()),
            2 => PrefixListEntries::Known(vec!["10.1.0.0/16".parse().unwrap()]),
            // Two destinations of EGRESS hold it together.
            3 if dice.one_in(2) => {
                PrefixListEntries::Known(vec!["10.0.0.0/9".parse().unwrap(), "10.128.0.0/9".parse().unwrap()])
            }
            3 => PrefixListEntries::Unreadable,
            4 => PrefixListEntries::AwsManaged,
            _ => continue,
        };
        let owner = if entries == PrefixListEntries::AwsManaged { "AWS" } else { ACCOUNT };
        let max_entries = *dice.pick(&[2, 5, 20, 60]);
        lists.insert(id.to_owned(), PrefixList { owner: owner.to_owned(), version: 1, max_entries, entries });
    }
    lists
}

fn usage(dice: &mut Dice<'_>, groups: &[SecurityGroup]) -> BTreeMap<String, InterfaceUse> {
    let used = groups.iter().filter(|_| dice.one_in(2));
    used.map(|group| (group.id.clone(), InterfaceUse { interfaces: 3, load_balancers: 1, functions: 0 })).collect()
}

/// A group with a handful of rules, or with nearly as many as the quota allows.
pub(crate) fn group(dice: &mut Dice<'_>, number: usize) -> SecurityGroup {
    let count = if dice.one_in(25) { 50 + dice.below(12) } else { dice.below(9) };
    let mut rules: Vec<Rule> = Vec::new();
    for _ in 0..count {
        let rule = Rule { grant: grant(dice), description: description(dice) };
        if !rules.iter().any(|other| other.grant == rule.grant) {
            rules.push(rule);
        }
    }
    rules.sort();
    let name = *dice.pick(&["shop", "default", "shop-db", "launch-wizard-1", "eks-cluster-sg-x", "db"]);
    SecurityGroup {
        id: format!("sg-{number}"),
        name: name.to_owned(),
        description: dice.pick(&["front end of the shop", "x", ""]).to_string(),
        owner: if dice.one_in(16) { OTHER_ACCOUNT } else { ACCOUNT }.to_owned(),
        vpc: dice.pick(&["vpc-1", "vpc-2"]).to_string(),
        tags: tags(dice),
        rules,
    }
}

fn description(dice: &mut Dice<'_>) -> Option<String> {
    let text = *dice.pick(&["for the shop", "", "x", "of the team"]);
    (!text.is_empty()).then(|| text.to_owned())
}

fn tags(dice: &mut Dice<'_>) -> Tags {
    const TAGS: [(&str, &str); 7] = [
        ("env", "prod"),
        ("env", "dev"),
        ("team", "payments"),
        ("ManagedBy", "Terraform"),
        ("aws:cloudformation:stack-name", "shop"),
        ("kubernetes.io/cluster/one", "owned"),
        ("kubernetes.io/cluster/one", "shared"),
    ];
    let mut tags = Tags::new();
    for (key, value) in TAGS {
        let likely = if key == "env" || key == "team" { 3 } else { 16 };
        if dice.one_in(likely) {
            tags.insert(key.to_owned(), value.to_owned());
        }
    }
    tags
}

/// Any grant, most often one that matters.
pub(crate) fn grant(dice: &mut Dice<'_>) -> Grant {
    let direction = if dice.one_in(4) { Direction::Egress } else { Direction::Ingress };
    Grant { direction, traffic: traffic(dice), peer: peer(dice) }
}

fn traffic(dice: &mut Dice<'_>) -> Traffic {
    match dice.below(12) {
        0..=3 => Traffic::Tcp(PortRange::single(*dice.pick(&PORTS))),
        4 | 5 => Traffic::Tcp(ports(dice)),
        6 => Traffic::All,
        7 => Traffic::Tcp(PortRange { from: u16::from(dice.one_in(2)), to: u16::MAX }),
        8 => Traffic::Udp(ports(dice)),
        9 => Traffic::Icmp(message(dice)),
        10 => Traffic::Icmpv6(message(dice)),
        _ => Traffic::Protocol(*dice.pick(&[50, 0, 47, 51, 132, 5, 255])),
    }
}

fn ports(dice: &mut Dice<'_>) -> PortRange {
    let (one, other) = (*dice.pick(&PORTS), *dice.pick(&PORTS));
    PortRange { from: one.min(other), to: one.max(other) }
}

fn message(dice: &mut Dice<'_>) -> IcmpMessage {
    let kind = *dice.pick(&[None, Some(8), Some(3), Some(11), Some(128), Some(0), Some(255)]);
    let code = kind.and(*dice.pick(&[None, Some(4), Some(0), Some(255)]));
    IcmpMessage { kind, code }
}

fn peer(dice: &mut Dice<'_>) -> Peer {
    match dice.below(8) {
        0..=4 => Peer::network(dice.pick(&NETWORKS).parse().unwrap()),
        5 => Peer::PrefixList(dice.pick(&LISTS).to_string()),
        6 => Peer::Group { id: dice.pick(&GROUPS).to_string(), account: ACCOUNT.to_owned() },
        _ => Peer::Group { id: "sg-x".to_owned(), account: OTHER_ACCOUNT.to_owned() },
    }
}

fn account(dice: &mut Dice<'_>) -> Account {
    Account {
        name: "prod".to_owned(),
        labels: BTreeMap::new(),
        account_id: ACCOUNT.to_owned(),
        regions: vec!["eu-west-1".to_owned()],
        namespaces: (0..3).map(|number| namespace_grant(dice, number)).collect(),
        writable: !dice.one_in(40),
        write_distrust: None,
        writes_stopped: dice.one_in(40),
        changes_per_hour: 1000,
        rules_per_group: *dice.pick(&[60, 60, 60, 10, 4]),
    }
}

fn namespace_grant(dice: &mut Dice<'_>, number: usize) -> NamespaceGrant {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let may_add_rules = match dice.below(4) {
        0 | 1 => {
            Some(MayAddRules { cidrs: texts(&["0.0.0.0/0", "::/0"]), ports: texts(&["tcp/0-65535", "udp/0-65535"]) })
        }
        2 => Some(MayAddRules { cidrs: texts(&["10.0.0.0/8"]), ports: texts(&["tcp/443"]) }),
        _ => None,
    };
    NamespaceGrant {
        name: Some(format!("team-{number}")),
        selector: None,
        max_mode: if dice.one_in(10) { Mode::Audit } else { Mode::Enforce },
        select: dice.one_in(10).then(|| Select { vpc_ids: vec!["vpc-1".to_owned()], ..Select::default() }),
        may_add_rules,
    }
}

/// A baseline of any of three namespaces.
pub(crate) fn baseline(dice: &mut Dice<'_>, number: usize) -> Baseline {
    let namespace = format!("team-{}", dice.below(3));
    Baseline {
        reference: BaselineRef {
            kind: Kind::SecurityGroup,
            namespace: namespace.clone(),
            name: format!("baseline-{number}"),
            uid: format!("uid-{number}"),
            generation: 1,
        },
        created: NOW,
        namespace: Namespace { name: namespace, labels: BTreeMap::new() },
        suspended: false,
        accounts: Accounts { names: vec!["prod".to_owned()], match_labels: BTreeMap::new() },
        regions: Vec::new(),
        select: select(dice),
        mode: *dice.pick(&[Mode::Audit, Mode::Propose, Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Enforce]),
        overrides: (0..dice.below(4).saturating_sub(1)).map(|_| over(dice)).collect(),
        infrastructure_as_code: InfrastructureAsCode {
            mode: if dice.one_in(3) { CodeMode::Enforce } else { CodeMode::Audit },
            tags: None,
        },
        remediation: Remediation::default(),
        parameters: parameters(dice).into(),
    }
}

fn select(dice: &mut Dice<'_>) -> Select {
    let exclude = dice.one_in(8).then(|| Match { names: vec!["*-db".to_owned()], ..Match::default() });
    let select = match dice.below(6) {
        0..=2 => Select { all: Some(true), ..Select::default() },
        3 => Select { tags: BTreeMap::from([("env".to_owned(), "p*".to_owned())]), ..Select::default() },
        4 => Select { vpc_ids: vec!["vpc-1".to_owned()], ..Select::default() },
        _ => Select { names: vec!["shop*".to_owned()], vpc_ids: vec!["vpc-*".to_owned()], ..Select::default() },
    };
    Select { exclude, ..select }
}

fn over(dice: &mut Dice<'_>) -> Override {
    // What is off unless its field is written is refused while it is to be enforced.
    let on = controls().filter(|control| control.about.default != "Off");
    let ids: Vec<&str> = on.map(|control| control.about.id).collect();
    let mode = *dice.pick(&[Some(OverrideMode::Enforce), Some(OverrideMode::Audit), Some(OverrideMode::Off), None]);
    let severity = *dice.pick(&[None, Some(Severity::Low), Some(Severity::Critical)]);
    Override {
        control: dice.pick(&ids).to_string(),
        mode,
        severity: severity.or(mode.is_none().then_some(Severity::High)),
    }
}

fn parameters(dice: &mut Dice<'_>) -> SecurityGroupParameters {
    SecurityGroupParameters {
        internet: (!dice.one_in(4)).then(|| internet(dice)),
        sources: dice.one_in(4).then(|| sources(dice)),
        required: dice.one_in(3).then(|| required(dice)),
        egress: dice.one_in(4).then(|| Egress { allow: declarations(dice, &EGRESS) }),
        default_group: dice.one_in(3).then(|| DefaultGroup {
            close: *dice.pick(&[Some(true), None, Some(false)]),
            forbid_use: *dice.pick(&[Some(true), None]),
        }),
        references: dice.one_in(3).then(|| References {
            trusted_accounts: Some(if dice.one_in(2) { vec![OTHER_ACCOUNT.to_owned()] } else { Vec::new() }),
            prefix_lists_may_be_world: *dice.pick(&[None, Some(true)]),
        }),
        hygiene: dice.one_in(3).then(|| hygiene(dice)),
    }
}

fn internet(dice: &mut Dice<'_>) -> Internet {
    const ALLOW: [&str; 6] = ["tcp/443", "tcp/80", "tcp/1000-2000", "udp/53", "tcp/8080", "tcp/0"];
    const PRESETS: [Preset; 4] = [Preset::Admin, Preset::FileSharing, Preset::Database, Preset::HighRisk];
    let strings = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let on_overlap = *dice.pick(&[None, Some(OnOverlap::Split), Some(OnOverlap::Replace), Some(OnOverlap::Report)]);
    let replace = on_overlap == Some(OnOverlap::Replace);
    Internet {
        allow_ports: match dice.below(5) {
            0..=2 => Some(strings(dice.some(&ALLOW))),
            3 => Some(Vec::new()),
            _ => None,
        },
        deny_all_traffic: *dice.pick(&[Some(true), None, Some(false)]),
        deny_presets: match dice.below(4) {
            0 => Some(PRESETS.to_vec()),
            1 => Some(dice.some(&PRESETS)),
            2 => Some(Vec::new()),
            _ => None,
        },
        on_overlap,
        replace_with: replace.then(|| strings(dice.some(&["203.0.113.0/24", "2001:db8::/32", "10.0.0.0/8"]))),
        broad_cidr: dice.one_in(4).then_some(BroadCidr { max_width_v4: Some(8), max_width_v6: Some(20) }),
        icmp: dice.one_in(3).then(|| Icmp {
            enabled: *dice.pick(&[None, Some(false)]),
            allowed_v4: dice.one_in(2).then(|| strings(dice.some(&["8", "3/4", "11"]))),
            allowed_v6: None,
        }),
    }
}

fn sources(dice: &mut Dice<'_>) -> Sources {
    let strings = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    Sources {
        cidrs: (!dice.one_in(5)).then(|| strings(dice.some(&NETWORKS))),
        prefix_lists: dice.one_in(3).then(|| strings(dice.some(&LISTS))),
        security_groups: dice.one_in(3).then(|| strings(dice.some(&GROUPS))),
        ports: dice.one_in(2).then(|| strings(dice.some(&["tcp/22", "tcp/0-1024", "udp", "icmp", "50", "tcp/5432"]))),
    }
}

/// Rules to require, as traffic and peer.
const REQUIRED: [(&str, &str); 9] = [
    ("tcp/443", "10.0.0.0/8"),
    ("tcp/22", "10.1.0.0/16"),
    ("tcp/443", "0.0.0.0/0"),
    ("tcp/20-30", "10.0.0.0/8"),
    ("tcp/22", "0.0.0.0/0"),
    ("tcp/5432", "10.0.0.0/8"),
    ("tcp/22", "203.0.113.0/24"),
    ("udp/0-65535", "fc00::/7"),
    ("tcp/8080", "8.0.0.0/8"),
];

fn required(dice: &mut Dice<'_>) -> Required {
    let ingress = declarations(dice, &REQUIRED);
    let egress = if dice.one_in(3) {
        declarations(dice, &[("tcp/443", "0.0.0.0/0"), ("tcp/443", "10.0.0.0/8")])
    } else {
        Vec::new()
    };
    Required { ingress, egress }
}

/// Destinations to allow, as traffic and peer.
const EGRESS: [(&str, &str); 10] = [
    ("tcp/443", "0.0.0.0/0"),
    ("tcp/443", "::/0"),
    ("tcp/0-65535", "10.0.0.0/8"),
    ("tcp/443", "10.0.0.0/9"),
    ("tcp/443", "10.128.0.0/9"),
    ("all", "sg-a"),
    ("all", "pl-1"),
    ("tcp/22", "10.1.0.0/16"),
    ("tcp/0-442", "0.0.0.0/0"),
    ("all", "10.0.0.0/8"),
];

fn declarations(dice: &mut Dice<'_>, from: &[(&str, &str)]) -> Vec<RuleDeclaration> {
    let description = *dice.pick(&[None, Some("required by the team"), Some("y")]);
    let declaration = |(traffic, peer): (&str, &str)| RuleDeclaration {
        traffic: traffic.to_owned(),
        peer: peer.to_owned(),
        description: description.map(str::to_owned),
    };
    let mut from = dice.some(from);
    from.truncate(3);
    from.into_iter().map(declaration).collect()
}

fn hygiene(dice: &mut Dice<'_>) -> Hygiene {
    Hygiene {
        min_description_length: *dice.pick(&[None, Some(3)]),
        allow_launch_wizard: *dice.pick(&[None, Some(true)]),
        rule_descriptions: dice.one_in(2).then(|| RuleDescriptions {
            required: *dice.pick(&[Some(true), None, Some(false)]),
            min_length: *dice.pick(&[None, Some(3)]),
            stamp_text: dice.pick(&[Some("see the wiki"), Some("stamped by baseward"), None]).map(str::to_owned),
        }),
        required_tags: dice.one_in(2).then(|| vec![required_tag(dice)]),
        max_rules: dice.one_in(4).then_some(MaxRules { ingress: Some(5), egress: Some(5) }),
        ..Hygiene::default()
    }
}

fn required_tag(dice: &mut Dice<'_>) -> RequiredTag {
    let default = *dice.pick(&[Some("payments"), Some("unknown"), None]);
    RequiredTag { key: "team".to_owned(), pattern: None, default: default.map(str::to_owned) }
}

/// Makes one of the demands of a baseline stricter.
pub(crate) fn tighten(dice: &mut Dice<'_>, baseline: &mut Baseline) {
    let SecurityGroupParameters { internet, sources, egress, default_group, references, .. } = parameters_mut(baseline);
    match (dice.below(8), internet) {
        (0, Some(internet)) => internet.allow_ports.iter_mut().for_each(|ports| drop(ports.pop())),
        (1, Some(internet)) => {
            let presets = [Preset::Admin, Preset::FileSharing, Preset::Database, Preset::HighRisk];
            internet.deny_presets = Some(presets.to_vec());
        }
        (2, Some(internet)) => internet.deny_all_traffic = Some(true),
        (3, Some(internet)) => {
            let allowed = internet.icmp.iter_mut().flat_map(|icmp| &mut icmp.allowed_v4);
            allowed.for_each(|allowed| drop(allowed.pop()));
        }
        (4, _) => sources.iter_mut().flat_map(|sources| &mut sources.cidrs).for_each(|cidrs| drop(cidrs.pop())),
        (5, _) => egress.iter_mut().for_each(|egress| drop(egress.allow.pop())),
        (6, _) => default_group.iter_mut().for_each(|group| group.close = Some(true)),
        _ => references.iter_mut().for_each(|references| references.trusted_accounts = Some(Vec::new())),
    }
}
