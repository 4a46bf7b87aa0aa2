//! `metadata`, as far as a document can get it wrong.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::structure::Found;

/// Every field of `ObjectMeta`.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'my-value'), and be no more than 63 characters";
const LABEL_KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character, after an optional DNS prefix and '/' (e.g. 'example.com/my-name')";

struct Patterns {
    label: Regex,
    subdomain: Regex,
    qualified: Regex,
    value: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    const LABEL: &str = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
    const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
    const NAME: &str = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";
    Some(Patterns {
        label: Regex::new(&format!("^{LABEL}$")).ok()?,
        subdomain: Regex::new(&format!("^{SUBDOMAIN}$")).ok()?,
        qualified: Regex::new(&format!("^({SUBDOMAIN}/)?{NAME}$")).ok()?,
        value: Regex::new(&format!("^({NAME})?$")).ok()?,
    })
});

/// The longest name, and the longest prefix of a key.
const MAX_SUBDOMAIN: usize = 253;

/// Checks names, labels and annotations of a document.
pub(super) fn check(document: &Value, namespaced: bool, found: &mut Found) {
    let empty = Map::new();
    let metadata = match document.get("metadata") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(metadata)) => metadata,
        Some(_) => return found.problem("metadata", "Invalid value: must be an object".to_owned()),
    };
    for field in metadata.keys().filter(|field| !FIELDS.contains(&field.as_str())) {
        found.problem("", format!("unknown field \"metadata.{field}\""));
    }
    let Some(patterns) = PATTERNS.as_ref() else {
        return;
    };
    check_names(metadata, namespaced, patterns, found);
    check_labels(metadata, patterns, found);
    check_annotations(metadata, patterns, found);
}

fn check_names(metadata: &Map<String, Value>, namespaced: bool, patterns: &Patterns, found: &mut Found) {
    let name = text(metadata, "name", found);
    let generated = text(metadata, "generateName", found);
    if metadata.get("name").is_none_or(Value::is_null) && generated.is_none() {
        let message = "Required value: name or generateName is required";
        found.problem("metadata.name", message.to_owned());
    }
    if let Some(name) = name.filter(|name| !is_subdomain(name, patterns)) {
        found.problem("metadata.name", format!("Invalid value: {name:?}: {SUBDOMAIN}"));
    }
    let namespace = text(metadata, "namespace", found).filter(|_| namespaced);
    if let Some(namespace) = namespace.filter(|name| !name.is_empty() && !patterns.label.is_match(name)) {
        found.problem("metadata.namespace", format!("Invalid value: {namespace:?}: {LABEL}"));
    }
}

fn is_subdomain(text: &str, patterns: &Patterns) -> bool {
    text.len() <= MAX_SUBDOMAIN && patterns.subdomain.is_match(text)
}

/// A field that is a string if it is there.
fn text<'m>(metadata: &'m Map<String, Value>, field: &str, found: &mut Found) -> Option<&'m str> {
    let value = metadata.get(field).filter(|value| !value.is_null())?;
    if !value.is_string() {
        let message = format!("Invalid value: {value}: must be a string, in quotes");
        found.problem(&format!("metadata.{field}"), message);
    }
    value.as_str()
}

fn check_labels(metadata: &Map<String, Value>, patterns: &Patterns, found: &mut Found) {
    for (key, value) in entries(metadata, "labels", found) {
        check_key("labels", key, key, patterns, found);
        if !patterns.value.is_match(value) {
            found.problem("metadata.labels", format!("Invalid value: {value:?}: {LABEL_VALUE}"));
        }
    }
}

fn check_annotations(metadata: &Map<String, Value>, patterns: &Patterns, found: &mut Found) {
    for (key, _) in entries(metadata, "annotations", found) {
        check_key("annotations", key, &key.to_lowercase(), patterns, found);
    }
}

fn check_key(map: &str, key: &str, as_judged: &str, patterns: &Patterns, found: &mut Found) {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    if prefix.len() > MAX_SUBDOMAIN || !patterns.qualified.is_match(as_judged) {
        found.problem(&format!("metadata.{map}"), format!("Invalid value: {key:?}: {LABEL_KEY}"));
    }
}

/// The entries of a map of strings. A null is an empty string.
fn entries<'m>(metadata: &'m Map<String, Value>, map: &str, found: &mut Found) -> Vec<(&'m str, &'m str)> {
    let path = format!("metadata.{map}");
    let entries = match metadata.get(map) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            found.problem(&path, "Invalid value: must be a map of strings".to_owned());
            return Vec::new();
        }
    };
    let mut texts = Vec::new();
    for (key, value) in entries {
        match value {
            Value::String(text) => texts.push((key.as_str(), text.as_str())),
            Value::Null => texts.push((key.as_str(), "")),
            other => {
                let message = format!("Invalid value: {other}: must be a string, in quotes");
                found.problem(&format!("{path}.{key}"), message);
            }
        }
    }
    texts
}
