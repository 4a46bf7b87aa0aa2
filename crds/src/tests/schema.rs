//! What every schema has to be like, so that the API server takes it and people understand it.

use std::collections::BTreeSet;

use engine::controls::lambda::LambdaParameters;
use engine::controls::listed;
use engine::controls::security_group::SecurityGroupParameters;
use engine::kind::Kind;
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
        "LambdaBaseline.spec.infrastructureAsCode.mode",
        "LambdaBaseline.spec.interval",
        "LambdaBaseline.spec.mode",
        "SecurityGroupBaseline.spec.infrastructureAsCode.mode",
        "SecurityGroupBaseline.spec.interval",
        "SecurityGroupBaseline.spec.mode",
    ];
    assert_eq!(defaults.iter().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
}

/// Of two flattened structs with rules, schemars keeps those of the first alone.
#[test]
fn flattened_structs_have_no_rules_of_their_own() {
    for schema in [
        schemars::schema_for!(Common),
        schemars::schema_for!(SecurityGroupParameters),
        schemars::schema_for!(LambdaParameters),
    ] {
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
        "LambdaBaseline.spec 2",
        "LambdaBaseline.spec.accounts 1",
        "LambdaBaseline.spec.interval 2",
        "LambdaBaseline.spec.limits.concurrency 1",
        "LambdaBaseline.spec.network 1",
        "LambdaBaseline.spec.overrides[] 1",
        "LambdaBaseline.spec.requiredTags[] 1",
        "LambdaBaseline.spec.runtime.upgrades[] 1",
        "LambdaBaseline.spec.select 1",
        "LambdaBaseline.spec.urls 1",
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

/// The schema of a kind.
fn schema_of(kind: &str) -> Value {
    schemas().into_iter().find(|(known, _)| known == kind).unwrap().1
}

#[test]
fn overrides_name_the_controls_that_there_are() {
    for kind in Kind::ALL {
        let schema = schema_of(kind.name());
        let over = schema.pointer("/properties/spec/properties/overrides/items/properties/control/enum").unwrap();
        let ids: Vec<&str> = over.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(ids.len() >= 20, "{ids:?}");
        assert_eq!(ids, listed(kind).into_iter().map(|control| control.about.id).collect::<Vec<_>>());
    }
}

#[test]
fn exemptions_name_the_controls_of_every_kind() {
    let schema = schema_of("BaselineExemption");
    let ids = schema.pointer("/properties/spec/properties/controls/items/enum").unwrap().as_array().unwrap();
    let all = Kind::ALL.into_iter().flat_map(listed).map(|control| control.about.id);
    assert_eq!(ids.iter().filter_map(Value::as_str).collect::<Vec<_>>(), all.collect::<Vec<_>>());
}

#[test]
fn an_optional_enum_is_described_as_its_field_is() {
    let schema = schema_of("SecurityGroupBaseline");
    let field = &schema["properties"]["spec"]["properties"]["internet"]["properties"]["onOverlap"];
    assert!(field["description"].as_str().unwrap().ends_with("Recommended: Split."), "{field}");
    assert_eq!(field["enum"], serde_json::json!(["Split", "Replace", "Report"]));
    let schema = schema_of("LambdaBaseline");
    let field = &schema["properties"]["spec"]["properties"]["urls"]["properties"]["auth"];
    assert!(field["description"].as_str().unwrap().ends_with("Recommended: AWS_IAM."), "{field}");
    assert_eq!(field["enum"], serde_json::json!(["AWS_IAM", "Any"]));
}

/// Whoever asks `kubectl explain` for a control field is told what is judged while it is left out.
#[test]
fn every_field_on_functions_says_what_holds_while_it_is_left_out() {
    let topics = ["access", "urls", "runtime", "environment", "code", "observability", "network", "roles", "limits"];
    let topics = topics.into_iter().chain(["async", "publishedVersions", "requiredTags"]);
    let topics: BTreeSet<String> = topics.map(|topic| format!("LambdaBaseline.spec.{topic}")).collect();
    for_each_node(|Node { path, schema }| {
        let is_in_a_topic = topics.iter().any(|topic| path == topic || path.starts_with(&format!("{topic}.")));
        let is_a_group = schema["type"] == "object" || path.contains("[]");
        if is_in_a_topic && !is_a_group {
            let description = schema["description"].as_str().unwrap_or_default();
            let words = ["Recommended: ", "Left out: ", "Off while left out", "is only reported"];
            assert!(words.iter().any(|words| description.contains(words)), "{path}: {description}");
        }
    });
}

#[test]
fn the_definitions_stay_small_enough_for_a_client_side_apply() {
    for crd in crds() {
        // kubectl keeps the whole object in an annotation, and all annotations together take 256 KiB at most.
        assert!(serde_json::to_vec(&crd).unwrap().len() < 200 * 1024);
    }
}
