//! What even `Enforce` does not exceed: budgets, blast radius, windows, exemptions, contests.

use anyhow::{Result, ensure};
use jiff::{Timestamp, ToSpan as _};
use kube::ResourceExt;
use serde_json::Value;
use tests::emulator::{Direction, Fault, FaultKind, ForeignChange, GroupSeed, Seed};
use tests::{Scenario, wait_until};

use super::faults::{Corner, corner, launch};
use super::{
    ACCOUNT, BASELINE, REGION, WEB_ONLY, assert_no_writes, baseline, given, program, scenario, wait_for_count,
    wait_for_ingress, wait_for_reason, wait_for_sweeps, writes,
};

/// So many groups that let SSH in from anywhere, and so many that do not.
async fn fleet(scenario: &Scenario<'_>, bad: usize, good: usize) -> Result<tests::emulator::Seeded> {
    let bad_names: Vec<String> = (0..bad).map(|number| format!("bad-{number}")).collect();
    let good_names: Vec<String> = (0..good).map(|number| format!("good-{number}")).collect();
    let (ssh, web): (&[&str], &[&str]) = (&["tcp 22 0.0.0.0/0"], &["tcp 443 0.0.0.0/0"]);
    let bad = bad_names.iter().map(|name| (name.as_str(), ssh));
    let groups: Vec<(&str, &[&str])> = bad.chain(good_names.iter().map(|name| (name.as_str(), web))).collect();
    given(scenario, &groups).await
}

#[tokio::test]
async fn a_budget_is_spent_and_not_exceeded_by_a_restart() -> Result<()> {
    let Corner { mut controller, proxy, scenario } = corner("budget").await?;
    fleet(&scenario, 4, 0).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", &format!("{WEB_ONLY}\nremediation: {{budget: {{perHour: 2}}}}"))).await?;
    let status = wait_for_count(&scenario, "withheld", "Budget").await?;
    let held = status["worst"].as_array().unwrap().iter().find(|finding| finding["held"] == "Budget").unwrap();
    assert!(held["advice"].as_str().unwrap().contains("lets 2 resources change in an hour"), "{held}");
    wait_for_sweeps(&scenario, 1).await?;
    let written = |calls: &[tests::emulator::Call]| calls.iter().filter(|call| call.wrote_groups()).count();
    assert_eq!(written(&writes(&scenario).await?), 2);
    controller.process().kill();
    let _second = launch(program(), &scenario, &proxy).await?;
    // The first of them comes before it may write.
    wait_for_sweeps(&scenario, 3).await?;
    assert_eq!(written(&writes(&scenario).await?), 2);
    scenario.apply(&ACCOUNT.replace("  namespaces:", "  budget: {perHour: 3}\n  namespaces:")).await?;
    scenario.apply(&baseline("Enforce", &format!("{WEB_ONLY}\nremediation: {{budget: {{perHour: 100}}}}"))).await?;
    wait_until("the account's budget is spent", scenario.patience, async || {
        ensure!(written(&writes(&scenario).await?) == 3, "not yet");
        Ok(())
    })
    .await?;
    wait_for_sweeps(&scenario, 1).await?;
    assert_eq!(written(&writes(&scenario).await?), 3);
    Ok(())
}

#[tokio::test]
async fn a_plan_that_would_change_too_much_waits_for_an_approval() -> Result<()> {
    let scenario = scenario("radius").await?;
    let seeded = fleet(&scenario, 6, 14).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    let status = wait_for_count(&scenario, "withheld", "BlastRadius").await?;
    assert_eq!(status["withheld"]["BlastRadius"], 6, "{status}");
    wait_for_sweeps(&scenario, 1).await?;
    assert_no_writes(&scenario).await?;
    let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
    assert_eq!(sets.len(), 1);
    let word = ["approve", &sets[0].name_any(), "-n", &scenario.namespace, "--reason", "CAB-1182"];
    let said = program().run(scenario.world, word).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    for number in 0..6 {
        wait_for_ingress(&scenario, &seeded, &format!("bad-{number}"), &[]).await?;
    }
    wait_for_reason(&scenario, "Reconciling", "False", "AtRest").await?;
    Ok(())
}

