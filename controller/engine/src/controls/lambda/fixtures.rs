//! What the tests of the topics share: an account and region with one function, and how to ask controls about it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Compiled, Control, Found, Functions, LambdaParameters, LambdaView, Remedy};
use crate::controls::{Catalogue, Setting};
use crate::facts::{
    Configuration, DefaultRoute, Direction, Function, Gathered, Grant, InterfaceUse, Inventory, LayerVersion, Location,
    Pace, QualifiedPolicy, ReadFailure, Rule, SecurityGroup, Source, Subnet, Vpc,
};
use crate::finding::Verdict;
use crate::property::{Json, PropertyName};

/// The account of the tests.
pub(super) const ACCOUNT: &str = "111122223333";

/// The region of the tests.
pub(super) const REGION: &str = "eu-west-1";

/// The function that controls are asked about.
pub(super) const NAME: &str = "checkout";

/// When everything was read, and looked at: the day after that of the table of runtimes.
pub(super) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// A function, as it is where nothing is said about it.
pub(super) fn function(name: &str) -> Function {
    Function {
        name: name.to_owned(),
        account: ACCOUNT.to_owned(),
        tags: BTreeMap::new(),
        edge: false,
        revision: "1".to_owned(),
        configuration: Configuration {
            runtime: Some("nodejs24.x".to_owned()),
            role: format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
            timeout: 3,
            memory: 128,
            storage: 512,
            ..Configuration::default()
        },
    }
}

/// An account and region of which nothing but some functions was read.
pub(super) fn inventory(functions: Vec<Function>) -> Inventory {
    let location = Location { account: ACCOUNT.to_owned(), region: REGION.to_owned() };
    let mut inventory = Inventory::unread(location);
    inventory.lambda.functions = complete(functions);
    inventory
}

/// The same with the one function that controls are asked about.
pub(super) fn with(configure: impl FnOnce(&mut Configuration)) -> Inventory {
    let mut function = function(NAME);
    configure(&mut function.configuration);
    inventory(vec![function])
}

/// The same with this configuration and no other.
pub(super) fn configured(configuration: Configuration) -> Inventory {
    inventory(vec![Function { configuration, ..function(NAME) }])
}

/// The same with a layer version in place of a function, and its policy.
pub(super) fn with_layer(id: &str, policy: Result<Option<Box<str>>, ReadFailure>) -> Inventory {
    let mut inventory = inventory(Vec::new());
    let (id, name) = (id.to_owned(), "own".to_owned());
    inventory.lambda.layer_policies = gathered_of(&id, policy);
    let layer = LayerVersion { id, name, account: ACCOUNT.to_owned(), tags: BTreeMap::new() };
    inventory.lambda.layers = complete(vec![layer]);
    inventory
}

/// The same with a function of Lambda@Edge.
pub(super) fn at_the_edge() -> Inventory {
    inventory(vec![Function { edge: true, ..function(NAME) }])
}

/// What was read just now.
pub(super) fn complete<T>(facts: T) -> Source<T> {
    Source::complete(facts, now())
}

/// What was read just now of the one function, or why that failed.
pub(super) fn gathered<T: Clone>(reading: Result<T, ReadFailure>) -> Gathered<T> {
    gathered_of(NAME, reading)
}

fn gathered_of<T: Clone>(id: &str, reading: Result<T, ReadFailure>) -> Gathered<T> {
    let source = match reading {
        Ok(fact) => complete(fact),
        Err(failure) => Source::failed(failure, now()),
    };
    let pace = Pace::of(SignedDuration::from_mins(1), SignedDuration::ZERO);
    Gathered::new(BTreeMap::from([(id.to_owned(), source)]), pace)
}

/// Subnets with zone and route.
pub(super) fn subnets(subnets: &[(&str, &str, DefaultRoute)]) -> Source<BTreeMap<String, Subnet>> {
    let subnet = |&(id, zone, default_route): &(&str, &str, DefaultRoute)| {
        (id.to_owned(), Subnet { zone: zone.to_owned(), default_route })
    };
    complete(subnets.iter().map(subnet).collect())
}

/// The part of a VPC that a function reaches.
pub(super) fn vpc(subnets: &[&str], security_groups: &[&str]) -> Vpc {
    let owned = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
    Vpc { id: "vpc-1".to_owned(), subnets: owned(subnets), security_groups: owned(security_groups), ipv6: false }
}

