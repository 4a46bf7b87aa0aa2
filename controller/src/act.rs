//! Acting on a permitted plan: fresh read, journal, and then for each resource one call at a time, each with a permit of
//! its own and seen to have taken effect before the next.

mod answers;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use aws::ec2::network_interfaces::is_used;
use aws::live::{Wanted, properties_of, read_live};
use aws::write::execute;
use aws::{AwsError, Connection, ErrorClass};
use crds::MAX_EDITS;
use engine::call::LambdaOperation;
use engine::edit::Withheld;
use engine::facts::{Live, LiveFunction, LiveGroup, Tags, UpdateStatus};
use engine::plan::{Applied, Failure, Outcome, Permitted, PermittedResource, Plan, ResourceOutcome, Target};
use engine::property::Property;
use engine::rails::{FRESHNESS, permit, still_allowed};
use engine::sequence::properties::{renewed, unready};
use engine::sequence::{State, Step, sequence};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Intent, Mandate};
use crate::authority::AuthorityNow;
use crate::events::News;
use crate::journal::{Entry, Journal, Recorded};
use crate::metrics::Metrics;
use crate::pending::{self, Pending};

/// EC2 shows a change "as quickly as possible"; a resource at rest that does not show it after this long did not take it.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// A function in a VPC takes a minute or more to be updated ("Lambda function states").
const UPDATED_WITHIN: Duration = Duration::from_secs(180);
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
    /// All of it that the edits rest on, read right before: the undo data.
    pub live: Live,
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
            id: resource.target.id.clone(),
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
    let live = read(acting, resources).await;
    let (mut prepared, mut outcomes) = (Vec::new(), Vec::new());
    for resource in resources {
        let found = match live.get(&resource.target.id) {
            Some(Err(reason)) => {
                outcomes.push(Tried::from(Outcome::Withheld(reason.clone())).of(resource));
                continue;
            }
            Some(Ok(live)) => Some(live),
            None => None,
        };
        let (resource, aside) = without_the_unready(resource, found);
        outcomes.extend(aside);
        match prepare(&resource, found) {
            Ok(ready) => prepared.push(ready),
            Err(reason) => outcomes.push(Tried::from(reason).of(&resource)),
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
    let live = read(acting, resources.iter().copied()).await;
    let found = |resource: &PermittedResource| live.get(&resource.target.id).and_then(|live| live.as_ref().ok());
    let ready = |resource: &&PermittedResource| {
        let found = found(resource)?;
        let (resource, _) = without_the_unready(resource, Some(found));
        prepare(&resource, Some(found)).ok()
    };
    let prepared: Vec<Prepared> = resources.iter().filter_map(ready).collect();
    let (authority, cell) = ((acting.authority)(), journal.cell().clone());
    let proposing = journal.propose(&prepared, &authority, |uid| pending.take(uid, &cell));
    within_last_words(acting.stop, proposing).await;
}

/// The fresh reads by id, unless the process stops meanwhile; what was not found is not among them. Security groups are read
/// together. Functions are read one by one: one that nobody may read holds up no other.
async fn read<'r>(
    acting: &Acting<'_>,
    resources: impl IntoIterator<Item = &'r PermittedResource>,
) -> BTreeMap<String, Result<Live, Withheld>> {
    let with_properties = |resource: &'r PermittedResource| (&resource.target, properties_of(&resource.edits));
    let resources: Vec<_> = resources.into_iter().map(with_properties).collect();
    let wanted: Vec<Wanted<'_>> =
        resources.iter().map(|(target, properties)| Wanted::new(target, properties).with_tags()).collect();
    let (mut found, mut troubles) = (BTreeMap::new(), BTreeSet::new());
    // What ails AWS as a whole is not waited for once for each function.
    let mut out_of_order = None;
    for batch in wanted.chunk_by(|one, next| one.is_of_a_batch() && next.is_of_a_batch()) {
        let failed = |reason: Withheld| batch.iter().map(move |one| (one.id.to_owned(), Err(reason.clone())));
        if let Some(reason) = &out_of_order {
            found.extend(failed(Withheld::clone(reason)));
            continue;
        }
        match acting.stop.run_until_cancelled(read_live(acting.connection, batch, Timestamp::now)).await {
            Some(Ok(live)) => found.extend(live.into_iter().map(|(id, live)| (id, Ok(live)))),
            Some(Err(error)) => {
                troubles.insert(error.to_string());
                found.extend(failed(Withheld::IncompleteKnowledge));
                out_of_order = is_of_aws_as_a_whole(error.class).then_some(Withheld::IncompleteKnowledge);
            }
            None => {
                found.extend(failed(Withheld::NotLeader));
                out_of_order = Some(Withheld::NotLeader);
            }
        }
    }
    let trouble = (!troubles.is_empty()).then(|| troubles.into_iter().collect::<Vec<String>>().join(", "));
    if acting.unread.is_new(trouble.as_ref())
        && let Some(error) = trouble
    {
        tracing::warn!(error, "No fresh read before writing: nothing is written");
    }
    found
}

