//! The exemption controller: writes the status of `BaselineExemption`, warns before one ends, and wakes the cells when it
//! does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::conditions::{self, ACTIVE, State, Update};
use crds::{BaselineExemption, BaselineExemptionStatus};
use engine::exempt::WARNING;
use jiff::{SignedDuration, Timestamp};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::context::Context;
use crate::kubernetes::{within, write_status};
use crate::lease::LOOK_FOR_LEASE_AGAIN;
use crate::{events, undecodable};

/// An exemption is looked at again at least this often: clocks can be set.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Brings the status of one exemption up to date.
///
/// # Errors
/// The status could not be written; the caller tries again.
pub async fn reconcile(
    object: Arc<DeserializeGuard<BaselineExemption>>,
    context: Arc<Context>,
) -> Result<Action, kube::Error> {
    let action = match &object.0 {
        Ok(exemption) => report(exemption, &context).await?,
        Err(_) => undecodable::report(&object, &context, &[ACTIVE]).await?,
    };
    context.backoff.forget(&key(&object));
    Ok(action)
}

async fn report(exemption: &BaselineExemption, context: &Context) -> Result<Action, kube::Error> {
    let now = Timestamp::now();
    let standing = Standing::of(exemption, now);
    let before = exemption.status.clone().unwrap_or_default().conditions;
    let mut after = before.clone();
    let Said { state, reason, message } = standing.said();
    let update = Update { kind: ACTIVE, state, reason, message: &message };
    conditions::set(&mut after, &update, exemption.metadata.generation, now);
    if !conditions::same_but_for_time(&before, &after) {
        context.wake_cells.send_replace(());
        if !context.leadership.holds(Instant::now()) {
            return Ok(Action::requeue(LOOK_FOR_LEASE_AGAIN));
        }
        let status = BaselineExemptionStatus { conditions: after.clone() };
        let (namespace, name) = (exemption.namespace(), exemption.name_any());
        within(write_status::<BaselineExemption>(&context.client, namespace.as_deref(), &name, &status)).await?;
        announce(exemption, conditions::find(&before, ACTIVE).map(|old| old.reason.as_str()), &after, context).await;
    }
    Ok(Action::requeue(standing.changes_in(now).map_or(LOOK_AGAIN_AFTER, |left| left.min(LOOK_AGAIN_AFTER))))
}

/// One event for each new reason: that an exemption ends soon flips no status.
async fn announce(
    exemption: &BaselineExemption,
    before: Option<&str>,
    after: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    context: &Context,
) {
    let Some(condition) = conditions::find(after, ACTIVE).filter(|now| before != Some(now.reason.as_str())) else {
        return;
    };
    let urgent = condition.reason != conditions::IN_EFFECT;
    events::announce_as(&context.recorder, &exemption.object_ref(&()), condition, urgent).await;
}

/// What is done after a reconcile that failed.
pub fn on_error(
    object: Arc<DeserializeGuard<BaselineExemption>>,
    error: &kube::Error,
    context: Arc<Context>,
) -> Action {
    tracing::warn!(exemption = object.name_any(), namespace = object.namespace(), %error, "Exemption not reconciled: trying again");
    Action::requeue(context.backoff.next(&key(&object)))
}

