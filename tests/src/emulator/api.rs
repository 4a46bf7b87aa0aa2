//! A client of the emulator's control API.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, Method};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fault, FaultCount, Fleet, FleetSeed, FunctionFleet, FunctionFleetSeed, Rule, Seed, Seeded};

/// Seeding ten thousand groups takes a while; anything else is quick.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The control API of one emulator.
#[derive(Debug, Clone)]
pub struct EmulatorApi {
    http: Client,
    url: String,
}

/// The control API as far as one account is concerned.
#[derive(Debug, Clone)]
pub struct AccountApi {
    api: EmulatorApi,
    account: String,
}

/// One call that the emulator was sent, in the order of the effects.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Grows with each call, over all accounts.
    pub seq: u64,
    /// Seconds since 1970.
    pub time: f64,
    /// The account of the caller's credentials.
    pub account: Option<String>,
    /// The region that was asked.
    pub region: Option<String>,
    /// The ARN of the role that was assumed, `root`, `web-identity`, or `foreign` for a write that a fault made.
    pub principal: Option<String>,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// `ec2`, `lambda`, `tagging`, `sts` or `cloudtrail`.
    pub service: Option<String>,
    /// Such as `DescribeSecurityGroups`.
    pub operation: Option<String>,
    /// The parameters of the request.
    #[serde(default)]
    pub parameters: Value,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The AWS error code of the answer, if it was an error.
    pub error_code: Option<String>,
    /// The kinds of the faults that hit the call.
    pub fault: Option<String>,
    /// Whether the call changed anything, whatever it answered.
    pub effect: bool,
    /// AWS's name of the call.
    pub request_id: Option<String>,
    /// The security groups that the call touched.
    #[serde(default)]
    pub groups: Vec<GroupChange>,
    /// The functions that the call touched.
    #[serde(default)]
    pub functions: Vec<FunctionChange>,
    /// The versions of layers that the call touched.
    #[serde(default)]
    pub layers: Vec<LayerChange>,
}

/// What a call did to one function.
#[derive(Debug, Clone, Deserialize)]
pub struct FunctionChange {
    /// The function.
    pub name: String,
    /// All of it before the call, in the emulator's own JSON; null if the call made it.
    #[serde(default)]
    pub before: Value,
    /// All of it after the call; null if the call deleted it.
    #[serde(default)]
    pub after: Value,
}

/// What a call did to one version of a layer.
#[derive(Debug, Clone, Deserialize)]
pub struct LayerChange {
    /// The layer.
    pub name: String,
    /// Which of its versions.
    pub version: u64,
    /// All of it before the call, in the emulator's own JSON; null if the call made it.
    #[serde(default)]
    pub before: Value,
    /// All of it after the call; null if the call deleted it.
    #[serde(default)]
    pub after: Value,
}

/// What a call did to one security group.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupChange {
    /// The group.
    pub group_id: String,
    /// Its rules before the call; none if the call made it.
    pub before: Option<GroupRules>,
    /// Its rules after the call; none if the call deleted it.
    pub after: Option<GroupRules>,
}

/// All rules of a security group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct GroupRules {
    /// What may come in.
    pub ingress: Vec<Rule>,
    /// What may go out.
    pub egress: Vec<Rule>,
}

/// A security group as it is in the emulated AWS.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The group's id.
    pub group_id: String,
    /// The group's name.
    pub name: String,
    /// The VPC that it belongs to.
    pub vpc_id: Option<String>,
    /// The account that owns it.
    pub owner_id: String,
    /// Whether it is its VPC's default group.
    #[serde(default)]
    pub default: bool,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Its rules.
    #[serde(flatten)]
    pub rules: GroupRules,
}

