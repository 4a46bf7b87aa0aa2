//! Objects that mean harm: refused, or said to be of no use, and of no effect on anybody else.

use anyhow::{Result, ensure};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use tests::Scenario;

use crate::{ACCOUNT, BASELINE, WEB_ONLY, baseline, given, scenario, wait_for_ingress, writes};

/// Baselines that no schema and no rule lets through, by what is wrong with them.
fn hostile() -> Vec<(&'static str, String)> {
    let with = |fields: &str| baseline("Enforce", fields);
    let select = |select: &str| baseline("Enforce", WEB_ONLY).replace("select: {all: true}", select);
    let interval = |text: &str| baseline("Enforce", WEB_ONLY).replace("interval: 10s", &format!("interval: {text}"));
    let long = "x".repeat(1 << 20);
    vec![
        ("a name of a megabyte", select(&format!("select: {{names: [\"{long}\"]}}"))),
        ("ten thousand names", select(&format!("select: {{names: [{}]}}", "a, ".repeat(10_000)))),
        ("a glob that is a bomb", select(&format!("select: {{names: [\"{}\"]}}", "*?".repeat(500)))),
        ("braces without end", select(&format!("select: {{names: [\"{}\"]}}", "{a,".repeat(300)))),
        ("an empty selection", select("select: {}")),
        ("control characters", select("select: {names: [\"a\\u0000\\r\\n\\u001b[31m\"]}")),
        ("a pattern without end", with("hygiene: {requiredTags: [{key: a, pattern: \"(((a{1000}){1000}){1000})\"}]}")),
        ("a port beyond all", with("internet: {allowPorts: [tcp/99999999999999999999]}")),
        ("a negative port", with("internet: {allowPorts: [tcp/-1]}")),
        ("a port that is none", with("internet: {allowPorts: [tcp/NaN]}")),
        ("an hour that is none", interval("1d")),
        ("a negative interval", interval("-10s")),
        ("an interval beyond all", interval("99999999999999999999h")),
        ("no interval at all", interval("NaN")),
        ("a budget of nothing", with(&format!("{WEB_ONLY}\nremediation: {{budget: {{perHour: 0}}}}"))),
        (
            "a budget beyond all",
            with(&format!("{WEB_ONLY}\nremediation: {{budget: {{perHour: 9223372036854775808}}}}")),
        ),
        (
            "an account id for a name",
            baseline("Enforce", WEB_ONLY).replace("names: [$NAMESPACE]", "names: [\"../../1\"]"),
        ),
    ]
}

/// Whether the API server refuses an object, or the controller says that it is of no use.
async fn is_refused(scenario: &Scenario<'_>, number: usize, yaml: &str) -> Result<bool> {
    let name = format!("hostile-{number}");
    let yaml = yaml.replace("name: edge", &format!("name: {name}"));
    // What is applied may be too long for an annotation; the judge must not learn from it.
    let yaml = yaml.replace("$NAMESPACE", &scenario.namespace);
    if scenario.kubectl.run_with_input(["create", "-f", "-"], &yaml).await.is_err() {
        return Ok(true);
    }
    let object = scenario.wait_for(BASELINE, &name, "it is accepted or not", |object| {
        let conditions = object.data["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| condition["type"] == "Accepted")
    });
    let object = object.await?;
    let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let accepted = |condition: &Value| condition["type"] == "Accepted" && condition["status"] == "True";
    Ok(!conditions.iter().any(accepted))
}

#[tokio::test]
async fn an_object_that_means_harm_is_refused_and_harms_nobody() -> Result<()> {
    let scenario = scenario("hostile").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    let tried: Vec<Result<Option<&str>>> = stream::iter(hostile().into_iter().enumerate())
        .map(async |(number, (what, yaml))| Ok((!is_refused(&scenario, number, &yaml).await?).then_some(what)))
        .buffer_unordered(4)
        .collect()
        .await;
    let accepted: Vec<&str> = tried.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    ensure!(accepted.is_empty(), "accepted: {accepted:?}");
    assert_eq!(writes(&scenario).await?.len(), 0);
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}
