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

/// The operation that makes a change. Their order is that of the calls: what adds comes before what removes.
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
#[must_use]
pub fn renewed(call: &Call, live: &Live) -> Call {
    match (call, live) {
        (Call::Lambda(call), Live::Function(live)) => Call::Lambda(carrying(call.clone(), live)),
        _ => call.clone(),
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
