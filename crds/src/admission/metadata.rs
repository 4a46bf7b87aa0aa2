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
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'my-value'), and be no more than 63 characters";
const LABEL_KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character, after an optional DNS prefix and '/' (e.g. 'example.com/my-name')";

struct Patterns {
    subdomain: Regex,
    qualified: Regex,
    value: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    const NAME: &str = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";
    Some(Patterns {
        subdomain: Regex::new(&format!(r"^{LABEL}(\.{LABEL})*$")).ok()?,
        qualified: Regex::new(&format!(r"^({LABEL}(\.{LABEL})*/)?{NAME}$")).ok()?,
        value: Regex::new(&format!("^({NAME})?$")).ok()?,
    })
});

/// Checks names, labels and annotations of a document.
pub(super) fn check(document: &Value, found: &mut Found) {
    let empty = Map::new();
    let metadata = match document.get("metadata") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(metadata)) => metadata,
        Some(_) => return found.problem("metadata", "Invalid value: must be an object".to_owned()),
    };
    for field in metadata
        .keys()
        .filter(|field| !FIELDS.contains(&field.as_str()))
    {
        found.problem("", format!("unknown field \"metadata.{field}\""));
    }
    check_name(metadata, found);
    let Some(Patterns {
        qualified,
        value: label,
        ..
    }) = PATTERNS.as_ref()
    else {
        return;
    };
    for map in ["labels", "annotations"] {
        let Some(entries) = metadata.get(map).filter(|entries| !entries.is_null()) else {
            continue;
        };
        let path = format!("metadata.{map}");
        let Some(entries) = entries.as_object() else {
            found.problem(&path, "Invalid value: must be a map of strings".to_owned());
            continue;
        };
        for (key, value) in entries {
            let bare = key.rsplit('/').next().unwrap_or(key);
            if !qualified.is_match(&key.to_lowercase()) || bare.len() > 63 {
                found.problem(&path, format!("Invalid value: {key:?}: {LABEL_KEY}"));
            }
            match value.as_str() {
                Some(text) if map == "labels" && !label.is_match(text) => {
                    found.problem(&path, format!("Invalid value: {text:?}: {LABEL_VALUE}"));
                }
                Some(_) => {}
                None => found.problem(
                    &format!("{path}.{key}"),
                    format!("Invalid value: {value}: must be a string, in quotes"),
                ),
            }
        }
    }
}

fn check_name(metadata: &Map<String, Value>, found: &mut Found) {
    let field = |name| metadata.get(name).filter(|value| !value.is_null());
    let Some(name) = field("name") else {
        if field("generateName").is_none() {
            found.problem(
                "metadata.name",
                "Required value: name or generateName is required".to_owned(),
            );
        }
        return;
    };
    let valid = |text: &str| {
        text.len() <= 253
            && PATTERNS
                .as_ref()
                .is_none_or(|patterns| patterns.subdomain.is_match(text))
    };
    match name.as_str() {
        Some(text) if valid(text) => {}
        Some(text) => found.problem(
            "metadata.name",
            format!("Invalid value: {text:?}: {SUBDOMAIN}"),
        ),
        None => found.problem(
            "metadata.name",
            format!("Invalid value: {name}: must be a string, in quotes"),
        ),
    }
}