/// Security groups with name and number of ingress rules, each with who carries it; `elsewhere` is in another VPC.
pub(super) fn carry(inventory: &mut Inventory, groups: &[(&str, &str, u8, InterfaceUse)]) {
    let group = |&(id, name, ingress, _): &(&str, &str, u8, InterfaceUse)| SecurityGroup {
        id: id.to_owned(),
        name: name.to_owned(),
        description: String::new(),
        owner: ACCOUNT.to_owned(),
        vpc: if name == "elsewhere" { "vpc-2" } else { "vpc-1" }.to_owned(),
        tags: BTreeMap::new(),
        rules: (1..=ingress).map(rule).collect(),
    };
    inventory.security_groups = complete(groups.iter().map(group).collect());
    let used = groups.iter().filter(|(.., usage)| usage.interfaces > 0);
    inventory.network_interfaces = complete(used.map(|(id, .., usage)| ((*id).to_owned(), *usage)).collect());
}

fn rule(number: u8) -> Rule {
    let peer = format!("10.0.{number}.0/24").parse().unwrap();
    let grant = Grant { direction: Direction::Ingress, traffic: "tcp/443".parse().unwrap(), peer };
    Rule { grant, description: None }
}

/// Policies of the function by qualifier.
pub(super) fn policies(documents: &[(&str, Value)]) -> Gathered<Vec<QualifiedPolicy>> {
    let policy = |(qualifier, document): &(&str, Value)| QualifiedPolicy {
        qualifier: (*qualifier).to_owned(),
        document: document.to_string().into(),
    };
    gathered(Ok(documents.iter().map(policy).collect()))
}

/// A baseline as somebody writes it. A field of another name is an error here.
pub(super) fn spec(written: Value) -> LambdaParameters {
    let parameters: LambdaParameters = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&parameters).unwrap(), without_nulls(written));
    parameters
}

fn without_nulls(written: Value) -> Value {
    match written {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}

/// A control by its id.
pub(super) fn control(id: &str) -> &'static Control {
    Functions::controls().find(|control| control.about.id == id).unwrap()
}

/// Whether a baseline uses a control.
pub(super) fn setting(spec: &LambdaParameters, id: &str) -> Setting {
    (control(id).setting)(spec)
}

/// Asks about the first resource that a control concerns.
fn asked<T>(id: &str, inventory: &Inventory, ask: impl FnOnce(&'static Control, &LambdaView<'_>) -> T) -> T {
    let (control, index) = (control(id), Functions::index(inventory));
    let mut views = Functions::found(inventory).unwrap().into_iter().map(|found: Found<'_>| {
        let view = Functions::view(found, &index, inventory, now());
        Functions::concerns(&control.about, &view).then_some(view)
    });
    let view = views.find_map(|view| view).unwrap();
    ask(control, &view)
}

/// The verdict on the first resource that a control concerns.
pub(super) fn verdict(spec: &LambdaParameters, id: &str, inventory: &Inventory) -> Verdict {
    let parameters = Compiled::new(spec).unwrap();
    asked(id, inventory, |control, view| (control.check)(&parameters, view))
}

/// The verdict in one word.
pub(super) fn word(spec: &LambdaParameters, id: &str, inventory: &Inventory) -> &'static str {
    verdict(spec, id, inventory).word()
}

/// What a failure expected, and what it found.
pub(super) fn failure(verdict: Verdict) -> (String, String) {
    match verdict {
        Verdict::Fail { expected, actual } => (expected, actual),
        other => panic!("{other:?}"),
    }
}

/// What would have to change.
pub(super) fn remedies(spec: &LambdaParameters, id: &str, inventory: &Inventory) -> Vec<Remedy> {
    let parameters = Compiled::new(spec).unwrap();
    asked(id, inventory, |control, view| (control.remedy.unwrap())(&parameters, view))
}

/// The one property that would change, with its values before and after.
pub(super) fn change(
    spec: &LambdaParameters,
    id: &str,
    inventory: &Inventory,
) -> (PropertyName, Option<Json>, Option<Json>) {
    let remedies = remedies(spec, id, inventory);
    let [Remedy { changes, held: None }] = remedies.as_slice() else { panic!("{remedies:?}") };
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    (change.property.name, change.before.clone(), change.after.clone())
}
