//! Acting on a permitted plan: fresh read, journal, and then for each resource one call at a time, each with a permit of
//! its own and seen to have taken effect before the next.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use aws::ec2::live::read_live;
use aws::ec2::network_interfaces::is_used;
use aws::ec2::write::{NotSent, WriteResult, execute};
use aws::{AwsError, Connection, ErrorClass};
use crds::MAX_EDITS;
use engine::edit::Withheld;
use engine::facts::LiveGroup;
use engine::plan::{Applied, Failure, Outcome, Permitted, PermittedResource, Plan, ResourceOutcome};
use engine::rails::{FRESHNESS, permit, still_allowed};
use engine::sequence::{State, Step, sequence};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Intent, Mandate};
use crate::authority::AuthorityNow;
use crate::events::News;
use crate::journal::{Entry, Journal, Recorded};
use crate::metrics::Metrics;
use crate::pending::{self, Pending};

/// EC2 shows a change "as quickly as possible"; after this long it counts as not made.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What can still take so long once the process is told to stop: seeing what came of a write, and writing it down.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What acting needs beside the plan.
pub struct Acting<'a> {
    /// The account and region.
    pub connection: &'a Connection,
    /// Who may write what, asked anew before each call.
    pub authority: &'a (dyn Fn() -> AuthorityNow + Sync),
    /// Counts calls.
    pub metrics: &'a Metrics,
    /// Why the last read before a write failed, if it did: said once.
    pub unread: &'a News,
    /// Cancelled when nothing more is to be begun.
    pub stop: &'a CancellationToken,
}

/// A resource that is as it was planned on, and the calls that change it.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The resource and its edits.
    pub resource: PermittedResource,
    /// Its rules with ids and tags, read right before: the undo data.
    pub live: LiveGroup,
    /// The calls.
    pub steps: Vec<Step>,
}

/// What came of the calls of a resource.
struct Tried {
    outcome: Outcome,
    calls_verified: usize,
    request_ids: Vec<String>,
}

impl From<Outcome> for Tried {
    /// No call was made.
    fn from(outcome: Outcome) -> Self {
        Self { outcome, calls_verified: 0, request_ids: Vec::new() }
    }
}

impl Tried {
    fn of(self, resource: &PermittedResource) -> ResourceOutcome {
        ResourceOutcome {
            id: resource.group.id.clone(),
            edits: resource.edits.clone(),
            warrant: resource.warrant.clone(),
            outcome: self.outcome,
            calls_verified: self.calls_verified,
            request_ids: self.request_ids,
            finished_at: Timestamp::now(),
        }
    }
}

/// Carries out a plan as far as that is possible; each resource has an outcome, whatever happens to the others.
pub async fn act(plan: Plan<Permitted>, journal: &mut Journal, acting: &Acting<'_>) -> Plan<Applied> {
    let outcomes = change_resources(&plan.stage.resources, journal, acting).await;
    plan.applied(outcomes)
}

async fn change_resources(
    resources: &[PermittedResource],
    journal: &mut Journal,
    acting: &Acting<'_>,
) -> Vec<ResourceOutcome> {
    if resources.is_empty() {
        return Vec::new();
    }
    let ids: Vec<String> = resources.iter().map(|resource| resource.group.id.clone()).collect();
    let live = match read(acting, &ids).await {
        Ok(live) => live,
        Err(reason) => {
            let unread = |resource| Tried::from(Outcome::Withheld(reason.clone())).of(resource);
            return resources.iter().map(unread).collect();
        }
    };
    let (mut prepared, mut outcomes) = (Vec::new(), Vec::new());
    for resource in resources {
        match prepare(resource, live.get(&resource.group.id)) {
            Ok(ready) => prepared.push(ready),
            Err(reason) => outcomes.push(Tried::from(reason).of(resource)),
        }
    }
    outcomes.extend(journal_and_change(prepared, journal, acting).await);
    outcomes
}

/// Puts what waits for an approval into change sets, as far as there is room for more. Undo data comes from a read of its own.
pub async fn propose(resources: &[PermittedResource], journal: &mut Journal, pending: &Pending, acting: &Acting<'_>) {
    let uids = |resource: &PermittedResource| {
        let demands = resource.edits.iter().flat_map(|edit| &edit.demands);
        demands.map(|demand| demand.baseline.uid.clone()).collect::<BTreeSet<String>>()
    };
    let has_room = |resource: &&PermittedResource| uids(resource).iter().any(|uid| pending.room(uid) > 0);
    let resources: Vec<&PermittedResource> =
        resources.iter().filter(has_room).take(pending::MOST * MAX_EDITS).collect();
    if resources.is_empty() {
        return;
    }
    let ids: Vec<String> = resources.iter().map(|resource| resource.group.id.clone()).collect();
    let Ok(live) = read(acting, &ids).await else { return };
    let ready = |resource: &&PermittedResource| prepare(resource, live.get(&resource.group.id)).ok();
    let prepared: Vec<Prepared> = resources.iter().filter_map(ready).collect();
    let location = acting.connection.location();
    let authority = (acting.authority)();
    let proposing = journal.propose(&prepared, &authority, |uid| pending.take(uid, location));
    within_last_words(acting.stop, proposing).await;
}

