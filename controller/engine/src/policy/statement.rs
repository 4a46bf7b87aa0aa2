//! One statement of a policy: what it says, apart from how it is written.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::condition::Conditions;
use super::trust::account_of_root;

/// What is wrong with a statement.
pub(super) type Problem = &'static str;

/// The elements of a statement ("IAM JSON policy elements reference").
const ELEMENTS: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

const SOURCE_ACCOUNT: &str = "aws:SourceAccount";

/// Operators that all mean "is this account", for want of a free one: a key is written only once per operator.
const IS_ACCOUNT: [&str; 3] = ["StringEquals", "StringEqualsIgnoreCase", "StringLike"];

/// What a statement does with the requests that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It lets them through unless another statement denies them.
    Allow,
    /// It refuses them.
    Deny,
}

/// One member of a `Principal` element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Principal {
    /// `*`, or `*` as an AWS principal: the same in a resource-based policy.
    Everyone,
    /// An account by its id, or an ARN or unique id. The ARN of an account's root is its id, as IAM reads it.
    Aws(String),
    /// A service, such as `sns.amazonaws.com`.
    Service(String),
    /// An identity provider.
    Federated(String),
    /// A canonical user id of S3.
    CanonicalUser(String),
}

/// What an element and its opposite select, such as `Action` and `NotAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent<T> {
    /// What is named.
    Only(BTreeSet<T>),
    /// Everything else.
    AllBut(BTreeSet<T>),
}

impl<T: Ord> Extent<T> {
    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Only(mine), Self::Only(theirs)) => mine.is_subset(theirs),
            (Self::AllBut(mine), Self::AllBut(theirs)) => theirs.is_subset(mine),
            (Self::Only(_), Self::AllBut(_)) | (Self::AllBut(_), Self::Only(_)) => false,
        }
    }
}

/// One statement of a resource-based policy.
#[derive(Clone, Debug)]
pub struct Statement {
    sid: Option<String>,
    effect: Effect,
    pub(super) principals: Extent<Principal>,
    /// In lower case: actions do not depend on it.
    actions: Extent<String>,
    /// `None` is the resource that the policy belongs to (ECR).
    resources: Option<Extent<String>>,
    pub(super) conditions: Conditions,
    raw: Value,
}

impl Statement {
    pub(super) fn parse(raw: Value) -> Result<Self, Problem> {
        let elements = raw.as_object().ok_or("it is not an object")?;
        if elements.keys().any(|name| !ELEMENTS.contains(&name.as_str())) {
            return Err("it has an element that statements do not have");
        }
        Ok(Self {
            sid: sid(elements)?,
            effect: effect(elements)?,
            principals: extent(elements, ["Principal", "NotPrincipal"], principals)?.ok_or("it has no Principal")?,
            actions: extent(elements, ["Action", "NotAction"], actions)?.ok_or("it has no Action")?,
            resources: extent(elements, ["Resource", "NotResource"], texts)?,
            conditions: elements.get("Condition").map(Conditions::parse).transpose()?.unwrap_or_default(),
            raw,
        })
    }

    /// Its `Sid`, by which `RemovePermission` of Lambda addresses it. Put operations also store statements without.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// What it does with the requests that it matches.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The statement as it was written: what puts it back.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// Whether its one resource has an ARN that ends so.
    pub fn is_about(&self, end: &str) -> bool {
        let only = match &self.resources {
            Some(Extent::Only(resources)) if resources.len() == 1 => resources.first(),
            Some(Extent::Only(_) | Extent::AllBut(_)) | None => None,
        };
        only.is_some_and(|resource| resource.ends_with(end))
    }

