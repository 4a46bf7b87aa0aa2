//! A process without room for its audit trail, without descriptors, without names, without trust.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tests::proxy::Gate;
use tests::wait_until;
use tokio::time::timeout;

use super::{Corner, corner, corner_of, launch, world};
use crate::{
    ACCOUNT, WEB_ONLY, assert_no_writes, baseline, given, program, wait_for_count, wait_for_ingress, wait_for_reason,
};

const SSH: &[&str] = &["tcp 22 0.0.0.0/0"];

#[tokio::test]
async fn without_an_audit_trail_nothing_is_written() -> Result<()> {
    // What is written there meets a disk that is full.
    let full = program().after("exec >/dev/full");
    let Corner { mut controller, proxy, scenario } = corner_of(full, "full-disk").await?;
    let seeded = given(&scenario, &[("bastion", SSH)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_count(&scenario, "withheld", "JournalUnavailable").await?;
    assert_no_writes(&scenario).await?;
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    controller.process().kill();
    let _with_room = launch(program(), &scenario, &proxy).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

/// How many descriptors a process may have; gives how many it was.
fn limit(process: i32, descriptors: Option<u64>) -> Result<Option<u64>> {
    let limits = getrlimit(Resource::Nofile);
    let before = prlimit(Pid::from_raw(process), Resource::Nofile, Rlimit { current: descriptors, ..limits })?;
    Ok(before.current)
}

#[tokio::test]
async fn a_process_without_descriptors_waits_for_some_and_goes_on() -> Result<()> {
    let Corner { mut controller, proxy, scenario } = corner("descriptors").await?;
    let seeded = given(&scenario, &[("bastion", SSH)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    // What was open is closed, and nothing can be opened in its place.
    let before = limit(controller.process().pid(), Some(3))?;
    proxy.set_gate(Gate::Shut);
    proxy.cut_watches();
    wait_until("it has given up the connection of its lease", scenario.patience, async || {
        ensure!(controller.log().read()?.contains("Lease not renewed"), "{}", controller.log().tail());
        Ok(())
    })
    .await?;
    proxy.set_gate(Gate::Open);
    let health = timeout(Duration::from_secs(2), controller.http("/healthz")).await;
    ensure!(health.is_err(), "there is a descriptor for one more connection: {health:?}");
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    let again = given(&scenario, &[("second", SSH)]).await?;
    limit(controller.process().pid(), before)?;
    wait_for_ingress(&scenario, &again, "second", &[]).await?;
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    assert_eq!(controller.http("/healthz").await?, "ok\n");
    Ok(())
}

/// A process that cannot reach AWS lives, is ready, says so, and leads: a restart would mend nothing.
async fn lives_without_aws(name: &str, endpoint: &str) -> Result<()> {
    // Proxies are for the way out of this machine.
    let alone = "unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy";
    let program = program().after(&format!("{alone}; export AWS_ENDPOINT_URL={endpoint}"));
    let Corner { mut controller, proxy: _proxy, scenario } = corner_of(program, name).await?;
    given(&scenario, &[("bastion", SSH)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    let status = wait_for_reason(&scenario, "Observed", "False", "EndpointUnavailable").await?;
    ensure!(status["resources"].is_null() && status["violations"].is_null(), "{status}");
    scenario.wait_for_condition("AWSAccount", &scenario.namespace, "Ready", "Unknown").await?;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(controller.http(path).await?, "ok\n", "{path}");
    }
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    Ok(())
}

#[tokio::test]
async fn an_aws_whose_name_nobody_knows_does_not_end_the_process() -> Result<()> {
    lives_without_aws("no-name", "http://aws.invalid").await
}

/// The API server's certificate is of an authority that an AWS client does not trust.
#[tokio::test]
async fn an_aws_that_cannot_be_trusted_does_not_end_the_process() -> Result<()> {
    lives_without_aws("no-trust", &world().await?.control_plane.url()).await
}
