//! An API server that goes away, forgets, lags behind, or has other writers.

use anyhow::{Context as _, Result, ensure};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tests::emulator::{Fault, FaultKind};
use tests::proxy::{Gate, KubernetesWrite};
use tests::{Scenario, wait_until};

use super::{Corner, LEASE_SECONDS, corner, look_again};
use crate::{ACCOUNT, BASELINE, WEB_ONLY, baseline, given, wait_for_fault, wait_for_ingress, wait_for_sweeps, writes};

const SSH: &[&str] = &["tcp 22 0.0.0.0/0"];

/// The baseline on one group alone.
fn only(group: &str, mode: &str, name: &str) -> String {
    let select = format!("select: {{names: [\"{group}\"]}}");
    baseline(mode, WEB_ONLY).replace("select: {all: true}", &select).replace("name: edge", &format!("name: {name}"))
}

/// How often each group was written to.
async fn writes_to(scenario: &Scenario<'_>, group: &str) -> Result<usize> {
    let calls = writes(scenario).await?;
    Ok(calls.iter().flat_map(|call| &call.groups).filter(|change| change.group_id == group).count())
}

#[tokio::test]
async fn a_plan_that_is_cut_off_from_the_api_server_ends_with_the_lease_and_goes_on_afterwards() -> Result<()> {
    const GROUPS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let Corner { mut controller, proxy, scenario } = corner("cut-off").await?;
    let seeded = given(&scenario, &GROUPS.map(|name| (name, SSH))).await?;
    // Together they take longer than a lease.
    let slow = Fault::from(FaultKind::Latency { milliseconds: 600.0 }).on("Revoke*").always();
    scenario.aws.set_faults(&[slow]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_fault(&scenario, "the plan is being carried out").await?;
    proxy.set_gate(Gate::Shut);
    proxy.cut_watches();
    let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items.len();
    wait_for_sweeps(&scenario, 1).await?;
    let made = writes(&scenario).await?;
    let last = made.last().context("nothing was written")?;
    let renewed = proxy.renewed_before(last.time).context("the lease was never taken")?;
    let late = last.time - renewed - f64::from(LEASE_SECONDS);
    ensure!(late <= 0.0, "the last write is {late:.1} s later than the lease");
    ensure!(made.len() < GROUPS.len(), "the plan ended before the lease did");
    let sets_now = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items.len();
    assert_eq!(sets_now, sets, "a plan was begun");
    scenario.aws.clear_faults().await?;
    proxy.set_gate(Gate::Open);
    for group in GROUPS {
        wait_for_ingress(&scenario, &seeded, group, &[]).await?;
        assert_eq!(writes_to(&scenario, seeded.group(group)?).await?, 1, "{group}");
    }
    ensure!(controller.process().exited()?.is_none(), "the controller has ended");
    Ok(())
}

#[tokio::test]
async fn what_changes_while_watches_are_cut_and_forgotten_is_not_missed_and_nothing_is_done_twice() -> Result<()> {
    let Corner { controller: _controller, proxy, scenario } = corner("forgotten").await?;
    let seeded = given(&scenario, &[("first", SSH), ("second", SSH), ("third", SSH), ("gone", SSH)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&only("first", "Enforce", "edge")).await?;
    scenario.apply(&only("second", "Audit", "edited")).await?;
    scenario.apply(&only("gone", "Audit", "deleted")).await?;
    wait_for_ingress(&scenario, &seeded, "first", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edited", "Observed", "True").await?;
    proxy.set_gate(Gate::Shut);
    proxy.cut_watches();
    scenario.apply(&only("second", "Enforce", "edited")).await?;
    scenario.apply(&only("third", "Enforce", "created")).await?;
    scenario.apply(&only("gone", "Enforce", "deleted")).await?;
    scenario.delete(&only("gone", "Enforce", "deleted")).await?;
    proxy.set_gate(Gate::Open);
    for group in ["second", "third"] {
        wait_for_ingress(&scenario, &seeded, group, &[]).await?;
    }
    look_again(&scenario, "created").await?;
    for (group, count) in [("first", 1), ("second", 1), ("third", 1), ("gone", 0)] {
        assert_eq!(writes_to(&scenario, seeded.group(group)?).await?, count, "{group}");
    }
    Ok(())
}

/// An object as the API server would tell of it.
fn as_told(object: &DynamicObject) -> Result<Value> {
    Ok(serde_json::to_value(object)?)
}

#[tokio::test]
async fn an_api_server_that_tells_of_the_past_is_not_believed() -> Result<()> {
    let Corner { controller, proxy, scenario } = corner("past").await?;
    let seeded = given(&scenario, &[("first", SSH), ("late", &[])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&only("*", "Enforce", "edge")).await?;
    scenario.apply(&only("late", "Enforce", "again")).await?;
    wait_for_ingress(&scenario, &seeded, "first", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Observed", "True").await?;
    let enforced = as_told(&scenario.object(BASELINE, "edge").await?)?;
    let replaced = as_told(&scenario.object(BASELINE, "again").await?)?;
    // One is edited, the other made anew under its name; both end in Audit.
    scenario.apply(&only("*", "Audit", "edge")).await?;
    scenario.delete(&only("late", "Enforce", "again")).await?;
    scenario.apply(&only("late", "Audit", "again")).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Observed", "True").await?;
    scenario.wait_for_condition(BASELINE, "again", "Observed", "True").await?;
    let hand = tests::emulator::ForeignChange::of_group(seeded.group("late")?)
        .authorize(tests::emulator::Direction::Ingress, "tcp 22 0.0.0.0/0".parse()?);
    let hand = Fault::from(FaultKind::ForeignWrite { change: hand }).on("DescribeSecurityGroups");
    scenario.aws.set_faults(&[hand]).await?;
    let before = writes(&scenario).await?.len();
    for (event, object) in [("MODIFIED", &enforced), ("ADDED", &replaced), ("DELETED", &replaced)] {
        proxy.tell("securitygroupbaselines", event, object);
    }
    wait_until("all of it was heard", scenario.patience, async || {
        let heard = controller.log().read()?.matches("tells of the past").count();
        ensure!(heard == 3, "{heard} were passed over");
        Ok(())
    })
    .await?;
    wait_for_fault(&scenario, "the hole is there").await?;
    look_again(&scenario, "edge").await?;
    assert_eq!(writes(&scenario).await?.len(), before, "a baseline was followed as it once was");
    // What was told to be gone is there, in its present form.
    let is_critical = |object: &DynamicObject| object.data["status"]["violations"]["critical"] == 1;
    scenario.wait_for(BASELINE, "again", "it sees the hole", is_critical).await?;
    scenario.apply(&only("late", "Enforce", "again")).await?;
    wait_for_ingress(&scenario, &seeded, "late", &[]).await
}

#[tokio::test]
async fn writes_that_come_too_late_are_made_again_and_what_others_say_in_a_status_stays_theirs() -> Result<()> {
    let Corner { controller: _controller, proxy, scenario } = corner("conflicts").await?;
    for write in [
        KubernetesWrite::new("PUT", "leases"),
        KubernetesWrite::new("PATCH", "securitygroupbaselines/status"),
        KubernetesWrite::new("PATCH", "changesets/status"),
        KubernetesWrite::new("POST", "changesets"),
    ] {
        proxy.refuse(write, 2);
    }
    let seeded = given(&scenario, &[("bastion", SSH)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Reconciling", "False").await?;
    let foreign = |word: &str, mut status: Value| {
        status["conditions"] = json!([{
            "type": "Reviewed", "status": word, "reason": "Review", "message": "by hand",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]);
        let metadata = json!({"name": "edge", "namespace": scenario.namespace});
        json!({"apiVersion": "baseward.dev/v1alpha1", "kind": BASELINE, "metadata": metadata, "status": status})
            .to_string()
    };
    let arguments = ["apply", "--server-side", "--subresource=status", "--field-manager=reviewer", "-f", "-"];
    scenario.kubectl.run_with_input(arguments, &foreign("True", json!({}))).await?;
    look_again(&scenario, "edge").await?;
    // Had it been taken from them, this would be a conflict.
    scenario.kubectl.run_with_input(arguments, &foreign("False", json!({}))).await?;
    let forced = [&arguments[..], &["--force-conflicts"]].concat();
    scenario.kubectl.run_with_input(forced, &foreign("False", json!({"resources": 999}))).await?;
    let corrected = |object: &DynamicObject| object.data["status"]["resources"] == 1;
    let object = scenario.wait_for(BASELINE, "edge", "its own counts are back", corrected).await?;
    let reviewed = object.data["status"]["conditions"].as_array().into_iter().flatten();
    let reviewed: Vec<&Value> = reviewed.filter(|condition| condition["type"] == "Reviewed").collect();
    ensure!(reviewed.len() == 1 && reviewed[0]["status"] == "False", "{reviewed:?}");
    // Nobody fights: at rest nothing is written.
    let version = async || anyhow::Ok(scenario.object(BASELINE, "edge").await?.metadata.resource_version);
    wait_until("the status stands still", scenario.patience, async || {
        let before = version().await?;
        wait_for_sweeps(&scenario, 1).await?;
        ensure!(version().await? == before, "it does not");
        Ok(())
    })
    .await
}
