//! What the loops share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws::{Connection, Connector, Target};
use engine::budget::Ledger;
use engine::contests::Contests;
use engine::desired::Desired;
use engine::edit::BaselineRef;
use engine::evaluate::Evaluation;
use engine::facts::{Inventory, Location, ReadFailure};
use engine::kind::{Cell, Kind};
use engine::plan::{Plan, Proposed};
use engine::report::CellReport;
use jiff::Timestamp;
use kube::Client;
use kube::runtime::events::Recorder;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::authority::AuthorityNow;
use crate::backoff::Backoff;
use crate::baselines::{Seen, Writes};
use crate::events;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::past::Past;
use crate::pending::Pending;
use crate::rollback::Orders;
use crate::store::Objects;

/// What the loops share.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// The way to AWS.
    pub connector: Connector,
    /// What the API server last showed.
    pub objects: Objects,
    /// Proven and failed identities.
    pub identities: Arc<Identities>,
    /// Who the controller is in AWS, for the trust policy to paste; empty while that is not known.
    pub own_principal: OnceCell<String>,
    /// Pauses after failures of accounts and baselines.
    pub backoff: Backoff,
    /// When statuses were last written.
    pub status_writes: Writes,
    /// The latest report of every cell.
    pub reports: Reports,
    /// What was changed lately, and what every cell would change.
    pub ledger: Mutex<Ledger>,
    /// What somebody else keeps undoing in every cell: it outlives the worker.
    pub contests: Mutex<BTreeMap<Cell, Contests>>,
    /// What AWS said last, by account and region: kinds side by side read nothing twice.
    pub inventories: Mutex<BTreeMap<Location, Inventory>>,
    /// What people want undone.
    pub rollbacks: Orders,
    /// How many change sets wait for people.
    pub pending: Pending,
    /// Who leads.
    pub leadership: Leadership,
    /// Publishes events.
    pub recorder: Recorder,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Bumped whenever anything that cells depend on may have changed.
    pub wake_cells: watch::Sender<()>,
    /// Bumped whenever an account or a namespace has changed: every baseline is looked at.
    pub wake_baselines: watch::Sender<()>,
    /// Baselines that a cell has reported on, by kind.
    pub reported: BTreeMap<Kind, mpsc::UnboundedSender<WatchedBaseline>>,
    /// What was last seen of each baseline.
    pub seen: Seen,
    /// Cancelled when the process is told to stop: writes in flight are finished, no new one starts.
    pub stopping: CancellationToken,
    /// The longest that one AWS write can take.
    pub write_timeout: Duration,
}

/// Namespace and name of a baseline, for the controller of its kind.
pub type WatchedBaseline = (String, String);

impl Context {
    /// Who may write what in a cell, right now.
    pub fn authority(&self, cell: &Cell) -> AuthorityNow {
        let left = self.leadership.left(Instant::now()).filter(|_| !self.stopping.is_cancelled());
        AuthorityNow {
            approved: BTreeSet::new(),
            namespaces: Vec::new(),
            desired: self.objects.in_cell(cell).into_iter().map(|(_, desired)| desired).collect(),
            account: self.objects.account(&cell.location),
            lease_left: left,
            write_timeout: self.write_timeout,
        }
    }

    /// Takes the reports of one cell, wakes the baselines that they are about, and says what came of their edits.
    pub async fn publish(&self, cell: &Cell, reports: Vec<Reported>) {
        let published = self.reports.publish(cell.clone(), reports);
        for (_, now) in &published {
            let BaselineRef { kind, namespace, name, .. } = &now.report.reference;
            if let Some(reported) = self.reported.get(kind) {
                // Nobody listens only when the process stops.
                let _ = reported.send((namespace.clone(), name.clone()));
            }
        }
        for (before, now) in published {
            let before = before.as_ref().map(|before| &before.report);
            if let Some(event) = events::edits(before, &now.report) {
                events::publish(&self.recorder, &events::baseline(&now.report.reference), &event).await;
            }
        }
    }

