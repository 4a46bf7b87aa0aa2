//! The journal: a change set is in the Kubernetes API before the first AWS write, its outcome after the last.

use std::collections::BTreeMap;

use crds::{
    BaselineName, ChangeSet, ChangeSetSpec, ChangeSetStatus, EditOutcome, EditRecord, MAX_EDITS, MAX_REQUEST_IDS,
    Outcome, Phase,
};
use engine::edit::{BaselineRef, Withheld};
use engine::facts::Location;
use engine::plan::{Failure, ResourceOutcome};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::act::Prepared;
use crate::authority::AuthorityNow;
use crate::kubernetes::within;

/// The field manager of everything that the controller writes.
pub const FIELD_MANAGER: &str = "baseward";

const KIND: &str = "SecurityGroupBaseline";

/// Characters of the hash that end up in the name of a change set.
const HASH_IN_NAME: usize = 10;

/// Writes the change sets of one cell.
pub struct Journal {
    client: Client,
    location: Location,
    /// Statuses that could not be written yet.
    unwritten: Vec<(Entry, ChangeSetStatus)>,
    leftovers_closed: bool,
}

/// A change set that is in the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    namespace: String,
    name: String,
    resources: Vec<String>,
    /// Whether its last status is written.
    closed: bool,
}

/// What is written down, and what is not and so must not be changed.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The change sets, also those that turned out to be of no use.
    pub entries: Vec<Entry>,
    /// Why resources must not be changed, by their id.
    pub refused: BTreeMap<String, Withheld>,
}

impl Journal {
    /// A journal of one cell.
    pub fn new(client: Client, location: Location) -> Self {
        Self { client, location, unwritten: Vec::new(), leftovers_closed: false }
    }

    /// Writes down what is about to be changed. What cannot be written down keeps no other resource from being changed.
    pub async fn record(&mut self, prepared: &[Prepared], authority: &AuthorityNow) -> Recorded {
        let Packed { sets, refused } = change_sets(&self.location, prepared, authority);
        let mut recorded = Recorded { entries: Vec::new(), refused };
        for set in sets {
            let resources = resources(&set.spec);
            if let Err(error) = self.store(&set, &resources, &mut recorded.entries).await {
                tracing::warn!(%error, namespace = set.namespace(), "Change set not written: its edits are not made");
                recorded.refused.extend(resources.into_iter().map(|id| (id, Withheld::JournalUnavailable)));
            }
        }
        recorded
    }

    /// Puts one change set into the API. Without the phase `Applying` it is of no use: whoever finds such a set later knows
    /// that nothing of it was made.
    async fn store(&self, set: &ChangeSet, resources: &[String], entries: &mut Vec<Entry>) -> kube::Result<()> {
        let api: Api<ChangeSet> = Api::namespaced(self.client.clone(), &set.namespace().unwrap_or_default());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = within(api.create(&params, set)).await?;
        let (namespace, name) = (created.namespace().unwrap_or_default(), created.name_any());
        let entry = Entry { namespace, name, resources: resources.to_vec(), closed: false };
        entries.push(entry.clone());
        self.set_status(&entry, &progress(&entry.resources, &[])).await?;
        tracing::info!(
            change_set = entry.name,
            namespace = entry.namespace,
            edits = set.spec.edits.len(),
            "Change set recorded"
        );
        Ok(())
    }

    /// Writes down what came of a resource. A failure here loses no undo data: that is in the spec.
    pub async fn note(&mut self, entries: &mut [Entry], outcomes: &[ResourceOutcome], resource: &str) {
        let of = |entry: &&mut Entry| entry.resources.iter().any(|id| id == resource);
        if let Some(entry) = entries.iter_mut().find(of) {
            self.write(entry, outcomes).await;
        }
    }

    /// Writes down what came of everything that has not been written down yet.
    pub async fn close(&mut self, entries: &mut [Entry], outcomes: &[ResourceOutcome]) {
        for entry in entries.iter_mut().filter(|entry| !entry.closed) {
            self.write(entry, outcomes).await;
        }
    }

