//! What is seen of functions, and by which calls.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{KIND, allow, baseline, finding, function, given, wait_until_known, writes};
use crate::{ACCOUNT, scenario};

#[tokio::test]
async fn what_is_wrong_is_found_and_nothing_is_written() -> Result<()> {
    let scenario = scenario("functions").await?;
    let open = json!({
        "tracing": "PassThrough",
        "policy": {"": [allow("everybody", json!("*"), json!(null))]},
        "urls": [{"authType": "NONE"}],
    });
    given(
        &scenario,
        json!([function("open", open), function("fine", json!({})), function("old", json!({"runtime": "python3.8"}))]),
    )
    .await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", "urls: {auth: AWS_IAM}")).await?;
    let status = wait_until_known(&scenario).await?;
    assert_eq!(status["resources"], 3);
    for (control, name) in [
        ("lambda-no-public-policy", "open"),
        ("lambda-url-auth-iam", "open"),
        ("lambda-xray-active", "open"),
        ("lambda-supported-runtime", "old"),
    ] {
        let found = finding(&status, control, name);
        ensure!(
            found.is_some_and(|found| found["held"] == "Audit"
                || found["held"].is_null()
                || found["held"] == "NothingToWrite"),
            "{control} on {name}: {found:?}"
        );
    }
    ensure!(status["worst"].as_array().unwrap().iter().all(|finding| finding["resource"] != "fine"), "{status}");
    let cell = &status["cells"][0];
    ensure!(cell["oldestFact"].as_str() <= cell["lastSweep"].as_str() && cell["oldestFact"].is_string(), "{cell}");
    ensure!(writes(&scenario).await?.is_empty());
    scenario.wait_for_condition(KIND, "edge", "Ready", "True").await?;
    Ok(())
}

#[tokio::test]
async fn code_is_never_asked_for_and_only_what_a_control_needs_is() -> Result<()> {
    let scenario = scenario("asked").await?;
    given(&scenario, json!([function("one", json!({"aliases": [{"name": "live", "version": "$LATEST"}]}))])).await?;
    scenario.apply(ACCOUNT).await?;
    let fields = "overrides:\n- {control: lambda-recursion-terminate, mode: \"Off\"}\n- {control: lambda-runtime-auto-update, mode: \"Off\"}";
    scenario.apply(&baseline("Audit", fields)).await?;
    wait_until_known(&scenario).await?;
    let calls = scenario.aws.ledger().await?;
    let asked: Vec<&str> = calls.iter().filter(|call| call.is_by_a_role()).map(|call| call.operation()).collect();
    for needed in ["ListFunctions", "GetResources", "GetPolicy", "ListAliases", "ListFunctionUrlConfigs"] {
        ensure!(asked.contains(&needed), "{needed} is missing: {asked:?}");
    }
    for idle in ["GetFunction", "GetFunctionRecursionConfig", "GetRuntimeManagementConfig", "GetFunctionConcurrency"] {
        ensure!(!asked.contains(&idle), "{idle} was asked for");
    }
    Ok(())
}