    /// The ledger, for a moment.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a cell would change. Cells that waited for this one to be looked at go on.
    pub fn look(&self, plan: &Plan<Proposed>, evaluation: &Evaluation, desired: &[Desired], now: Timestamp) {
        let mut ledger = self.ledger();
        let before = ledger.progress(desired);
        ledger.look(plan, evaluation, desired, now);
        if ledger.progress(desired) > before {
            self.wake_cells.send_replace(());
        }
    }

    /// Takes over what happened before this process began to lead.
    pub fn begin_with(&self, past: Past) {
        let Past { ledger, repairs, waiting } = past;
        waiting.iter().for_each(|(cell, by_uid)| self.pending.set(cell, by_uid));
        *self.ledger() = ledger;
        for (cell, repairs) in repairs {
            let mut contests = Contests::default();
            repairs.iter().for_each(|(subject, control, at)| contests.restore(subject, control, *at));
            self.keep_contests(&cell, contests);
        }
    }

    /// What AWS said last, for a moment.
    fn inventories(&self) -> MutexGuard<'_, BTreeMap<Location, Inventory>> {
        self.inventories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What AWS said last of an account and region, whatever kind asked.
    pub fn inventory(&self, location: &Location) -> Inventory {
        self.inventories().get(location).cloned().unwrap_or_else(|| Inventory::unread(location.clone()))
    }

    /// Keeps what a look has brought. What another kind has read meanwhile, and this one has not, stays.
    pub fn keep_inventory(&self, inventory: Inventory) {
        let mut known = self.inventories();
        let kept = match known.remove(&inventory.location) {
            Some(other) => inventory.or_newer(other),
            None => inventory,
        };
        known.insert(kept.location.clone(), kept);
    }

    /// What somebody else keeps undoing in a cell, as it was last kept.
    pub fn contests(&self, cell: &Cell) -> Contests {
        self.contests.lock().unwrap_or_else(PoisonError::into_inner).get(cell).cloned().unwrap_or_default()
    }

    /// Keeps what somebody else keeps undoing in a cell: a baseline that is suspended for a moment ends no pause.
    pub fn keep_contests(&self, cell: &Cell, contests: Contests) {
        self.contests.lock().unwrap_or_else(PoisonError::into_inner).insert(cell.clone(), contests);
    }

    /// Forgets a cell that no baseline applies to any more.
    pub fn forget_cell(&self, cell: &Cell) {
        self.reports.forget(cell);
        self.pending.set(cell, &BTreeMap::new());
        self.metrics.forget_cell(cell);
    }

    /// Forgets everything about objects that are gone, and lets the others notice.
    pub fn forget_gone(&self) {
        let baselines = self.objects.known_baselines();
        let names = || baselines.iter().map(|known| known.key.clone());
        let uids = || baselines.iter().filter_map(|known| known.uid.clone()).collect();
        let accounts = self.objects.accounts();
        self.seen.keep(&names().collect());
        self.status_writes.keep(&uids());
        let exemptions = self.objects.exemptions.state();
        let exemptions = exemptions.iter().map(|object| crate::exemptions::key(object));
        let approvals = self.objects.approvals.state();
        let approvals = approvals.iter().map(|object| crate::approvals::key(object));
        self.backoff.keep(&names().chain(self.objects.account_names()).chain(exemptions).chain(approvals).collect());
        self.ledger().keep(&uids());
        self.contests.lock().unwrap_or_else(PoisonError::into_inner).retain(|cell, _| accounts.has(&cell.location));
        self.inventories().retain(|location, _| accounts.has(location));
        self.identities.keep(|location| accounts.has(location));
        self.metrics.keep_baselines(&names().collect());
        self.wake_cells.send_replace(());
        self.wake_baselines.send_replace(());
    }
}

/// Whether the caller is who the account says, per account and region.
#[derive(Clone, Debug)]
pub struct Proof {
    /// How the account was to be reached when this was found out.
    pub target: Target,
    /// The connection, if the identity that reads is proven.
    pub reading: Result<Connection, Distrust>,
    /// Whether the identity that writes is proven, too; so it is where there is none.
    pub writing: Result<(), Distrust>,
    /// When.
    pub proven_at: Instant,
}

