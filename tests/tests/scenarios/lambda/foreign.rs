//! Others who change the same functions: deployments at every step, statements under our ids, functions that go.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tests::Scenario;
use tests::emulator::{Fault, FaultKind, Seed};

use super::{
    KIND, allow, baseline, function, given, settings, sids, wait_for_function, wait_for_looks, wait_for_status, written,
};
use crate::{ACCOUNT, REGION, program, scenario, wait_for_change_set};

/// Somebody else does this right before a call of the controller to an operation.
async fn meanwhile(scenario: &Scenario<'_>, operation: &str, change: Value) -> Result<()> {
    let fault = Fault::from(FaultKind::ForeignFunction { change }).of_service("lambda").on(operation).by("*-write");
    scenario.aws.set_faults(&[fault]).await
}

fn deployed(version: &str) -> Value {
    json!({"function": "pay", "configuration": {"Environment": {"Variables": {"VERSION": version}}}})
}

/// What takes a write of every sort, and the reads before and after each.
const EVERYTHING: &str = r#"access: {forbidPublic: true, serviceSource: true, addSourceAccount: true}
urls: {auth: AWS_IAM}
observability: {xray: true}
limits: {recursion: Terminate, concurrency: {default: 20}}
requiredTags: [{key: team, default: unknown}]"#;

/// Whom that leaves nothing but what it does for the function's own account.
const UNBOUND: &str = "pay events.amazonaws.com lambda:invokefunction";

/// A function with all of that wrong.
fn neglected() -> Value {
    let service = json!({"Service": "events.amazonaws.com"});
    let policy = json!([allow("everybody", json!("*"), json!(null)), allow("timer", service, json!(null))]);
    function(
        "pay",
        json!({
            "tracing": "PassThrough", "recursion": "Allow", "environment": {"VERSION": "1"},
            "urls": [{"authType": "NONE"}], "policy": {"": policy},
        }),
    )
}

fn is_mended(pay: &Value) -> bool {
    pay["configuration"]["TracingConfig"]["Mode"] == "Active"
        && pay["recursion"] == "Terminate"
        && pay["reservedConcurrency"] == 20
        && pay["tags"]["team"] == "unknown"
        && pay.pointer("/urls//AuthType").and_then(Value::as_str) == Some("AWS_IAM")
        && sids(pay) == ["timer-own-account"]
}

/// Somebody deploys right before each of these calls, each in an account of its own, and all is mended beside that.
async fn deployments<const N: usize>(steps: [&str; N], deployment: Value) -> Result<()> {
    let deploy = async |step: &str| {
        let mut scenario = scenario("deployed").await?;
        // Many accounts share two cores.
        scenario.patience *= 3;
        scenario.may_shut_out([UNBOUND])?;
        given(&scenario, json!([neglected()])).await?;
        let change = deployment.clone();
        let fault = Fault::from(FaultKind::ForeignFunction { change }).of_service("lambda").on(step);
        scenario.aws.set_faults(&[fault]).await?;
        scenario.apply(ACCOUNT).await?;
        scenario.apply(&baseline("Enforce", EVERYTHING)).await?;
        let pay = wait_for_function(&scenario, "pay", &format!("is mended in spite of {step}"), is_mended).await?;
        ensure!(scenario.aws.faults().await?.iter().all(|fault| fault.fired == 1), "nobody deployed at {step}");
        assert_eq!(pay["configuration"]["Environment"]["Variables"]["VERSION"], "2", "{step}");
        Ok::<(), anyhow::Error>(())
    };
    try_join_all(steps.map(deploy)).await.map(drop)
}

#[tokio::test]
async fn a_deployment_at_any_step_is_kept_and_all_is_mended_beside_it() -> Result<()> {
    let steps = [
        "GetFunctionConfiguration",
        "GetPolicy",
        "UpdateFunctionConfiguration",
        "UpdateFunctionUrlConfig",
        "AddPermission",
        "RemovePermission",
        "PutFunctionConcurrency",
        "PutFunctionRecursionConfig",
        "TagResource",
    ];
    deployments(steps, deployed("2")).await
}

