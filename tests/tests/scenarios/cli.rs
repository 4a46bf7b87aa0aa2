//! The command line, mostly without a cluster: plan, explain, init, controls, crds.

use anyhow::Result;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;
use tests::emulator::{Fault, FaultKind};
use tests::{Scenario, World};

use super::{ACCOUNT, BASELINE, WEB_ONLY, baseline, given, program, scenario};

/// Runs `baseward plan` on documents of the scenario.
async fn plan(scenario: &Scenario<'_>, documents: &[&str], flags: &[&str]) -> Result<tests::baseward::Finished> {
    on_files(scenario, &["plan"], documents, flags).await
}

/// Runs a command on documents of the scenario.
async fn on_files(
    scenario: &Scenario<'_>,
    command: &[&str],
    documents: &[&str],
    flags: &[&str],
) -> Result<tests::baseward::Finished> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("documents.yaml");
    let text =
        documents.join("\n---\n").replace("$NAMESPACE", &scenario.namespace).replace("$ACCOUNT", &scenario.account);
    std::fs::write(&file, text)?;
    let mut arguments: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    arguments.extend(["-f".to_owned(), file.display().to_string()]);
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    program().run(scenario.world, arguments).await
}

async fn bare(name: &str) -> Result<Scenario<'static>> {
    World::shared().await?.scenario(name).await
}

#[tokio::test]
async fn the_exit_code_says_how_things_stand() -> Result<()> {
    let scenario = bare("plan-codes").await?;
    given(&scenario, &[("web", &["tcp 443 0.0.0.0/0"])]).await?;
    let only = |mode: &str| {
        baseline(
            mode,
            "internet: {allowPorts: [tcp/443]}\noverrides:\n- {control: sg-group-described, mode: \"Off\"}\n- {control: sg-rule-described, mode: \"Off\"}",
        )
    };
    let clean = plan(&scenario, &[ACCOUNT, &only("Audit")], &[]).await?;
    assert_eq!(clean.code, 0, "{}{}", clean.stdout, clean.stderr);
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    let failing = plan(&scenario, &[ACCOUNT, &only("Audit")], &[]).await?;
    assert_eq!(failing.code, 2, "{}{}", failing.stdout, failing.stderr);
    assert!(failing.stdout.contains("withheld (Audit)"), "{}", failing.stdout);
    let denied =
        tests::emulator::Fault::from(tests::emulator::FaultKind::AccessDenied).on("DescribeSecurityGroups").always();
    scenario.aws.set_faults(&[denied]).await?;
    let unknown = plan(&scenario, &[ACCOUNT, &baseline("Audit", "")], &[]).await?;
    assert_eq!(unknown.code, 1, "{}{}", unknown.stdout, unknown.stderr);
    Ok(())
}

