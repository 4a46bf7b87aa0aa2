//! Who did what, where and in which order; and what is not there at all.

use anyhow::{Context as _, Result};
use aws_credential_types::Credentials;
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use futures::future::try_join_all;
use tests::aws_client;
use tests::emulator::{Call, GroupRules, Settings};

use super::{REGION, corner, group, refusal, refused, tcp};

#[tokio::test]
async fn every_call_is_written_down_with_its_effect_in_its_order() -> Result<()> {
    let (scenario, ec2) = corner("order").await?;
    let id = group(&scenario, &[]).await?;
    let add = || ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(tcp(22, "10.0.0.0/8")).send();
    ec2.describe_security_groups().group_ids(&id).send().await?;
    add().await?;
    let again = refusal(add().await)?;
    ec2.revoke_security_group_ingress().group_id(&id).ip_permissions(tcp(22, "10.0.0.0/8")).send().await?;

    let calls = scenario.aws.ledger().await?;
    let seen: Vec<_> = calls.iter().map(|call| (call.operation(), call.status, call.effect)).collect();
    let expected = [
        ("DescribeSecurityGroups", Some(200), false),
        ("AuthorizeSecurityGroupIngress", Some(200), true),
        ("AuthorizeSecurityGroupIngress", Some(400), false),
        ("RevokeSecurityGroupIngress", Some(200), true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(calls.get(2).and_then(|call| call.error_code.clone()), Some(again.1));
    assert!(calls.is_sorted_by(|one, next| one.seq < next.seq && one.time <= next.time));
    for call in &calls {
        let (account, region) = (call.account.as_deref(), call.region.as_deref());
        assert_eq!((account, region), (Some(scenario.account.as_str()), Some(REGION)));
        assert_eq!((call.principal.as_deref(), call.service.as_deref()), (Some("root"), Some("ec2")));
    }
    let change = calls.get(1).and_then(|call| call.groups.first()).context("the write names no group")?;
    let count = |rules: &Option<GroupRules>| rules.as_ref().map(|rules| rules.ingress.len());
    assert_eq!(
        (change.group_id.as_str(), count(&change.before), count(&change.after)),
        (id.as_str(), Some(0), Some(1))
    );
    Ok(())
}

#[tokio::test]
async fn accounts_and_regions_are_apart() -> Result<()> {
    let (one, here) = corner("apart").await?;
    let (other, elsewhere) = corner("apart").await?;
    let id = group(&one, &["tcp 22 10.0.0.0/8"]).await?;
    here.describe_security_groups().group_ids(&id).send().await?;
    let unknown = refused(400, "InvalidGroup.NotFound");
    assert_eq!(refusal(elsewhere.describe_security_groups().group_ids(&id).send().await)?, unknown);
    let url = one.world.emulator.url();
    let in_region = aws_client::ec2(&url, &one.account, "eu-west-3");
    assert_eq!(refusal(in_region.describe_security_groups().group_ids(&id).send().await)?, unknown);
    let regions: Vec<_> = one.aws.ledger().await?.into_iter().filter_map(|call| call.region).collect();
    assert_eq!(regions, [REGION, "eu-west-3"]);
    assert_eq!(other.aws.ledger().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn writes_at_the_same_time_happen_one_after_the_other() -> Result<()> {
    let (scenario, ec2) = corner("serialised").await?;
    let id = group(&scenario, &[]).await?;
    let add =
        |port| ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(tcp(port, "10.0.0.0/8")).send();
    try_join_all((1..=40).map(add)).await?;
    let calls = scenario.aws.calls(0, "Authorize*").await?;
    assert_eq!(calls.len(), 40);
    let mut state = GroupRules::default();
    for call in calls {
        let change = call.groups.into_iter().next().context("the write names no group")?;
        assert_eq!(change.before, Some(state), "call {} saw what the call before it left", call.seq);
        state = change.after.unwrap_or_default();
    }
    assert_eq!(state.ingress.len(), 40);
    Ok(())
}

#[tokio::test]
async fn what_nobody_implements_says_so() -> Result<()> {
    let (scenario, ec2) = corner("lacking").await?;
    let references = ec2.describe_security_group_references().group_id("sg-0123456789abcdef0").send().await;
    assert_eq!(refusal(references)?, refused(501, "NotImplemented"));
    let stale = ec2.describe_stale_security_groups().vpc_id("vpc-0123456789abcdef0").send().await;
    assert_eq!(refusal(stale)?, refused(501, "NotImplemented"));
    assert!(scenario.aws.ledger().await?.iter().all(|call| !call.effect && call.status == Some(501)));
    Ok(())
}

#[tokio::test]
async fn a_role_lets_in_who_knows_its_external_id() -> Result<()> {
    let (scenario, _) = corner("roles").await?;
    let (url, caller) = (scenario.world.emulator.url(), "999999999999");
    let sts = aws_client::sts(&url, caller, REGION);
    let role = |name: &str| format!("arn:aws:iam::{}:role/{name}", scenario.account);
    let assume = |name: &str| sts.assume_role().role_arn(role(name)).role_session_name("rig");
    let (denied_roles, external_id) = (vec!["closed".to_owned()], Some("secret".to_owned()));
    scenario.aws.configure(&Settings { external_id, denied_roles, ..Settings::default() }).await?;
    for refused in [assume("closed").external_id("secret"), assume("open").external_id("wrong"), assume("open")] {
        let error = refused.send().await.unwrap_err();
        assert_eq!(error.code(), Some("AccessDenied"));
    }
    let assumed = assume("open").external_id("secret").send().await?;
    let given = assumed.credentials.context("no credentials")?;
    let given =
        Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "assumed");
    let ec2 = aws_client::ec2_as(&url, given, REGION);
    ec2.describe_security_groups().send().await?;
    let calls: Vec<Call> = scenario.aws.ledger().await?;
    let principals: Vec<_> = calls.iter().filter_map(|call| call.principal.clone()).collect();
    assert_eq!(principals, [role("open")]);
    let unknown = Credentials::new("AKIAIOSFODNN7EXAMPLE", "any", None, None, "nobody's");
    let unknown = aws_client::ec2_as(&url, unknown, REGION).describe_security_groups().send().await;
    assert_eq!(refusal(unknown)?, refused(401, "AuthFailure"));
    Ok(())
}
