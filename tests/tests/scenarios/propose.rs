//! What `Propose` writes down, and what becomes of it once people decide.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use serde_json::Value;
use tests::emulator::{Direction, Fault, FaultKind, ForeignChange};
use tests::{Scenario, wait_until};

use super::{
    ACCOUNT, BASELINE, REGION, WEB_ONLY, assert_no_writes, baseline, given, program, rules, scenario,
    wait_for_change_set, wait_for_count, wait_for_ingress, wait_for_sweeps,
};

/// The change sets of the scenario, oldest first, each with name, phase and status.
async fn change_sets(scenario: &Scenario<'_>) -> Result<Vec<kube::core::DynamicObject>> {
    let mut sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
    // Times are whole seconds: of two in one second that of the older generation came first, and an undo after what it undoes.
    let generation = |set: &kube::core::DynamicObject| set.data["spec"]["baseline"]["generation"].as_i64();
    let is_undo = |set: &kube::core::DynamicObject| set.data["spec"]["undoes"].is_object();
    sets.sort_by_key(|set| {
        (set.creation_timestamp().map(|time| time.0), generation(set), is_undo(set), set.name_any())
    });
    Ok(sets)
}

/// Waits until the change sets are in these phases, oldest first, and gives them.
pub(super) async fn wait_for_phases(
    scenario: &Scenario<'_>,
    phases: &[&str],
) -> Result<Vec<kube::core::DynamicObject>> {
    wait_until(&format!("the change sets are {phases:?}"), scenario.patience, async || {
        let sets = change_sets(scenario).await?;
        let now: Vec<&str> = sets.iter().filter_map(|set| set.data["status"]["phase"].as_str()).collect();
        ensure!(now == phases, "they are {now:?}");
        Ok(sets)
    })
    .await
}

/// Waits for the one change set that waits for a decision.
pub(super) async fn wait_for_proposal(scenario: &Scenario<'_>) -> Result<kube::core::DynamicObject> {
    wait_for_change_set(scenario, "Proposed").await
}

pub(super) async fn decide(scenario: &Scenario<'_>, word: &str, name: &str) -> Result<tests::baseward::Finished> {
    program().run(scenario.world, [word, name, "-n", &scenario.namespace, "--reason", "CAB-1182"]).await
}

/// Applies a word on a change set by hand.
pub(super) async fn say_by_hand(scenario: &Scenario<'_>, action: &str, name: &str, hash: &str) -> Result<()> {
    let yaml = format!(
        "apiVersion: baseward.dev/v1alpha1\nkind: ChangeSetApproval\nmetadata: {{name: by-hand, namespace: $NAMESPACE}}\nspec: {{changeSet: {name}, hash: \"{hash}\", action: {action}, by: admin, reason: CAB-1182}}\n"
    );
    scenario.apply(&yaml).await?;
    Ok(())
}

/// The hash of a change set.
pub(super) fn hash(set: &kube::core::DynamicObject) -> &str {
    set.data["spec"]["hash"].as_str().unwrap()
}

/// Applies an approval by hand, and waits for the answer to it.
pub(super) async fn approve_by_hand(scenario: &Scenario<'_>, name: &str, hash: &str) -> Result<Value> {
    say_by_hand(scenario, "Approve", name, hash).await?;
    let answered = |condition: &Value| condition["type"] == "Accepted" && condition["status"] != "Unknown";
    let answer = scenario.wait_for("ChangeSetApproval", "by-hand", "the approval is answered", |object| {
        object.data["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(answered))
    });
    let conditions = answer.await?.data["status"]["conditions"].clone();
    Ok(conditions.as_array().unwrap().iter().find(|condition| answered(condition)).unwrap().clone())
}

#[tokio::test]
async fn what_is_proposed_is_made_once_somebody_approves() -> Result<()> {
    let scenario = scenario("approve").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"]), ("web", &["tcp 443 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let set = wait_for_proposal(&scenario).await?;
    let status = wait_for_count(&scenario, "withheld", "Approval").await?;
    assert_eq!(status["pendingChangeSets"], 1, "{status}");
    let edits = set.data["spec"]["edits"].as_array().unwrap();
    assert_eq!(edits[0]["resource"], seeded.group("bastion")?);
    assert!(edits[0]["before"][0]["ruleId"].as_str().is_some_and(|id| id.starts_with("sgr-")), "{edits:?}");
    wait_for_sweeps(&scenario, 1).await?;
    assert_eq!(change_sets(&scenario).await?.len(), 1, "it is proposed once");
    assert_no_writes(&scenario).await?;

    let said = decide(&scenario, "approve", &set.name_any()).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("tcp/22 from 0.0.0.0/0"), "{}", said.stdout);
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    let sets = wait_for_phases(&scenario, &["Applied"]).await?;
    assert_eq!(sets[0].data["status"]["decidedBy"], "admin");
    assert_eq!(sets[0].data["status"]["edits"][0]["outcome"], "Verified");
    Ok(())
}

