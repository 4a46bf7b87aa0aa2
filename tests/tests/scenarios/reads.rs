//! Reads that fail: a clear condition, verdicts that are not known, and no edit.

use anyhow::Result;
use tests::Scenario;
use tests::baseward::OWN_ACCOUNT;
use tests::emulator::{Call, Fault, FaultKind, Seeded, Settings};

use super::{
    ACCOUNT, REGION, WEB_ONLY, baseline, given, scenario, wait_for_count, wait_for_ingress, wait_for_reason, writes,
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
    wait_for_ingress(scenario, seeded, "bastion", &[]).await
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
async fn steady_throttling() -> Result<()> {
    let fault = Fault::from(FaultKind::Throttle).on("DescribeSecurityGroups").always();
    recovers_from("throttled", fault, "Throttled").await
}

#[tokio::test]
async fn an_undecodable_reply() -> Result<()> {
    let fault = Fault::from(FaultKind::Garbage { body: None }).on("DescribeSecurityGroups").always();
    recovers_from("garbage", fault, "ReplyUnusable").await
}

#[tokio::test]
async fn a_truncated_reply() -> Result<()> {
    let fault = Fault::from(FaultKind::Truncate).on("DescribeSecurityGroups").always();
    recovers_from("truncated", fault, "ReplyUnusable").await
}

#[tokio::test]
async fn pages_that_never_end() -> Result<()> {
    let fault = Fault::from(FaultKind::RepeatToken).on("DescribeSecurityGroups").always();
    recovers_from("endless", fault, "ReplyUnusable").await
}

/// The sweep reads all that it needs; what fails is the read right before the write.
async fn fresh_read_fails(name: &str, kind: FaultKind) -> Result<()> {
    let scenario = scenario(name).await?;
    let seeded = given(&scenario, BAD).await?;
    scenario.aws.set_faults(&[Fault::from(kind).on("DescribeSecurityGroupRules").always()]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    let status = wait_for_count(&scenario, "withheld", "IncompleteKnowledge").await?;
    assert_eq!(status["worst"][0]["held"], "IncompleteKnowledge", "{status}");
    assert!(writes(&scenario).await?.is_empty());
    scenario.aws.clear_faults().await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn an_undecodable_fresh_read() -> Result<()> {
    fresh_read_fails("fresh-garbage", FaultKind::Garbage { body: None }).await
}

#[tokio::test]
async fn a_truncated_fresh_read() -> Result<()> {
    fresh_read_fails("fresh-truncated", FaultKind::Truncate).await
}

#[tokio::test]
async fn a_read_that_does_not_see_our_own_write_yet_is_read_again_and_the_write_is_not() -> Result<()> {
    let scenario = scenario("stale").await?;
    let seeded = given(&scenario, &[("shop", &["tcp 80-443 0.0.0.0/0"])]).await?;
    scenario.aws.set_faults(&[Fault::from(FaultKind::Stale { seconds: 2.0 }).on("Describe*").always()]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/80, tcp/443]}")).await?;
    wait_for_ingress(&scenario, &seeded, "shop", &["tcp 80 0.0.0.0/0", "tcp 443 0.0.0.0/0"]).await?;
    scenario.wait_for_condition(super::BASELINE, "edge", "Reconciling", "False").await?;
    let operations: Vec<String> = writes(&scenario).await?.iter().map(|call| call.operation().to_owned()).collect();
    assert_eq!(operations, ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"]);
    Ok(())
}

#[tokio::test]
async fn a_region_that_is_not_enabled() -> Result<()> {
    let message = "You are not subscribed to this service".to_owned();
    let kind = FaultKind::Custom { code: "OptInRequired".to_owned(), status: 401, message };
    recovers_from("region", Fault::from(kind).on("DescribeSecurityGroups").always(), "RegionUnknown").await
}

/// The credentials hold where the controller runs, and the region's own STS does not know them.
#[tokio::test]
async fn a_region_whose_sts_knows_nobody() -> Result<()> {
    let message = "The security token included in the request is invalid".to_owned();
    let kind = FaultKind::Custom { code: "InvalidClientTokenId".to_owned(), status: 403, message };
    let fault = Fault::from(kind).of_service("sts").on("GetCallerIdentity").in_region(REGION).always();
    recovers_from("sts-region", fault, "RegionUnknown").await
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
async fn a_write_role_that_cannot_be_assumed_holds_edits_back_and_nothing_else() -> Result<()> {
    let scenario = scenario("write-role").await?;
    let seeded = given(&scenario, BAD).await?;
    let denied = Settings { denied_roles: vec!["baseward-write".to_owned()], ..Settings::default() };
    scenario.aws.configure(&denied).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    let status = wait_for_count(&scenario, "withheld", "WriteRoleUnproven").await?;
    assert_eq!(status["worst"][0]["held"], "WriteRoleUnproven", "{status}");
    scenario.wait_for_condition(super::BASELINE, "edge", "Observed", "True").await?;
    let account = scenario.wait_for_condition("AWSAccount", &scenario.namespace, "Ready", "False").await?;
    assert!(account.data["status"].to_string().contains("writeRole"), "{:?}", account.data);
    assert!(writes(&scenario).await?.is_empty());
    scenario.aws.configure(&Settings::default()).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn what_was_seen_stands_while_nothing_can_be_read() -> Result<()> {
    let scenario = scenario("blind").await?;
    given(&scenario, BAD).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    scenario.wait_for_condition(super::BASELINE, "edge", "Compliant", "False").await?;
    scenario.aws.set_faults(&[Fault::from(FaultKind::AccessDenied).on("DescribeSecurityGroups").always()]).await?;
    let status = wait_for_reason(&scenario, "Observed", "False", "AccessDenied").await?;
    assert_eq!((&status["resources"], &status["violations"]["critical"]), (&1.into(), &1.into()), "{status}");
    assert_eq!(status["worst"][0]["control"], "sg-no-open-admin-ports", "{status}");
    wait_for_reason(&scenario, "Stalled", "True", "NoCellReadable").await?;
    scenario.aws.set_faults(&[Fault::from(FaultKind::InternalError).on("DescribeSecurityGroups").always()]).await?;
    wait_for_reason(&scenario, "Observed", "False", "EndpointUnavailable").await?;
    wait_for_reason(&scenario, "Stalled", "False", "NotStalled").await?;
    Ok(())
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
    Ok(())
}

#[tokio::test]
async fn the_external_id_is_the_one_in_the_status() -> Result<()> {
    let scenario = scenario("external-id").await?;
    given(&scenario, BAD).await?;
    scenario.apply(ACCOUNT).await?;
    let account = scenario.wait_for_condition("AWSAccount", &scenario.namespace, "Ready", "True").await?;
    let id = account.data["status"]["externalId"].as_str().unwrap().to_owned();
    assert!(account.data["status"]["trustPolicy"].as_str().unwrap().contains(&id));
    // A role is assumed in the name of the controller's own account.
    let assumed = scenario.world.emulator.api().account(OWN_ACCOUNT).calls(0, "AssumeRole").await?;
    let into = |call: &&Call| call.parameters["RoleArn"].as_str().is_some_and(|role| role.contains(&scenario.account));
    let given: Vec<_> = assumed.iter().filter(into).map(|call| call.parameters["ExternalId"].clone()).collect();
    assert!(!given.is_empty() && given.iter().all(|given| *given == id), "{given:?}");
    scenario.aws.configure(&Settings { external_id: Some(id), ..Settings::default() }).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    wait_for_count(&scenario, "withheld", "Audit").await?;
    Ok(())
}