    async fn write(&mut self, entry: &mut Entry, outcomes: &[ResourceOutcome]) {
        let status = progress(&entry.resources, outcomes);
        entry.closed = status.phase != Some(Phase::Applying);
        self.unwritten.retain(|(known, _)| !known.is(entry));
        // Noted first: whoever waits for the end of this may have to leave.
        self.unwritten.push((entry.clone(), status));
        self.catch_up().await;
    }

    /// Whether nothing of an earlier process is left open.
    pub fn is_settled(&self) -> bool {
        self.leftovers_closed
    }

    /// Closes what an earlier process has left open, once this one may write, and tries again to write what could not be
    /// written.
    pub async fn settle_past(&mut self, leading: bool) {
        if leading && !self.leftovers_closed {
            self.close_leftovers().await;
        }
        self.catch_up().await;
    }

    /// Tries again to write what could not be written. What the API refuses for one change set keeps no other waiting.
    async fn catch_up(&mut self) {
        let mut position = 0;
        while let Some((entry, status)) = self.unwritten.get(position) {
            match self.set_status(entry, status).await {
                Ok(()) => {}
                Err(kube::Error::Api(answer)) if answer.is_not_found() => {}
                Err(kube::Error::Api(answer)) if answer.is_invalid() => {
                    tracing::error!(error = %answer.message, change_set = entry.name, namespace = entry.namespace, "Outcome of a change set refused: it stays open");
                }
                Err(error) => {
                    tracing::warn!(%error, change_set = entry.name, namespace = entry.namespace, "Outcome of a change set not recorded yet");
                    if !matches!(error, kube::Error::Api(_)) {
                        return;
                    }
                    position += 1;
                    continue;
                }
            }
            self.unwritten.remove(position);
        }
    }

    /// Closes the change sets of this cell that an earlier process has left open: nobody knows what came of them.
    async fn close_leftovers(&mut self) {
        let api: Api<ChangeSet> = Api::all(self.client.clone());
        let closed =
            [Phase::Applied, Phase::PartlyApplied, Phase::Expired].map(|phase| format!("status.phase!={phase:?}"));
        let Location { account, region } = &self.location;
        let open = format!("spec.account={account},spec.region={region},{}", closed.join(","));
        match within(api.list(&ListParams::default().fields(&open))).await {
            Ok(found) => {
                self.leftovers_closed = true;
                let now = Timestamp::now();
                let left = found.items.iter().map(|set| (Entry::of(set), abandoned(set, now)));
                // Of those that this process has written itself it knows better.
                let unknown = left.filter(|(entry, _)| !self.unwritten.iter().any(|(known, _)| known.is(entry)));
                let unknown: Vec<_> = unknown.collect();
                self.unwritten.extend(unknown);
            }
            Err(error) => tracing::warn!(%error, "Change sets of an earlier process cannot be looked for"),
        }
    }

    async fn set_status(&self, entry: &Entry, status: &ChangeSetStatus) -> kube::Result<()> {
        let api: Api<ChangeSet> = Api::namespaced(self.client.clone(), &entry.namespace);
        let body = json!({"apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSet", "status": status});
        within(api.patch_status(&entry.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(body))).await?;
        Ok(())
    }
}

impl Entry {
    fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.namespace == other.namespace
    }

    fn of(set: &ChangeSet) -> Self {
        let (namespace, name) = (set.namespace().unwrap_or_default(), set.name_any());
        Self { namespace, name, resources: resources(&set.spec), closed: true }
    }
}

/// The resources of a change set, each once.
fn resources(spec: &ChangeSetSpec) -> Vec<String> {
    let mut resources: Vec<String> = spec.edits.iter().map(|edit| edit.resource.clone()).collect();
    resources.dedup();
    resources
}

/// How far a change set has got.
fn progress(resources: &[String], outcomes: &[ResourceOutcome]) -> ChangeSetStatus {
    let edits: Vec<EditOutcome> =
        outcomes.iter().filter(|resource| resources.contains(&resource.id)).map(edit_outcome).collect();
    let phase = if edits.len() < resources.len() { Phase::Applying } else { Phase::of(&edits) };
    ChangeSetStatus { phase: Some(phase), edits }
}