#[tokio::test]
async fn json_lists_every_verdict_and_every_edit() -> Result<()> {
    let scenario = bare("plan-json").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    let finished = plan(&scenario, &[ACCOUNT, &baseline("Enforce", WEB_ONLY)], &["-o", "json"]).await?;
    let document: Value = serde_json::from_str(&finished.stdout)?;
    let findings = document["findings"].as_array().unwrap();
    let admin = findings.iter().find(|finding| finding["control"] == "sg-no-open-admin-ports").unwrap();
    assert_eq!(admin["resource"], seeded.group("bastion")?);
    assert_eq!(admin["account"], scenario.account.as_str());
    assert_eq!((&admin["verdict"], &admin["severity"]), (&Value::from("Fail"), &Value::from("Critical")));
    assert!(findings.iter().any(|finding| finding["verdict"] == "Pass"));
    let edit = &document["edits"][0];
    assert_eq!((&edit["operation"], &edit["withheld"]), (&Value::from("RemoveGrant"), &Value::Null));
    assert_eq!((&edit["before"][0]["ports"], &edit["after"]), (&Value::from("22"), &Value::Array(Vec::new())));
    assert!(super::writes(&scenario).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn one_group_is_explained_from_files() -> Result<()> {
    let scenario = bare("explain").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"]), ("shop", &["tcp 22 0.0.0.0/0"])]).await?;
    let named = |name: &str, text: String| text.replace("name: edge", &format!("name: {name}"));
    let exemption = "apiVersion: baseward.dev/v1alpha1\nkind: BaselineExemption\nmetadata: {name: cut-over, namespace: $NAMESPACE}\nspec:\n  controls: [sg-no-open-admin-ports]\n  resources: {names: [shop]}\n  reason: until the VPN is there\n  ticket: SEC-412\n  expires: \"$DAYT00:00:00Z\"\n";
    let exemption = exemption.replace("$DAY", &in_a_month());
    let documents = [
        ACCOUNT,
        &baseline("Audit", WEB_ONLY),
        &named("idle", baseline("Audit", "").replace("  mode:", "  suspend: true\n  mode:")),
        &named("others", baseline("Audit", "").replace("{all: true}", "{names: [shop]}")),
        &named("lost", baseline("Audit", "").replace("  mode:", "  regions: [us-west-2]\n  mode:")),
        &exemption,
    ];
    let bastion = seeded.group("bastion")?;
    let text = on_files(&scenario, &["explain", bastion], &documents, &[]).await?;
    assert_eq!(text.code, 2, "{}{}", text.stdout, text.stderr);
    for part in [
        format!("{bastion} (bastion) [None]"),
        format!("Baseline {}/edge: selects it", scenario.namespace),
        "sg-no-open-admin-ports: tcp/22 from 0.0.0.0/0 (expected: ".to_owned(),
        format!("{}/idle: spec.suspend is true (Suspended)", scenario.namespace),
        format!("{}/others: does not select it: spec.select (NotSelected)", scenario.namespace),
        format!("{}/lost: not accepted: ", scenario.namespace),
        "withheld (Audit): mode is Audit: set mode: Enforce".to_owned(),
    ] {
        assert!(text.stdout.contains(&part), "{part} is not in {}", text.stdout);
    }
    assert!(!text.stdout.contains(seeded.group("shop")?), "{}", text.stdout);
    let shop = on_files(&scenario, &["explain", seeded.group("shop")?], &documents, &["-o", "json"]).await?;
    let document: Value = serde_json::from_str(&shop.stdout)?;
    let findings = document["baselines"][0]["findings"].as_array().unwrap();
    let admin = findings.iter().find(|finding| finding["control"] == "sg-no-open-admin-ports").unwrap();
    assert!(admin["exempt"].as_str().unwrap().starts_with("exempt by cut-over until "), "{admin}");
    let gone = on_files(&scenario, &["explain", "sg-0"], &documents, &[]).await?;
    assert_eq!(gone.code, 1);
    let looked_at = format!("account {}, region eu-west-1", scenario.account);
    assert!(gone.stderr.contains("sg-0 was not found") && gone.stderr.contains(&looked_at), "{}", gone.stderr);
    let elsewhere = on_files(&scenario, &["explain", bastion], &documents, &["--region", "eu-north-1"]).await?;
    assert!(elsewhere.code == 1 && elsewhere.stderr.contains("no baseline looks there"), "{}", elsewhere.stderr);
    Ok(())
}

/// A day that an exemption may last to, whenever the test runs.
fn in_a_month() -> String {
    let day = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(30 * 24);
    day.to_string().chars().take(10).collect()
}

#[tokio::test]
async fn one_group_is_explained_from_the_cluster() -> Result<()> {
    let scenario = scenario("explain-live").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Propose", WEB_ONLY)).await?;
    let is_proposed = |object: &DynamicObject| object.data["status"]["pendingChangeSets"] == 1;
    scenario.wait_for(BASELINE, "edge", "a change set is proposed", is_proposed).await?;
    let arguments = ["explain", seeded.group("bastion")?, "--account", &scenario.account];
    let text = program().run(scenario.world, arguments).await?;
    assert_eq!(text.code, 2, "{}", text.stderr);
    assert!(text.stdout.contains("which nobody has decided on yet"), "{}", text.stdout);
    let json = program().run(scenario.world, arguments.into_iter().chain(["-o", "json"])).await?;
    let document: Value = serde_json::from_str(&json.stdout)?;
    assert_eq!((&document["name"], &document["region"]), (&Value::from("bastion"), &Value::from("eu-west-1")));
    let edits = document["edits"].as_array().unwrap();
    let proposed = edits.iter().find(|edit| edit["operation"] == "RemoveGrant").unwrap();
    let mine = serde_json::json!([format!("{}/edge", scenario.namespace)]);
    assert_eq!((&proposed["withheld"], &proposed["baselines"]), (&Value::from("Approval"), &mine));
    let set = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items.remove(0);
    let named = format!("{}/{}", scenario.namespace, set.name_any());
    assert_eq!((&proposed["changeSet"], &proposed["decision"]), (&Value::from(named), &Value::from("Open")));
    assert!(proposed["advice"].as_str().unwrap().contains("baseward approve NAME"), "{proposed}");
    assert!(super::writes(&scenario).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_plan_refuses_what_admission_and_acceptance_refuse() -> Result<()> {
    let scenario = bare("plan-refused").await?;
    let bad = baseline("Enforce", "internet: {allowPorts: [tcp/22]}");
    let refused = plan(&scenario, &[ACCOUNT, &bad], &[]).await?;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("remote-admin ports"), "{}", refused.stderr);
    let beyond = plan(&scenario, &[&ACCOUNT.replace("Enforce", "Audit"), &baseline("Enforce", "")], &[]).await?;
    assert_eq!(beyond.code, 1);
    assert!(beyond.stderr.contains("ModeBeyondGrant"), "{}", beyond.stderr);
    assert!(scenario.aws.ledger().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn only_a_plan_answers_two() -> Result<()> {
    let world = World::shared().await?;
    for (arguments, code) in [
        (&["plan", "--no-such-flag"][..], 1),
        (&["plan"], 1),
        (&["explain"], 1),
        (&["explain", "web"], 1),
        (&["nonsense"], 1),
        (&["plan", "--help"], 0),
        (&["--version"], 0),
    ] {
        let finished = program().run(world, arguments).await?;
        assert_eq!(finished.code, code, "{arguments:?}: {}{}", finished.stdout, finished.stderr);
        assert_eq!(finished.stderr.is_empty(), code == 0, "{arguments:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_the_rest_is_planned() -> Result<()> {
    let scenario = bare("plan-unread").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    let two = ACCOUNT.replace("[eu-west-1]", "[eu-central-1, eu-west-1]");
    let denied = |operation, service| {
        Fault::from(FaultKind::AccessDenied).of_service(service).on(operation).in_region("eu-central-1").always()
    };
    for fault in [denied("DescribeSecurityGroups", "ec2"), denied("GetCallerIdentity", "sts")] {
        scenario.aws.set_faults(&[fault]).await?;
        let finished = plan(&scenario, &[&two, &baseline("Audit", WEB_ONLY)], &["-o", "json"]).await?;
        assert_eq!(finished.code, 1, "{}", finished.stderr);
        let said: Vec<&str> = finished.stderr.lines().collect();
        assert_eq!(said.len(), 1, "{}", finished.stderr);
        for part in [scenario.account.as_str(), "eu-central-1", "AccessDenied", "read policy"] {
            assert!(said[0].contains(part), "{part}: {}", said[0]);
        }
        let document: Value = serde_json::from_str(&finished.stdout)?;
        assert_eq!(document["edits"][0]["resource"], seeded.group("bastion")?);
    }
    Ok(())
}

#[tokio::test]
async fn files_that_hold_two_objects_where_one_counts_are_refused() -> Result<()> {
    let scenario = bare("plan-twice").await?;
    let other = ACCOUNT.replace("{name: $NAMESPACE}\nspec", "{name: $NAMESPACE-2}\nspec");
    let both = plan(&scenario, &[ACCOUNT, &other, &baseline("Audit", "")], &[]).await?;
    assert_eq!(both.code, 1);
    assert!(both.stderr.contains("are both for account"), "{}", both.stderr);
    let twice = plan(&scenario, &[ACCOUNT, &baseline("Audit", ""), &baseline("Audit", WEB_ONLY)], &[]).await?;
    assert_eq!(twice.code, 1);
    assert!(twice.stderr.contains("stands there twice"), "{}", twice.stderr);
    Ok(())
}

#[tokio::test]
async fn what_init_prints_passes_admission() -> Result<()> {
    let scenario = scenario("init").await?;
    let flags = ["init", "SecurityGroupBaseline", "--namespace", &scenario.namespace, "--name", "edge"];
    let printed = program().run(scenario.world, flags).await?;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    scenario.apply(&printed.stdout).await?;
    let object = scenario.object(super::BASELINE, "edge").await?;
    assert_eq!(object.data["spec"]["internet"]["denyPresets"].as_array().unwrap().len(), 4);
    Ok(())
}

#[tokio::test]
async fn the_catalogue_lists_every_control_of_every_kind() -> Result<()> {
    let world = World::shared().await?;
    let json = program().run(world, ["controls", "-o", "json"]).await?;
    let entries: Vec<Value> = serde_json::from_str(&json.stdout)?;
    let of = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).count();
    assert_eq!((of("SecurityGroupBaseline"), of("LambdaBaseline"), entries.len()), (20, 28, 48));
    assert!(entries.iter().all(|entry| entry["field"].is_string()));
    let table = program().run(world, ["controls"]).await?;
    assert_eq!(table.stdout.lines().count(), 49);
    let crds = program().run(world, ["crds"]).await?;
    for kind in ["securitygroupbaselines", "lambdabaselines"] {
        assert!(crds.stdout.contains(&format!("{kind}.baseward.dev")));
    }
    Ok(())
}

#[tokio::test]
async fn the_policies_are_printed_for_the_controller_that_there_is() -> Result<()> {
    let world = World::shared().await?;
    let default = program().run(world, ["policies"]).await?.stdout;
    assert_eq!(default, crds::policies_yaml(crds::policy::DEFAULT_CONTROLLER_USER)?);
    let other = program().run(world, ["policies", "--controller-user", "ann@example.com"]).await?.stdout;
    assert_eq!(other, crds::policies_yaml("ann@example.com")?);
    assert!(!other.contains(crds::policy::DEFAULT_CONTROLLER_USER), "{other}");
    assert_eq!(program().run(world, ["policies", "--controller-user", ""]).await?.code, 1);
    Ok(())
}
