//! Listings of several pages of which one fails: half a look is no look.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use tests::emulator::{Fault, FaultKind, FleetSeed};
use tests::{Scenario, wait_until};

use super::look_again;
use crate::{
    ACCOUNT, BASELINE, REGION, WEB_ONLY, assert_no_writes, baseline, given, scenario, wait_for_ingress, wait_for_reason,
};

/// More than fit into a page.
const GROUPS: u32 = 1100;

async fn fleet(scenario: &Scenario<'_>, bad: u32) -> Result<()> {
    let fleet = FleetSeed {
        region: REGION.to_owned(),
        groups: GROUPS,
        rules_min: 1,
        rules_max: 1,
        bad,
        interfaces: 0,
        seed: 7,
        tags: Default::default(),
    };
    scenario.aws.fleet(&fleet).await?;
    Ok(())
}

#[tokio::test]
async fn a_page_that_fails_makes_the_whole_look_fail_and_no_other_account() -> Result<()> {
    let expired = "the pagination token has expired".to_owned();
    let token = FaultKind::Custom { code: "PaginationTokenExpiredException".to_owned(), status: 400, message: expired };
    let cases = [
        ("expired", FaultKind::ExpiredToken, "CredentialsExpired"),
        ("denied", FaultKind::AccessDenied, "AccessDenied"),
        ("token", token, "ReplyUnusable"),
    ];
    let judged = cases.into_iter().map(async |(name, kind, reason)| {
        let scenario = scenario(&format!("page-{name}")).await?;
        fleet(&scenario, 20).await?;
        scenario.aws.set_faults(&[Fault::from(kind).on("DescribeSecurityGroups").nth(2).always()]).await?;
        scenario.apply(&format!("{ACCOUNT}---\n{}", baseline("Enforce", WEB_ONLY))).await?;
        let status = wait_for_reason(&scenario, "Observed", "False", reason).await?;
        ensure!(status["resources"].is_null() && status["violations"].is_null(), "{name}: {status}");
        let first = scenario.aws.calls(0, "DescribeSecurityGroups").await?;
        ensure!(first.first().is_some_and(|page| page.fault.is_none()), "{name}: the first page came");
        assert_no_writes(&scenario).await
    });
    try_join_all(judged).await?;
    let neighbour = scenario("page-neighbour").await?;
    let seeded = given(&neighbour, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    neighbour.apply(ACCOUNT).await?;
    neighbour.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&neighbour, &seeded, "bastion", &[]).await
}

#[tokio::test]
async fn groups_that_a_listing_leaves_out_are_not_gone() -> Result<()> {
    let scenario = scenario("left-out").await?;
    fleet(&scenario, 0).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    let counted = async || {
        wait_until("all groups are counted", scenario.patience, async || {
            let resources = scenario.status(BASELINE, "edge").await?["resources"].as_u64();
            // AWS has made some, too.
            ensure!(resources.is_some_and(|resources| resources >= u64::from(GROUPS)), "{resources:?}");
            Ok(())
        })
        .await
    };
    counted().await?;
    let lost = Fault::from(FaultKind::PartialPage { items: 900 }).on("DescribeSecurityGroups").times(1);
    scenario.aws.set_faults(&[lost]).await?;
    look_again(&scenario, "edge").await?;
    ensure!(scenario.aws.faults().await?.iter().all(|fault| fault.fired > 0), "the page was whole");
    counted().await?;
    assert_no_writes(&scenario).await
}
