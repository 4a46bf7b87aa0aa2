//! The client of the Kubernetes API, and a limit to how long a call may take.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use crds::{ChangeSet, conditions};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::discovery::ApiResource;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, DynamicObject};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::journal::FIELD_MANAGER;

/// Time for one request to the Kubernetes API.
pub const KUBERNETES_TIMEOUT: Duration = Duration::from_secs(20);

/// A client of its own connections.
///
/// It has no time limit for an answer, which would end every watch: calls are made [`within`] one.
///
/// # Errors
/// There is neither a kubeconfig nor a service account, or what it says cannot be used.
pub async fn client() -> anyhow::Result<Client> {
    let mut config =
        kube::Config::infer().await.context("no cluster: neither a kubeconfig nor a service account was found")?;
    config.write_timeout = Some(KUBERNETES_TIMEOUT);
    config.connect_timeout = Some(Duration::from_secs(5));
    config.default_retry = false;
    Client::try_from(config).context("the client for the Kubernetes API cannot be built")
}

/// Who this process is to the API server, if that tells.
///
/// # Errors
/// The API server could not be asked, or does not let itself be asked.
pub async fn user(client: &Client) -> kube::Result<Option<String>> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = within(api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(review.status.and_then(|status| status.user_info?.username))
}

/// Sets the status of an object, whole: what only we write, nobody else holds, and conditions of others are left to them.
///
/// # Errors
/// The call's own.
pub async fn write_status<K>(
    client: &Client,
    namespace: Option<&str>,
    name: &str,
    status: &impl Serialize,
) -> kube::Result<()>
where
    K: Resource<DynamicType = ()>,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let status = own(serde_json::to_value(status).map_err(kube::Error::SerdeError)?);
    let body = json!({"apiVersion": resource.api_version, "kind": resource.kind, "status": status});
    api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(body)).await?;
    Ok(())
}

/// A status without the conditions of others: who applies them would take them over.
fn own(mut status: Value) -> Value {
    let is_own = |condition: &Value| {
        condition.get("type").and_then(Value::as_str).is_some_and(|kind| conditions::KINDS.contains(&kind))
    };
    if let Some(said) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        said.retain(is_own);
    }
    status
}

/// Looks at every change set, a page at a time: none of them is kept.
///
/// # Errors
/// A page could not be read.
pub async fn each_change_set(client: &Client, mut look: impl FnMut(&ChangeSet)) -> kube::Result<()> {
    const PAGE: u32 = 50;
    let (api, mut next) = (Api::<DeserializeGuard<ChangeSet>>::all(client.clone()), None);
    loop {
        let mut params = ListParams::default().limit(PAGE);
        params.continue_token = next;
        let page = within(api.list(&params)).await?;
        page.items.into_iter().filter_map(decoded).for_each(|set| look(&set));
        next = page.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(());
        }
    }
}

/// A change set, unless it is of a version that this one does not know: one of those must not hide all others.
pub fn decoded(set: DeserializeGuard<ChangeSet>) -> Option<ChangeSet> {
    let (name, namespace) = (set.name_any(), set.namespace());
    let passed_over = |invalid: &InvalidObject| {
        tracing::warn!(error = invalid.error, name, namespace, "Change set does not decode: passed over")
    };
    set.0.inspect_err(passed_over).ok()
}

/// Makes a call with a limit to how long it may take.
///
/// # Errors
/// The call's own, or that there was no answer in time: then it may have had an effect.
pub async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    no_longer_than(KUBERNETES_TIMEOUT, call).await
}

async fn no_longer_than<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = |_| kube::Error::Service(format!("no answer in {} s", limit.as_secs_f64()).into());
    tokio::time::timeout(limit, call).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_without_an_answer_ends() {
        let limit = Duration::from_millis(10);
        let error = no_longer_than(limit, std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert!(error.to_string().contains("no answer in 0.01 s"), "{error}");
        assert!(within(async { Ok(1) }).await.is_ok());
    }
}
