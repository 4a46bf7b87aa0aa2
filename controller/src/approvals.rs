//! Approvals: whose word counts on a change set, and the controller that says in the status of each what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::conditions::{self, ACCEPTED, State, Update};
use crds::{Action, ChangeSet, ChangeSetApproval, ChangeSetApprovalStatus, Phase, is_object_name};
use engine::approval::{ChangeSetName, Decision};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Next;
use kube::{Api, Resource, ResourceExt};

use crate::context::Context;
use crate::journal::{Decided, location};
use crate::kubernetes::{within, write_status};
use crate::lease::LOOK_FOR_LEASE_AGAIN;
use crate::policies::InForce;
use crate::rollback::{Order, touched};
use crate::{events, undecodable};

/// What an approval waits for is looked at again so often.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// A word that was heard is looked at again so often, since the admission policies may go.
const STILL_SO_AFTER: Duration = Duration::from_secs(600);

/// What people decided on a change set with this hash. A rejection, or the undo of what is being made, counts before any approval; nobody's word counts while
/// anybody could have forged it.
pub fn decided(
    approvals: &[Arc<DeserializeGuard<ChangeSetApproval>>],
    name: &ChangeSetName,
    hash: &str,
    is_begun: bool,
    policies: &InForce,
) -> Decided {
    let words = approvals.iter().filter_map(|object| object.0.as_ref().ok()).filter(|approval| !is_refused(approval));
    let mut counting: Vec<&ChangeSetApproval> = words
        .filter(|approval| is_about(approval, name) && approval.spec.hash == hash && policies.cover(approval).is_ok())
        .collect();
    counting.sort_by_key(|approval| (approval.creation_timestamp().map(|time| time.0), approval.name_any()));
    let first = |actions: &[Action]| counting.iter().find(|approval| actions.contains(&approval.spec.action));
    let by = |approval: &&ChangeSetApproval| Some(approval.spec.by.clone());
    // Whoever wants undone what was made wants no more of it.
    let against: &[Action] = if is_begun { &[Action::Reject, Action::Rollback] } else { &[Action::Reject] };
    match (first(against), first(&[Action::Approve])) {
        (Some(reject), _) => Decided { decision: Decision::Rejected, by: by(reject) },
        (None, Some(approve)) => Decided { decision: Decision::Approved, by: by(approve) },
        (None, None) => Decided { decision: Decision::Open, by: None },
    }
}

/// The answer to whatever is said of a change set of an account that is nobody's by now: no sweep will come.
fn unknown_account(set: &ChangeSet, context: &Context) -> Option<Answer> {
    let is_known = context.objects.accounts().has(&location(set));
    let message = format!(
        "there is no AWSAccount in use for {} with region {}: create it, and say it again",
        set.spec.account, set.spec.region
    );
    (!is_known).then(|| Answer::refused(conditions::UNKNOWN_ACCOUNT, message))
}

/// Whether a word was refused for good.
fn is_refused(approval: &ChangeSetApproval) -> bool {
    let given = approval.status.as_ref().and_then(|status| conditions::find(&status.conditions, ACCEPTED));
    given.and_then(|given| last_word(approval, given)).is_some_and(|answer| answer.state == State::False)
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
    let next = match &object.0 {
        Ok(approval) => report(approval, &context).await?,
        Err(_) => undecodable::report(&object, &context, &[ACCEPTED]).await?,
    };
    context.backoff.forget(&key(&object));
    Ok(next)
}

