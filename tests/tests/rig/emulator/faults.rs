//! What goes wrong on request: whether the call had an effect, and what the client learns of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_ec2::types::Tag;
use tests::emulator::{Call, Fault, FaultKind};
use tests::{Scenario, aws_client, wait_until};

use super::{REGION, corner, group, ingress, refusal, refused, tcp};

/// One write under a fault: what came back, and what it did.
struct Outcome {
    /// The HTTP status and code of the answer, if there was an answer with a code.
    refusal: Option<(u16, String)>,
    /// Whether the client had to give up waiting.
    timed_out: bool,
    /// Whether the rule is there.
    effect: bool,
    call: Call,
}

/// Lets one fault hit one write, by a client that does not wait for long, and the next write pass.
async fn write_under(kind: FaultKind) -> Result<Outcome> {
    let (scenario, patient) = corner("fault").await?;
    let id = group(&scenario, &[]).await?;
    let url = scenario.world.emulator.url();
    let hasty = aws_client::ec2_within(&url, &scenario.account, REGION, Duration::from_secs(2));
    scenario.aws.set_faults(&[Fault::from(kind).on("Authorize*")]).await?;
    let add = |ec2: &Client, port| {
        ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(tcp(port, "10.0.0.0/8")).send()
    };
    let error = add(&hasty, 22).await.err().context("the fault did not reach the client")?;
    let call = scenario.aws.ledger().await?.into_iter().next().context("the call is not in the ledger")?;
    let effect = !ingress(&scenario, &id).await?.is_empty();
    add(&patient, 443).await.context("the fault hits the second call too")?;
    let timed_out = matches!(error, SdkError::TimeoutError(_));
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let refusal = status.zip(error.code().map(str::to_owned));
    Ok(Outcome { refusal, timed_out, effect, call })
}

#[tokio::test]
async fn a_fault_that_is_answered_says_which() -> Result<()> {
    let (code, message) = ("InvalidGroup.NotFound".to_owned(), "gone".to_owned());
    for (kind, status, code, effect) in [
        (FaultKind::Throttle, 503, "RequestLimitExceeded", false),
        (FaultKind::AccessDenied, 403, "UnauthorizedOperation", false),
        (FaultKind::ExpiredToken, 400, "RequestExpired", false),
        (FaultKind::InternalError, 500, "InternalError", false),
        (FaultKind::EffectThenError, 500, "InternalError", true),
        (FaultKind::Custom { code, status: 400, message }, 400, "InvalidGroup.NotFound", false),
    ] {
        let outcome = write_under(kind).await?;
        assert_eq!(outcome.refusal, Some(refused(status, code)));
        assert_eq!((outcome.effect, outcome.call.effect), (effect, effect), "{code}");
        assert_eq!((outcome.call.status, outcome.call.error_code.as_deref()), (Some(status), Some(code)));
    }
    Ok(())
}

#[tokio::test]
async fn a_fault_that_is_not_answered_leaves_the_client_in_the_dark() -> Result<()> {
    for (kind, name, timed_out, effect) in [
        (FaultKind::Hang { seconds: None }, "hang", true, false),
        (FaultKind::EffectThenHang { seconds: None }, "effectThenHang", true, true),
        (FaultKind::Reset, "reset", false, false),
        (FaultKind::EffectThenReset, "effectThenReset", false, true),
        (FaultKind::Hang { seconds: Some(0.2) }, "hang", false, false),
    ] {
        let outcome = write_under(kind).await?;
        assert_eq!((outcome.refusal, outcome.timed_out), (None, timed_out), "{name}");
        assert_eq!((outcome.effect, outcome.call.effect), (effect, effect), "{name}");
        assert_eq!((outcome.call.status, outcome.call.fault.as_deref()), (None, Some(name)));
    }
    Ok(())
}

#[tokio::test]
async fn half_an_answer_and_one_that_nobody_understands() -> Result<()> {
    let (scenario, ec2) = corner("broken").await?;
    group(&scenario, &["tcp 22 10.0.0.0/8"]).await?;
    scenario.aws.set_faults(&[Fault::from(FaultKind::Truncate).on("Describe*")]).await?;
    let half = ec2.describe_security_groups().send().await.unwrap_err();
    assert!(half.code().is_none(), "it is no answer of AWS: {half:?}");
    let body = "it is raining".to_owned();
    scenario.aws.set_faults(&[Fault::from(FaultKind::Garbage { body: Some(body) }).on("Describe*")]).await?;
    let garbage = ec2.describe_security_groups().send().await.unwrap_err();
    let answer = garbage.raw_response().context("there is an answer")?;
    let (status, body) = (answer.status().as_u16(), answer.body().bytes().unwrap_or_default());
    assert_eq!((status, body), (200, b"it is raining".as_slice()));
    ec2.describe_security_groups().send().await?;
    Ok(())
}

#[tokio::test]
async fn a_page_loses_its_end_or_leads_back_to_itself() -> Result<()> {
    let (scenario, ec2) = corner("pages").await?;
    group(&scenario, &["tcp 22 10.0.0.0/8", "tcp 80 10.0.0.0/8", "tcp 443 10.0.0.0/8"]).await?;
    let ports = async |token: Option<String>| -> Result<(Vec<Option<i32>>, Option<String>)> {
        let rules = ec2.describe_security_group_rules().filters(super::filter("group-id", "sg-*"));
        let page = rules.max_results(5).set_next_token(token).send().await?;
        let ports = page.security_group_rules().iter().filter(|rule| rule.cidr_ipv4() == Some("10.0.0.0/8"));
        Ok((ports.map(|rule| rule.from_port).collect(), page.next_token))
    };
    let (whole, _) = ports(None).await?;
    scenario.aws.set_faults(&[FaultKind::RepeatToken.into()]).await?;
    let (first, token) = ports(None).await?;
    let again = ports(token).await?.0;
    assert_eq!((first, again), (whole.clone(), whole.clone()));
    scenario.aws.set_faults(&[FaultKind::PartialPage { items: 4 }.into()]).await?;
    let (part, token) = ports(None).await?;
    assert!(part.len() < whole.len() && token.is_none(), "{part:?} of {whole:?}, {token:?}");
    Ok(())
}

