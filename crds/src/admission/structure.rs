//! The structural schema: the closed part of JSON Schema that our definitions use, in the words of the API server.
//!
//! A general JSON-schema crate knows neither `nullable` nor unknown fields nor list types, and would judge more than
//! half of this differently from the API server.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

use super::Problem;

/// The keywords that this module honours. A test holds the generated schemas to them.
#[cfg(test)]
pub(crate) const KEYWORDS: [&str; 21] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
];

/// The fields of every object, which a schema does not repeat.
const IMPLIED: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    /// Whether the API server would not run the rules on this object any more.
    pub(super) blocks_rules: bool,
}

impl Found {
    pub(super) fn problem(&mut self, path: &str, message: String) {
        self.problems.push(Problem { path: path.to_owned(), message, help: None });
    }

    /// A problem whose message does not say what the field is for.
    fn explained(&mut self, path: &str, schema: &Value, message: String) {
        match schema.get("description").and_then(Value::as_str) {
            Some(description) => self.helped(path, message, first_sentence(description)),
            None => self.problem(path, message),
        }
    }

    fn helped(&mut self, path: &str, message: String, help: String) {
        self.problems.push(Problem { path: path.to_owned(), message, help: Some(help) });
    }
}

fn first_sentence(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = one_line.find(". ").unwrap_or(one_line.len());
    one_line.get(..end).unwrap_or_default().trim_end_matches('.').to_owned()
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn property<'s>(schema: &'s Value, field: &str) -> Option<&'s Value> {
    schema.get("properties")?.get(field)
}

/// The schema of the values of a free-form map.
fn map_values(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|values| values.is_object())
}

/// Takes out the fields that the schema does not know, as strict decoding reports them.
pub(super) fn remove_unknown(schema: &Value, object: &mut Value, found: &mut Found) {
    remove_unknown_below(schema, object, "", found);
}

fn remove_unknown_below(schema: &Value, value: &mut Value, path: &str, found: &mut Found) {
    match value {
        Value::Object(fields) => {
            let known = |field: &str| property(schema, field).or_else(|| map_values(schema));
            let implied = |field: &str| path.is_empty() && IMPLIED.contains(&field);
            fields.retain(|field, _| {
                let keep = implied(field) || known(field).is_some();
                if !keep {
                    found.problem("", format!("unknown field {:?}", join(path, field)));
                }
                keep
            });
            for (field, value) in fields.iter_mut() {
                if let Some(schema) = known(field) {
                    remove_unknown_below(schema, value, &join(path, field), found);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else {
                return;
            };
            for (index, item) in items.iter_mut().enumerate() {
                remove_unknown_below(schema, item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// Takes out nulls, as the API server prunes them where the schema does not allow them: ours allows none.
pub(super) fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Fills in the defaults of the schema.
pub(super) fn fill_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (field, schema) in properties.into_iter().flatten() {
                if let (false, Some(default)) = (fields.contains_key(field), schema.get("default")) {
                    fields.insert(field.clone(), default.clone());
                }
            }
            for (field, value) in fields {
                if let Some(schema) = property(schema, field).or_else(|| map_values(schema)) {
                    fill_defaults(schema, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| fill_defaults(schema, item));
            }
        }
        _ => {}
    }
}

/// Checks types, bounds, patterns, enums and the uniqueness of list entries.
pub(super) fn check(schema: &Value, object: &Value, found: &mut Found) {
    check_value(schema, object, "", found);
}

fn check_value(schema: &Value, value: &Value, path: &str, found: &mut Found) {
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let actual = type_name(value);
    if wanted != actual && (wanted, actual) != ("number", "integer") {
        let message = format!("Invalid value: {actual:?}: {path} in body must be of type {wanted}: {actual:?}");
        match (wanted, value) {
            // YAML reads an unquoted Off as a boolean and an unquoted account id as a number.
            ("string", Value::Bool(_) | Value::Number(_)) => {
                found.helped(path, message, "write it in quotes".to_owned())
            }
            _ => found.explained(path, schema, message),
        }
        found.blocks_rules = true;
        return;
    }
    match value {
        Value::Object(fields) => check_object(schema, fields, path, found),
        Value::Array(items) => check_array(schema, items, path, found),
        Value::String(text) => check_text(schema, text, path, found),
        Value::Number(number) => check_number(schema, number, path, found),
        Value::Null | Value::Bool(_) => {}
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn bound(schema: &Value, keyword: &str) -> Option<usize> {
    schema.get(keyword)?.as_u64()?.try_into().ok()
}

fn check_object(schema: &Value, fields: &Map<String, Value>, path: &str, found: &mut Found) {
    for field in strings(schema, "required").filter(|field| !fields.contains_key(*field)) {
        let schema = property(schema, field).unwrap_or(&Value::Null);
        found.explained(&join(path, field), schema, "Required value".to_owned());
        found.blocks_rules = true;
    }
    if bound(schema, "maxProperties").is_some_and(|most| fields.len() > most) {
        let most = bound(schema, "maxProperties").unwrap_or_default();
        found.problem(path, format!("Too many: {}: must have at most {most} items", fields.len()));
        found.blocks_rules = true;
    }
    if let Some(least) = bound(schema, "minProperties").filter(|least| fields.len() < *least) {
        found.explained(
            path,
            schema,
            format!("Invalid value: {}: {path} in body should have at least {least} properties", fields.len()),
        );
    }
    for (field, value) in fields {
        if let Some(schema) = property(schema, field).or_else(|| map_values(schema)) {
            check_value(schema, value, &join(path, field), found);
        }
    }
}

fn check_array(schema: &Value, items: &[Value], path: &str, found: &mut Found) {
    if let Some(most) = bound(schema, "maxItems").filter(|most| items.len() > *most) {
        found.problem(path, format!("Too many: {}: must have at most {most} items", items.len()));
        found.blocks_rules = true;
    }
    if let Some(least) = bound(schema, "minItems").filter(|least| items.len() < *least) {
        let message = format!("Invalid value: {}: {path} in body should have at least {least} items", items.len());
        found.explained(path, schema, message);
    }
    if let Some(schema) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            check_value(schema, item, &format!("{path}[{index}]"), found);
        }
    }
    let keys: Option<Vec<&str>> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Some(Vec::new()),
        Some("map") => Some(strings(schema, "x-kubernetes-list-map-keys").collect()),
        _ => None,
    };
    if let Some(keys) = keys {
        check_unique(&keys, items, path, found);
    }
}

/// Entries of a set differ as a whole (no keys), entries of a map in their keys.
fn check_unique(keys: &[&str], items: &[Value], path: &str, found: &mut Found) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let identity = match keys {
            [] => item.clone(),
            keys => keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone()))).collect(),
        };
        if !seen.insert(identity.to_string()) {
            found.problem(&format!("{path}[{index}]"), format!("Duplicate value: {identity}"));
        }
    }
}

