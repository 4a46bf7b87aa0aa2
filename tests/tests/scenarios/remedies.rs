//! Remedies topic by topic: what each changes in AWS, by which calls, and what it leaves alone.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::emulator::{Fault, FaultKind, GroupSeed, Rule, Seed, Seeded};
use tests::flows::FlowSet;
use tests::{Scenario, wait_until};

use super::{ACCOUNT, BASELINE, REGION, WEB_ONLY, baseline, rules, scenario, wait_for_count, wait_for_fault, writes};

const ADD_EGRESS: &str = "AuthorizeSecurityGroupEgress";
const REWRITE: &str = "ModifySecurityGroupRules";
const REMOVE_INGRESS: &str = "RevokeSecurityGroupIngress";
const REMOVE_EGRESS: &str = "RevokeSecurityGroupEgress";

/// Makes these groups, and nothing of what AWS puts into every region.
async fn given(scenario: &Scenario<'_>, seed: Seed) -> Result<Seeded> {
    scenario.aws.seed(&seed.with("clearDefaults", true.into())).await
}

fn region() -> Seed {
    Seed::in_region(REGION)
}

async fn enforce(scenario: &Scenario<'_>, fields: &str) -> Result<()> {
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", fields)).await?;
    Ok(())
}

/// Waits until a group lets through exactly this, in and out.
async fn wait_for_flows(scenario: &Scenario<'_>, seeded: &Seeded, name: &str, expected: &[&str]) -> Result<()> {
    let expected = FlowSet::parse(expected.iter().copied())?;
    wait_until(&format!("group {name} lets through what it should"), scenario.patience, async || {
        let now = rules(scenario, seeded, name).await?;
        ensure!(FlowSet::of(&now)? == expected, "{now:?}");
        Ok(())
    })
    .await
}

/// Waits until the status says that so many groups fail a control, and returns it.
async fn wait_for_failures(scenario: &Scenario<'_>, control: &str, count: i64) -> Result<Value> {
    let what = format!("{count} groups fail {control}");
    let object = scenario
        .wait_for(BASELINE, "edge", &what, |object| {
            let controls = object.data.pointer("/status/controls").and_then(Value::as_array);
            controls.into_iter().flatten().any(|found| found["id"] == control && found["fail"] == count)
        })
        .await?;
    Ok(object.data["status"].clone())
}

/// The operations with which the controller wrote to a group, in order.
async fn operations(scenario: &Scenario<'_>, seeded: &Seeded, name: &str) -> Result<Vec<String>> {
    let id = seeded.group(name)?;
    let calls = writes(scenario).await?;
    let of_group = calls.iter().filter(|call| call.parameters.to_string().contains(id));
    Ok(of_group.map(|call| call.operation().to_owned()).collect())
}

#[tokio::test]
async fn a_customer_prefix_list_that_holds_the_world_is_the_world() -> Result<()> {
    let scenario = scenario("lists").await?;
    let lists = json!([
        {"key": "everybody", "name": "everybody", "entries": [{"cidr": "0.0.0.0/1"}, {"cidr": "128.0.0.0/1"}]},
        {"key": "office", "name": "office", "entries": [{"cidr": "198.51.100.0/24"}]},
    ]);
    let bastion = GroupSeed::named("bastion").ingress(["tcp 22 prefixlist @everybody", "tcp 22 prefixlist @office"])?;
    let wide = GroupSeed::named("wide").ingress(["tcp 0-65535 prefixlist @everybody"])?;
    let seed = region().with("prefixLists", lists).group(bastion.egress([])?).group(wide.egress([])?);
    let seeded = given(&scenario, seed).await?;
    let (world, office) = (&seeded.prefix_lists["everybody"], &seeded.prefix_lists["office"]);
    let forbidden = ["0-442", "444-65535"].map(|ports| format!("ingress tcp {ports} prefixlist {world}"));
    scenario.may_cut(forbidden.iter().map(String::as_str))?;
    enforce(&scenario, WEB_ONLY).await?;
    wait_for_flows(&scenario, &seeded, "bastion", &[&format!("ingress tcp 22 prefixlist {office}")]).await?;
    wait_for_flows(&scenario, &seeded, "wide", &[&format!("ingress tcp 443 prefixlist {world}")]).await?;
    assert_eq!(operations(&scenario, &seeded, "bastion").await?, [REMOVE_INGRESS]);
    assert_eq!(operations(&scenario, &seeded, "wide").await?, [REWRITE]);
    wait_for_failures(&scenario, "sg-no-open-admin-ports", 0).await?;
    wait_for_failures(&scenario, "sg-prefix-list-no-world", 1).await?;
    Ok(())
}

