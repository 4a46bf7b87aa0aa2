//! Nothing opens: call by call, whoever may use a function, a URL or a layer afterwards could before.
//!
//! Who may is worked out twice: by the comparison of the engine, which proves it, and request by request from the JSON of
//! the policies as IAM reads it, which knows nothing of the engine.

#[path = "../../../src/policy/tests/semantics.rs"]
mod semantics;

use std::collections::{BTreeMap, BTreeSet};

use engine::facts::{Cors, FunctionUrl, UrlAuth};
use engine::policy::Policy;
use proptest::prelude::*;
use serde_json::{Value, json};

use self::semantics::Request;
use super::service::act;
use super::statements::{ORGANIZATION, STRANGER};
use super::world::{Deep, World, document};
use super::{config, sample, worlds_and_choices};

use crate::dice::Dice;
use crate::generators::OTHER_ACCOUNT;
use crate::world::ACCOUNT;

const CALLERS: [Option<(&str, &str)>; 8] = [
    None,
    Some(("AWS", "arn:aws:iam::777788889999:role/worker")),
    Some(("AWS", "arn:aws:iam::444455556666:role/worker")),
    Some(("AWS", "arn:aws:iam::111122223333:role/worker")),
    Some(("Service", "s3.amazonaws.com")),
    Some(("Service", "sns.amazonaws.com")),
    Some(("Service", "events.amazonaws.com")),
    Some(("Service", "apigateway.amazonaws.com")),
];

const ACTIONS: [&str; 4] =
    ["lambda:InvokeFunction", "lambda:InvokeFunctionUrl", "lambda:GetFunction", "lambda:GetLayerVersion"];

/// Keys of requests with their values, in lower case.
const CONTEXT: [(&str, &[&str]); 9] = [
    ("aws:sourceaccount", &[ACCOUNT, OTHER_ACCOUNT, STRANGER]),
    (
        "aws:sourcearn",
        &[
            "arn:aws:sns:eu-west-1:111122223333:orders",
            "arn:aws:sns:eu-west-1:444455556666:orders",
            "arn:aws:s3:::orders",
        ],
    ),
    ("aws:principalorgid", &[ORGANIZATION, "o-anotherone"]),
    ("aws:principalaccount", &[ACCOUNT, OTHER_ACCOUNT, STRANGER]),
    ("aws:sourceip", &["203.0.113.9", "8.8.8.8", "200.1.1.1", "2600::1"]),
    ("lambda:functionurlauthtype", &["NONE", "AWS_IAM"]),
    ("lambda:invokedviafunctionurl", &["true", "false"]),
    ("lambda:eventsourcetoken", &["amzn1.ask.skill.1"]),
    ("aws:securetransport", &["true", "false"]),
];

/// A request for something that a policy is of; its resource is set where it is asked.
fn request(dice: &mut Dice<'_>) -> Request {
    let mut context = BTreeMap::new();
    for (key, values) in CONTEXT {
        if dice.one_in(2) {
            context.insert(key.to_owned(), *dice.pick(values));
        }
    }
    let (principal, action) = (*dice.pick(&CALLERS), *dice.pick(&ACTIONS));
    Request { principal, action, resource: "", context }
}

fn requests(choices: &[u16]) -> Vec<Request> {
    let mut dice = Dice::new(choices);
    (0..40).map(|_| request(&mut dice)).collect()
}

/// The policies of a resource: of a function and its aliases by qualifier, of a layer version the only one.
fn policies(world: &World, id: &str) -> BTreeMap<String, Vec<Value>> {
    match (world.deep(id), world.layer(id)) {
        (Some(deep), _) => deep.policies.clone(),
        (None, Some(layer)) => BTreeMap::from([(String::new(), layer.statements.clone())]),
        (None, None) => BTreeMap::new(),
    }
}

/// Whether a policy lets a request through. Resources of statements are judged by `is_no_wider_than` alone.
fn passes(request: &Request, statements: &[Value]) -> bool {
    let anywhere = |statement: &Value| {
        let mut statement = statement.clone();
        let members = statement.as_object_mut().unwrap();
        members.remove("Resource");
        members.remove("NotResource");
        statement
    };
    let statements: Vec<Value> = statements.iter().map(anywhere).collect();
    request.passes(&json!({"Statement": statements}))
}

/// Whether somebody without a signature gets through a URL: nobody asks for one, and the policy lets everybody in.
fn lets_in_anybody(url: &FunctionUrl, request: &Request, statements: &[Value]) -> bool {
    let mut request = Request { principal: None, action: "lambda:InvokeFunctionUrl", ..request.clone() };
    request.context.insert("lambda:functionurlauthtype".to_owned(), "NONE");
    url.auth == UrlAuth::None && passes(&request, statements)
}

fn is_no_wider(after: &[Value], before: &[Value]) -> bool {
    let policy = |statements: &[Value]| Policy::parse(&document(statements).to_string());
    match (policy(after), policy(before)) {
        (Ok(after), Ok(before)) => after.is_no_wider_than(&before),
        // Without a statement there is no policy, which lets nobody in.
        _ => after.is_empty(),
    }
}

