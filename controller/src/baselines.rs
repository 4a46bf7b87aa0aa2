//! The baseline controller: writes the status of baselines from what their cells last reported, and says aloud what has
//! changed. It never talks to AWS.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crds::conditions::{self, ACCEPTED, COMPLIANT, OBSERVED, READY, State};
use crds::{BaselineObject, BaselineStatus, Violations};
use engine::edit::BaselineRef;
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::context::Context;
use crate::kubernetes::write_status;
use crate::lease::LOOK_FOR_LEASE_AGAIN;
use crate::status::status;
use crate::{events, undecodable};

/// A status is written at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// A status that has not changed is written this often all the same: a dead controller must not look compliant.
const HEARTBEAT: Duration = Duration::from_secs(600);
/// Nothing here may hold up the other baselines for longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// When the status of each baseline was last written, by uid.
#[derive(Debug, Default)]
pub struct Writes(Mutex<HashMap<String, Write>>);

#[derive(Clone, Copy, Debug)]
struct Write {
    at: Instant,
    /// Whether the status said what is, and not only that it is being looked at.
    answered: bool,
}

impl Writes {
    /// How long the next write of a status has to wait at `now`. The first answer after a promise of one waits for nothing:
    /// somebody is waiting for it.
    fn wait(&self, uid: &str, answers: bool, now: Instant) -> Option<Duration> {
        let writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = writes.get(uid).filter(|last| last.answered || !answers)?;
        let due = last.at.checked_add(STATUS_EVERY)?;
        Some(due.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    fn written(&self, uid: &str, answered: bool, at: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), Write { at, answered });
    }

    /// Forgets every other object.
    pub fn keep(&self, uids: &BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
    }
}

/// Whether a status says what is: all cells were looked at, or could not be.
fn answers(status: &BaselineStatus) -> bool {
    conditions::find(&status.conditions, OBSERVED).is_some_and(|observed| observed.status != "Unknown")
}

/// Generation and annotations of each baseline as they were last seen, by kind, namespace and name.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<String, Look>>);

/// What a person can change of a baseline.
type Look = (Option<String>, Option<i64>, Option<String>);

impl Seen {
    /// Whether a person changed the object since it was last seen. A status that we wrote is no news.
    fn is_news<B: BaselineObject>(&self, object: &DeserializeGuard<B>) -> bool {
        let metadata = object.meta();
        let asked = metadata.annotations.as_ref().and_then(|all| all.get(crds::RECONCILE_AT)).cloned();
        let look = (metadata.uid.clone(), metadata.generation, asked);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(key(object), look.clone()) != Some(look)
    }

    /// Forgets every other object.
    pub fn keep(&self, names: &BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| names.contains(name));
    }
}

/// Why a reconcile ends early. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The Kubernetes API could not be written.
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    /// It took too long.
    #[error("gave up after {} seconds", TIMEOUT.as_secs())]
    Timeout,
}

/// Brings the status of one baseline up to date.
///
/// # Errors
/// The status could not be written; the caller tries again.
pub async fn reconcile<B: BaselineObject>(
    object: Arc<DeserializeGuard<B>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    if context.seen.is_news(&object) {
        context.wake_cells.send_replace(());
    }
    let report = async {
        // An account that is not read yet must not look like one that is not there.
        context.objects.wait_until_ready().await;
        match &object.0 {
            Ok(baseline) => report(baseline, &context).await,
            Err(_) => {
                context.metrics.forget_baseline(&BaselineRef {
                    kind: B::KIND,
                    namespace: object.namespace().unwrap_or_default(),
                    name: object.name_any(),
                    uid: String::new(),
                    generation: 0,
                });
                Ok(undecodable::report(&object, &context, &[ACCEPTED, READY]).await?)
            }
        }
    };
    let Ok(result) = tokio::time::timeout(TIMEOUT, report).await else {
        return Err(ReconcileError::Timeout);
    };
    if result.is_ok() {
        context.backoff.forget(&key(&object));
    }
    result
}

