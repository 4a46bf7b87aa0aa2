//! Fleets: made in process, seen page by page.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use tests::emulator::FleetSeed;

use super::{REGION, corner};

#[tokio::test]
async fn a_fleet_is_seeded_at_once_and_read_in_pages_of_a_thousand() -> Result<()> {
    let (scenario, ec2) = corner("fleet-pages").await?;
    let seed = FleetSeed { region: REGION.to_owned(), groups: 2500, bad: 27, interfaces: 30, ..FleetSeed::default() };
    let fleet = scenario.aws.fleet(&seed).await?;
    assert!(scenario.aws.ledger().await?.is_empty(), "seeding makes no calls");
    let mut pages = ec2.describe_security_groups().max_results(1000).into_paginator().send();
    let (mut groups, mut sizes) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page?.security_groups.unwrap_or_default();
        sizes.push(page.len());
        groups.extend(page);
    }
    groups.retain(|group| group.vpc_id.as_ref() == Some(&fleet.vpc));
    assert_eq!((sizes.len(), groups.len()), (3, 2501), "one is the default group of the fleet's VPC");
    assert_eq!(scenario.aws.ledger().await?.len(), 3);

    let open: BTreeSet<_> =
        groups.into_iter().filter(is_open_beyond_the_web).filter_map(|group| group.group_id).collect();
    let bad: BTreeSet<_> = fleet.bad.iter().map(|group| group.group_id.clone()).collect();
    assert_eq!((open, bad.len()), (bad.clone(), 27));
    let problems: BTreeSet<_> = fleet.bad.iter().map(|group| group.problem.as_str()).collect();
    ensure!(problems.len() == 9, "each kind of problem is there: {problems:?}");
    let interfaces = ec2.describe_network_interfaces().max_results(1000).send().await?;
    assert_eq!(interfaces.network_interfaces().len(), 30);
    Ok(())
}

fn is_open_beyond_the_web(group: &aws_sdk_ec2::types::SecurityGroup) -> bool {
    group.ip_permissions().iter().any(|permission| {
        let world = permission.ip_ranges().iter().any(|range| range.cidr_ip() == Some("0.0.0.0/0"))
            || permission.ipv6_ranges().iter().any(|range| range.cidr_ipv6() == Some("::/0"));
        world && (permission.from_port, permission.to_port) != (Some(443), Some(443))
    })
}

#[tokio::test]
async fn the_same_fleet_is_not_made_twice_in_one_place() -> Result<()> {
    let (scenario, _) = corner("fleet-twice").await?;
    let seed = FleetSeed { region: REGION.to_owned(), groups: 5, ..FleetSeed::default() };
    scenario.aws.fleet(&seed).await?;
    let again = scenario.aws.fleet(&seed).await.unwrap_err();
    assert!(again.to_string().contains("exists already"), "{again}");
    let other = FleetSeed { seed: 43, ..seed };
    scenario.aws.fleet(&other).await?;
    let groups = scenario.aws.groups(REGION).await?;
    assert_eq!(groups.iter().filter(|group| group.name.starts_with("fleet-")).count(), 10);
    Ok(())
}
