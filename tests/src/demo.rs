//! `cargo demo`: the main job, live. A real API server, an AWS emulator with a badly kept account, kubectl, and Baseward.

#![allow(clippy::indexing_slicing, reason = "a JSON value that lacks a key gives null, it does not panic")]

mod functions;
mod people;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::baseward::Program;
use crate::emulator::{AccountApi, GroupSeed, Seed, Seeded};
use crate::flows::{FlowSet, assert_never_lost, assert_never_opened};
use crate::kubectl::Kubectl;
use crate::wait::wait_until;
use crate::world::World;

const ACCOUNT: &str = "111122223333";
const REGION: &str = "eu-west-1";
/// The baseline of the security groups, as kubectl finds it.
const EDGE: [&str; 2] = ["sgb", "edge"];
const PATIENCE: Duration = Duration::from_secs(60);
/// Whoever watches it has a coffee, not a lunch.
const LONGEST: Duration = Duration::from_secs(180);

/// Who uses the account legitimately: none of this may be lost for a moment.
const LEGITIMATE: [(&str, &str); 5] = [
    ("web", "ingress tcp 443 0.0.0.0/0"),
    ("web", "ingress tcp 443 ::/0"),
    ("bastion", "ingress tcp 9090 10.0.0.0/8"),
    ("legacy-app", "ingress tcp 9090 10.0.0.0/8"),
    ("orders-db", "ingress tcp 5432 10.20.0.0/16"),
];

const SETUP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: security}
---
apiVersion: baseward.dev/v1alpha1
kind: AWSAccount
metadata: {name: shop-prod}
spec:
  accountId: "111122223333"
  regions: [eu-west-1]
  readRole: arn:aws:iam::111122223333:role/baseward-read
  writeRole: arn:aws:iam::111122223333:role/baseward-write
  namespaces: [{name: security, maxMode: Enforce}]
"#;

const BASELINE: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: SecurityGroupBaseline
metadata: {name: edge, namespace: security}
spec:
  accounts: {names: [shop-prod]}
  select: {all: true}
  interval: 10s
  mode: Audit
  internet:
    allowPorts: [tcp/443]
    denyPresets: [Admin, FileSharing, Database, HighRisk]
    denyAllTraffic: true
  defaultGroup: {close: true}
"#;

