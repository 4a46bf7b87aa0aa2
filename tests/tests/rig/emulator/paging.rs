//! Pages, their tokens, and what is too much for one request.

use std::collections::BTreeSet;

use anyhow::Result;
use aws_sdk_ec2::types::Filter;
use serde_json::json;
use tests::emulator::{GroupSeed, Seed};

use super::{REGION, corner, filter, refusal, refused};

/// Twelve groups with two rules each and nothing beside them.
fn dozen() -> Result<Seed> {
    let rules = ["tcp 80 10.0.0.0/8", "tcp 443 10.0.0.0/8"];
    let groups = (0..12).map(|number| GroupSeed::named(&format!("web-{number}")).ingress(rules)?.egress([]));
    let seed = Seed::in_region(REGION).with("clearDefaults", true.into());
    groups.into_iter().try_fold(seed, |seed, group| Ok(seed.group(group?)))
}

#[tokio::test]
async fn pages_are_of_the_size_asked_for_and_hold_everything_once() -> Result<()> {
    let (scenario, ec2) = corner("pages").await?;
    let seeded = scenario.aws.seed(&dozen()?).await?;
    let (mut sizes, mut ids, mut token) = (Vec::new(), BTreeSet::new(), None);
    loop {
        let page = ec2.describe_security_groups().max_results(5).set_next_token(token).send().await?;
        sizes.push(page.security_groups().len());
        ids.extend(page.security_groups().iter().filter_map(|group| group.group_id.clone()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [5, 5, 2]);
    assert_eq!(ids, seeded.groups.into_values().collect());
    let whole = ec2.describe_security_groups().send().await?;
    assert_eq!((whole.security_groups().len(), whole.next_token()), (12, None));
    Ok(())
}

#[tokio::test]
async fn rules_interfaces_and_prefix_lists_have_pages_too() -> Result<()> {
    let (scenario, ec2) = corner("all-pages").await?;
    let entries: Vec<_> = (0..5).map(|number| json!({"cidr": format!("192.0.2.{number}/32")})).collect();
    let interfaces: Vec<_> = (0..7).map(|number| json!({"key": format!("n{number}"), "groups": ["web-0"]})).collect();
    let seed = dozen()?
        .with("interfaces", interfaces.into())
        .with("prefixLists", json!([{"key": "corp", "name": "corp", "maxEntries": 5, "entries": entries}]));
    let list = scenario.aws.seed(&seed).await?.prefix_lists.remove("corp").unwrap_or_default();

    let mut pages = ec2.describe_security_group_rules().max_results(10).into_paginator().send();
    let mut rules = Vec::new();
    while let Some(page) = pages.next().await {
        rules.push(page?.security_group_rules().len());
    }
    assert_eq!(rules, [10, 10, 4]);
    let first = ec2.describe_network_interfaces().max_results(5).send().await?;
    let rest = ec2.describe_network_interfaces().max_results(5).set_next_token(first.next_token.clone()).send().await?;
    assert_eq!((first.network_interfaces().len(), rest.network_interfaces().len()), (5, 2));
    let first = ec2.get_managed_prefix_list_entries().prefix_list_id(&list).max_results(3).send().await?;
    let rest = ec2.get_managed_prefix_list_entries().prefix_list_id(&list);
    let rest = rest.max_results(3).set_next_token(first.next_token.clone()).send().await?;
    assert_eq!((first.entries().len(), rest.entries().len(), rest.next_token()), (3, 2, None));
    Ok(())
}

#[tokio::test]
async fn page_sizes_that_aws_does_not_know_are_refused() -> Result<()> {
    let (scenario, ec2) = corner("page-sizes").await?;
    let seeded = scenario.aws.seed(&dozen()?).await?;
    for size in [0, 4, 1001] {
        let groups = ec2.describe_security_groups().max_results(size).send().await;
        assert_eq!(refusal(groups)?, refused(400, "InvalidParameterValue"), "{size}");
        let rules = ec2.describe_security_group_rules().max_results(size).send().await;
        assert_eq!(refusal(rules)?, refused(400, "InvalidParameterValue"), "{size}");
    }
    let lists = ec2.describe_managed_prefix_lists().max_results(101).send().await;
    assert_eq!(refusal(lists)?, refused(400, "InvalidParameterValue"));
    let by_id = ec2.describe_security_groups().group_ids(seeded.group("web-0")?).max_results(5).send().await;
    assert_eq!(refusal(by_id)?, refused(400, "InvalidParameterCombination"));
    Ok(())
}

#[tokio::test]
async fn a_token_is_good_for_nothing_but_the_rest_of_its_own_request() -> Result<()> {
    let (scenario, ec2) = corner("tokens").await?;
    scenario.aws.seed(&dozen()?).await?;
    let first = ec2.describe_security_groups().max_results(5).send().await?;
    let token = first.next_token.unwrap_or_default();
    let rest = ec2.describe_security_groups().max_results(1000).next_token(&token).send().await?;
    assert_eq!(rest.security_groups().len(), 7, "the size of a page may change on the way");
    let filtered = ec2.describe_security_groups().filters(filter("group-name", "web-*")).next_token(&token);
    let rules = ec2.describe_security_group_rules().next_token(&token);
    assert_eq!(refusal(filtered.send().await)?, refused(400, "InvalidPaginationToken"));
    assert_eq!(refusal(rules.send().await)?, refused(400, "InvalidPaginationToken"));
    let invented = ec2.describe_security_groups().next_token("bmV4dA==").send().await;
    assert_eq!(refusal(invented)?, refused(400, "InvalidPaginationToken"));
    Ok(())
}

#[tokio::test]
async fn a_filter_has_at_most_two_hundred_values() -> Result<()> {
    let (_, ec2) = corner("filters").await?;
    let ids = |count: u32| -> Vec<String> { (0..count).map(|number| format!("sg-{number:017x}")).collect() };
    let of = |count| Filter::builder().name("group-id").set_values(Some(ids(count))).build();
    let found = ec2.describe_security_group_rules().filters(of(200)).send().await?;
    assert!(found.security_group_rules().is_empty());
    let too_many = ec2.describe_security_group_rules().filters(of(201)).send().await;
    assert_eq!(refusal(too_many)?, refused(400, "FilterLimitExceeded"));
    let filters = vec![of(1); 51];
    let too_many = ec2.describe_security_groups().set_filters(Some(filters)).send().await;
    assert_eq!(refusal(too_many)?, refused(400, "FilterLimitExceeded"));
    Ok(())
}
