//! The conditions of a statement, and how far they narrow whom it matches.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::statement::Problem;
use super::trust::{Reach, Trust};

/// The operators that hold only for a value that is there and is one of those named. What the others leave open cannot
/// be told from the condition alone: negative ones, `Null`, `Bool`, dates, `…IfExists`, and `ForAllValues:…`, which
/// also holds without any value.
const NARROWING: [&str; 6] =
    ["stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"];

/// The whole `Condition` element: everything in it has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions(BTreeMap<Test, BTreeSet<String>>);

/// An operator and a key. Neither depends on case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    operator: String,
    key: String,
}

impl Test {
    fn new(operator: &str, key: &str) -> Self {
        // The name of a tag follows the slash. Whether its case counts differs between services.
        let key = match key.split_once('/') {
            Some((key, tag)) => format!("{}/{tag}", key.to_ascii_lowercase()),
            None => key.to_ascii_lowercase(),
        };
        Self { operator: operator.to_ascii_lowercase(), key }
    }

    fn narrows(&self) -> bool {
        // For a value that is absent, or none of those named, this qualifier does not hold either.
        let operator = self.operator.strip_prefix("foranyvalue:").unwrap_or(&self.operator);
        NARROWING.contains(&operator)
    }
}

impl Conditions {
    pub(super) fn parse(value: &Value) -> Result<Self, Problem> {
        let mut tests = BTreeMap::new();
        for (operator, keys) in value.as_object().ok_or("its Condition is not an object")? {
            for (key, values) in keys.as_object().ok_or("an operator of its Condition has no keys")? {
                // Two spellings of one key: whether either or both have to hold is written nowhere.
                if tests.insert(Test::new(operator, key), texts(values)?).is_some() {
                    return Err("its Condition has a key twice under one operator");
                }
            }
        }
        Ok(Self(tests))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contain(&self, operator: &str, key: &str) -> bool {
        self.0.contains_key(&Test::new(operator, key))
    }

    /// Whether a key has to have this value, by an operator that is there.
    pub(super) fn demand(&self, operator: &str, key: &str, value: &str) -> bool {
        self.0.get(&Test::new(operator, key)).is_some_and(|values| values.iter().eq([value]))
    }

    /// Whether every condition of the other is one of these.
    pub(super) fn include(&self, other: &Self) -> bool {
        other.0.iter().all(|(test, values)| self.0.get(test) == Some(values))
    }

    /// Who is left of everyone.
    pub(super) fn reach(&self, trust: &Trust) -> Reach {
        let narrowing = self.0.iter().filter(|(test, _)| test.narrows());
        narrowing.map(|(test, values)| of_key(&test.key, values, trust)).fold(Reach::Anyone, Reach::and)
    }
}

/// Values are written as text, numbers or truth values, and compared as text.
fn texts(values: &Value) -> Result<BTreeSet<String>, Problem> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err("its Condition has a value that is no text"),
    };
    match values {
        Value::Array(values) => values.iter().map(text).collect(),
        value => Ok(BTreeSet::from([text(value)?])),
    }
}

/// Who is left by a key that has one of these values. No value at all is left in doubt, and so narrows nothing.
fn of_key(key: &str, values: &BTreeSet<String>, trust: &Trust) -> Reach {
    let any = |of: &dyn Fn(&str) -> Reach| values.iter().map(|value| of(value)).max().unwrap_or(Reach::Anyone);
    match key {
        "aws:sourceaccount" | "aws:sourceowner" | "aws:principalaccount" | "kms:calleraccount" => {
            any(&|account| trust.account(account))
        }
        "aws:sourcearn" | "aws:principalarn" => any(&|arn| trust.arn(arn)),
        "aws:principalorgid" | "aws:sourceorgid" => any(&|organization| trust.organization(organization)),
        "aws:principalorgpaths" | "aws:sourceorgpaths" => any(&|path| trust.organization_path(path)),
        "aws:sourcevpc" | "aws:sourcevpce" => any(&|endpoint| trust.endpoint(endpoint)),
        "aws:sourceip" => trust.networks(values),
        "lambda:eventsourcetoken" => any(&Reach::of_token),
        _ => Reach::Anyone,
    }
}
