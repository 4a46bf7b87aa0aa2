//! CloudTrail's event history: who did what to a group, out of the emulator's own ledger.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_credential_types::Credentials;
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::operation::lookup_events::builders::LookupEventsFluentBuilder;
use aws_sdk_cloudtrail::types::{Event, LookupAttribute, LookupAttributeKey};
use aws_sdk_ec2::types::Tag;
use aws_smithy_types::DateTime;
use serde_json::{Value, json};
use tests::emulator::{Direction, Fault, FaultKind, ForeignChange, Settings};
use tests::{Scenario, aws_client, wait_until};

use super::{REGION, corner, group, refusal, refused, tcp};

fn trail(scenario: &Scenario<'_>, region: &str) -> Client {
    aws_client::cloudtrail(&scenario.world.emulator.url(), &scenario.account, region)
}

/// A look at the history of a resource.
fn of(trail: &Client, resource: &str) -> Result<LookupEventsFluentBuilder> {
    let attribute =
        LookupAttribute::builder().attribute_key(LookupAttributeKey::ResourceName).attribute_value(resource).build()?;
    Ok(trail.lookup_events().lookup_attributes(attribute))
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(Event::event_name).collect()
}

fn record(event: &Event) -> Result<Value> {
    Ok(serde_json::from_str(event.cloud_trail_event().context("an event without its record")?)?)
}

async fn no_rates(scenario: &Scenario<'_>) -> Result<()> {
    scenario.aws.configure(&Settings { rates: Some(json!("off")), ..Settings::default() }).await
}

#[tokio::test]
async fn the_history_of_a_group_tells_who_changed_it_newest_first() -> Result<()> {
    let (scenario, ec2) = corner("history").await?;
    scenario.may_open(["ingress tcp 22 10.0.0.0/8"])?;
    no_rates(&scenario).await?;
    let (url, account) = (scenario.world.emulator.url(), &scenario.account);
    let (id, other) = (group(&scenario, &[]).await?, group(&scenario, &[]).await?);
    let role = format!("arn:aws:iam::{account}:role/ci/terraform");
    let assumed = aws_client::sts(&url, account, REGION).assume_role().role_arn(&role).role_session_name("run-7");
    let given = assumed.send().await?.credentials.context("no credentials")?;
    let given =
        Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "assumed");
    let terraform = aws_client::ec2_as(&url, given, REGION);
    let add =
        || terraform.authorize_security_group_ingress().group_id(&id).ip_permissions(tcp(22, "10.0.0.0/8")).send();
    add().await?;
    refusal(add().await)?;
    let hand = ForeignChange::of_group(&id).revoke(Direction::Ingress, "tcp 22 10.0.0.0/8".parse()?);
    scenario.aws.set_faults(&[Fault::from(FaultKind::ForeignWrite { change: hand }).on("CreateTags")]).await?;
    let tag = Tag::builder().key("team").value("payments").build();
    ec2.create_tags().resources(&id).resources(&other).tags(tag).send().await?;
    ec2.describe_security_groups().group_ids(&id).send().await?;

    let events = of(&trail(&scenario, REGION), &id)?.send().await?.events.unwrap_or_default();
    let authorize = "AuthorizeSecurityGroupIngress";
    assert_eq!(names(&events), ["CreateTags", "RevokeSecurityGroupIngress", authorize, authorize]);
    let records: Vec<Value> = events.iter().map(record).collect::<Result<_>>()?;
    let arns: Vec<_> = records.iter().filter_map(|record| record["userIdentity"]["arn"].as_str()).collect();
    let session = format!("arn:aws:sts::{account}:assumed-role/terraform/run-7");
    let (root, foreign) = (format!("arn:aws:iam::{account}:root"), format!("arn:aws:iam::{account}:user/foreign"));
    assert_eq!(arns, [&root, &foreign, &session, &session]);
    assert_eq!(records[2]["errorCode"], "Client.InvalidPermission.Duplicate");
    assert_eq!(records[3].get("errorCode"), None);
    assert_eq!(records[3]["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"], role.as_str());
    assert_eq!((events[3].username(), events[3].read_only()), (Some("run-7"), Some("false")));
    assert_eq!(events[3].event_source(), Some("ec2.amazonaws.com"));

    let of_other = of(&trail(&scenario, REGION), &other)?.send().await?.events.unwrap_or_default();
    assert_eq!(names(&of_other), ["CreateTags"], "the resources of a call are all in it");
    let elsewhere = of(&trail(&scenario, "eu-west-3"), &id)?.send().await?;
    assert_eq!(elsewhere.events().len(), 0);
    Ok(())
}

