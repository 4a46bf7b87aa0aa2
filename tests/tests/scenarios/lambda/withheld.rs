//! What holds a change of a function back, and what goes wrong with one.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tests::emulator::{Fault, FaultKind, Seed};

use super::{
    KIND, REGION, allow, baseline, function, given, settings, sids, wait_for_function, wait_for_status, written,
};
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
                "broken",
                with(json!({"lastUpdateStatus": "Failed", "lastUpdateStatusReasonCode": "InvalidSubnet"}))
            ),
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
    wait_for_status(&scenario, "all that are not ready are counted", |status| {
        // Of failed, inactive and broken one edit each.
        status["withheld"]["NotActive"] == 3
    })
    .await?;
    assert_eq!(written(&scenario).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_a_distribution_calls_is_left_alone_and_so_is_all_until_that_is_known() -> Result<()> {
    let scenario = scenario("edge").await?;
    let loops = |name: &str| function(name, json!({"recursion": "Allow"}));
    let seed = Seed::in_region("us-east-1")
        .with("functions", json!([loops("headers"), loops("rewrite"), loops("shop")]))
        .with("distributions", json!([{"functions": ["headers:1"], "otherFunctions": ["rewrite:7"]}]));
    scenario.aws.seed(&seed).await?;
    let denied = Fault::from(FaultKind::AccessDenied).of_service("cloudfront").on("ListDistributions").always();
    scenario.aws.set_faults(&[denied]).await?;
    scenario.apply(&ACCOUNT.replace("eu-west-1", "us-east-1")).await?;
    scenario.apply(&baseline("Enforce", "limits: {recursion: Terminate}")).await?;
    let status = wait_for_status(&scenario, "nobody knows", |status| status["withheld"]["IncompleteKnowledge"] == 3);
    let cell = &status.await?["cells"][0];
    ensure!(cell["complete"] == false && cell["reason"] == "AccessDenied", "{cell}");
    assert_eq!(written(&scenario).await?, Vec::<String>::new());
    scenario.aws.set_faults(&[]).await?;
    wait_for_status(&scenario, "the two are left alone", |status| {
        status["withheld"]["EdgeFunction"] == 2 && status["violationsTotal"] == 2
    })
    .await?;
    assert_eq!(written(&scenario).await?, ["PutFunctionRecursionConfig"]);
    let shop = scenario.aws.function("us-east-1", "shop").await?;
    ensure!(shop["recursion"] == "Terminate", "{shop}");
    Ok(())
}

#[tokio::test]
async fn who_has_access_is_put_right_whatever_becomes_of_the_configuration() -> Result<()> {
    let scenario = scenario("access-first").await?;
    scenario.aws.configure(&settings(&json!({"blockedRuntimes": ["python3.7"]}))).await?;
    let open = |others: Value| {
        let policy = json!({"": [allow("everybody", json!("*"), json!(null))]});
        let mut all = json!({"tracing": "PassThrough", "policy": policy});
        all.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        all
    };
    given(
        &scenario,
        json!([
            function("idle", open(json!({"state": "Inactive"}))),
            function("busy", open(json!({"lastUpdateStatus": "InProgress"}))),
            function("old", open(json!({"runtime": "python3.7"}))),
        ]),
    )
    .await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", &format!("{TRACE}\naccess: {{forbidPublic: true}}"))).await?;
    for name in ["idle", "busy", "old"] {
        wait_for_function(&scenario, name, "is closed", |function| sids(function).is_empty()).await?;
    }
    let first = written(&scenario).await?.iter().filter(|operation| *operation == "RemovePermission").count();
    assert_eq!(first, 3);
    wait_for_status(&scenario, "what is left is told", |status| {
        status["violations"]["critical"] == 0 && counts(status, "failures", "RuntimeBlocked")
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_be_used_costs_no_variable() -> Result<()> {
    let scenario = scenario("bad-keys").await?;
    let key =
        |number: u32| format!("arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-12345678900{number}");
    let answers = json!({"kmsKeys": {key(1): "KMSAccessDeniedException", key(2): "KMSDisabledException", key(3): "DisabledKMSKey"}});
    scenario.aws.configure(&settings(&answers)).await?;
    let with = |team: &str| json!({"environment": {"STAGE": "prod"}, "tags": {"team": team}});
    given(
        &scenario,
        json!([function("denied", with("a")), function("disabled", with("b")), function("late", with("c"))]),
    )
    .await?;
    scenario.apply(ACCOUNT).await?;
    for (number, team) in (1..).zip(["a", "b", "c"]) {
        let fields = format!("environment: {{requireCustomerKey: true, kmsKeyArn: \"{}\"}}", key(number));
        let only = format!("select: {{tags: {{team: {team}}}}}");
        let baseline = baseline("Enforce", &fields).replace("select: {all: true}", &only);
        scenario.apply(&baseline.replace("name: edge", &format!("name: edge-{team}"))).await?;
    }
    for team in ["a", "b", "c"] {
        scenario
            .wait_for(KIND, &format!("edge-{team}"), "the key is told", |object| {
                counts(&object.data["status"], "failures", "KeyUnusable")
            })
            .await?;
    }
    for name in ["denied", "disabled", "late"] {
        let function = scenario.aws.function(REGION, name).await?;
        assert_eq!(function["configuration"]["Environment"]["Variables"]["STAGE"], "prod", "{name}");
    }
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
    // A failure is told by the sweep that met it.
    let told = ["KeyUnusable", "UpdateFailed", "RoleUnusable", "RuntimeBlocked"].map(|reason| {
        let scenario = &scenario;
        async move { wait_for_status(scenario, reason, |status| counts(status, "failures", reason)).await }
    });
    try_join_all(told).await.map(drop)
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
    wait_for_status(&scenario, "it is compliant", |status| status["violationsTotal"] == 0).await?;
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