/// The fresh read, unless the process stops meanwhile.
async fn read(acting: &Acting<'_>, ids: &[String]) -> Result<BTreeMap<String, LiveGroup>, Withheld> {
    let read = acting.stop.run_until_cancelled(read_live(acting.connection, ids, Timestamp::now)).await;
    let read = read.ok_or(Withheld::NotLeader)?;
    let trouble = read.as_ref().err().map(AwsError::to_string);
    if acting.unread.is_new(trouble.as_ref())
        && let Some(error) = trouble
    {
        tracing::warn!(error, "No fresh read before writing: nothing is written");
    }
    read.map_err(|_| Withheld::IncompleteKnowledge)
}

/// Checks a resource against what it was planned on and orders its calls.
fn prepare(resource: &PermittedResource, live: Option<&LiveGroup>) -> Result<Prepared, Outcome> {
    let live = live.ok_or(Outcome::Failed(Failure::NotFound))?;
    if State::of(live) != planned_state(resource) {
        return Err(Outcome::Withheld(Withheld::ForeignChange));
    }
    let steps = sequence(&resource.edits, live).map_err(Outcome::Withheld)?;
    Ok(Prepared { resource: resource.clone(), live: live.clone(), steps })
}

fn planned_state(resource: &PermittedResource) -> State {
    State { rules: resource.group.rules.clone(), tags: resource.group.tags.clone() }
}

async fn journal_and_change(
    prepared: Vec<Prepared>,
    journal: &mut Journal,
    acting: &Acting<'_>,
) -> Vec<ResourceOutcome> {
    let authority = (acting.authority)();
    let recording = journal.record(&prepared, &authority);
    let Some(Recorded { mut entries, refused }) = within_last_words(acting.stop, recording).await else {
        let stopped = |ready: &Prepared| Tried::from(Outcome::Withheld(Withheld::NotLeader)).of(&ready.resource);
        return prepared.iter().map(stopped).collect();
    };
    let mut outcomes: Vec<ResourceOutcome> = Vec::new();
    for ready in &prepared {
        let id = &ready.resource.group.id;
        if let Some(reason) = refused.get(id) {
            outcomes.push(Tried::from(Outcome::Withheld(reason.clone())).of(&ready.resource));
        } else if acting.stop.is_cancelled() {
            outcomes.push(Tried::from(Outcome::Withheld(Withheld::NotLeader)).of(&ready.resource));
        } else {
            let mandate = entries.iter().find(|entry| entry.covers(&ready.resource)).map(Entry::mandate);
            let outcome = change(ready, &mandate.unwrap_or_default(), acting).await.of(&ready.resource);
            outcomes.push(outcome.clone());
            within_last_words(acting.stop, journal.note(&mut entries, &outcomes, &outcome)).await;
        }
    }
    within_last_words(acting.stop, journal.close(&mut entries, &outcomes)).await;
    outcomes
}

/// Goes on with something until it ends, but not for long once the process is told to stop.
pub async fn within_last_words<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    until_stopped_for(stop, LAST_WORDS, work).await
}

async fn until_stopped_for<T>(stop: &CancellationToken, grace: Duration, work: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = stopped => None,
    }
}

/// Why a resource that is changed because nobody uses it is left alone after all.
async fn used_meanwhile(resource: &PermittedResource, acting: &Acting<'_>) -> Option<Withheld> {
    if !resource.must_be_unused() {
        return None;
    }
    match acting.stop.run_until_cancelled(is_used(acting.connection, &resource.group.id)).await {
        Some(Ok(false)) => None,
        Some(Ok(true)) => Some(Withheld::InUse),
        Some(Err(_)) => Some(Withheld::IncompleteKnowledge),
        None => Some(Withheld::NotLeader),
    }
}

