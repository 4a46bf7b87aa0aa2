//! The rig itself: what the other tests take for granted.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;
use tests::emulator::{
    Call, Direction, Fault, FaultKind, FleetSeed, ForeignChange, GroupSeed, Seed, Settings,
};
use tests::flows::{FlowSet, assert_never_lost, assert_never_opened};
use tests::{ControlPlane, Emulator, World, wait_until};

const REGION: &str = "eu-central-1";
const DEADLINE: Duration = Duration::from_secs(30);

const CONFIG_MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: sample }
data: { greeting: hello }
";

#[tokio::test]
async fn kubectl_applies_gets_explains_and_describes() -> Result<()> {
    let scenario = World::shared().await?.scenario("kubectl").await?;
    let applied = scenario.apply(CONFIG_MAP).await?;
    assert_eq!(applied.stdout.trim(), "configmap/sample created");
    let kubectl = &scenario.kubectl;
    let greeting = kubectl.get(["configmap", "sample", "-o", "jsonpath={.data.greeting}"]);
    assert_eq!(greeting.await?, "hello");
    let explained = kubectl.explain("configmap.data").await?;
    assert!(
        explained.contains("Data contains the configuration data"),
        "{explained}"
    );
    let described = kubectl.describe("configmap", "sample").await?;
    assert!(described.contains("greeting"), "{described}");
    Ok(())
}

