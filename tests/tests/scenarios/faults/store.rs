//! A store that is full, and one that holds what an older version has written.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Scenario, World};

use super::{empty_corner, launch, look_again};
use crate::{
    ACCOUNT, BASELINE, WEB_ONLY, assert_no_writes, baseline, given, program, wait_for_ingress, wait_for_sweeps, writes,
};

#[tokio::test]
async fn while_the_store_is_full_nothing_is_written_to_aws_either() -> Result<()> {
    let world = World::start().await?;
    let mut controller = program().start(&world).await?;
    let mut scenario = world.scenario("full").await?;
    scenario.patience = Duration::from_secs(90);
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    world.control_plane.store().set_full(true).await?;
    let refused = scenario.kubectl.run(["annotate", "sgb", "edge", "a=b"]).await;
    let refused = format!("{:#}", refused.err().context("the store takes more")?);
    ensure!(refused.contains("space exceeded"), "{refused}");
    let before = writes(&scenario).await?.len();
    let second = given(&scenario, &[("second", &["tcp 22 0.0.0.0/0"])]).await?;
    // The first sees the hole while the lease is still good, the last long after it.
    wait_for_sweeps(&scenario, 2).await?;
    assert_eq!(writes(&scenario).await?.len(), before);
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    world.control_plane.store().set_full(false).await?;
    wait_for_ingress(&scenario, &second, "second", &[]).await?;
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    Ok(())
}

/// What the first version has left in the store.
const FIRST: &str = include_str!("first-schema.yaml");

/// Puts the objects of the first version into the store, as if it had been at work on a group.
async fn leave(scenario: &Scenario<'_>, group: &str) -> Result<()> {
    let store = scenario.world.control_plane.store();
    for (number, text) in FIRST.split("\n---\n").enumerate() {
        let uid = format!("00000000-0000-4000-8000-{number:04}{:0>8}", scenario.account.get(4..).unwrap_or_default());
        let text = text.replace("$NAMESPACE", &scenario.namespace).replace("$ACCOUNT", &scenario.account);
        let mut object: Value = serde_saphyr::from_str(&text.replace("$GROUP", group))?;
        object["metadata"]["uid"] = uid.into();
        let plural = format!("{}s", object["kind"].as_str().unwrap_or_default().to_lowercase());
        store.put(&plural, &object).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_first_version_has_left_is_read_and_nothing_is_written_for_it() -> Result<()> {
    let (scenario, proxy) = empty_corner("first-schema").await?;
    let seeded = given(&scenario, &[("web", &["tcp 443 0.0.0.0/0"])]).await?;
    leave(&scenario, seeded.group("web")?).await?;
    let status = scenario.status(BASELINE, "edge").await?;
    assert_eq!(status["resources"], 41, "{status}");
    let change_sets = async || {
        let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
        let versions = sets.into_iter().map(|set| (set.metadata.name, set.metadata.resource_version));
        anyhow::Ok(versions.collect::<Vec<_>>())
    };
    let before = change_sets().await?;
    let _controller = launch(program(), &scenario, &proxy).await?;
    let counted = |object: &kube::core::DynamicObject| object.data["status"]["resources"] == 1;
    scenario.wait_for(BASELINE, "edge", "it was looked at", counted).await?;
    let object = scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    assert_eq!(object.metadata.generation, Some(7), "nobody has touched the spec");
    scenario.wait_for_condition("AWSAccount", &scenario.namespace, "Ready", "True").await?;
    look_again(&scenario, "edge").await?;
    assert_eq!((before.len(), change_sets().await?), (2, before));
    assert_no_writes(&scenario).await?;
    // By then it may write, and does so where something is wrong.
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}
