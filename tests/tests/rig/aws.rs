//! The AWS emulator, its ledger, and the oracle on it.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use tests::emulator::{
    Call, Direction, Fault, FaultKind, FleetSeed, ForeignChange, FunctionFleetSeed, GroupSeed, Seed, Settings,
};
use tests::flows::{FlowSet, assert_never_lost, assert_never_opened};
use tests::{Emulator, World};

const REGION: &str = "eu-central-1";

/// One call as the SDK would send it. The emulator takes any signature.
async fn call_aws(emulator: &Emulator, key: &str, service: &str, parameters: &str) -> Result<String> {
    let credential = format!(
        "AWS4-HMAC-SHA256 Credential={key}/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    let request = reqwest::Client::new()
        .post(emulator.url())
        .timeout(Duration::from_secs(5))
        .header("authorization", credential)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", "rig")
        .body(parameters.to_owned());
    Ok(request.send().await?.error_for_status()?.text().await?)
}

#[tokio::test]
async fn the_emulator_knows_who_calls_and_keeps_a_ledger() -> Result<()> {
    let world = World::shared().await?;
    let scenario = world.scenario("ledger").await?;
    world.emulator.api().health().await?;
    let identity = "Action=GetCallerIdentity&Version=2011-06-15";
    let answer = call_aws(&world.emulator, &scenario.account, "sts", identity).await?;
    assert!(answer.contains(&format!("<Account>{}</Account>", scenario.account)), "{answer}");
    let calls = scenario.aws.ledger().await?;
    let [call] = calls.as_slice() else {
        bail!("one call was made, the ledger has {calls:?}");
    };
    assert_eq!((call.operation(), call.effect, call.status), ("GetCallerIdentity", false, Some(200)));
    assert_eq!(call.user_agent.as_deref(), Some("rig"));
    scenario.aws.clear_ledger().await?;
    assert!(scenario.aws.ledger().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_oracle_sees_what_a_write_opens_and_cuts() -> Result<()> {
    let world = World::shared().await?;
    let scenario = world.scenario("oracle").await?;
    let web = GroupSeed::named("web").ingress(["tcp 22 0.0.0.0/0", "tcp 443 10.0.0.0/8"])?;
    let seeded = scenario.aws.seed(&Seed::in_region(REGION).group(web)).await?;
    let id = seeded.group("web")?;
    let permission = format!(
        "&Version=2016-11-15&GroupId={id}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=443\
         &IpPermissions.1.ToPort=443&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/"
    );
    let authorize = format!("Action=AuthorizeSecurityGroupIngress{permission}7");
    call_aws(&world.emulator, &scenario.account, "ec2", &authorize).await?;
    let revoke = format!("Action=RevokeSecurityGroupIngress{permission}8");
    call_aws(&world.emulator, &scenario.account, "ec2", &revoke).await?;

    let calls = scenario.aws.calls(0, "*SecurityGroupIngress").await?;
    assert_eq!(calls.len(), 2);
    assert_never_opened(&calls, &FlowSet::parse(["ingress tcp 443 11.0.0.0/8"])?)?;
    assert!(assert_never_opened(&calls, &FlowSet::default()).is_err());
    assert_never_lost(&calls, &FlowSet::parse(["ingress all 0.0.0.0/0"])?)?;
    let group = scenario.aws.group(REGION, id).await?;
    let flows = FlowSet::of(&group.rules)?;
    let wanted = ["ingress tcp 22 0.0.0.0/0", "ingress tcp 443 10.0.0.0/7", "egress all 0.0.0.0/0"];
    assert_eq!(flows, FlowSet::parse(wanted)?);
    Ok(())
}

#[tokio::test]
async fn a_fault_hits_the_calls_it_names() -> Result<()> {
    let world = World::shared().await?;
    let scenario = world.scenario("faults").await?;
    let describe = "Action=DescribeSecurityGroups&Version=2016-11-15&MaxResults=5";
    let fault = Fault::from(FaultKind::Throttle).on("Describe*").nth(2);
    scenario.aws.set_faults(&[fault]).await?;
    for throttled in [false, true, false] {
        let answer = call_aws(&world.emulator, &scenario.account, "ec2", describe).await;
        assert_eq!(answer.is_err(), throttled, "{answer:?}");
    }
    let counts = scenario.aws.faults().await?;
    assert_eq!(counts.iter().map(|count| (count.seen, count.fired)).collect::<Vec<_>>(), [(3, 1)]);
    scenario.aws.clear_faults().await?;
    assert!(scenario.aws.faults().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_foreign_write_comes_between_and_is_nobodys_fault_but_its_own() -> Result<()> {
    let world = World::shared().await?;
    let scenario = world.scenario("foreign").await?;
    let web = GroupSeed::named("web").ingress(["tcp 22 0.0.0.0/0"])?;
    let seeded = scenario.aws.seed(&Seed::in_region(REGION).group(web)).await?;
    let id = seeded.group("web")?;
    let change = ForeignChange::of_group(id)
        .authorize(Direction::Ingress, "tcp 23 0.0.0.0/0".parse()?)
        .revoke(Direction::Egress, "all 0.0.0.0/0".parse()?);
    scenario.aws.set_faults(&[FaultKind::ForeignWrite { change }.into()]).await?;
    let revoke = format!(
        "Action=RevokeSecurityGroupIngress&Version=2016-11-15&GroupId={id}&IpPermissions.1.IpProtocol=tcp\
         &IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0"
    );
    call_aws(&world.emulator, &scenario.account, "ec2", &revoke).await?;

    let calls = scenario.aws.ledger().await?;
    let operations: Vec<_> = calls.iter().map(Call::operation).collect();
    assert_eq!(operations, ["ForeignWrite", "RevokeSecurityGroupIngress"]);
    assert_never_opened(&calls, &FlowSet::default())?;
    let group = scenario.aws.group(REGION, id).await?;
    assert_eq!(FlowSet::of(&group.rules)?, FlowSet::parse(["ingress tcp 23 0.0.0.0/0"])?);
    Ok(())
}

#[tokio::test]
async fn everything_that_can_be_seeded_is_there() -> Result<()> {
    let aws = World::shared().await?.scenario("said").await?.aws.clone();
    let seed = Seed::in_region(REGION)
        .with("vpcs", json!([{"key": "v", "cidr": "10.1.0.0/16"}]))
        .with("prefixLists", json!([{"key": "corp", "name": "corp", "entries": [{"cidr": "192.0.2.0/24"}]}]))
        .with("interfaces", json!([{"key": "nic", "groups": ["web"]}]))
        .group(
            GroupSeed::named("web")
                .with("vpc", json!("v"))
                .tag("team", "a")
                .ingress(["tcp 443 prefixlist @corp", "tcp 80 group @web", "icmp 8 ::/0"])?
                .egress([])?,
        );
    let seeded = aws.seed(&seed).await?;
    assert_eq!((seeded.vpcs.len(), seeded.prefix_lists.len(), seeded.interfaces.len()), (1, 1, 1));
    let web = aws.group(REGION, seeded.group("web")?).await?;
    assert_eq!((web.name.as_str(), web.rules.ingress.len(), web.rules.egress.len()), ("web", 3, 0));
    assert_eq!(web.tags.get("team").map(String::as_str), Some("a"));
    let unknown = aws.seed(&Seed::in_region(REGION).with("flavour", json!(1))).await;
    assert!(unknown.unwrap_err().to_string().contains("has no key 'flavour'"));
    Ok(())
}

#[tokio::test]
async fn settings_and_fleets_are_taken() -> Result<()> {
    let aws = World::shared().await?.scenario("fleet").await?.aws.clone();
    let settings = Settings {
        external_id: Some("secret".to_owned()),
        denied_roles: vec!["writer".to_owned()],
        denied_prefix_lists: vec!["pl-1".to_owned()],
        atomic_batches: Some(false),
        rules_per_security_group: Some(5),
        rates: Some(json!("off")),
        others: serde_json::Map::from_iter([("concurrentExecutions".to_owned(), json!(500))]),
    };
    aws.configure(&settings).await?;

    let fleet = FleetSeed { region: REGION.to_owned(), groups: 40, bad: 9, interfaces: 10, ..FleetSeed::default() };
    let fleet = aws.fleet(&fleet).await?;
    assert_eq!(fleet.bad.len(), 9);
    for bad in &fleet.bad {
        assert!(!bad.rules.is_empty(), "{bad:?}");
    }
    let groups = aws.groups(REGION).await?;
    assert_eq!(groups.iter().filter(|group| group.vpc_id.as_ref() == Some(&fleet.vpc)).count(), 41);

    let fleet = FunctionFleetSeed {
        region: REGION.to_owned(),
        functions: 12,
        bad_functions: 3,
        function_problems: vec!["tracingOff".to_owned()],
        tags: [("team".to_owned(), "a".to_owned())].into(),
    };
    let bad = aws.function_fleet(&fleet).await?.bad_functions;
    assert_eq!(bad.iter().map(|bad| bad.problem.as_str()).collect::<Vec<_>>(), ["tracingOff"; 3]);
    let functions = aws.functions(REGION).await?;
    let untraced = functions.iter().filter(|it| it["configuration"]["TracingConfig"]["Mode"] == "PassThrough");
    assert_eq!((functions.len(), untraced.count()), (12, 3));
    Ok(())
}

#[tokio::test]
async fn every_kind_of_fault_is_one_that_the_emulator_knows() -> Result<()> {
    let aws = World::shared().await?.scenario("kinds").await?.aws.clone();
    let kinds = FaultKind::one_of_each(ForeignChange::of_group("sg-1"));
    let names: Vec<&str> = kinds.iter().map(FaultKind::name).collect();
    let faults = kinds.into_iter().map(|kind| {
        let fault = Fault::from(kind).of_service("*").on("*").in_region("eu-*").by("*:role/writer");
        fault.nth(2).every(3).times(4)
    });
    aws.set_faults(&faults.collect::<Vec<Fault>>()).await?;
    let known: Vec<String> = aws.faults().await?.into_iter().map(|fault| fault.kind).collect();
    assert_eq!(known, names);
    Ok(())
}

#[tokio::test]
async fn an_emulator_can_be_frozen_and_restarted() -> Result<()> {
    let emulator = Emulator::start().await?;
    let account = emulator.api().account("111122223333");
    let identity = "Action=GetCallerIdentity&Version=2011-06-15";
    call_aws(&emulator, account.id(), "sts", identity).await?;

    emulator.freeze(true).await?;
    assert!(call_aws(&emulator, account.id(), "sts", identity).await.is_err());
    emulator.freeze(false).await?;
    let calls = account.ledger().await?;
    assert!(!calls.is_empty(), "its state outlives the outage");

    let url = emulator.url();
    emulator.restart().await?;
    assert_eq!(emulator.url(), url);
    let account = emulator.api().account("111122223333");
    assert!(account.ledger().await?.is_empty(), "its state does not outlive the process");
    Ok(())
}