#[tokio::test]
async fn the_history_comes_in_pages_and_of_a_time() -> Result<()> {
    let (scenario, ec2) = corner("history-pages").await?;
    no_rates(&scenario).await?;
    let (id, trail) = (group(&scenario, &[]).await?, trail(&scenario, REGION));
    for port in [22, 23, 24] {
        ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(tcp(port, "10.0.0.0/8")).send().await?;
    }
    let first = of(&trail, &id)?.max_results(2).send().await?;
    let token = first.next_token().context("there is more")?;
    let second = of(&trail, &id)?.max_results(2).next_token(token).send().await?;
    assert_eq!((first.events().len(), second.events().len(), second.next_token()), (2, 1, None));
    let at = first.events()[0].event_time().context("an event without its time")?.secs();
    for (start, end, count) in [(Some(at - 60), Some(at + 60), 3), (Some(at + 60), None, 0), (None, Some(at - 60), 0)] {
        let time = |second: Option<i64>| second.map(DateTime::from_secs);
        let within = of(&trail, &id)?.set_start_time(time(start)).set_end_time(time(end)).send().await?;
        assert_eq!(within.events().len(), count, "{start:?} to {end:?}");
    }
    let backwards = of(&trail, &id)?.start_time(DateTime::from_secs(at)).end_time(DateTime::from_secs(at - 1));
    assert_eq!(refusal(backwards.send().await)?, refused(400, "InvalidTimeRangeException"));
    assert_eq!(refusal(of(&trail, &id)?.max_results(51).send().await)?, refused(400, "InvalidMaxResultsException"));
    assert_eq!(refusal(of(&trail, "sg-0")?.next_token(token).send().await)?, refused(400, "InvalidNextTokenException"));
    let attributes = of(&trail, &id)?.get_lookup_attributes().as_ref().map(|one| [one.clone(), one.clone()].concat());
    let twice = trail.lookup_events().set_lookup_attributes(attributes);
    assert_eq!(refusal(twice.send().await)?, refused(400, "InvalidLookupAttributesException"));
    Ok(())
}

#[tokio::test]
async fn the_history_may_be_asked_twice_a_second_and_can_be_forbidden() -> Result<()> {
    let (scenario, _) = corner("history-rate").await?;
    let trail = trail(&scenario, REGION);
    let ask = async || trail.lookup_events().send().await;
    let mut passed = 0;
    let throttled = loop {
        match ask().await {
            Ok(_) => passed += 1,
            error => break refusal(error)?,
        }
        ensure!(passed < 50, "no throttle after {passed} calls");
    };
    assert!(passed >= 2);
    assert_eq!(throttled, refused(400, "ThrottlingException"));
    wait_until("a token comes back", Duration::from_secs(5), async || {
        let answer = ask().await;
        ensure!(answer.is_ok(), "{answer:?}");
        Ok(())
    })
    .await?;
    no_rates(&scenario).await?;
    scenario.aws.set_faults(&[Fault::from(FaultKind::AccessDenied).of_service("cloudtrail")]).await?;
    assert_eq!(refusal(ask().await)?, refused(400, "AccessDeniedException"));
    scenario.aws.set_faults(&[Fault::from(FaultKind::Truncate).of_service("cloudtrail")]).await?;
    assert!(ask().await.is_err(), "half a history is none");
    assert!(scenario.aws.calls(0, "LookupEvents").await?.iter().all(|call| !call.effect));
    Ok(())
}
