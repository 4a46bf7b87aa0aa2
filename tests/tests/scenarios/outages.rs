//! Outages and rivals, each in a world of its own, since everybody in it is hit.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::baseward::Controller;
use tests::emulator::{Call, Fault, FaultKind, Seeded};
use tests::{Scenario, World, wait_until};

use super::{
    ACCOUNT, BASELINE, WEB_ONLY, baseline, given, program, wait_for_fault, wait_for_ingress, wait_for_reason,
    wait_for_sweeps, writes,
};

async fn enforcing(scenario: &Scenario<'_>) -> Result<Seeded> {
    let seeded = given(scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    Ok(seeded)
}

#[tokio::test]
async fn an_api_server_that_is_away_for_half_a_minute_needs_no_restart() -> Result<()> {
    let world = World::start().await?;
    let mut controller = program().start(&world).await?;
    let mut scenario = world.scenario("api-outage").await?;
    scenario.patience = Duration::from_secs(90);
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    world.control_plane.kill_api_server().await;
    let reopened = given(&scenario, &[("second", &["tcp 22 0.0.0.0/0"])]).await?;
    let before = writes(&scenario).await?.len();
    // Sweeps go on, ten seconds apart. The first sees the hole while the lease is still good, the last long after it.
    wait_for_sweeps(&scenario, 2).await?;
    assert_eq!(writes(&scenario).await?.len(), before, "without a journal and without a lease nothing is written");
    world.control_plane.restart_api_server().await?;
    wait_for_ingress(&scenario, &reopened, "second", &[]).await?;
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

/// How many sweeps have not read everything.
async fn sweeps_that_failed(controller: &Controller) -> Result<u64> {
    let metrics = controller.http("/metrics").await?;
    let failed =
        metrics.lines().filter(|line| line.starts_with("baseward_sweeps_total") && line.contains("\"failed\""));
    failed.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<u64>()?)).sum()
}

#[tokio::test]
async fn an_aws_that_is_killed_and_comes_back_without_its_sessions_needs_no_restart() -> Result<()> {
    let world = World::start().await?;
    let mut controller = program().start(&world).await?;
    let mut scenario = world.scenario("aws-killed").await?;
    scenario.patience = Duration::from_secs(120);
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario.judge().await?;
    world.emulator.kill().await;
    wait_for_reason(&scenario, "Observed", "False", "EndpointUnavailable").await?;
    wait_until("the outage lasts for two sweeps", scenario.patience, async || {
        let failed = sweeps_that_failed(&controller).await?;
        ensure!(failed >= 2, "{failed} have failed");
        Ok(())
    })
    .await?;
    world.emulator.restart().await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Observed", "True").await?;
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    Ok(())
}

/// Who holds the lease that all processes of a world compete for.
async fn leader(world: &World) -> Result<String> {
    let kubectl = world.control_plane.kubectl().in_namespace("default");
    kubectl.get(["lease", "baseward", "-o", "jsonpath={.spec.holderIdentity}"]).await
}

