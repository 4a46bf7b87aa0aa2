//! Baselines that are not accepted: a reason, a sentence, and no call to EC2.

use anyhow::Result;

use super::{
    ACCOUNT, BASELINE, WEB_ONLY, baseline, given, scenario, wait_for_count, wait_for_ingress, wait_for_reason,
};

/// Applies an account and a baseline and waits for the refusal; EC2 was never asked.
async fn refused(name: &str, account: &str, baseline: &str, reason: &str) -> Result<()> {
    let scenario = scenario(name).await?;
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(account).await?;
    scenario.apply(baseline).await?;
    let status = wait_for_reason(&scenario, "Accepted", "False", reason).await?;
    let conditions = status["conditions"].as_array().unwrap();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
    assert_eq!(ready["status"], "False");
    let calls = scenario.aws.ledger().await?;
    assert!(calls.iter().all(|call| call.service.as_deref() != Some("ec2")), "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn a_required_rule_that_the_same_baseline_forbids() -> Result<()> {
    let required = "internet: {denyPresets: [Admin]}\nrequired: {ingress: [{traffic: tcp/20-25, peer: 0.0.0.0/0}]}";
    let grant = "maxMode: Enforce, mayAddRules: {cidrs: [0.0.0.0/0], ports: [tcp/0-65535]}";
    let account = ACCOUNT.replace("maxMode: Enforce", grant);
    refused("contradiction", &account, &baseline("Enforce", required), "RequiredRuleForbidden").await
}

#[tokio::test]
async fn an_unknown_account() -> Result<()> {
    let elsewhere = baseline("Audit", "").replace("names: [$NAMESPACE]", "names: [nowhere]");
    refused("unknown-account", ACCOUNT, &elsewhere, "UnknownAccount").await
}

#[tokio::test]
async fn a_named_account_without_a_grant_for_the_namespace() -> Result<()> {
    let account = ACCOUNT.replace("name: $NAMESPACE, maxMode", "name: somebody-else, maxMode");
    refused("no-grant", &account, &baseline("Audit", ""), "NamespaceNotGranted").await
}

#[tokio::test]
async fn a_mode_beyond_the_grant_also_by_an_override() -> Result<()> {
    let account = ACCOUNT.replace("maxMode: Enforce", "maxMode: Audit");
    let over = "overrides: [{control: sg-no-open-admin-ports, mode: Enforce}]";
    refused("mode-grant", &account, &baseline("Audit", over), "ModeBeyondGrant").await
}

#[tokio::test]
async fn required_rules_beyond_the_grant() -> Result<()> {
    let required = "required: {ingress: [{traffic: tcp/443, peer: 10.0.0.0/8}]}";
    refused("rules-grant", ACCOUNT, &baseline("Enforce", required), "RequiredRuleBeyondGrant").await
}

/// Without a role the controller's own identity counts, which is of an account of its own.
fn without_roles(account: &str) -> String {
    account.lines().filter(|line| !line.contains("Role:")).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn accounts_that_only_match_by_label_are_left_out_for_their_own_trouble() -> Result<()> {
    let scenario = scenario("labelled").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    let labelled = |name: &str, account: &str| {
        let metadata = format!("metadata: {{name: $NAMESPACE{name}, labels: {{team: $NAMESPACE}}}}");
        ACCOUNT.replace("metadata: {name: $NAMESPACE}", &metadata).replace("$ACCOUNT", account)
    };
    let lesser = labelled("-lesser", "444455556666").replace("maxMode: Enforce", "maxMode: Audit");
    let foreign = without_roles(&labelled("-foreign", "777788889999"));
    for account in [lesser, foreign, labelled("", &scenario.account)] {
        scenario.apply(&account).await?;
    }
    let by_label = baseline("Enforce", WEB_ONLY).replace("names: [$NAMESPACE]", "matchLabels: {team: $NAMESPACE}");
    scenario.apply(&by_label).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    let status = wait_for_reason(&scenario, "Accepted", "True", "Valid").await?;
    assert_eq!(status["accountsLeftOut"], 2, "{status}");
    Ok(())
}

#[tokio::test]
async fn a_caller_of_another_account() -> Result<()> {
    refused("identity", &without_roles(ACCOUNT), &baseline("Audit", WEB_ONLY), "IdentityMismatch").await
}

#[tokio::test]
async fn an_account_that_is_deleted() -> Result<()> {
    let scenario = scenario("gone").await?;
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    scenario.delete(ACCOUNT).await?;
    wait_for_reason(&scenario, "Accepted", "False", "UnknownAccount").await?;
    Ok(())
}

#[tokio::test]
async fn the_younger_of_two_objects_for_one_account_waits_for_the_older_to_go() -> Result<()> {
    let scenario = scenario("heir").await?;
    let ready = async |reason: &str| {
        let name = format!("{}-heir", scenario.namespace);
        let object = scenario
            .wait_for("AWSAccount", &name, &format!("Ready has the reason {reason}"), |object| {
                let conditions = object.data.pointer("/status/conditions").and_then(serde_json::Value::as_array);
                conditions.into_iter().flatten().any(|found| found["type"] == "Ready" && found["reason"] == *reason)
            })
            .await?;
        anyhow::Ok(object)
    };
    scenario.apply(ACCOUNT).await?;
    scenario.wait_for_condition("AWSAccount", &scenario.namespace, "Ready", "True").await?;
    // Ages are counted in seconds.
    tests::wait_until("a second has passed", scenario.patience, async || {
        let object = scenario.object("AWSAccount", &scenario.namespace).await?;
        let created = object.metadata.creation_timestamp.map(|time| time.0);
        anyhow::ensure!(created.is_some_and(|created| created.as_second() < jiff::Timestamp::now().as_second()));
        Ok(())
    })
    .await?;
    scenario.apply(&ACCOUNT.replace("{name: $NAMESPACE}\nspec", "{name: $NAMESPACE-heir}\nspec")).await?;
    ready("DuplicateAccount").await?;
    scenario.delete(ACCOUNT).await?;
    ready("IdentityProven").await?;
    Ok(())
}

#[tokio::test]
async fn an_account_that_changes_is_looked_at_at_once() -> Result<()> {
    let scenario = scenario("woken").await?;
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    let stopped = ACCOUNT.replace("  readRole", "  writes: Stopped\n  readRole");
    scenario.apply(&stopped).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY).replace("interval: 10s", "interval: 24h")).await?;
    wait_for_count(&scenario, "withheld", "WritesStopped").await?;
    scenario.apply(&stopped.replace("  writeRole: arn:aws:iam::$ACCOUNT:role/baseward-write\n", "")).await?;
    wait_for_count(&scenario, "withheld", "ReadOnlyAccount").await?;
    Ok(())
}
