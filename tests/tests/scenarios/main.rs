//! Baseward as its users meet it: a real API server, an AWS emulator, the real program, and what each of them says.
//!
//! No test here asserts that its writes were harmless: each [`Scenario`] is judged when it ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod accepted;
mod admission;
mod audit;
mod canary;
mod chaos;
mod cli;
mod decided;
mod enforce;
mod faults;
mod lambda;
mod limits;
mod outages;
mod policies;
mod propose;
mod reads;
mod records;
mod remedies;
mod stops;
mod tenancy;
mod withdrawn;
mod withheld;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use kube::core::DynamicObject;
use serde_json::Value;
use tests::baseward::{Controller, Program};
use tests::emulator::{Call, GroupRules, GroupSeed, Rule, Seed, Seeded};
use tests::flows::FlowSet;
use tests::{Scenario, World, wait_until};
use tokio::sync::OnceCell;

const REGION: &str = "eu-west-1";
const BASELINE: &str = "SecurityGroupBaseline";

fn program() -> Program {
    Program::at(Path::new(env!("CARGO_BIN_EXE_rig")))
}

/// The one controller of the world that all tests of this binary share.
async fn controller() -> Result<&'static Controller> {
    static CONTROLLER: OnceCell<Controller> = OnceCell::const_new();
    let world = World::shared().await?;
    CONTROLLER.get_or_try_init(|| async { program().start(world).await }).await
}

/// A scenario in the world that all tests of this binary share, with the one controller that runs in it.
async fn scenario(name: &str) -> Result<Scenario<'static>> {
    controller().await?;
    World::shared().await?.scenario(name).await
}

/// An account of the scenario's own that grants its namespace everything but adding rules.
const ACCOUNT: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: AWSAccount
metadata: {name: $NAMESPACE}
spec:
  accountId: "$ACCOUNT"
  regions: [eu-west-1]
  readRole: arn:aws:iam::$ACCOUNT:role/baseward-read
  writeRole: arn:aws:iam::$ACCOUNT:role/baseward-write
  namespaces: [{name: $NAMESPACE, maxMode: Enforce}]
"#;

/// A baseline on everything in the account, with more fields.
fn baseline(mode: &str, fields: &str) -> String {
    format!(
        "apiVersion: baseward.dev/v1alpha1\nkind: SecurityGroupBaseline\nmetadata: {{name: edge, namespace: $NAMESPACE}}\nspec:\n  accounts: {{names: [$NAMESPACE]}}\n  select: {{all: true}}\n  mode: {mode}\n  interval: 10s\n{}",
        indented(fields)
    )
}

fn indented(fields: &str) -> String {
    fields.lines().map(|line| format!("  {line}\n")).collect()
}

/// Ports that the internet may reach in most scenarios.
const WEB_ONLY: &str = "internet: {allowPorts: [tcp/443], denyPresets: [Admin, FileSharing, Database, HighRisk]}";

/// Groups by name with ingress rules, each with a description behind a `#` if it has one. Nothing is let out.
async fn given(scenario: &Scenario<'_>, groups: &[(&str, &[&str])]) -> Result<Seeded> {
    let mut seed = Seed::in_region(REGION);
    for (name, rules) in groups {
        let rules: Vec<Rule> = rules.iter().map(|text| described(text)).collect::<Result<_>>()?;
        seed = seed.group(GroupSeed::named(name).with("ingress", serde_json::to_value(rules)?).egress([])?);
    }
    scenario.aws.seed(&seed.with("clearDefaults", true.into())).await
}

fn described(text: &str) -> Result<Rule> {
    match text.split_once(" # ") {
        Some((rule, description)) => Ok(rule.parse::<Rule>()?.described(description)),
        None => text.parse(),
    }
}

/// Waits until a fault of the scenario has begun to tell; `what` has happened then.
async fn wait_for_fault(scenario: &Scenario<'_>, what: &str) -> Result<()> {
    wait_until(what, scenario.patience, async || {
        ensure!(scenario.aws.faults().await?.iter().any(|fault| fault.fired > 0), "not yet");
        Ok(())
    })
    .await
}

