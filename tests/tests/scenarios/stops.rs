//! Stops in the middle of a drain: what is under way ends, nothing more is begun, reading goes on.

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tests::emulator::{Fault, FaultKind, Seeded};
use tests::{Scenario, World, wait_until};

use super::{
    ACCOUNT, BASELINE, WEB_ONLY, baseline, given, program, scenario, wait_for_count, wait_for_fault, wait_for_ingress,
    wait_for_sweeps, writes,
};

const GROUPS: [&str; 4] = ["one", "two", "three", "four"];

/// As long as a write may take, or nearly so: time enough for a person.
const MILLISECONDS: f64 = 2500.0;

/// Four holes are being closed, and the second repair is under way.
async fn draining(scenario: &Scenario<'_>) -> Result<Seeded> {
    let slow = Fault::from(FaultKind::Latency { milliseconds: MILLISECONDS }).on("Revoke*").nth(2);
    scenario.aws.set_faults(&[slow]).await?;
    let ssh: &[&str] = &["tcp 22 0.0.0.0/0"];
    let seeded = given(scenario, &GROUPS.map(|group| (group, ssh))).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_fault(scenario, "the second repair is under way").await?;
    Ok(seeded)
}

async fn patch(scenario: &Scenario<'_>, kind: &str, name: &str, spec: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": spec}));
    scenario.api(kind).await?.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// The status says why, sweeps go on, and no repair has begun since the one that was under way.
async fn nothing_more_is_written(scenario: &Scenario<'_>, reason: &str) -> Result<()> {
    let status = wait_for_count(scenario, "withheld", reason).await?;
    assert_eq!(status["withheld"][reason], 2, "{status}");
    wait_for_sweeps(scenario, 1).await?;
    let written = writes(scenario).await?;
    ensure!(written.len() == 2, "{written:?}");
    Ok(())
}

async fn all_are_closed(scenario: &Scenario<'_>, seeded: &Seeded) -> Result<()> {
    for group in GROUPS {
        wait_for_ingress(scenario, seeded, group, &[]).await?;
    }
    let written = writes(scenario).await?;
    ensure!(written.len() == GROUPS.len(), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn the_kill_switch_of_an_account_stops_all_but_the_call_under_way_until_it_is_off_again() -> Result<()> {
    let scenario = scenario("kill-switch").await?;
    let seeded = draining(&scenario).await?;
    patch(&scenario, "AWSAccount", &scenario.namespace, json!({"writes": "Stopped"})).await?;
    nothing_more_is_written(&scenario, "WritesStopped").await?;
    patch(&scenario, "AWSAccount", &scenario.namespace, json!({"writes": "Allowed"})).await?;
    all_are_closed(&scenario, &seeded).await
}

#[tokio::test]
async fn a_flip_to_audit_stops_all_but_the_call_under_way() -> Result<()> {
    let scenario = scenario("flip").await?;
    let seeded = draining(&scenario).await?;
    patch(&scenario, BASELINE, "edge", json!({"mode": "Audit"})).await?;
    nothing_more_is_written(&scenario, "Audit").await?;
    patch(&scenario, BASELINE, "edge", json!({"mode": "Enforce"})).await?;
    all_are_closed(&scenario, &seeded).await
}

/// The flag of a process is changed by a restart.
#[tokio::test]
async fn the_kill_switch_of_the_controller_stops_all_accounts_until_it_is_off_again() -> Result<()> {
    let world = World::start().await?;
    let enforcing = program().start(&world).await?;
    let mut scenario = world.scenario("stop-writes").await?;
    scenario.patience = std::time::Duration::from_secs(60);
    let seeded = draining(&scenario).await?;
    enforcing.terminate().await?;
    let stopped = program().start_with(&world, &["--stop-writes"]).await?;
    nothing_more_is_written(&scenario, "WritesStopped").await?;
    let advice = scenario.status(BASELINE, "edge").await?["worst"].to_string();
    assert!(advice.contains("--stop-writes"), "{advice}");
    let log = stopped.terminate().await?.read()?;
    assert!(!log.contains(r#""target":"audit""#), "{log}");
    let _enforcing = program().start(&world).await?;
    wait_until("the other two are closed", scenario.patience, async || {
        ensure!(writes(&scenario).await?.len() == GROUPS.len(), "not yet");
        Ok(())
    })
    .await?;
    all_are_closed(&scenario, &seeded).await
}
