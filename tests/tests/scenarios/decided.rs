//! What people decided, beside a process that dies and policies that were weakened for a while.

use std::collections::BTreeMap;

use anyhow::Result;
use kube::ResourceExt;
use serde_json::Value;
use tests::Scenario;
use tests::World;
use tests::baseward::Controller;
use tests::control_plane::ADMINISTRATOR;
use tests::emulator::{Fault, FaultKind};

use super::faults::{Corner, corner, launch};
use super::propose::{approve_by_hand, decide, hash, say_by_hand, wait_for_phases, wait_for_proposal};
use super::{
    ACCOUNT, WEB_ONLY, assert_no_writes, baseline, given, program, wait_for_change_set, wait_for_fault,
    wait_for_ingress, wait_for_sweeps, writes,
};

const SSH: &[&str] = &["tcp 22 0.0.0.0/0"];

/// Lets the first call of an operation take effect and never answer.
async fn hang_after(scenario: &Scenario<'_>, operation: &str) -> Result<()> {
    let fault = Fault::from(FaultKind::EffectThenHang { seconds: None }).on(operation);
    scenario.aws.set_faults(&[fault]).await
}

/// Kills the process in the middle of the call that hangs.
async fn kill_in_the_middle(scenario: &Scenario<'_>, controller: &mut Controller) -> Result<()> {
    wait_for_fault(scenario, "the call is under way").await?;
    controller.process().kill();
    scenario.aws.set_faults(&[]).await
}

/// How often each operation had an effect on each group.
async fn effects(scenario: &Scenario<'_>) -> Result<BTreeMap<(String, String), usize>> {
    let mut effects = BTreeMap::new();
    for call in writes(scenario).await?.iter().filter(|call| call.effect) {
        let group = call.parameters["GroupId"].as_str().unwrap_or_default().to_owned();
        *effects.entry((call.operation().to_owned(), group)).or_default() += 1;
    }
    Ok(effects)
}

#[tokio::test]
async fn what_was_approved_and_what_is_undone_is_made_once_by_whoever_comes_after_a_process_that_died() -> Result<()> {
    let Corner { mut controller, proxy, scenario } = corner("died").await?;
    scenario.may_open(["ingress tcp 22 0.0.0.0/0"])?;
    let seeded = given(&scenario, &[("bastion", SSH), ("jump", SSH)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let set = wait_for_proposal(&scenario).await?;
    hang_after(&scenario, "RevokeSecurityGroupIngress").await?;
    say_by_hand(&scenario, "Approve", &set.name_any(), hash(&set)).await?;
    kill_in_the_middle(&scenario, &mut controller).await?;
    let mut second = launch(program(), &scenario, &proxy).await?;
    for group in ["bastion", "jump"] {
        wait_for_ingress(&scenario, &seeded, group, &[]).await?;
    }
    // Nobody saw what came of the call that was under way.
    wait_for_change_set(&scenario, "PartlyApplied").await?;

    hang_after(&scenario, "AuthorizeSecurityGroupIngress").await?;
    scenario.kubectl.run(["delete", "chga", "by-hand"]).await?;
    say_by_hand(&scenario, "Rollback", &set.name_any(), hash(&set)).await?;
    kill_in_the_middle(&scenario, &mut second).await?;
    let _third = launch(program(), &scenario, &proxy).await?;
    for group in ["bastion", "jump"] {
        wait_for_ingress(&scenario, &seeded, group, SSH).await?;
    }
    scenario.wait_for_condition("ChangeSetApproval", "by-hand", "Accepted", "True").await?;
    wait_for_change_set(&scenario, "RolledBack").await?;
    let effects = effects(&scenario).await?;
    assert!(effects.len() == 4 && effects.values().all(|count| *count == 1), "{effects:?}");
    Ok(())
}

/// How the approval is answered.
async fn answer(scenario: &Scenario<'_>, says: &str) -> Result<()> {
    let says = |object: &kube::core::DynamicObject| {
        let conditions = object.data["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition: &Value| {
            condition["status"] == "False" && condition["message"].as_str().is_some_and(|text| text.contains(says))
        })
    };
    scenario.wait_for("ChangeSetApproval", "by-hand", "it is refused", says).await?;
    Ok(())
}

#[tokio::test]
async fn what_was_approved_while_the_policies_were_weakened_does_not_count_afterwards() -> Result<()> {
    let world = World::start().await?;
    let _controller = program().start(&world).await?;
    let scenario = world.scenario("weakened").await?;
    let seeded = given(&scenario, &[("bastion", SSH)]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let set = wait_for_proposal(&scenario).await?;
    let binding = format!("ValidatingAdmissionPolicyBinding/{}", crds::policy::APPROVALS);
    let weak = r#"{"spec":{"validationActions":["Audit"]}}"#;
    scenario.kubectl.run(["patch", &binding, "--type=merge", "-p", weak]).await?;
    let refused = approve_by_hand(&scenario, &set.name_any(), hash(&set)).await?;
    assert_eq!((&refused["status"], &refused["reason"]), (&"False".into(), &"PoliciesMissing".into()));
    world.control_plane.install_policies(ADMINISTRATOR).await?;
    answer(&scenario, "in force since").await?;
    wait_for_sweeps(&scenario, 2).await?;
    wait_for_phases(&scenario, &["Proposed"]).await?;
    assert_no_writes(&scenario).await?;
    let said = decide(&scenario, "approve", &set.name_any()).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}