/// Changes one resource, call by call.
async fn change(ready: &Prepared, mandate: &Mandate, acting: &Acting<'_>) -> Tried {
    if let Some(reason) = used_meanwhile(&ready.resource, acting).await {
        return Tried::from(Outcome::Withheld(reason));
    }
    let (mut live, mut expected) = (ready.live.clone(), State::of(&ready.live));
    let mut tried = Tried::from(Outcome::Verified);
    for step in &ready.steps {
        let intent = Intent {
            location: acting.connection.location(),
            resource: &ready.resource,
            mandate,
            operation: step.call.operation(),
            before: &expected,
            after: &step.after,
        };
        match take(&intent, step, live, acting).await {
            Ok((seen, request_id)) => {
                tried.request_ids.extend(request_id);
                tried.calls_verified += 1;
                live = seen;
                expected = step.after.clone();
            }
            Err(Stop { reason, request_id }) => {
                tried.request_ids.extend(request_id);
                tried.outcome = reason;
                break;
            }
        }
    }
    tried
}

/// Why the calls of a resource end early.
struct Stop {
    reason: Outcome,
    request_id: Option<String>,
}

impl From<Withheld> for Stop {
    fn from(reason: Withheld) -> Self {
        Self { reason: Outcome::Withheld(reason), request_id: None }
    }
}

/// Makes one call and waits until it is seen to have taken effect.
async fn take(
    intent: &Intent<'_>,
    step: &Step,
    live: LiveGroup,
    acting: &Acting<'_>,
) -> Result<(LiveGroup, Option<String>), Stop> {
    let Intent { location, resource, before, operation, .. } = intent;
    let live = turn(resource, step, live, acting).await?;
    let (authority, call) = ((acting.authority)(), step.call.clone());
    let permit = permit(location, resource, call, before, &live, &authority.as_authority(), Timestamp::now())?;
    intent.announce().map_err(|_| Withheld::JournalUnavailable)?;
    let (metric, taken) = match sent(execute(acting.connection, permit).await) {
        Err(stop) => ("refused", Err(stop)),
        Ok(Sent { request_id, unseen }) => match verified(&resource.group.id, &step.after, acting).await {
            Some(live) => ("verified", Ok((live, request_id))),
            None => ("unverified", Err(Stop { reason: unseen, request_id })),
        },
    };
    acting.metrics.write(operation, metric);
    intent.conclude(match &taken {
        Ok((_, request_id)) => {
            audit::Outcome { outcome: crds::Outcome::Verified.name(), reason: None, request_id: request_id.as_deref() }
        }
        Err(Stop { reason, request_id }) => {
            let outcome = crds::Outcome::from(reason).name();
            audit::Outcome { outcome, reason: Some(reason.reason()), request_id: request_id.as_deref() }
        }
    });
    taken
}

/// Waits for the turn of a call first: that keeps both the read and the permit young.
async fn turn(
    resource: &PermittedResource,
    step: &Step,
    live: LiveGroup,
    acting: &Acting<'_>,
) -> Result<LiveGroup, Withheld> {
    let connection = acting.connection;
    still_allowed(connection.location(), resource, &(acting.authority)().as_authority(), Timestamp::now())?;
    let waiting = async {
        tokio::time::sleep(connection.write_delay(&step.call)).await;
        refreshed(live, connection).await.map_err(|_| Withheld::IncompleteKnowledge)
    };
    acting.stop.run_until_cancelled(waiting).await.ok_or(Withheld::NotLeader)?
}

/// A call that AWS may have carried out, as the next read shows.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    request_id: Option<String>,
    /// What came of it if the read does not show it.
    unseen: Outcome,
}

/// What is to be made of AWS's answer.
fn sent(result: WriteResult) -> Result<Sent, Stop> {
    match result {
        WriteResult::Done { request_id } => Ok(Sent { request_id, unseen: Outcome::Failed(Failure::NotVerified) }),
        WriteResult::Unknown(error) => {
            tracing::warn!(%error, "Outcome of a write unknown: reading");
            Ok(Sent { request_id: error.request_id, unseen: Outcome::Failed(Failure::OutcomeUnknown) })
        }
        // What is to be added is there, or what is to be removed is not: somebody else may have done just that.
        WriteResult::Refused(AwsError { class: ErrorClass::Duplicate | ErrorClass::NotFound, request_id, .. }) => {
            Ok(Sent { request_id, unseen: Outcome::Withheld(Withheld::ForeignChange) })
        }
        WriteResult::Refused(error) => {
            tracing::warn!(%error, detail = error.detail, "Write refused");
            Err(Stop { reason: Outcome::Failed(refused(error.class)), request_id: error.request_id })
        }
        WriteResult::NotSent(reason) => {
            tracing::warn!(%reason, "Write not sent");
            Err(Stop { reason: Outcome::Failed(not_sent(&reason)), request_id: None })
        }
    }
}

