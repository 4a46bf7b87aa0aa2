//! What holds a change of a function back, and what goes wrong with one.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::emulator::{Fault, FaultKind};

use super::{allow, baseline, function, given, settings, sids, wait_for_function, wait_for_status, written};
use crate::{ACCOUNT, scenario};

const TRACE: &str = "observability: {xray: true}";

/// Whether a status counts edits that are held back or failed by a reason.
fn counts(status: &Value, field: &str, reason: &str) -> bool {
    status[field][reason].as_i64().is_some_and(|count| count > 0)
}

#[tokio::test]
async fn a_function_that_cannot_be_changed_is_left_alone_and_says_why() -> Result<()> {
    let scenario = scenario("not-ready").await?;
    let with = |others: Value| {
        let mut all = json!({"tracing": "PassThrough"});
        all.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        all
    };
    given(
        &scenario,
        json!([
            function("pending", with(json!({"state": "Pending"}))),
            function("updating", with(json!({"lastUpdateStatus": "InProgress"}))),
            function("failed", with(json!({"state": "Failed"}))),
            function("inactive", with(json!({"state": "Inactive"}))),
            function(
                "edge",
                with(
                    json!({"masterArn": "arn:aws:lambda:us-east-1:111122223333:function:edge:1", "recursion": "Allow"})
                )
            ),
            function("stack", with(json!({"tags": {"aws:cloudformation:stack-name": "shop"}}))),
        ]),
    )
    .await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", &format!("{TRACE}\nlimits: {{recursion: Terminate}}"))).await?;
    wait_for_status(&scenario, "every reason is told", |status| {
        ["UpdateInProgress", "NotActive", "EdgeFunction", "InfrastructureAsCode"]
            .iter()
            .all(|reason| counts(status, "withheld", reason))
    })
    .await?;
    assert_eq!(written(&scenario).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_update_that_fails_says_by_what_it_failed() -> Result<()> {
    let scenario = scenario("failing").await?;
    scenario
        .aws
        .configure(&settings(&json!({
            "failingUpdates": {"denied": "KMSKeyAccessDenied", "full": "SubnetOutOfIPAddresses"},
            "missingRoles": ["arn:aws:iam::*:role/gone"],
            "blockedRuntimes": ["python3.7"],
        })))
        .await?;
    let traced = json!({"tracing": "PassThrough"});
    given(
        &scenario,
        json!([
            function("denied", traced.clone()),
            function("full", traced.clone()),
            function("gone", traced.clone()),
            function("blocked", json!({"tracing": "PassThrough", "runtime": "python3.7"})),
        ]),
    )
    .await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", TRACE)).await?;
    wait_for_status(&scenario, "every failure is told", |status| {
        ["KeyUnusable", "UpdateFailed", "RoleUnusable", "RuntimeBlocked"]
            .iter()
            .all(|reason| counts(status, "failures", reason))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_reply_that_was_lost_after_its_effect_is_read_and_not_repeated() -> Result<()> {
    let scenario = scenario("lost-reply").await?;
    let policy = json!({"": [allow("everybody", json!("*"), json!(null))]});
    given(&scenario, json!([function("shop", json!({"policy": policy, "tracing": "PassThrough"}))])).await?;
    let lost = |operation: &str| Fault::from(FaultKind::EffectThenReset).of_service("lambda").on(operation);
    scenario.aws.set_faults(&[lost("RemovePermission"), lost("UpdateFunctionConfiguration")]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", &format!("{TRACE}\naccess: {{forbidPublic: true}}"))).await?;
    wait_for_function(&scenario, "shop", "is as it should be", |shop| {
        sids(shop).is_empty() && shop["configuration"]["TracingConfig"]["Mode"] == "Active"
    })
    .await?;
    wait_for_status(&scenario, "it is compliant", |status| {
        status["violationsTotal"] == 0 || status["violations"]["critical"] == 0
    })
    .await?;
    let mut operations = written(&scenario).await?;
    operations.sort();
    assert_eq!(operations, ["RemovePermission", "UpdateFunctionConfiguration"]);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_or_parsed_is_unknown_and_left_alone() -> Result<()> {
    let scenario = scenario("strange-policy").await?;
    let strange = json!({"Sid": "odd", "Effect": "Perhaps", "Principal": "*", "Action": "lambda:InvokeFunction"});
    given(&scenario, json!([function("odd", json!({"policy": {"": [strange]}}))])).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "access: {forbidPublic: true}")).await?;
    let status = wait_for_status(&scenario, "it is unknown", |status| {
        status["controls"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|control| control["id"] == "lambda-no-public-policy" && control["unknown"] == 1)
    })
    .await?;
    ensure!(written(&scenario).await?.is_empty(), "{status}");
    Ok(())
}

#[tokio::test]
async fn concurrency_beyond_the_account_is_reserved_for_nobody() -> Result<()> {
    let scenario = scenario("pool").await?;
    scenario.aws.configure(&settings(&json!({"concurrentExecutions": 150}))).await?;
    given(&scenario, json!([function("one", json!({})), function("two", json!({}))])).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "limits: {concurrency: {default: 30}}")).await?;
    wait_for_status(&scenario, "the shortage is told", |status| status["withheld"]["ConcurrencyQuota"] == 2).await?;
    ensure!(written(&scenario).await?.is_empty());
    Ok(())
}