#[tokio::test]
async fn what_waits_until_both_regions_were_looked_at_is_proposed_to_nobody() -> Result<()> {
    let scenario = scenario("regions").await?;
    for region in [REGION, "eu-central-1"] {
        let group = GroupSeed::named("bad").ingress(["tcp 22 0.0.0.0/0"])?.egress([])?;
        scenario.aws.seed(&Seed::in_region(region).group(group).with("clearDefaults", true.into())).await?;
    }
    scenario.apply(&ACCOUNT.replace("[eu-west-1]", "[eu-west-1, eu-central-1]")).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_reason(&scenario, "Reconciling", "False", "AtRest").await?;
    let sets = scenario.api("ChangeSet").await?.list(&Default::default()).await?.items;
    let proposed = sets.iter().filter(|set| set.data["spec"]["proposed"] == true).count();
    assert_eq!((sets.len(), proposed), (2, 0), "{sets:?}");
    Ok(())
}

#[tokio::test]
async fn a_share_that_is_small_enough_asks_nobody() -> Result<()> {
    let scenario = scenario("share").await?;
    let seeded = fleet(&scenario, 5, 15).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    for number in 0..5 {
        wait_for_ingress(&scenario, &seeded, &format!("bad-{number}"), &[]).await?;
    }
    Ok(())
}

/// A group in use that lets MySQL in from anywhere: high, not critical.
async fn in_use(scenario: &Scenario<'_>) -> Result<tests::emulator::Seeded> {
    let group = GroupSeed::named("db").ingress(["tcp 8080 0.0.0.0/0"])?.egress([])?;
    let interfaces = serde_json::json!([{"key": "host", "groups": ["@db"]}]);
    let seed = Seed::in_region(REGION).group(group).with("interfaces", interfaces).with("clearDefaults", true.into());
    scenario.aws.seed(&seed).await
}

/// A window that opens at a time of day that is far from now, as fields of a baseline.
fn far_window(more: &str) -> String {
    let hour = (Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour() + 12) % 24;
    format!("{WEB_ONLY}\nremediation: {{window: {{schedule: \"0 {hour} * * *\", timeZone: UTC, duration: 1h}}{more}}}")
}

#[tokio::test]
async fn what_can_break_connections_waits_for_the_window_or_an_emergency() -> Result<()> {
    let scenario = scenario("window").await?;
    let seeded = in_use(&scenario).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", &far_window(""))).await?;
    let status = wait_for_count(&scenario, "withheld", "Window").await?;
    let opens: Timestamp = status["nextWindow"].as_str().unwrap().parse()?;
    assert!(opens > Timestamp::now(), "{opens}");
    wait_for_sweeps(&scenario, 1).await?;
    assert_no_writes(&scenario).await?;
    let until = Timestamp::now().checked_add(1.hour())?;
    scenario
        .apply(&baseline("Enforce", &far_window(&format!(", emergency: {{until: \"{until}\", reason: INC-77}}"))))
        .await?;
    wait_for_ingress(&scenario, &seeded, "db", &[]).await
}

#[tokio::test]
async fn a_window_that_cannot_be_meant_is_refused_with_what_to_write() -> Result<()> {
    let scenario = scenario("no-window").await?;
    scenario.apply(ACCOUNT).await?;
    let cases = [
        ("0 2 31 2 *", "UTC", "schedule"),
        ("0 25 * * *", "UTC", "hour"),
        ("0 2 * * *", "Europe/Atlantis", "timeZone"),
    ];
    for (schedule, zone, word) in cases {
        let window = format!("remediation: {{window: {{schedule: \"{schedule}\", timeZone: {zone}, duration: 1h}}}}");
        scenario.apply(&baseline("Enforce", &window)).await?;
        let refused = |object: &kube::core::DynamicObject| {
            let conditions = object.data["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|condition| {
                condition["type"] == "Accepted"
                    && condition["reason"] == "InvalidSpec"
                    && condition["message"].as_str().is_some_and(|message| message.contains(word))
            })
        };
        scenario.wait_for(BASELINE, "edge", &format!("{schedule} in {zone} is refused"), refused).await?;
    }
    assert_eq!(scenario.aws.calls(0, "DescribeSecurityGroups").await?.len(), 0);
    Ok(())
}

fn exemption(expires: Timestamp) -> String {
    format!(
        "apiVersion: baseward.dev/v1alpha1\nkind: BaselineExemption\nmetadata: {{name: bastion, namespace: $NAMESPACE}}\nspec:\n  controls: [sg-no-open-admin-ports, sg-world-ingress-only-allowed-ports]\n  resources: {{names: [bastion]}}\n  reason: until the VPN is there\n  ticket: SEC-412\n  expires: \"{expires}\"\n"
    )
}

