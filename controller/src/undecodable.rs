//! Objects that no longer decode: each says so in its own status, so that its author learns of it, and has no effect.

use std::time::Instant;

use crds::conditions::{self, State, UNDECODABLE, Update};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::discovery::ApiResource;
use kube::core::{DeserializeGuard, DynamicObject};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::context::Context;
use crate::kubernetes::{within, write_status};
use crate::lease::LOOK_FOR_LEASE_AGAIN;

/// Says in the status of an object that it does not decode, unless it says so already.
///
/// # Errors
/// The Kubernetes API could not be read or written.
pub async fn report<K>(object: &DeserializeGuard<K>, context: &Context, kinds: &[&'static str]) -> kube::Result<Action>
where
    K: Resource<DynamicType = ()>,
{
    let Err(invalid) = &object.0 else { return Ok(Action::await_change()) };
    let client = &context.client;
    let (name, namespace, resource) = (object.name_any(), object.namespace(), ApiResource::erase::<K>(&()));
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let Some(raw) = within(api.get_opt(&name)).await? else { return Ok(Action::await_change()) };
    let before = conditions_of(&raw);
    let generation = raw.metadata.generation;
    let now = conditions_after(&before, &invalid.error, kinds, generation, Timestamp::now());
    if conditions::same_but_for_time(&before, &now) {
        return Ok(Action::await_change());
    }
    if !context.leadership.holds(Instant::now()) {
        return Ok(Action::requeue(LOOK_FOR_LEASE_AGAIN));
    }
    tracing::warn!(
        kind = resource.kind,
        name,
        namespace,
        error = invalid.error,
        "Object does not decode: it has no effect"
    );
    let status = json!({"observedGeneration": generation, "conditions": now});
    within(write_status::<K>(client, namespace.as_deref(), &name, &status)).await?;
    Ok(Action::await_change())
}

/// The conditions of an object of which nothing else can be relied on.
fn conditions_of(raw: &DynamicObject) -> Vec<Condition> {
    let conditions = raw.data.pointer("/status/conditions").cloned();
    conditions.and_then(|conditions| serde_json::from_value(conditions).ok()).unwrap_or_default()
}

fn conditions_after(
    before: &[Condition],
    error: &str,
    kinds: &[&'static str],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let message = format!("the object cannot be read ({error}): apply it anew");
    let mut after: Vec<Condition> =
        before.iter().filter(|condition| kinds.contains(&condition.type_.as_str())).cloned().collect();
    for kind in kinds {
        let update = Update { kind, state: State::False, reason: UNDECODABLE, message: &message };
        conditions::set(&mut after, &update, generation, now);
    }
    after
}

#[cfg(test)]
mod tests {
    use crds::conditions::{ACCEPTED, COMPLIANT, READY, VALID, find, same_but_for_time};

    use super::*;

    #[test]
    fn an_object_says_once_that_it_does_not_decode() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut before = Vec::new();
        for kind in [ACCEPTED, COMPLIANT] {
            let update = Update { kind, state: State::True, reason: VALID, message: "" };
            conditions::set(&mut before, &update, Some(1), at(1));
        }
        let after = |before: &[Condition], second| {
            conditions_after(before, "no field spec", &[ACCEPTED, READY], Some(2), at(second))
        };
        let first = after(&before, 2);
        assert!(!same_but_for_time(&before, &first));
        assert_eq!(find(&first, COMPLIANT), None);
        let second = after(&first, 3);
        assert_eq!(first, second);
        assert!(same_but_for_time(&first, &second));
    }
}