/// Whether a failed read of one resource says that the others cannot be read either.
fn is_of_aws_as_a_whole(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Throttled
            | ErrorClass::Unavailable
            | ErrorClass::TimedOut
            | ErrorClass::CredentialsExpired
            | ErrorClass::RegionUnknown
    )
}

/// The resource without the edits that cannot be made now although others can, and what is said of these.
fn without_the_unready(
    resource: &PermittedResource,
    live: Option<&Live>,
) -> (PermittedResource, Option<ResourceOutcome>) {
    let (mut rest, mut aside) = (resource.clone(), resource.clone());
    let Some(Live::Function(live)) = live else { return (rest, None) };
    match unready(&resource.edits, live) {
        Some((waiting, why)) if waiting.len() < resource.edits.len() => {
            rest.edits.retain(|edit| !waiting.contains(edit));
            aside.edits = waiting;
            (rest, Some(Tried::from(Outcome::Withheld(why)).of(&aside)))
        }
        _ => (rest, None),
    }
}

/// Checks a resource against what it was planned on and orders its calls.
fn prepare(resource: &PermittedResource, live: Option<&Live>) -> Result<Prepared, Outcome> {
    let live = live.ok_or(Outcome::Failed(Failure::NotFound))?;
    if !resource.target.has_tags_of(live) || State::of(live) != resource.target.planned {
        return Err(Outcome::Withheld(Withheld::ForeignChange));
    }
    let steps = sequence(&resource.edits, live).map_err(Outcome::Withheld)?;
    Ok(Prepared { resource: resource.clone(), live: live.clone(), steps })
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
        let id = &ready.resource.target.id;
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
    match acting.stop.run_until_cancelled(is_used(acting.connection, &resource.target.id)).await {
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
    live: Live,
    acting: &Acting<'_>,
) -> Result<(Live, Option<String>), Stop> {
    let Intent { location, resource, before, operation, .. } = intent;
    let live = turn(resource, step, live, acting).await?;
    let (authority, call) = ((acting.authority)(), renewed(&step.call, &live)?);
    let permit = permit(location, resource, call, before, &live, &authority.as_authority(), Timestamp::now())?;
    intent.announce().map_err(|_| Withheld::JournalUnavailable)?;
    let (metric, taken) = match answers::sent(execute(acting.connection, permit).await) {
        Err(stop) => ("refused", Err(stop)),
        Ok(answers::Sent { request_id, unseen }) => match verified(&resource.target, step, acting).await {
            Ok(live) => ("verified", Ok((live, request_id))),
            Err(failed) => {
                let reason = failed.map_or(unseen, Outcome::Failed);
                ("unverified", Err(Stop { reason, request_id }))
            }
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
async fn turn(resource: &PermittedResource, step: &Step, live: Live, acting: &Acting<'_>) -> Result<Live, Withheld> {
    let connection = acting.connection;
    still_allowed(connection.location(), resource, &(acting.authority)().as_authority(), Timestamp::now())?;
    let waiting = async {
        tokio::time::sleep(connection.write_delay(&step.call)).await;
        refreshed(&resource.target, step, live, connection).await.map_err(|_| Withheld::IncompleteKnowledge)
    };
    acting.stop.run_until_cancelled(waiting).await.ok_or(Withheld::NotLeader)?
}

/// The properties that are to be seen of a resource around a call.
fn properties(step: &Step) -> BTreeSet<Property> {
    match &step.after {
        State::Group { .. } => BTreeSet::new(),
        State::Properties(values) => values.keys().cloned().collect(),
    }
}

/// The read itself, or a new one where it has grown old.
async fn refreshed(target: &Target, step: &Step, live: Live, connection: &Connection) -> Result<Live, AwsError> {
    if Timestamp::now().duration_since(live.read_at()) < FRESHNESS / 2 {
        return Ok(live);
    }
    let properties = properties(step);
    // Once a call is made its tags may be others, by that call.
    let untouched = matches!(&live, Live::Function(function) if function.tags.is_some());
    let wanted = Wanted { with_tags: untouched, ..Wanted::new(target, &properties) };
    let mut found = read_live(connection, &[wanted], Timestamp::now).await?;
    // A resource that is gone shows as a foreign change, since it is named by nothing.
    Ok(found.remove(&target.id).unwrap_or_else(|| gone(live)))
}

fn gone(live: Live) -> Live {
    match live {
        Live::Group(group) => Live::Group(LiveGroup { rules: Vec::new(), tags: Tags::default(), ..group }),
        Live::Function(function) => Live::Function(LiveFunction { id: String::new(), ..function }),
    }
}

/// Reads until the resource is as expected and at rest, or for as long as that may take.
///
/// # Errors
/// It is not, or AWS says that it could not carry out the change: then why.
async fn verified(target: &Target, step: &Step, acting: &Acting<'_>) -> Result<Live, Option<Failure>> {
    let (properties, asked_at) = (properties(step), Instant::now());
    let look = async {
        loop {
            match read_live(acting.connection, &[Wanted::new(target, &properties)], Timestamp::now).await {
                Ok(mut found) => {
                    let live = found.remove(&target.id);
                    match live.as_ref().map(|live| rest(live, step)) {
                        Some(Rest::AsExpected) => return live.ok_or(None),
                        Some(Rest::Failed(failure)) => return Err(Some(failure)),
                        Some(Rest::InProgress) => {}
                        Some(Rest::Otherwise) | None if asked_at.elapsed() > VISIBLE_WITHIN => return Err(None),
                        Some(Rest::Otherwise) | None => {}
                    }
                }
                Err(error) => tracing::debug!(%error, "Read after a write failed"),
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    let seen = tokio::time::timeout(longest(step), within_last_words(acting.stop, look)).await;
    seen.ok().flatten().unwrap_or(Err(None))
}

/// How long to look for what a call has done.
fn longest(step: &Step) -> Duration {
    if step.call.operation() == LambdaOperation::UpdateFunctionConfiguration.name() {
        UPDATED_WITHIN
    } else {
        VISIBLE_WITHIN
    }
}

/// How a resource stands after a call.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    AsExpected,
    InProgress,
    Otherwise,
    Failed(Failure),
}

fn rest(live: &Live, step: &Step) -> Rest {
    let configures = step.call.operation() == LambdaOperation::UpdateFunctionConfiguration.name();
    let status = match live {
        Live::Function(function) if configures => function.status.as_ref(),
        Live::Function(_) | Live::Group(_) => None,
    };
    match status {
        Some(UpdateStatus::InProgress) => Rest::InProgress,
        Some(UpdateStatus::UpdateFailed(code)) => {
            tracing::warn!(code, resource = live.id(), "AWS could not carry out an update");
            Rest::Failed(answers::failed_update(code))
        }
        _ if State::of(live) == step.after => Rest::AsExpected,
        _ => Rest::Otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
