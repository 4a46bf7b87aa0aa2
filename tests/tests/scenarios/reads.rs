//! Reads that fail: a clear condition, verdicts that are not known, and no edit.

use anyhow::Result;
use tests::Scenario;
use tests::emulator::{Fault, FaultKind, Seeded, Settings};

use super::{
    ACCOUNT, WEB_ONLY, baseline, flows_were_safe, given, scenario, wait_for_count, wait_for_ingress, wait_for_reason,
    writes,
};

const BAD: &[(&str, &[&str])] = &[("bastion", &["tcp 22 0.0.0.0/0"])];

/// A fault that lasts shows in `Observed`, nothing is written, and all is well once it is over.
async fn recovers_from(name: &str, fault: Fault, reason: &str) -> Result<()> {
    let scenario = scenario(name).await?;
    let seeded = given(&scenario, BAD).await?;
    scenario.aws.set_faults(&[fault]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    unobserved_then_mended(&scenario, &seeded, reason).await
}

async fn unobserved_then_mended(scenario: &Scenario<'_>, seeded: &Seeded, reason: &str) -> Result<()> {
    wait_for_reason(scenario, "Observed", "False", reason).await?;
    assert!(writes(scenario).await?.is_empty());
    scenario.aws.clear_faults().await?;
    wait_for_ingress(scenario, seeded, "bastion", &[]).await?;
    flows_were_safe(scenario, &[], &[]).await
}

#[tokio::test]
async fn denied() -> Result<()> {
    let fault = Fault::from(FaultKind::AccessDenied).on("DescribeSecurityGroups").always();
    recovers_from("denied", fault, "AccessDenied").await
}

#[tokio::test]
async fn expired_credentials() -> Result<()> {
    let fault = Fault::from(FaultKind::ExpiredToken).on("DescribeSecurityGroups").always();
    recovers_from("expired", fault, "CredentialsExpired").await
}

#[tokio::test]
async fn an_undecodable_reply() -> Result<()> {
    let fault = Fault::from(FaultKind::Garbage { body: None }).on("DescribeSecurityGroups").always();
    recovers_from("garbage", fault, "ReplyUnusable").await
}

#[tokio::test]
async fn a_truncated_reply() -> Result<()> {
    let fault = Fault::from(FaultKind::Truncate).on("DescribeSecurityGroups").always();
    let scenario = scenario("truncated").await?;
    let seeded = given(&scenario, BAD).await?;
    scenario.aws.set_faults(&[fault]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    scenario.wait_for_condition(super::BASELINE, "edge", "Observed", "False").await?;
    assert!(writes(&scenario).await?.is_empty());
    scenario.aws.clear_faults().await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn a_region_that_is_not_enabled() -> Result<()> {
    let message = "You are not subscribed to this service".to_owned();
    let kind = FaultKind::Custom { code: "OptInRequired".to_owned(), status: 401, message };
    recovers_from("region", Fault::from(kind).on("DescribeSecurityGroups").always(), "RegionUnknown").await
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed() -> Result<()> {
    let scenario = scenario("role").await?;
    let seeded = given(&scenario, BAD).await?;
    let denied = Settings { denied_roles: vec!["baseward-read".to_owned()], ..Settings::default() };
    scenario.aws.configure(&denied).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_reason(&scenario, "Observed", "False", "AccessDenied").await?;
    scenario.aws.configure(&Settings::default()).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn interfaces_that_cannot_be_read_hold_back_only_what_needs_them() -> Result<()> {
    let scenario = scenario("partial").await?;
    let seeded = given(&scenario, BAD).await?;
    let fault = Fault::from(FaultKind::AccessDenied).on("DescribeNetworkInterfaces").always();
    scenario.aws.set_faults(&[fault]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    wait_for_reason(&scenario, "Observed", "False", "AccessDenied").await?;
    flows_were_safe(&scenario, &[], &[]).await
}

#[tokio::test]
async fn the_external_id_is_the_one_in_the_status() -> Result<()> {
    let scenario = scenario("external-id").await?;
    given(&scenario, BAD).await?;
    scenario.apply(ACCOUNT).await?;
    let account = scenario.wait_for_condition("AWSAccount", &scenario.namespace, "Ready", "True").await?;
    let id = account.data["status"]["externalId"].as_str().unwrap().to_owned();
    assert!(account.data["status"]["trustPolicy"].as_str().unwrap().contains(&id));
    let assumed = scenario.aws.ledger().await?;
    let assumed = assumed.iter().find(|call| call.operation() == "AssumeRole");
    // The call is in the ledger of the account that calls, or of the one that is entered.
    if let Some(call) = assumed {
        assert_eq!(call.parameters["ExternalId"], id.as_str());
    }
    scenario.aws.configure(&Settings { external_id: Some(id), ..Settings::default() }).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    wait_for_count(&scenario, "withheld", "Audit").await?;
    Ok(())
}
