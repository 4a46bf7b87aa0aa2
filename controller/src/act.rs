//! Acting on a permitted plan: fresh read, journal, and then for each resource one call at a time, each with a permit of
//! its own and seen to have taken effect before the next.

use std::time::Duration;

use aws::ec2::live::read_live;
use aws::ec2::write::{NotSent, WriteResult, execute};
use aws::{AwsError, Connection, ErrorClass};
use engine::edit::Withheld;
use engine::facts::{LiveGroup, Location};
use engine::plan::{Applied, Failure, Outcome, Permitted, PermittedResource, Plan, ResourceOutcome};
use engine::rails::{FRESHNESS, permit};
use engine::sequence::{State, Step, sequence};
use jiff::Timestamp;

use crate::authority::AuthorityNow;
use crate::journal::Journal;
use crate::metrics::Metrics;

/// EC2 shows a change "as quickly as possible"; after this long it counts as not made.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What acting needs beside the plan.
pub struct Acting<'a> {
    /// The account and region.
    pub connection: &'a Connection,
    /// Where every change is written down first.
    pub journal: &'a Journal,
    /// Who may write what, asked anew before each call.
    pub authority: &'a (dyn Fn() -> AuthorityNow + Sync),
    /// Counts calls.
    pub metrics: &'a Metrics,
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

/// Carries out a plan as far as that is possible; each resource has an outcome, whatever happens to the others.
pub async fn act(plan: Plan<Permitted>, acting: &Acting<'_>) -> Plan<Applied> {
    let outcomes = change_resources(&plan.location, &plan.stage.resources, acting).await;
    plan.applied(outcomes)
}

async fn change_resources(
    location: &Location,
    resources: &[PermittedResource],
    acting: &Acting<'_>,
) -> Vec<ResourceOutcome> {
    if resources.is_empty() {
        return Vec::new();
    }
    let ids: Vec<String> = resources.iter().map(|resource| resource.group.id.clone()).collect();
    let live = match read_live(acting.connection, &ids, Timestamp::now).await {
        Ok(live) => live,
        Err(error) => {
            tracing::warn!(%error, "No fresh read before writing: nothing is written");
            let unread = |resource| outcome(resource, Outcome::Withheld(Withheld::IncompleteKnowledge), Vec::new());
            return resources.iter().map(unread).collect();
        }
    };
    let (mut prepared, mut outcomes) = (Vec::new(), Vec::new());
    for resource in resources {
        match prepare(resource, live.get(&resource.group.id)) {
            Ok(ready) => prepared.push(ready),
            Err(reason) => outcomes.push(outcome(resource, reason, Vec::new())),
        }
    }
    outcomes.extend(journal_and_change(location, prepared, acting).await);
    outcomes
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

async fn journal_and_change(location: &Location, prepared: Vec<Prepared>, acting: &Acting<'_>) -> Vec<ResourceOutcome> {
    let entries = match acting.journal.record(location, &prepared, &(acting.authority)()).await {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(%error, "Change set not written: nothing is written to AWS");
            let unjournaled = Outcome::Withheld(Withheld::JournalUnavailable);
            return prepared.iter().map(|ready| outcome(&ready.resource, unjournaled.clone(), Vec::new())).collect();
        }
    };
    let mut outcomes = Vec::new();
    for ready in &prepared {
        outcomes.push(change(location, ready, acting).await);
    }
    acting.journal.finish(entries, &outcomes).await;
    outcomes
}

fn outcome(resource: &PermittedResource, outcome: Outcome, request_ids: Vec<String>) -> ResourceOutcome {
    let (id, edits) = (resource.group.id.clone(), resource.edits.clone());
    ResourceOutcome { id, edits, outcome, request_ids, finished_at: Timestamp::now() }
}

/// Changes one resource, call by call.
async fn change(location: &Location, ready: &Prepared, acting: &Acting<'_>) -> ResourceOutcome {
    let (mut live, mut expected) = (ready.live.clone(), State::of(&ready.live));
    let mut request_ids = Vec::new();
    for step in &ready.steps {
        match take(location, &ready.resource, step, &expected, live, acting).await {
            Ok((seen, request_id)) => {
                request_ids.extend(request_id);
                live = seen;
                expected = step.after.clone();
            }
            Err(Stop { reason, request_id }) => {
                request_ids.extend(request_id);
                return outcome(&ready.resource, reason, request_ids);
            }
        }
    }
    outcome(&ready.resource, Outcome::Verified, request_ids)
}

/// Why the calls of a resource end early.
struct Stop {
    reason: Outcome,
    request_id: Option<String>,
}

impl Stop {
    fn before(reason: Outcome) -> Self {
        Self { reason, request_id: None }
    }
}

/// Makes one call and waits until it is seen to have taken effect.
async fn take(
    location: &Location,
    resource: &PermittedResource,
    step: &Step,
    expected: &State,
    live: LiveGroup,
    acting: &Acting<'_>,
) -> Result<(LiveGroup, Option<String>), Stop> {
    // Waiting for the turn first keeps both the read and the permit young.
    tokio::time::sleep(acting.connection.write_delay(&step.call)).await;
    let live = refreshed(live, acting.connection)
        .await
        .map_err(|_| Stop::before(Outcome::Withheld(Withheld::IncompleteKnowledge)))?;
    let authority = (acting.authority)();
    let permit =
        permit(location, resource, step.call.clone(), expected, &live, &authority.as_authority(), Timestamp::now())
            .map_err(|reason| Stop::before(Outcome::Withheld(reason)))?;
    let operation = step.call.operation();
    tracing::info!(
        resource = resource.group.id,
        operation,
        account = location.account,
        region = location.region,
        "Writing"
    );
    let (request_id, known) = match execute(acting.connection, permit).await {
        WriteResult::Done { request_id } => (request_id, true),
        WriteResult::Unknown(error) => {
            tracing::warn!(resource = resource.group.id, operation, %error, "Outcome of a write unknown: reading");
            (error.request_id, false)
        }
        WriteResult::NotSent(reason) => return Err(Stop::before(Outcome::Failed(not_sent(&reason)))),
        WriteResult::Refused(error) => {
            tracing::warn!(resource = resource.group.id, operation, %error, detail = error.detail, "Write refused");
            acting.metrics.write(operation, "refused");
            return Err(Stop { reason: Outcome::Failed(refused(&error)), request_id: error.request_id });
        }
    };
    match verified(&resource.group.id, &step.after, acting.connection).await {
        Some(live) => {
            acting.metrics.write(operation, "verified");
            Ok((live, request_id))
        }
        None => {
            acting.metrics.write(operation, "unverified");
            let failure = if known { Failure::NotVerified } else { Failure::OutcomeUnknown };
            Err(Stop { reason: Outcome::Failed(failure), request_id })
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
async fn verified(id: &String, expected: &State, connection: &Connection) -> Option<LiveGroup> {
    let look = async {
        loop {
            match read_live(connection, std::slice::from_ref(id), Timestamp::now).await {
                Ok(mut found) => match found.remove(id) {
                    Some(live) if State::of(&live) == *expected => return live,
                    _ => {}
                },
                Err(error) => tracing::debug!(%error, "Read after a write failed"),
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    tokio::time::timeout(VISIBLE_WITHIN, look).await.ok()
}

fn not_sent(reason: &NotSent) -> Failure {
    match reason {
        NotSent::NoToken => Failure::Throttled,
        NotSent::NoWriteRole | NotSent::WrongPermit(_) => Failure::Refused,
        NotSent::Failed(error) => refused(error),
    }
}

fn refused(error: &AwsError) -> Failure {
    match error.class {
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
