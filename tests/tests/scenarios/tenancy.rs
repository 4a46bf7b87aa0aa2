//! Whose account is used for whom: only what a grant lets a namespace do, whatever is written in other namespaces.

use anyhow::{Result, ensure};
use tests::Scenario;
use tests::emulator::Call;

use super::{ACCOUNT, BASELINE, WEB_ONLY, baseline, given, scenario, wait_for_ingress, wait_for_reason};

/// A baseline that is settled and has nothing to look at again for a day.
async fn resident(name: &str) -> Result<Scenario<'static>> {
    let scenario = scenario(name).await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY).replace("interval: 10s", "interval: 24h")).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Reconciling", "False").await?;
    Ok(scenario)
}

/// What was asked of AWS in an account, and by whom.
async fn calls(scenario: &Scenario<'_>) -> Result<Vec<(u64, String)>> {
    let told = |call: Call| (call.seq, format!("{:?} {:?} {}", call.principal, call.operation, call.parameters));
    Ok(scenario.aws.ledger().await?.into_iter().map(told).collect())
}

/// Every call in the account of a scenario was made with one of the two roles that its AWSAccount names.
async fn assert_own_roles(scenario: &Scenario<'_>) -> Result<()> {
    let account = &scenario.account;
    let own =
        [format!("arn:aws:iam::{account}:role/baseward-read"), format!("arn:aws:iam::{account}:role/baseward-write")];
    let calls = scenario.aws.ledger().await?;
    ensure!(!calls.is_empty(), "nobody has looked");
    for call in calls {
        let principal = call.principal.as_deref().unwrap_or_default();
        ensure!(own.iter().any(|role| role == principal), "{principal} calls {}", call.operation());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_written_in_other_namespaces_changes_no_call_for_a_baseline() -> Result<()> {
    let resident = resident("resident").await?;
    let neighbour = scenario("neighbour").await?;
    let settled = calls(&resident).await?;

    // Everything that a namespace can have, and all of it about the account of the resident.
    let greedy = baseline("Enforce", WEB_ONLY).replace("[$NAMESPACE]", &format!("[{}]", resident.namespace));
    neighbour.apply(&greedy).await?;
    let exemption = format!(
        "apiVersion: baseward.dev/v1alpha1\nkind: BaselineExemption\nmetadata: {{name: all, namespace: $NAMESPACE}}\nspec:\n  controls: [sg-no-open-admin-ports]\n  resources: {{names: [\"*\"], accounts: [{}]}}\n  reason: none\n  ticket: none\n  expires: \"{}\"\n",
        resident.namespace,
        jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24),
    );
    neighbour.apply(&exemption).await?;
    neighbour.wait_for_condition("BaselineExemption", "all", "Active", "True").await?;
    wait_for_reason(&neighbour, "Accepted", "False", "NamespaceNotGranted").await?;

    // With an account of its own it works, is edited, and goes.
    let seeded = given(&neighbour, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    neighbour.apply(ACCOUNT).await?;
    neighbour.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&neighbour, &seeded, "bastion", &[]).await?;
    neighbour.apply(&baseline("Audit", "")).await?;
    neighbour.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    neighbour.delete(&baseline("Audit", "")).await?;
    neighbour.delete(&exemption).await?;

    assert_eq!(calls(&resident).await?, settled);
    assert_own_roles(&resident).await?;
    assert_own_roles(&neighbour).await
}
