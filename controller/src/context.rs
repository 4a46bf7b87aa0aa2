//! What the loops share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws::{Connection, Connector, Target};
use engine::facts::{Location, ReadFailure};
use engine::report::CellReport;
use kube::Client;
use kube::runtime::events::Recorder;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::authority::AuthorityNow;
use crate::backoff::Backoff;
use crate::baselines::{Seen, Writes};
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::store::Objects;

/// What the loops share.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// The way to AWS.
    pub connector: Connector,
    /// What makes external ids of this installation unlike those of others.
    pub installation_id: String,
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
    /// Who leads.
    pub leadership: Leadership,
    /// Publishes events.
    pub recorder: Recorder,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Bumped whenever anything that cells depend on may have changed.
    pub wake_cells: watch::Sender<()>,
    /// Bumped whenever a cell has reported, or an account or a namespace has changed.
    pub wake_baselines: watch::Sender<()>,
    /// What was last seen of each baseline.
    pub seen: Seen,
    /// Cancelled when the process is told to stop: writes in flight are finished, no new one starts.
    pub stopping: CancellationToken,
    /// The longest that one AWS write can take.
    pub write_timeout: Duration,
}

impl Context {
    /// Who may write what in a cell, right now.
    pub fn authority(&self, location: &Location) -> AuthorityNow {
        let left = self.leadership.left(Instant::now()).filter(|_| !self.stopping.is_cancelled());
        AuthorityNow {
            desired: self.objects.in_cell(location).into_iter().map(|(_, desired)| desired).collect(),
            account: self.objects.account(location),
            lease_left: left,
            write_timeout: self.write_timeout,
        }
    }
}

/// Whether the caller is who the account says, per account and region.
#[derive(Clone, Debug)]
pub struct Proof {
    /// How the account was to be reached when this was found out.
    pub target: Target,
    /// The connection, if the identity is proven.
    pub outcome: Result<Connection, Distrust>,
    /// When.
    pub proven_at: Instant,
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

/// Proven and failed identities.
#[derive(Debug, Default)]
pub struct Identities(Mutex<BTreeMap<Location, Proof>>);

impl Identities {
    /// What is known of one location.
    pub fn get(&self, location: &Location) -> Option<Proof> {
        self.lock().get(location).cloned()
    }

    /// Notes what was found out.
    pub fn set(&self, location: Location, proof: Proof) {
        self.lock().insert(location, proof);
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

/// The latest report of every cell, by location and uid of the baseline.
#[derive(Debug, Default)]
pub struct Reports(Mutex<BTreeMap<Location, BTreeMap<String, Reported>>>);

impl Reports {
    /// Replaces the reports of one cell.
    pub fn publish(&self, location: Location, reports: Vec<Reported>) {
        let by_uid = reports.into_iter().map(|reported| (reported.report.reference.uid.clone(), reported)).collect();
        self.lock().insert(location, by_uid);
    }

    /// Forgets a cell that no baseline applies to any more.
    pub fn forget(&self, location: &Location) {
        self.lock().remove(location);
    }

    /// The reports of all cells on one baseline.
    pub fn of(&self, uid: &str) -> Vec<Reported> {
        self.lock().values().filter_map(|by_uid| by_uid.get(uid).cloned()).collect()
    }

    /// When a cell was last swept.
    pub fn last_sweep(&self, location: &Location) -> Option<jiff::Timestamp> {
        self.lock().get(location)?.values().map(|reported| reported.report.swept_at).max()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Location, BTreeMap<String, Reported>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