async fn report(approval: &ChangeSetApproval, context: &Context) -> Result<Next, kube::Error> {
    // Accounts and policies that were not read yet must not pass for absent.
    context.objects.wait_until_ready().await;
    let namespace = approval.namespace().unwrap_or_default();
    let sets: Api<ChangeSet> = Api::namespaced(context.client.clone(), &namespace);
    // What is no name may mean another object in a request.
    let set = match is_object_name(&approval.spec.change_set) {
        true => within(sets.get_opt(&approval.spec.change_set)).await?,
        false => None,
    };
    let before = approval.status.clone().unwrap_or_default().conditions;
    let uid = approval.uid().unwrap_or_default();
    let policies = context.objects.policies_in_force();
    // An approval counts as long as something of it may be made.
    let is_over = |set: &ChangeSet| Phase::ENDED.contains(&set.phase());
    let is_settled = approval.spec.action != Action::Approve || set.as_ref().is_none_or(is_over);
    let given = conditions::find(&before, ACCEPTED).filter(|given| is_settled || given.reason != conditions::HONOURED);
    let given = given.and_then(|condition| last_word(approval, condition));
    let mut answer = match (given, context.rollbacks.refusal(&uid)) {
        (Some(given), _) => given,
        (None, Some(why)) => Answer::refused(conditions::CHANGED_SINCE, why),
        (None, None) => answer(approval, set.as_ref(), &policies),
    };
    if let Some(missing) =
        set.as_ref().filter(|_| answer.state == State::Unknown).and_then(|set| unknown_account(set, context))
    {
        answer = missing;
    }
    if let Some(why) = context.rollbacks.waits_for(&uid).filter(|_| answer.state == State::Unknown) {
        answer.message = why;
    }
    let Answer { state, reason, message } = answer;
    if let Some(set) = set.filter(|_| approval.spec.action == Action::Rollback && state == State::Unknown) {
        context.rollbacks.take(order(approval, set));
    }
    let (mut after, now) = (before.clone(), Timestamp::now());
    let update = Update { kind: ACCEPTED, state, reason, message: &message };
    conditions::set(&mut after, &update, approval.metadata.generation, now);
    if !conditions::same_but_for_time(&before, &after) {
        context.wake_cells.send_replace(());
        if !context.leadership.holds(Instant::now()) {
            return Ok(Next::requeue(LOOK_FOR_LEASE_AGAIN));
        }
        let status = ChangeSetApprovalStatus { conditions: after.clone() };
        let name = approval.name_any();
        within(write_status::<ChangeSetApproval>(&context.client, Some(&namespace), &name, &status)).await?;
        context.rollbacks.forget_refusal(&uid);
        for condition in events::flipped(&before, &after, &[ACCEPTED]) {
            events::announce_as(&context.recorder, &approval.object_ref(&()), condition, state == State::False).await;
        }
    }
    let may_change_soon = state == State::Unknown || matches!(policies, InForce::Not(_));
    Ok(Next::requeue(if may_change_soon { LOOK_AGAIN_AFTER } else { STILL_SO_AFTER }))
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

/// The answer that was given and stays: that a word was heard, that a rollback was refused, and that the account was gone. What
/// could not be done then is not done by surprise later; another word can be said.
fn last_word(approval: &ChangeSetApproval, given: &Condition) -> Option<Answer> {
    use conditions::{CHANGED_SINCE, HASH_MISMATCH, HONOURED, NO_SUCH_CHANGE_SET, NOT_OPEN, UNKNOWN_ACCOUNT};
    let reasons: &[&'static str] = match approval.spec.action {
        Action::Rollback => &[HONOURED, NOT_OPEN, CHANGED_SINCE, HASH_MISMATCH, NO_SUCH_CHANGE_SET, UNKNOWN_ACCOUNT],
        Action::Approve | Action::Reject => &[HONOURED, UNKNOWN_ACCOUNT],
    };
    let reason = reasons.iter().find(|reason| **reason == given.reason)?;
    let state = if *reason == HONOURED { State::True } else { State::False };
    Some(Answer { state, reason, message: given.message.clone() })
}

/// What becomes of an approval that was not answered for good yet.
fn answer(approval: &ChangeSetApproval, set: Option<&ChangeSet>, policies: &InForce) -> Answer {
    let name = &approval.spec.change_set;
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
    match approval.spec.action {
        Action::Rollback => undoing(approval, set),
        Action::Approve | Action::Reject => deciding(approval.spec.action, set),
    }
}

fn honoured(message: String) -> Answer {
    Answer { state: State::True, reason: conditions::HONOURED, message }
}

fn pending() -> Answer {
    Answer { state: State::Unknown, reason: conditions::PENDING, message: "the next sweep acts on it".to_owned() }
}

fn deciding(action: Action, set: &ChangeSet) -> Answer {
    let (name, approved) = (set.name_any(), set.status.as_ref().is_some_and(|status| status.decided_by.is_some()));
    match (action, set.phase()) {
        (_, Phase::Proposed) | (Action::Reject, Phase::Approved) => pending(),
        (Action::Reject, Phase::Applying) if approved => pending(),
        (Action::Approve, Phase::Approved | Phase::Applying | Phase::Applied | Phase::PartlyApplied) if approved => {
            honoured(format!("change set {name} follows it"))
        }
        (Action::Reject, Phase::Rejected) => honoured(format!("change set {name} follows it")),
        (Action::Approve, Phase::Rejected) => {
            let message = format!(
                "change set {name} was rejected, and stays so: edit its baseline to have what is still wrong proposed anew"
            );
            Answer::refused(conditions::NOT_OPEN, message)
        }
        (_, phase) => {
            let message = format!(
                "change set {name} is {phase:?}: there is nothing left to decide; what is still wrong is in another one"
            );
            Answer::refused(conditions::NOT_OPEN, message)
        }
    }
}

fn undoing(approval: &ChangeSetApproval, set: &ChangeSet) -> Answer {
    let (name, status) = (set.name_any(), set.status.clone().unwrap_or_default());
    let by_this = status.rolled_back_by.is_some_and(|by| by == approval.name_any());
    match set.phase() {
        // One that is still being made ends first.
        Phase::Applying | Phase::Applied | Phase::PartlyApplied => pending(),
        // What was made before somebody wanted no more of it.
        Phase::Rejected if !touched(set).is_empty() => pending(),
        Phase::RolledBack if by_this => {
            honoured(format!("change set {name} is undone: {}", status.message.unwrap_or_default()))
        }
        phase => {
            let message = format!("change set {name} is {phase:?}: there is nothing to undo");
            Answer::refused(conditions::NOT_OPEN, message)
        }
    }
}

fn order(approval: &ChangeSetApproval, set: ChangeSet) -> Order {
    Order {
        set,
        uid: approval.uid().unwrap_or_default(),
        approval: approval.name_any(),
        by: approval.spec.by.clone(),
        reason: approval.spec.reason.clone(),
        exempt_for: approval.spec.exempt_for(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HASH: &str = "sha256:7f3a";

    fn approval(action: &str, hash: &str, created: &str) -> ChangeSetApproval {
        let text = json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSetApproval",
            "metadata": {"name": "word", "namespace": "team", "uid": "u", "creationTimestamp": created},
            "spec": {"changeSet": "edge-1", "hash": hash, "action": action, "by": "ana", "reason": "CAB-1182"},
        });
        serde_json::from_value(text).unwrap()
    }

    fn set(status: Value) -> ChangeSet {
        let text = json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSet",
            "metadata": {"name": "edge-1", "namespace": "team"},
            "spec": {"baseline": {"kind": "K", "name": "edge", "uid": "b", "generation": 1}, "account": "1", "region": "r",
                "hash": HASH, "edits": []},
            "status": status,
        });
        serde_json::from_value(text).unwrap()
    }

    const LATE: &str = "2026-02-01T00:00:00Z";

    fn since() -> InForce {
        InForce::Since("2026-01-01T00:00:00Z".parse().unwrap())
    }

    fn guarded(approval: ChangeSetApproval) -> Arc<DeserializeGuard<ChangeSetApproval>> {
        Arc::new(DeserializeGuard(Ok(approval)))
    }

    #[test]
    fn nobodys_word_counts_while_anybody_could_have_forged_it() {
        let name = ChangeSetName { namespace: "team".to_owned(), name: "edge-1".to_owned() };
        let decision = |approvals: &[ChangeSetApproval], policies: &InForce| {
            let approvals: Vec<_> = approvals.iter().cloned().map(guarded).collect();
            decided(&approvals, &name, HASH, false, policies).decision
        };
        let (word, early) = (approval("Approve", HASH, LATE), approval("Approve", HASH, "2025-12-31T00:00:00Z"));
        assert_eq!(decision(std::slice::from_ref(&word), &since()), Decision::Approved);
        assert_eq!(decision(std::slice::from_ref(&word), &InForce::Not("absent".to_owned())), Decision::Open);
        assert_eq!(decision(&[early], &since()), Decision::Open);
        assert_eq!(decision(&[approval("Approve", "sha256:other", LATE)], &since()), Decision::Open);
        assert_eq!(decision(&[word, approval("Reject", HASH, LATE)], &since()), Decision::Rejected);
    }

    #[test]
    fn a_rollback_that_was_refused_is_not_carried_out_by_surprise_later() {
        let answered = |action: &str, reason: &str| {
            let approval = approval(action, HASH, LATE);
            let mut conditions = Vec::new();
            let update = Update { kind: ACCEPTED, state: State::False, reason, message: "said" };
            conditions::set(&mut conditions, &update, None, Timestamp::UNIX_EPOCH);
            ChangeSetApproval { status: Some(ChangeSetApprovalStatus { conditions }), ..approval }
        };
        for reason in [conditions::NOT_OPEN, conditions::CHANGED_SINCE, conditions::HASH_MISMATCH] {
            assert!(is_refused(&answered("Rollback", reason)), "{reason}");
        }
        assert!(!is_refused(&answered("Rollback", conditions::POLICIES_MISSING)));
        assert!(!is_refused(&answered("Approve", conditions::NOT_OPEN)));
        assert!(is_refused(&answered("Approve", conditions::UNKNOWN_ACCOUNT)), "it is said again");
    }

    #[test]
    fn whoever_wants_undone_what_is_being_made_ends_it() {
        let name = ChangeSetName { namespace: "team".to_owned(), name: "edge-1".to_owned() };
        let words: Vec<_> = ["Approve", "Rollback"].map(|action| guarded(approval(action, HASH, LATE))).into();
        let decision = |is_begun| decided(&words, &name, HASH, is_begun, &since()).decision;
        assert_eq!([true, false].map(decision), [Decision::Rejected, Decision::Approved]);
    }

    #[test]
    fn each_approval_is_told_what_became_of_it() {
        let reason =
            |action: &str, set: Option<ChangeSet>| answer(&approval(action, HASH, LATE), set.as_ref(), &since()).reason;
        use conditions::{HASH_MISMATCH, HONOURED, NO_SUCH_CHANGE_SET, NOT_OPEN, PENDING, POLICIES_MISSING};
        assert_eq!(reason("Approve", None), NO_SUCH_CHANGE_SET);
        assert_eq!(reason("Approve", Some(set(json!({"phase": "Proposed"})))), PENDING);
        assert_eq!(reason("Approve", Some(set(json!({"phase": "Approved", "decidedBy": "ana"})))), HONOURED);
        assert_eq!(reason("Approve", Some(set(json!({"phase": "Applied"})))), NOT_OPEN);
        assert_eq!(reason("Approve", Some(set(json!({"phase": "Expired"})))), NOT_OPEN);
        assert_eq!(reason("Reject", Some(set(json!({"phase": "Rejected", "decidedBy": "ana"})))), HONOURED);
        assert_eq!(reason("Rollback", Some(set(json!({"phase": "Applied"})))), PENDING);
        assert_eq!(reason("Rollback", Some(set(json!({"phase": "RolledBack", "rolledBackBy": "word"})))), HONOURED);
        assert_eq!(reason("Rollback", Some(set(json!({"phase": "RolledBack", "rolledBackBy": "other"})))), NOT_OPEN);
        let of = |approval: ChangeSetApproval, policies: &InForce| {
            answer(&approval, Some(&set(json!({"phase": "Proposed"}))), policies).reason
        };
        assert_eq!(of(approval("Approve", "sha256:other", LATE), &since()), HASH_MISMATCH);
        assert_eq!(of(approval("Approve", HASH, LATE), &InForce::Not("absent".to_owned())), POLICIES_MISSING);
        assert_eq!(of(approval("Approve", HASH, "2025-12-31T00:00:00Z"), &since()), POLICIES_MISSING);
    }
}