/// What can be said of a change set that nobody works on any more.
fn abandoned(set: &ChangeSet, now: Timestamp) -> ChangeSetStatus {
    let status = set.status.clone().unwrap_or_default();
    if status.phase.is_none() {
        return ChangeSetStatus { phase: Some(Phase::Expired), edits: Vec::new() };
    }
    let mut edits = status.edits;
    let missing: Vec<String> =
        resources(&set.spec).into_iter().filter(|id| edits.iter().all(|edit| edit.resource != *id)).collect();
    edits.extend(missing.into_iter().map(|resource| EditOutcome {
        resource,
        outcome: Outcome::Unknown,
        reason: Some(Failure::OutcomeUnknown.reason().to_owned()),
        verified_calls: 0,
        request_ids: Vec::new(),
        finished_at: Time(now),
    }));
    ChangeSetStatus { phase: Some(Phase::of(&edits)), edits }
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
        verified_calls: i32::try_from(resource.calls_verified).unwrap_or(i32::MAX),
        request_ids: resource.request_ids.iter().take(MAX_REQUEST_IDS).cloned().collect(),
        finished_at: Time(resource.finished_at),
    }
}

/// The change sets of some resources.
#[derive(Debug, Default)]
struct Packed {
    sets: Vec<ChangeSet>,
    /// Why resources are in none of them, by their id.
    refused: BTreeMap<String, Withheld>,
}

/// Packs resources into as few change sets as fit, each in the namespace of the oldest baseline that demands it. A resource
/// is never split over two.
fn change_sets(location: &Location, prepared: &[Prepared], authority: &AuthorityNow) -> Packed {
    let mut by_baseline: BTreeMap<BaselineRef, Vec<ChangeSetSpec>> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for ready in prepared {
        if let Err(reason) = pack(location, ready, authority, &mut by_baseline) {
            tracing::warn!(resource = ready.resource.group.id, reason = reason.reason(), "Edits not written down");
            refused.insert(ready.resource.group.id.clone(), reason);
        }
    }
    let named = |(baseline, specs): (BaselineRef, Vec<ChangeSetSpec>)| {
        specs.into_iter().map(|spec| named(&baseline, spec)).collect::<Vec<_>>()
    };
    Packed { sets: by_baseline.into_iter().flat_map(named).collect(), refused }
}