#[tokio::test]
async fn what_is_exempt_stands_until_the_exemption_ends() -> Result<()> {
    let scenario = scenario("exempt").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"]), ("other", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    // Long enough for a slow machine to see it in effect first.
    let expires = Timestamp::now().checked_add(25.seconds())?;
    scenario.apply(&exemption(expires)).await?;
    scenario.wait_for_condition("BaselineExemption", "bastion", "Active", "True").await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "other", &[]).await?;
    let exempt = |object: &kube::core::DynamicObject| {
        object.data["status"]["verdicts"]["exempt"].as_i64().is_some_and(|exempt| exempt > 0)
    };
    let object = scenario.wait_for(BASELINE, "edge", "exempt findings are counted", exempt).await?;
    let worst = object.data["status"]["worst"].as_array().unwrap();
    assert!(worst.iter().any(|finding| finding["held"] == "Exempt"), "{worst:?}");
    let warned = scenario.kubectl.get(["events", "-o", "jsonpath={.items[*].reason}"]).await?;
    assert!(warned.contains("ExpiresSoon"), "{warned}");
    ensure!(writes(&scenario).await?.len() == 1, "the bastion was touched");
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    assert!(Timestamp::now() >= expires);
    scenario.wait_for_condition("BaselineExemption", "bastion", "Active", "False").await?;
    Ok(())
}

/// Lets somebody open SSH to a group again whenever it was closed and seen to be, until the repair is contested. Answers who.
async fn contested(scenario: &Scenario<'_>, more: &[Fault]) -> Result<String> {
    scenario.may_open(["ingress tcp 22 0.0.0.0/0"])?;
    let seeded = given(scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    let hand =
        ForeignChange::of_group(seeded.group("bastion")?).authorize(Direction::Ingress, "tcp 22 0.0.0.0/0".parse()?);
    let rival = Fault::from(FaultKind::ForeignWrite { change: hand }).on("DescribeNetworkInterfaces").always();
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(scenario, &seeded, "bastion", &[]).await?;
    scenario.aws.set_faults(&[&[rival], more].concat()).await?;
    Ok(format!("arn:aws:iam::{}:user/foreign", scenario.account))
}

/// Waits until the status says this of what is contested.
async fn wait_for_advice(scenario: &Scenario<'_>, advice: &str) -> Result<()> {
    let says = |object: &kube::core::DynamicObject| {
        let worst = object.data["status"]["worst"].as_array();
        worst.into_iter().flatten().any(|finding| {
            finding["held"] == "Contested" && finding["advice"].as_str().is_some_and(|text| text.contains(advice))
        })
    };
    scenario.wait_for(BASELINE, "edge", &format!("the status says {advice:?}"), says).await?;
    Ok(())
}

#[tokio::test]
async fn what_somebody_keeps_undoing_is_contested_and_told_once_with_his_name() -> Result<()> {
    let mut scenario = scenario("contested").await?;
    // Three repairs, each after a sweep of its own.
    scenario.patience *= 2;
    let rival = contested(&scenario, &[]).await?;
    wait_for_count(&scenario, "withheld", "Contested").await?;
    let repairs = writes(&scenario).await?.iter().filter(|call| call.operation().starts_with("Revoke")).count();
    assert_eq!(repairs, 3);
    wait_for_advice(&scenario, &format!("undone by {rival} after ")).await?;
    let events = scenario.kubectl.get(["events", "-o", "json"]).await?;
    let events: Value = serde_json::from_str(&events)?;
    let told: Vec<&Value> =
        events["items"].as_array().unwrap().iter().filter(|event| event["reason"] == "Contested").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let said = told[0]["note"].as_str().or(told[0]["message"].as_str()).unwrap();
    assert!(said.contains(&format!("undone by {rival}")), "{said}");
    assert_eq!(scenario.aws.calls(0, "LookupEvents").await?.len(), 1, "who was found is not looked for again");
    Ok(())
}

#[tokio::test]
async fn who_undoes_it_is_not_told_where_cloudtrail_may_not_be_asked() -> Result<()> {
    let mut scenario = scenario("contested-unseen").await?;
    scenario.patience *= 2;
    let denied = Fault::from(FaultKind::AccessDenied).of_service("cloudtrail").on("LookupEvents").always();
    contested(&scenario, &[denied]).await?;
    wait_for_advice(&scenario, "the read role is not allowed cloudtrail:LookupEvents").await?;
    wait_for_sweeps(&scenario, 1).await?;
    assert_eq!(scenario.aws.calls(0, "LookupEvents").await?.len(), 1, "what is denied is not tried at every sweep");
    scenario.wait_for_condition(BASELINE, "edge", "Observed", "True").await?;
    Ok(())
}