/// The mutating EC2 calls that the controller made in this account.
async fn writes(scenario: &Scenario<'_>) -> Result<Vec<Call>> {
    let calls = scenario.aws.ledger().await?;
    let mutating = |call: &Call| {
        let operation = call.operation();
        call.service.as_deref() == Some("ec2")
            && call.principal.as_deref().is_some_and(|principal| principal.contains("role/baseward"))
            && !(operation.starts_with("Describe") || operation.starts_with("Get"))
    };
    Ok(calls.into_iter().filter(mutating).collect())
}

/// Nothing was written to AWS.
async fn assert_no_writes(scenario: &Scenario<'_>) -> Result<()> {
    let writes = writes(scenario).await?;
    ensure!(writes.is_empty(), "{writes:?}");
    Ok(())
}

/// The rules of a group of the seed as they are now.
async fn rules(scenario: &Scenario<'_>, seeded: &Seeded, name: &str) -> Result<GroupRules> {
    Ok(scenario.aws.group(REGION, seeded.group(name)?).await?.rules)
}

/// Waits until a group lets in exactly this.
async fn wait_for_ingress(scenario: &Scenario<'_>, seeded: &Seeded, name: &str, expected: &[&str]) -> Result<()> {
    let expected: Vec<String> = expected.iter().map(|rule| format!("ingress {rule}")).collect();
    let expected = FlowSet::parse(expected.iter().map(String::as_str))?;
    wait_until(&format!("group {name} lets in what it should"), scenario.patience, async || {
        let now = rules(scenario, seeded, name).await?;
        let flows = FlowSet::of(&GroupRules { egress: Vec::new(), ..now.clone() })?;
        ensure!(flows == expected, "{now:?}");
        Ok(())
    })
    .await
}

/// Waits until a condition of the baseline has a status and a reason.
async fn wait_for_reason(scenario: &Scenario<'_>, condition: &str, status: &str, reason: &str) -> Result<Value> {
    let what = format!("{condition} is {status} with reason {reason}");
    let object = scenario
        .wait_for(BASELINE, "edge", &what, |object| {
            let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
            conditions
                .into_iter()
                .flatten()
                .any(|found| found["type"] == condition && found["status"] == status && found["reason"] == reason)
        })
        .await?;
    Ok(object.data["status"].clone())
}

/// Waits until the status of the baseline counts withheld or failed edits by this reason.
async fn wait_for_count(scenario: &Scenario<'_>, field: &str, reason: &str) -> Result<Value> {
    let object = scenario
        .wait_for(BASELINE, "edge", &format!("status.{field} counts {reason}"), |object| {
            object.data["status"][field][reason].as_i64().is_some_and(|count| count > 0)
        })
        .await?;
    Ok(object.data["status"].clone())
}

/// Waits until a change set is in a phase, and gives it.
async fn wait_for_change_set(scenario: &Scenario<'_>, phase: &str) -> Result<DynamicObject> {
    wait_until(&format!("a change set is {phase}"), scenario.patience, async || {
        let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
        let seen: Vec<&Value> = sets.iter().map(|set| &set.data["status"]).collect();
        let found = sets.iter().find(|set| set.data["status"]["phase"] == phase).cloned();
        found.with_context(|| format!("no change set is {phase}: {seen:?}"))
    })
    .await
}

/// Waits until so many sweeps that begin from now on have ended, since another one has begun.
async fn wait_for_sweeps(scenario: &Scenario<'_>, count: usize) -> Result<()> {
    wait_for_reads(scenario, "DescribeNetworkInterfaces", count).await
}

/// The same by a read that each sweep makes once.
async fn wait_for_reads(scenario: &Scenario<'_>, operation: &str, count: usize) -> Result<()> {
    let now = scenario.aws.ledger().await?.last().map_or(0, |call| call.seq);
    wait_until(&format!("{count} more sweeps"), scenario.patience, async || {
        let sweeps = scenario.aws.calls(now, operation).await?.len();
        ensure!(sweeps > count, "{sweeps} have begun");
        Ok(())
    })
    .await
}
