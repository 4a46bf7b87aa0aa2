//! What is written down of every change: the audit trail, one to one with what AWS saw, and the journal, for as long as it
//! is kept.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use crds::{ChangeSet, Phase};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tests::emulator::{Call, Fault, FaultKind, GroupSeed, Rule, Seed, Seeded};
use tests::{Scenario, World, wait_until};

use super::{
    ACCOUNT, BASELINE, REGION, WEB_ONLY, baseline, controller, given, program, scenario, wait_for_ingress,
    wait_for_reason, writes,
};

/// In every text of AWS that is not a name.
const SECRET: &str = "hunter2-9f3ad1";

/// Each group is put right in a way of its own.
async fn groups_with_secrets(scenario: &Scenario<'_>) -> Result<Seeded> {
    let groups = [
        ("bastion", "tcp 22 0.0.0.0/0"),
        ("shop", "tcp 80-443 0.0.0.0/0"),
        ("wide", "tcp 443-444 0.0.0.0/0"),
        ("proxy", "tcp 8080 0.0.0.0/0"),
    ];
    let mut seed = Seed::in_region(REGION).with("clearDefaults", true.into());
    for (name, rule) in groups {
        let rules = [rule.parse::<Rule>()?.described(SECRET)];
        let group = GroupSeed::named(name).with("ingress", serde_json::to_value(rules)?).egress([])?;
        seed = seed.group(group.with("description", SECRET.into()).tag("password", SECRET));
    }
    scenario.aws.seed(&seed).await
}

/// SSH is closed at once; all else waits for somebody to approve it.
const MIXED: &str = "\
internet: {allowPorts: [tcp/80, tcp/443], denyPresets: [Admin]}
hygiene: {requiredTags: [{key: owner, default: unknown}]}
overrides: [{control: sg-no-open-admin-ports, mode: Enforce}]";

/// The records of a scenario: each intent with its outcome, in the order in which they were written.
async fn trail(scenario: &Scenario<'_>) -> Result<Vec<(Value, Value)>> {
    let log = controller().await?.log().read()?;
    let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = |record: &Value| record["target"] == "audit" && record["account"] == scenario.account.as_str();
    let records: Vec<Value> = records.filter(own).collect();
    let pairs = records.chunks(2).map(|pair| match pair {
        [intent, outcome] => Ok((intent.clone(), outcome.clone())),
        other => anyhow::bail!("an intent without an outcome: {other:?}"),
    });
    pairs.collect()
}

/// A rule of the ledger as the trail names it.
fn named(direction: &str, rule: &Rule) -> String {
    let text = rule.to_string();
    let words: Vec<&str> = text.split(' ').collect();
    format!("{direction} {}/{} from {}", words[0], words[1], words[2])
}

/// What a call took away and what it added, as the trail names it.
fn effect(call: &Call) -> [BTreeSet<String>; 2] {
    let ingress = |rules: &[Rule]| rules.iter().map(|rule| named("Ingress", rule)).collect::<BTreeSet<String>>();
    let change = call.groups.first();
    let before = change.map(|change| ingress(&change.rules_before().ingress)).unwrap_or_default();
    let after = change.map(|change| ingress(&change.rules_after().ingress)).unwrap_or_default();
    [before.difference(&after).cloned().collect(), after.difference(&before).cloned().collect()]
}