    /// The services that it names. To let everybody in names none.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        let named = match &self.principals {
            Extent::Only(principals) => Some(principals),
            Extent::AllBut(_) => None,
        };
        named.into_iter().flatten().filter_map(|principal| match principal {
            Principal::Service(service) => Some(service.as_str()),
            Principal::Everyone | Principal::Aws(_) | Principal::Federated(_) | Principal::CanonicalUser(_) => None,
        })
    }

    /// Whether it may allow an action, written in lower case. A wildcard in doubt counts.
    pub fn may_allow(&self, action: &str) -> bool {
        let may_mean = |written: &String| match written.split_once(['*', '?']) {
            None => written == action,
            Some((head, _)) => action.starts_with(head),
        };
        let concerned = match &self.actions {
            Extent::Only(actions) => actions.iter().any(may_mean),
            Extent::AllBut(actions) => !actions.contains(action),
        };
        concerned && self.effect == Effect::Allow
    }

    /// Whether it allows one action, written in lower case, and no other.
    pub fn allows_only(&self, action: &str) -> bool {
        let only = matches!(&self.actions, Extent::Only(actions) if actions.iter().all(|named| named == action));
        only && self.effect == Effect::Allow
    }

    /// Whether it matches only requests in which a key has this value, by the operator.
    pub fn demands(&self, operator: &str, key: &str, value: &str) -> bool {
        self.conditions.demand(operator, key, value)
    }

    /// Whether it is proven that the other one matches every request that this one matches, to the same effect: no
    /// other principals, actions or resources, and every condition of the other.
    pub fn is_no_wider_than(&self, other: &Self) -> bool {
        let resources = match (&self.resources, &other.resources) {
            (Some(mine), Some(theirs)) => mine.is_within(theirs),
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        };
        resources
            && self.effect == other.effect
            && self.principals.is_within(&other.principals)
            && self.actions.is_within(&other.actions)
            && self.conditions.include(&other.conditions)
    }

    /// Whether this denies everyone, always, exactly what the other allows.
    pub(super) fn takes_back(&self, allowed: &Self) -> bool {
        let everyone =
            matches!(&self.principals, Extent::Only(principals) if principals.contains(&Principal::Everyone));
        everyone
            && self.effect == Effect::Deny
            && self.conditions.is_empty()
            && self.actions == allowed.actions
            && self.resources == allowed.resources
    }

    /// A copy of an Allow that demands `aws:SourceAccount` in addition, so that a service is no deputy of other
    /// accounts. Conditions add up: the copy is never wider. It is unchanged if the key is taken under every operator
    /// that could demand it, and for a Deny, which would refuse less.
    pub fn with_source_account(&self, account: &str) -> Value {
        let mut copy = self.raw.clone();
        let free = IS_ACCOUNT.into_iter().find(|operator| !self.conditions.contain(operator, SOURCE_ACCOUNT));
        if let (Effect::Allow, Some(operator), Value::Object(elements)) = (self.effect, free, &mut copy)
            && let Value::Object(conditions) = elements.entry("Condition").or_insert_with(empty)
        {
            let written = conditions.keys().find(|written| written.eq_ignore_ascii_case(operator)).cloned();
            let keys = conditions.entry(written.unwrap_or_else(|| operator.to_owned())).or_insert_with(empty);
            if let Value::Object(keys) = keys {
                keys.insert(SOURCE_ACCOUNT.to_owned(), Value::from(account));
            }
        }
        copy
    }
}

fn empty() -> Value {
    Value::Object(Map::new())
}

fn sid(elements: &Map<String, Value>) -> Result<Option<String>, Problem> {
    match elements.get("Sid") {
        Some(Value::String(sid)) => Ok(Some(sid.clone()).filter(|sid| !sid.is_empty())),
        Some(_) => Err("its Sid is no text"),
        None => Ok(None),
    }
}

fn effect(elements: &Map<String, Value>) -> Result<Effect, Problem> {
    match elements.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Ok(Effect::Allow),
        Some("Deny") => Ok(Effect::Deny),
        _ => Err("its Effect is neither Allow nor Deny"),
    }
}

/// What an element or its opposite selects, if one of them is there.
fn extent<T: Ord>(
    elements: &Map<String, Value>,
    [only, all_but]: [&str; 2],
    read: impl Fn(&Value) -> Result<BTreeSet<T>, Problem>,
) -> Result<Option<Extent<T>>, Problem> {
    match (elements.get(only), elements.get(all_but)) {
        (Some(value), None) => Ok(Some(Extent::Only(read(value)?))),
        (None, Some(value)) => Ok(Some(Extent::AllBut(read(value)?))),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err("it has an element together with its opposite"),
    }
}

fn texts(value: &Value) -> Result<BTreeSet<String>, Problem> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("it has something else in place of text");
    match value {
        Value::Array(values) if values.is_empty() => Err("it has an empty list"),
        Value::Array(values) => values.iter().map(text).collect(),
        value => Ok(BTreeSet::from([text(value)?])),
    }
}

fn actions(value: &Value) -> Result<BTreeSet<String>, Problem> {
    Ok(texts(value)?.iter().map(|action| action.to_ascii_lowercase()).collect())
}

fn principals(value: &Value) -> Result<BTreeSet<Principal>, Problem> {
    let Value::Object(types) = value else {
        let everyone = texts(value)?.iter().all(|text| text == "*");
        return everyone.then(|| BTreeSet::from([Principal::Everyone])).ok_or("its Principal has no type");
    };
    let mut principals = BTreeSet::new();
    for (name, members) in types {
        let of_type = match name.as_str() {
            "AWS" => aws_principal,
            "Service" => Principal::Service,
            "Federated" => Principal::Federated,
            "CanonicalUser" => Principal::CanonicalUser,
            _ => return Err("its Principal is of an unknown type"),
        };
        principals.extend(texts(members)?.into_iter().map(of_type));
    }
    if principals.is_empty() { Err("its Principal is empty") } else { Ok(principals) }
}

fn aws_principal(text: String) -> Principal {
    match account_of_root(&text) {
        _ if text == "*" => Principal::Everyone,
        Some(account) => Principal::Aws(account.to_owned()),
        None => Principal::Aws(text),
    }
}