#[tokio::test]
async fn a_refusal_says_why() -> Result<()> {
    let scenario = World::shared().await?.scenario("refusal").await?;
    let refused = scenario
        .apply(&CONFIG_MAP.replace("sample", "No_Name"))
        .await;
    let error = format!("{:#}", refused.unwrap_err());
    assert!(
        error.contains("a lowercase RFC 1123 subdomain must consist of"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn scenarios_share_neither_namespace_nor_account() -> Result<()> {
    let world = World::shared().await?;
    let (one, other) = (
        world.scenario("apart").await?,
        world.scenario("apart").await?,
    );
    assert_ne!(one.account, other.account);
    one.apply(CONFIG_MAP).await?;
    other
        .apply(&CONFIG_MAP.replace("hello", "$NAMESPACE $ACCOUNT"))
        .await?;
    let greeting = async |scenario: &tests::Scenario<'_>| -> Result<String> {
        let maps: Api<ConfigMap> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
        let data: BTreeMap<_, _> = maps.get("sample").await?.data.unwrap_or_default();
        Ok(data.get("greeting").cloned().unwrap_or_default())
    };
    assert_eq!(greeting(&one).await?, "hello");
    assert_eq!(
        greeting(&other).await?,
        format!("{} {}", other.namespace, other.account)
    );
    Ok(())
}

const SAMPLE_CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: samples.rig.example }
spec:
  group: rig.example
  scope: Namespaced
  names: { kind: Sample, plural: samples }
  versions:
  - name: v1
    served: true
    storage: true
    subresources: { status: {} }
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: { size: { type: integer, description: How large it is. } }
            x-kubernetes-validations: [{ rule: self.size < 10, message: a sample is small }]
          status: { type: object, x-kubernetes-preserve-unknown-fields: true }
";

#[tokio::test]
async fn a_condition_of_any_kind_is_awaited_for_the_present_generation() -> Result<()> {
    let world = World::shared().await?;
    world
        .control_plane
        .apply_crds([SAMPLE_CRD.to_owned()])
        .await?;
    let scenario = world.scenario("conditions").await?;
    let sample =
        "{apiVersion: rig.example/v1, kind: Sample, metadata: {name: one}, spec: {size: 1}}";
    scenario.apply(sample).await?;
    scenario.apply(&sample.replace("1}", "2}")).await?;
    let samples = scenario.api("Sample.rig.example").await?;
    let patch = async |generation: i64| {
        let status = json!({"status": {"conditions": [{
            "type": "Ready", "status": "True", "observedGeneration": generation,
        }]}});
        samples
            .patch_status("one", &PatchParams::default(), &Patch::Merge(status))
            .await
    };
    patch(1).await?;
    let mut ready = pin!(scenario.wait_for_condition("Sample.rig.example", "one", "Ready", "True"));
    let early = tokio::time::timeout(Duration::from_millis(500), ready.as_mut()).await;
    assert!(
        early.is_err(),
        "it was ready at the generation before: {early:?}"
    );
    patch(2).await?;
    assert_eq!(ready.await?.metadata.generation, Some(2));
    let status = scenario.status("Sample.rig.example", "one").await?;
    assert_eq!(
        status.pointer("/conditions/0/observedGeneration"),
        Some(&json!(2))
    );
    Ok(())
}

#[tokio::test]
async fn custom_resources_are_explained_and_validated() -> Result<()> {
    let world = World::shared().await?;
    world
        .control_plane
        .apply_crds([SAMPLE_CRD.to_owned()])
        .await?;
    let scenario = world.scenario("custom").await?;
    let explained = scenario.kubectl.explain("sample.spec.size").await?;
    assert!(explained.contains("How large it is."), "{explained}");
    let large =
        "{apiVersion: rig.example/v1, kind: Sample, metadata: {name: large}, spec: {size: 10}}";
    let error = format!("{:#}", scenario.apply(large).await.unwrap_err());
    assert!(error.contains("a sample is small"), "{error}");
    assert!(scenario.api("Lease.coordination.k8s.io").await.is_ok());
    let unknown = scenario.api("Nonsense").await.unwrap_err().to_string();
    assert!(unknown.contains("serves no kind Nonsense"), "{unknown}");
    Ok(())
}

#[tokio::test]
async fn a_service_account_has_its_own_rights_and_no_others() -> Result<()> {
    let world = World::shared().await?;
    let scenario = world.scenario("rights").await?;
    scenario
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader}}")
        .await?;
    scenario
        .kubectl
        .run([
            "create",
            "role",
            "reads",
            "--verb=get,list",
            "--resource=configmaps",
        ])
        .await?;
    let subject = format!("--serviceaccount={}:reader", scenario.namespace);
    scenario
        .kubectl
        .run(["create", "rolebinding", "reads", "--role=reads", &subject])
        .await?;
    let kubeconfig = world
        .control_plane
        .kubeconfig_of_service_account(&scenario.namespace, "reader");
    let kubectl = scenario.kubectl.with_kubeconfig(kubeconfig.await?);
    kubectl.get(["configmaps"]).await?;
    let error = format!("{:#}", kubectl.apply(CONFIG_MAP).await.unwrap_err());
    assert!(
        error.contains("is forbidden") || error.contains("cannot"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_was_killed_comes_back_with_its_data() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let kubectl = control_plane.kubectl();
    kubectl.apply(CONFIG_MAP).await?;
    let url = control_plane.url();

    control_plane.kill_api_server().await;
    let away = kubectl.get(["configmap", "sample"]).await.unwrap_err();
    assert!(format!("{away:#}").contains("refused"), "{away:#}");
    assert!(control_plane.freeze_api_server(true).await.is_err());

    control_plane.restart_api_server().await?;
    assert_eq!(control_plane.url(), url);
    kubectl.get(["configmap", "sample"]).await?;

    control_plane.freeze_api_server(true).await?;
    let version = kubectl.run(["get", "--raw=/version", "--request-timeout=1s"]);
    assert!(
        version.await.is_err(),
        "a frozen API server does not answer"
    );
    control_plane.freeze_api_server(false).await?;
    kubectl.get(["configmap", "sample"]).await?;

    let folder = control_plane.folder().to_owned();
    control_plane.stop();
    assert!(!folder.exists());
    Ok(())
}

/// One call as the SDK would send it. The emulator takes any signature.
async fn call_aws(
    emulator: &Emulator,
    key: &str,
    service: &str,
    parameters: &str,
) -> Result<String> {
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
    assert!(
        answer.contains(&format!("<Account>{}</Account>", scenario.account)),
        "{answer}"
    );
    let calls = scenario.aws.ledger().await?;
    let [call] = calls.as_slice() else {
        bail!("one call was made, the ledger has {calls:?}");
    };
    assert_eq!(
        (call.operation(), call.effect, call.status),
        ("GetCallerIdentity", false, Some(200))
    );
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
    let seeded = scenario
        .aws
        .seed(&Seed::in_region(REGION).group(web))
        .await?;
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
    let wanted = [
        "ingress tcp 22 0.0.0.0/0",
        "ingress tcp 443 10.0.0.0/7",
        "egress all 0.0.0.0/0",
    ];
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
    assert_eq!(
        counts
            .iter()
            .map(|count| (count.seen, count.fired))
            .collect::<Vec<_>>(),
        [(3, 1)]
    );
    scenario.aws.clear_faults().await?;
    assert!(scenario.aws.faults().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_foreign_write_comes_between_and_is_nobodys_fault_but_its_own() -> Result<()> {
    let world = World::shared().await?;
    let scenario = world.scenario("foreign").await?;
    let web = GroupSeed::named("web").ingress(["tcp 22 0.0.0.0/0"])?;
    let seeded = scenario
        .aws
        .seed(&Seed::in_region(REGION).group(web))
        .await?;
    let id = seeded.group("web")?;
    let change = ForeignChange::of_group(id)
        .authorize(Direction::Ingress, "tcp 23 0.0.0.0/0".parse()?)
        .revoke(Direction::Egress, "all 0.0.0.0/0".parse()?);
    scenario
        .aws
        .set_faults(&[FaultKind::ForeignWrite { change }.into()])
        .await?;
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
    assert_eq!(
        FlowSet::of(&group.rules)?,
        FlowSet::parse(["ingress tcp 23 0.0.0.0/0"])?
    );
    Ok(())
}

#[tokio::test]
async fn the_emulator_takes_all_that_the_rig_can_say() -> Result<()> {
    let aws = World::shared().await?.scenario("said").await?.aws;
    let seed = Seed::in_region(REGION)
        .with("vpcs", json!([{"key": "v", "cidr": "10.1.0.0/16"}]))
        .with(
            "prefixLists",
            json!([{"key": "corp", "name": "corp", "entries": [{"cidr": "192.0.2.0/24"}]}]),
        )
        .with("interfaces", json!([{"key": "nic", "groups": ["web"]}]))
        .group(
            GroupSeed::named("web")
                .with("vpc", json!("v"))
                .tag("team", "a")
                .ingress([
                    "tcp 443 prefixlist @corp",
                    "tcp 80 group @web",
                    "icmp 8 ::/0",
                ])?
                .egress([])?,
        );
    let seeded = aws.seed(&seed).await?;
    assert_eq!(
        (
            seeded.vpcs.len(),
            seeded.prefix_lists.len(),
            seeded.interfaces.len()
        ),
        (1, 1, 1)
    );
    let web = aws.group(REGION, seeded.group("web")?).await?;
    assert_eq!(
        (
            web.name.as_str(),
            web.rules.ingress.len(),
            web.rules.egress.len()
        ),
        ("web", 3, 0)
    );
    assert_eq!(web.tags.get("team").map(String::as_str), Some("a"));
    let unknown = aws
        .seed(&Seed::in_region(REGION).with("flavour", json!(1)))
        .await;
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("has no key 'flavour'")
    );

    let settings = Settings {
        external_id: Some("secret".to_owned()),
        denied_roles: vec!["writer".to_owned()],
        denied_prefix_lists: vec!["pl-1".to_owned()],
        atomic_batches: Some(false),
        rules_per_security_group: Some(5),
        rates: Some(json!("off")),
    };
    aws.configure(&settings).await?;

    let fleet = FleetSeed {
        region: REGION.to_owned(),
        groups: 40,
        bad: 9,
        interfaces: 10,
        ..FleetSeed::default()
    };
    let fleet = aws.fleet(&fleet).await?;
    assert_eq!(fleet.bad.len(), 9);
    for bad in &fleet.bad {
        assert!(!bad.rules.is_empty(), "{bad:?}");
    }
    let groups = aws.groups(REGION).await?;
    assert_eq!(
        groups
            .iter()
            .filter(|group| group.vpc_id.as_ref() == Some(&fleet.vpc))
            .count(),
        41
    );
    Ok(())
}

#[tokio::test]
async fn every_kind_of_fault_is_one_that_the_emulator_knows() -> Result<()> {
    let aws = World::shared().await?.scenario("kinds").await?.aws;
    let change = ForeignChange::of_group("sg-1");
    let (code, message) = ("InvalidGroup.NotFound".to_owned(), "gone".to_owned());
    let kinds = [
        FaultKind::Throttle,
        FaultKind::AccessDenied,
        FaultKind::ExpiredToken,
        FaultKind::InternalError,
        FaultKind::EffectThenError,
        FaultKind::EffectThenHang { seconds: Some(1.0) },
        FaultKind::Hang { seconds: None },
        FaultKind::Reset,
        FaultKind::EffectThenReset,
        FaultKind::Truncate,
        FaultKind::Garbage { body: None },
        FaultKind::Stale { seconds: 1.0 },
        FaultKind::PartialPage { items: 1 },
        FaultKind::RepeatToken,
        FaultKind::Latency { milliseconds: 1.0 },
        FaultKind::Custom {
            code,
            status: 400,
            message,
        },
        FaultKind::ForeignWrite { change },
    ];
    let faults = kinds.map(|kind| {
        let fault = Fault::from(kind)
            .of_service("*")
            .on("*")
            .in_region("eu-*")
            .by("*:role/writer");
        fault.nth(2).every(3).times(4)
    });
    aws.set_faults(&faults).await?;
    assert_eq!(aws.faults().await?.len(), faults.len());
    Ok(())
}

#[tokio::test]
async fn an_emulator_can_be_frozen_and_restarted() -> Result<()> {
    let emulator = Emulator::start().await?;
    let account = emulator.api().account("111122223333");
    let identity = "Action=GetCallerIdentity&Version=2011-06-15";
    call_aws(&emulator, account.id(), "sts", identity).await?;

    emulator.freeze(true).await?;
    assert!(
        call_aws(&emulator, account.id(), "sts", identity)
            .await
            .is_err()
    );
    emulator.freeze(false).await?;
    let calls = account.ledger().await?;
    assert!(!calls.is_empty(), "its state outlives the outage");

    let url = emulator.url();
    emulator.restart().await?;
    assert_eq!(emulator.url(), url);
    let account = emulator.api().account("111122223333");
    assert!(
        account.ledger().await?.is_empty(),
        "its state does not outlive the process"
    );
    Ok(())
}

/// `rig up` is a process with all servers. Killed with -9 it runs no code at all, and still nothing of it may stay.
#[tokio::test]
async fn servers_and_their_data_end_with_a_process_that_is_killed() -> Result<()> {
    let mut rig = Command::new(env!("CARGO_BIN_EXE_rig"))
        .arg("up")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(rig.stdout.take().context("no stdout")?).lines();
    let mut value = |prefix: &str| -> Result<String> {
        for line in lines.by_ref() {
            if let Some(value) = line?.strip_prefix(prefix) {
                return Ok(value.to_owned());
            }
        }
        bail!("`rig up` did not print a line {prefix}")
    };
    let folder = PathBuf::from(value("# logs and data: ")?);
    let pids = value("# servers: ")?;
    let pids: Option<Vec<Pid>> = pids
        .split(' ')
        .map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect();
    let pids = pids.context("a process id is no number")?;
    assert_eq!(pids.len(), 3, "API server, etcd, emulator");
    for pid in &pids {
        test_kill_process(*pid)?;
    }
    // A server that does not even get to run must not be left behind either.
    kill_process(pids[0], Signal::STOP)?;

    rig.kill()?;
    rig.wait()?;
    wait_until(
        "the servers and their data are gone",
        DEADLINE,
        async || {
            let left: Vec<_> = pids
                .iter()
                .filter(|pid| test_kill_process(**pid).is_ok())
                .collect();
            ensure!(left.is_empty(), "processes {left:?} are left");
            ensure!(!folder.exists(), "{} is left", folder.display());
            Ok(())
        },
    )
    .await
}
