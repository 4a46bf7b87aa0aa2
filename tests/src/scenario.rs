//! The corner of a world that belongs to one test.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::core::{DynamicObject, ObjectMeta};
use kube::discovery::{self, ApiCapabilities, ApiResource, Scope};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::callers::Callers;
use crate::emulator::AccountApi;
use crate::flows::FlowSet;
use crate::judge::Terms;
use crate::kubectl::{Kubectl, Output};
use crate::world::World;

/// The API group of the baselines.
const GROUP: &str = "baseward.dev";

/// All kinds of baselines, as kubectl names them.
const BASELINES: &str = "securitygroupbaselines,lambdabaselines";

/// How long a test waits, by default, for what should happen within a few sweeps.
const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace and an AWS account of one test's own, and who acts in them.
///
/// When it is dropped, every write that the program made in the account is judged: a test whose writes opened
/// a flow or cut a legitimate one, or let a caller into a function or shut a legitimate one out, fails by a panic,
/// whatever else it asserts.
pub struct Scenario<'w> {
    /// What is around it.
    pub world: &'w World,
    /// The namespace. Its name is unique in the world, so it can also name the cluster-scoped objects of the test.
    pub namespace: String,
    /// The id of the AWS account, twelve digits.
    pub account: String,
    /// A client that may do everything.
    pub client: Client,
    /// kubectl in the namespace.
    pub kubectl: Kubectl,
    /// The AWS account, seen from above: what is in it, who called, what fails.
    pub aws: AccountApi,
    /// How long the waits last.
    pub patience: Duration,
    terms: Terms,
}

impl<'w> Scenario<'w> {
    pub(crate) async fn start(world: &'w World, name: &str, number: u32) -> Result<Self> {
        let client = world.control_plane.client().await?;
        let namespace = format!("{name}-{number}");
        let account = format!("{:012}", 100_000_000_000 + u64::from(number));
        let object = Namespace {
            metadata: ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("cannot create namespace {namespace}"))?;
        Ok(Self {
            world,
            kubectl: world.control_plane.kubectl().in_namespace(&namespace),
            aws: world.emulator.api().account(&account),
            namespace,
            account,
            client,
            patience: PATIENCE,
            terms: Terms::default(),
        })
    }

    /// `kubectl apply` in the namespace, with `$NAMESPACE` and `$ACCOUNT` replaced by this scenario's.
    ///
    /// If the API server refuses, the error holds its message.
    pub async fn apply(&self, yaml: &str) -> Result<Output> {
        let yaml = self.fill_in(yaml);
        let output = self.kubectl.apply(&yaml).await?;
        self.terms.learn(&yaml)?;
        Ok(output)
    }

