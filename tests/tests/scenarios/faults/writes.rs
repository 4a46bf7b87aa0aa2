//! Writes that AWS carries out in part, or says to have carried out.

use anyhow::Result;
use serde_json::json;
use tests::emulator::{Direction, Fault, FaultKind, ForeignChange, GroupSeed, Seed, Settings};

use crate::{ACCOUNT, BASELINE, REGION, WEB_ONLY, baseline, given, scenario, wait_for_ingress, writes};

#[tokio::test]
async fn a_batch_that_is_carried_out_in_part_is_planned_anew_and_ends_exactly() -> Result<()> {
    let scenario = scenario("partly").await?;
    scenario.aws.configure(&Settings { atomic_batches: Some(false), ..Settings::default() }).await?;
    let wide: &[&str] = &["tcp 80-443 0.0.0.0/0"];
    let groups = [("first", wide), ("second", wide), ("bastion", &["tcp 22 0.0.0.0/0", "tcp 3389 0.0.0.0/0"])];
    let seeded = given(&scenario, &groups).await?;
    let id = |group| seeded.group(group);
    let adds = |group, rule: &str| -> Result<Fault> {
        let change = ForeignChange::of_group(id(group)?).authorize(Direction::Ingress, rule.parse()?);
        let hand = Fault::from(FaultKind::ForeignWrite { change });
        Ok(hand.on("AuthorizeSecurityGroupIngress").of_resource(id(group)?))
    };
    let takes = ForeignChange::of_group(id("bastion")?).revoke(Direction::Ingress, "tcp 3389 0.0.0.0/0".parse()?);
    let takes = Fault::from(FaultKind::ForeignWrite { change: takes });
    let takes = takes.on("RevokeSecurityGroupIngress").of_resource(id("bastion")?);
    // Each of the two that are to be added is there already in one of the groups.
    scenario.aws.set_faults(&[adds("first", "tcp 80 0.0.0.0/0")?, adds("second", "tcp 443 0.0.0.0/0")?, takes]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", "internet: {allowPorts: [tcp/80, tcp/443]}")).await?;
    for group in ["first", "second"] {
        wait_for_ingress(&scenario, &seeded, group, &["tcp 80 0.0.0.0/0", "tcp 443 0.0.0.0/0"]).await?;
    }
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Reconciling", "False").await?;
    Ok(())
}

/// The rule that is to go is replaced by one like it right before: a default VPC says that all went well.
#[tokio::test]
async fn a_revocation_that_missed_its_rule_is_not_done_whatever_aws_says() -> Result<()> {
    let scenario = scenario("missed").await?;
    let ssh = ["tcp 22 0.0.0.0/0"];
    let seed = Seed::in_region(REGION)
        .with("vpcs", json!([{"key": "own", "cidr": "10.1.0.0/16"}]))
        .with("clearDefaults", true.into())
        .group(GroupSeed::named("default").ingress(ssh)?.egress([])?)
        .group(GroupSeed::named("other").ingress(ssh)?.egress([])?.with("vpc", "own".into()));
    let seeded = scenario.aws.seed(&seed).await?;
    let replaces = |group| -> Result<Fault> {
        let id = seeded.group(group)?;
        let change = ForeignChange::of_group(id)
            .revoke(Direction::Ingress, "tcp 22 0.0.0.0/0".parse()?)
            .authorize(Direction::Ingress, "tcp 22 0.0.0.0/0".parse()?);
        Ok(Fault::from(FaultKind::ForeignWrite { change }).on("RevokeSecurityGroupIngress").of_resource(id))
    };
    scenario.aws.set_faults(&[replaces("default")?, replaces("other")?]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    for group in ["default", "other"] {
        wait_for_ingress(&scenario, &seeded, group, &[]).await?;
        let revoked = writes(&scenario).await?;
        let id = seeded.group(group)?;
        let effects: Vec<bool> =
            revoked.iter().filter(|call| call.parameters["GroupId"] == *id).map(|call| call.effect).collect();
        assert_eq!(effects, [false, true], "{group}");
    }
    Ok(())
}
