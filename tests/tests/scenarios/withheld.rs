//! Edits that are not made: counted, named on the resource, and nothing half done.

use anyhow::Result;
use serde_json::json;
use tests::emulator::{Direction, Fault, FaultKind, ForeignChange, GroupSeed, Seed, Settings};

use super::{
    ACCOUNT, BASELINE, REGION, WEB_ONLY, baseline, given, rules, scenario, wait_for_count, wait_for_ingress,
    wait_for_sweeps, writes,
};

#[tokio::test]
async fn a_group_without_room_for_the_narrower_rules() -> Result<()> {
    let scenario = scenario("quota").await?;
    let seeded = given(&scenario, &[("full", &["tcp 20-443 0.0.0.0/0", "tcp 8443 10.0.0.0/8"])]).await?;
    let account = ACCOUNT.replace("  readRole", "  rulesPerSecurityGroup: 2\n  readRole");
    scenario.apply(&account).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/80, tcp/443]}")).await?;
    let status = wait_for_count(&scenario, "withheld", "RuleQuota").await?;
    let worst = status["worst"].as_array().unwrap().iter();
    let held: Vec<_> = worst.filter(|found| found["control"] == "sg-world-ingress-only-allowed-ports").collect();
    assert_eq!(held[0]["held"], "RuleQuota", "{status}");
    assert!(writes(&scenario).await?.is_empty());
    assert_eq!(rules(&scenario, &seeded, "full").await?.ingress.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_quota_that_is_smaller_than_the_account_says() -> Result<()> {
    let scenario = scenario("real-quota").await?;
    // Nothing may be removed while what should replace it cannot be added.
    scenario.must_keep(["ingress tcp 20-443 0.0.0.0/0"])?;
    given(&scenario, &[("full", &["tcp 20-443 0.0.0.0/0", "tcp 8443 10.0.0.0/8"])]).await?;
    scenario.aws.configure(&Settings { rules_per_security_group: Some(2), ..Settings::default() }).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/80, tcp/443]}")).await?;
    let status = wait_for_count(&scenario, "failures", "RuleQuota").await?;
    let worst = status["worst"].as_array().unwrap();
    assert!(worst.iter().any(|found| found["held"] == "RuleQuota"), "{status}");
    Ok(())
}