/// Fails unless these records are of this call: who, what and where, before it and after it.
fn assert_told(scenario: &Scenario<'_>, (intent, outcome): &(Value, Value), call: &Call) -> Result<()> {
    assert_eq!((&intent["event"], &outcome["event"]), (&"Intent".into(), &"Outcome".into()));
    for field in [
        "resource",
        "operation",
        "changeSet",
        "approvedBy",
        "baselines",
        "controls",
        "removed",
        "added",
        "descriptions",
        "tags",
    ] {
        assert_eq!(intent[field], outcome[field], "{field} of {intent} and of {outcome}");
    }
    let parameters = &call.parameters;
    let group = parameters.get("GroupId").or_else(|| parameters.pointer("/Resources/0"));
    assert_eq!((&intent["operation"], Some(&intent["resource"])), (&call.operation().into(), group));
    assert_eq!(intent["baselines"], json!([format!("{}/edge@1", scenario.namespace)]));
    let controls = intent["controls"].as_array().context("no controls")?;
    assert!(controls.iter().all(|control| control.as_str().is_some_and(|id| id.starts_with("sg-"))), "{controls:?}");
    assert!(!controls.is_empty());
    if call.effect {
        let told = |field: &str| serde_json::from_value::<BTreeSet<String>>(intent[field].clone());
        assert_eq!([told("removed")?, told("added")?], effect(call), "{intent}");
        assert_eq!(intent["tags"], if call.operation() == "CreateTags" { json!(["owner"]) } else { json!([]) });
    }
    let second = |record: &Value| -> Result<f64> {
        let time: Timestamp = record["time"].as_str().context("no time")?.parse()?;
        Ok(time.as_duration().as_secs_f64())
    };
    let (before, after) = (second(intent)?, second(outcome)?);
    ensure!(before <= call.time && call.time <= after, "{before} {} {after}", call.time);
    assert_eq!(outcome["outcome"] == "Verified", call.effect, "{outcome}");
    // Of an answer that was lost nobody knows the id.
    let id = call.status.and(call.request_id.as_deref());
    assert_eq!(outcome["requestId"].as_str(), id, "{outcome}");
    Ok(())
}

