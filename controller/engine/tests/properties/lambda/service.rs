//! Lambda as far as properties go: what a fresh read shows, what its calls do, and what it refuses. And a sweep that acts on
//! it as the controller does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::call::{Call, LambdaCall, LambdaOperation};
use engine::desired::Desired;
use engine::edit::{Edit, Withheld};
use engine::facts::{Live, LiveFunction, ReadFailure, UpdateStatus, Variables};
use engine::permission::{Permission, canonical};
use engine::permit::Permit;
use engine::plan::{Permitted, PermittedResource};
use engine::property::{Json, Property, PropertyChange, PropertyName};
use engine::rails::{Authority, permit};
use engine::sequence::properties::{changes, renewed};
use engine::sequence::{State, Step, sequence};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::world::{Deep, Layer, NOW, World};

/// Lambda keeps so many concurrent runs unreserved.
const ALWAYS_UNRESERVED: i32 = 100;

/// What one call did.
pub(crate) struct Seen<'s> {
    pub(crate) resource: &'s PermittedResource,
    pub(crate) call: &'s Call,
    /// The world before the call.
    pub(crate) before: &'s World,
    /// The world after it.
    pub(crate) after: &'s World,
}

/// Makes the calls of every permitted resource and shows each to an observer; the world is then as the calls left it.
pub(crate) fn act(world: &mut World, desired: &[Desired], permitted: &Permitted, mut observe: impl FnMut(&Seen<'_>)) {
    for resource in &permitted.resources {
        let properties = properties(&resource.edits);
        let read = |world: &World| live(world, &resource.target.id, &properties).expect("it is there");
        let mut found = read(world);
        let mut expected = State::of(&found);
        assert_eq!(expected, resource.target.planned, "nothing else changes {}", resource.target.id);
        let steps = match sequence(&resource.edits, &found) {
            Ok(steps) => steps,
            Err(reason) => {
                assert!(is_busy(&found), "{reason:?} was not foreseen");
                continue;
            }
        };
        assert!(!steps.is_empty(), "a permitted resource is changed");
        for Step { call, after } in &steps {
            let call = renewed(call, &found).expect("it is ready");
            let permit = ask(world, desired, resource, call, &expected, &found);
            let permit = permit.expect("nothing has changed since the plan");
            let before = world.clone();
            perform(world, &resource.target.id, permit.call()).expect("Lambda does what is asked for");
            found = read(world);
            assert_eq!(State::of(&found), *after, "the call does what the sequence says");
            observe(&Seen { resource, call: permit.call(), before: &before, after: world });
            expected = after.clone();
        }
    }
}

fn is_busy(live: &Live) -> bool {
    let Live::Function(function) = live else { return false };
    matches!(
        function.status,
        Some(UpdateStatus::InProgress | UpdateStatus::UpdateFailed(_) | UpdateStatus::NotActive(_))
    )
}

/// The properties that edits change.
pub(crate) fn properties(edits: &[Edit]) -> BTreeSet<Property> {
    edits.iter().flat_map(changes).map(|change| change.property.clone()).collect()
}

/// Asks the rails for a permit, with everybody's authority as it was at planning.
fn ask(
    world: &World,
    desired: &[Desired],
    resource: &PermittedResource,
    call: Call,
    expected: &State,
    live: &Live,
) -> Result<Permit, Withheld> {
    let authority = Authority {
        desired,
        account: Some(&world.account),
        approved: &resource.warrant.change_set().cloned().into_iter().collect(),
        namespaces: &[],
        lease_left: Some(Duration::from_secs(15)),
        write_timeout: Duration::from_secs(5),
    };
    permit(&world.location(), resource, call, expected, live, &authority, NOW)
}

/// A fresh read of some properties of a function, or of a layer version.
pub(crate) fn live(world: &World, id: &str, properties: &BTreeSet<Property>) -> Result<Live, ReadFailure> {
    let empty = LiveFunction {
        id: id.to_owned(),
        arn: String::new(),
        properties: BTreeMap::new(),
        revisions: BTreeMap::new(),
        status: None,
        tags: None,
        environment: None,
        read_at: NOW,
    };
    let live = match (world.deep(id), world.layer(id)) {
        (Some(deep), _) => LiveFunction {
            arn: deep.arn(),
            properties: properties.iter().map(|property| (property.clone(), of_function(deep, property))).collect(),
            revisions: revisions(deep),
            status: Some(deep.status.clone()),
            tags: None,
            environment: readable(deep).then(|| Variables::new(deep.variables.clone())),
            ..empty
        },
        (None, Some(layer)) => LiveFunction {
            properties: properties.iter().map(|property| (property.clone(), of_layer(layer, property))).collect(),
            revisions: BTreeMap::from([("/".to_owned(), layer.changed.to_string())]),
            ..empty
        },
        (None, None) => return Err(ReadFailure::ReplyUnusable),
    };
    Ok(Live::Function(live))
}

fn readable(deep: &Deep) -> bool {
    !deep.function.configuration.environment.unreadable
}

fn revisions(deep: &Deep) -> BTreeMap<String, String> {
    let policies = deep.policies.keys().map(|qualifier| format!("/{qualifier}"));
    policies.chain([String::new()]).map(|of| (of.clone(), revision(deep, &of))).collect()
}

fn revision(deep: &Deep, of: &str) -> String {
    deep.changed.get(of).copied().unwrap_or_default().to_string()
}

fn of_function(deep: &Deep, property: &Property) -> Option<Json> {
    let configuration = &deep.function.configuration;
    let url = || deep.urls.iter().find(|url| url.qualifier == property.of);
    match property.name {
        PropertyName::Runtime => configuration.runtime.as_ref().map(Json::of),
        PropertyName::KmsKey => configuration.kms_key.as_ref().map(Json::of),
        PropertyName::Tracing => Some(Json::of(&configuration.tracing)),
        PropertyName::Layers => Some(Json::of(&configuration.layers)),
        PropertyName::Vpc => configuration.vpc.as_ref().map(Json::of),
        PropertyName::DeadLetter => configuration.dead_letter.as_ref().map(Json::of),
        PropertyName::Logging => Some(Json::of(&configuration.logging)),
        PropertyName::UrlAuth => url().map(|url| Json::of(&url.auth)),
        PropertyName::UrlCors => url().map(|url| Json::of(&url.cors.clone().unwrap_or_default())),
        PropertyName::Statement => {
            let (qualifier, sid) = property.qualifier_and_sid();
            of_policy(deep.policies.get(qualifier).map(Vec::as_slice).unwrap_or_default(), sid)
        }
        PropertyName::Concurrency => deep.concurrency.as_ref().map(Json::of),
        PropertyName::CodeSigning => deep.code_signing.as_ref().map(Json::of),
        PropertyName::Recursion => Some(Json::of(&deep.recursion)),
        PropertyName::RuntimeManagement => Some(Json::of(&deep.management)),
        PropertyName::Tag => deep.function.tags.get(&property.of).map(Json::of),
        PropertyName::LayerStatement => None,
    }
}

fn of_layer(layer: &Layer, property: &Property) -> Option<Json> {
    of_policy(&layer.statements, property.qualifier_and_sid().1)
}

fn of_policy(statements: &[Value], sid: &str) -> Option<Json> {
    let found: Vec<&Value> = statements.iter().filter(|statement| statement["Sid"] == sid).collect();
    match found.as_slice() {
        [] => None,
        [only] => Some(canonical(only)),
        several => Some(Json::of(&several)),
    }
}

/// Carries out a call, or refuses it whole as Lambda would, with its error code.
pub(crate) fn perform(world: &mut World, id: &str, call: &Call) -> Result<(), &'static str> {
    let Call::Lambda(call) = call else { unreachable!("{call:?} is no call of Lambda") };
    assert!(!call.changes.is_empty(), "a call changes something");
    let mut changed = world.clone();
    if let Some(position) = world.functions.iter().position(|deep| deep.name() == id) {
        let unreserved = world.unreserved();
        let configs: BTreeSet<&String> = world.configs.keys().collect();
        on_function(&mut changed.functions[position], call, unreserved, &configs)?;
    } else {
        let layer = changed.layers.iter_mut().find(|layer| layer.id() == id).ok_or("ResourceNotFoundException")?;
        on_layer(layer, call)?;
    }
    *world = changed;
    Ok(())
}