fn check_text(schema: &Value, text: &str, path: &str, found: &mut Found) {
    let length = text.chars().count();
    if let Some(most) = bound(schema, "maxLength").filter(|most| length > *most) {
        found.problem(path, format!("Too long: may not be more than {most} bytes"));
        found.blocks_rules = true;
    }
    if let Some(least) = bound(schema, "minLength").filter(|least| length < *least) {
        let message = format!("Invalid value: {text:?}: {path} in body should be at least {least} chars long");
        found.explained(path, schema, message);
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if let Some(pattern) = pattern.filter(|pattern| !matches(pattern, text)) {
        let message = format!("Invalid value: {text:?}: {path} in body should match '{pattern}'");
        found.explained(path, schema, message);
    }
    let values: Vec<&str> = strings(schema, "enum").collect();
    if !values.is_empty() && !values.contains(&text) {
        let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        found.explained(path, schema, format!("Unsupported value: {text:?}: supported values: {}", values.join(", ")));
        found.blocks_rules = true;
    }
    if schema.get("format").and_then(Value::as_str) == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
        found.problem(path, format!("Invalid value: {text:?}: {path} in body must be of type date-time: {text:?}"));
    }
}

/// Whether a text matches, also where the pattern cannot be used: then the API server would not have taken the schema.
fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).map_or(true, |pattern| pattern.is_match(text))
}

fn check_number(schema: &Value, number: &serde_json::Number, path: &str, found: &mut Found) {
    let bound = |keyword| schema.get(keyword).and_then(Value::as_f64);
    let Some(value) = number.as_f64() else { return };
    if let Some(least) = bound("minimum").filter(|least| value < *least) {
        let message = format!("Invalid value: {number}: {path} in body should be greater than or equal to {least}");
        found.explained(path, schema, message);
    }
    if let Some(most) = bound("maximum").filter(|most| value > *most) {
        let message = format!("Invalid value: {number}: {path} in body should be less than or equal to {most}");
        found.explained(path, schema, message);
    }
}

fn strings<'s>(schema: &'s Value, keyword: &str) -> impl Iterator<Item = &'s str> {
    schema.get(keyword).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
