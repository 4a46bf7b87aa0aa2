//! The calls that change the properties of a function, or of a layer version.

use std::collections::BTreeMap;

use super::{State, Step};
use crate::call::{Call, LambdaCall, LambdaOperation};
use crate::edit::{Change, Edit, Withheld};
use crate::facts::{Live, LiveFunction, UpdateStatus};
use crate::permission::Permission;
use crate::property::{PropertyChange, PropertyName};

/// The property changes of an edit; none for an edit of another sort.
pub fn changes(edit: &Edit) -> &[PropertyChange] {
    match &edit.change {
        Change::Properties(changes) => changes,
        Change::Rule { .. } | Change::Restore { .. } | Change::Tags { .. } => &[],
    }
}

/// Orders the edits of one resource: what a call can set together is one call.
///
/// # Errors
/// `ForeignChange` if a property is not as it was planned on; or why the function is not ready to be changed.
pub fn sequence(edits: &[Edit], live: &LiveFunction) -> Result<Vec<Step>, Withheld> {
    let mut calls: BTreeMap<(LambdaOperation, String), Vec<PropertyChange>> = BTreeMap::new();
    for change in edits.iter().flat_map(changes) {
        if live.properties.get(&change.property) != Some(&change.before) {
            return Err(Withheld::ForeignChange);
        }
        // What stays as it is only has to be there.
        if change.before == change.after {
            continue;
        }
        let operation = operation(change);
        let together = calls.entry((operation, together(operation, change))).or_default();
        // Several edits may ask for the same.
        if !together.contains(change) {
            together.push(change.clone());
        }
    }
    let mut after = live.properties.clone();
    let mut steps = Vec::new();
    for ((operation, _), changes) in calls {
        let call = call(operation, changes, live)?;
        after.extend(call.changes.iter().map(|change| (change.property.clone(), change.after.clone())));
        steps.push(Step { call: Call::Lambda(call), after: State::Properties(after.clone()) });
    }
    Ok(steps)
}

/// The edits that have to wait since the configuration of the function cannot be written now, and why; none if it can.
/// Whoever may call the function does not depend on it.
pub fn unready(edits: &[Edit], live: &LiveFunction) -> Option<(Vec<Edit>, Withheld)> {
    let configures = |change: &PropertyChange| operation(change) == LambdaOperation::UpdateFunctionConfiguration;
    let takes_part = |edit: &&Edit| changes(edit).iter().any(configures);
    let waiting: Vec<Edit> = edits.iter().filter(takes_part).cloned().collect();
    let together: Vec<PropertyChange> =
        waiting.iter().flat_map(changes).filter(|change| configures(change)).cloned().collect();
    let why = call(LambdaOperation::UpdateFunctionConfiguration, together, live).err()?;
    (!waiting.is_empty()).then_some((waiting, why))
}

/// The operation that makes a change.
fn operation(change: &PropertyChange) -> LambdaOperation {
    let is_removed = change.after.is_none();
    match change.property.name {
        PropertyName::Runtime
        | PropertyName::KmsKey
        | PropertyName::Tracing
        | PropertyName::Layers
        | PropertyName::Vpc
        | PropertyName::DeadLetter
        | PropertyName::Logging => LambdaOperation::UpdateFunctionConfiguration,
        PropertyName::UrlAuth | PropertyName::UrlCors => LambdaOperation::UpdateFunctionUrlConfig,
        PropertyName::Statement if is_removed => LambdaOperation::RemovePermission,
        PropertyName::Statement => LambdaOperation::AddPermission,
        PropertyName::LayerStatement if is_removed => LambdaOperation::RemoveLayerVersionPermission,
        PropertyName::LayerStatement => LambdaOperation::AddLayerVersionPermission,
        PropertyName::Concurrency if is_removed => LambdaOperation::DeleteFunctionConcurrency,
        PropertyName::Concurrency => LambdaOperation::PutFunctionConcurrency,
        PropertyName::CodeSigning if is_removed => LambdaOperation::DeleteFunctionCodeSigningConfig,
        PropertyName::CodeSigning => LambdaOperation::PutFunctionCodeSigningConfig,
        PropertyName::Recursion => LambdaOperation::PutFunctionRecursionConfig,
        PropertyName::RuntimeManagement => LambdaOperation::PutRuntimeManagementConfig,
        PropertyName::Tag if is_removed => LambdaOperation::UntagResource,
        PropertyName::Tag => LambdaOperation::TagResource,
    }
}