/// The only change of a call.
fn only(call: &LambdaCall) -> &PropertyChange {
    let [only] = call.changes.as_slice() else { panic!("one change is expected: {call:?}") };
    only
}

fn value<T: DeserializeOwned>(change: &PropertyChange) -> Option<T> {
    change.after.as_ref().map(|value| value.read().expect("a value of the property"))
}

fn on_function(
    deep: &mut Deep,
    call: &LambdaCall,
    unreserved: i32,
    configs: &BTreeSet<&String>,
) -> Result<(), &'static str> {
    assert!(call.environment.is_none() || call.operation == LambdaOperation::UpdateFunctionConfiguration);
    match call.operation {
        LambdaOperation::UpdateFunctionConfiguration => configure(deep, call),
        LambdaOperation::UpdateFunctionUrlConfig => {
            for change in &call.changes {
                let url = deep.urls.iter_mut().find(|url| url.qualifier == change.property.of);
                let url = url.ok_or("ResourceNotFoundException")?;
                match change.property.name {
                    PropertyName::UrlAuth => url.auth = value(change).expect("an AuthType"),
                    _ => url.cors = value(change),
                }
            }
            let urls: BTreeSet<&String> = call.changes.iter().map(|change| &change.property.of).collect();
            assert_eq!(urls.len(), 1, "a call is on one URL");
            Ok(())
        }
        LambdaOperation::AddPermission | LambdaOperation::RemovePermission => permission(deep, call),
        LambdaOperation::PutFunctionConcurrency => {
            let wanted: i32 = value(only(call)).expect("a number");
            let growth = wanted - deep.concurrency.unwrap_or_default();
            if growth > 0 && unreserved - growth < ALWAYS_UNRESERVED {
                return Err("InvalidParameterValueException");
            }
            deep.concurrency = Some(wanted);
            Ok(())
        }
        LambdaOperation::DeleteFunctionConcurrency => {
            deep.concurrency = None;
            Ok(())
        }
        LambdaOperation::PutFunctionCodeSigningConfig => {
            let wanted: String = value(only(call)).expect("an ARN");
            if !configs.contains(&wanted) || !wanted.contains(":eu-west-1:") {
                return Err("CodeSigningConfigNotFoundException");
            }
            deep.code_signing = Some(wanted);
            Ok(())
        }
        LambdaOperation::DeleteFunctionCodeSigningConfig => {
            deep.code_signing = None;
            Ok(())
        }
        LambdaOperation::PutFunctionRecursionConfig => {
            deep.recursion = value(only(call)).expect("what becomes of loops");
            Ok(())
        }
        LambdaOperation::PutRuntimeManagementConfig => {
            deep.management = value(only(call)).expect("how it is managed");
            Ok(())
        }
        LambdaOperation::TagResource | LambdaOperation::UntagResource => tag(deep, call),
        LambdaOperation::AddLayerVersionPermission | LambdaOperation::RemoveLayerVersionPermission => {
            unreachable!("{call:?} is on a layer")
        }
    }
}