/// How AWS behaves in one account. What is left out has its default.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The external id that every role's trust policy asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The roles that nobody may assume.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied_roles: Vec<String>,
    /// The prefix lists whose entries may not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied_prefix_lists: Vec<String>,
    /// Whether a write of several rules happens wholly or not at all (the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atomic_batches: Option<bool>,
    /// The quota of rules, 60 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_per_security_group: Option<u32>,
    /// Request rates: `"aws"` (the default), `"off"`, or a factor on AWS's rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Value>,
    /// Anything else, in the emulator's own JSON: how updates of functions end, what keys and roles cannot be used, ….
    #[serde(flatten)]
    pub others: serde_json::Map<String, Value>,
}

impl EmulatorApi {
    pub(crate) fn new(url: String) -> Self {
        Self { http: Client::new(), url }
    }

    /// The part that concerns one account. Accounts need no set-up.
    #[must_use]
    pub fn account(&self, id: &str) -> AccountApi {
        AccountApi { api: self.clone(), account: id.to_owned() }
    }

    /// The calls of all accounts after a `seq`. A role is assumed in the name of the account that asks for it.
    pub async fn calls(&self, after: u64) -> Result<Vec<Call>> {
        self.ledger(&[("after", after.to_string().as_str())]).await
    }

    /// Succeeds while the emulator serves.
    pub async fn health(&self) -> Result<()> {
        let _: Value = self.send(Method::GET, "health", &[], None).await?;
        Ok(())
    }

