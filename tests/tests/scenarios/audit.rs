//! What `Audit` sees and says, without a single write.

use anyhow::Result;

use super::{ACCOUNT, BASELINE, WEB_ONLY, baseline, given, scenario, wait_for_sweeps, writes};

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
    assert!(writes(&scenario).await?.is_empty());
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