fn configure(deep: &mut Deep, call: &LambdaCall) -> Result<(), &'static str> {
    if deep.status != UpdateStatus::Ready {
        return Err("ResourceConflictException");
    }
    if call.revision.as_deref() != Some(revision(deep, "").as_str()) {
        return Err("PreconditionFailedException");
    }
    if let Some(variables) = &call.environment {
        deep.variables = variables.clone().into_inner();
    }
    let configuration = &mut deep.function.configuration;
    for change in &call.changes {
        match change.property.name {
            PropertyName::Runtime => configuration.runtime = value(change),
            PropertyName::KmsKey => configuration.kms_key = value(change),
            PropertyName::Tracing => configuration.tracing = value(change).expect("a mode"),
            PropertyName::Layers => configuration.layers = value(change).expect("a list"),
            PropertyName::Vpc => {
                configuration.vpc = value(change);
                configuration.vpc.iter_mut().for_each(|vpc| vpc.id = "vpc-1".to_owned());
            }
            PropertyName::DeadLetter => configuration.dead_letter = value(change),
            PropertyName::Logging => configuration.logging = value(change).expect("a form"),
            other => unreachable!("{other} is no part of the configuration"),
        }
    }
    *deep.changed.entry(String::new()).or_default() += 1;
    Ok(())
}