fn origins(url: &FunctionUrl) -> BTreeSet<String> {
    url.cors.iter().flat_map(|cors| cors.allow_origins.clone()).collect()
}

/// What of a URL no repair changes.
fn rest(url: &FunctionUrl) -> (&str, Cors) {
    (&url.qualifier, Cors { allow_origins: Vec::new(), ..url.cors.clone().unwrap_or_default() })
}

proptest! {
    #![proptest_config(config())]

    /// After every call the policies let through no request that they did not let through before it.
    #[test]
    fn no_call_lets_in_anybody_else((mut world, choices) in worlds_and_choices()) {
        let (desired, requests) = (world.desired(), requests(&choices));
        let permitted = world.permit(&desired);
        act(&mut world, &desired, &permitted, |seen| {
            let id = &seen.resource.target.id;
            let (before, after) = (policies(seen.before, id), policies(seen.after, id));
            for (qualifier, after) in &after {
                let before = before.get(qualifier).map(Vec::as_slice).unwrap_or_default();
                assert!(is_no_wider(after, before), "{} of {id}/{qualifier} is not narrower: {after:?}", seen.call);
                for request in &requests {
                    let opened = passes(request, after) && !passes(request, before);
                    assert!(!opened, "{} lets in {request:?} at {id}/{qualifier}", seen.call);
                }
            }
        });
    }

    /// URLs ask for a signature at least where they did, let in no other origin, and are changed in nothing else; nobody
    /// without a signature gets through one that was closed to him.
    #[test]
    fn no_call_opens_a_url((mut world, choices) in worlds_and_choices()) {
        let (desired, requests) = (world.desired(), requests(&choices));
        let permitted = world.permit(&desired);
        act(&mut world, &desired, &permitted, |seen| {
            let id = &seen.resource.target.id;
            let (Some(before), Some(after)) = (seen.before.deep(id), seen.after.deep(id)) else { return };
            assert_eq!(before.urls.len(), after.urls.len());
            for (was, is) in before.urls.iter().zip(&after.urls) {
                assert!(was.auth == UrlAuth::None || is.auth == UrlAuth::Iam, "{} opens {is:?}", seen.call);
                let known = origins(was);
                let others = origins(is).into_iter().filter(|origin| !known.contains(origin) && !known.contains("*"));
                assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new(), "{} of {id}", seen.call);
                assert_eq!(rest(was), rest(is));
                let of = |deep: &Deep| deep.policies.get(&is.qualifier).cloned().unwrap_or_default();
                let (old, new) = (of(before), of(after));
                for request in &requests {
                    let opened = lets_in_anybody(is, request, &new) && !lets_in_anybody(was, request, &old);
                    assert!(!opened, "{} lets anybody through {is:?}: {request:?}", seen.call);
                }
            }
        });
    }

    /// What no call names stays as it is: other functions, and everything that the call does not set.
    #[test]
    fn no_call_touches_anything_else((mut world, _) in worlds_and_choices()) {
        let desired = world.desired();
        let permitted = world.permit(&desired);
        act(&mut world, &desired, &permitted, |seen| {
            let id = &seen.resource.target.id;
            let others = |world: &World| {
                let functions = world.functions.iter().filter(|deep| deep.name() != id).map(|deep| format!("{deep:?}"));
                let layers = world.layers.iter().filter(|layer| layer.id() != *id).map(|layer| format!("{layer:?}"));
                functions.chain(layers).collect::<Vec<_>>()
            };
            assert_eq!(others(seen.before), others(seen.after));
            let (Some(before), Some(after)) = (seen.before.deep(id), seen.after.deep(id)) else { return };
            assert_eq!(&before.variables, &after.variables, "{} changes the environment of {id}", seen.call);
            assert_eq!(&before.aliases, &after.aliases);
            assert_eq!(&before.versions, &after.versions);
        });
    }
}

/// The properties above would hold of calls that never touch what they are about.
#[test]
fn enough_of_the_generated_calls_are_on_policies_and_urls() {
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for mut world in sample(1500) {
        let desired = world.desired();
        let permitted = world.permit(&desired);
        act(&mut world, &desired, &permitted, |seen| *calls.entry(seen.call.to_string()).or_default() += 1);
    }
    for (operation, least) in [
        ("RemovePermission", 50),
        ("AddPermission", 20),
        ("UpdateFunctionUrlConfig", 50),
        ("RemoveLayerVersionPermission", 20),
        ("UpdateFunctionConfiguration", 50),
        ("PutFunctionConcurrency", 20),
        ("PutFunctionCodeSigningConfig", 10),
        ("PutFunctionRecursionConfig", 20),
        ("PutRuntimeManagementConfig", 20),
        ("TagResource", 20),
    ] {
        assert!(calls.get(operation).copied().unwrap_or_default() >= least, "{operation}: {calls:?}");
    }
}
