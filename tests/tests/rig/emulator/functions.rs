//! Lambda as the AWS SDK meets it: what moto lacks and the layer in front of it has.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::types::{Environment, FunctionUrlAuthType, LastUpdateStatus, State, TracingConfig, TracingMode};
use futures::future::join_all;
use serde_json::{Value, json};
use tests::emulator::{Seed, Settings};
use tests::{Scenario, World, aws_client, wait_until};

use super::{REGION, refusal, refused};

/// An account of the test's own with these functions, and the SDK as its root.
async fn corner(name: &str, functions: Value) -> Result<(Scenario<'static>, Client)> {
    let scenario = World::shared().await?.scenario(name).await?;
    scenario.aws.seed(&Seed::in_region(REGION).with("functions", functions)).await?;
    let lambda = aws_client::lambda(&scenario.world.emulator.url(), &scenario.account, REGION);
    Ok((scenario, lambda))
}

/// A setting of the emulator.
async fn set(scenario: &Scenario<'_>, name: &str, value: Value) -> Result<()> {
    let others = [(name.to_owned(), value)].into_iter().collect();
    scenario.aws.configure(&Settings { others, ..Settings::default() }).await
}

async fn revision(lambda: &Client) -> Result<String> {
    let found = lambda.get_function_configuration().function_name("shop").send().await?;
    found.revision_id.context("no RevisionId")
}

