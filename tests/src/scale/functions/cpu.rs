//! The engine alone, on functions of which everything is known.
//!
//! To read it all function by function takes most of an hour at AWS's rates. The lists are read as the controller reads
//! them; the rest is taken from the emulator's own record of the same functions.

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use anyhow::{Context as _, Result, ensure};
use crds::LambdaBaseline;
use engine::desired::Desired;
use engine::facts::{
    FunctionUrl, Gathered, Inventory, Lambda, Pace, QualifiedPolicy, RuntimeManagement, Source, UpdateOn,
};
use engine::kind::Kind;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::objects::ALL_CONTROLS;
use crate::emulator::EmulatorApi;
use crate::scale::Seconds;
use crate::scale::cpu::{Steps, desired, location, observe};
use crate::scale::fleet::{ACCOUNT, REGION, account, parsed};

/// The subcommand of the rig that runs [`print`].
pub const SUBCOMMAND: &str = "scale-cpu-functions";

/// Reads the account that the environment leads to and prints the CPU time of each step as JSON.
///
/// # Errors
/// The account cannot be read whole, something is not known after all, or there is nothing to plan.
pub async fn print() -> Result<()> {
    let account = account()?;
    let desired: [Desired; 1] = [desired(&parsed::<LambdaBaseline>(ALL_CONTROLS)?, &account, &location())?];
    let sources: BTreeSet<&'static str> =
        desired.iter().flat_map(|one| &one.controls).flat_map(|active| active.about.sources).copied().collect();
    let (mut inventory, observe) = observe(Kind::Lambda, &sources).await;
    ensure!(inventory.lambda.functions.facts().is_ok(), "the functions cannot be read");
    let emulator = EmulatorApi::new(env::var("AWS_ENDPOINT_URL").context("AWS_ENDPOINT_URL is not set")?);
    gather(&mut inventory, &emulator.account(ACCOUNT).functions(REGION).await?)?;
    let steps = Steps::median(Kind::Lambda, &desired, &inventory, &account);
    ensure!(steps.unknown == 0, "{} verdicts are unknown", steps.unknown);
    ensure!(steps.edits > 0, "nothing was planned");
    let step = |name: &str, seconds: f64| (name.to_owned(), seconds);
    let seconds = Seconds::from([
        step("observe_lists", observe),
        step("evaluate", steps.evaluate),
        step("plan", steps.plan),
        step("evaluate_and_plan", steps.evaluate + steps.plan),
        step("rails_and_report", steps.rest),
    ]);
    println!("{}", serde_json::to_string(&seconds)?);
    Ok(())
}

/// Adds what is read function by function.
fn gather(inventory: &mut Inventory, functions: &[Value]) -> Result<()> {
    let lambda = &mut inventory.lambda;
    let Lambda {
        functions: _,
        revisions: _,
        distributions: _,
        layers: _,
        layer_policies: _,
        account: _,
        code_signing_configs: _,
        aliases,
        policies,
        urls,
        concurrency,
        code_signing,
        recursion,
        runtime_management,
        event_invoke,
        versions,
    } = lambda;
    let automatic = RuntimeManagement { update_on: UpdateOn::Auto, version_arn: None };
    *aliases = gathered(functions, |_| Ok(Vec::new()))?;
    *policies = gathered(functions, policies_of)?;
    *urls = gathered(functions, urls_of)?;
    *concurrency = gathered(functions, |function| read(function, "reservedConcurrency"))?;
    *code_signing = gathered(functions, |function| read(function, "codeSigningConfig"))?;
    *recursion = gathered(functions, |function| read(function, "recursion"))?;
    *runtime_management = gathered(functions, |_| Ok(automatic.clone()))?;
    *event_invoke = gathered(functions, |_| Ok(false))?;
    *versions = gathered(functions, |_| Ok(Vec::new()))?;
    Ok(())
}

fn gathered<T: Clone>(functions: &[Value], fact: impl Fn(&Value) -> Result<T>) -> Result<Gathered<T>> {
    let now = Timestamp::now();
    let reading = |function: &Value| {
        let name: String = read(function, "name")?;
        Ok((name, Source::complete(fact(function)?, now)))
    };
    let readings: BTreeMap<String, Source<T>> = functions.iter().map(reading).collect::<Result<_>>()?;
    Ok(Gathered::new(readings, Pace::of(SignedDuration::from_hours(1), SignedDuration::ZERO)))
}

fn policies_of(function: &Value) -> Result<Vec<QualifiedPolicy>> {
    let policies: Map<String, Value> = read(function, "policies")?;
    let policy = |(qualifier, policy): (String, Value)| {
        let statements: Value = read(&policy, "statements")?;
        let document = json!({"Version": "2012-10-17", "Id": "default", "Statement": statements});
        Ok(QualifiedPolicy { qualifier, document: document.to_string().into() })
    };
    policies.into_iter().map(policy).collect()
}

fn urls_of(function: &Value) -> Result<Vec<FunctionUrl>> {
    let urls: Map<String, Value> = read(function, "urls")?;
    let url =
        |(qualifier, url): (String, Value)| Ok(FunctionUrl { qualifier, auth: read(&url, "AuthType")?, cors: None });
    urls.into_iter().map(url).collect()
}

fn read<T: DeserializeOwned>(value: &Value, key: &str) -> Result<T> {
    let found = value.get(key).cloned().unwrap_or_default();
    serde_json::from_value(found).with_context(|| format!("the record of a function has another {key}"))
}

#[cfg(test)]
mod tests {
    use engine::facts::{Recursion, UrlAuth};

    use super::*;

    #[test]
    fn everything_is_known_of_a_function() -> Result<()> {
        let mut inventory = Inventory::unread(location());
        let record = json!({
            "name": "a", "recursion": "Terminate", "reservedConcurrency": 7, "codeSigningConfig": null,
            "policies": {"": {"revisionId": "1", "statements": [{"Sid": "events"}]}},
            "urls": {"live": {"AuthType": "NONE"}},
        });
        gather(&mut inventory, &[record])?;
        let (lambda, now) = (&inventory.lambda, Timestamp::now());
        let of = |failure| anyhow::anyhow!("{failure:?}");
        assert_eq!(lambda.recursion.of("a", now).map_err(of)?, &Recursion::Terminate);
        assert_eq!(lambda.concurrency.of("a", now).map_err(of)?, &Some(7));
        assert_eq!(lambda.urls.of("a", now).map_err(of)?[0].auth, UrlAuth::None);
        assert!(lambda.policies.of("a", now).map_err(of)?[0].document.contains("\"Sid\":\"events\""));
        assert!(lambda.policies.of("b", now).is_err());
        Ok(())
    }
}
