//! Functions: what `LambdaBaseline` sees, and what it changes.

mod audit;
mod enforce;
mod foreign;
mod secrets;
mod withheld;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::emulator::{Call, Seed, Seeded, Settings};
use tests::{Scenario, wait_until};

use super::REGION;

/// The kind of the baselines here.
const KIND: &str = "LambdaBaseline";

/// A baseline on every function of the account, with more fields.
fn baseline(mode: &str, fields: &str) -> String {
    super::baseline(mode, fields).replace("SecurityGroupBaseline", KIND)
}

/// Functions in the emulator's own JSON. What is left out is as Lambda makes it; statements are about their function.
async fn given(scenario: &Scenario<'_>, mut functions: Value) -> Result<Seeded> {
    for function in functions.as_array_mut().into_iter().flatten() {
        let arn =
            format!("arn:aws:lambda:{REGION}:{}:function:{}", scenario.account, function["name"].as_str().unwrap());
        let policy = function.get_mut("policy").and_then(|policy| policy[""].as_array_mut());
        policy.into_iter().flatten().for_each(|statement| statement["Resource"] = json!(arn));
    }
    scenario.aws.seed(&Seed::in_region(REGION).with("functions", functions)).await
}

/// A function that passes every recommended control, but for what is given.
fn function(name: &str, others: Value) -> Value {
    let mut function = json!({
        "name": name, "runtime": "python3.13", "tracing": "Active",
        "role": format!("arn:aws:iam::111122223333:role/{name}"),
    });
    if let (Some(members), Some(others)) = (function.as_object_mut(), others.as_object()) {
        members.extend(others.clone());
    }
    function
}

/// A statement that lets a principal invoke.
fn allow(sid: &str, principal: Value, condition: Value) -> Value {
    let mut statement = json!({
        "Sid": sid, "Effect": "Allow", "Principal": principal, "Action": "lambda:InvokeFunction",
    });
    if !condition.is_null() {
        statement["Condition"] = condition;
    }
    statement
}

/// Settings of the emulator in its own JSON.
fn settings(others: &Value) -> Settings {
    Settings { others: others.as_object().unwrap().clone(), ..Settings::default() }
}

/// Waits until the functions were looked at so many times from now on, since another look has begun.
async fn wait_for_looks(scenario: &Scenario<'_>, count: usize) -> Result<()> {
    super::wait_for_reads(scenario, "ListFunctions", count).await
}

/// The mutating calls of Lambda that the controller made in this account.
async fn writes(scenario: &Scenario<'_>) -> Result<Vec<Call>> {
    let calls = scenario.aws.ledger().await?;
    let is_read = |name: &str| ["Get", "List"].iter().any(|verb| name.starts_with(verb));
    let mutating =
        |call: &Call| call.service.as_deref() == Some("lambda") && call.is_by_a_role() && !is_read(call.operation());
    Ok(calls.into_iter().filter(mutating).collect())
}

/// The names of those calls.
async fn written(scenario: &Scenario<'_>) -> Result<Vec<String>> {
    Ok(writes(scenario).await?.iter().map(|call| call.operation().to_owned()).collect())
}

/// Waits until a function is as it should be.
async fn wait_for_function(
    scenario: &Scenario<'_>,
    name: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Result<Value> {
    wait_until(&format!("function {name}: {what}"), scenario.patience, async || {
        let function = scenario.aws.function(REGION, name).await?;
        ensure!(is(&function), "{function}");
        Ok(function)
    })
    .await
}

/// Waits until the status of the baseline is as it should be.
async fn wait_for_status(scenario: &Scenario<'_>, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    let object = scenario.wait_for(KIND, "edge", what, |object| is(&object.data["status"])).await?;
    Ok(object.data["status"].clone())
}

/// What the status says of a control on a function, if it names it among the worst.
fn finding<'s>(status: &'s Value, control: &str, function: &str) -> Option<&'s Value> {
    let worst = status["worst"].as_array()?;
    worst.iter().find(|finding| finding["control"] == control && finding["resource"] == function)
}

/// The ids of statements of a function's own policy.
fn sids(function: &Value) -> Vec<String> {
    let statements = function.pointer("/policies//statements").and_then(Value::as_array);
    statements.into_iter().flatten().filter_map(|statement| Some(statement["Sid"].as_str()?.to_owned())).collect()
}

/// Waits until every deep fact was read: no verdict is unknown any more.
async fn wait_until_known(scenario: &Scenario<'_>) -> Result<Value> {
    wait_for_status(scenario, "everything is known", |status| {
        status["verdicts"]["unknown"] == 0 && status["resources"].as_i64().is_some_and(|count| count > 0)
    })
    .await
    .context("some verdict stays unknown")
}