#[tokio::test]
async fn a_deployment_that_is_under_way_is_kept_and_all_is_mended_after_it() -> Result<()> {
    let mut slow = deployed("2");
    slow["updateSeconds"] = json!(2.0);
    let steps = ["UpdateFunctionConfiguration", "UpdateFunctionUrlConfig", "AddPermission", "PutFunctionConcurrency"];
    deployments(steps, slow).await
}

#[tokio::test]
async fn a_configuration_is_never_written_over_a_newer_one() -> Result<()> {
    let scenario = scenario("newer").await?;
    given(&scenario, json!([neglected()])).await?;
    meanwhile(&scenario, "UpdateFunctionConfiguration", deployed("2")).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "observability: {xray: true}")).await?;
    wait_for_function(&scenario, "pay", "is traced", |pay| pay["configuration"]["TracingConfig"]["Mode"] == "Active")
        .await?;
    let calls = scenario.aws.calls(0, "UpdateFunctionConfiguration").await?;
    assert_eq!(calls[0].error_code.as_deref(), Some("PreconditionFailedException"));
    assert_eq!(calls.len(), 2, "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn a_statement_id_that_somebody_takes_meanwhile_stays_his() -> Result<()> {
    let scenario = scenario("taken").await?;
    scenario.may_shut_out([UNBOUND])?;
    let service = |name: &str| json!({"Service": format!("{name}.amazonaws.com")});
    let timer = allow("timer", service("events"), json!(null));
    given(&scenario, json!([function("pay", json!({"policy": {"": [timer.clone()]}}))])).await?;
    let resource = format!("arn:aws:lambda:{}:{}:function:pay", REGION, scenario.account);
    let his = allow("timer-own-account", service("s3"), json!({"StringEquals": {"AWS:SourceAccount": "111122223333"}}));
    let both = [timer, his].map(|mut statement| {
        statement["Resource"] = json!(resource);
        statement
    });
    meanwhile(&scenario, "AddPermission", json!({"function": "pay", "policy": {"": both}})).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "access: {serviceSource: true, addSourceAccount: true}")).await?;
    let pay = wait_for_function(&scenario, "pay", "is bound to its account", |pay| {
        let sids = sids(pay);
        !sids.contains(&"timer".to_owned()) && sids.len() == 2
    })
    .await?;
    assert_eq!(sids(&pay), ["timer-own-account", "timer-own-account-2"]);
    assert_eq!(pay.pointer("/policies//statements/0"), Some(&both[1]));
    assert_eq!(written(&scenario).await?, ["AddPermission", "AddPermission", "RemovePermission"]);
    Ok(())
}

#[tokio::test]
async fn a_function_that_is_deleted_half_way_is_done_with_and_its_successor_is_planned_anew() -> Result<()> {
    let scenario = scenario("deleted").await?;
    scenario.may_shut_out([UNBOUND])?;
    given(&scenario, json!([neglected()])).await?;
    let successor = json!({"tracing": "PassThrough", "environment": {"VERSION": "2"}});
    let change = json!({"function": "pay", "delete": true});
    meanwhile(&scenario, "RemovePermission", change).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", EVERYTHING)).await?;
    wait_for_status(&scenario, "nothing is left", |status| status["violationsTotal"] == 0).await?;
    scenario.wait_for_condition(KIND, "edge", "Reconciling", "False").await?;
    wait_for_change_set(&scenario, "PartlyApplied").await?;
    let before = written(&scenario).await?.len();
    given(&scenario, json!([function("pay", successor)])).await?;
    wait_for_function(&scenario, "pay", "is mended, too", |pay| {
        pay["configuration"]["TracingConfig"]["Mode"] == "Active" && pay["tags"]["team"] == "unknown"
    })
    .await?;
    ensure!(written(&scenario).await?.len() > before);
    Ok(())
}

