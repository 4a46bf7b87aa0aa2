//! Reads baselines, accounts, exemptions and namespaces from a cluster, as the controller sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use anyhow::Context as _;
use crds::{AWSAccount, AnyBaseline, LambdaBaseline, SecurityGroupBaseline};
use engine::exempt::Exempting;
use engine::tenancy::Namespace;
use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::load::Documents;
use crate::kubernetes::within;

/// Reads everything that counts, oldest first: of several objects for one account id only the oldest.
///
/// # Errors
/// Objects of some kind cannot be listed.
pub async fn load(client: &Client) -> anyhow::Result<Documents> {
    let mut accounts: Vec<AWSAccount> = list(client, "AWSAccounts").await?;
    accounts.sort_by_key(|account| (account.creation_timestamp().map(|time| time.0), account.name_any()));
    let mut ids = BTreeSet::new();
    accounts.retain(|account| ids.insert(account.spec.account_id.clone()));
    let mut labels = labels(client).await?;
    let groups: Vec<SecurityGroupBaseline> = list(client, "SecurityGroupBaselines").await?;
    let functions: Vec<LambdaBaseline> = list(client, "LambdaBaselines").await?;
    let groups = groups.into_iter().map(Box::new).map(AnyBaseline::SecurityGroup);
    let mut baselines: Vec<AnyBaseline> =
        groups.chain(functions.into_iter().map(Box::new).map(AnyBaseline::Lambda)).collect();
    baselines.sort_by_key(|object| (object.meta().creation_timestamp.as_ref().map(|time| time.0), object.reference()));
    let namespaced = |baseline: AnyBaseline| {
        let name = baseline.meta().namespace.clone().unwrap_or_default();
        let labels = labels.entry(name.clone()).or_default().clone();
        (baseline, Namespace { name, labels })
    };
    Ok(Documents {
        accounts,
        baselines: baselines.into_iter().map(namespaced).collect(),
        exemptions: list(client, "BaselineExemptions").await?,
    })
}

/// The exemptions that are in order. Any other has no effect.
pub fn exempting(documents: &Documents) -> Vec<Exempting> {
    let now = Timestamp::now();
    documents.exemptions.iter().filter_map(|exemption| exemption.compile(now).accept().ok()).collect()
}

/// Every object of a kind that decodes.
async fn list<K>(client: &Client, what: &'static str) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let objects = within(api.list(&ListParams::default())).await;
    let objects =
        objects.with_context(|| format!("{what} cannot be listed: give the files with -f, or ask for the right"))?;
    let decoded = |object: DeserializeGuard<K>| {
        let (name, namespace) = (object.name_any(), object.namespace());
        let decoded = object.0.inspect_err(|error| {
            tracing::warn!(kind = what, name, namespace, %error, "Object that does not decode passed over");
        });
        decoded.ok()
    };
    Ok(objects.items.into_iter().filter_map(decoded).collect())
}

/// The labels of every namespace, by name.
async fn labels(client: &Client) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
    let api: Api<v1::Namespace> = Api::all(client.clone());
    let namespaces = within(api.list_metadata(&ListParams::default())).await;
    let namespaces = namespaces.context("namespaces cannot be listed: give the files with -f, or ask for the right")?;
    Ok(namespaces.items.into_iter().map(|object| (object.name_any(), object.labels().clone())).collect())
}
