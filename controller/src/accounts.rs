//! The account controller: proves each account in each region, and writes the status of `AWSAccount`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws::{IdentityError, Role, Target};
use crds::conditions::{self, State, Update};
use crds::{AWSAccount, AWSAccountSpec, AWSAccountStatus, Identity, RegionStatus};
use engine::facts::{Location, ReadFailure};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::context::{Context, Distrust, Proof};
use crate::kubernetes::write_status;
use crate::lease::LOOK_FOR_LEASE_AGAIN;
use crate::{events, undecodable};

/// A proven identity is proven anew this often.
const PROVEN_FOR: Duration = Duration::from_secs(600);
/// The last sweep of a region is shown with this grain at rest.
const HEARTBEAT: Duration = Duration::from_secs(600);
/// Nothing here may hold up the other accounts for longer.
const TIMEOUT: Duration = Duration::from_secs(120);
/// AWS has so long to answer in one region. All regions together stay within [`TIMEOUT`].
const PROOF_TIMEOUT: Duration = Duration::from_secs(20);
/// Regions of one account that are asked at once.
const REGIONS_AT_ONCE: usize = 8;

/// Proves one account and writes down what came of it.
///
/// # Errors
/// The status could not be written; the caller tries again.
pub async fn reconcile(
    object: Arc<DeserializeGuard<AWSAccount>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let report = async {
        // An account that is not read yet must not look like one that is not there.
        context.objects.wait_until_ready().await;
        context.wake_cells.send_replace(());
        match &object.0 {
            Ok(account) => prove_and_report(account, &context).await,
            Err(_) => {
                context.wake_baselines.send_replace(());
                Ok(undecodable::report(&object, &context, &[conditions::READY]).await?)
            }
        }
    };
    tokio::time::timeout(TIMEOUT, report).await.unwrap_or(Err(ReconcileError::Timeout))
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

async fn prove_and_report(account: &AWSAccount, context: &Context) -> Result<Action, ReconcileError> {
    let target = target(account, &context.objects.installation_id);
    learn_own_principal(account, context).await;
    let duplicate = !context.objects.accounts().uses(account);
    let regions: Vec<Region> = if duplicate {
        Vec::new()
    } else {
        futures::stream::iter(account.spec.regions.clone())
            .map(|region| prove(&target, region, context))
            .buffered(REGIONS_AT_ONCE)
            .collect()
            .await
    };
    context.wake_cells.send_replace(());
    context.wake_baselines.send_replace(());
    let now = Timestamp::now();
    let status = status(account, &target, &regions, duplicate, context, now);
    let (is_news, leads) = (is_news(account, &status, now), context.leadership.holds(Instant::now()));
    if is_news && leads {
        write(account, &status, context).await?;
    }
    if regions.iter().any(|(_, proof)| is_due(proof)) {
        return Ok(Action::requeue(context.backoff.next(&account.name_any())));
    }
    context.backoff.forget(&account.name_any());
    Ok(Action::requeue(if is_news && !leads { LOOK_FOR_LEASE_AGAIN } else { PROVEN_FOR }))
}

/// A region by name, and what is known of the roles there.
type Region = (String, Proof);

/// Whether AWS is to be asked again.
fn is_due(proof: &Proof) -> bool {
    proof.distrust().is_some() || proof.proven_at.elapsed() >= PROVEN_FOR
}

/// Asks AWS once who the controller is, so that the trust policy to paste can name it.
async fn learn_own_principal(account: &AWSAccount, context: &Context) {
    let Some(region) = account.spec.regions.first() else { return };
    let ask = || async { context.connector.own_arn(region).await.map(|arn| aws::iam::principal_of(&arn)) };
    if let Err(error) = context.own_principal.get_or_try_init(ask).await {
        tracing::debug!(%error, "The controller's own identity is not known yet");
    }
}

/// How an account is to be reached.
pub fn target(account: &AWSAccount, installation_id: &str) -> Target {
    let AWSAccountSpec { account_id, read_role, write_role, rate_share, .. } = &account.spec;
    Target {
        account_id: account_id.clone(),
        read_role: read_role.clone(),
        write_role: write_role.clone(),
        external_id: format!("baseward:{installation_id}:{account_id}"),
        rate_share: u8::try_from(*rate_share).unwrap_or(1),
    }
}

/// Proves one region, unless it was proven lately for the same roles.
async fn prove(target: &Target, region: String, context: &Context) -> Region {
    let location = Location { account: target.account_id.clone(), region: region.clone() };
    let known = context.identities.get(&location, target);
    if let Some(known) = known.as_ref().filter(|known| !is_due(known)) {
        return (region, known.clone());
    }
    let proof = ask(target, &region, context).await.or_before(known);
    context.identities.set(location, proof.clone());
    (region, proof)
}

/// Asks AWS whose the roles are, each for itself: without the one reading goes on, without the other writing does not.
async fn ask(target: &Target, region: &str, context: &Context) -> Proof {
    let connection = context.connector.connect(target, region);
    let both = async { tokio::join!(connection.prove(Role::Read), connection.prove(Role::Write)) };
    let (reading, writing) = match tokio::time::timeout(PROOF_TIMEOUT, both).await {
        Ok((reading, writing)) => {
            (reading.map_err(|error| distrust(&error)), writing.map_err(|error| distrust(&error)))
        }
        Err(_) => (Err(unanswered()), Err(unanswered())),
    };
    Proof { target: target.clone(), reading: reading.map(|()| connection.clone()), writing, proven_at: Instant::now() }
}

fn unanswered() -> Distrust {
    Distrust {
        reason: conditions::IDENTITY_UNKNOWN,
        message: format!("AWS did not say within {} s whose the roles are", PROOF_TIMEOUT.as_secs()),
        failure: Some(ReadFailure::EndpointUnavailable),
    }
}

/// What an identity that is not proven means for the account.
pub fn distrust(error: &IdentityError) -> Distrust {
    let (reason, failure) = match error {
        IdentityError::Mismatch { .. } => (conditions::IDENTITY_MISMATCH, None),
        IdentityError::Failed { error, .. } => (error.read_failure().reason(), Some(error.read_failure())),
    };
    Distrust { reason, message: error.to_string(), failure }
}

fn status(
    account: &AWSAccount,
    target: &Target,
    regions: &[Region],
    duplicate: bool,
    context: &Context,
    now: Timestamp,
) -> AWSAccountStatus {
    let region = |(name, proof): &Region| {
        let location = Location { account: target.account_id.clone(), region: name.clone() };
        RegionStatus {
            name: name.clone(),
            identity: identity(proof.distrust()),
            reason: proof.distrust().map(|distrust| distrust.reason.to_owned()),
            last_sweep: context.reports.last_sweep(&location).map(Time),
        }
    };
    let previous = account.status.clone().unwrap_or_default();
    let mut status = AWSAccountStatus {
        observed_generation: account.metadata.generation,
        external_id: Some(target.external_id.clone()),
        trust_policy: Some(aws::iam::trust_policy(
            context.own_principal.get().map(String::as_str),
            &target.external_id,
        )),
        regions: regions.iter().map(region).collect(),
        conditions: previous.conditions,
    };
    let distrusts: Vec<(&str, Option<&Distrust>)> =
        regions.iter().map(|(name, proof)| (name.as_str(), proof.distrust())).collect();
    let (state, reason, message) = readiness(&account.spec.account_id, &distrusts, duplicate);
    let update = Update { kind: conditions::READY, state, reason, message: &message };
    conditions::set(&mut status.conditions, &update, account.metadata.generation, now);
    status
}

fn identity(distrust: Option<&Distrust>) -> Identity {
    match distrust {
        None => Identity::Proven,
        Some(distrust) if distrust.passes() => Identity::Unknown,
        Some(_) => Identity::Failed,
    }
}

/// What `Ready` says: what needs a person comes before what may pass.
fn readiness(id: &str, regions: &[(&str, Option<&Distrust>)], duplicate: bool) -> (State, &'static str, String) {
    if duplicate {
        let message = format!("an older AWSAccount is for {id} already: this one is not used, delete one of the two");
        return (State::False, conditions::DUPLICATE_ACCOUNT, message);
    }
    let failed: Vec<(&str, &Distrust)> =
        regions.iter().filter_map(|(name, distrust)| Some((*name, (*distrust)?))).collect();
    match failed.iter().min_by_key(|(_, distrust)| distrust.passes()) {
        Some((name, distrust)) => {
            let advice = distrust.failure.map(|failure| format!(": {}", failure.advice())).unwrap_or_default();
            let message =
                format!("{} of {} regions failed; {name}: {}{advice}", failed.len(), regions.len(), distrust.message);
            let state = if distrust.passes() { State::Unknown } else { State::False };
            (state, distrust.reason, message)
        }
        None => {
            (State::True, conditions::IDENTITY_PROVEN, format!("{0} of {0} regions reachable as {id}", regions.len()))
        }
    }
}

/// Whether a status says something new, or shows a sweep for the first time in a while.
fn is_news(account: &AWSAccount, status: &AWSAccountStatus, now: Timestamp) -> bool {
    let fresh = |previous: &AWSAccountStatus| {
        let newest = previous.regions.iter().filter_map(|region| region.last_sweep.as_ref()).map(|time| time.0).max();
        let swept = status.regions.iter().any(|region| region.last_sweep.is_some());
        !swept || newest.is_some_and(|newest| now.duration_since(newest).unsigned_abs() < HEARTBEAT)
    };
    !account.status.as_ref().is_some_and(|previous| conditions::same_but_for_time(previous, status) && fresh(previous))
}

async fn write(account: &AWSAccount, status: &AWSAccountStatus, context: &Context) -> kube::Result<()> {
    write_status::<AWSAccount>(&context.client, None, &account.name_any(), status).await?;
    let before = account.status.as_ref().map(|previous| previous.conditions.as_slice()).unwrap_or_default();
    for condition in events::flipped(before, &status.conditions, &[conditions::READY]) {
        events::announce(&context.recorder, &account.object_ref(&()), condition).await;
    }
    Ok(())
}

/// What is done after a reconcile that failed.
pub fn on_error(object: Arc<DeserializeGuard<AWSAccount>>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let name = object.name_any();
    tracing::warn!(account = name, %error, "Account not reconciled: trying again");
    Action::requeue(context.backoff.next(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distrust(failure: Option<ReadFailure>) -> Distrust {
        let reason = failure.map_or(conditions::IDENTITY_MISMATCH, ReadFailure::reason);
        Distrust { reason, message: "readRole".to_owned(), failure }
    }

    fn proof(
        reading: Option<Distrust>,
        writing: Option<Distrust>,
        connection: &aws::Connection,
        age: Duration,
    ) -> Proof {
        Proof {
            target: target(&AWSAccount::new("one", AWSAccountSpec::default()), "test"),
            reading: reading.map_or(Ok(connection.clone()), Err),
            writing: writing.map_or(Ok(()), Err),
            proven_at: Instant::now().checked_sub(age).unwrap(),
        }
    }

    #[test]
    fn a_timeout_is_unknown_and_what_needs_a_person_is_said_first() {
        let (denied, late) =
            (distrust(Some(ReadFailure::AccessDenied)), distrust(Some(ReadFailure::EndpointUnavailable)));
        let foreign = distrust(None);
        let ready = |regions: &[(&str, Option<&Distrust>)]| {
            let (state, reason, _) = readiness("111122223333", regions, false);
            (state, reason)
        };
        assert_eq!(ready(&[("a", None), ("b", None)]), (State::True, "IdentityProven"));
        assert_eq!(ready(&[("a", Some(&late)), ("b", None)]), (State::Unknown, "EndpointUnavailable"));
        assert_eq!(ready(&[("a", Some(&late)), ("b", Some(&denied))]), (State::False, "AccessDenied"));
        assert_eq!(ready(&[("a", Some(&late)), ("b", Some(&foreign))]), (State::False, "IdentityMismatch"));
        assert_eq!(readiness("1", &[], true).1, "DuplicateAccount");
        assert_eq!(identity(Some(&late)), Identity::Unknown);
        assert_eq!(identity(Some(&foreign)), Identity::Failed);
    }

    #[tokio::test]
    async fn what_aws_said_before_holds_while_it_cannot_be_asked() {
        let old = PROVEN_FOR + Duration::from_secs(1);
        let connection = aws::Connector::new(aws::ConnectorOptions::default())
            .await
            .connect(&target(&AWSAccount::new("one", AWSAccountSpec::default()), "test"), "eu-west-1");
        let late = || Some(distrust(Some(ReadFailure::Throttled)));
        let denied = || Some(distrust(Some(ReadFailure::AccessDenied)));
        let before = proof(None, None, &connection, old);
        let now =
            |reading, writing| proof(reading, writing, &connection, Duration::ZERO).or_before(Some(before.clone()));
        let blip = now(late(), late());
        assert!(blip.distrust().is_none() && is_due(&blip), "it holds, and AWS is asked again soon");
        assert!(!is_due(&now(None, None)));
        assert_eq!(now(denied(), None).reading.err(), denied());
        let without_writes = now(None, denied());
        assert!(without_writes.reading.is_ok() && without_writes.writing.is_err());
        let elsewhere = Proof { target: Target { rate_share: 7, ..before.target.clone() }, ..before.clone() };
        assert!(proof(late(), None, &connection, old).or_before(Some(elsewhere)).reading.is_err());
        assert!(proof(late(), None, &connection, old).or_before(None).reading.is_err());
    }
}
