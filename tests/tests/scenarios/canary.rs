//! What goes first, and what becomes of the rest.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use tests::emulator::{GroupSeed, Seed, Seeded};
use tests::{Scenario, wait_until};

use super::{
    ACCOUNT, BASELINE, REGION, WEB_ONLY, baseline, program, scenario, wait_for_change_set, wait_for_count,
    wait_for_ingress, wait_for_reason, wait_for_sweeps, writes,
};

/// Three groups in use, the first the most open.
async fn in_use(scenario: &Scenario<'_>) -> Result<Seeded> {
    let mut seed = Seed::in_region(REGION).with("clearDefaults", true.into());
    let groups = [("first", "tcp 22 0.0.0.0/0"), ("second", "tcp 8081 0.0.0.0/0"), ("third", "tcp 8082 0.0.0.0/0")];
    for (name, rule) in groups {
        seed = seed.group(GroupSeed::named(name).ingress([rule])?.egress([])?);
    }
    let interfaces: Vec<Value> =
        groups.iter().map(|(name, _)| json!({"key": format!("of-{name}"), "groups": [format!("@{name}")]})).collect();
    scenario.aws.seed(&seed.with("interfaces", interfaces.into())).await
}

fn with_canary(soak: &str) -> String {
    baseline("Enforce", &format!("{WEB_ONLY}\nremediation: {{canary: {{resources: 1, soak: {soak}}}}}"))
}

#[tokio::test]
async fn the_rest_follows_once_the_canary_has_stood() -> Result<()> {
    let scenario = scenario("canary").await?;
    let seeded = in_use(&scenario).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&with_canary("5s")).await?;
    wait_for_ingress(&scenario, &seeded, "third", &[]).await?;
    wait_for_ingress(&scenario, &seeded, "second", &[]).await?;
    let writes = writes(&scenario).await?;
    assert_eq!(writes[0].groups[0].group_id, seeded.group("first")?);
    let stood = writes[1].time - writes[0].time;
    assert!(stood >= 5.0, "the second write came {stood} s after the first");
    Ok(())
}

#[tokio::test]
async fn a_region_goes_first_also_if_writes_were_stopped_when_it_was_first_looked_at() -> Result<()> {
    let scenario = scenario("first-region").await?;
    for region in [REGION, "eu-central-1"] {
        let group = GroupSeed::named("bad").ingress(["tcp 22 0.0.0.0/0"])?.egress([])?;
        let interface: Value = json!([{"key": "of-bad", "groups": ["@bad"]}]);
        let seed = Seed::in_region(region).group(group).with("interfaces", interface);
        scenario.aws.seed(&seed.with("clearDefaults", true.into())).await?;
    }
    let account = ACCOUNT.replace("[eu-west-1]", "[eu-west-1, eu-central-1]");
    scenario.apply(&account.replace("  namespaces:", "  writes: Stopped\n  namespaces:")).await?;
    let canary = format!("{WEB_ONLY}\nremediation: {{canary: {{regions: [eu-west-1], soak: 5s}}}}");
    scenario.apply(&baseline("Enforce", &canary)).await?;
    let status = wait_for_count(&scenario, "withheld", "WritesStopped").await?;
    assert_eq!(status["violations"]["critical"], 2, "both regions were looked at: {status}");
    scenario.apply(&account).await?;
    wait_until("both regions are changed", scenario.patience, async || {
        ensure!(writes(&scenario).await?.len() == 2, "they are not");
        Ok(())
    })
    .await?;
    let writes = writes(&scenario).await?;
    let regions: Vec<Option<&str>> = writes.iter().map(|call| call.region.as_deref()).collect();
    assert_eq!(regions, [Some("eu-west-1"), Some("eu-central-1")]);
    let stood = writes[1].time - writes[0].time;
    assert!(stood >= 5.0, "the second write came {stood} s after the first");
    Ok(())
}

#[tokio::test]
async fn an_undo_of_the_canary_stops_the_rest_until_somebody_approves() -> Result<()> {
    let scenario = scenario("canary-undone").await?;
    scenario.may_open(["ingress tcp 22 0.0.0.0/0"])?;
    let seeded = in_use(&scenario).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&with_canary("24h")).await?;
    wait_for_ingress(&scenario, &seeded, "first", &[]).await?;
    let status = wait_for_count(&scenario, "withheld", "Canary").await?;
    let advice = status["worst"].as_array().unwrap().iter().find(|finding| finding["held"] == "Canary").unwrap();
    assert!(advice["advice"].as_str().unwrap().contains("has to stand until"), "{advice}");
    let word = async |words: &[&str]| -> Result<()> {
        let more = ["-n", &scenario.namespace, "--reason", "INC-77"];
        let said = program().run(scenario.world, words.iter().chain(&more)).await?;
        ensure!(said.code == 0, "{}", said.stderr);
        Ok(())
    };
    let applied = wait_for_change_set(&scenario, "Applied").await?.name_any();
    word(&["rollback", &applied, "--yes"]).await?;
    wait_for_ingress(&scenario, &seeded, "first", &["tcp 22 0.0.0.0/0"]).await?;
    wait_for_reason(&scenario, "Stalled", "True", "CanaryFailed").await?;
    let before = writes(&scenario).await?.len();
    wait_for_sweeps(&scenario, 1).await?;
    assert_eq!(writes(&scenario).await?.len(), before, "nothing follows");

    let proposed = wait_for_change_set(&scenario, "Proposed").await?.name_any();
    word(&["approve", &proposed]).await?;
    wait_for_ingress(&scenario, &seeded, "second", &[]).await?;
    wait_for_ingress(&scenario, &seeded, "third", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Stalled", "False").await?;
    wait_for_ingress(&scenario, &seeded, "first", &["tcp 22 0.0.0.0/0"]).await
}

#[tokio::test]
async fn a_canary_that_is_nowhere_is_refused() -> Result<()> {
    let scenario = scenario("no-canary").await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "remediation: {canary: {accounts: [staging]}}")).await?;
    let object = scenario.wait_for_condition(BASELINE, "edge", "Accepted", "False").await?;
    let conditions = object.data["status"]["conditions"].as_array().unwrap();
    let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted").unwrap();
    assert!(accepted["message"].as_str().unwrap().contains("remediation.canary"), "{accepted}");
    Ok(())
}
