//! The test vectors of the control catalogue (3.1), and what the tests of the topics share.

use std::collections::BTreeMap;

use super::{Compiled, Control, GroupView, Remedy, SecurityGroupParameters, controls};
use crate::facts::{Direction, Grant, PrefixList, PrefixListEntries, Rule, SecurityGroup};
use crate::finding::Verdict;

/// The account that owns the groups of the tests.
pub(super) const OWNER: &str = "111122223333";

/// A rule from `tcp/22 from 0.0.0.0/0` or `all to sg-1`.
pub(super) fn rule(text: &str) -> Rule {
    let (direction, (traffic, peer)) = match text.split_once(" from ") {
        Some(parts) => (Direction::Ingress, parts),
        None => (Direction::Egress, text.split_once(" to ").unwrap()),
    };
    let peer = peer.parse::<crate::facts::Peer>().unwrap().in_account(OWNER);
    let grant = Grant { direction, traffic: traffic.parse().unwrap(), peer };
    Rule { grant, description: Some("described".to_owned()) }
}

pub(super) fn group(rules: &[&str]) -> SecurityGroup {
    let mut rules: Vec<Rule> = rules.iter().map(|text| rule(text)).collect();
    rules.sort();
    SecurityGroup {
        id: "sg-0".to_owned(),
        name: "shop".to_owned(),
        description: "front end of the shop".to_owned(),
        owner: OWNER.to_owned(),
        vpc: "vpc-1".to_owned(),
        tags: BTreeMap::new(),
        rules,
    }
}

pub(super) fn default_group(rules: &[&str]) -> SecurityGroup {
    SecurityGroup { name: "default".to_owned(), ..group(rules) }
}

pub(super) fn view(group: &SecurityGroup) -> GroupView<'_> {
    GroupView::new(group, Some(NO_USE), None)
}

const NO_USE: &BTreeMap<String, crate::facts::InterfaceUse> = &BTreeMap::new();

pub(super) fn recommended() -> Compiled {
    Compiled::new(&SecurityGroupParameters::default()).unwrap()
}

fn control(id: &str) -> &'static Control {
    controls().find(|control| control.about.id == id).unwrap()
}

pub(super) fn verdict(id: &str, group: &SecurityGroup) -> Verdict {
    verdict_with(&SecurityGroupParameters::default(), id, group)
}

pub(super) fn verdict_with(spec: &SecurityGroupParameters, id: &str, group: &SecurityGroup) -> Verdict {
    (control(id).check)(&Compiled::new(spec).unwrap(), &view(group))
}

pub(super) fn remedies(id: &str, group: &SecurityGroup) -> Vec<Remedy> {
    remedies_with(&SecurityGroupParameters::default(), id, group)
}

pub(super) fn remedies_with(spec: &SecurityGroupParameters, id: &str, group: &SecurityGroup) -> Vec<Remedy> {
    (control(id).remedy.unwrap())(&Compiled::new(spec).unwrap(), &view(group))
}

/// A customer's prefix list that could be read.
pub(super) fn list(id: &str, nets: &[&str]) -> BTreeMap<String, PrefixList> {
    let entries = PrefixListEntries::Known(nets.iter().map(|net| net.parse().unwrap()).collect());
    BTreeMap::from([(id.to_owned(), PrefixList { owner: OWNER.to_owned(), version: 1, max_entries: 10, entries })])
}

/// The verdict on tcp/22 alone, as the catalogue's table has it.
fn port_22(rules: &[&str], lists: Option<&BTreeMap<String, PrefixList>>) -> &'static str {
    let group = group(rules);
    let exposure = GroupView::new(&group, Some(NO_USE), lists).exposure;
    let port = "tcp/22".parse::<crate::traffic::Traffic>().unwrap().into();
    match (exposure.world.intersects(&port), exposure.unknown.intersects(&port)) {
        (true, _) => "Fail",
        (false, true) => "Unknown",
        (false, false) => "Pass",
    }
}

#[test]
fn sources_that_are_the_world_fail() {
    for source in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "8.0.0.0/7", "::/1", "2000::/3", "2600::/12"] {
        assert_eq!(port_22(&[&format!("tcp/22 from {source}")], None), "Fail", "{source}");
    }
    assert_eq!(port_22(&["tcp/22 from 0.0.0.0/1", "tcp/1-1024 from 128.0.0.0/1"], None), "Fail");
}