#[tokio::test]
async fn egress_is_narrowed_to_the_declared_destinations() -> Result<()> {
    let scenario = scenario("egress").await?;
    scenario.must_keep(["egress tcp 443 0.0.0.0/0", "egress udp 53 10.0.0.2/32"])?;
    let seed = region()
        .group(GroupSeed::named("worker").egress(["all 0.0.0.0/0"])?)
        .group(GroupSeed::named("shop").egress(["tcp 0-65535 0.0.0.0/0"])?)
        .group(GroupSeed::named("mailer").egress(["tcp 25 0.0.0.0/0", "tcp 443 10.0.0.0/8"])?);
    let seeded = given(&scenario, seed).await?;
    let allow = "egress: {allow: [{traffic: tcp/443, peer: 0.0.0.0/0}, {traffic: udp/53, peer: 10.0.0.2/32}]}";
    enforce(&scenario, allow).await?;
    let declared = ["egress tcp 443 0.0.0.0/0", "egress udp 53 10.0.0.2/32"];
    wait_for_flows(&scenario, &seeded, "worker", &declared).await?;
    wait_for_flows(&scenario, &seeded, "shop", &["egress tcp 443 0.0.0.0/0"]).await?;
    wait_for_flows(&scenario, &seeded, "mailer", &["egress tcp 443 10.0.0.0/8"]).await?;
    assert_eq!(operations(&scenario, &seeded, "worker").await?, [ADD_EGRESS, REMOVE_EGRESS]);
    assert_eq!(operations(&scenario, &seeded, "shop").await?, [REWRITE]);
    assert_eq!(operations(&scenario, &seeded, "mailer").await?, [REMOVE_EGRESS]);
    wait_for_failures(&scenario, "sg-no-unrestricted-egress", 0).await?;
    Ok(())
}

#[tokio::test]
async fn ingress_is_narrowed_to_the_declared_sources() -> Result<()> {
    let scenario = scenario("sources").await?;
    scenario.must_keep(["ingress tcp 22 10.0.0.0/8"])?;
    let db = ["tcp 22 0.0.0.0/0", "tcp 22 192.168.0.0/16", "tcp 5432 group @web", "tcp 5432 group @batch"];
    let seed = region()
        .group(GroupSeed::named("web"))
        .group(GroupSeed::named("batch"))
        .group(GroupSeed::named("db").ingress(db)?.egress([])?);
    let seeded = given(&scenario, seed).await?;
    let from = |name: &str| -> Result<String> {
        Ok(format!("ingress tcp 5432 group {}/{}", scenario.account, seeded.group(name)?))
    };
    let (web, batch) = (from("web")?, from("batch")?);
    scenario.may_cut(["ingress tcp 22 192.168.0.0/16", batch.as_str()])?;
    let sources = format!("sources: {{cidrs: [10.0.0.0/8], securityGroups: [{}]}}", seeded.group("web")?);
    enforce(&scenario, &sources).await?;
    wait_for_flows(&scenario, &seeded, "db", &["ingress tcp 22 10.0.0.0/8", &web]).await?;
    assert_eq!(operations(&scenario, &seeded, "db").await?, [REWRITE, REMOVE_INGRESS]);
    wait_for_failures(&scenario, "sg-ingress-from-allowed-sources", 0).await?;
    Ok(())
}

#[tokio::test]
async fn rules_for_groups_of_untrusted_accounts_go() -> Result<()> {
    let scenario = scenario("references").await?;
    let (partner, stranger) = ("444455556666/sg-0aaaaaaaaaaaaaaaa", "777788889999/sg-0bbbbbbbbbbbbbbbb");
    let rule = |peer: &str| -> Result<Value> {
        let (account, group) = peer.split_once('/').unwrap_or_default();
        let rule: Rule = format!("tcp 5432 group {group}").parse()?;
        Ok(serde_json::to_value(Rule { peer_account: Some(account.to_owned()), ..rule })?)
    };
    let ingress = json!([rule(partner)?, rule(stranger)?]);
    let group = GroupSeed::named("db").with("ingress", ingress).with("egress", json!([rule(stranger)?]));
    let seeded = given(&scenario, region().group(group)).await?;
    let strangers = ["ingress", "egress"].map(|way| format!("{way} tcp 5432 group {stranger}"));
    scenario.may_cut(strangers.iter().map(String::as_str))?;
    enforce(&scenario, "references: {trustedAccounts: [\"444455556666\"]}").await?;
    wait_for_flows(&scenario, &seeded, "db", &[&format!("ingress tcp 5432 group {partner}")]).await?;
    assert_eq!(operations(&scenario, &seeded, "db").await?, [REMOVE_INGRESS, REMOVE_EGRESS]);
    wait_for_failures(&scenario, "sg-no-untrusted-account-reference", 0).await?;
    Ok(())
}

/// The default group of a VPC as AWS makes it.
fn default(vpc: &str) -> Result<GroupSeed> {
    let own = format!("all group @{vpc}");
    let group = GroupSeed::named(vpc).ingress([own.as_str()])?.egress(["all 0.0.0.0/0"])?;
    Ok(group.with("vpc", vpc.into()).with("default", true.into()))
}