/// Changes with the same operation and the same of these are one call.
fn together(operation: LambdaOperation, change: &PropertyChange) -> String {
    match operation {
        LambdaOperation::UpdateFunctionConfiguration
        | LambdaOperation::TagResource
        | LambdaOperation::UntagResource => String::new(),
        _ => change.property.of.clone(),
    }
}

fn call(operation: LambdaOperation, changes: Vec<PropertyChange>, live: &LiveFunction) -> Result<LambdaCall, Withheld> {
    match operation {
        LambdaOperation::UpdateFunctionConfiguration => {
            ready(live)?;
            if has_key(&changes) {
                readable(live)?;
            }
        }
        LambdaOperation::AddPermission | LambdaOperation::AddLayerVersionPermission => expressible(&changes)?,
        _ => {}
    }
    let call = LambdaCall { operation, changes, revision: None, environment: None, arn: None };
    Ok(carrying(call, live))
}

/// The same call with what it carries along of the latest read, on which everything that it changes is as it was
/// planned: the revision, which has moved with the calls before it, and what is sent again.
///
/// # Errors
/// Why the function is not ready any more, or what would be lost.
pub fn renewed(planned: &Call, live: &Live) -> Result<Call, Withheld> {
    match (planned, live) {
        (Call::Lambda(planned), Live::Function(live)) => {
            call(planned.operation, planned.changes.clone(), live).map(Call::Lambda)
        }
        _ => Ok(planned.clone()),
    }
}

fn carrying(mut call: LambdaCall, live: &LiveFunction) -> LambdaCall {
    let qualifier = call.changes.first().map(|change| change.property.qualifier_and_sid().0).unwrap_or_default();
    call.revision = match call.operation {
        LambdaOperation::UpdateFunctionConfiguration => live.revisions.get("").cloned(),
        LambdaOperation::AddPermission
        | LambdaOperation::RemovePermission
        | LambdaOperation::AddLayerVersionPermission
        | LambdaOperation::RemoveLayerVersionPermission => live.revisions.get(&format!("/{qualifier}")).cloned(),
        _ => None,
    };
    let configures = call.operation == LambdaOperation::UpdateFunctionConfiguration;
    call.environment =
        live.environment.clone().filter(|variables| configures && has_key(&call.changes) && !variables.is_empty());
    call.arn = Some(live.arn.clone());
    call
}

fn has_key(changes: &[PropertyChange]) -> bool {
    changes.iter().any(|change| change.property.name == PropertyName::KmsKey)
}

/// A configuration can be changed only while nothing else changes it (`ResourceConflictException`).
fn ready(live: &LiveFunction) -> Result<(), Withheld> {
    match &live.status {
        Some(UpdateStatus::Ready) => Ok(()),
        // The next update would make what failed take effect along with it, whoever asked for that.
        Some(UpdateStatus::UpdateFailed(code)) => Err(Withheld::NotActive(format!("its last update failed: {code}"))),
        Some(UpdateStatus::InProgress) => Err(Withheld::UpdateInProgress),
        Some(UpdateStatus::NotActive(state)) => Err(Withheld::NotActive(state.clone())),
        None => Err(Withheld::IncompleteKnowledge),
    }
}

