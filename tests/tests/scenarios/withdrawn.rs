//! Minds that change between plan and write, or between two writes of one plan: what has not been written yet is not.

use anyhow::{Result, ensure};
use tests::emulator::{Call, Fault, FaultKind};
use tests::{Scenario, wait_until};

use super::{ACCOUNT, BASELINE, WEB_ONLY, baseline, given, scenario, wait_for_fault, writes};

/// As long as a read before a write may take, or nearly so: time enough for a person.
const MILLISECONDS: f64 = 4000.0;

/// Two groups are to be changed; the `nth` fresh read is slow, and meanwhile something happens. Returns what was written
/// before the next sweep.
async fn meanwhile(
    name: &str,
    nth: u32,
    happens: impl AsyncFnOnce(&Scenario<'_>) -> Result<()>,
) -> Result<(Scenario<'static>, Vec<Call>)> {
    let scenario = scenario(name).await?;
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"]), ("second", &["tcp 22 0.0.0.0/0"])]).await?;
    let slow = Fault::from(FaultKind::Latency { milliseconds: MILLISECONDS }).on("DescribeSecurityGroupRules");
    scenario.aws.set_faults(&[slow.nth(nth)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_fault(&scenario, "the slow read is under way").await?;
    happens(&scenario).await?;
    // The sweep that tells of this one begins after the one with the slow read has ended.
    scenario.apply(&baseline("Audit", WEB_ONLY).replace("name: edge", "name: witness")).await?;
    scenario.wait_for_condition(BASELINE, "witness", "Observed", "True").await?;
    // Where nobody wants the sweep any more it is given up, and the read ends without anybody who listens.
    wait_until("the slow read has ended", scenario.patience, async || {
        let reads = scenario.aws.calls(0, "DescribeSecurityGroupRules").await?;
        ensure!(reads.iter().any(|read| read.fault.is_some()), "{reads:?}");
        Ok(())
    })
    .await?;
    let written = writes(&scenario).await?;
    Ok((scenario, written))
}

async fn patch(scenario: &Scenario<'_>, object: &[&str], spec: &str) -> Result<()> {
    let spec = format!(r#"{{"spec":{spec}}}"#);
    scenario.kubectl.run([&["patch"], object, &["--type=merge", "-p", &spec]].concat()).await?;
    Ok(())
}

/// Without a change the same slow read does not keep anything from being written: the other tests prove something.
#[tokio::test]
async fn a_baseline_that_stays_is_enforced_all_the_same() -> Result<()> {
    let (_scenario, written) = meanwhile("stays", 1, async |_| Ok(())).await?;
    assert_eq!(written.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_baseline_deleted_before_the_write() -> Result<()> {
    let delete = async |scenario: &Scenario<'_>| {
        scenario.kubectl.run(["delete", "sgb", "edge"]).await?;
        Ok(())
    };
    let (_scenario, written) = meanwhile("deleted", 1, delete).await?;
    assert!(written.is_empty(), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn a_baseline_suspended_before_the_write() -> Result<()> {
    let suspend = async |scenario: &Scenario<'_>| patch(scenario, &["sgb", "edge"], r#"{"suspend":true}"#).await;
    let (_scenario, written) = meanwhile("suspended", 1, suspend).await?;
    assert!(written.is_empty(), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn a_baseline_set_to_audit_before_the_write() -> Result<()> {
    let edit = async |scenario: &Scenario<'_>| patch(scenario, &["sgb", "edge"], r#"{"mode":"Audit"}"#).await;
    let (_scenario, written) = meanwhile("edited", 1, edit).await?;
    assert!(written.is_empty(), "{written:?}");
    Ok(())
}

/// What was planned is not what the baseline now says, so it is planned anew.
#[tokio::test]
async fn a_baseline_edited_before_the_write_is_followed_in_its_new_form() -> Result<()> {
    let edit = async |scenario: &Scenario<'_>| {
        patch(scenario, &["sgb", "edge"], r#"{"select":{"all":null,"names":["second"]}}"#).await
    };
    let (scenario, _) = meanwhile("narrowed", 1, edit).await?;
    let groups = scenario.aws.groups(super::REGION).await?;
    let id = |name: &str| groups.iter().find(|group| group.name == name).map(|group| group.group_id.clone());
    let (spared, meant) = (id("bastion").unwrap(), id("second").unwrap());
    wait_until("what is still selected is closed", scenario.patience, async || {
        let rules = scenario.aws.group(super::REGION, &meant).await?.rules;
        ensure!(rules.ingress.is_empty(), "{rules:?}");
        Ok(())
    })
    .await?;
    let written = writes(&scenario).await?;
    assert!(written.iter().flat_map(|call| &call.groups).all(|group| group.group_id != spared), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn an_account_whose_writes_are_stopped_before_the_write() -> Result<()> {
    let stop = async |scenario: &Scenario<'_>| {
        patch(scenario, &["awsaccount", &scenario.namespace], r#"{"writes":"Stopped"}"#).await
    };
    let (_scenario, written) = meanwhile("stopped", 1, stop).await?;
    assert!(written.is_empty(), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn a_baseline_suspended_between_two_writes() -> Result<()> {
    // The second fresh read is the one that verifies the first write.
    let suspend = async |scenario: &Scenario<'_>| patch(scenario, &["sgb", "edge"], r#"{"suspend":true}"#).await;
    let (_scenario, written) = meanwhile("between", 2, suspend).await?;
    assert_eq!(written.len(), 1, "{written:?}");
    Ok(())
}