/// The read itself, or a new one where it has grown old.
async fn refreshed(live: LiveGroup, connection: &Connection) -> Result<LiveGroup, AwsError> {
    if Timestamp::now().duration_since(live.read_at) < FRESHNESS / 2 {
        return Ok(live);
    }
    let mut found = read_live(connection, std::slice::from_ref(&live.id), Timestamp::now).await?;
    // A group that is gone shows as a foreign change, since nothing equals it.
    Ok(found.remove(&live.id).unwrap_or(LiveGroup { rules: Vec::new(), tags: Default::default(), ..live }))
}

/// Reads until the group is as expected, or for as long as EC2 may take to show a change.
async fn verified(id: &String, expected: &State, acting: &Acting<'_>) -> Option<LiveGroup> {
    let look = async {
        loop {
            match read_live(acting.connection, std::slice::from_ref(id), Timestamp::now).await {
                Ok(mut found) => match found.remove(id) {
                    Some(live) if State::of(&live) == *expected => return live,
                    _ => {}
                },
                Err(error) => tracing::debug!(%error, "Read after a write failed"),
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    tokio::time::timeout(VISIBLE_WITHIN, within_last_words(acting.stop, look)).await.ok().flatten()
}

fn not_sent(reason: &NotSent) -> Failure {
    match reason {
        NotSent::NoToken => Failure::Throttled,
        NotSent::Failed(error) if matches!(error.class, ErrorClass::Denied | ErrorClass::CredentialsExpired) => {
            Failure::WriteDenied
        }
        NotSent::NoWriteRole | NotSent::WrongPermit(_) | NotSent::Failed(_) => Failure::NotSent,
    }
}

fn refused(class: ErrorClass) -> Failure {
    match class {
        ErrorClass::Denied | ErrorClass::CredentialsExpired => Failure::WriteDenied,
        ErrorClass::QuotaExceeded => Failure::RuleQuota,
        ErrorClass::Throttled => Failure::Throttled,
        ErrorClass::NotFound => Failure::NotFound,
        ErrorClass::Duplicate
        | ErrorClass::RegionUnknown
        | ErrorClass::Invalid
        | ErrorClass::Unavailable
        | ErrorClass::TimedOut
        | ErrorClass::Undecodable => Failure::Refused,
    }
}

#[cfg(test)]
mod tests {
    use aws::Effect;

    use super::*;

    fn error(class: ErrorClass, effect: Effect) -> AwsError {
        AwsError { class, effect, operation: "x", code: String::new(), request_id: None, detail: None }
    }

    fn unseen(result: WriteResult) -> Result<Outcome, Outcome> {
        sent(result).map(|sent| sent.unseen).map_err(|stop| stop.reason)
    }

    #[test]
    fn what_is_there_already_or_gone_already_is_read_and_not_a_failure() {
        let foreign = Outcome::Withheld(Withheld::ForeignChange);
        for class in [ErrorClass::Duplicate, ErrorClass::NotFound] {
            assert_eq!(unseen(WriteResult::Refused(error(class, Effect::Refused))), Ok(foreign.clone()));
        }
        let invalid = WriteResult::Refused(error(ErrorClass::Invalid, Effect::Refused));
        assert_eq!(unseen(invalid), Err(Outcome::Failed(Failure::Refused)));
    }

    #[test]
    fn what_was_never_sent_was_not_refused_by_aws() {
        for reason in [
            NotSent::Failed(error(ErrorClass::Unavailable, Effect::NotSent)),
            NotSent::Failed(error(ErrorClass::TimedOut, Effect::NotSent)),
            NotSent::NoWriteRole,
        ] {
            assert_eq!(unseen(WriteResult::NotSent(reason)), Err(Outcome::Failed(Failure::NotSent)));
        }
        let denied = NotSent::Failed(error(ErrorClass::Denied, Effect::NotSent));
        assert_eq!(unseen(WriteResult::NotSent(denied)), Err(Outcome::Failed(Failure::WriteDenied)));
    }

    #[tokio::test]
    async fn work_is_given_up_only_once_the_process_stops() {
        let (stop, grace) = (CancellationToken::new(), Duration::from_millis(1));
        let work = || async { tokio::time::sleep(Duration::from_millis(50)).await };
        assert_eq!(until_stopped_for(&stop, grace, work()).await, Some(()));
        stop.cancel();
        assert_eq!(until_stopped_for(&stop, grace, work()).await, None);
        assert_eq!(until_stopped_for(&stop, Duration::ZERO, async { 1 }).await, Some(1));
    }
}
