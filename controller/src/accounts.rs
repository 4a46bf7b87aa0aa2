//! The account controller: proves each account in each region, and writes the status of `AWSAccount`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws::{Identity as Caller, IdentityError, Target};
use crds::conditions::{self, State, Update};
use crds::{AWSAccount, AWSAccountSpec, AWSAccountStatus, Identity, RegionStatus};
use engine::facts::Location;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::context::{Context, Distrust, Proof};
use crate::journal::FIELD_MANAGER;

/// A proven identity is proven anew this often.
const PROVEN_FOR: Duration = Duration::from_secs(600);
/// The last sweep of a region is shown with this grain at rest.
const HEARTBEAT: Duration = Duration::from_secs(600);
/// Nothing here may hold up the other accounts for longer.
const TIMEOUT: Duration = Duration::from_secs(120);
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
    let Ok(account) = &object.0 else {
        tracing::warn!(account = object.name_any(), "AWSAccount does not decode and is passed over");
        return Ok(Action::await_change());
    };
    context.wake_cells.send_replace(());
    let Ok(result) = tokio::time::timeout(TIMEOUT, prove_and_report(account, &context)).await else {
        return Err(ReconcileError::Timeout);
    };
    result
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
    let target = target(account, &context.installation_id);
    learn_own_principal(account, context).await;
    let duplicate = !context.objects.accounts().iter().any(|used| used.uid() == account.uid());
    let regions: Vec<(String, Result<Option<Caller>, Distrust>)> = if duplicate {
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
    write(account, status, context, now).await?;
    let failed = regions.iter().any(|(_, proof)| proof.is_err());
    if failed {
        return Ok(Action::requeue(context.backoff.next(&account.name_any())));
    }
    context.backoff.forget(&account.name_any());
    Ok(Action::requeue(PROVEN_FOR))
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

/// Proves one region, unless it was proven lately for the same roles. `None` if it was.
async fn prove(target: &Target, region: String, context: &Context) -> (String, Result<Option<Caller>, Distrust>) {
    let location = Location { account: target.account_id.clone(), region: region.clone() };
    let known = context.identities.get(&location).filter(|proof| proof.target == *target);
    if let Some(Proof { outcome: Ok(_), proven_at, .. }) = &known
        && proven_at.elapsed() < PROVEN_FOR
    {
        return (region, Ok(None));
    }
    let connection = context.connector.connect(target, &region);
    let proof = connection.prove_identity().await;
    let outcome = proof.as_ref().map(|_| connection.clone()).map_err(distrust);
    context.identities.set(location, Proof { target: target.clone(), outcome, proven_at: Instant::now() });
    (region, proof.map(Some).map_err(|error| distrust(&error)))
}

fn distrust(error: &IdentityError) -> Distrust {
    let failure = match error {
        IdentityError::Mismatch { .. } => None,
        IdentityError::Failed { error, .. } => Some(error.read_failure()),
    };
    Distrust { reason: error.reason(), message: error.to_string(), failure }
}

fn status(
    account: &AWSAccount,
    target: &Target,
    regions: &[(String, Result<Option<Caller>, Distrust>)],
    duplicate: bool,
    context: &Context,
    now: Timestamp,
) -> AWSAccountStatus {
    let region = |(name, proof): &(String, Result<Option<Caller>, Distrust>)| {
        let location = Location { account: target.account_id.clone(), region: name.clone() };
        RegionStatus {
            name: name.clone(),
            identity: if proof.is_ok() { Identity::Proven } else { Identity::Failed },
            reason: proof.as_ref().err().map(|distrust| distrust.reason.to_owned()),
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
    let (state, reason, message) = readiness(account, regions, duplicate);
    let update = Update { kind: conditions::READY, state, reason, message: &message };
    conditions::set(&mut status.conditions, &update, account.metadata.generation, now);
    status
}

fn readiness(
    account: &AWSAccount,
    regions: &[(String, Result<Option<Caller>, Distrust>)],
    duplicate: bool,
) -> (State, &'static str, String) {
    let id = &account.spec.account_id;
    if duplicate {
        let message = format!("an older AWSAccount is for {id} already: this one is not used, delete one of the two");
        return (State::False, "DuplicateAccount", message);
    }
    let failed: Vec<_> = regions.iter().filter_map(|(name, proof)| Some((name, proof.as_ref().err()?))).collect();
    match failed.first() {
        Some((name, distrust)) => {
            let advice = distrust.failure.map(|failure| format!(": {}", failure.advice())).unwrap_or_default();
            let message =
                format!("{} of {} regions failed; {name}: {}{advice}", failed.len(), regions.len(), distrust.message);
            (State::False, distrust.reason, message)
        }
        None => {
            (State::True, conditions::IDENTITY_PROVEN, format!("{0} of {0} regions reachable as {id}", regions.len()))
        }
    }
}

async fn write(account: &AWSAccount, status: AWSAccountStatus, context: &Context, now: Timestamp) -> kube::Result<()> {
    let name = account.name_any();
    let fresh = |previous: &AWSAccountStatus| {
        let newest = previous.regions.iter().filter_map(|region| region.last_sweep.as_ref()).map(|time| time.0).max();
        let swept = status.regions.iter().any(|region| region.last_sweep.is_some());
        !swept || newest.is_some_and(|newest| now.duration_since(newest).unsigned_abs() < HEARTBEAT)
    };
    if account
        .status
        .as_ref()
        .is_some_and(|previous| conditions::same_but_for_time(previous, &status) && fresh(previous))
    {
        return Ok(());
    }
    let api: Api<AWSAccount> = Api::all(context.client.clone());
    let body = json!({"apiVersion": "baseward.dev/v1alpha1", "kind": "AWSAccount", "status": status});
    api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(body)).await?;
    Ok(())
}

/// What is done after a reconcile that failed.
pub fn on_error(object: Arc<DeserializeGuard<AWSAccount>>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let name = object.name_any();
    tracing::warn!(account = name, %error, "Account not reconciled: trying again");
    Action::requeue(context.backoff.next(&name))
}
