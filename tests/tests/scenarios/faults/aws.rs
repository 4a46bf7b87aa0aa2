//! An AWS that throttles, fails, is behind, sends nonsense, or does not believe our clock.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use tests::emulator::{Call, Fault, FaultKind, GroupSeed, Seed};
use tests::wait_until;

use super::look_again;
use crate::{
    ACCOUNT, BASELINE, REGION, WEB_ONLY, assert_no_writes, baseline, given, scenario, wait_for_fault, wait_for_ingress,
    wait_for_reason, writes,
};

const SSH: &[&str] = &["tcp 22 0.0.0.0/0"];

/// The calls of a ledger to EC2 that the program made.
fn to_ec2(calls: Vec<Call>) -> Vec<Call> {
    calls.into_iter().filter(|call| call.service.as_deref() == Some("ec2") && call.is_by_a_role()).collect()
}

#[tokio::test]
async fn an_aws_that_throttles_every_other_call_is_asked_little_more_than_twice_and_holds_up_no_other_account()
-> Result<()> {
    let (mut throttled, neighbour) = (scenario("half").await?, scenario("half-neighbour").await?);
    // A throttled call slows the next ones down.
    throttled.patience = Duration::from_secs(90);
    let seeded = given(&throttled, &[("one", SSH), ("two", SSH)]).await?;
    // Reads and writes are counted apart: in one row it could be every write that is hit.
    let half = |operation| Fault::from(FaultKind::Throttle).on(operation).every(2);
    throttled.aws.set_faults(&[half("Describe*"), half("Revoke*")]).await?;
    let beside = given(&neighbour, &[("bastion", SSH)]).await?;
    for scenario in [&throttled, &neighbour] {
        scenario.apply(ACCOUNT).await?;
        scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    }
    wait_for_ingress(&neighbour, &beside, "bastion", &[]).await?;
    for group in ["one", "two"] {
        wait_for_ingress(&throttled, &seeded, group, &[]).await?;
    }
    let calls = to_ec2(throttled.aws.ledger().await?);
    let useful = calls.iter().filter(|call| call.fault.is_none()).count();
    ensure!(useful >= 10 && calls.len() * 10 <= useful * 22, "{} calls, {useful} of them useful", calls.len());
    Ok(())
}

#[tokio::test]
async fn a_read_that_fails_is_tried_a_few_times_and_changes_no_verdict() -> Result<()> {
    // As often as any read is tried.
    const ATTEMPTS: usize = 8;
    let scenario = scenario("failing").await?;
    given(&scenario, &[("bastion", SSH)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY).replace("interval: 10s", "interval: 24h")).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Compliant", "False").await?;
    let before = scenario.aws.calls(0, "DescribeSecurityGroups").await?.len();
    scenario.aws.set_faults(&[Fault::from(FaultKind::InternalError).on("DescribeSecurityGroups").always()]).await?;
    scenario.kubectl.run(["annotate", "sgb", "edge", "baseward.dev/reconcile-at=now"]).await?;
    let status = wait_for_reason(&scenario, "Observed", "False", "EndpointUnavailable").await?;
    let tried = scenario.aws.calls(0, "DescribeSecurityGroups").await?.len() - before;
    assert_eq!(tried, ATTEMPTS);
    assert_eq!((&status["resources"], &status["violations"]["critical"]), (&1.into(), &1.into()), "{status}");
    Ok(())
}

/// The listing is behind, the fresh read is not.
#[tokio::test]
async fn a_read_that_goes_back_in_time_neither_undoes_nor_repeats_a_write() -> Result<()> {
    let scenario = scenario("regress").await?;
    let groups: [(&str, &[&str]); 3] =
        [("bastion", SSH), ("shop", &["tcp 80-443 0.0.0.0/0"]), ("wide", &["tcp 0-65535 0.0.0.0/0"])];
    let seeded = given(&scenario, &groups).await?;
    let stale = |operation| Fault::from(FaultKind::Stale { seconds: 12.0 }).on(operation).always();
    scenario.aws.set_faults(&[stale("DescribeSecurityGroups")]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/80, tcp/443]}")).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    for group in ["shop", "wide"] {
        wait_for_ingress(&scenario, &seeded, group, &["tcp 80 0.0.0.0/0", "tcp 443 0.0.0.0/0"]).await?;
    }
    let made = writes(&scenario).await?;
    look_again(&scenario, "edge").await?;
    assert_eq!(writes(&scenario).await?.len(), made.len(), "only the listing was behind");
    scenario.aws.set_faults(&[stale("DescribeSecurityGroups"), stale("DescribeSecurityGroupRules")]).await?;
    look_again(&scenario, "edge").await?;
    let effects = writes(&scenario).await?.iter().filter(|call| call.effect).count();
    assert_eq!(effects, made.len(), "nothing is changed again, whatever was read");
    Ok(())
}

/// A listing of security groups with these items.
fn listing(items: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><DescribeSecurityGroupsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>1</requestId><securityGroupInfo>{items}</securityGroupInfo></DescribeSecurityGroupsResponse>"
    )
}