#[tokio::test]
async fn everything_but_a_port_has_no_exact_form() -> Result<()> {
    let scenario = scenario("no-form").await?;
    given(&scenario, &[("everything", &["all 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "internet: {denyPresets: [Admin]}")).await?;
    let status = wait_for_count(&scenario, "withheld", "NoExactForm").await?;
    let worst = status["worst"].as_array().unwrap();
    assert!(worst.iter().any(|found| found["held"] == "NoExactForm"), "{status}");
    assert!(writes(&scenario).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_denied_write() -> Result<()> {
    let scenario = scenario("denied-write").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    let fault = Fault::from(FaultKind::AccessDenied).on("RevokeSecurityGroupIngress").always();
    scenario.aws.set_faults(&[fault]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    let status = wait_for_count(&scenario, "failures", "WriteDenied").await?;
    assert_eq!(status["worst"][0]["held"], "WriteDenied", "{status}");
    wait_for_sweeps(&scenario, 1).await?;
    let tries = scenario.aws.calls(0, "RevokeSecurityGroupIngress").await?.len();
    let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
    assert_eq!((tries, sets.len()), (1, 1), "the next sweep does not try it again");
    assert_eq!(sets[0].data["status"]["phase"], "Expired");
    assert_eq!(scenario.status(BASELINE, "edge").await?["failures"]["WriteDenied"], status["failures"]["WriteDenied"]);
    scenario.aws.clear_faults().await?;
    // Whoever has mended it need not wait.
    scenario.kubectl.run(["annotate", "sgb", "edge", "baseward.dev/reconcile-at=now"]).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn a_write_that_somebody_else_has_made_a_moment_before() -> Result<()> {
    let scenario = scenario("same-hand").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"]), ("shop", &["tcp 80-443 0.0.0.0/0"])]).await?;
    let revoked =
        ForeignChange::of_group(seeded.group("bastion")?).revoke(Direction::Ingress, "tcp 22 0.0.0.0/0".parse()?);
    let added = ForeignChange::of_group(seeded.group("shop")?)
        .authorize(Direction::Ingress, "tcp 80 0.0.0.0/0".parse()?)
        .authorize(Direction::Ingress, "tcp 443 0.0.0.0/0".parse()?);
    let hand = |change, operation| Fault::from(FaultKind::ForeignWrite { change }).on(operation);
    scenario
        .aws
        .set_faults(&[hand(revoked, "RevokeSecurityGroupIngress"), hand(added, "AuthorizeSecurityGroupIngress")])
        .await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/80, tcp/443]}")).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    wait_for_ingress(&scenario, &seeded, "shop", &["tcp 80 0.0.0.0/0", "tcp 443 0.0.0.0/0"]).await?;
    tests::wait_until("every change set is applied", scenario.patience, async || {
        let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
        let phases: Vec<_> = sets.iter().map(|set| set.data["status"]["phase"].clone()).collect();
        anyhow::ensure!(!phases.is_empty() && phases.iter().all(|phase| phase == "Applied"), "{phases:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_namespace_that_takes_no_change_sets_holds_back_its_own_edits_alone() -> Result<()> {
    let scenario = scenario("journals").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"]), ("shop", &["tcp 22 0.0.0.0/0"])]).await?;
    let ending = format!("{}-ending", scenario.namespace);
    scenario.kubectl.run(["create", "namespace", &ending]).await?;
    let there = scenario.kubectl.in_namespace(&ending);
    let grants = format!("maxMode: Enforce}}, {{name: {ending}, maxMode: Enforce");
    scenario.apply(&ACCOUNT.replace("maxMode: Enforce", &grants)).await?;
    let only = |name: &str, namespace: &str| {
        baseline("Enforce", WEB_ONLY)
            .replace("namespace: $NAMESPACE", &format!("namespace: {namespace}"))
            .replace("select: {all: true}", &format!("select: {{names: [{name}]}}"))
            .replace("$NAMESPACE", &scenario.namespace)
    };
    there.apply(&only("bastion", &ending).replace("  mode: ", "  suspend: true\n  mode: ")).await?;
    // A namespace that ends takes nothing new.
    there.run(["delete", "namespace", &ending, "--wait=false"]).await?;
    there.run(["patch", "sgb", "edge", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await?;
    scenario.apply(&only("shop", &scenario.namespace)).await?;
    wait_for_ingress(&scenario, &seeded, "shop", &[]).await?;
    assert_eq!(rules(&scenario, &seeded, "bastion").await?.ingress.len(), 1);
    assert_eq!(writes(&scenario).await?.len(), 1);
    there.run(["delete", "sgb", "edge"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_foreign_change_between_read_and_write_is_planned_anew() -> Result<()> {
    let scenario = scenario("foreign").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    // Right before the fresh read somebody narrows the rule and adds another one.
    let hand = ForeignChange::of_group(seeded.group("bastion")?)
        .revoke(Direction::Ingress, "tcp 22 0.0.0.0/0".parse()?)
        .authorize(Direction::Ingress, "tcp 22-23 0.0.0.0/0".parse()?)
        .authorize(Direction::Ingress, "tcp 22 198.51.100.0/24".parse()?);
    scenario
        .aws
        .set_faults(&[Fault::from(FaultKind::ForeignWrite { change: hand }).on("DescribeSecurityGroupRules")])
        .await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &["tcp 22 198.51.100.0/24"]).await
}

#[tokio::test]
async fn a_hand_that_is_always_there_first_is_counted_and_named_and_never_overwritten() -> Result<()> {
    let scenario = scenario("restless").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    let id = seeded.group("bastion")?;
    // Each fresh read finds one rule more than the sweep before it.
    let rule = |nth: u32| format!("tcp 443 198.51.100.{nth}/32").parse();
    let hand = |nth| -> Result<Fault> {
        let change = ForeignChange::of_group(id).authorize(Direction::Ingress, rule(nth)?);
        Ok(Fault::from(FaultKind::ForeignWrite { change }).on("DescribeSecurityGroupRules").nth(nth))
    };
    scenario.aws.set_faults(&(1..=50).map(hand).collect::<Result<Vec<_>>>()?).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    let status = wait_for_count(&scenario, "withheld", "ForeignChange").await?;
    assert_eq!(status["worst"][0]["held"], "ForeignChange", "{status}");
    assert!(writes(&scenario).await?.is_empty());
    scenario.aws.clear_faults().await?;
    tests::wait_until("the hole is closed", scenario.patience, async || {
        let rules = rules(&scenario, &seeded, "bastion").await?.ingress;
        anyhow::ensure!(rules.iter().all(|rule| rule.from_port == Some(443)), "{rules:?}");
        Ok(())
    })
    .await?;
    assert_eq!(writes(&scenario).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_unknown_outcome_is_followed_by_a_read_and_not_repeated() -> Result<()> {
    for (name, kind) in [
        ("lost-500", FaultKind::EffectThenError),
        ("lost-reset", FaultKind::EffectThenReset),
        ("lost-hang", FaultKind::EffectThenHang { seconds: Some(6.0) }),
    ] {
        let scenario = scenario(name).await?;
        let seeded = given(&scenario, &[("shop", &["tcp 80-443 0.0.0.0/0"])]).await?;
        let lost = |operation| Fault::from(kind.clone()).on(operation);
        scenario.aws.set_faults(&[lost("AuthorizeSecurityGroupIngress"), lost("RevokeSecurityGroupIngress")]).await?;
        scenario.apply(ACCOUNT).await?;
        scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/80, tcp/443]}")).await?;
        wait_for_ingress(&scenario, &seeded, "shop", &["tcp 80 0.0.0.0/0", "tcp 443 0.0.0.0/0"]).await?;
        assert_eq!(writes(&scenario).await?.len(), 2, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn resources_of_services_and_of_templates_are_observed_only() -> Result<()> {
    let scenario = scenario("owned").await?;
    let ssh = ["tcp 22 0.0.0.0/0"];
    let seed = Seed::in_region(REGION)
        .group(GroupSeed::named("stack").tag("aws:cloudformation:stack-name", "shop").ingress(ssh)?)
        .group(GroupSeed::named("cluster").tag("kubernetes.io/cluster/prod", "owned").ingress(ssh)?)
        .group(GroupSeed::named("guest").with("ownerId", json!("444455556666")).ingress(ssh)?);
    scenario.aws.seed(&seed).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    for reason in ["InfrastructureAsCode", "ManagedByService", "OwnedByOtherAccount"] {
        wait_for_count(&scenario, "withheld", reason).await?;
    }
    assert!(writes(&scenario).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_kill_switch_and_an_account_without_a_write_role() -> Result<()> {
    let scenario = scenario("switch").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    let lines = ACCOUNT.lines().filter(|line| !line.contains("writeRole"));
    let read_only: String = lines.map(|line| format!("{line}\n")).collect();
    scenario.apply(&read_only).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_count(&scenario, "withheld", "ReadOnlyAccount").await?;
    scenario.apply(&ACCOUNT.replace("  readRole", "  writes: Stopped\n  readRole")).await?;
    wait_for_count(&scenario, "withheld", "WritesStopped").await?;
    assert!(writes(&scenario).await?.is_empty());
    scenario.apply(ACCOUNT).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn baselines_that_contradict_each_other_name_each_other() -> Result<()> {
    let scenario = scenario("conflict").await?;
    given(&scenario, &[("app", &["tcp 22 10.0.0.0/8"])]).await?;
    let grant = "maxMode: Enforce, mayAddRules: {cidrs: [0.0.0.0/0], ports: [tcp/0-65535]}";
    scenario.apply(&ACCOUNT.replace("maxMode: Enforce", grant)).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/443]}")).await?;
    let other = baseline(
        "Enforce",
        "required: {ingress: [{traffic: tcp/8443, peer: 0.0.0.0/0}]}\noverrides: [{control: sg-world-ingress-only-allowed-ports, mode: \"Off\"}]",
    );
    scenario.apply(&other.replace("name: edge", "name: other")).await?;
    scenario
        .wait_for(BASELINE, "other", "the contradiction is counted", |object| {
            object.data["status"]["withheld"]["Conflicting"].as_i64().is_some_and(|count| count > 0)
        })
        .await?;
    assert!(writes(&scenario).await?.is_empty());
    Ok(())
}
