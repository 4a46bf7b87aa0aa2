//! Approvals: whose word counts on a change set, and the controller that says in the status of each what became of it.

use std::sync::Arc;
use std::time::Duration;

use crds::conditions::{self, ACCEPTED, State, Update};
use crds::{Action, ChangeSet, ChangeSetApproval, ChangeSetApprovalStatus, Phase};
use engine::approval::{ChangeSetName, Decision};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Next;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::context::Context;
use crate::journal::{Decided, FIELD_MANAGER};
use crate::kubernetes::within;
use crate::policies::InForce;
use crate::{events, undecodable};

/// What an approval waits for is looked at again so often.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// A word that was heard is looked at again so often, since the admission policies may go.
const STILL_SO_AFTER: Duration = Duration::from_secs(600);

/// What people decided on a change set with this hash. A rejection counts before any approval; nobody's word counts while
/// anybody could have forged it.
pub fn decided(
    approvals: &[Arc<DeserializeGuard<ChangeSetApproval>>],
    name: &ChangeSetName,
    hash: &str,
    policies: &InForce,
) -> Decided {
    let words = approvals.iter().filter_map(|object| object.0.as_ref().ok());
    let mut counting: Vec<&ChangeSetApproval> = words
        .filter(|approval| is_about(approval, name) && approval.spec.hash == hash && policies.cover(approval).is_ok())
        .collect();
    counting.sort_by_key(|approval| (approval.creation_timestamp().map(|time| time.0), approval.name_any()));
    let first = |action| counting.iter().find(|approval| approval.spec.action == action);
    let by = |approval: &&ChangeSetApproval| Some(approval.spec.by.clone());
    match (first(Action::Reject), first(Action::Approve)) {
        (Some(reject), _) => Decided { decision: Decision::Rejected, by: by(reject) },
        (None, Some(approve)) => Decided { decision: Decision::Approved, by: by(approve) },
        (None, None) => Decided { decision: Decision::Open, by: None },
    }
}

fn is_about(approval: &ChangeSetApproval, name: &ChangeSetName) -> bool {
    approval.spec.change_set == name.name && approval.namespace().is_some_and(|namespace| namespace == name.namespace)
}

/// Brings the status of one approval up to date.
///
/// # Errors
/// The Kubernetes API could not be read or written; the caller tries again.
pub async fn reconcile(
    object: Arc<DeserializeGuard<ChangeSetApproval>>,
    context: Arc<Context>,
) -> Result<Next, kube::Error> {
    context.wake_cells.send_replace(());
    let next = match &object.0 {
        Ok(approval) => report(approval, &context).await?,
        Err(_) => {
            undecodable::report(&object, context.client.clone(), &[ACCEPTED]).await?;
            Next::await_change()
        }
    };
    context.backoff.forget(&key(&object));
    Ok(next)
}

async fn report(approval: &ChangeSetApproval, context: &Context) -> Result<Next, kube::Error> {
    let namespace = approval.namespace().unwrap_or_default();
    let sets: Api<ChangeSet> = Api::namespaced(context.client.clone(), &namespace);
    let set = within(sets.get_opt(&approval.spec.change_set)).await?;
    let before = approval.status.clone().unwrap_or_default().conditions;
    let heard = conditions::find(&before, ACCEPTED).is_some_and(|condition| condition.reason == conditions::HONOURED);
    let Answer { state, reason, message } = answer(approval, set.as_ref(), heard, &context.objects.policies_in_force());
    let (mut after, now) = (before.clone(), Timestamp::now());
    let update = Update { kind: ACCEPTED, state, reason, message: &message };
    conditions::set(&mut after, &update, approval.metadata.generation, now);
    if !conditions::same_but_for_time(&before, &after) {
        write(approval, ChangeSetApprovalStatus { conditions: after.clone() }, context).await?;
        for condition in events::flipped(&before, &after, &[ACCEPTED]) {
            events::announce_as(&context.recorder, &approval.object_ref(&()), condition, state == State::False).await;
        }
    }
    Ok(Next::requeue(if state == State::Unknown { LOOK_AGAIN_AFTER } else { STILL_SO_AFTER }))
}

async fn write(approval: &ChangeSetApproval, status: ChangeSetApprovalStatus, context: &Context) -> kube::Result<()> {
    let api: Api<ChangeSetApproval> =
        Api::namespaced(context.client.clone(), &approval.namespace().unwrap_or_default());
    let body = json!({"apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSetApproval", "status": status});
    within(api.patch_status(&approval.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(body)))
        .await?;
    Ok(())
}

/// What is done after a reconcile that failed.
pub fn on_error(object: Arc<DeserializeGuard<ChangeSetApproval>>, error: &kube::Error, context: Arc<Context>) -> Next {
    tracing::warn!(approval = object.name_any(), namespace = object.namespace(), %error, "Approval not reconciled: trying again");
    Next::requeue(context.backoff.next(&key(&object)))
}

/// Kind, namespace and name of an approval.
pub fn key(object: &DeserializeGuard<ChangeSetApproval>) -> String {
    format!("ChangeSetApproval {}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// What is said of an approval.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    state: State,
    reason: &'static str,
    message: String,
}

impl Answer {
    fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self { state: State::False, reason, message: message.into() }
    }
}

/// What becomes of an approval. One that was `heard` stays so whatever becomes of the change set.
fn answer(approval: &ChangeSetApproval, set: Option<&ChangeSet>, heard: bool, policies: &InForce) -> Answer {
    let name = &approval.spec.change_set;
    let honoured = |message: String| Answer { state: State::True, reason: conditions::HONOURED, message };
    if heard {
        return honoured(format!("change set {name} follows it"));
    }
    if let Err(problem) = policies.cover(approval) {
        return Answer::refused(conditions::POLICIES_MISSING, problem);
    }
    let Some(set) = set else {
        let message = format!("there is no change set {name} in this namespace: kubectl get chg lists them");
        return Answer::refused(conditions::NO_SUCH_CHANGE_SET, message);
    };
    if set.spec.hash != approval.spec.hash {
        let message =
            format!("change set {name} has the hash {}: read it again, and approve what you have read", set.spec.hash);
        return Answer::refused(conditions::HASH_MISMATCH, message);
    }
    let phase = set.status.as_ref().and_then(|status| status.phase);
    let decided = |phase: Phase| {
        let message = format!(
            "change set {name} is {phase:?}: there is nothing left to decide; what is still wrong is in another one"
        );
        Answer::refused(conditions::NOT_OPEN, message)
    };
    match (approval.spec.action, phase) {
        (_, None | Some(Phase::Proposed)) => Answer {
            state: State::Unknown,
            reason: conditions::PENDING,
            message: "the next sweep acts on it".to_owned(),
        },
        (Action::Approve, Some(Phase::Approved | Phase::Applying | Phase::Applied | Phase::PartlyApplied))
            if was_approved(set) =>
        {
            honoured(format!("change set {name} follows it"))
        }
        (Action::Reject, Some(Phase::Rejected)) => honoured(format!("change set {name} follows it")),
        (Action::Reject, Some(Phase::Approved)) => Answer {
            state: State::Unknown,
            reason: conditions::PENDING,
            message: "the next sweep acts on it".to_owned(),
        },
        (_, Some(phase)) => decided(phase),
    }
}

fn was_approved(set: &ChangeSet) -> bool {
    set.status.as_ref().is_some_and(|status| status.decided_by.is_some())
}
