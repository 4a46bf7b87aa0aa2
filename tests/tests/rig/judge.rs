//! The judgement at the end of every scenario.

mod functions;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context as _, Result};
use aws_credential_types::Credentials;
use aws_sdk_ec2::types::{IpPermission, IpRange};
use tests::emulator::{GroupSeed, Seed};
use tests::{Scenario, World, aws_client};

const REGION: &str = "eu-central-1";

const BASELINE: &str = "
apiVersion: baseward.dev/v1alpha1
kind: SecurityGroupBaseline
metadata: {name: edge, namespace: $NAMESPACE}
spec: {accounts: {names: [nobody]}, select: {all: true}, internet: {allowPorts: [tcp/443]}}
";

/// One rule of a group that is added or removed, by the program under test unless it says otherwise.
#[derive(Clone, Copy)]
struct Write {
    adds: bool,
    by_hand: bool,
    port: i32,
    cidr: &'static str,
}

fn adds(port: i32, cidr: &'static str) -> Write {
    Write { adds: true, by_hand: false, port, cidr }
}

fn removes(port: i32, cidr: &'static str) -> Write {
    Write { adds: false, ..adds(port, cidr) }
}

impl Write {
    fn by_hand(self) -> Self {
        Self { by_hand: true, ..self }
    }
}

/// A scenario in which a group with these rules was written to.
async fn after(writes: &[Write]) -> Result<Scenario<'static>> {
    let scenario = World::shared().await?.scenario("judged").await?;
    let rules = ["tcp 22 0.0.0.0/0", "tcp 22 203.0.113.0/24", "tcp 443 0.0.0.0/0", "tcp 80 0.0.0.0/1"];
    let seeded = scenario.aws.seed(&Seed::in_region(REGION).group(GroupSeed::named("web").ingress(rules)?)).await?;
    let id = seeded.group("web")?;
    let program = aws_client::ec2_as(&scenario.world.emulator.url(), role_keys(&scenario).await?, REGION);
    let hand = aws_client::ec2(&scenario.world.emulator.url(), &scenario.account, REGION);
    for write in writes {
        let ec2 = if write.by_hand { &hand } else { &program };
        let permission = permission(*write);
        if write.adds {
            ec2.authorize_security_group_ingress().group_id(id).ip_permissions(permission).send().await?;
        } else {
            ec2.revoke_security_group_ingress().group_id(id).ip_permissions(permission).send().await?;
        }
    }
    Ok(scenario)
}

/// Credentials as the program under test uses them.
async fn role_keys(scenario: &Scenario<'_>) -> Result<Credentials> {
    let url = scenario.world.emulator.url();
    let role = format!("arn:aws:iam::{}:role/writer", scenario.account);
    let sts = aws_client::sts(&url, "999999999999", REGION);
    let assumed = sts.assume_role().role_arn(role).role_session_name("judge").send().await?;
    let keys = assumed.credentials.context("no credentials")?;
    Ok(Credentials::new(keys.access_key_id, keys.secret_access_key, Some(keys.session_token), None, "assumed"))
}

fn permission(Write { port, cidr, .. }: Write) -> IpPermission {
    let permission = IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port);
    permission.ip_ranges(IpRange::builder().cidr_ip(cidr).build()).build()
}

/// What a test would fail with at the end of the scenario.
fn verdict(scenario: Scenario<'_>) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(scenario))).err()?;
    Some(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[tokio::test]
async fn a_hole_that_is_closed_is_no_harm() -> Result<()> {
    for hole in [removes(22, "0.0.0.0/0"), removes(80, "0.0.0.0/1")] {
        assert_eq!(verdict(after(&[hole]).await?), None);
    }
    Ok(())
}

#[tokio::test]
async fn a_flow_that_is_opened_fails_the_test_unless_it_may_be() -> Result<()> {
    let opened = [adds(8443, "10.0.0.0/8")];
    let complaint = verdict(after(&opened).await?).context("nobody complains")?;
    assert!(complaint.contains("opened in sg-") && complaint.contains("ingress tcp 8443 10.0.0.0/8"), "{complaint}");
    let scenario = after(&opened).await?;
    scenario.may_open(["ingress tcp 8443 10.0.0.0/8"])?;
    scenario.judge().await?;
    assert_eq!(verdict(scenario), None);
    Ok(())
}

#[tokio::test]
async fn a_legitimate_flow_that_is_cut_fails_the_test() -> Result<()> {
    let complaint = verdict(after(&[removes(443, "0.0.0.0/0")]).await?);
    assert_eq!(complaint, None, "no baseline says that the internet may use the port");
    let scenario = after(&[removes(443, "0.0.0.0/0")]).await?;
    scenario.apply(BASELINE).await?;
    let complaint = verdict(scenario).context("nobody complains of an allowed port")?;
    assert!(complaint.contains("cut in sg-") && complaint.contains("ingress tcp 443 0.0.0.0/0"), "{complaint}");
    let scenario = after(&[removes(80, "0.0.0.0/1")]).await?;
    scenario.must_keep(["ingress tcp 80 10.0.0.0/8"])?;
    let error = scenario.judge().await.unwrap_err().to_string();
    assert!(error.contains("ingress tcp 80 10.0.0.0/8"), "{error}");
    assert!(verdict(scenario).is_some());
    Ok(())
}

#[tokio::test]
async fn a_rule_with_a_peer_of_its_own_is_legitimate_by_itself() -> Result<()> {
    let scenario = after(&[removes(22, "203.0.113.0/24")]).await?;
    assert_eq!(verdict(scenario), None, "the wide rule still lets it through");
    let both = after(&[adds(8443, "203.0.113.0/24"), removes(8443, "203.0.113.0/24")]).await?;
    both.may_open(["ingress tcp 8443 203.0.113.0/24"])?;
    let complaint = verdict(both).context("nobody complains")?;
    assert!(complaint.contains("ingress tcp 8443 203.0.113.0/24"), "{complaint}");
    Ok(())
}

#[tokio::test]
async fn a_rule_that_went_as_redundant_is_remembered() -> Result<()> {
    let one_by_one = [removes(22, "203.0.113.0/24"), removes(22, "0.0.0.0/0")];
    let complaint = verdict(after(&one_by_one).await?).context("nobody complains")?;
    assert!(complaint.contains("cut in sg-") && complaint.contains("ingress tcp 22 203.0.113.0/24"), "{complaint}");
    assert!(!complaint.contains("0.0.0.0/0"), "{complaint}");
    let scenario = after(&one_by_one).await?;
    scenario.may_cut(["ingress tcp 22 203.0.113.0/24"])?;
    assert_eq!(verdict(scenario), None, "the test says that a baseline forbids it");
    Ok(())
}

#[tokio::test]
async fn what_a_hand_names_counts_and_what_it_takes_away_does_not() -> Result<()> {
    let taken = [removes(22, "203.0.113.0/24").by_hand(), removes(22, "0.0.0.0/0")];
    assert_eq!(verdict(after(&taken).await?), None);
    let named = [
        removes(22, "203.0.113.0/24"),
        adds(22, "198.51.100.0/24").by_hand(),
        removes(22, "198.51.100.0/24"),
        removes(22, "0.0.0.0/0"),
    ];
    let complaint = verdict(after(&named).await?).context("nobody complains")?;
    for peer in ["203.0.113.0/24", "198.51.100.0/24"] {
        assert!(complaint.contains(&format!("ingress tcp 22 {peer}\n")), "{complaint}");
    }
    Ok(())
}