async fn report<B: BaselineObject>(baseline: &B, context: &Context) -> Result<Action, ReconcileError> {
    let uid = baseline.meta().uid.clone().unwrap_or_default();
    let judged = context.objects.judge(baseline);
    let (now, previous) = (Timestamp::now(), baseline.status());
    let mut status = status(&judged, &context.reports.of(&uid), previous, now);
    status.pending_change_sets = i64::try_from(context.pending.total(&uid)).ok().filter(|pending| *pending > 0);
    count(&judged.baseline.reference, &status, context);
    let changed = !previous.is_some_and(|previous| conditions::same_but_for_time(previous, &status));
    let heartbeat =
        previous.and_then(|previous| previous.heartbeat.as_ref()).map(|time| now.duration_since(time.0).unsigned_abs());
    if !changed && let Some(left) = heartbeat.and_then(|age| HEARTBEAT.checked_sub(age)) {
        return Ok(Action::requeue(left));
    }
    let answered = answers(&status);
    if let Some(wait) = context.status_writes.wait(&uid, answered, Instant::now()) {
        return Ok(Action::requeue(wait));
    }
    if !context.leadership.holds(Instant::now()) {
        return Ok(Action::requeue(LOOK_FOR_LEASE_AGAIN));
    }
    write(baseline, &status, context).await?;
    context.status_writes.written(&uid, answered, Instant::now());
    announce(baseline, previous, &status, context).await;
    Ok(Action::requeue(HEARTBEAT))
}

/// The gauges show what the status shows; of a baseline that counts nothing there are none.
fn count(reference: &BaselineRef, status: &BaselineStatus, context: &Context) {
    let Some(Violations { critical, high, medium, low }) = status.violations else {
        return context.metrics.forget_baseline(reference);
    };
    let by_severity = [("critical", critical), ("high", high), ("medium", medium), ("low", low)];
    let violations = by_severity.map(|(severity, count)| (severity.to_owned(), count)).into();
    context.metrics.baseline(reference, &violations, &status.withheld);
}

async fn write<B: BaselineObject>(baseline: &B, status: &BaselineStatus, context: &Context) -> kube::Result<()> {
    let BaselineRef { namespace, name, .. } = baseline.reference();
    write_status::<B>(&context.client, Some(&namespace), &name, status).await
}

/// One event for each condition that flipped.
async fn announce<B: BaselineObject>(
    baseline: &B,
    previous: Option<&BaselineStatus>,
    status: &BaselineStatus,
    context: &Context,
) {
    let before = previous.map(|previous| previous.conditions.as_slice()).unwrap_or_default();
    let flipped = events::flipped(before, &status.conditions, &[ACCEPTED, OBSERVED, COMPLIANT]);
    // What is looked at just now is known in a moment.
    for condition in flipped.into_iter().filter(|condition| condition.status != State::Unknown.as_str()) {
        events::announce(&context.recorder, &baseline.object_ref(&()), condition).await;
    }
}

/// What is done after a reconcile that failed.
pub fn on_error<B: BaselineObject>(
    object: Arc<DeserializeGuard<B>>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Action {
    tracing::warn!(baseline = object.name_any(), namespace = object.namespace(), kind = %B::KIND, %error, "Baseline not reconciled: trying again");
    Action::requeue(context.backoff.next(&key(&object)))
}

/// Kind, namespace and name of a baseline, as `kind/namespace/name`.
pub fn key<B: BaselineObject>(object: &DeserializeGuard<B>) -> String {
    format!("{}/{}/{}", B::KIND, object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_waits_for_nothing_and_what_follows_for_its_turn() {
        let (writes, start) = (Writes::default(), Instant::now());
        let soon = start + Duration::from_secs(1);
        assert_eq!(writes.wait("uid", false, start), None);
        writes.written("uid", false, start);
        assert_eq!(writes.wait("uid", false, soon), Some(STATUS_EVERY - Duration::from_secs(1)));
        assert_eq!(writes.wait("uid", true, soon), None);
        writes.written("uid", true, soon);
        assert_eq!(writes.wait("uid", true, soon), Some(STATUS_EVERY));
        assert_eq!(writes.wait("uid", false, soon), Some(STATUS_EVERY));
        assert_eq!(writes.wait("uid", true, soon + STATUS_EVERY), None);
    }
}