    /// Flows, as in [`FlowSet::parse`], that a write may open, since a baseline requires them.
    pub fn may_open<'a>(&self, flows: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.terms.may_open(&FlowSet::parse(flows)?);
        Ok(())
    }

    /// Flows that no write may cut, beside those that a rule with a peer of its own or an allowed port lets through.
    pub fn must_keep<'a>(&self, flows: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.terms.must_keep(&FlowSet::parse(flows)?);
        Ok(())
    }

    /// Flows that writes may cut although a rule with a peer of its own lets them through, since a baseline forbids them.
    pub fn may_cut<'a>(&self, flows: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.terms.may_cut(&FlowSet::parse(flows)?);
        Ok(())
    }

    /// Callers, as in [`Callers::parse`] with `$ACCOUNT` replaced, whom a write may let in, since a person ordered it.
    pub fn may_let_in<'a>(&self, callers: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.terms.may_let_in(&self.callers(callers)?);
        Ok(())
    }

    /// Callers whom no write may shut out once they are let in, beside those whom a statement names.
    pub fn must_let_in<'a>(&self, callers: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.terms.must_let_in(&self.callers(callers)?);
        Ok(())
    }

    /// Callers whom writes may shut out although a statement names them, since a baseline forbids them.
    pub fn may_shut_out<'a>(&self, callers: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.terms.may_shut_out(&self.callers(callers)?);
        Ok(())
    }

    fn callers<'a>(&self, callers: impl IntoIterator<Item = &'a str>) -> Result<Callers> {
        let callers: Vec<String> = callers.into_iter().map(|caller| self.fill_in(caller)).collect();
        Callers::parse(callers.iter().map(String::as_str))
    }

    /// Judges the writes so far: for a test in which AWS forgets them before its end.
    pub async fn judge(&self) -> Result<()> {
        self.terms.judge(&self.aws).await
    }

    /// `kubectl delete` of the same objects, without waiting for finalizers.
    pub async fn delete(&self, yaml: &str) -> Result<Output> {
        self.kubectl.delete(&self.fill_in(yaml)).await
    }

    fn fill_in(&self, yaml: &str) -> String {
        yaml.replace("$NAMESPACE", &self.namespace).replace("$ACCOUNT", &self.account)
    }

    /// The objects of a kind: `SecurityGroupBaseline` (in the baselines' group, else in the core group) or
    /// `Lease.coordination.k8s.io`. A namespaced kind is seen in this scenario's namespace.
    pub async fn api(&self, kind: &str) -> Result<Api<DynamicObject>> {
        let (resource, capabilities) = self.resolve(kind).await?;
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
        })
    }

    async fn resolve(&self, kind: &str) -> Result<(ApiResource, ApiCapabilities)> {
        let (name, groups) = match kind.split_once('.') {
            Some((name, group)) => (name, vec![group]),
            None => (kind, vec![GROUP, ""]),
        };
        for group in groups {
            // A group that is not served has no kinds; the message below says so.
            if let Ok(group) = discovery::group(&self.client, group).await
                && let Some(found) = group.recommended_kind(name)
            {
                return Ok(found);
            }
        }
        bail!("the API server serves no kind {kind}: is its CustomResourceDefinition applied?")
    }

    /// An object as it is now.
    pub async fn object(&self, kind: &str, name: &str) -> Result<DynamicObject> {
        let object = self.api(kind).await?.get(name).await;
        object.with_context(|| format!("cannot read {kind} {name} in {}", self.namespace))
    }

    /// The status of an object as it is now; null if it has none.
    pub async fn status(&self, kind: &str, name: &str) -> Result<Value> {
        let object = self.object(kind, name).await?;
        Ok(object.data.get("status").cloned().unwrap_or_default())
    }

    /// Waits until a condition of an object has a status (`True`, `False`, `Unknown`) for the object's present
    /// generation, and returns the object.
    pub async fn wait_for_condition(
        &self,
        kind: &str,
        name: &str,
        condition: &str,
        status: &str,
    ) -> Result<DynamicObject> {
        let what = format!("condition {condition} is {status}");
        self.wait_for(kind, name, &what, |object| has_condition(object, condition, status)).await
    }

    /// Watches an object until it is as it should be, and returns it. The error shows it as it was last.
    pub async fn wait_for(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        is_so: impl Fn(&DynamicObject) -> bool + Copy,
    ) -> Result<DynamicObject> {
        let api = self.api(kind).await?;
        let end = Instant::now() + self.patience;
        loop {
            let condition = |object: Option<&DynamicObject>| object.is_some_and(is_so);
            match timeout_at(end, await_condition(api.clone(), name, condition)).await {
                Ok(Ok(Some(object))) => return Ok(object),
                Ok(Ok(None)) => bail!("{kind} {name} is gone"),
                // The API server may be away for a while, also because the test wants it so.
                Ok(Err(_)) if Instant::now() < end => sleep(Duration::from_millis(100)).await,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => break,
            }
        }
        let seen = match api.get(name).await {
            Ok(object) => serde_json::to_string_pretty(&without_managed_fields(object))?,
            Err(error) => error.to_string(),
        };
        Err(anyhow!(seen).context(format!(
            "waited {} s in vain until {kind} {name} in {}: {what}; last seen",
            self.patience.as_secs_f32(),
            self.namespace
        )))
    }
}

impl Drop for Scenario<'_> {
    fn drop(&mut self) {
        let judged = self.terms.judge_at_the_end(self.world.emulator.api().account(&self.account));
        // The controller that other scenarios share has no more work with this one.
        self.kubectl.detach(&["delete", BASELINES, "--all", "--wait=false", "--ignore-not-found"]);
        let complaint = judged.err().map(|error| format!("in {}: {error:#}", self.namespace)).unwrap_or_default();
        if thread::panicking() {
            eprintln!("{complaint}");
        } else {
            assert!(complaint.is_empty(), "{complaint}");
        }
    }
}

fn has_condition(object: &DynamicObject, condition: &str, status: &str) -> bool {
    let conditions = object.data.pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    conditions.into_iter().any(|found| {
        let generation = found.get("observedGeneration").and_then(Value::as_i64);
        text(found, "type").as_deref() == Some(condition)
            && text(found, "status").as_deref() == Some(status)
            // A condition without a generation speaks for all of them.
            && (generation.is_none() || generation == object.metadata.generation)
    })
}

fn without_managed_fields(mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = None;
    object
}
