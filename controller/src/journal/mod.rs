//! The journal: a change set is in the Kubernetes API before the first AWS write, its outcome after the last.

mod entry;
mod pack;
mod proposals;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crds::{ChangeSet, ChangeSetStatus, Phase};
use engine::approval::Warrant;
use engine::edit::Withheld;
use engine::facts::Location;
use engine::kind::Cell;
use engine::plan::ResourceOutcome;
pub use entry::{Entry, INTERRUPTED, baseline, baselines, cell, location, proposed_at};
use entry::{abandoned, interrupted};
use jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};
use pack::{Packed, change_sets};
pub use proposals::{Decided, Open, proposal_of};

use crate::act::Prepared;
use crate::audit;
use crate::authority::AuthorityNow;
use crate::kubernetes::{KUBERNETES_TIMEOUT, decoded, within, write_status};
use crate::lease::Leadership;

/// The field manager of everything that the controller writes.
pub const FIELD_MANAGER: &str = "baseward";

/// Writes the change sets of one cell.
pub struct Journal {
    client: Client,
    cell: Cell,
    leadership: Leadership,
    /// Statuses that could not be written yet.
    unwritten: Vec<(Entry, ChangeSetStatus)>,
    leftovers: Leftovers,
    /// Change sets that people decide on.
    open: Vec<Open>,
}