#[tokio::test]
async fn a_default_group_that_somebody_begins_to_use_after_the_plan_stays_open() -> Result<()> {
    let scenario = scenario("used-late").await?;
    let vpcs = json!([{"key": "spare", "cidr": "10.1.0.0/16"}]);
    let seeded = given(&scenario, region().with("vpcs", vpcs).group(default("spare")?)).await?;
    let before = rules(&scenario, &seeded, "spare").await?;
    let slow = Fault::from(FaultKind::Latency { milliseconds: 3000.0 }).on("DescribeSecurityGroupRules").nth(1);
    scenario.aws.set_faults(&[slow]).await?;
    enforce(&scenario, "defaultGroup: {close: true}").await?;
    wait_for_fault(&scenario, "the plan is made").await?;
    let interfaces = json!([{"key": "host", "groups": [seeded.group("spare")?]}]);
    scenario.aws.seed(&region().with("interfaces", interfaces)).await?;
    wait_for_count(&scenario, "withheld", "InUse").await?;
    assert_eq!(rules(&scenario, &seeded, "spare").await?, before);
    assert_eq!(operations(&scenario, &seeded, "spare").await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_default_group_is_closed_once_nothing_uses_it() -> Result<()> {
    let scenario = scenario("default").await?;
    let vpcs = json!([{"key": "spare", "cidr": "10.1.0.0/16"}, {"key": "busy", "cidr": "10.2.0.0/16"}]);
    let interfaces = json!([{"key": "host", "groups": ["@busy"]}]);
    let seed = region().with("vpcs", vpcs).group(default("spare")?).group(default("busy")?);
    let seeded = given(&scenario, seed.with("interfaces", interfaces)).await?;
    let own = format!("ingress all group {}/{}", scenario.account, seeded.group("spare")?);
    scenario.may_cut([own.as_str()])?;
    let busy = rules(&scenario, &seeded, "busy").await?;
    enforce(&scenario, "defaultGroup: {close: true}").await?;
    wait_for_flows(&scenario, &seeded, "spare", &[]).await?;
    assert_eq!(operations(&scenario, &seeded, "spare").await?, [REMOVE_INGRESS, REMOVE_EGRESS]);
    wait_for_count(&scenario, "withheld", "InUse").await?;
    let status = wait_for_failures(&scenario, "sg-default-closed", 1).await?;
    let worst = status["worst"].as_array().unwrap();
    let open = worst.iter().find(|found| found["control"] == "sg-default-closed").unwrap();
    assert_eq!((&open["resource"], &open["held"]), (&json!(seeded.group("busy")?), &json!("InUse")), "{status}");
    assert_eq!(rules(&scenario, &seeded, "busy").await?, busy);
    Ok(())
}

#[tokio::test]
async fn rules_are_described_and_let_through_the_same() -> Result<()> {
    let scenario = scenario("stamp").await?;
    let short: Rule = "tcp 8443 10.0.0.0/8".parse()?;
    let told: Rule = "tcp 443 0.0.0.0/0".parse()?;
    let ingress = json!(["tcp 22 10.0.0.0/8".parse::<Rule>()?, short.described("x"), told.described("the shop")]);
    let group = GroupSeed::named("app").with("ingress", ingress).egress(["udp 53 10.0.0.2/32"])?;
    let seeded = given(&scenario, region().group(group)).await?;
    let mut expected = rules(&scenario, &seeded, "app").await?;
    for rule in expected.ingress.iter_mut().chain(&mut expected.egress) {
        if rule.description.as_deref() != Some("the shop") {
            rule.description = Some("described by Baseward".to_owned());
        }
    }
    enforce(&scenario, "hygiene: {ruleDescriptions: {stampText: described by Baseward}}").await?;
    wait_for_failures(&scenario, "sg-rule-described", 0).await?;
    assert_eq!(rules(&scenario, &seeded, "app").await?, expected);
    assert_eq!(operations(&scenario, &seeded, "app").await?, [REWRITE]);
    Ok(())
}

#[tokio::test]
async fn tags_that_are_missing_get_their_default_and_no_value_is_overwritten() -> Result<()> {
    let scenario = scenario("tags").await?;
    let seed = region()
        .group(GroupSeed::named("bare"))
        .group(GroupSeed::named("owned").tag("owner", "Team 7"))
        .group(GroupSeed::named("complete").tag("owner", "web").tag("stage", "prod"));
    let seeded = given(&scenario, seed).await?;
    let owner = "{key: owner, pattern: \"^[a-z]+$\", default: unknown}";
    enforce(&scenario, &format!("hygiene: {{requiredTags: [{owner}, {{key: stage, default: none}}]}}")).await?;
    // The value that does not match stays a violation.
    wait_for_failures(&scenario, "sg-required-tags", 1).await?;
    for (name, owner, stage) in [("bare", "unknown", "none"), ("owned", "Team 7", "none"), ("complete", "web", "prod")]
    {
        let tags = scenario.aws.group(REGION, seeded.group(name)?).await?.tags;
        let expected = [("owner", owner), ("stage", stage)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(tags, BTreeMap::from(expected), "{name}");
        let written: &[&str] = if name == "complete" { &[] } else { &["CreateTags"] };
        assert_eq!(operations(&scenario, &seeded, name).await?, written, "{name}");
    }
    let own = writes(&scenario).await?.into_iter().find(|call| call.parameters.to_string().contains("Team 7"));
    assert!(own.is_none(), "{own:?}");
    Ok(())
}