#[tokio::test]
async fn every_write_has_one_intent_before_it_and_one_outcome_after_it() -> Result<()> {
    let scenario = scenario("trail").await?;
    let seeded = groups_with_secrets(&scenario).await?;
    let refused = Fault::from(FaultKind::Throttle).on("RevokeSecurityGroupIngress").nth(1);
    let unanswered = Fault::from(FaultKind::EffectThenReset).on("CreateTags").nth(1);
    scenario.aws.set_faults(&[refused, unanswered]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", MIXED)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    wait_for_reason(&scenario, "Reconciling", "False", "AtRest").await?;
    // What the status says may be from before the last try.
    let enforced =
        wait_until("every intent has its outcome", scenario.patience, async || trail(&scenario).await).await?;
    let mut approved = BTreeSet::new();
    wait_until("everything that is proposed is made", scenario.patience, async || {
        approve_all(&scenario, &mut approved).await?;
        is_put_right(&scenario, &seeded).await
    })
    .await?;

    let (trail, calls) = (trail(&scenario).await?, writes(&scenario).await?);
    assert_eq!(trail.len(), calls.len(), "{trail:#?} {calls:#?}");
    for (records, call) in trail.iter().zip(&calls) {
        assert_told(&scenario, records, call)?;
    }
    let operations: BTreeSet<&str> = calls.iter().map(Call::operation).collect();
    let expected =
        ["AuthorizeSecurityGroupIngress", "CreateTags", "ModifySecurityGroupRules", "RevokeSecurityGroupIngress"];
    assert_eq!(operations, BTreeSet::from(expected));
    let faults = calls.iter().filter(|call| call.fault.is_some()).count();
    assert_eq!(faults, 2, "one call was refused, and one was not answered");
    assert!(!enforced.is_empty() && enforced.iter().all(|(intent, _)| intent["approvedBy"].is_null()), "{enforced:?}");
    assert!(trail[enforced.len()..].iter().all(|(intent, _)| intent["approvedBy"] == "admin"), "{trail:#?}");
    nothing_is_told(&scenario).await
}

/// Approves what is proposed and was not approved before.
async fn approve_all(scenario: &Scenario<'_>, approved: &mut BTreeSet<String>) -> Result<()> {
    for set in change_sets(scenario).await? {
        let proposed = set.status.as_ref().and_then(|status| status.phase) == Some(Phase::Proposed);
        if proposed && approved.insert(set.name_any()) {
            let word = ["approve", &set.name_any(), "-n", &scenario.namespace, "--reason", "CAB-1182"];
            let said = program().run(scenario.world, word).await?;
            assert_eq!(said.code, 0, "{}", said.stderr);
        }
    }
    Ok(())
}

/// Fails unless every group is as it should be and nothing more is being made.
async fn is_put_right(scenario: &Scenario<'_>, seeded: &Seeded) -> Result<()> {
    for (name, expected) in
        [("bastion", ""), ("shop", "tcp 443 0.0.0.0/0 tcp 80 0.0.0.0/0"), ("wide", "tcp 443 0.0.0.0/0"), ("proxy", "")]
    {
        let group = scenario.aws.group(REGION, seeded.group(name)?).await?;
        let mut rules: Vec<String> = group.rules.ingress.iter().map(Rule::to_string).collect();
        rules.sort_unstable();
        ensure!(rules.join(" ") == expected && group.tags.contains_key("owner"), "{group:?}");
    }
    let phases = change_sets(scenario).await?.into_iter().map(|set| set.status.and_then(|status| status.phase));
    let open: Vec<_> = phases.filter(|phase| matches!(phase, None | Some(Phase::Approved | Phase::Applying))).collect();
    ensure!(open.is_empty(), "{open:?}");
    Ok(())
}

async fn change_sets(scenario: &Scenario<'_>) -> Result<Vec<ChangeSet>> {
    let api: Api<ChangeSet> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    Ok(api.list(&Default::default()).await?.items)
}

/// What AWS says that is not a name is undo data, and nothing else.
async fn nothing_is_told(scenario: &Scenario<'_>) -> Result<()> {
    let sets = change_sets(scenario).await?;
    let undo: String = sets.iter().map(|set| serde_json::to_string(&set.spec)).collect::<Result<_, _>>()?;
    assert!(undo.contains(SECRET), "without it nothing could be undone");
    let mut told = BTreeMap::from([
        ("the log", controller().await?.log().read()?),
        ("the metrics", controller().await?.http("/metrics").await?),
        ("the events", scenario.kubectl.get(["events", "--all-namespaces", "-o", "yaml"]).await?),
        ("the account", scenario.status("AWSAccount", &scenario.namespace).await?.to_string()),
        ("the baseline", scenario.status(BASELINE, "edge").await?.to_string()),
    ]);
    let statuses = sets.iter().map(|set| serde_json::to_string(&set.status));
    told.insert("the change sets", statuses.collect::<Result<_, _>>()?);
    for (place, text) in told {
        ensure!(!text.is_empty() && !text.contains(SECRET), "{place}: {text}");
    }
    Ok(())
}

/// Writes down, with the controller's rights, a change set that got so far some hours ago.
async fn journaled(scenario: &Scenario<'_>, account: &str, phase: &str, hours_ago: i64) -> Result<String> {
    let api: Api<ChangeSet> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    let name = format!("{}-{phase}-{hours_ago}-{account}", scenario.namespace).to_lowercase();
    let set: ChangeSet = serde_json::from_value(json!({
        "apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSet",
        "metadata": {"name": name, "namespace": scenario.namespace},
        "spec": {
            "baseline": {"kind": BASELINE, "name": "edge", "uid": "gone", "generation": 1},
            "account": account, "region": REGION, "hash": "sha256:0",
            "edits": [{
                "resource": "sg-1", "controls": ["sg-no-open-admin-ports"], "operation": "RemoveGrant",
                "risk": "ConnectivityRisk", "impact": "None", "before": [], "after": [], "calls": [],
            }],
        },
    }))?;
    api.create(&PostParams::default(), &set).await?;
    let finished = Timestamp::now() - SignedDuration::from_hours(hours_ago);
    let outcome = json!({"resource": "sg-1", "outcome": "Verified", "verifiedCalls": 1, "finishedAt": finished});
    let status = Patch::Merge(json!({"status": {"phase": phase, "edits": [outcome]}}));
    api.patch_status(&name, &PatchParams::default(), &status).await?;
    Ok(name)
}

#[tokio::test]
async fn change_sets_that_have_ended_go_once_they_are_old_and_many() -> Result<()> {
    const DAY: i64 = 24;
    let world = World::start().await?;
    let scenario = world.scenario("retention").await?;
    let (busy, quiet) = ("111111111111", "222222222222");
    let mut kept = BTreeSet::new();
    for (account, phase, hours_ago) in [
        (busy, "Applied", 1),
        (busy, "Applied", 2),
        // Neither their number nor their age suffices.
        (busy, "PartlyApplied", 20),
        (quiet, "Applied", 40 * DAY),
        (quiet, "Expired", 50 * DAY),
        // It has not ended.
        (busy, "Applying", 60 * DAY),
    ] {
        kept.insert(journaled(&scenario, account, phase, hours_ago).await?);
    }
    for (account, phase, hours_ago) in
        [(busy, "Applied", 2 * DAY), (busy, "RolledBack", 40 * DAY), (quiet, "Applied", 60 * DAY)]
    {
        journaled(&scenario, account, phase, hours_ago).await?;
    }
    let flags = ["--keep-change-sets", "2", "--keep-days", "1"];
    let controller = program().start_with(&world, &flags).await?;
    wait_until("what is old and many is deleted", scenario.patience, async || {
        let left: BTreeSet<String> = change_sets(&scenario).await?.iter().map(ResourceExt::name_any).collect();
        ensure!(left == kept, "{left:#?}");
        Ok(())
    })
    .await?;
    let log = controller.terminate().await?.read()?;
    assert_eq!(log.matches("Old change set deleted").count(), 3, "{log}");
    let left: BTreeSet<String> = change_sets(&scenario).await?.iter().map(ResourceExt::name_any).collect();
    assert_eq!(left, kept);
    Ok(())
}

/// How many requests of each kind the API server has had that write change sets.
async fn journal_writes(scenario: &Scenario<'_>) -> Result<BTreeMap<String, u32>> {
    let metrics = scenario.kubectl.run(["get", "--raw", "/metrics"]).await?.stdout;
    let mut writes = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap_or_default();
            rest.split('"').next().unwrap_or_default()
        };
        if label("resource") == "changesets" && !["GET", "LIST", "WATCH"].contains(&label("verb")) {
            let count: f64 = line.rsplit(' ').next().context("no count")?.parse()?;
            *writes.entry(format!("{} {}", label("verb"), label("subresource"))).or_default() += count as u32;
        }
    }
    Ok(writes)
}