    async fn ledger(&self, query: &[(&str, &str)]) -> Result<Vec<Call>> {
        #[derive(Deserialize)]
        struct Answer {
            calls: Vec<Call>,
        }
        let answer: Answer = self.send(Method::GET, "ledger", query, None).await?;
        Ok(answer.calls)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<T> {
        let what = format!("{method} {}/_emulator/{path} {query:?}", self.url);
        let url = format!("{}/_emulator/{path}", self.url);
        let mut request = self.http.request(method, url).query(query).timeout(TIMEOUT);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.with_context(|| format!("the emulator does not answer {what}"))?;
        let status = response.status();
        let body = response.text().await?;
        if !status.is_success() {
            bail!("the emulator refuses {what}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("the answer to {what} is not understood: {body:.500}"))
    }
}

impl AccountApi {
    /// The account's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.account
    }

    /// Makes what `seed` describes, without calls in the ledger.
    pub async fn seed(&self, seed: &Seed) -> Result<Seeded> {
        let body = seed.body(&self.account)?;
        self.api.send(Method::POST, "seed", &[], Some(body)).await
    }

    /// Makes thousands of security groups, the same ones each time, without calls in the ledger.
    pub async fn fleet(&self, fleet: &FleetSeed) -> Result<Fleet> {
        self.make(fleet).await
    }

    /// Makes thousands of functions, the same ones each time, without calls in the ledger.
    pub async fn function_fleet(&self, fleet: &FunctionFleetSeed) -> Result<FunctionFleet> {
        self.make(fleet).await
    }

    async fn make<T: DeserializeOwned>(&self, fleet: &impl Serialize) -> Result<T> {
        let mut body = serde_json::to_value(fleet)?;
        if let Some(body) = body.as_object_mut() {
            body.insert("account".to_owned(), self.account.clone().into());
        }
        self.api.send(Method::POST, "fleet", &[], Some(body)).await
    }

    /// The security groups in a region.
    pub async fn groups(&self, region: &str) -> Result<Vec<Group>> {
        #[derive(Deserialize)]
        struct Answer {
            groups: Vec<Group>,
        }
        let query = [("account", self.account.as_str()), ("region", region)];
        let answer: Answer = self.api.send(Method::GET, "groups", &query, None).await?;
        Ok(answer.groups)
    }

    /// One security group.
    pub async fn group(&self, region: &str, id: &str) -> Result<Group> {
        let groups = self.groups(region).await?;
        groups
            .into_iter()
            .find(|group| group.group_id == id)
            .with_context(|| format!("account {} has no security group {id} in {region}", self.account))
    }

    /// The functions in a region, each with all that belongs to it, in the emulator's own JSON.
    pub async fn functions(&self, region: &str) -> Result<Vec<Value>> {
        #[derive(Deserialize)]
        struct Answer {
            functions: Vec<Value>,
        }
        let query = [("account", self.account.as_str()), ("region", region)];
        let answer: Answer = self.api.send(Method::GET, "functions", &query, None).await?;
        Ok(answer.functions)
    }

    /// All versions of the layers in a region, each with its policy, in the emulator's own JSON.
    pub async fn layers(&self, region: &str) -> Result<Vec<Value>> {
        #[derive(Deserialize)]
        struct Answer {
            layers: Vec<Value>,
        }
        let query = [("account", self.account.as_str()), ("region", region)];
        let answer: Answer = self.api.send(Method::GET, "layers", &query, None).await?;
        Ok(answer.layers)
    }

    /// One function.
    pub async fn function(&self, region: &str, name: &str) -> Result<Value> {
        let found = self.functions(region).await?.into_iter().find(|function| function["name"] == name);
        found.with_context(|| format!("account {} has no function {name} in {region}", self.account))
    }

    /// All calls of the account.
    pub async fn ledger(&self) -> Result<Vec<Call>> {
        self.calls(0, "*").await
    }

    /// The calls after a `seq` whose operation matches a glob such as `Describe*`.
    pub async fn calls(&self, after: u64, operation: &str) -> Result<Vec<Call>> {
        let after = after.to_string();
        let query = [("account", self.account.as_str()), ("after", after.as_str()), ("operation", operation)];
        self.api.ledger(&query).await
    }

    /// Forgets the calls so far.
    pub async fn clear_ledger(&self) -> Result<()> {
        self.settle(Method::DELETE, "ledger", None).await
    }

    /// Replaces the account's faults.
    pub async fn set_faults(&self, faults: &[Fault]) -> Result<()> {
        let faults = serde_json::to_value(faults)?;
        self.settle(Method::PUT, "faults", Some(faults)).await
    }

    /// How often each fault has matched and hit so far.
    pub async fn faults(&self) -> Result<Vec<FaultCount>> {
        #[derive(Deserialize)]
        struct Answer {
            faults: Vec<FaultCount>,
        }
        let query = [("account", self.account.as_str())];
        let answer: Answer = self.api.send(Method::GET, "faults", &query, None).await?;
        Ok(answer.faults)
    }

    /// Lets AWS work again.
    pub async fn clear_faults(&self) -> Result<()> {
        self.settle(Method::DELETE, "faults", None).await
    }

    /// Replaces the account's settings and refills its request rates.
    pub async fn configure(&self, settings: &Settings) -> Result<()> {
        let settings = serde_json::to_value(settings)?;
        self.settle(Method::PUT, "settings", Some(settings)).await
    }

    async fn settle(&self, method: Method, path: &str, body: Option<Value>) -> Result<()> {
        let query = [("account", self.account.as_str())];
        let _: Value = self.api.send(method, path, &query, body).await?;
        Ok(())
    }
}

impl GroupChange {
    /// The rules before the call; a group that was not there has none.
    #[must_use]
    pub fn rules_before(&self) -> GroupRules {
        self.before.clone().unwrap_or_default()
    }

    /// The rules after the call; a group that is gone has none.
    #[must_use]
    pub fn rules_after(&self) -> GroupRules {
        self.after.clone().unwrap_or_default()
    }
}

impl Call {
    /// Whether the call changed a security group, and was not made by a fault in another's name.
    #[must_use]
    pub fn wrote_groups(&self) -> bool {
        self.effect && !self.groups.is_empty() && self.principal.as_deref() != Some("foreign")
    }

    /// Whether somebody made the call who has assumed a role: the program under test does, a hand and a fault do not.
    #[must_use]
    pub fn is_by_a_role(&self) -> bool {
        self.principal.as_deref().is_some_and(|principal| principal.contains(":role/"))
    }

    /// The operation, or nothing for a request that was not understood.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.operation.as_deref().unwrap_or_default()
    }
}