#[tokio::test]
async fn a_change_set_of_a_function_is_undone_as_far_as_it_is_as_it_was_left() -> Result<()> {
    let scenario = scenario("undone").await?;
    scenario.may_let_in(["pay * lambda:invokefunction"])?;
    let open = allow("everybody", json!("*"), json!(null));
    let old = json!({"tracing": "PassThrough", "policy": {"": [open]}, "environment": {"VERSION": "1"}});
    given(&scenario, json!([function("pay", old)])).await?;
    scenario.apply(ACCOUNT).await?;
    let enforce = baseline("Enforce", "access: {forbidPublic: true}\nobservability: {xray: true}");
    scenario.apply(&enforce).await?;
    let closed = |pay: &Value| sids(pay).is_empty() && pay["configuration"]["TracingConfig"]["Mode"] == "Active";
    wait_for_function(&scenario, "pay", "is closed", closed).await?;
    scenario.wait_for_condition(KIND, "edge", "Reconciling", "False").await?;
    scenario.delete(&enforce).await?;
    // A policy and a configuration that are found at different times are changed by a set each.
    for set in scenario.api("ChangeSet").await?.list(&Default::default()).await?.items {
        let name = set.metadata.name.as_deref().unwrap();
        let words = ["rollback", name, "-n", &scenario.namespace, "--reason", "INC-77", "--yes"];
        let undone = program().run(scenario.world, words).await?;
        assert_eq!(undone.code, 0, "{}", undone.stderr);
    }
    wait_for_function(&scenario, "pay", "is as it was", |pay| {
        sids(pay) == ["everybody"] && pay["configuration"]["TracingConfig"]["Mode"] == "PassThrough"
    })
    .await?;
    wait_for_change_set(&scenario, "RolledBack").await?;
    Ok(())
}

#[tokio::test]
async fn a_layer_is_shared_again_although_nobody_asks_for_layers_any_more() -> Result<()> {
    let scenario = scenario("shared-again").await?;
    scenario.may_let_in(["lib:1 * lambda:getlayerversion"])?;
    let arn = format!("arn:aws:lambda:{REGION}:{}:layer:lib:1", scenario.account);
    let shared =
        json!({"Sid": "all", "Effect": "Allow", "Principal": "*", "Action": "lambda:GetLayerVersion", "Resource": arn});
    let seed = Seed::in_region(REGION).with("layers", json!([{"name": "lib", "versions": [{"policy": [shared]}]}]));
    scenario.aws.seed(&seed).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "code: {privateLayers: true}")).await?;
    let set = wait_for_change_set(&scenario, "Applied").await?;
    scenario.apply(&baseline("Enforce", "code: {privateLayers: false}")).await?;
    let name = set.metadata.name.as_deref().unwrap();
    let words = ["rollback", name, "-n", &scenario.namespace, "--reason", "INC-78", "--yes"];
    let undone = program().run(scenario.world, words).await?;
    assert_eq!(undone.code, 0, "{}", undone.stderr);
    wait_for_change_set(&scenario, "RolledBack").await?;
    assert_eq!(written(&scenario).await?, ["RemoveLayerVersionPermission", "AddLayerVersionPermission"]);
    Ok(())
}

#[tokio::test]
async fn a_runtime_that_nobody_may_update_is_tried_again_only_once_the_function_has_changed() -> Result<()> {
    let scenario = scenario("blocked").await?;
    let settings = settings(&json!({"blockedRuntimes": ["python3.7"]}));
    scenario.aws.configure(&settings).await?;
    let old = json!({"tracing": "PassThrough", "runtime": "python3.7"});
    given(&scenario, json!([function("pay", old)])).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "observability: {xray: true}")).await?;
    let tries = async || Ok::<usize, anyhow::Error>(scenario.aws.calls(0, "UpdateFunctionConfiguration").await?.len());
    wait_for_status(&scenario, "it is told", |status| status["failures"]["RuntimeBlocked"] == 1).await?;
    wait_for_looks(&scenario, 2).await?;
    assert_eq!(tries().await?, 1);
    let change = json!({"function": "pay", "configuration": {"Runtime": "python3.13"}});
    let fault = Fault::from(FaultKind::ForeignFunction { change }).of_service("lambda").on("ListFunctions");
    scenario.aws.set_faults(&[fault]).await?;
    wait_for_function(&scenario, "pay", "is traced", |pay| pay["configuration"]["TracingConfig"]["Mode"] == "Active")
        .await?;
    assert_eq!(tries().await?, 2);
    Ok(())
}