#[tokio::test]
async fn a_change_set_of_fifty_edits_costs_one_write_before_and_one_after() -> Result<()> {
    let world = World::start().await?;
    let _controller = program().start(&world).await?;
    let mut scenario = world.scenario("journal").await?;
    scenario.patience = std::time::Duration::from_secs(60);
    let names: Vec<String> = (0..20).map(|number| format!("bad-{number}")).collect();
    let rules: &[&str] = &["tcp 22 0.0.0.0/0", "tcp 3389 0.0.0.0/0", "tcp 445 0.0.0.0/0"];
    let groups: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), rules)).collect();
    let seeded = given(&scenario, &groups).await?;
    scenario.apply(ACCOUNT).await?;
    let all = "remediation: {blastRadius: {maxShare: 100}}";
    scenario.apply(&baseline("Enforce", &format!("{WEB_ONLY}\n{all}"))).await?;
    for name in &names {
        wait_for_ingress(&scenario, &seeded, name, &[]).await?;
    }
    wait_for_reason(&scenario, "Reconciling", "False", "AtRest").await?;
    let edits: Vec<usize> = change_sets(&scenario).await?.iter().map(|set| set.spec.edits.len()).collect();
    assert_eq!((edits.len(), edits.iter().sum::<usize>()), (2, 60), "{edits:?}");
    let expected = [("APPLY status".to_owned(), 2), ("POST ".to_owned(), 2)];
    assert_eq!(journal_writes(&scenario).await?, BTreeMap::from(expected));
    Ok(())
}