/// Which process made each write, in the order of the effects.
async fn writers(scenario: &Scenario<'_>) -> Result<Vec<&'static str>> {
    let name = |call: &Call| {
        let agent = call.user_agent.as_deref().unwrap_or_default();
        ["first", "second"].into_iter().find(|name| agent.contains(&format!("exec-env/{name}"))).unwrap_or("nobody")
    };
    Ok(writes(scenario).await?.iter().map(name).collect())
}

#[tokio::test]
async fn a_leader_that_sleeps_past_its_lease_with_writes_to_make_never_writes_again() -> Result<()> {
    let world = World::start().await?;
    let mut first = program().named("first").start(&world).await?;
    let mut second = program().named("second").start(&world).await?;
    let mut scenario = world.scenario("leaders").await?;
    scenario.patience = Duration::from_secs(90);
    let sleeper = leader(&world).await?;
    // It falls asleep with one write made, one on its way and one to make.
    let slow = Fault::from(FaultKind::Latency { milliseconds: 1500.0 }).on("Revoke*").nth(2);
    scenario.aws.set_faults(&[slow]).await?;
    let ssh: &[&str] = &["tcp 22 0.0.0.0/0"];
    let seeded = given(&scenario, &[("one", ssh), ("two", ssh), ("three", ssh)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_fault(&scenario, "the second write is under way").await?;
    first.process().freeze(true)?;
    wait_until("another process holds the lease", scenario.patience, async || {
        ensure!(leader(&world).await? != sleeper, "{sleeper} still does");
        Ok(())
    })
    .await?;
    assert_eq!(writers(&scenario).await?, ["first", "first"], "the third write is still to be made");
    first.process().freeze(false)?;
    wait_until("the first process ends, since another one leads", Duration::from_secs(30), async || {
        ensure!(first.process().exited()?.is_some(), "it still runs");
        Ok(())
    })
    .await?;
    for group in ["one", "two", "three"] {
        wait_for_ingress(&scenario, &seeded, group, &[]).await?;
    }
    assert_eq!(writers(&scenario).await?, ["first", "first", "second"]);
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
async fn a_stop_does_not_wait_for_an_aws_that_does_not_answer() -> Result<()> {
    let world = World::start().await?;
    let mut controller = program().start(&world).await?;
    let scenario = world.scenario("stop-silent").await?;
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    let silent = Fault::from(FaultKind::Latency { milliseconds: 20_000.0 }).on("DescribeSecurityGroups").always();
    scenario.aws.set_faults(&[silent]).await?;
    wait_for_fault(&scenario, "a sweep reads in vain").await?;
    controller.process().signal(rustix::process::Signal::TERM)?;
    wait_until("baseward has stopped", Duration::from_secs(4), async || {
        ensure!(controller.process().exited()?.is_some(), "it still runs");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_change_set_that_a_killed_process_leaves_open_is_closed_as_unknown() -> Result<()> {
    // The second process carries on with the other group; with one alone it finds nothing left to do.
    is_closed_after_a_kill(&["one", "two"], &["Applied", "PartlyApplied"]).await?;
    is_closed_after_a_kill(&["one"], &["PartlyApplied"]).await
}

async fn is_closed_after_a_kill(groups: &[&str], expected: &[&str]) -> Result<()> {
    let world = World::start().await?;
    let mut first = program().start(&world).await?;
    let mut scenario = world.scenario("killed").await?;
    scenario.patience = Duration::from_secs(60);
    let slow = Fault::from(FaultKind::Latency { milliseconds: 2500.0 }).on("Revoke*").nth(1);
    scenario.aws.set_faults(&[slow]).await?;
    let ssh: &[&str] = &["tcp 22 0.0.0.0/0"];
    let open: Vec<_> = groups.iter().map(|group| (*group, ssh)).collect();
    let seeded = given(&scenario, &open).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY).replace("interval: 10s", "interval: 24h")).await?;
    wait_for_fault(&scenario, "the first write is under way").await?;
    first.process().kill();
    let _second = program().start(&world).await?;
    // Long before its interval: it writes as soon as it may.
    for group in groups {
        wait_for_ingress(&scenario, &seeded, group, &[]).await?;
    }
    wait_until("all change sets are closed", scenario.patience, async || {
        let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
        let mut phases: Vec<_> = sets.iter().filter_map(|set| set.data["status"]["phase"].as_str()).collect();
        phases.sort_unstable();
        ensure!(phases == expected, "{phases:?}");
        let left = sets.iter().find(|set| set.data["status"]["phase"] == "PartlyApplied").unwrap();
        let edits = left.data["status"]["edits"].as_array().unwrap();
        ensure!(edits.iter().all(|edit| edit["outcome"] == "Unknown") && edits.len() == groups.len(), "{edits:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_object_that_no_longer_decodes_does_not_stop_the_others() -> Result<()> {
    let world = World::start().await?;
    let scenario = world.scenario("undecodable").await?;
    let loosen = r#"[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema","value":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}]"#;
    let crd = "securitygroupbaselines.baseward.dev";
    scenario.kubectl.run(["patch", "crd", crd, "--type=json", "-p", loosen]).await?;
    scenario.kubectl.run(["patch", "crd", "awsaccounts.baseward.dev", "--type=json", "-p", loosen]).await?;
    let bad = baseline("Bogus", "").replace("name: edge", "name: broken");
    wait_until("the looser schema is served", scenario.patience, async || scenario.apply(&bad).await).await?;
    let bad = "{apiVersion: baseward.dev/v1alpha1, kind: AWSAccount, metadata: {name: broken}, spec: {regions: 7}}";
    wait_until("the looser schema is served", scenario.patience, async || scenario.apply(bad).await).await?;
    let _controller = program().start(&world).await?;
    let seeded = enforcing(&scenario).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario
        .wait_for(BASELINE, "broken", "it says that it cannot be read", |object| {
            object.data["status"]["conditions"][0]["reason"] == "Undecodable"
        })
        .await?;
    scenario
        .wait_for("AWSAccount", "broken", "it says that it cannot be read", |object| {
            object.data["status"]["conditions"][0]["reason"] == "Undecodable"
        })
        .await?;
    // It has said so: whatever else happens, there is nothing to add.
    let version = async || anyhow::Ok(scenario.object(BASELINE, "broken").await?.metadata.resource_version);
    let before = version().await?;
    scenario.kubectl.run(["label", "namespace", &scenario.namespace, "wakes=everybody"]).await?;
    wait_for_sweeps(&scenario, 1).await?;
    anyhow::ensure!(version().await? == before);
    Ok(())
}
