//! What is done to etcd itself, behind the back of the API server.

use anyhow::{Context as _, Result};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// The store of one control plane, by the HTTP gateway of etcd.
#[derive(Debug, Clone)]
pub struct Store {
    url: String,
}

impl Store {
    pub(super) fn new(url: String) -> Self {
        Self { url }
    }

    /// Puts a custom resource into the store as it is, past admission and schema. It needs a uid.
    pub async fn put(&self, plural: &str, object: &Value) -> Result<()> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").context("the object has no name")?;
        let namespace = text("/metadata/namespace").map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let key = ByteString(format!("/registry/baseward.dev/{plural}/{namespace}{name}").into_bytes());
        let value = ByteString(serde_json::to_vec(object)?);
        self.ask("kv/put", &json!({"key": key, "value": value})).await
    }

    /// Lets etcd refuse every write as it does when its space is used up, or take them again.
    pub async fn set_full(&self, full: bool) -> Result<()> {
        let action = if full { "ACTIVATE" } else { "DEACTIVATE" };
        self.ask("maintenance/alarm", &json!({"action": action, "memberID": "0", "alarm": "NOSPACE"})).await
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<()> {
        let answer = reqwest::Client::new().post(format!("{}/v3/{path}", self.url)).json(body).send().await?;
        answer.error_for_status().with_context(|| format!("etcd refuses {path}"))?;
        Ok(())
    }
}