#[tokio::test]
async fn lists_have_fifty_items_at_most_and_hold_everything_once() -> Result<()> {
    let names = || (0..120).map(|number| format!("f{number:03}"));
    let functions: Vec<Value> = names().map(|name| json!({"name": name, "tags": {"team": "a"}})).collect();
    let (scenario, lambda) = corner("function-pages", json!(functions)).await?;
    set(&scenario, "rates", json!("off")).await?;
    let (mut sizes, mut found, mut marker) = (Vec::new(), BTreeSet::new(), None::<String>);
    loop {
        let page = lambda.list_functions().max_items(1_000).set_marker(marker).send().await?;
        sizes.push(page.functions().len());
        found.extend(page.functions().iter().filter_map(|function| function.function_name.clone()));
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!((sizes, found), (vec![50, 50, 20], names().collect()));
    let stolen = lambda.list_functions().max_items(10).send().await?.next_marker;
    let elsewhere = lambda.list_layers().set_marker(stolen).send().await;
    assert_eq!(refusal(elsewhere)?, refused(400, "InvalidParameterValueException"));
    Ok(())
}

#[tokio::test]
async fn a_write_with_an_old_revision_changes_nothing() -> Result<()> {
    let (_scenario, lambda) = corner("revisions", json!([{"name": "shop", "tracing": "PassThrough"}])).await?;
    let old = revision(&lambda).await?;
    let write = |revision: &str| {
        let tracing = TracingConfig::builder().mode(TracingMode::Active).build();
        lambda.update_function_configuration().function_name("shop").tracing_config(tracing).revision_id(revision)
    };
    write(&old).send().await?;
    ensure!(revision(&lambda).await? != old, "the revision has not moved");
    assert_eq!(refusal(write(&old).send().await)?, refused(412, "PreconditionFailedException"));
    write(&revision(&lambda).await?).send().await?;
    Ok(())
}

#[tokio::test]
async fn an_update_keeps_what_it_does_not_name_and_replaces_variables_as_a_whole() -> Result<()> {
    let shop = json!({
        "name": "shop", "tracing": "Active", "environment": {"A": "1", "B": "2"}, "ephemeralStorage": 1024,
        "logging": {"LogFormat": "JSON"}, "deadLetter": "arn:aws:sqs:eu-central-1:111122223333:failed",
    });
    let (_scenario, lambda) = corner("whole", json!([shop])).await?;
    let variables = HashMap::from([("A".to_owned(), "3".to_owned())]);
    let environment = Environment::builder().set_variables(Some(variables)).build();
    lambda.update_function_configuration().function_name("shop").environment(environment).send().await?;
    let found = lambda.get_function_configuration().function_name("shop").send().await?;
    let variables = found.environment.and_then(|environment| environment.variables).unwrap_or_default();
    assert_eq!(variables, HashMap::from([("A".to_owned(), "3".to_owned())]));
    assert_eq!(found.tracing_config.and_then(|tracing| tracing.mode), Some(TracingMode::Active));
    assert_eq!(found.ephemeral_storage.map(|storage| storage.size), Some(1024));
    assert!(found.dead_letter_config.and_then(|config| config.target_arn).is_some());
    let empty = Environment::builder().set_variables(Some(HashMap::new())).build();
    lambda.update_function_configuration().function_name("shop").environment(empty).send().await?;
    let found = lambda.get_function_configuration().function_name("shop").send().await?;
    assert_eq!(found.environment.and_then(|environment| environment.variables).unwrap_or_default(), HashMap::new());
    Ok(())
}

#[tokio::test]
async fn an_update_takes_its_time_refuses_another_one_and_says_how_it_ended() -> Result<()> {
    let (scenario, lambda) = corner("progress", json!([{"name": "shop"}])).await?;
    set(&scenario, "functionUpdateSeconds", json!(4.0)).await?;
    let write = |seconds| lambda.update_function_configuration().function_name("shop").timeout(seconds).send();
    let begun = write(7).await?;
    assert_eq!(begun.last_update_status, Some(LastUpdateStatus::InProgress));
    assert_eq!(refusal(write(8).await)?, refused(409, "ResourceConflictException"));
    let ended = wait_until("the update ends", scenario.patience, async || {
        let found = lambda.get_function_configuration().function_name("shop").send().await?;
        ensure!(found.last_update_status != Some(LastUpdateStatus::InProgress), "it goes on");
        Ok(found)
    })
    .await?;
    assert_eq!((ended.last_update_status, ended.timeout), (Some(LastUpdateStatus::Successful), Some(7)));
    ensure!(ended.revision_id != begun.revision_id, "its end does not move the revision");
    let listed = lambda.list_functions().send().await?;
    assert_eq!(
        listed.functions().first().and_then(|function| function.state.clone()),
        None::<State>,
        "lists tell none"
    );
    Ok(())
}

#[tokio::test]
async fn statement_ids_are_taken_once_and_policies_have_revisions_of_their_own() -> Result<()> {
    let (_scenario, lambda) = corner("statements", json!([{"name": "shop"}])).await?;
    let missing = lambda.get_policy().function_name("shop").send().await;
    assert_eq!(refusal(missing)?, refused(404, "ResourceNotFoundException"));
    let function = revision(&lambda).await?;
    let add = |sid: &str, account: &str| {
        let request = lambda.add_permission().function_name("shop").statement_id(sid).principal(account);
        request.action("lambda:InvokeFunction")
    };
    add("a", "444455556666").send().await?;
    assert_eq!(refusal(add("a", "777788889999").send().await)?, refused(409, "ResourceConflictException"));
    assert_eq!(revision(&lambda).await?, function, "a policy is no part of the configuration");
    let policy = lambda.get_policy().function_name("shop").send().await?.revision_id.context("no RevisionId")?;
    add("b", "777788889999").revision_id(&policy).send().await?;
    let late = lambda.remove_permission().function_name("shop").statement_id("a").revision_id(&policy).send().await;
    assert_eq!(refusal(late)?, refused(412, "PreconditionFailedException"));
    let gone = lambda.remove_permission().function_name("shop").statement_id("c").send().await;
    assert_eq!(refusal(gone)?, refused(404, "ResourceNotFoundException"));
    Ok(())
}

#[tokio::test]
async fn the_urls_of_a_function_and_of_its_aliases_are_listed() -> Result<()> {
    let shop = json!({
        "name": "shop", "versions": [{}], "aliases": [{"name": "live", "version": "1"}],
        "urls": [{"authType": "NONE"}, {"qualifier": "live", "authType": "AWS_IAM"}],
    });
    let (_scenario, lambda) = corner("urls", json!([shop])).await?;
    let listed = lambda.list_function_url_configs().function_name("shop").send().await?;
    let auths: Vec<_> = listed.function_url_configs().iter().map(|url| url.auth_type.clone()).collect();
    assert_eq!(auths.len(), 2);
    ensure!(auths.contains(&FunctionUrlAuthType::None) && auths.contains(&FunctionUrlAuthType::AwsIam), "{auths:?}");
    let arns: Vec<&str> = listed.function_url_configs().iter().map(|url| url.function_arn.as_str()).collect();
    ensure!(arns.iter().any(|arn| arn.ends_with(":function:shop:live")), "{arns:?}");
    Ok(())
}

#[tokio::test]
async fn a_hundred_concurrent_runs_stay_unreserved() -> Result<()> {
    let (_scenario, lambda) = corner("pool", json!([{"name": "shop"}])).await?;
    let reserve =
        |count| lambda.put_function_concurrency().function_name("shop").reserved_concurrent_executions(count).send();
    assert_eq!(refusal(reserve(901).await)?, refused(400, "InvalidParameterValueException"));
    reserve(900).await?;
    let settings = lambda.get_account_settings().send().await?;
    let limit = settings.account_limit.context("no limit")?;
    assert_eq!((limit.concurrent_executions, limit.unreserved_concurrent_executions), (1000, Some(100)));
    Ok(())
}

#[tokio::test]
async fn nearly_all_operations_share_fifteen_calls_a_second_and_policies_have_as_many() -> Result<()> {
    let (scenario, lambda) = corner("function-rates", json!([{"name": "shop"}])).await?;
    // A second's worth in a bucket, which then fills too slowly to matter.
    scenario.aws.configure(&Settings { rates: Some(json!(0.2)), ..Settings::default() }).await?;
    let burst = async |urls: bool| {
        let call = async |_| match urls {
            true => lambda.list_function_url_configs().function_name("shop").send().await.map(|_| ()).is_ok(),
            false => {
                let outcome = lambda.get_policy().function_name("shop").send().await;
                refusal(outcome).is_ok_and(|refusal| refusal != refused(429, "TooManyRequestsException"))
            }
        };
        join_all((0..40).map(call)).await.into_iter().filter(|passed| *passed).count()
    };
    // What comes back into the bucket while the burst lasts is let through as well.
    let (urls, policies) = (burst(true).await, burst(false).await);
    ensure!((3..40).contains(&urls) && (3..40).contains(&policies), "{urls} and {policies} of 40 passed");
    Ok(())
}

#[tokio::test]
async fn a_distribution_names_the_versions_that_it_calls() -> Result<()> {
    let scenario = World::shared().await?.scenario("distributions").await?;
    let many: Vec<Value> = (0..101).map(|number| json!({"functions": [format!("f{number}:1")]})).collect();
    scenario.aws.seed(&Seed::in_region("us-east-1").with("distributions", json!(many))).await?;
    let cloudfront = aws_client::cloudfront(&scenario.world.emulator.url(), &scenario.account);
    let first = cloudfront.list_distributions().send().await?.distribution_list.context("no list")?;
    let rest = cloudfront.list_distributions().set_marker(first.next_marker.clone()).send().await?;
    let rest = rest.distribution_list.context("no list")?;
    assert_eq!((first.items().len(), rest.items().len(), rest.is_truncated), (100, 1, false));
    let called = rest.items().iter().filter_map(|one| one.default_cache_behavior()?.lambda_function_associations());
    let arns: Vec<&str> = called.flat_map(|called| called.items()).map(|one| one.lambda_function_arn()).collect();
    assert_eq!(arns, [format!("arn:aws:lambda:us-east-1:{}:function:f100:1", scenario.account)]);
    Ok(())
}
