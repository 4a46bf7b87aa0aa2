//! Modes that write nothing, under every fault that there is.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use tests::emulator::{Direction, Fault, FaultKind, ForeignChange};

use super::look_again;
use crate::{
    ACCOUNT, BASELINE, WEB_ONLY, assert_no_writes, baseline, given, scenario, wait_for_change_set, wait_for_fault,
};

/// Under these faults a baseline in `Audit` and one in `Propose` look at everything, as far as they can, and write nothing.
async fn writes_nothing(name: &str, faults: impl FnOnce(ForeignChange) -> Result<Vec<Fault>>) -> Result<()> {
    let scenario = scenario(&format!("silent-{name}")).await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"]), ("shop", &["tcp 80-443 0.0.0.0/0"])]).await?;
    let hand = ForeignChange::of_group(seeded.group("shop")?);
    let hand = hand.authorize(Direction::Ingress, "tcp 3389 0.0.0.0/0".parse()?);
    scenario.aws.set_faults(&faults(hand)?).await?;
    let proposing = baseline("Propose", WEB_ONLY).replace("name: edge", "name: ask");
    scenario.apply(&format!("{ACCOUNT}---\n{}---\n{proposing}", baseline("Audit", WEB_ONLY))).await?;
    wait_for_fault(&scenario, "something has gone wrong").await?;
    for name in ["edge", "ask"] {
        let looked = |object: &kube::core::DynamicObject| {
            let conditions = object.data.pointer("/status/conditions").and_then(serde_json::Value::as_array);
            conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Observed" && condition["status"] != "Unknown")
        };
        scenario.wait_for(BASELINE, name, "it was looked at", looked).await?;
    }
    assert_no_writes(&scenario).await.with_context(|| name.to_owned())?;
    // It was not for want of something to do.
    scenario.aws.set_faults(&[]).await?;
    look_again(&scenario, "ask").await?;
    wait_for_change_set(&scenario, "Proposed").await?;
    assert_no_writes(&scenario).await.with_context(|| name.to_owned())
}

#[tokio::test]
async fn audit_and_propose_write_nothing_whatever_goes_wrong() -> Result<()> {
    let names: Vec<&str> = FaultKind::one_of_each(ForeignChange::of_group("")).iter().map(FaultKind::name).collect();
    ensure!(names.len() > 10, "{names:?}");
    let each = names.iter().enumerate().map(async |(number, name)| {
        writes_nothing(&name.to_lowercase(), |hand| {
            let kind = FaultKind::one_of_each(hand).into_iter().nth(number).context("there are fewer kinds")?;
            Ok(vec![Fault::from(kind).always()])
        })
        .await
    });
    try_join_all(each).await?;
    // And all of them in turns, a new one at each call.
    writes_nothing("turns", |hand| {
        let kinds = FaultKind::one_of_each(hand);
        let turns = u32::try_from(kinds.len())?;
        let fault = |(kind, nth)| Fault::from(kind).of_service("*").nth(nth).every(turns);
        Ok(kinds.into_iter().zip(1..).map(fault).collect())
    })
    .await
}
