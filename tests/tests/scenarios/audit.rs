//! What `Audit` sees and says, without a single write.

use anyhow::{Result, ensure};
use tests::emulator::{Direction, Fault, FaultKind, ForeignChange, GroupSeed, Seed};
use tests::wait_until;

use super::{
    ACCOUNT, BASELINE, REGION, WEB_ONLY, baseline, given, scenario, wait_for_ingress, wait_for_sweeps, writes,
};

#[tokio::test]
async fn a_baseline_answers_whether_we_are_safe_and_says_why_not() -> Result<()> {
    let scenario = scenario("audit").await?;
    let seeded = given(
        &scenario,
        &[("web", &["tcp 443 0.0.0.0/0"]), ("bastion", &["tcp 22 0.0.0.0/0", "tcp 22 203.0.113.7/32"])],
    )
    .await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    scenario.wait_for_condition(BASELINE, "edge", "Compliant", "False").await?;
    let status = scenario.status(BASELINE, "edge").await?;
    assert_eq!(status["resources"], 2);
    assert_eq!(status["violations"]["critical"], 1);
    let worst = &status["worst"][0];
    assert_eq!(worst["resource"], seeded.group("bastion")?);
    assert_eq!(worst["control"], "sg-no-open-admin-ports");
    assert_eq!(worst["actual"], "tcp/22 from 0.0.0.0/0");
    assert_eq!(worst["held"], "Audit");
    assert!(worst["advice"].as_str().unwrap().contains("set mode: Enforce"), "{worst}");
    assert!(writes(&scenario).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_baseline_in_audit_shows_what_enforce_would_do_and_that_comes_true() -> Result<()> {
    let scenario = scenario("readiness").await?;
    let tagged = |name: &str, key: &str, value: &str| -> Result<GroupSeed> {
        Ok(GroupSeed::named(name).ingress(["tcp 22 0.0.0.0/0"])?.egress([])?.tag(key, value))
    };
    let seed = Seed::in_region(REGION)
        .group(tagged("bastion", "team", "shop")?)
        .group(tagged("stack", "ManagedBy", "terraform")?)
        .group(tagged("nodes", "elbv2.k8s.aws/cluster", "prod")?)
        .with("clearDefaults", true.into());
    let seeded = scenario.aws.seed(&seed).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    let readiness = scenario.status(BASELINE, "edge").await?["enforceReadiness"].clone();
    assert_eq!((&readiness["edits"], &readiness["resources"]), (&1.into(), &1.into()), "{readiness}");
    assert_eq!((&readiness["risks"]["connectivityRisk"], &readiness["impact"]["unused"]), (&1.into(), &1.into()));
    let withheld = &readiness["withheld"];
    assert_eq!(
        (&withheld["InfrastructureAsCode"], &withheld["ManagedByService"]),
        (&1.into(), &1.into()),
        "{withheld}"
    );
    assert_eq!((&readiness["ownedByCode"], &readiness["changedByOthers"]), (&1.into(), &0.into()));
    let by_hand =
        ForeignChange::of_group(seeded.group("bastion")?).authorize(Direction::Ingress, "tcp 443 0.0.0.0/0".parse()?);
    scenario
        .aws
        .set_faults(&[Fault::from(FaultKind::ForeignWrite { change: by_hand }).on("DescribeNetworkInterfaces")])
        .await?;
    scenario
        .wait_for(BASELINE, "edge", "it is told that somebody else changes what would be changed", |object| {
            object.data["status"]["enforceReadiness"]["changedByOthers"] == 1
        })
        .await?;
    assert!(writes(&scenario).await?.is_empty());
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &["tcp 443 0.0.0.0/0"]).await?;
    scenario
        .wait_for(BASELINE, "edge", "there is nothing left to get ready for", |object| {
            object.data["spec"]["mode"] == "Enforce" && object.data["status"].get("enforceReadiness").is_none()
        })
        .await?;
    assert_eq!(writes(&scenario).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn kubectl_alone_tells_the_story() -> Result<()> {
    let scenario = scenario("kubectl").await?;
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Compliant", "False").await?;
    let table = scenario.kubectl.run(["get", "sgb"]).await?.stdout;
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "MODE", "RESOURCES", "VIOLATIONS", "CRITICAL", "COMPLIANT", "READY", "AGE"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[1], row[2], row[4], row[5], row[6]), ("Audit", "1", "1", "False", "True"));
    let described = scenario.kubectl.describe("sgb", "edge").await?;
    assert!(described.contains("tcp/22 from 0.0.0.0/0"), "{described}");
    let events = scenario.kubectl.run(["get", "events"]).await?.stdout;
    assert!(events.contains("CriticalViolations"), "{events}");
    Ok(())
}

#[tokio::test]
async fn at_rest_nothing_is_written_anywhere() -> Result<()> {
    let scenario = scenario("rest").await?;
    given(&scenario, &[("web", &["tcp 443 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    scenario.wait_for_condition(BASELINE, "edge", "Reconciling", "False").await?;
    let version = |object: kube::core::DynamicObject| object.metadata.resource_version;
    let before = version(scenario.object(BASELINE, "edge").await?);
    wait_for_sweeps(&scenario, 1).await?;
    assert!(writes(&scenario).await?.is_empty());
    assert_eq!(version(scenario.object(BASELINE, "edge").await?), before);
    Ok(())
}

#[tokio::test]
async fn a_sweep_can_be_asked_for() -> Result<()> {
    let scenario = scenario("asked").await?;
    given(&scenario, &[("web", &["tcp 443 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", "").replace("interval: 10s", "interval: 1h")).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    let annotation = "baseward.dev/reconcile-at=2026-11-21T10:00:00Z";
    scenario.kubectl.run(["annotate", "sgb", "edge", annotation]).await?;
    scenario
        .wait_for(BASELINE, "edge", "the request is echoed", |object| {
            object.data["status"]["lastHandledReconcileAt"] == "2026-11-21T10:00:00Z"
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn at_rest_nothing_is_written_for_two_regions_either() -> Result<()> {
    const OTHER: &str = "eu-central-1";
    let scenario = scenario("rest-of-two").await?;
    for region in [REGION, OTHER] {
        let group = GroupSeed::named("web").ingress(["tcp 443 0.0.0.0/0"])?;
        scenario.aws.seed(&Seed::in_region(region).group(group)).await?;
    }
    scenario.apply(&ACCOUNT.replace("[eu-west-1]", "[eu-west-1, eu-central-1]")).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    let cells = scenario.status(BASELINE, "edge").await?["cells"].clone();
    assert_eq!((&cells[0]["region"], &cells[1]["region"]), (&OTHER.into(), &REGION.into()), "{cells}");
    let version =
        async || -> Result<Option<String>> { Ok(scenario.object(BASELINE, "edge").await?.metadata.resource_version) };
    let before = version().await?;
    // The regions are swept in turns of their own: after a few each has come before the other.
    wait_for_sweeps(&scenario, 4).await?;
    assert_eq!(version().await?, before);
    Ok(())
}

#[tokio::test]
async fn edits_that_were_made_are_an_event_of_the_baseline() -> Result<()> {
    let scenario = scenario("made").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    wait_until("an event tells of it", scenario.patience, async || {
        let events = scenario.kubectl.run(["get", "events"]).await?.stdout;
        ensure!(events.contains("EditsMade") && events.contains("1 edits made and verified"), "{events}");
        Ok(())
    })
    .await
}

/// The rule is not there yet, so the baseline that forbids it finds nothing; it learns of the conflict all the same.
#[tokio::test]
async fn both_baselines_of_a_conflict_name_each_other() -> Result<()> {
    let scenario = scenario("both").await?;
    given(&scenario, &[("app", &["tcp 22 10.0.0.0/8"])]).await?;
    let grant = "maxMode: Enforce, mayAddRules: {cidrs: [0.0.0.0/0], ports: [tcp/0-65535]}";
    scenario.apply(&ACCOUNT.replace("maxMode: Enforce", grant)).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/443]}")).await?;
    let requires = "required: {ingress: [{traffic: tcp/8443, peer: 0.0.0.0/0}]}\noverrides: [{control: sg-world-ingress-only-allowed-ports, mode: \"Off\"}]";
    scenario.apply(&baseline("Enforce", requires).replace("name: edge", "name: other")).await?;
    for (name, rival) in [("edge", "other"), ("other", "edge")] {
        let rival = format!("contradicts {}/{rival}", scenario.namespace);
        scenario
            .wait_for(BASELINE, name, "the conflict is counted and the other baseline is named", |object| {
                let conditions = object.data["status"]["conditions"].as_array();
                object.data["status"]["withheld"]["Conflicting"] == 1
                    && conditions
                        .into_iter()
                        .flatten()
                        .any(|found| found["message"].as_str().unwrap_or_default().contains(&rival))
            })
            .await?;
    }
    let status = scenario.status(BASELINE, "other").await?;
    assert!(status["worst"].to_string().contains(&format!("contradicts {}/edge", scenario.namespace)), "{status}");
    assert!(writes(&scenario).await?.is_empty());
    Ok(())
}
