//! Outages and rivals, each in a world of its own, since everybody in it is hit.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{Scenario, World, wait_until};

use super::{ACCOUNT, BASELINE, WEB_ONLY, baseline, given, program, wait_for_ingress, wait_for_reason, writes};

async fn enforcing(scenario: &Scenario<'_>) -> Result<tests::emulator::Seeded> {
    let seeded = given(scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    Ok(seeded)
}

#[tokio::test]
async fn an_api_server_that_is_away_for_a_while_needs_no_restart() -> Result<()> {
    let world = World::start().await?;
    let mut controller = program().start(&world).await?;
    let scenario = world.scenario("api-outage").await?;
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    world.control_plane.kill_api_server().await;
    // Long enough for the lease to run out: without it and without a journal nothing may be written.
    let reopened = given(&scenario, &[("second", &["tcp 22 0.0.0.0/0"])]).await?;
    let before = writes(&scenario).await?.len();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(writes(&scenario).await?.len(), before);
    world.control_plane.restart_api_server().await?;
    wait_until("the second group is closed", Duration::from_secs(90), async || {
        let rules = scenario.aws.group(super::REGION, reopened.group("second")?).await?.rules;
        ensure!(rules.ingress.is_empty(), "{rules:?}");
        Ok(())
    })
    .await?;
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    Ok(())
}

#[tokio::test]
async fn an_aws_that_does_not_answer_is_said_and_needs_no_restart() -> Result<()> {
    let world = World::start().await?;
    let _controller = program().start(&world).await?;
    let mut scenario = world.scenario("aws-outage").await?;
    scenario.patience = Duration::from_secs(240);
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Observed", "True").await?;
    world.emulator.freeze(true).await?;
    wait_for_reason(&scenario, "Observed", "False", "EndpointUnavailable").await?;
    world.emulator.freeze(false).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Observed", "True").await?;
    Ok(())
}

#[tokio::test]
async fn a_second_process_stands_by_and_takes_over_when_the_first_freezes() -> Result<()> {
    let world = World::start().await?;
    let mut first = program().start(&world).await?;
    let mut second = program().start(&world).await?;
    let mut scenario = world.scenario("leaders").await?;
    scenario.patience = Duration::from_secs(90);
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    assert!(second.log().read()?.lines().all(|line| !line.contains("Writing")), "the second process wrote");
    first.process().freeze(true)?;
    let again = given(&scenario, &[("second", &["tcp 22 0.0.0.0/0"])]).await?;
    wait_for_ingress(&scenario, &again, "second", &[]).await?;
    assert!(second.log().read()?.contains("Writing"));
    first.process().freeze(false)?;
    wait_until("the first process ends, since another one leads", Duration::from_secs(30), async || {
        ensure!(first.process().exited()?.is_some(), "it still runs");
        Ok(())
    })
    .await?;
    ensure!(second.process().exited()?.is_none(), "the second process has ended");
    Ok(())
}

#[tokio::test]
async fn a_graceful_stop_gives_the_lease_back() -> Result<()> {
    let world = World::start().await?;
    let controller = program().start(&world).await?;
    let scenario = world.scenario("stop").await?;
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    let log = controller.terminate().await?;
    assert!(log.read()?.contains("Lease given back"), "{}", log.tail());
    Ok(())
}

#[tokio::test]
async fn an_object_that_no_longer_decodes_does_not_stop_the_others() -> Result<()> {
    let world = World::start().await?;
    let scenario = world.scenario("undecodable").await?;
    let loosen = r#"[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema","value":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}]"#;
    let crd = "securitygroupbaselines.baseward.dev";
    scenario.kubectl.run(["patch", "crd", crd, "--type=json", "-p", loosen]).await?;
    let bad = baseline("Bogus", "").replace("name: edge", "name: broken");
    wait_until("the looser schema is served", scenario.patience, async || scenario.apply(&bad).await).await?;
    let _controller = program().start(&world).await?;
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario
        .wait_for(BASELINE, "broken", "it says that it cannot be read", |object| {
            object.data["status"]["conditions"][0]["reason"] == "Undecodable"
        })
        .await?;
    Ok(())
}
