//! Token buckets with the rates that AWS documents.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::SdkError;
use futures::future::join_all;
use serde_json::json;
use tests::emulator::{Call, Settings};
use tests::{aws_client, wait_until};

use super::{REGION, corner, refusal, refused};

/// More than any bucket holds, and what comes back into it meanwhile.
const ENOUGH: usize = 300;

/// Calls until AWS throttles. Answers how many calls the bucket let through, and the least and most that it may have.
async fn drained(
    capacity: f64,
    refill: f64,
    call: impl AsyncFn() -> Result<(), (u16, String)>,
) -> Result<(usize, std::ops::RangeInclusive<usize>)> {
    let start = Instant::now();
    let mut passed = 0;
    while passed < ENOUGH {
        let batch = join_all((0..10).map(|_| call())).await;
        passed += batch.iter().filter(|outcome| outcome.is_ok()).count();
        if let Some(Err(refusal)) = batch.into_iter().find(Result::is_err) {
            ensure!(refusal == refused(503, "RequestLimitExceeded"), "{refusal:?}");
            let most = capacity + refill * start.elapsed().as_secs_f64();
            return Ok((passed, capacity as usize..=most as usize));
        }
    }
    anyhow::bail!("{passed} calls in {:?} and no throttle", start.elapsed())
}

/// Whether the call got past the bucket: a dry run draws a token and does nothing.
async fn dry_revoke(ec2: &Client) -> Result<(), (u16, String)> {
    let group = "sg-0123456789abcdef0";
    throttle(ec2.revoke_security_group_ingress().group_id(group).dry_run(true).send().await)
}

async fn unfiltered(ec2: &Client) -> Result<(), (u16, String)> {
    throttle(ec2.describe_security_groups().send().await)
}

async fn in_pages(ec2: &Client) -> Result<(), (u16, String)> {
    throttle(ec2.describe_security_groups().max_results(5).send().await)
}

fn throttle<T, E>(outcome: Result<T, SdkError<E>>) -> Result<(), (u16, String)>
where
    T: std::fmt::Debug,
    E: aws_sdk_ec2::error::ProvideErrorMetadata,
{
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => match refusal::<T, E>(Err(error)) {
            Ok((412, _)) => Ok(()),
            Ok(refusal) => Err(refusal),
            Err(error) => Err((0, format!("{error:#}"))),
        },
    }
}

#[tokio::test]
async fn each_operation_has_a_bucket_of_its_documented_size() -> Result<()> {
    let (scenario, ec2) = corner("rates").await?;
    let (passed, bounds) = drained(50.0, 5.0, async || dry_revoke(&ec2).await).await?;
    assert!(bounds.contains(&passed), "{passed} writes passed, not {bounds:?}");
    let (passed, bounds) = drained(50.0, 10.0, async || unfiltered(&ec2).await).await?;
    assert!(bounds.contains(&passed), "{passed} unfiltered reads passed, not {bounds:?}");
    let (passed, bounds) = drained(100.0, 20.0, async || in_pages(&ec2).await).await?;
    assert!(bounds.contains(&passed), "{passed} reads in pages passed, not {bounds:?}");

    let throttled: Vec<Call> = scenario.aws.ledger().await?;
    let mut throttled = throttled.iter().filter(|call| call.fault.is_some());
    assert!(throttled.all(|call| call.fault.as_deref() == Some("throttled") && !call.effect));
    let elsewhere = aws_client::ec2(&scenario.world.emulator.url(), &scenario.account, "eu-west-3");
    assert_eq!(dry_revoke(&elsewhere).await, Ok(()), "a region has buckets of its own");
    wait_until("tokens come back", Duration::from_secs(5), async || {
        let outcome = dry_revoke(&ec2).await;
        ensure!(outcome.is_ok(), "{outcome:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rates_can_be_scaled_and_switched_off() -> Result<()> {
    let (scenario, ec2) = corner("rate-settings").await?;
    let rates = async |rates| {
        let settings = Settings { rates: Some(rates), ..Settings::default() };
        scenario.aws.configure(&settings).await
    };
    rates(json!(0.2)).await?;
    let (passed, bounds) = drained(10.0, 1.0, async || dry_revoke(&ec2).await).await?;
    assert!(bounds.contains(&passed), "{passed} writes passed, not {bounds:?}");
    rates(json!("off")).await?;
    let all = join_all((0..ENOUGH / 2).map(|_| dry_revoke(&ec2))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    rates(json!("aws")).await?;
    let (passed, bounds) = drained(50.0, 5.0, async || dry_revoke(&ec2).await).await?;
    assert!(bounds.contains(&passed), "new settings fill the buckets: {passed} passed, not {bounds:?}");
    assert_eq!(scenario.aws.groups(REGION).await?.len(), 1, "dry runs have no effect");
    Ok(())
}
