//! What functions hold is nobody's business: none of it is told, written down or logged.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::wait_until;

use super::{allow, baseline, function, given, sids, wait_for_function, wait_for_status};
use crate::{ACCOUNT, controller, program, scenario};

/// In every text of the function that is not a name by which AWS knows something. Undo data holds it where it must.
const CANARY: &str = "hunter2-do-not-tell";
/// In what no record needs, not even to undo a change.
const DEEP: &str = "hunter3-never-tell";

/// A function with a secret in every text.
fn full_of_secrets() -> Value {
    let open = allow("open", json!("*"), json!(null));
    let tagged = allow("tagged", json!("*"), json!({"StringNotEquals": {"aws:PrincipalTag/team": DEEP}}));
    let device = allow("device", json!("*"), json!({"StringEquals": {"lambda:EventSourceToken": DEEP}}));
    let secrets = json!({
        "description": DEEP,
        "handler": format!("{DEEP}.handler"),
        "tracing": "PassThrough",
        "environment": {"API_KEY": DEEP, "DB_PASSWORD": DEEP},
        "tags": {"stage": CANARY},
        "policy": {"": [open, tagged, device]},
        "urls": [{"authType": "NONE", "cors": {"AllowOrigins": [format!("https://{CANARY}.example.com")], "AllowHeaders": [CANARY]}}],
        "aliases": [{"name": "live", "version": "$LATEST", "description": DEEP}],
    });
    function("pay", secrets)
}

#[tokio::test]
async fn no_text_of_a_function_is_told_anywhere() -> Result<()> {
    let scenario = scenario("told").await?;
    // Lambda repeats variables that it refuses as too many, and these are.
    let refused = function("refused", json!({"environment": {"A": DEEP.repeat(300)}}));
    given(&scenario, json!([full_of_secrets(), refused])).await?;
    scenario.apply(ACCOUNT).await?;
    let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let fields = format!(
        "access: {{forbidPublic: true}}\nurls: {{auth: AWS_IAM, corsOrigins: [\"https://shop.example.com\"]}}\nenvironment: {{requireCustomerKey: true, kmsKeyArn: \"{key}\", secrets: {{detectors: Entropy}}}}\nobservability: {{xray: true, jsonLogs: true}}\nrequiredTags: [{{key: stage, pattern: prod}}, {{key: team, default: unknown}}]"
    );
    scenario.apply(&baseline("Enforce", &fields)).await?;
    let pay = wait_for_function(&scenario, "pay", "is as it should be", |pay| {
        let configuration = &pay["configuration"];
        configuration["TracingConfig"]["Mode"] == "Active"
            && configuration["KMSKeyArn"] == key
            && pay["tags"]["team"] == "unknown"
            && pay.pointer("/urls//AuthType").and_then(Value::as_str) == Some("AWS_IAM")
            && !sids(pay).contains(&"open".to_owned())
    })
    .await?;
    assert_eq!(pay["configuration"]["Environment"]["Variables"]["API_KEY"], DEEP, "nothing is lost");
    assert_eq!(sids(&pay), ["tagged", "device"], "what could not be put back stays");
    let refusals = async || {
        let calls = scenario.aws.calls(0, "UpdateFunctionConfiguration").await?;
        ensure!(calls.iter().any(|call| call.error_code.as_deref() == Some("InvalidParameterValueException")));
        Ok(())
    };
    wait_until("what is too large is refused", scenario.patience, refusals).await?;

    let mut sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
    ensure!(sets.iter().any(|set| set.data.to_string().contains(CANARY)), "it is not undo data: is it looked for?");
    ensure!(sets.iter().all(|set| !set.data.to_string().contains(DEEP)), "undo data holds what it does not need");
    for edit in sets.iter_mut().filter_map(|set| set.data["spec"]["edits"].as_array_mut()).flatten() {
        edit["before"].take();
        edit["after"].take();
    }
    let tells = |status: &Value| status["violationsTotal"].as_i64() > Some(0);
    let status = wait_for_status(&scenario, "what is only reported is told", tells).await?;
    let events = scenario.kubectl.run(["get", "events", "-o", "json"]).await?.stdout;
    let explained = program().run(scenario.world, ["explain", "pay", "--account", &scenario.account]).await?;
    let (log, metrics) = (controller().await?.log().read()?, controller().await?.http("/metrics").await?);
    ensure!(log.contains(&scenario.account) && explained.stdout.contains("lambda-no-secrets-in-env"), "{explained:?}");
    let all = [
        ("change sets", format!("{:?}", sets.iter().map(|set| &set.data).collect::<Vec<_>>())),
        ("status", status.to_string()),
        ("events", events),
        ("explain", explained.stdout + &explained.stderr),
        ("log and audit records", log),
        ("metrics", metrics),
    ];
    for (place, text) in all {
        for secret in [CANARY, DEEP] {
            let found = text.lines().find(|line| line.contains(secret));
            ensure!(found.is_none(), "{secret} is told in {place}: {found:?}");
        }
    }
    Ok(())
}