/// Plays the demo. Every step asserts what it shows.
pub async fn play(program: Program) -> Result<()> {
    chapter("A Kubernetes API server and an AWS account");
    let started = Instant::now();
    let world = World::start().await?;
    let aws = world.emulator.api().account(ACCOUNT);
    let seeded = badly_kept_account(&aws).await?;
    let kubectl = world.control_plane.kubectl().in_namespace("security");
    say(&format!(
        "etcd, kube-apiserver and the emulator are up after {:.1} s; the account has {} security groups",
        started.elapsed().as_secs_f32(),
        seeded.groups.len()
    ));
    let _controller = program.start(&world).await?;
    say("baseward run: the controller is ready");

    chapter("Audit: what Baseward sees");
    apply(&world.control_plane.kubectl(), SETUP).await?;
    apply(&kubectl, BASELINE).await?;
    wait_for_status(&kubectl, EDGE, "the verdict is there", |status| status["resources"].as_i64() > Some(0)).await?;
    show(&kubectl, &["get", "sgb"]).await?;
    worst(&kubectl, EDGE, "Critical").await?;

    chapter("Plan: what it would change");
    plan(&program, &world).await?;

    people::decide(&program, &world, &kubectl, &aws, seeded.group("windows-jump")?).await?;

    chapter("Enforce: worst first, add before remove, verified");
    let enforced = Instant::now();
    command("kubectl patch sgb edge --type=merge -p '{\"spec\":{\"mode\":\"Enforce\"}}'");
    kubectl.run(["patch", "sgb", "edge", "--type=merge", "-p", r#"{"spec":{"mode":"Enforce"}}"#]).await?;
    wait_for_status(&kubectl, EDGE, "only what a template owns is left,", |status| {
        status["violations"]["critical"] == 0 && status["violations"]["high"] == 2
    })
    .await?;
    say(&format!("closed after {:.1} s", enforced.elapsed().as_secs_f32()));
    ledger(&aws).await?;
    show(&kubectl, &["get", "sgb"]).await?;
    say("what is left of the high ones, and what holds it back:");
    worst(&kubectl, EDGE, "High").await?;
    show(&kubectl, &["get", "changesets"]).await?;

    people::end_exemption(&kubectl, &aws, seeded.group("windows-jump")?).await?;
    people::contest(&world, &kubectl, &aws, seeded.group("bastion")?).await?;
    functions::close(&kubectl, &aws).await?;

    prove(&aws, &seeded).await?;
    let took = started.elapsed();
    say(&format!("the whole demo took {:.0} s", took.as_secs_f32()));
    ensure!(took < LONGEST, "it should take less than {LONGEST:?}");
    Ok(())
}

/// Judges every write of the demo by what it let through.
async fn prove(aws: &AccountApi, seeded: &Seeded) -> Result<()> {
    chapter("Proof");
    let mut calls = aws.ledger().await?;
    calls.retain(|call| call.principal.as_deref().is_some_and(|principal| principal.contains("role/baseward")));
    assert_never_opened(&calls, &FlowSet::parse(people::PUT_BACK)?)?;
    say(
        "after every single write of Baseward: nothing was opened that was closed, but by the undo, and none of these flows was lost:",
    );
    for (group, flow) in LEGITIMATE {
        let id = seeded.group(group)?;
        let mut of_group = calls.clone();
        of_group.iter_mut().for_each(|call| call.groups.retain(|change| change.group_id == id));
        assert_never_lost(&of_group, &FlowSet::parse([flow])?)?;
        println!("    {group:<12} {flow}");
    }
    functions::prove(&calls)
}

/// A realistic account: an edge that works, and what grows beside it.
async fn badly_kept_account(aws: &AccountApi) -> Result<Seeded> {
    let seed = Seed::in_region(REGION)
        .group(GroupSeed::named("web").ingress(["tcp 443 0.0.0.0/0", "tcp 443 ::/0"])?)
        .group(GroupSeed::named("bastion").ingress(["tcp 22 0.0.0.0/0", "tcp 9090 10.0.0.0/8"])?)
        .group(GroupSeed::named("legacy-app").ingress(["tcp 0-65535 0.0.0.0/0", "tcp 9090 10.0.0.0/8"])?)
        .group(GroupSeed::named("test-everything").ingress(["all 0.0.0.0/0", "all ::/0"])?)
        .group(GroupSeed::named("orders-db").ingress(["tcp 5432 0.0.0.0/0", "tcp 5432 10.20.0.0/16"])?)
        .group(GroupSeed::named("windows-jump").ingress(["tcp 3389 0.0.0.0/1", "tcp 3389 128.0.0.0/1"])?)
        .group(GroupSeed::named("stack-owned").tag("aws:cloudformation:stack-name", "shop").ingress(["tcp 8080 0.0.0.0/0"])?)
        .with("interfaces", json!([{"key": "i1", "groups": ["web"]}, {"key": "i2", "groups": ["bastion"]}, {"key": "i3", "groups": ["legacy-app"]}]));
    aws.seed(&seed).await
}

async fn plan(program: &Program, world: &World) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, yaml: &str| -> Result<String> {
        let file = folder.path().join(name);
        std::fs::write(&file, yaml)?;
        Ok(file.to_str().context("the temporary folder's name is not text")?.to_owned())
    };
    let (account, baseline) = (write("account.yaml", SETUP)?, write("baseline.yaml", BASELINE)?);
    let installation = installation_id(&world.control_plane.kubectl()).await?;
    command(&format!("baseward plan -f account.yaml -f baseline.yaml --installation-id {installation}"));
    let plan =
        program.run(world, ["plan", "-f", &account, "-f", &baseline, "--installation-id", &installation]).await?;
    ensure!(plan.code == 2, "baseward plan ended with {}:\n{}", plan.code, plan.stderr);
    plan.stdout
        .lines()
        .skip_while(|line| !line.contains("Changes, worst first"))
        .take(24)
        .for_each(|line| println!("  {line}"));
    println!("    …");
    plan.stdout.lines().last().iter().for_each(|line| println!("  {line}"));
    say("exit code 2: something fails");
    Ok(())
}

async fn installation_id(kubectl: &Kubectl) -> Result<String> {
    let output = kubectl.run(["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]).await?;
    Ok(output.stdout)
}

/// The findings of one severity, as the status names them.
async fn worst(kubectl: &Kubectl, [kind, name]: [&str; 2], severity: &str) -> Result<()> {
    command(&format!("kubectl get {kind} {name} -o yaml   # status.worst"));
    let output = kubectl.run(["get", kind, name, "-o", "json"]).await?;
    let object: Value = serde_json::from_str(&output.stdout)?;
    let worst = object["status"]["worst"].as_array().context("the status names no findings")?;
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or("-").to_owned();
    for finding in worst.iter().filter(|finding| finding["severity"] == severity) {
        let fields = ["severity", "resource", "control", "actual", "held"].map(|field| text(finding, field));
        println!("    {}", fields.join("  "));
    }
    Ok(())
}

/// The writes that AWS saw, in their order.
async fn ledger(aws: &AccountApi) -> Result<()> {
    say("what AWS saw:");
    for call in aws.ledger().await?.iter().filter(|call| call.wrote_groups()) {
        let groups: Vec<&str> = call.groups.iter().map(|group| group.group_id.as_str()).collect();
        println!("    {:>4}  {:<32} {}", call.seq, call.operation(), groups.join(", "));
    }
    Ok(())
}

async fn wait_for_status(
    kubectl: &Kubectl,
    [kind, name]: [&str; 2],
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Result<()> {
    wait_until(what, PATIENCE, async || {
        let output = kubectl.run(["get", kind, name, "-o", "json"]).await?;
        let object: Value = serde_json::from_str(&output.stdout)?;
        ensure!(is_so(&object["status"]), "{}", object["status"]);
        Ok(())
    })
    .await
}

async fn apply(kubectl: &Kubectl, yaml: &str) -> Result<()> {
    command("kubectl apply -f -");
    yaml.trim().lines().for_each(|line| println!("    {line}"));
    kubectl.apply(yaml).await?;
    Ok(())
}

async fn show(kubectl: &Kubectl, arguments: &[&str]) -> Result<()> {
    let shown: Vec<&str> = arguments.iter().copied().take_while(|argument| *argument != "-o").collect();
    command(&format!("kubectl {}", shown.join(" ")));
    let output = kubectl.run(arguments).await?;
    output.stdout.lines().for_each(|line| println!("    {line}"));
    Ok(())
}

fn chapter(title: &str) {
    println!("\n=== {title}\n");
}

fn command(line: &str) {
    println!("  $ {line}");
}

fn say(line: &str) {
    println!("  {line}");
}