/// Adds one resource to the last change set of its baseline, or to a new one.
fn pack(
    location: &Location,
    ready: &Prepared,
    authority: &AuthorityNow,
    by_baseline: &mut BTreeMap<BaselineRef, Vec<ChangeSetSpec>>,
) -> Result<(), Withheld> {
    let records: Result<Vec<EditRecord>, Withheld> =
        ready.resource.edits.iter().map(|edit| EditRecord::new(edit, &ready.live)).collect();
    let records = records?;
    let baseline = oldest(ready, authority).ok_or(Withheld::BaselineChanged)?;
    let alone = extend(&empty(location, &baseline), &records);
    if !alone.fits() {
        return Err(Withheld::ChangeSetTooLarge);
    }
    let sets = by_baseline.entry(baseline).or_default();
    match sets.last_mut().map(|last| (extend(last, &records), last)) {
        Some((extended, last)) if extended.fits() => *last = extended,
        _ => sets.push(alone),
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use engine::edit::{Change, Demand, Edit, Impact, Operation};
    use engine::facts::{LiveGroup, SecurityGroup, Tags};
    use engine::finding::Severity;
    use engine::plan::PermittedResource;

    use super::*;

    /// A resource that gets so many tags with values of so many bytes, for a baseline in a namespace.
    fn prepared(id: &str, namespace: &str, tags: usize, bytes: usize) -> Prepared {
        let baseline =
            BaselineRef { namespace: namespace.to_owned(), name: "edge".to_owned(), uid: String::new(), generation: 1 };
        let after: Tags = (0..tags).map(|tag| (format!("tag-{tag}"), "x".repeat(bytes))).collect();
        let edit = Edit {
            resource: id.to_owned(),
            operation: Operation::AddTags,
            change: Change::Tags { before: Tags::new(), after },
            demands: vec![Demand { baseline: baseline.clone(), control: "sg-tagged" }],
            severity: Severity::Low,
            exposed: 0,
            impact: Impact::None,
        };
        let group = SecurityGroup {
            id: id.to_owned(),
            name: String::new(),
            description: String::new(),
            owner: String::new(),
            vpc: String::new(),
            tags: Tags::new(),
            rules: Vec::new(),
        };
        let live =
            LiveGroup { id: id.to_owned(), rules: Vec::new(), tags: Tags::new(), read_at: Timestamp::UNIX_EPOCH };
        Prepared {
            resource: PermittedResource { group, edits: vec![edit], baselines: vec![baseline] },
            live,
            steps: Vec::new(),
        }
    }

    fn packed(prepared: &[Prepared]) -> Packed {
        let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
        let authority = AuthorityNow {
            desired: Vec::new(),
            account: None,
            lease_left: None,
            write_timeout: std::time::Duration::from_secs(1),
        };
        change_sets(&location, prepared, &authority)
    }

    fn outcome(id: &str, outcome: engine::plan::Outcome, calls_verified: usize) -> ResourceOutcome {
        let finished_at = Timestamp::UNIX_EPOCH;
        ResourceOutcome {
            id: id.to_owned(),
            edits: Vec::new(),
            outcome,
            calls_verified,
            request_ids: Vec::new(),
            finished_at,
        }
    }

    #[test]
    fn edits_that_do_not_fit_keep_no_others_out_of_the_journal() {
        let Packed { sets, refused } = packed(&[
            prepared("sg-1", "one", 1, 10),
            prepared("sg-2", "one", 40, 10_000),
            prepared("sg-3", "two", 1, 10),
            prepared("sg-4", "one", 1, 10),
        ]);
        assert_eq!(refused, BTreeMap::from([("sg-2".to_owned(), Withheld::ChangeSetTooLarge)]));
        let kept: Vec<_> = sets.iter().map(|set| (set.namespace().unwrap(), resources(&set.spec))).collect();
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(kept, [("one".to_owned(), ids(&["sg-1", "sg-4"])), ("two".to_owned(), ids(&["sg-3"]))]);
    }

    #[test]
    fn a_change_set_is_open_until_the_last_of_its_resources_has_an_outcome() {
        use engine::plan::Outcome::{Failed, Verified};
        let both = ["sg-1".to_owned(), "sg-2".to_owned()];
        let first = [outcome("sg-1", Verified, 1), outcome("sg-9", Verified, 1)];
        let status = progress(&both, &first);
        assert_eq!((status.phase, status.edits.len()), (Some(Phase::Applying), 1));
        let refused = outcome("sg-2", Failed(Failure::Refused), 1);
        let status = progress(&both[1..], std::slice::from_ref(&refused));
        assert_eq!((status.phase, status.edits[0].verified_calls), (Some(Phase::PartlyApplied), 1));
    }

    #[test]
    fn of_what_an_earlier_process_left_open_nothing_is_known_unless_it_never_began() {
        let Packed { mut sets, .. } = packed(&[prepared("sg-1", "one", 1, 10), prepared("sg-2", "one", 1, 10)]);
        let mut set = sets.remove(0);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(abandoned(&set, now), ChangeSetStatus { phase: Some(Phase::Expired), edits: Vec::new() });
        set.status = Some(progress(&resources(&set.spec), &[outcome("sg-1", engine::plan::Outcome::Verified, 1)]));
        let closed = abandoned(&set, now);
        assert_eq!(closed.phase, Some(Phase::PartlyApplied));
        let outcomes: Vec<_> = closed.edits.iter().map(|edit| (edit.resource.as_str(), edit.outcome)).collect();
        assert_eq!(outcomes, [("sg-1", Outcome::Verified), ("sg-2", Outcome::Unknown)]);
    }
}
