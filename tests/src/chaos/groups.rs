//! The groups of a chaos run, each bad in a way of its own, and the baseline that puts them right.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use super::fleet::REGION;
use super::names::Names;
use crate::emulator::{AccountApi, Call, Group, GroupChange, GroupRules, GroupSeed, Rule, Seed, Seeded};
use crate::scenario::Scenario;

const STRANGER: &str = "777788889999/sg-0bbbbbbbbbbbbbbbb";
/// What every group must let in.
const REQUIRED: &str = "tcp 9100 10.1.0.0/16";

/// The account and the baseline. Nothing waits for the interval: a run that ends in time was never left to it.
const DECLARED: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: AWSAccount
metadata: {name: $NAMESPACE}
spec:
  accountId: "$ACCOUNT"
  regions: [eu-west-1]
  readRole: arn:aws:iam::$ACCOUNT:role/baseward-read
  writeRole: arn:aws:iam::$ACCOUNT:role/baseward-write
  namespaces:
  - {name: $NAMESPACE, maxMode: Enforce, mayAddRules: {cidrs: [10.1.0.0/16], ports: [tcp/9100]}}
---
apiVersion: baseward.dev/v1alpha1
kind: SecurityGroupBaseline
metadata: {name: edge, namespace: $NAMESPACE}
spec:
  accounts: {names: [$NAMESPACE]}
  select: {all: true}
  mode: Enforce
  interval: 1h
  internet:
    allowPorts: [tcp/80, tcp/443]
    denyPresets: [Admin, FileSharing, Database, HighRisk]
    denyAllTraffic: true
  egress: {allow: [{traffic: tcp/443, peer: 0.0.0.0/0}, {traffic: udp/53, peer: 10.0.0.2/32}]}
  required: {ingress: [{traffic: tcp/9100, peer: 10.1.0.0/16, description: probes}]}
  defaultGroup: {close: true}
  references: {trustedAccounts: ["444455556666"]}
  hygiene:
    ruleDescriptions: {required: true, stampText: described by Baseward}
    requiredTags: [{key: owner, default: unknown}]
"#;

/// Makes the groups and applies the account and the baseline.
pub(super) async fn set_up(scenario: &Scenario<'_>) -> Result<Seeded> {
    let seeded = scenario.aws.seed(&seed()?).await?;
    let (everybody, own) = (seeded.prefix_lists.get("everybody").cloned().unwrap_or_default(), seeded.group("spare")?);
    scenario.may_open([format!("ingress {REQUIRED}").as_str()])?;
    scenario.must_keep(["egress tcp 443 0.0.0.0/0", "egress udp 53 10.0.0.2/32"])?;
    let forbidden = [
        format!("ingress tcp 22 prefixlist {everybody}"),
        format!("ingress tcp 5432 group {STRANGER}"),
        format!("egress tcp 5432 group {STRANGER}"),
        format!("ingress all group {}/{own}", scenario.account),
    ];
    scenario.may_cut(forbidden.iter().map(String::as_str))?;
    scenario.apply(DECLARED).await?;
    Ok(seeded)
}

/// The group that a write is about.
pub(super) fn target(call: &Call) -> &str {
    let parameters = &call.parameters;
    let group = parameters.get("GroupId").or_else(|| parameters.pointer("/Resources/0"));
    group.and_then(Value::as_str).unwrap_or_default()
}

/// Every rule and every tag of every group.
pub(super) async fn state(aws: &AccountApi, names: &Names) -> Result<BTreeSet<String>> {
    let of_group = |group: &Group| {
        let tags = group.tags.iter().map(|(key, value)| format!("tag {key}={value}"));
        let lines = rules_in_words(names, &group.rules).into_iter().chain(tags);
        lines.map(|line| format!("{} {line}", group.name)).collect::<Vec<String>>()
    };
    Ok(aws.groups(REGION).await?.iter().flat_map(of_group).collect())
}

/// The rules of the groups that a call has touched, before it and after it.
pub(super) fn states(call: &Call, names: &Names) -> (BTreeSet<String>, BTreeSet<String>) {
    let of = |rules: fn(&GroupChange) -> GroupRules| {
        call.groups.iter().flat_map(|change| rules_in_words(names, &rules(change))).collect()
    };
    (of(GroupChange::rules_before), of(GroupChange::rules_after))
}