/// Kind, namespace and name of an exemption.
pub fn key(object: &DeserializeGuard<BaselineExemption>) -> String {
    format!("BaselineExemption {}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// How an exemption stands at one moment.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Invalid(String),
    /// Until when, and what of it has no effect.
    InEffect(Timestamp, String),
    /// The same.
    ExpiresSoon(Timestamp, String),
    Expired(Timestamp),
}

struct Said {
    state: State,
    reason: &'static str,
    message: String,
}

impl Standing {
    fn of(exemption: &BaselineExemption, now: Timestamp) -> Self {
        match exemption.compile(now).accept() {
            Err(problem) => Self::Invalid(problem.to_string()),
            Ok(exempting) if exempting.is_over(now) => Self::Expired(exempting.by.expires),
            Ok(exempting) if exempting.by.expires.duration_since(now) <= WARNING => {
                Self::ExpiresSoon(exempting.by.expires, without_effect(&exempting.unknown))
            }
            Ok(exempting) => Self::InEffect(exempting.by.expires, without_effect(&exempting.unknown)),
        }
    }

    fn said(&self) -> Said {
        let (state, reason, message) = match self {
            Self::Invalid(problem) => (State::False, conditions::INVALID_SPEC, format!("it has no effect: {problem}")),
            Self::InEffect(expires, but) => {
                (State::True, conditions::IN_EFFECT, format!("the findings stand until {expires}{but}"))
            }
            Self::ExpiresSoon(expires, but) => (
                State::True,
                conditions::EXPIRES_SOON,
                format!("the findings are violations again from {expires}: mend them, or make another exemption{but}"),
            ),
            Self::Expired(expires) => (
                State::False,
                conditions::EXPIRED,
                format!("it ended at {expires}: the findings are violations again; delete it, or make another one"),
            ),
        };
        Said { state, reason, message }
    }

    /// How long it is until time alone changes it.
    fn changes_in(&self, now: Timestamp) -> Option<Duration> {
        let at = match self {
            Self::InEffect(expires, _) => expires.checked_sub(WARNING).ok()?,
            Self::ExpiresSoon(expires, _) => *expires,
            Self::Invalid(_) | Self::Expired(_) => return None,
        };
        // A timer that is a moment early must not find everything as it was and sleep once more for long.
        const MARGIN: SignedDuration = SignedDuration::from_millis(50);
        Some(at.duration_since(now).saturating_add(MARGIN).unsigned_abs())
    }
}

/// What is said of controls that this version does not know.
fn without_effect(unknown: &[String]) -> String {
    match unknown {
        [] => String::new(),
        unknown => format!("; there is no control {}: `baseward controls` lists them", unknown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemption(expires: &str) -> BaselineExemption {
        let text = serde_json::json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "BaselineExemption",
            "metadata": {"name": "one", "namespace": "team", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"controls": ["sg-no-open-admin-ports"], "resources": {"names": ["web"]}, "reason": "r", "ticket": "T-1",
                "expires": expires},
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn an_exemption_warns_for_fourteen_days_and_then_ends() {
        let exemption = exemption("2026-03-01T00:00:00Z");
        let reason = |at: &str| Standing::of(&exemption, at.parse().unwrap()).said().reason;
        let times = ["2026-02-14T23:59:59Z", "2026-02-15T00:00:00Z", "2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z"];
        let reasons = times.map(reason);
        use conditions::{EXPIRED, EXPIRES_SOON, IN_EFFECT};
        assert_eq!(reasons, [IN_EFFECT, EXPIRES_SOON, EXPIRES_SOON, EXPIRED]);
    }

    #[test]
    fn an_exemption_is_looked_at_again_just_when_it_changes() {
        let exemption = exemption("2026-03-01T00:00:00Z");
        let left = |at: &str| {
            let now: Timestamp = at.parse().unwrap();
            Standing::of(&exemption, now).changes_in(now).map(|left| left.as_secs())
        };
        assert_eq!(left("2026-02-14T23:00:00Z"), Some(3600));
        assert_eq!(left("2026-02-28T23:00:00Z"), Some(3600));
        assert_eq!(left("2026-03-01T00:00:00Z"), None);
    }

    #[test]
    fn a_control_that_another_version_knew_takes_nothing_from_the_others() {
        let mut exemption = exemption("2026-03-01T00:00:00Z");
        exemption.spec.controls.push("sg-of-the-future".to_owned());
        let said =
            |exemption: &BaselineExemption| Standing::of(exemption, "2026-01-02T00:00:00Z".parse().unwrap()).said();
        let both = said(&exemption);
        assert_eq!((both.state, both.reason), (State::True, conditions::IN_EFFECT));
        assert!(both.message.contains("no control sg-of-the-future"), "{}", both.message);
        exemption.spec.controls.remove(0);
        assert_eq!(said(&exemption).reason, conditions::INVALID_SPEC);
    }

    #[test]
    fn an_exemption_that_cannot_be_meant_says_what_to_write() {
        let said = Standing::of(&exemption("2028-01-01T00:00:00Z"), "2026-01-02T00:00:00Z".parse().unwrap()).said();
        assert_eq!((said.state, said.reason), (State::False, conditions::INVALID_SPEC));
        assert!(said.message.contains("365 days"), "{}", said.message);
    }
}
