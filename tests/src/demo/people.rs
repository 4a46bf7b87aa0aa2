//! The chapters in which people decide: a change set is read, approved and undone, and somebody else does not give in.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{ACCOUNT, EDGE, PATIENCE, REGION, apply, chapter, command, say, show, wait_for_status};
use crate::aws_client;
use crate::baseward::Program;
use crate::emulator::AccountApi;
use crate::flows::FlowSet;
use crate::kubectl::Kubectl;
use crate::wait::wait_until;
use crate::world::World;

/// What the undo opens again, by the word of a person.
pub(super) const PUT_BACK: [&str; 1] = ["ingress tcp 3389 0.0.0.0/0"];

const JUMP_HOSTS: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: SecurityGroupBaseline
metadata: {name: jump-hosts, namespace: security}
spec:
  accounts: {names: [shop-prod]}
  select: {names: ["windows-*"]}
  interval: 10s
  mode: Propose
  internet: {denyPresets: [Admin]}
"#;

/// Proposes to close a group, has that approved, and undoes it.
pub(super) async fn decide(
    program: &Program,
    world: &World,
    kubectl: &Kubectl,
    aws: &AccountApi,
    group: &str,
) -> Result<()> {
    chapter("Propose: nothing happens before somebody approves");
    apply(kubectl, JUMP_HOSTS).await?;
    let name = wait_until("a change set is proposed", PATIENCE, async || {
        let names = kubectl.run(["get", "changesets", "-o", "jsonpath={.items[*].metadata.name}"]).await?.stdout;
        names.split(' ').find(|name| !name.is_empty()).map(str::to_owned).context("none yet")
    })
    .await?;
    show(kubectl, &["get", "changesets"]).await?;
    baseward(program, world, &["approve", &name, "--reason", "CAB-1182"]).await?;
    wait_for_rdp(aws, group, false).await?;

    chapter("Undo: as it was before, and so it stays for a day");
    baseward(program, world, &["rollback", &name, "--reason", "INC-77"]).await?;
    baseward(program, world, &["rollback", &name, "--reason", "INC-77", "--yes"]).await?;
    wait_for_rdp(aws, group, true).await?;
    show(kubectl, &["get", "changesets"]).await?;
    show(kubectl, &["get", "baselineexemptions"]).await
}

async fn baseward(program: &Program, world: &World, words: &[&str]) -> Result<()> {
    command(&format!("baseward {}", words.join(" ")));
    let done = program.run(world, words.iter().chain(&["-n", "security"])).await?;
    ensure!(done.code == 0, "baseward {} ended with {}:\n{}", words.join(" "), done.code, done.stderr);
    done.stdout.lines().filter(|line| !line.is_empty()).for_each(|line| println!("    {line}"));
    Ok(())
}

/// Waits until RDP is open or closed for the whole internet.
async fn wait_for_rdp(aws: &AccountApi, group: &str, open: bool) -> Result<()> {
    let state = if open { "open" } else { "closed" };
    wait_until(&format!("RDP is {state}"), PATIENCE, async || {
        let rules = aws.group(REGION, group).await?.rules;
        let is_open = FlowSet::parse(PUT_BACK)?.difference(&FlowSet::of(&rules)?).is_empty();
        ensure!(is_open == open, "{rules:?}");
        Ok(())
    })
    .await?;
    say(&format!("tcp/3389 of {group} is {state}"));
    Ok(())
}

/// Shows that what is exempt stands although the baseline enforces, until the exemption goes.
pub(super) async fn end_exemption(kubectl: &Kubectl, aws: &AccountApi, group: &str) -> Result<()> {
    chapter("Exempt: it stands until the exemption ends");
    wait_for_rdp(aws, group, true).await?;
    wait_for_status(kubectl, EDGE, "the exempt finding is counted", |status| {
        status["verdicts"]["exempt"].as_i64() > Some(0)
    })
    .await?;
    command("kubectl delete baselineexemptions --all");
    kubectl.run(["delete", "baselineexemptions", "--all"]).await?;
    wait_for_rdp(aws, group, false).await
}

/// Opens SSH again and again, until Baseward says that somebody undoes its repairs.
pub(super) async fn contest(world: &World, kubectl: &Kubectl, aws: &AccountApi, group: &str) -> Result<()> {
    chapter("A rogue hand opens SSH again, and again");
    // The first of three repairs within the hour was that of the chapter before.
    for round in 1..=2 {
        open_ssh(world, group).await?;
        let opened = Instant::now();
        wait_until("SSH is closed again", PATIENCE, async || {
            let rules = aws.group(REGION, group).await?.rules;
            ensure!(rules.ingress.iter().all(|rule| rule.from_port != Some(22)), "tcp/22 is open");
            Ok(())
        })
        .await?;
        say(&format!("round {round}: closed again after {:.1} s", opened.elapsed().as_secs_f32()));
    }
    open_ssh(world, group).await?;
    // The sweep after the one that asks CloudTrail knows who it is.
    let names_him =
        |finding: &Value| finding["advice"].as_str().is_some_and(|advice| advice.contains("undone by arn:"));
    let is_told = |status: &Value| status["worst"].as_array().is_some_and(|worst| worst.iter().any(names_him));
    wait_for_status(kubectl, EDGE, "the contest is told", is_told).await?;
    command("kubectl get sgb edge -o yaml   # status.worst");
    let path = r#"jsonpath={range .status.worst[?(@.held=="Contested")]}{.control}: {.advice}{"\n"}{end}"#;
    kubectl.run(["get", "sgb", "edge", "-o", path]).await?.stdout.lines().for_each(say);
    show(kubectl, &["get", "events", "--field-selector", "reason=Contested"]).await
}

async fn open_ssh(world: &World, group: &str) -> Result<()> {
    let client = aws_client::ec2(&world.emulator.url(), ACCOUNT, REGION);
    command(&format!(
        "aws ec2 authorize-security-group-ingress --group-id {group} --protocol tcp --port 22 --cidr 0.0.0.0/0"
    ));
    let opening =
        client.authorize_security_group_ingress().group_id(group).ip_protocol("tcp").from_port(22).to_port(22);
    opening.cidr_ip("0.0.0.0/0").send().await.context("the rogue hand failed")?;
    Ok(())
}