/// The ports that a read of a group's rules shows.
async fn ports_of(ec2: &Client, group: &str) -> Result<Vec<Option<i32>>> {
    let answer = ec2.describe_security_groups().group_ids(group).send().await?;
    let group = answer.security_groups.unwrap_or_default().pop().context("no group")?;
    Ok(group.ip_permissions().iter().map(|permission| permission.from_port).collect())
}

#[tokio::test]
async fn a_stale_read_does_not_see_the_latest_write_for_a_while() -> Result<()> {
    let (scenario, ec2) = corner("stale").await?;
    let id = group(&scenario, &["tcp 80 10.0.0.0/8"]).await?;
    let stale = Fault::from(FaultKind::Stale { seconds: 1.5 }).on("Describe*").always();
    scenario.aws.set_faults(&[stale]).await?;
    ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(tcp(443, "10.0.0.0/8")).send().await?;
    assert_eq!(ports_of(&ec2, &id).await?, [Some(80)]);
    wait_until("the write is seen", Duration::from_secs(10), async || {
        let ports = ports_of(&ec2, &id).await?;
        ensure!(ports == [Some(80), Some(443)], "{ports:?}");
        Ok(())
    })
    .await?;
    let calls = scenario.aws.ledger().await?;
    let write = calls.iter().find(|call| call.effect).context("there is a write")?;
    let seen = calls.last().context("there are reads")?;
    ensure!(seen.time - write.time >= 1.5, "it was seen after {} s", seen.time - write.time);
    Ok(())
}

#[tokio::test]
async fn a_slow_call_is_held_up_before_its_effect_and_holds_up_nobody_else() -> Result<()> {
    let (scenario, ec2) = corner("slow").await?;
    let id = group(&scenario, &[]).await?;
    let slow = Fault::from(FaultKind::Latency { milliseconds: 700.0 }).on("Authorize*");
    scenario.aws.set_faults(&[slow]).await?;
    let add =
        |port| ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(tcp(port, "10.0.0.0/8")).send();
    let slow = async { anyhow::Ok(add(1).await?) };
    let other = async {
        wait_until("the slow call is under way", Duration::from_secs(10), async || fired(&scenario).await).await?;
        anyhow::Ok(add(2).await?)
    };
    tokio::try_join!(slow, other)?;
    let calls = scenario.aws.calls(0, "Authorize*").await?;
    let faults: Vec<_> = calls.iter().map(|call| call.fault.as_deref()).collect();
    assert_eq!(faults, [None, Some("latency")], "the ledger is in the order of the effects");
    Ok(())
}

async fn fired(scenario: &Scenario<'_>) -> Result<()> {
    let faults = scenario.aws.faults().await?;
    ensure!(faults.iter().all(|fault| fault.fired > 0), "{faults:?}");
    Ok(())
}

#[tokio::test]
async fn a_fault_of_a_resource_hits_its_rules_and_its_tags_alone() -> Result<()> {
    let (scenario, ec2) = corner("resource").await?;
    let (one, other) = (group(&scenario, &[]).await?, group(&scenario, &[]).await?);
    scenario.aws.set_faults(&[Fault::from(FaultKind::AccessDenied).of_resource(&one).always()]).await?;
    for (id, denied) in [(&one, true), (&other, false)] {
        let add = ec2.authorize_security_group_ingress().group_id(id).ip_permissions(tcp(22, "10.0.0.0/8"));
        assert_eq!(add.send().await.is_err(), denied);
        let tag = Tag::builder().key("owner").value("web").build();
        assert_eq!(ec2.create_tags().resources(id).tags(tag).send().await.is_err(), denied);
    }
    ec2.describe_security_groups().send().await?;
    Ok(())
}

#[tokio::test]
async fn faults_are_for_the_service_region_and_principal_that_they_name() -> Result<()> {
    let (scenario, ec2) = corner("aim").await?;
    let url = scenario.world.emulator.url();
    let elsewhere = aws_client::ec2(&url, &scenario.account, "us-east-1");
    let sts = aws_client::sts(&url, &scenario.account, REGION);
    scenario.aws.set_faults(&[Fault::from(FaultKind::AccessDenied).in_region("us-*").always()]).await?;
    ec2.describe_security_groups().send().await?;
    let denied = refused(403, "UnauthorizedOperation");
    assert_eq!(refusal(elsewhere.describe_security_groups().send().await)?, denied);
    scenario.aws.set_faults(&[Fault::from(FaultKind::ExpiredToken).of_service("sts").always()]).await?;
    ec2.describe_security_groups().send().await?;
    let expired = sts.get_caller_identity().send().await.unwrap_err();
    assert_eq!(expired.code(), Some("ExpiredToken"));
    scenario.aws.set_faults(&[Fault::from(FaultKind::AccessDenied).by("*:role/writer").always()]).await?;
    ec2.describe_security_groups().send().await?;
    scenario.aws.set_faults(&[Fault::from(FaultKind::AccessDenied).by("root").every(2)]).await?;
    let outcomes = [
        ec2.describe_security_groups().send().await.is_ok(),
        ec2.describe_security_groups().send().await.is_ok(),
        ec2.describe_security_groups().send().await.is_ok(),
    ];
    assert_eq!(outcomes, [false, true, false]);
    Ok(())
}