fn tag(deep: &mut Deep, call: &LambdaCall) -> Result<(), &'static str> {
    if call.arn.as_ref() != Some(&deep.arn()) {
        return Err("ResourceNotFoundException");
    }
    for change in &call.changes {
        assert!(!change.property.of.starts_with("aws:"), "InvalidParameterValueException: {change:?}");
        match value::<String>(change) {
            Some(text) => deep.function.tags.insert(change.property.of.clone(), text),
            None => deep.function.tags.remove(&change.property.of),
        };
    }
    Ok(())
}

fn permission(deep: &mut Deep, call: &LambdaCall) -> Result<(), &'static str> {
    let change = only(call);
    let (qualifier, sid) = change.property.qualifier_and_sid();
    let of = format!("/{qualifier}");
    let known = deep.policies.contains_key(qualifier);
    if call.revision.as_ref().is_some_and(|given| !known || *given != revision(deep, &of)) {
        return Err("PreconditionFailedException");
    }
    let arn = deep.qualified_arn(qualifier);
    let statements = deep.policies.entry(qualifier.to_owned()).or_default();
    restate(statements, sid, change, &arn)?;
    if statements.is_empty() {
        deep.policies.remove(qualifier);
    }
    *deep.changed.entry(of).or_default() += 1;
    Ok(())
}

fn on_layer(layer: &mut Layer, call: &LambdaCall) -> Result<(), &'static str> {
    assert!(call.environment.is_none());
    let change = only(call);
    assert_eq!(change.property.name, PropertyName::LayerStatement);
    if call.revision.as_ref().is_some_and(|given| *given != layer.changed.to_string()) {
        return Err("PreconditionFailedException");
    }
    let arn = layer.arn();
    restate(&mut layer.statements, change.property.qualifier_and_sid().1, change, &arn)?;
    layer.changed += 1;
    Ok(())
}

/// Removes a statement by its id, or adds one made of its parts.
fn restate(statements: &mut Vec<Value>, sid: &str, change: &PropertyChange, arn: &str) -> Result<(), &'static str> {
    let named = |statement: &Value| statement["Sid"] == sid;
    let Some(after) = value::<Value>(change) else {
        let before = statements.len();
        statements.retain(|statement| !named(statement));
        return if statements.len() == before { Err("ResourceNotFoundException") } else { Ok(()) };
    };
    if statements.iter().any(named) {
        return Err("ResourceConflictException");
    }
    let parts = Permission::of(&after).expect("the API can say it");
    assert_eq!(parts.sid, sid);
    statements.push(written(parts, arn));
    Ok(())
}

/// The statement that Lambda makes of the parameters of AddPermission (Lambda developer guide, resource-based policies).
fn written(parts: Permission, arn: &str) -> Value {
    let Permission { sid, action, principal, source_arn, source_account, organization, url_auth, via_url } = parts;
    let principal = match principal.as_str() {
        "*" => json!("*"),
        arn if arn.starts_with("arn:") => json!({"AWS": arn}),
        service => json!({"Service": service}),
    };
    let mut statement =
        json!({"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": action, "Resource": arn});
    for (operator, key, value) in [
        ("StringEquals", "AWS:SourceAccount", source_account),
        ("StringEquals", "lambda:FunctionUrlAuthType", url_auth),
        ("StringEquals", "aws:PrincipalOrgID", organization),
        ("ArnLike", "AWS:SourceArn", source_arn),
        ("Bool", "lambda:InvokedViaFunctionUrl", via_url.map(|via| via.to_string())),
    ] {
        if let Some(value) = value {
            statement["Condition"][operator][key] = json!(value);
        }
    }
    statement
}