impl Proof {
    /// What is wrong, the role that reads first.
    pub fn distrust(&self) -> Option<&Distrust> {
        self.reading.as_ref().err().or(self.writing.as_ref().err())
    }

    /// What holds now that AWS was asked again: where it could not answer, what it said before about the same target.
    pub fn or_before(self, before: Option<Self>) -> Self {
        let Some(before) = before.filter(|before| before.target == self.target) else { return self };
        let unanswered = [self.reading.as_ref().err(), self.writing.as_ref().err()];
        let answered_at =
            if unanswered.into_iter().flatten().any(Distrust::passes) { before.proven_at } else { self.proven_at };
        Self {
            reading: answered(self.reading, before.reading),
            writing: answered(self.writing, before.writing),
            proven_at: answered_at,
            ..self
        }
    }
}

fn answered<T>(now: Result<T, Distrust>, before: Result<T, Distrust>) -> Result<T, Distrust> {
    match now {
        Err(distrust) if distrust.passes() => before.or(Err(distrust)),
        now => now,
    }
}

/// Why an identity is not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// The reason of the account's condition.
    pub reason: &'static str,
    /// The sentence of the account's condition.
    pub message: String,
    /// How baselines see it; `None` if the caller is of another account, which no retry mends.
    pub failure: Option<ReadFailure>,
}

impl Distrust {
    /// Whether AWS merely could not be asked.
    pub fn passes(&self) -> bool {
        self.failure.is_some_and(|failure| !failure.needs_a_person())
    }
}

/// Proven and failed identities.
#[derive(Debug, Default)]
pub struct Identities(Mutex<BTreeMap<Location, Proof>>);

impl Identities {
    /// What is known of one location, if it was to be reached like this.
    pub fn get(&self, location: &Location, target: &Target) -> Option<Proof> {
        self.lock().get(location).filter(|proof| proof.target == *target).cloned()
    }

    /// Notes what was found out.
    pub fn set(&self, location: Location, proof: Proof) {
        self.lock().insert(location, proof);
    }

    fn keep(&self, is_there: impl Fn(&Location) -> bool) {
        self.lock().retain(|location, _| is_there(location));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Location, Proof>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One cell's latest report on one baseline.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The report.
    pub report: CellReport,
    /// The value of `baseward.dev/reconcile-at` that the sweep began with.
    pub reconcile_at: Option<String>,
}

type ByUid = BTreeMap<String, Arc<Reported>>;

/// The report before, if there was one, and the new one.
type Succession = (Option<Arc<Reported>>, Arc<Reported>);

/// The latest report of every cell, by cell and uid of the baseline.
#[derive(Debug, Default)]
pub struct Reports(Mutex<BTreeMap<Cell, ByUid>>);

impl Reports {
    /// Replaces the reports of one cell. A look that failed keeps what the look before it counted.
    fn publish(&self, cell: Cell, reports: Vec<Reported>) -> Vec<Succession> {
        let mut known = self.lock();
        let mut before = known.remove(&cell).unwrap_or_default();
        let succeed = |Reported { report, reconcile_at }: Reported| {
            let before = before.remove(&report.reference.uid);
            let report = report.after(before.as_ref().map(|before| &before.report));
            (before, Arc::new(Reported { report, reconcile_at }))
        };
        let published: Vec<Succession> = reports.into_iter().map(succeed).collect();
        let by_uid = published.iter().map(|(_, now)| (now.report.reference.uid.clone(), Arc::clone(now)));
        known.insert(cell, by_uid.collect());
        published
    }

    fn forget(&self, cell: &Cell) {
        self.lock().remove(cell);
    }

    /// The reports of all cells on one baseline.
    pub fn of(&self, uid: &str) -> Vec<Arc<Reported>> {
        self.lock().values().filter_map(|by_uid| by_uid.get(uid).cloned()).collect()
    }

    /// When any cell of an account and region was last swept.
    pub fn last_sweep(&self, location: &Location) -> Option<Timestamp> {
        let known = self.lock();
        let cells = known.iter().filter(|(cell, _)| cell.location == *location);
        cells.flat_map(|(_, by_uid)| by_uid.values()).map(|reported| reported.report.swept_at).max()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Cell, ByUid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
