//! Writes of security groups: all or nothing, up to the quota, in AWS's own spelling.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{IpPermission, IpRange, PrefixListId, SecurityGroupRuleRequest, SecurityGroupRuleUpdate};
use serde_json::json;
use tests::emulator::{GroupSeed, Seed, Settings};

use super::{REGION, corner, group, ingress, refusal, refused, tcp};

#[tokio::test]
async fn a_batch_with_a_duplicate_adds_nothing() -> Result<()> {
    let (scenario, ec2) = corner("duplicate").await?;
    let id = group(&scenario, &["tcp 80 10.0.0.0/8"]).await?;
    let add = |permissions: Vec<IpPermission>| {
        ec2.authorize_security_group_ingress().group_id(&id).set_ip_permissions(Some(permissions)).send()
    };
    for batch in [[443, 80], [80, 443]] {
        let outcome = add(batch.map(|port| tcp(port, "10.0.0.0/8")).to_vec()).await;
        assert_eq!(refusal(outcome)?, refused(400, "InvalidPermission.Duplicate"));
    }
    let twice = add(vec![tcp(443, "10.0.0.0/8"), tcp(443, "10.0.0.0/8")]).await;
    assert_eq!(refusal(twice)?, refused(400, "InvalidParameterValue"));
    assert_eq!(ingress(&scenario, &id).await?, ["tcp 80 10.0.0.0/8"]);

    let answer = add(vec![tcp(443, "10.0.0.0/8"), tcp(8443, "10.0.0.0/8")]).await?;
    assert_eq!(answer.security_group_rules().len(), 2, "every rule of the batch is answered");
    assert_eq!(ingress(&scenario, &id).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_revocation_that_misses_a_rule_removes_nothing() -> Result<()> {
    let (scenario, ec2) = corner("missing").await?;
    let id = group(&scenario, &["tcp 80 10.0.0.0/8", "tcp 443 10.0.0.0/8"]).await?;
    let both = [tcp(80, "10.0.0.0/8"), tcp(22, "10.0.0.0/8")].to_vec();
    let revoke = ec2.revoke_security_group_ingress().group_id(&id);
    let missing = revoke.clone().set_ip_permissions(Some(both)).send().await;
    assert_eq!(refusal(missing)?, refused(400, "InvalidPermission.NotFound"));
    let rules = scenario.aws.group(REGION, &id).await?.rules.ingress;
    let known = rules.first().and_then(|rule| rule.rule_id.clone()).context("a rule has no id")?;
    let unknown = revoke.clone().security_group_rule_ids(&known).security_group_rule_ids("sgr-0123456789abcdef0");
    assert_eq!(refusal(unknown.send().await)?, refused(400, "InvalidSecurityGroupRuleId.NotFound"));
    assert_eq!(ingress(&scenario, &id).await?.len(), 2);

    revoke.security_group_rule_ids(&known).send().await?;
    assert_eq!(ingress(&scenario, &id).await?, ["tcp 443 10.0.0.0/8"]);
    Ok(())
}

#[tokio::test]
async fn a_default_vpc_revokes_what_there_is_and_says_what_is_not() -> Result<()> {
    let (scenario, ec2) = corner("default-vpc").await?;
    let web = GroupSeed::named("web").ingress(["tcp 80 10.0.0.0/8"])?;
    let seeded = scenario.aws.seed(&Seed::in_region(REGION).group(web)).await?;
    let id = seeded.group("web")?;
    let both = [tcp(80, "10.0.0.0/8"), tcp(22, "10.0.0.0/8")].to_vec();
    let answer = ec2.revoke_security_group_ingress().group_id(id).set_ip_permissions(Some(both)).send().await?;
    assert_eq!(answer.revoked_security_group_rules().len(), 1);
    let unknown: Vec<_> = answer.unknown_ip_permissions().iter().map(|permission| permission.from_port).collect();
    assert_eq!(unknown, [Some(22)]);
    assert!(ingress(&scenario, id).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn rules_are_changed_in_place_together_or_not_at_all() -> Result<()> {
    let (scenario, ec2) = corner("in-place").await?;
    let id = group(&scenario, &["tcp 80 10.0.0.0/8", "tcp 443 10.0.0.0/8"]).await?;
    let rules = scenario.aws.group(REGION, &id).await?.rules.ingress;
    let ids: Vec<String> = rules.into_iter().filter_map(|rule| rule.rule_id).collect();
    let to_port = |id: &String, port: i32, cidr: &str| {
        let request = SecurityGroupRuleRequest::builder().ip_protocol("tcp").from_port(port).to_port(port);
        let request = request.cidr_ipv4(cidr).build();
        SecurityGroupRuleUpdate::builder().security_group_rule_id(id).security_group_rule(request).build()
    };
    let modify = |ports: [i32; 2]| {
        let updates = ids.iter().zip(ports).map(|(id, port)| to_port(id, port, "10.0.0.0/9")).collect();
        ec2.modify_security_group_rules().group_id(&id).set_security_group_rules(Some(updates)).send()
    };
    assert_eq!(refusal(modify([22, 22]).await)?, refused(400, "InvalidPermission.Duplicate"));
    assert_eq!(ingress(&scenario, &id).await?, ["tcp 443 10.0.0.0/8", "tcp 80 10.0.0.0/8"]);
    modify([22, 23]).await?;
    let changed = scenario.aws.group(REGION, &id).await?.rules.ingress;
    let same_ids: Vec<String> = changed.into_iter().filter_map(|rule| rule.rule_id).collect();
    assert_eq!(same_ids, ids);
    assert_eq!(ingress(&scenario, &id).await?, ["tcp 22 10.0.0.0/9", "tcp 23 10.0.0.0/9"]);
    Ok(())
}

#[tokio::test]
async fn batches_can_be_made_to_stop_half_way_as_bare_moto_does() -> Result<()> {
    let (scenario, ec2) = corner("partial").await?;
    let id = group(&scenario, &["tcp 80 10.0.0.0/8"]).await?;
    scenario.aws.configure(&Settings { atomic_batches: Some(false), ..Settings::default() }).await?;
    let batch = [tcp(443, "10.0.0.0/8"), tcp(80, "10.0.0.0/8")].to_vec();
    let outcome = ec2.authorize_security_group_ingress().group_id(&id).set_ip_permissions(Some(batch)).send().await;
    assert_eq!(refusal(outcome)?, refused(400, "InvalidPermission.Duplicate"));
    assert_eq!(ingress(&scenario, &id).await?, ["tcp 443 10.0.0.0/8", "tcp 80 10.0.0.0/8"]);
    Ok(())
}

#[tokio::test]
async fn a_group_has_room_for_sixty_rules_of_each_address_family() -> Result<()> {
    let (scenario, ec2) = corner("quota").await?;
    let id = group(&scenario, &[]).await?;
    let add = async |permissions: Vec<IpPermission>| {
        ec2.authorize_security_group_ingress().group_id(&id).set_ip_permissions(Some(permissions)).send().await
    };
    let over = refused(400, "RulesPerSecurityGroupLimitExceeded");
    assert_eq!(refusal(add((1..=61).map(|port| tcp(port, "10.0.0.0/8")).collect()).await)?, over);
    assert!(ingress(&scenario, &id).await?.is_empty(), "a batch that does not fit adds nothing");
    add((1..=60).map(|port| tcp(port, "10.0.0.0/8")).collect()).await?;
    assert_eq!(refusal(add(vec![tcp(61, "10.0.0.0/8")]).await)?, over);
    add((1..=60).map(|port| tcp(port, "fc00::/7")).collect()).await?;
    assert_eq!(refusal(add(vec![tcp(61, "fc00::/7")]).await)?, over);
    assert_eq!(ingress(&scenario, &id).await?.len(), 120);
    Ok(())
}

#[tokio::test]
async fn a_prefix_list_takes_as_much_room_as_it_may_have_entries() -> Result<()> {
    let (scenario, ec2) = corner("weights").await?;
    let id = group(&scenario, &["tcp 80 10.0.0.0/8"]).await?;
    let list = |key: &str, most: u32| json!({"key": key, "name": key, "maxEntries": most, "entries": []});
    let seed = Seed::in_region(REGION).with("prefixLists", json!([list("large", 60), list("fits", 59)]));
    let lists = scenario.aws.seed(&seed).await?.prefix_lists;
    let add = async |key: &str| {
        let peer = PrefixListId::builder().set_prefix_list_id(lists.get(key).cloned()).build();
        let permission = IpPermission::builder().ip_protocol("tcp").from_port(443).to_port(443).prefix_list_ids(peer);
        ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(permission.build()).send().await
    };
    assert_eq!(refusal(add("large").await)?, refused(400, "RulesPerSecurityGroupLimitExceeded"));
    add("fits").await?;
    assert_eq!(ingress(&scenario, &id).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn networks_and_protocols_are_stored_in_one_spelling() -> Result<()> {
    let (scenario, ec2) = corner("spelling").await?;
    let id = group(&scenario, &[]).await?;
    let add = async |permission: IpPermission| {
        ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(permission).send().await
    };
    let number = IpPermission::builder().ip_protocol("6").from_port(22).to_port(22);
    add(number.ip_ranges(IpRange::builder().cidr_ip("10.1.2.3/16").build()).build()).await?;
    add(tcp(22, "2001:DB8:0:0::5/64")).await?;
    assert_eq!(ingress(&scenario, &id).await?, ["tcp 22 10.1.0.0/16", "tcp 22 2001:db8::/64"]);
    for same in ["10.1.0.0/16", "10.1.255.255/16", "2001:db8::/64"] {
        assert_eq!(refusal(add(tcp(22, same)).await)?, refused(400, "InvalidPermission.Duplicate"), "{same}");
    }
    for malformed in ["10.1.2.3", "10.1.2.3/33", "10.1.2/24", "2001:db8::/129"] {
        assert_eq!(refusal(add(tcp(22, malformed)).await)?, refused(400, "InvalidParameterValue"), "{malformed}");
    }
    let other_spelling = tcp(22, "10.1.9.9/16");
    ec2.revoke_security_group_ingress().group_id(&id).ip_permissions(other_spelling).send().await?;
    assert_eq!(ingress(&scenario, &id).await?, ["tcp 22 2001:db8::/64"]);
    Ok(())
}