/// A group with one rule from anywhere.
fn item(id: &str, protocol: &str, port: &str, cidr: &str) -> String {
    format!(
        "<item><ownerId>111122223333</ownerId>{id}<groupName>app</groupName><groupDescription/><vpcId>vpc-1</vpcId><ipPermissions><item><ipProtocol>{protocol}</ipProtocol><fromPort>{port}</fromPort><toPort>{port}</toPort><groups/><ipRanges><item><cidrIp>{cidr}</cidrIp></item></ipRanges></item></ipPermissions><ipPermissionsEgress/></item>"
    )
}

#[tokio::test]
async fn a_reply_that_no_aws_would_send_is_a_read_that_failed() -> Result<()> {
    const ID: &str = "<groupId>sg-1</groupId>";
    let good = item(ID, "tcp", "443", "0.0.0.0/0");
    let bodies = [
        ("no-id", listing(&item("", "tcp", "443", "0.0.0.0/0"))),
        ("huge-port", listing(&item(ID, "tcp", "99999999999999999999", "0.0.0.0/0"))),
        ("negative-port", listing(&item(ID, "tcp", "-7", "0.0.0.0/0"))),
        ("word-port", listing(&item(ID, "tcp", "NaN", "0.0.0.0/0"))),
        ("protocol", listing(&item(ID, "quic", "443", "0.0.0.0/0"))),
        ("cidr", listing(&item(ID, "tcp", "443", "256.0.0.0/0"))),
        ("nul", listing(&good.replace("app", "a\0b"))),
        ("twice", listing(&good.repeat(2))),
        ("flood", listing(&good.repeat(5_000))),
        ("deep", listing(&format!("{}{}", "<item>".repeat(50_000), "</item>".repeat(50_000)))),
        ("json", "{\"SecurityGroups\": []}".to_owned()),
        ("nothing", String::new()),
    ];
    let judged = bodies.into_iter().map(async |(name, body)| {
        let scenario = scenario(&format!("reply-{name}")).await?;
        let nonsense = Fault::from(FaultKind::Garbage { body: Some(body) }).on("DescribeSecurityGroups").always();
        scenario.aws.set_faults(&[nonsense]).await?;
        scenario.apply(&format!("{ACCOUNT}---\n{}", baseline("Enforce", WEB_ONLY))).await?;
        let status = wait_for_reason(&scenario, "Observed", "False", "ReplyUnusable").await?;
        ensure!(status["resources"].is_null() && status["violations"].is_null(), "{name}: {status}");
        assert_no_writes(&scenario).await
    });
    try_join_all(judged).await?;
    Ok(())
}

/// What AWS answers to a request that was signed ten minutes ago, or in ten minutes.
#[tokio::test]
async fn a_clock_that_aws_does_not_believe_is_said_and_nothing_is_written() -> Result<()> {
    let scenario = scenario("clock").await?;
    let seeded = given(&scenario, &[("bastion", SSH)]).await?;
    let message = "Signature not yet current: 20261121T101000Z is still later than 20261121T100000Z".to_owned();
    let skewed = FaultKind::Custom { code: "SignatureDoesNotMatch".to_owned(), status: 403, message };
    scenario.aws.set_faults(&[Fault::from(skewed).always()]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    let status = wait_for_reason(&scenario, "Observed", "False", "CredentialsExpired").await?;
    ensure!(status["conditions"].to_string().contains("clock"), "{status}");
    assert_no_writes(&scenario).await?;
    scenario.aws.clear_faults().await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn a_group_that_is_deleted_in_the_middle_of_a_plan_is_done_with_and_its_successor_is_planned_anew() -> Result<()>
{
    let scenario = scenario("successor").await?;
    let seeded = given(&scenario, &[("one", SSH), ("two", SSH)]).await?;
    let slow = Fault::from(FaultKind::Latency { milliseconds: 2500.0 }).on("DescribeSecurityGroupRules");
    scenario.aws.set_faults(&[slow]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_fault(&scenario, "the plan is made").await?;
    let old = seeded.group("one")?;
    let hand = tests::aws_client::ec2(&scenario.world.emulator.url(), &scenario.account, REGION);
    hand.delete_security_group().group_id(old).send().await?;
    let successor = GroupSeed::named("one").ingress(["tcp 22 0.0.0.0/0", "tcp 443 0.0.0.0/0"])?.egress([])?;
    let successor = scenario.aws.seed(&Seed::in_region(REGION).group(successor)).await?;
    wait_for_ingress(&scenario, &seeded, "two", &[]).await?;
    wait_for_ingress(&scenario, &successor, "one", &["tcp 443 0.0.0.0/0"]).await?;
    let written = writes(&scenario).await?;
    assert!(written.iter().flat_map(|call| &call.groups).all(|group| group.group_id != old), "{written:?}");
    let planned = wait_until("the successor is in the journal", scenario.patience, async || {
        let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
        let edits = sets.iter().flat_map(|set| set.data["spec"]["edits"].as_array().cloned().unwrap_or_default());
        let resources: Vec<_> = edits.map(|edit| edit["resource"].clone()).collect();
        ensure!(resources.contains(&successor.group("one")?.into()), "{resources:?}");
        Ok(resources)
    });
    assert!(!planned.await?.contains(&old.into()), "what was gone before it was written down is not in the journal");
    Ok(())
}
