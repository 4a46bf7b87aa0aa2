//! The journal: a change set is in the Kubernetes API before the first AWS write, its outcome after the last.

use std::collections::BTreeMap;

use crds::{
    BaselineName, ChangeSet, ChangeSetSpec, ChangeSetStatus, EditOutcome, EditRecord, MAX_EDITS, Outcome, Phase,
};
use engine::edit::BaselineRef;
use engine::facts::Location;
use engine::plan::ResourceOutcome;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::act::Prepared;
use crate::authority::AuthorityNow;

/// The field manager of everything that the controller writes.
pub const FIELD_MANAGER: &str = "baseward";

const KIND: &str = "SecurityGroupBaseline";

/// Characters of the hash that end up in the name of a change set.
const HASH_IN_NAME: usize = 10;

/// Writes change sets.
#[derive(Clone)]
pub struct Journal {
    client: Client,
}

/// A change set that is in the API.
#[derive(Clone, Debug)]
pub struct Entry {
    namespace: String,
    name: String,
    resources: Vec<String>,
}

/// Why a change is not written down, and so not made.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The Kubernetes API could not be written.
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    /// A resource is not as it was when its undo data was taken.
    #[error("the undo data of {0} is incomplete")]
    Incomplete(String),
    /// The undo data of one resource does not fit into a change set.
    #[error("the edits of {0} do not fit into a change set")]
    TooLarge(String),
}

impl Journal {
    /// A journal in this cluster.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Writes down what is about to be changed.
    ///
    /// # Errors
    /// The first change set that could not be written: then nothing at all may be changed.
    pub async fn record(
        &self,
        location: &Location,
        prepared: &[Prepared],
        authority: &AuthorityNow,
    ) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        for set in change_sets(location, prepared, authority)? {
            let api: Api<ChangeSet> = Api::namespaced(self.client.clone(), &set.namespace().unwrap_or_default());
            let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            let created = api.create(&params, &set).await?;
            let mut resources: Vec<String> = set.spec.edits.iter().map(|edit| edit.resource.clone()).collect();
            resources.dedup();
            let entry =
                Entry { namespace: created.namespace().unwrap_or_default(), name: created.name_any(), resources };
            self.set_status(&entry, ChangeSetStatus { phase: Some(Phase::Applying), edits: Vec::new() }).await?;
            tracing::info!(
                change_set = entry.name,
                namespace = entry.namespace,
                edits = set.spec.edits.len(),
                "Change set recorded"
            );
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Writes down what came of it. A failure here loses no undo data: that is in the spec.
    pub async fn finish(&self, entries: Vec<Entry>, outcomes: &[ResourceOutcome]) {
        for entry in entries {
            let edits: Vec<EditOutcome> =
                outcomes.iter().filter(|resource| entry.resources.contains(&resource.id)).map(edit_outcome).collect();
            let phase = Phase::of(edits.iter().map(|edit| edit.outcome));
            if let Err(error) = self.set_status(&entry, ChangeSetStatus { phase: Some(phase), edits }).await {
                tracing::warn!(%error, change_set = entry.name, namespace = entry.namespace, "Outcome of a change set not recorded");
            }
        }
    }

    async fn set_status(&self, entry: &Entry, status: ChangeSetStatus) -> kube::Result<()> {
        let api: Api<ChangeSet> = Api::namespaced(self.client.clone(), &entry.namespace);
        let body = json!({"apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSet", "status": status});
        api.patch_status(&entry.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(body)).await?;
        Ok(())
    }
}

fn edit_outcome(resource: &ResourceOutcome) -> EditOutcome {
    let reason = match &resource.outcome {
        engine::plan::Outcome::Verified => None,
        engine::plan::Outcome::Withheld(reason) => Some(reason.reason().to_owned()),
        engine::plan::Outcome::Failed(failure) => Some(failure.reason().to_owned()),
    };
    EditOutcome {
        resource: resource.id.clone(),
        outcome: Outcome::from(&resource.outcome),
        reason,
        request_ids: resource.request_ids.clone(),
        finished_at: Time(resource.finished_at),
    }
}

/// Packs resources into as few change sets as fit, each in the namespace of the oldest baseline that demands it. A resource
/// is never split over two.
fn change_sets(
    location: &Location,
    prepared: &[Prepared],
    authority: &AuthorityNow,
) -> Result<Vec<ChangeSet>, JournalError> {
    let mut by_baseline: BTreeMap<BaselineRef, Vec<ChangeSetSpec>> = BTreeMap::new();
    for ready in prepared {
        let id = &ready.resource.group.id;
        let records: Result<Vec<EditRecord>, _> =
            ready.resource.edits.iter().map(|edit| EditRecord::new(edit, &ready.live)).collect();
        let records = records.map_err(|_| JournalError::Incomplete(id.clone()))?;
        let baseline = oldest(ready, authority).ok_or_else(|| JournalError::Incomplete(id.clone()))?;
        let sets = by_baseline.entry(baseline.clone()).or_default();
        let extended = sets.last().map(|last| extend(last, &records)).filter(ChangeSetSpec::fits);
        match extended {
            Some(extended) => {
                sets.pop();
                sets.push(extended);
            }
            None => {
                let alone = extend(&empty(location, &baseline), &records);
                if !alone.fits() {
                    return Err(JournalError::TooLarge(id.clone()));
                }
                sets.push(alone);
            }
        }
    }
    Ok(by_baseline
        .into_iter()
        .flat_map(|(baseline, specs)| specs.into_iter().map(move |spec| named(&baseline, spec)))
        .collect())
}

/// The oldest baseline that demands edits of a resource: its namespace keeps the change set.
fn oldest(ready: &Prepared, authority: &AuthorityNow) -> Option<BaselineRef> {
    let demands = ready.resource.edits.iter().flat_map(|edit| &edit.demands);
    let age = |reference: &BaselineRef| {
        authority.desired.iter().position(|desired| desired.reference == *reference).unwrap_or(usize::MAX)
    };
    demands.map(|demand| &demand.baseline).min_by_key(|reference| (age(reference), *reference)).cloned()
}

fn empty(location: &Location, baseline: &BaselineRef) -> ChangeSetSpec {
    ChangeSetSpec {
        baseline: BaselineName {
            kind: KIND.to_owned(),
            name: baseline.name.clone(),
            uid: baseline.uid.clone(),
            generation: baseline.generation,
        },
        account: location.account.clone(),
        region: location.region.clone(),
        hash: String::new(),
        edits: Vec::new(),
    }
}

fn extend(spec: &ChangeSetSpec, records: &[EditRecord]) -> ChangeSetSpec {
    let mut extended = spec.clone();
    extended.edits.extend(records.iter().take(MAX_EDITS + 1).cloned());
    extended
}

/// Names a change set after its baseline and the hash of its edits. The same edits can come again after a rival
/// undid them, so the API server adds a suffix of its own.
fn named(baseline: &BaselineRef, mut spec: ChangeSetSpec) -> ChangeSet {
    const LONGEST_PREFIX: usize = 200;
    let content = serde_json::to_vec(&(&spec.account, &spec.region, &spec.edits)).unwrap_or_default();
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = hash.chars().take(HASH_IN_NAME).collect();
    let prefix: String = baseline.name.chars().take(LONGEST_PREFIX).collect();
    spec.hash = format!("sha256:{hash}");
    let mut set = ChangeSet::new("", spec);
    set.metadata.name = None;
    set.metadata.generate_name = Some(format!("{prefix}-{short}-"));
    set.metadata.namespace = Some(baseline.namespace.clone());
    set
}
