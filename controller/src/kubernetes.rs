//! The client of the Kubernetes API, and a limit to how long a call may take.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};

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

/// Who the controller is to the API server, if that tells.
pub async fn user(client: &Client) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    match within(api.create(&PostParams::default(), &SelfSubjectReview::default())).await {
        Ok(review) => review.status?.user_info?.username,
        Err(error) => {
            tracing::warn!(%error, "The API server does not tell who the controller is: no approval is honoured");
            None
        }
    }
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