/// The variables go along with their key: AWS encrypts them anew. An empty map would erase what could not be read.
fn readable(live: &LiveFunction) -> Result<(), Withheld> {
    let unreadable = || Withheld::WouldLose("the environment variables".to_owned());
    live.environment.as_ref().map(drop).ok_or_else(unreadable)
}

/// A statement is added by its parts, which cannot say everything that a policy can.
fn expressible(changes: &[PropertyChange]) -> Result<(), Withheld> {
    let inexpressible = |change: &&PropertyChange| {
        let statement = change.after.as_ref().and_then(|json| json.read::<serde_json::Value>());
        statement.is_some_and(|statement| Permission::of(&statement).is_none())
    };
    match changes.iter().find(inexpressible) {
        Some(change) => {
            let (_, sid) = change.property.qualifier_and_sid();
            Err(Withheld::NotExpressible(format!("AddPermission cannot write the statement {sid:?}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::edit::Impact;
    use crate::facts::Variables;
    use crate::property::{Json, Property};

    fn change(property: Property, values: [Option<&str>; 2]) -> PropertyChange {
        let [before, after] = values.map(|value| value.map(|value| Json::of(&value)));
        PropertyChange { property, before, after }
    }

    fn edit(change: PropertyChange) -> Edit {
        Edit::new("f", Change::Properties(vec![change]), Vec::new(), Impact::None)
    }

    /// Tracing is to be switched on, the key to be set, and a statement to go.
    fn edits() -> [Edit; 3] {
        [
            edit(change(Property::only(PropertyName::Tracing), [Some("PassThrough"), Some("Active")])),
            edit(change(Property::only(PropertyName::KmsKey), [None, Some("key")])),
            edit(change(Property::statement("", "all"), [Some("everybody"), None])),
        ]
    }

    fn live(status: UpdateStatus) -> LiveFunction {
        let properties =
            edits().iter().flat_map(changes).map(|change| (change.property.clone(), change.before.clone())).collect();
        LiveFunction {
            id: "f".to_owned(),
            arn: String::new(),
            properties,
            revisions: ["", "/"].map(|of| (of.to_owned(), "1".to_owned())).into(),
            status: Some(status),
            tags: None,
            environment: Some(Variables::default()),
            read_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn operations(steps: &[Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.call.operation()).collect()
    }

    #[test]
    fn who_has_access_is_changed_first_and_waits_for_no_configuration() {
        let [tracing, key, statement] = edits();
        let ready = live(UpdateStatus::Ready);
        assert_eq!(unready(&edits(), &ready), None);
        let steps = sequence(&edits(), &ready).unwrap();
        assert_eq!(operations(&steps), ["RemovePermission", "UpdateFunctionConfiguration"]);
        for status in [
            UpdateStatus::InProgress,
            UpdateStatus::NotActive("Inactive".to_owned()),
            UpdateStatus::UpdateFailed("InvalidSubnet".to_owned()),
        ] {
            let live = live(status);
            let (waiting, _) = unready(&edits(), &live).unwrap();
            assert_eq!(waiting, [tracing.clone(), key.clone()]);
            assert_eq!(operations(&sequence(std::slice::from_ref(&statement), &live).unwrap()), ["RemovePermission"]);
        }
        assert_eq!(unready(&[statement], &live(UpdateStatus::InProgress)), None);
    }

    #[test]
    fn a_call_whose_turn_comes_late_is_made_only_if_the_function_is_still_ready() {
        let steps = sequence(&edits(), &live(UpdateStatus::Ready)).unwrap();
        let configure = &steps[1].call;
        let renewed = |live: LiveFunction| renewed(configure, &Live::Function(live)).map(drop);
        assert_eq!(renewed(live(UpdateStatus::Ready)), Ok(()));
        assert_eq!(renewed(live(UpdateStatus::InProgress)), Err(Withheld::UpdateInProgress));
        let unreadable = LiveFunction { environment: None, ..live(UpdateStatus::Ready) };
        assert!(matches!(renewed(unreadable), Err(Withheld::WouldLose(_))));
    }
}
