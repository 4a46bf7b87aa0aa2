//! What every schema has to be like, so that the API server takes it and people understand it.

use std::collections::BTreeSet;

use engine::controls::security_group::SecurityGroupParameters;
use serde_json::Value;

use crate::{Common, crds};

/// A place in a schema.
struct Node<'s> {
    path: String,
    schema: &'s Value,
}

fn walk<'s>(path: &str, schema: &'s Value, nodes: &mut Vec<Node<'s>>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), schema, nodes);
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[keyword].is_object() {
            walk(&format!("{path}{suffix}"), &schema[keyword], nodes);
        }
    }
    nodes.push(Node { path: path.to_owned(), schema });
}

fn schemas() -> Vec<(String, Value)> {
    crds()
        .map(|crd| {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            (crd.spec.names.kind, schema["openAPIV3Schema"].clone())
        })
        .into()
}

fn for_each_node(mut check: impl FnMut(&Node<'_>)) {
    for (kind, schema) in schemas() {
        let mut nodes = Vec::new();
        walk(&kind, &schema, &mut nodes);
        assert!(nodes.len() > 15, "{kind} is almost empty");
        nodes.iter().for_each(&mut check);
    }
}

/// The type of conditions is that of Kubernetes.
fn is_foreign(path: &str) -> bool {
    path.contains(".status.conditions[]")
}

#[test]
fn the_schemas_use_only_what_offline_admission_honours() {
    for_each_node(|Node { path, schema }| {
        for keyword in schema.as_object().unwrap().keys() {
            assert!(crate::admission::KEYWORDS.contains(&keyword.as_str()), "{path} has {keyword}");
        }
        let format = schema["format"].as_str();
        assert!(matches!(format, None | Some("date-time" | "int32" | "int64")), "{path}: {format:?}");
        if let Some(pattern) = schema["pattern"].as_str() {
            assert!(regex::Regex::new(pattern).is_ok(), "{path}: {pattern}");
            assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{path}: {pattern}");
        }
    });
}

#[test]
fn everything_is_bounded() {
    for_each_node(|Node { path, schema }| {
        let has = |keyword: &str| !schema[keyword].is_null();
        let bounded = match schema["type"].as_str() {
            Some("string") => has("maxLength") || has("enum") || has("format"),
            Some("array") => has("maxItems"),
            Some("integer") => has("minimum"),
            Some("object") => has("maxProperties") || !has("additionalProperties"),
            Some("boolean") => true,
            other => panic!("{path} is of type {other:?}"),
        };
        assert!(bounded || is_foreign(path), "{path} has no bound");
    });
}

#[test]
fn every_field_is_explained() {
    for_each_node(|Node { path, schema }| {
        let last = path.rsplit('.').next().unwrap_or_default();
        let is_entry = last.ends_with("[]") || last.ends_with("{}");
        let description = schema["description"].as_str().unwrap_or_default();
        assert!(is_entry || !description.is_empty(), "{path} is not explained");
        assert!(!description.contains('`'), "{path}: {description}");
    });
}

/// Design promise 7: the API server must not write a control field that its user left out.
#[test]
fn only_fields_beside_the_controls_have_defaults() {
    let mut defaults = BTreeSet::new();
    for_each_node(|Node { path, schema }| {
        if !schema["default"].is_null() && !path.contains(".status.") {
            defaults.insert(path.clone());
        }
    });
    let expected = [
        "AWSAccount.spec.rateShare",
        "AWSAccount.spec.rulesPerSecurityGroup",
        "AWSAccount.spec.writes",
        "SecurityGroupBaseline.spec.infrastructureAsCode.mode",
        "SecurityGroupBaseline.spec.interval",
        "SecurityGroupBaseline.spec.mode",
    ];
    assert_eq!(defaults.iter().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
}

/// Of two flattened structs with rules, schemars keeps those of the first alone.
#[test]
fn flattened_structs_have_no_rules_of_their_own() {
    for schema in [schemars::schema_for!(Common), schemars::schema_for!(SecurityGroupParameters)] {
        assert!(schema.get("x-kubernetes-validations").is_none());
    }
}

#[test]
fn the_rules_of_nested_structs_are_kept() {
    let mut places = BTreeSet::new();
    for_each_node(|Node { path, schema }| {
        let rules = schema["x-kubernetes-validations"].as_array().map_or(0, Vec::len);
        if rules > 0 {
            places.insert(format!("{path} {rules}"));
        }
    });
    for expected in [
        "AWSAccount.spec 3",
        "AWSAccount.spec.accountId 1",
        "AWSAccount.spec.namespaces 1",
        "AWSAccount.spec.namespaces[] 1",
        "AWSAccount.spec.namespaces[].mayAddRules 1",
        "AWSAccount.spec.namespaces[].mayAddRules.ports[] 3",
        "AWSAccount.spec.namespaces[].select 1",
        "AWSAccount.spec.readRole 1",
        "AWSAccount.spec.writeRole 1",
        "ChangeSet.spec 1",
        "ChangeSetApproval.spec 2",
        "SecurityGroupBaseline.spec.accounts 1",
        "SecurityGroupBaseline.spec.egress.allow[] 1",
        "SecurityGroupBaseline.spec.egress.allow[].traffic 4",
        "SecurityGroupBaseline.spec.hygiene.requiredTags[] 1",
        "SecurityGroupBaseline.spec.internet 4",
        "SecurityGroupBaseline.spec.internet.allowPorts[] 3",
        "SecurityGroupBaseline.spec.internet.icmp.allowedV4[] 2",
        "SecurityGroupBaseline.spec.internet.icmp.allowedV6[] 2",
        "SecurityGroupBaseline.spec.interval 2",
        "SecurityGroupBaseline.spec.overrides[] 1",
        "SecurityGroupBaseline.spec.required.egress[] 1",
        "SecurityGroupBaseline.spec.required.egress[].traffic 4",
        "SecurityGroupBaseline.spec.required.ingress[] 1",
        "SecurityGroupBaseline.spec.required.ingress[].traffic 4",
        "SecurityGroupBaseline.spec.select 1",
        "SecurityGroupBaseline.spec.sources 2",
        "SecurityGroupBaseline.spec.sources.ports[] 4",
    ] {
        assert!(places.contains(expected), "{expected} is not in {places:#?}");
    }
}

/// What a person writes has no entry twice. What the controller writes is never refused for one.
#[test]
fn only_the_controller_writes_lists_that_may_repeat() {
    let mut repeating = BTreeSet::new();
    for_each_node(|Node { path, schema }| {
        let unique = matches!(schema["x-kubernetes-list-type"].as_str(), Some("set" | "map"));
        if schema["type"] == "array" && !unique && !path.contains(".status.") && !path.starts_with("ChangeSet.") {
            repeating.insert(path.clone());
        }
    });
    // Its order counts, and a rule refuses a name that stands twice.
    assert_eq!(repeating, BTreeSet::from(["AWSAccount.spec.namespaces".to_owned()]));
    for_each_node(|Node { path, schema }| {
        let set = schema["x-kubernetes-list-type"] == "set";
        assert!(!set || !(path.contains(".status.") || path.starts_with("ChangeSet.")), "{path}");
    });
}

#[test]
fn overrides_name_the_controls_that_there_are() {
    let (_, schema) = schemas().swap_remove(1);
    let over = schema.pointer("/properties/spec/properties/overrides/items/properties/control/enum").unwrap();
    let ids: Vec<&str> = over.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(ids.contains(&"sg-rule-count"));
    assert_eq!(ids, engine::controls::security_group::controls().map(|control| control.about.id).collect::<Vec<_>>());
}

#[test]
fn an_optional_enum_is_described_as_its_field_is() {
    let (_, schema) = schemas().swap_remove(1);
    let field = &schema["properties"]["spec"]["properties"]["internet"]["properties"]["onOverlap"];
    assert!(field["description"].as_str().unwrap().ends_with("Recommended: Split."), "{field}");
    assert_eq!(field["enum"], serde_json::json!(["Split", "Replace", "Report"]));
}

#[test]
fn the_definitions_stay_small_enough_for_a_client_side_apply() {
    for crd in crds() {
        // kubectl keeps the whole object in an annotation, and all annotations together take 256 KiB at most.
        assert!(serde_json::to_vec(&crd).unwrap().len() < 200 * 1024);
    }
}
