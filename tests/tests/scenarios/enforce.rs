//! What `Enforce` changes: exactly what the YAML says, in the right order, written down first.

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::emulator::Direction;
use tests::wait_until;

use super::{
    ACCOUNT, BASELINE, WEB_ONLY, baseline, given, rules, scenario, wait_for_change_set, wait_for_count, wait_for_fault,
    wait_for_ingress, writes,
};

#[tokio::test]
async fn holes_close_and_legitimate_flows_stay() -> Result<()> {
    let scenario = scenario("holes").await?;
    let seeded = given(
        &scenario,
        &[
            ("bastion", &["tcp 22 0.0.0.0/0", "tcp 22 203.0.113.7/32"]),
            ("wide", &["tcp 0-65535 0.0.0.0/0", "tcp 8443 10.0.0.0/8"]),
            ("everything", &["all ::/0"]),
            ("halves", &["tcp 3389 0.0.0.0/1", "tcp 3389 128.0.0.0/1"]),
            ("web", &["tcp 443 0.0.0.0/0"]),
        ],
    )
    .await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &["tcp 22 203.0.113.7/32"]).await?;
    wait_for_ingress(&scenario, &seeded, "wide", &["tcp 443 0.0.0.0/0", "tcp 8443 10.0.0.0/8"]).await?;
    wait_for_ingress(&scenario, &seeded, "everything", &["tcp 443 ::/0"]).await?;
    wait_for_ingress(&scenario, &seeded, "halves", &[]).await?;
    wait_for_ingress(&scenario, &seeded, "web", &["tcp 443 0.0.0.0/0"]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Reconciling", "False").await?;
    let status = scenario.status(BASELINE, "edge").await?;
    assert_eq!(status["violations"]["critical"], 0, "{status}");
    Ok(())
}

#[tokio::test]
async fn a_split_adds_before_it_removes_and_keeps_the_description() -> Result<()> {
    let scenario = scenario("split").await?;
    let seeded = given(&scenario, &[("shop", &["tcp 80-443 0.0.0.0/0 # the shop"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/80, tcp/443]}")).await?;
    wait_for_ingress(&scenario, &seeded, "shop", &["tcp 80 0.0.0.0/0", "tcp 443 0.0.0.0/0"]).await?;
    let operations: Vec<String> = writes(&scenario).await?.iter().map(|call| call.operation().to_owned()).collect();
    assert_eq!(operations, ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"]);
    let left = rules(&scenario, &seeded, "shop").await?.ingress;
    assert!(left.iter().all(|rule| rule.description.as_deref() == Some("the shop")), "{left:?}");
    Ok(())
}

#[tokio::test]
async fn one_rule_that_becomes_one_is_rewritten_in_place() -> Result<()> {
    let scenario = scenario("in-place").await?;
    let seeded = given(&scenario, &[("shop", &["tcp 0-65535 0.0.0.0/0 # the shop"])]).await?;
    let before = rules(&scenario, &seeded, "shop").await?.ingress[0].rule_id.clone();
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "shop", &["tcp 443 0.0.0.0/0"]).await?;
    let left = rules(&scenario, &seeded, "shop").await?.ingress;
    assert_eq!((left[0].rule_id.clone(), left[0].description.as_deref()), (before, Some("the shop")));
    assert_eq!(writes(&scenario).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_change_set_is_there_before_the_first_write_and_holds_the_undo_data() -> Result<()> {
    let scenario = scenario("journal").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0 # break glass"])]).await?;
    let slow = tests::emulator::FaultKind::Latency { milliseconds: 1000.0 };
    scenario.aws.set_faults(&[tests::emulator::Fault::from(slow).on("Revoke*").nth(1)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_fault(&scenario, "the first write is under way").await?;
    let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0].data["status"]["phase"], serde_json::Value::Null, "one write, and the outcome follows");
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    let set = wait_for_change_set(&scenario, "Applied").await?;
    let write = &writes(&scenario).await?[0];
    let edit = &set.data["spec"]["edits"][0];
    assert_eq!(edit["resource"], seeded.group("bastion")?);
    let before = &edit["before"][0];
    let expected = [
        ("direction", "Ingress"),
        ("protocol", "tcp"),
        ("ports", "22"),
        ("peer", "0.0.0.0/0"),
        ("description", "break glass"),
    ];
    for (field, value) in expected {
        assert_eq!(before[field], value, "{before}");
    }
    assert!(before["ruleId"].as_str().is_some_and(|id| id.starts_with("sgr-")), "{before}");
    let outcome = &set.data["status"]["edits"][0];
    assert_eq!(outcome["outcome"], "Verified");
    assert_eq!(outcome["requestIds"][0].as_str(), write.request_id.as_deref());
    let refused = scenario
        .kubectl
        .run([
            "patch",
            "chg",
            set.metadata.name.as_deref().unwrap(),
            "--type=merge",
            "-p",
            r#"{"spec":{"hash":"forged"}}"#,
        ])
        .await;
    assert!(refused.unwrap_err().to_string().contains("cannot be changed"));
    Ok(())
}

#[tokio::test]
async fn a_rogue_hand_is_closed_again() -> Result<()> {
    let scenario = scenario("rogue").await?;
    let seeded = given(&scenario, &[("bastion", &[])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    let hand = tests::emulator::ForeignChange::of_group(seeded.group("bastion")?)
        .authorize(Direction::Ingress, "tcp 22 0.0.0.0/0".parse()?);
    let fault = tests::emulator::Fault::from(tests::emulator::FaultKind::ForeignWrite { change: hand })
        .on("DescribeSecurityGroups");
    scenario.aws.set_faults(&[fault]).await?;
    wait_until("the hand has struck", scenario.patience, async || {
        ensure!(!scenario.aws.calls(0, "ForeignWrite").await?.is_empty(), "not yet");
        Ok(())
    })
    .await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn required_rules_are_added_as_far_as_the_account_grants() -> Result<()> {
    let scenario = scenario("required").await?;
    scenario.may_open(["ingress tcp 443 10.1.0.0/16"])?;
    let seeded = given(&scenario, &[("app", &["tcp 22 10.0.0.0/8"])]).await?;
    let grant = "maxMode: Enforce, mayAddRules: {cidrs: [10.0.0.0/8], ports: [tcp/443]}";
    scenario.apply(&ACCOUNT.replace("maxMode: Enforce", grant)).await?;
    let required = "required: {ingress: [{traffic: tcp/443, peer: 10.1.0.0/16, description: probes}]}";
    scenario.apply(&baseline("Enforce", required)).await?;
    wait_for_ingress(&scenario, &seeded, "app", &["tcp 22 10.0.0.0/8", "tcp 443 10.1.0.0/16"]).await
}

#[tokio::test]
async fn what_the_baseline_does_not_write_is_reported_and_left_alone() -> Result<()> {
    let scenario = scenario("not-named").await?;
    scenario.must_keep(["ingress tcp 5432 0.0.0.0/0"])?;
    let seeded = given(&scenario, &[("db", &["tcp 5432 0.0.0.0/0", "tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "internet: {denyPresets: [Admin]}")).await?;
    wait_for_ingress(&scenario, &seeded, "db", &["tcp 5432 0.0.0.0/0"]).await?;
    let status = wait_for_count(&scenario, "withheld", "NotNamed").await?;
    let finding =
        |control: &str| status["worst"].as_array().unwrap().iter().find(|found| found["control"] == control).cloned();
    let unnamed: Value = finding("sg-world-ingress-only-allowed-ports").unwrap();
    assert_eq!(unnamed["held"], "NotNamed");
    Ok(())
}