#[test]
fn traffic_that_covers_the_port_fails() {
    for traffic in ["all", "tcp/0-65535", "tcp/20-80", "6/22"] {
        assert_eq!(port_22(&[&format!("{traffic} from 0.0.0.0/0")], None), "Fail", "{traffic}");
    }
}

#[test]
fn traffic_that_does_not_cover_the_port_passes() {
    for traffic in ["tcp/23-80", "udp/22", "icmp/8", "50"] {
        assert_eq!(port_22(&[&format!("{traffic} from 0.0.0.0/0")], None), "Pass", "{traffic}");
    }
}

#[test]
fn private_broad_and_single_sources_and_groups_pass() {
    for source in ["10.0.0.0/8", "100.64.0.0/10", "10.0.0.0/7", "203.0.113.7/32", "sg-1", "sg-0", "444455556666/sg-1"] {
        assert_eq!(port_22(&[&format!("tcp/22 from {source}")], None), "Pass", "{source}");
    }
}

#[test]
fn a_prefix_list_is_judged_by_its_entries() {
    let list = |entries| PrefixList { owner: OWNER.to_owned(), version: 1, max_entries: 5, entries };
    let world = PrefixListEntries::Known(vec!["0.0.0.0/0".parse().unwrap()]);
    for (entries, expected) in [
        (world, "Fail"),
        (PrefixListEntries::Known(vec!["10.0.0.0/8".parse().unwrap()]), "Pass"),
        (PrefixListEntries::Unreadable, "Unknown"),
        (PrefixListEntries::AwsManaged, "Pass"),
    ] {
        let lists = BTreeMap::from([("pl-1".to_owned(), list(entries.clone()))]);
        assert_eq!(port_22(&["tcp/22 from pl-1"], Some(&lists)), expected, "{entries:?}");
    }
    assert_eq!(port_22(&["tcp/22 from pl-1"], None), "Unknown");
    assert_eq!(port_22(&["tcp/22 from pl-1", "tcp/22 from 0.0.0.0/0"], None), "Fail");
}

#[test]
fn there_are_twenty_controls_with_unique_ids() {
    let ids: std::collections::BTreeSet<_> = controls().map(|control| control.about.id).collect();
    assert_eq!((ids.len(), controls().count()), (20, 20));
}

#[test]
fn other_protocols_open_every_port_for_the_allow_list_only() {
    let group = group(&["50 from 0.0.0.0/0"]);
    assert_eq!(
        verdict("sg-world-ingress-only-allowed-ports", &group),
        Verdict::fail("nothing but tcp/80, tcp/443 from the internet", "protocol 50 from 0.0.0.0/0")
    );
    assert_eq!(verdict("sg-no-open-admin-ports", &group), Verdict::Pass);
}

#[test]
fn icmp_types_are_never_ports() {
    assert_eq!(verdict("sg-world-ingress-only-allowed-ports", &group(&["icmp/8 from 0.0.0.0/0"])), Verdict::Pass);
    let icmp = super::Icmp { enabled: Some(true), ..Default::default() };
    let internet = super::Internet { icmp: Some(icmp), ..Default::default() };
    let spec = SecurityGroupParameters { internet: Some(internet), ..Default::default() };
    let verdict = |rule| verdict_with(&spec, "sg-icmp-limited", &group(&[rule]));
    assert_eq!(verdict("icmp/3/4 from 0.0.0.0/0"), Verdict::Pass);
    assert!(matches!(verdict("icmp/8 from 0.0.0.0/0"), Verdict::Fail { .. }));
    assert!(matches!(verdict("icmp from 0.0.0.0/0"), Verdict::Fail { .. }));
    assert_eq!(verdict("icmp from 10.0.0.0/8"), Verdict::Pass);
    assert_eq!(verdict("tcp/8 from 0.0.0.0/0"), Verdict::Pass);
}

#[test]
fn names_that_have_controls_of_their_own_are_not_judged_twice() {
    let named = |name: &str| SecurityGroup { name: name.to_owned(), description: String::new(), ..group(&[]) };
    for name in ["default", "launch-wizard-3"] {
        assert!(matches!(verdict("sg-group-described", &named(name)), Verdict::NotApplicable { .. }), "{name}");
    }
    assert!(matches!(verdict("sg-group-described", &named("shop")), Verdict::Fail { .. }));
}
