//! One caller, and whether another one is no more than he.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Error, Result, bail, ensure};
use serde_json::Value;

const ANY: &str = "*";

/// What anybody may do with a URL: know it, and use it without a signature.
const URL: &str = "url";
const UNSIGNED: &str = "unsigned";

/// Of these a shorter list of values is narrower. Of any other operator nothing is known.
const POSITIVE: [&str; 7] =
    ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "Bool", "IpAddress"];

/// Somebody who may do something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    /// A function, `FUNCTION:ALIAS`, or `LAYER:VERSION`.
    of: String,
    /// An account, an ARN, a service, or everybody.
    principal: String,
    /// In lower case, as IAM does not tell cases apart.
    action: String,
    /// By what is compared, with the values that it is compared with.
    conditions: BTreeMap<Comparison, BTreeSet<String>>,
}

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Comparison {
    /// In lower case.
    key: String,
    operator: String,
}

impl Caller {
    /// All whom a statement lets in. `arn` is that of what the policy is of.
    pub(super) fn of_statement(of: &str, arn: &str, statement: &Value) -> Vec<Self> {
        let conditions = conditions(arn, statement);
        let principals = match statement.get("Principal") {
            Some(principal) => principals(principal),
            None => vec![opposite(statement, "NotPrincipal")],
        };
        let actions = match statement.get("Action") {
            Some(actions) => texts(actions),
            None => vec![opposite(statement, "NotAction")],
        };
        let caller = |principal: &String, action: &String| Self {
            of: of.to_owned(),
            principal: principal.clone(),
            action: action.to_lowercase(),
            conditions: conditions.clone(),
        };
        let of_principal = |principal| actions.iter().map(move |action| caller(principal, action));
        principals.iter().flat_map(of_principal).collect()
    }

    /// What a URL is to anybody.
    pub(super) fn by_url(of: &str, url: &Value) -> Vec<Self> {
        let is_signed = url.get("AuthType").and_then(Value::as_str) == Some("AWS_IAM");
        let actions = if is_signed { vec![URL] } else { vec![URL, UNSIGNED] };
        let anybody = |action: &str| Self {
            of: of.to_owned(),
            principal: ANY.to_owned(),
            action: action.to_owned(),
            conditions: BTreeMap::new(),
        };
        actions.into_iter().map(anybody).collect()
    }

    /// Whether it is somebody in particular. A URL is, too: its name never comes back.
    pub(super) fn is_named(&self) -> bool {
        self.action == URL || !(self.principal.contains(ANY) || self.principal.starts_with("not "))
    }

    /// Whether the other one may do nothing but what this one may.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let matches = |wide: &str, narrow: &str| wide == narrow || wide == ANY;
        let of_action = match self.action.strip_suffix(ANY) {
            Some(start) => other.action.starts_with(start),
            None => self.action == other.action,
        };
        let is_asked_as_much = |(comparison, wide): (&Comparison, &BTreeSet<String>)| {
            other.conditions.get(comparison).is_some_and(|narrow| match comparison.is_positive() {
                true => narrow.is_subset(wide),
                false => narrow == wide,
            })
        };
        matches(&self.of, &other.of)
            && matches(&self.principal, &other.principal)
            && of_action
            && self.conditions.iter().all(is_asked_as_much)
    }
}

impl Comparison {
    fn new(operator: &str, key: &str) -> Self {
        Self { key: key.to_lowercase(), operator: operator.to_owned() }
    }

    /// As Lambda itself writes it.
    fn usual(key: &str) -> Self {
        let operator = match key.to_lowercase().as_str() {
            "aws:sourcearn" => "ArnLike",
            "lambda:invokedviafunctionurl" => "Bool",
            _ => "StringEquals",
        };
        Self::new(operator, key)
    }

    fn is_positive(&self) -> bool {
        POSITIVE.contains(&self.operator.as_str())
    }
}

fn conditions(arn: &str, statement: &Value) -> BTreeMap<Comparison, BTreeSet<String>> {
    let operators = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
    let of_operator = |(operator, keys): (&String, &Value)| {
        let keys = keys.as_object().into_iter().flatten();
        let condition =
            |(key, values): (&String, &Value)| (Comparison::new(operator, key), texts(values).into_iter().collect());
        keys.map(condition).collect::<Vec<_>>()
    };
    let mut conditions: BTreeMap<Comparison, BTreeSet<String>> = operators.flat_map(of_operator).collect();
    // What the policy is of goes without saying.
    for element in ["Resource", "NotResource"] {
        if let Some(resource) = statement.get(element).filter(|resource| **resource != arn) {
            conditions.insert(Comparison::new("", element), texts(resource).into_iter().collect());
        }
    }
    conditions
}

/// Who is meant, in one of all spellings.
fn principals(principal: &Value) -> Vec<String> {
    let kinds = match principal {
        Value::Object(kinds) => kinds.values().flat_map(texts).collect(),
        principal => texts(principal),
    };
    let short = |principal: String| {
        let account = principal.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root"));
        account.map(str::to_owned).unwrap_or(principal)
    };
    kinds.into_iter().map(short).collect()
}

/// All but what the element names.
fn opposite(statement: &Value, element: &str) -> String {
    format!("not {}", statement.get(element).unwrap_or(&Value::Null))
}

/// One text or a list of them.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    }
}

impl FromStr for Caller {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [of, principal, action, conditions @ ..] = words.as_slice() else {
            bail!("`{text}` is not a function, a principal and an action");
        };
        let mut caller = Self {
            of: (*of).to_owned(),
            principal: (*principal).to_owned(),
            action: action.to_lowercase(),
            conditions: BTreeMap::new(),
        };
        for condition in conditions {
            let (key, values) = condition.split_once('=').unwrap_or_default();
            ensure!(!key.is_empty(), "`{condition}` is no condition");
            let comparison = match key.split_once('~') {
                Some((operator, key)) => Comparison::new(operator, key),
                None => Comparison::usual(key),
            };
            caller.conditions.insert(comparison, values.split('|').map(str::to_owned).collect());
        }
        Ok(caller)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.of, self.principal, self.action)?;
        for (comparison, values) in &self.conditions {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            write!(f, " {comparison}={}", values.join("|"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self != Self::usual(&self.key) {
            write!(f, "{}~", self.operator)?;
        }
        f.write_str(&self.key)
    }
}
