//! Offline admission: refuses what the API server would refuse, in its words, before anything is sent to it.
//!
//! The order is the API server's: unknown fields, nulls and defaults, structural schema, uniqueness of list entries,
//! CEL rules. Rules that look at names (a second object of that name, rights of the user) need a cluster.

mod metadata;
mod structure;

use std::fmt;
use std::sync::LazyLock;

use kube::core::cel::{ErrorKind, ValidationError, Validator};
use serde_json::Value;

use crate::account::AWSAccount;
use crate::approval::ChangeSetApproval;
use crate::change_set::ChangeSet;
use crate::exemption::BaselineExemption;
use crate::generate::{crds, whole_numbers};
use crate::kind::AnyBaseline;
use structure::Found;
#[cfg(test)]
pub(crate) use structure::KEYWORDS;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `spec.internet.allowPorts[0]`. Empty: the document as a whole.
    pub path: String,
    /// What is wrong, in the words of the API server.
    pub message: String,
    /// What the field is for, if the message alone does not say how to mend it.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, message, help } = self;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)?;
        match help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// A document that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refused {
    /// All that is wrong, at least one thing.
    pub problems: Vec<Problem>,
}

/// A document that the API server would take, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// An `AWSAccount`.
    Account(Box<AWSAccount>),
    /// A baseline of any kind.
    Baseline(AnyBaseline),
    /// A `BaselineExemption`.
    Exemption(Box<BaselineExemption>),
    /// A `ChangeSet`.
    ChangeSet(Box<ChangeSet>),
    /// A `ChangeSetApproval`.
    Approval(Box<ChangeSetApproval>),
}

/// Reads the documents of a YAML or JSON text as kubectl does: unquoted `Off`, `on`, `yes` and `no` are booleans, and a
/// key that stands twice is an error. Empty documents are left out.
///
/// # Errors
/// What keeps the text from being YAML, with the place.
pub fn documents(text: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    let documents = serde_saphyr::from_multiple::<Value>(text)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Whether a document says that it is of our API group, of whatever kind and version.
pub fn is_ours(document: &Value) -> bool {
    let version = document.get("apiVersion").and_then(Value::as_str);
    version.is_some_and(|version| version.split('/').next() == Some(crate::GROUP))
}

/// Admits one document as a new object.
///
/// # Errors
/// All that is wrong with it.
pub fn admit(document: &Value) -> Result<Object, Refused> {
    let kind = known_kind(document)?;
    let mut object = document.clone();
    let mut found = Found::default();
    structure::remove_unknown(&kind.schema, &mut object, &mut found);
    metadata::check(document, kind.namespaced, &mut found);
    if let Some(fields) = object.as_object_mut() {
        // The status of a new object is never taken from its document.
        fields.remove("status");
    }
    structure::remove_nulls(&mut object);
    // JSON knows one sort of number: the API server takes 2.0 for 2.
    whole_numbers(&mut object);
    structure::fill_defaults(&kind.schema, &mut object);
    structure::check(&kind.schema, &object, &mut found);
    // As in the API server: rules do not run on values of the wrong type or beyond their bounds.
    if !found.blocks_rules {
        found.problems.extend(broken_rules(&kind.schema, &object));
    }
    if !found.problems.is_empty() {
        return Err(Refused { problems: found.problems });
    }
    (kind.parse)(object).map_err(|error| refused("", format!("cannot be used: {error}")))
}

fn refused(path: &str, message: String) -> Refused {
    Refused { problems: vec![Problem { path: path.to_owned(), message, help: None }] }
}

fn broken_rules(schema: &Value, object: &Value) -> Vec<Problem> {
    let Err(broken) = Validator::new().validate(schema, object, None) else {
        return Vec::new();
    };
    let message = |rule: &ValidationError| match rule.kind {
        ErrorKind::ValidationFailure => rule.message.clone(),
        _ => format!("rule {:?} cannot be evaluated: {}", rule.rule, rule.message),
    };
    let problem = |rule: ValidationError| Problem { message: message(&rule), path: rule.field_path, help: None };
    broken.into_iter().map(problem).collect()
}

/// A kind as admission sees it.
struct Kind {
    name: String,
    namespaced: bool,
    schema: Value,
    parse: fn(Value) -> serde_json::Result<Object>,
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(kinds);

fn kinds() -> Vec<Kind> {
    let [account, security_groups, functions, exemption, change_set, approval] = crds().map(|crd| {
        let version = crd.spec.versions.into_iter().next();
        let schema = version.and_then(|version| version.schema?.open_api_v3_schema);
        let schema = schema.and_then(|schema| serde_json::to_value(schema).ok());
        (crd.spec.names.kind, crd.spec.scope == "Namespaced", schema.unwrap_or_default())
    });
    let kind = |(name, namespaced, schema), parse| Kind { name, namespaced, schema, parse };
    vec![
        kind(account, |value| serde_json::from_value(value).map(Object::Account)),
        kind(security_groups, |value| {
            serde_json::from_value(value).map(AnyBaseline::SecurityGroup).map(Object::Baseline)
        }),
        kind(functions, |value| serde_json::from_value(value).map(AnyBaseline::Lambda).map(Object::Baseline)),
        kind(exemption, |value| serde_json::from_value(value).map(Object::Exemption)),
        kind(change_set, |value| serde_json::from_value(value).map(Object::ChangeSet)),
        kind(approval, |value| serde_json::from_value(value).map(Object::Approval)),
    ]
}

fn known_kind(document: &Value) -> Result<&'static Kind, Refused> {
    let field = |name| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, name) = (field("apiVersion"), field("kind"));
    let ours = format!("{}/{}", crate::GROUP, crate::VERSION);
    if version != ours {
        return Err(refused("apiVersion", format!("{version:?} is not {ours}")));
    }
    let found = KINDS.iter().find(|kind| kind.name == name);
    found.ok_or_else(|| {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name.as_str()).collect();
        refused("kind", format!("{name:?} is no kind of {ours}: it has {}", known.join(", ")))
    })
}

/// What the API server would say against a status, for tests of what the controller writes.
#[cfg(test)]
pub(crate) fn problems_of_status(kind: &str, mut status: Value) -> Vec<String> {
    let schema = KINDS.iter().find(|known| known.name == kind).map(|kind| &kind.schema["properties"]["status"]);
    let schema = schema.unwrap_or(&Value::Null);
    let mut found = Found::default();
    structure::remove_unknown(schema, &mut status, &mut found);
    structure::check(schema, &status, &mut found);
    found.problems.iter().map(Problem::to_string).collect()
}