#[tokio::test]
async fn what_is_rejected_is_not_made_and_not_proposed_again() -> Result<()> {
    let scenario = scenario("reject").await?;
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let set = wait_for_proposal(&scenario).await?;
    let said = decide(&scenario, "reject", &set.name_any()).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    wait_for_phases(&scenario, &["Rejected"]).await?;
    let status = wait_for_count(&scenario, "withheld", "Rejected").await?;
    assert_eq!(status["pendingChangeSets"], Value::Null, "{status}");
    wait_for_sweeps(&scenario, 1).await?;
    assert_eq!(change_sets(&scenario).await?.len(), 1);
    assert_no_writes(&scenario).await?;
    let late = decide(&scenario, "approve", &set.name_any()).await?;
    assert_eq!(late.code, 1);
    assert!(late.stderr.contains("NotOpen") && late.stderr.contains("edit its baseline"), "{}", late.stderr);
    // Words that were heard may be pruned; what they said stays.
    scenario.kubectl.run(["delete", "chga", "--all"]).await?;
    wait_for_sweeps(&scenario, 1).await?;
    wait_for_phases(&scenario, &["Rejected"]).await?;
    assert_no_writes(&scenario).await
}

#[tokio::test]
async fn an_approval_of_other_edits_than_those_that_were_read_is_refused() -> Result<()> {
    let scenario = scenario("hash").await?;
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let set = wait_for_proposal(&scenario).await?;
    let answer = approve_by_hand(&scenario, &set.name_any(), &format!("sha256:{}", "0".repeat(64))).await?;
    assert_eq!((&answer["status"], &answer["reason"]), (&"False".into(), &"HashMismatch".into()), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("read it again"), "{answer}");
    wait_for_sweeps(&scenario, 1).await?;
    assert_no_writes(&scenario).await?;
    let unknown = decide(&scenario, "approve", "no-such-set").await?;
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("there is no change set no-such-set"), "{}", unknown.stderr);
    Ok(())
}

#[tokio::test]
async fn an_edited_baseline_proposes_anew_and_nobody_approves_what_is_superseded() -> Result<()> {
    let scenario = scenario("superseded").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0", "tcp 3306 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", "internet: {allowPorts: [tcp/443, tcp/3306]}")).await?;
    let old = wait_for_proposal(&scenario).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let sets = wait_for_phases(&scenario, &["Expired", "Proposed"]).await?;
    assert!(sets[0].data["status"]["message"].as_str().unwrap().contains("edited"), "{:?}", sets[0].data);
    let answer = approve_by_hand(&scenario, &old.name_any(), hash(&old)).await?;
    assert_eq!((&answer["status"], &answer["reason"]), (&"False".into(), &"NotOpen".into()), "{answer}");
    wait_for_sweeps(&scenario, 1).await?;
    assert_no_writes(&scenario).await?;
    assert_eq!(rules(&scenario, &seeded, "bastion").await?.ingress.len(), 2);
    Ok(())
}