/// How far a process has got with what an earlier one has left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leftovers {
    /// Nobody has looked.
    Unknown,
    /// Closed. What the earlier process had sent by then can still arrive, as long as it would wait for an answer; so can what
    /// this one has sent in vain.
    ClosedAt(Instant),
    /// Nothing more can come.
    Gone,
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
    pub fn new(client: Client, cell: Cell, leadership: Leadership) -> Self {
        Self { client, cell, leadership, unwritten: Vec::new(), leftovers: Leftovers::Unknown, open: Vec::new() }
    }

    /// The cell that it is of.
    pub fn cell(&self) -> &Cell {
        &self.cell
    }

    /// Writes down what is about to be changed. What cannot be written down keeps no other resource from being changed.
    pub async fn record(&mut self, prepared: &[Prepared], authority: &AuthorityNow) -> Recorded {
        let (approved, own): (Vec<&Prepared>, Vec<&Prepared>) =
            prepared.iter().partition(|ready| matches!(ready.resource.warrant, Warrant::Approval(_)));
        let Packed { sets, refused } = change_sets(&self.cell.location, own, authority);
        let mut recorded = Recorded { entries: Vec::new(), refused };
        for set in sets {
            self.begin(set, &mut recorded).await;
        }
        for open in self.begun(&approved) {
            self.resume(open, &mut recorded).await;
        }
        recorded
    }

    /// Puts one change set into the API, in one write: whoever finds it without a phase later knows that nobody can tell how
    /// far its edits got.
    async fn begin(&mut self, set: ChangeSet, recorded: &mut Recorded) {
        match self.create(&set).await {
            Ok(created) => recorded.entries.push(Entry::of(&created)),
            Err(error) => {
                tracing::warn!(%error, namespace = set.namespace(), "Change set not written: its edits are not made");
                self.may_be_there(&error);
                let resources = entry::resources(&set.spec).into_iter();
                recorded.refused.extend(resources.map(|id| (id, Withheld::JournalUnavailable)));
            }
        }
    }

    /// A change set whose answer was lost may be there all the same: it is looked for once nothing more can arrive.
    fn may_be_there(&mut self, error: &kube::Error) {
        let was_refused = matches!(error, kube::Error::Api(answer) if (400..500).contains(&answer.code));
        if !was_refused {
            self.leftovers = Leftovers::ClosedAt(Instant::now());
        }
    }

    /// Says of an approved change set that its edits are being made, unless it says so.
    async fn resume(&mut self, entry: Entry, recorded: &mut Recorded) {
        if entry.status.phase != Some(Phase::Applying)
            && let Err(error) = self.set_status(&entry, &entry.progress(&[])).await
        {
            tracing::warn!(%error, change_set = entry.name, namespace = entry.namespace, "Change set not begun: its edits are not made");
            let resources = entry.resources.into_iter();
            return recorded.refused.extend(resources.map(|id| (id, Withheld::JournalUnavailable)));
        }
        recorded.entries.push(entry);
    }

    async fn create(&self, set: &ChangeSet) -> kube::Result<ChangeSet> {
        let api: Api<ChangeSet> = Api::namespaced(self.client.clone(), &set.namespace().unwrap_or_default());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = within(api.create(&params, set)).await?;
        let entry = Entry::of(&created);
        tracing::info!(
            change_set = entry.name,
            namespace = entry.namespace,
            edits = set.spec.edits.len(),
            "Change set recorded"
        );
        Ok(created)
    }

    /// Writes down what came of the resources of a change set once the last of them has an outcome: one write for all. A
    /// failure here loses no undo data: that is in the spec.
    pub async fn note(&mut self, entries: &mut [Entry], outcomes: &[ResourceOutcome], resource: &ResourceOutcome) {
        let ends =
            |entry: &&mut Entry| entry.is_of(resource) && entry.progress(outcomes).phase != Some(Phase::Applying);
        if let Some(entry) = entries.iter_mut().find(ends) {
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
        let status = entry.progress(outcomes);
        entry.closed = status.phase != Some(Phase::Applying);
        self.noted(entry, &status);
        self.put(entry.clone(), status).await;
    }

    /// Writes a status, now or as soon as that is possible.
    async fn put(&mut self, entry: Entry, status: ChangeSetStatus) {
        self.unwritten.retain(|(known, _)| !known.is(&entry));
        // Noted first: whoever waits for the end of this may have to leave.
        self.unwritten.push((entry, status));
        self.catch_up().await;
    }

    /// Whether nothing of an earlier process is left open.
    pub fn is_settled(&self) -> bool {
        self.leftovers != Leftovers::Unknown
    }

    /// How long it is until nothing more can come of an earlier process.
    pub fn next_due(&self) -> Option<Duration> {
        match self.leftovers {
            // What is overdue waits for the lease, or for the API server: the next sweep looks.
            Leftovers::ClosedAt(at) => KUBERNETES_TIMEOUT.checked_sub(at.elapsed()),
            Leftovers::Unknown | Leftovers::Gone => None,
        }
    }

    /// Closes what an earlier process has left open, once this one may write, and tries again to write what could not be
    /// written.
    pub async fn settle_past(&mut self, leading: bool) {
        let after = match self.leftovers {
            Leftovers::Unknown => Some(Leftovers::ClosedAt(Instant::now())),
            Leftovers::ClosedAt(at) if at.elapsed() >= KUBERNETES_TIMEOUT => Some(Leftovers::Gone),
            Leftovers::ClosedAt(_) | Leftovers::Gone => None,
        };
        if let Some(after) = after.filter(|_| leading) {
            self.take_over(after).await;
        }
        self.catch_up().await;
    }

    /// Tries again to write what could not be written. What the API refuses for one change set keeps no other waiting.
    async fn catch_up(&mut self) {
        // Another process may have closed the change sets meanwhile.
        if !self.leadership.holds(Instant::now()) {
            return;
        }
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

    /// Takes up the change sets of this cell that people decide on, and closes the others that an earlier process has left
    /// open: nobody knows what came of them.
    async fn take_over(&mut self, after: Leftovers) {
        let api: Api<DeserializeGuard<ChangeSet>> = Api::all(self.client.clone());
        let ended = Phase::ENDED.map(|phase| format!("status.phase!={phase:?}"));
        let Location { account, region } = &self.cell.location;
        let open = format!("spec.account={account},spec.region={region},{}", ended.join(","));
        match within(api.list(&ListParams::default().fields(&open))).await {
            Ok(found) => {
                self.leftovers = after;
                let now = Timestamp::now();
                let mine = |set: &ChangeSet| entry::cell(set).as_ref() == Some(&self.cell);
                let sets: Vec<ChangeSet> = found.items.into_iter().filter_map(decoded).filter(mine).collect();
                for set in sets {
                    let entry = Entry::of(&set);
                    if self.knows(&entry) {
                        continue;
                    }
                    for resource in interrupted(&set) {
                        audit::interrupted(&set, &entry.mandate(), &resource);
                    }
                    match Open::of(&set) {
                        Some(open) => self.open.push(open),
                        None => self.unwritten.push((entry, abandoned(&set, now))),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "Change sets of an earlier process cannot be looked for"),
        }
    }

    /// Whether this process works on a change set or has closed it: it knows better than what is written.
    fn knows(&self, entry: &Entry) -> bool {
        self.unwritten.iter().any(|(known, _)| known.is(entry)) || self.open.iter().any(|open| open.is_of(entry))
    }

    async fn set_status(&self, entry: &Entry, status: &ChangeSetStatus) -> kube::Result<()> {
        within(write_status::<ChangeSet>(&self.client, Some(&entry.namespace), &entry.name, status)).await
    }
}
