//! What `Enforce` changes of functions, by which calls, and how it is undone.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::emulator::Seed;

use super::{
    KIND, REGION, allow, baseline, function, given, settings, sids, wait_for_function, wait_for_status, writes, written,
};
use crate::{ACCOUNT, scenario, wait_for_change_set};

#[tokio::test]
async fn a_public_policy_closes_and_who_was_allowed_by_name_keeps_access() -> Result<()> {
    let scenario = scenario("public-policy").await?;
    let partner = json!({"AWS": "arn:aws:iam::444455556666:root"});
    let policy = json!({"": [allow("everybody", json!("*"), json!(null)), allow("partner", partner, json!(null))]});
    given(&scenario, json!([function("shop", json!({"policy": policy}))])).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "access: {forbidPublic: true, trustedAccounts: [\"444455556666\"]}")).await?;
    let shop =
        wait_for_function(&scenario, "shop", "is not public", |shop| !sids(shop).contains(&"everybody".to_owned()))
            .await?;
    assert_eq!(sids(&shop), ["partner"]);
    let [write] = &writes(&scenario).await?[..] else { panic!("one write") };
    assert_eq!(write.operation(), "RemovePermission");
    ensure!(write.parameters["RevisionId"].is_string(), "{:?}", write.parameters);
    let set = wait_for_change_set(&scenario, "Applied").await?;
    let edit = &set.data["spec"]["edits"][0];
    assert_eq!((edit["operation"].as_str(), edit["resource"].as_str()), (Some("RemoveStatement"), Some("shop")));
    ensure!(edit["before"][0]["value"].as_str().is_some_and(|value| value.contains("everybody")), "{edit}");
    Ok(())
}

#[tokio::test]
async fn a_layer_that_everybody_may_use_is_closed_and_seen_to_be() -> Result<()> {
    let scenario = scenario("layer").await?;
    let arn = format!("arn:aws:lambda:{REGION}:{}:layer:lib:1", scenario.account);
    let shared =
        json!({"Sid": "all", "Effect": "Allow", "Principal": "*", "Action": "lambda:GetLayerVersion", "Resource": arn});
    let layers = json!([{"name": "lib", "versions": [{"policy": [shared]}]}]);
    scenario.aws.seed(&Seed::in_region(REGION).with("layers", layers)).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "code: {privateLayers: true}")).await?;
    wait_for_change_set(&scenario, "Applied").await?;
    let status = wait_for_status(&scenario, "it is compliant", |status| {
        status["violationsTotal"] == 0 && status["verdicts"]["unknown"] == 0
    })
    .await?;
    assert!(status["withheld"]["ForeignChange"].is_null(), "{status}");
    assert_eq!(written(&scenario).await?, ["RemoveLayerVersionPermission"]);
    Ok(())
}

#[tokio::test]
async fn a_public_url_asks_for_a_signature_and_stays() -> Result<()> {
    let scenario = scenario("public-url").await?;
    let open = json!({"Sid": "url", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl",
        "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}});
    let shop = json!({"urls": [{"authType": "NONE"}], "policy": {"": [open]}});
    given(&scenario, json!([function("shop", shop)])).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "urls: {auth: AWS_IAM}")).await?;
    let auth = |shop: &Value| shop.pointer("/urls//AuthType").and_then(Value::as_str).map(str::to_owned);
    let shop = wait_for_function(&scenario, "shop", "asks for a signature", |shop| {
        auth(shop).as_deref() == Some("AWS_IAM") && sids(shop).is_empty()
    })
    .await?;
    ensure!(auth(&shop).as_deref() == Some("AWS_IAM"));
    assert_eq!(written(&scenario).await?, ["UpdateFunctionUrlConfig", "RemovePermission"]);
    Ok(())
}

#[tokio::test]
async fn a_configuration_is_one_write_under_its_revision_and_is_waited_for() -> Result<()> {
    let scenario = scenario("configuration").await?;
    scenario.aws.configure(&settings(&json!({"functionUpdateSeconds": 2}))).await?;
    let old = json!({"runtime": "nodejs20.x", "tracing": "PassThrough", "environment": {"STAGE": "prod"}});
    given(&scenario, json!([function("pay", old)])).await?;
    scenario.apply(ACCOUNT).await?;
    let fields =
        "runtime: {upgrades: [{from: nodejs20.x, to: nodejs24.x}]}\nobservability: {xray: true, jsonLogs: true}";
    scenario.apply(&baseline("Enforce", fields)).await?;
    let configured = |pay: &Value| {
        let configuration = &pay["configuration"];
        configuration["Runtime"] == "nodejs24.x"
            && configuration["TracingConfig"]["Mode"] == "Active"
            && configuration["LoggingConfig"]["LogFormat"] == "JSON"
    };
    let pay = wait_for_function(&scenario, "pay", "is configured", configured).await?;
    assert_eq!(pay["configuration"]["Environment"]["Variables"]["STAGE"], "prod");
    let set = wait_for_change_set(&scenario, "Applied").await?;
    assert_eq!(set.data["spec"]["edits"].as_array().unwrap().len(), 3);
    let [write] = &writes(&scenario).await?[..] else { panic!("one write") };
    ensure!(write.parameters["RevisionId"].is_string() && write.parameters["Environment"].is_null(), "{write:?}");
    Ok(())
}

#[tokio::test]
async fn a_key_goes_along_with_the_variables_and_no_value_is_written_down() -> Result<()> {
    let scenario = scenario("key").await?;
    given(&scenario, json!([function("pay", json!({"environment": {"STAGE": "canary-value-of-a-variable"}}))])).await?;
    scenario.apply(ACCOUNT).await?;
    let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    scenario
        .apply(&baseline("Enforce", &format!("environment: {{requireCustomerKey: true, kmsKeyArn: \"{key}\"}}")))
        .await?;
    let pay =
        wait_for_function(&scenario, "pay", "has the key", |pay| pay["configuration"]["KMSKeyArn"] == key).await?;
    assert_eq!(pay["configuration"]["Environment"]["Variables"]["STAGE"], "canary-value-of-a-variable");
    let set = wait_for_change_set(&scenario, "Applied").await?;
    ensure!(!set.data.to_string().contains("canary-value"), "{}", set.data);
    let status = scenario.status(KIND, "edge").await?;
    ensure!(!status.to_string().contains("canary-value"), "{status}");
    Ok(())
}

#[tokio::test]
async fn small_objects_are_set_one_by_one() -> Result<()> {
    let scenario = scenario("small").await?;
    given(&scenario, json!([function("loop", json!({"recursion": "Allow", "runtimeManagement": {"$LATEST": {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": "arn:aws:lambda:eu-west-1::runtime:0123456789abcdef"}}}))])).await?;
    scenario.apply(ACCOUNT).await?;
    let fields = "limits: {recursion: Terminate, concurrency: {default: 20}}\nruntime: {patching: Auto}\nrequiredTags: [{key: team, default: unknown}]";
    scenario.apply(&baseline("Enforce", fields)).await?;
    wait_for_function(&scenario, "loop", "is limited", |function| {
        function["recursion"] == "Terminate"
            && function["reservedConcurrency"] == 20
            && function["tags"]["team"] == "unknown"
            && function["runtimeManagement"]["$LATEST"]["UpdateRuntimeOn"] == "Auto"
    })
    .await?;
    let mut operations = written(&scenario).await?;
    operations.sort();
    let expected =
        ["PutFunctionConcurrency", "PutFunctionRecursionConfig", "PutRuntimeManagementConfig", "TagResource"];
    assert_eq!(operations, expected);
    Ok(())
}