fn rules_in_words(names: &Names, rules: &GroupRules) -> BTreeSet<String> {
    let text = |direction: &str, rule: &Rule| {
        let account = rule.peer_account.as_deref().unwrap_or_default();
        let description = rule.description.as_deref().unwrap_or_default();
        names.translate(&format!("{direction} {rule} {account} # {description} {:?}", rule.tags))
    };
    let ingress = rules.ingress.iter().map(|rule| text("ingress", rule));
    ingress.chain(rules.egress.iter().map(|rule| text("egress", rule))).collect()
}

fn seed() -> Result<Seed> {
    let lists = json!([
        {"key": "everybody", "name": "everybody", "entries": [{"cidr": "0.0.0.0/1"}, {"cidr": "128.0.0.0/1"}]},
    ]);
    let spare = GroupSeed::named("spare").ingress(["all group @spare"])?.egress(["tcp 25 0.0.0.0/0"])?;
    let stranger = json!([described(stranger()?, "partner")]);
    let seed = Seed::in_region(REGION)
        .with("clearDefaults", true.into())
        .with("vpcs", json!([{"key": "spare", "cidr": "10.1.0.0/16"}]))
        .with("prefixLists", lists)
        .group(spare.with("vpc", "spare".into()).with("default", true.into()).tag("owner", "web"))
        .group(good("web", &["tcp 443 0.0.0.0/0", "tcp 443 ::/0"])?)
        .group(good("bastion", &["tcp 22 0.0.0.0/0", "tcp 22 203.0.113.7/32"])?)
        .group(good("split", &["tcp 0-65535 0.0.0.0/0", "tcp 8443 10.0.0.0/8"])?)
        .group(good("in-place", &["tcp 443-8443 0.0.0.0/0"])?)
        .group(good("everything", &["all ::/0"])?)
        .group(good("halves", &["tcp 3389 0.0.0.0/1", "tcp 3389 128.0.0.0/1"])?)
        .group(good("listed", &["tcp 22 prefixlist @everybody", "tcp 22 198.51.100.0/24"])?)
        .group(referenced(&stranger)?.with("egress", stranger))
        .group(good("worker", &[])?.egress(["all 0.0.0.0/0"])?)
        .group(GroupSeed::named("unprobed").tag("owner", "web").egress([])?)
        .group(GroupSeed::named("untagged").with("ingress", json!([required()?])).egress([])?)
        .group(plain("undescribed", &["tcp 8443 10.0.0.0/8", "tcp 9443 10.0.0.0/8"])?.tag("owner", "web"))
        .group(plain("neglected", &["tcp 22-443 0.0.0.0/0", "all ::/0", "tcp 8443 10.0.0.0/8"])?);
    Ok(seed)
}

/// A group with nothing wrong but these rules.
fn good(name: &str, rules: &[&str]) -> Result<GroupSeed> {
    let rules = rules.iter().map(|rule| Ok(described(rule.parse()?, "known")));
    let rules: Vec<Value> = rules.chain([required()]).collect::<Result<_>>()?;
    GroupSeed::named(name).tag("owner", "web").with("ingress", rules.into()).egress([])
}

fn referenced(strange: &Value) -> Result<GroupSeed> {
    let ingress: Vec<Value> = strange.as_array().into_iter().flatten().cloned().chain([required()?]).collect();
    Ok(GroupSeed::named("referenced").tag("owner", "web").with("ingress", ingress.into()))
}

/// A group whose rules have no description.
fn plain(name: &str, rules: &[&str]) -> Result<GroupSeed> {
    let rules = rules.iter().map(|rule| Ok(serde_json::to_value(rule.parse::<Rule>()?)?));
    let rules: Vec<Value> = rules.chain([required()]).collect::<Result<_>>()?;
    GroupSeed::named(name).with("ingress", rules.into()).egress([])
}

fn required() -> Result<Value> {
    Ok(described(REQUIRED.parse()?, "probes"))
}

fn stranger() -> Result<Rule> {
    let (account, group) = STRANGER.split_once('/').unwrap_or_default();
    let rule: Rule = format!("tcp 5432 group {group}").parse()?;
    Ok(Rule { peer_account: Some(account.to_owned()), ..rule })
}

fn described(rule: Rule, description: &str) -> Value {
    json!(rule.described(description))
}