#[tokio::test]
async fn an_edit_whose_base_moved_is_left_out_and_takes_nobody_with_it() -> Result<()> {
    let scenario = scenario("moved").await?;
    let seeded =
        given(&scenario, &[("one", &["tcp 22 0.0.0.0/0"]), ("two", &["tcp 3389 0.0.0.0/0 # the old words"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let set = wait_for_proposal(&scenario).await?;
    assert_eq!(set.data["spec"]["edits"].as_array().unwrap().len(), 2);
    let hand = ForeignChange::of_group(seeded.group("two")?)
        .revoke(Direction::Ingress, "tcp 3389 0.0.0.0/0".parse()?)
        .authorize(Direction::Ingress, "tcp 3380-3390 0.0.0.0/0".parse()?);
    let fault = Fault::from(FaultKind::ForeignWrite { change: hand }).on("DescribeSecurityGroups");
    scenario.aws.set_faults(&[fault]).await?;
    let sets = wait_for_phases(&scenario, &["Proposed", "Proposed"]).await?;
    assert_eq!(sets[0].data["spec"]["hash"], set.data["spec"]["hash"], "an open change set keeps its edits");
    let said = decide(&scenario, "approve", &set.name_any()).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    wait_for_ingress(&scenario, &seeded, "one", &[]).await?;
    let sets = wait_for_phases(&scenario, &["PartlyApplied", "Proposed"]).await?;
    let outcomes = sets[0].data["status"]["edits"].as_array().unwrap();
    let of = |group: &str| outcomes.iter().find(|edit| edit["resource"] == group).unwrap()["outcome"].clone();
    assert_eq!((of(seeded.group("one")?), of(seeded.group("two")?)), ("Verified".into(), "Withheld".into()));
    assert_eq!(scenario.aws.group(REGION, seeded.group("two")?).await?.rules.ingress.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_enforced_control_does_not_wait_for_those_that_only_propose() -> Result<()> {
    let scenario = scenario("mixed").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0", "tcp 8080 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    let mixed = format!("{WEB_ONLY}\noverrides: [{{control: sg-no-open-admin-ports, mode: Enforce}}]");
    scenario.apply(&baseline("Propose", &mixed)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &["tcp 8080 0.0.0.0/0"]).await?;
    let set = wait_for_proposal(&scenario).await?;
    let said = decide(&scenario, "approve", &set.name_any()).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    Ok(())
}

/// Waits until an enforced change set is applied, and gives it.
async fn wait_for_applied(scenario: &Scenario<'_>) -> Result<kube::core::DynamicObject> {
    Ok(wait_for_phases(scenario, &["Applied"]).await?.remove(0))
}

async fn roll_back(scenario: &Scenario<'_>, name: &str, more: &[&str]) -> Result<tests::baseward::Finished> {
    let words = ["rollback", name, "-n", &scenario.namespace, "--reason", "INC-77"];
    program().run(scenario.world, words.iter().chain(more)).await
}

#[tokio::test]
async fn a_change_set_is_undone_once_and_stays_so_also_without_its_baseline() -> Result<()> {
    let scenario = scenario("undo").await?;
    scenario.may_open(["ingress tcp 22 0.0.0.0/0", "ingress tcp 0-65535 0.0.0.0/0"])?;
    let groups: [(&str, &[&str]); 2] =
        [("bastion", &["tcp 22 0.0.0.0/0 # break glass"]), ("wide", &["tcp 0-65535 0.0.0.0/0"])];
    let seeded = given(&scenario, &groups).await?;
    scenario.apply(ACCOUNT).await?;
    let enforce = baseline("Enforce", WEB_ONLY);
    scenario.apply(&enforce).await?;
    wait_for_ingress(&scenario, &seeded, "wide", &["tcp 443 0.0.0.0/0"]).await?;
    let name = wait_for_applied(&scenario).await?.name_any();
    scenario.delete(&enforce).await?;

    let shown = roll_back(&scenario, &name, &[]).await?;
    assert!(shown.code == 0 && shown.stdout.contains("--yes does it"), "{} {}", shown.stdout, shown.stderr);
    assert_eq!(rules(&scenario, &seeded, "bastion").await?.ingress.len(), 0);
    let done = roll_back(&scenario, &name, &["--yes"]).await?;
    assert_eq!(done.code, 0, "{}", done.stderr);
    wait_for_ingress(&scenario, &seeded, "bastion", &["tcp 22 0.0.0.0/0"]).await?;
    wait_for_ingress(&scenario, &seeded, "wide", &["tcp 0-65535 0.0.0.0/0"]).await?;
    let back = rules(&scenario, &seeded, "bastion").await?.ingress;
    assert_eq!(back[0].description.as_deref(), Some("break glass"));
    let sets = wait_for_phases(&scenario, &["RolledBack", "Applied"]).await?;
    assert!(sets[0].data["status"]["message"].as_str().unwrap().starts_with("2 of 2"), "{:?}", sets[0].data);

    scenario.apply(&enforce).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    wait_for_sweeps(&scenario, 1).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &["tcp 22 0.0.0.0/0"]).await?;
    let again = roll_back(&scenario, &name, &["--yes"]).await?;
    assert!(again.code == 1 && again.stderr.contains("nothing to undo"), "{}", again.stderr);
    Ok(())
}

#[tokio::test]
async fn what_was_changed_since_is_not_put_back() -> Result<()> {
    let scenario = scenario("changed-since").await?;
    let seeded = given(&scenario, &[("wide", &["tcp 0-65535 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "wide", &["tcp 443 0.0.0.0/0"]).await?;
    let name = wait_for_applied(&scenario).await?.name_any();
    let hand = ForeignChange::of_group(seeded.group("wide")?)
        .revoke(Direction::Ingress, "tcp 443 0.0.0.0/0".parse()?)
        .authorize(Direction::Ingress, "tcp 443 10.0.0.0/8".parse()?);
    let fault = Fault::from(FaultKind::ForeignWrite { change: hand }).on("DescribeSecurityGroups");
    scenario.aws.set_faults(&[fault]).await?;
    wait_for_ingress(&scenario, &seeded, "wide", &["tcp 443 10.0.0.0/8"]).await?;
    let refused = roll_back(&scenario, &name, &["--yes"]).await?;
    assert!(refused.code == 1 && refused.stderr.contains("put it back by hand"), "{}", refused.stderr);
    wait_for_ingress(&scenario, &seeded, "wide", &["tcp 443 10.0.0.0/8"]).await?;
    assert_eq!(change_sets(&scenario).await?.len(), 1);
    assert_eq!(exemptions(&scenario).await?, 0, "what is refused silences nothing");
    Ok(())
}

async fn exemptions(scenario: &Scenario<'_>) -> Result<usize> {
    Ok(scenario.api("BaselineExemption").await?.list(&Default::default()).await?.items.len())
}

#[tokio::test]
async fn a_rollback_that_came_too_early_is_refused_for_good() -> Result<()> {
    let scenario = scenario("too-early").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let set = wait_for_proposal(&scenario).await?;
    let refused = roll_back(&scenario, &set.name_any(), &["--yes"]).await?;
    assert!(refused.code == 1 && refused.stderr.contains("nothing to undo"), "{}", refused.stderr);
    say_by_hand(&scenario, "Rollback", &set.name_any(), hash(&set)).await?;
    scenario.wait_for_condition("ChangeSetApproval", "by-hand", "Accepted", "False").await?;
    let said = decide(&scenario, "approve", &set.name_any()).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    wait_for_phases(&scenario, &["Applied"]).await?;
    wait_for_sweeps(&scenario, 1).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    assert_eq!(exemptions(&scenario).await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_undo_waits_while_writes_are_stopped_and_writes_nothing_down_for_it() -> Result<()> {
    let scenario = scenario("undo-stopped").await?;
    scenario.may_open(["ingress tcp 22 0.0.0.0/0"])?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    let set = wait_for_applied(&scenario).await?;
    scenario.apply(&ACCOUNT.replace("  namespaces:", "  writes: Stopped\n  namespaces:")).await?;
    say_by_hand(&scenario, "Rollback", &set.name_any(), hash(&set)).await?;
    let waits = |object: &kube::core::DynamicObject| object.data["status"].to_string().contains("spec.writes");
    scenario.wait_for("ChangeSetApproval", "by-hand", "it says what it waits for", waits).await?;
    wait_for_sweeps(&scenario, 2).await?;
    assert_eq!((change_sets(&scenario).await?.len(), exemptions(&scenario).await?), (1, 0));
    scenario.apply(ACCOUNT).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &["tcp 22 0.0.0.0/0"]).await?;
    scenario.wait_for_condition("ChangeSetApproval", "by-hand", "Accepted", "True").await?;
    Ok(())
}

#[tokio::test]
async fn ten_change_sets_wait_at_most_and_nothing_hangs_on_them() -> Result<()> {
    let scenario = scenario("ten").await?;
    // Two of them do not fit into one change set.
    let rules: Vec<String> = (8081..=8106).map(|port| format!("tcp {port} 0.0.0.0/0")).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let names: Vec<String> = (0..12).map(|number| format!("wide-{number}")).collect();
    let groups: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), rules.as_slice())).collect();
    given(&scenario, &groups).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let ten = |object: &kube::core::DynamicObject| object.data["status"]["pendingChangeSets"] == 10;
    scenario.wait_for(BASELINE, "edge", "ten change sets wait", ten).await?;
    wait_for_sweeps(&scenario, 1).await?;
    let sets = change_sets(&scenario).await?;
    assert_eq!(sets.len(), 10);
    for set in &sets {
        let metadata = &set.metadata;
        assert!(metadata.owner_references.is_none() && metadata.labels.is_none(), "{metadata:?}");
    }
    let said = decide(&scenario, "reject", &sets[0].name_any()).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    wait_until("another one takes its place", scenario.patience, async || {
        ensure!(change_sets(&scenario).await?.len() == 11, "not yet");
        Ok(())
    })
    .await?;
    scenario.wait_for(BASELINE, "edge", "ten change sets wait", ten).await?;
    assert_no_writes(&scenario).await
}
