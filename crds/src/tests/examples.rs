//! The examples go through offline admission; the tests of the whole run the same files through the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use engine::controls::lambda::LambdaParameters;
use engine::controls::security_group::SecurityGroupParameters;
use engine::facts::Location;
use engine::kind::Kind;
use serde_json::{Value, json};

use super::{path, yaml_files_in};
use crate::admission::{Object, admit, documents};
use crate::kind::BaselineObject;
use crate::{AWSAccount, AnyBaseline, LambdaBaseline, SecurityGroupBaseline, crds};

fn document(text: &str) -> Value {
    let mut documents = documents(text).unwrap();
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn example(name: &str) -> Value {
    document(&fs::read_to_string(path("examples").join(name)).unwrap())
}

fn admitted(document: &Value) -> AnyBaseline {
    match admit(document) {
        Ok(Object::Baseline(baseline)) => baseline,
        Ok(other) => panic!("{other:?}"),
        Err(refused) => panic!("{refused}"),
    }
}

fn security_groups(document: &Value) -> SecurityGroupBaseline {
    match admitted(document) {
        AnyBaseline::SecurityGroup(baseline) => *baseline,
        other => panic!("{other:?}"),
    }
}

fn functions(document: &Value) -> LambdaBaseline {
    match admitted(document) {
        AnyBaseline::Lambda(baseline) => *baseline,
        other => panic!("{other:?}"),
    }
}

fn account(name: &str) -> AWSAccount {
    match admit(&example(name)) {
        Ok(Object::Account(account)) => *account,
        other => panic!("{other:?}"),
    }
}

#[test]
fn valid_examples_are_admitted() {
    let files = yaml_files_in("examples");
    assert!(files.len() >= 7);
    for (name, text) in files {
        if let Err(refused) = admit(&document(&text)) {
            panic!("{name} is refused:\n{refused}");
        }
    }
}

#[test]
fn invalid_examples_are_refused_for_the_reason_that_they_name() {
    let files = yaml_files_in("examples/invalid");
    assert!(files.len() >= 60);
    for (name, text) in files {
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# refused: "));
        let expected = expected.unwrap_or_else(|| panic!("{name} does not say why it is refused"));
        match admit(&document(&text)) {
            Ok(_) => panic!("{name} is admitted"),
            Err(refused) => {
                let said = refused.to_string();
                assert!(said.contains(expected), "{name}: {expected:?} is not in:\n{said}");
            }
        }
    }
}

#[test]
fn one_thing_wrong_is_one_problem() {
    let text = fs::read_to_string(path("examples/invalid/baseline-mode-unknown.yaml")).unwrap();
    let refused = admit(&document(&text)).unwrap_err();
    assert_eq!(refused.problems.len(), 1);
    assert_eq!(
        refused.to_string(),
        "spec.mode: Unsupported value: \"Report\": supported values: \"Audit\", \"Propose\", \"Enforce\" (How far to go)"
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let mut document = example("security-group-baseline-minimal.yaml");
    document["spec"]["mode"] = json!("Report");
    document["spec"]["regions"] = json!(["nowhere"]);
    document["spec"]["remedy"] = json!({});
    document["metadata"]["name"] = json!("Not A Name");
    let refused = admit(&document).unwrap_err();
    let paths: Vec<&str> = refused.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["", "metadata.name", "spec.mode", "spec.regions[0]"]);
}

#[test]
fn rules_wait_until_the_values_are_of_the_right_kind() {
    let mut document = example("security-group-baseline-minimal.yaml");
    document["spec"]["interval"] = json!("1s");
    assert!(admit(&document).unwrap_err().to_string().contains("at least 10s"));
    document["spec"]["mode"] = json!("Report");
    assert!(!admit(&document).unwrap_err().to_string().contains("at least 10s"));
}

/// Writes the first entry of every list once more, and says where.
fn repeat_entries(value: &mut Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, value)| repeat_entries(value, &format!("{path}.{name}"), into));
        }
        Value::Array(items) => {
            let entries = items.iter_mut().enumerate();
            entries.for_each(|(index, item)| repeat_entries(item, &format!("{path}[{index}]"), into));
            into.push(format!("{path}[{}]: Duplicate value", items.len()));
            items.push(items[0].clone());
        }
        _ => {}
    }
}

#[test]
fn nothing_that_a_person_writes_stands_twice_in_a_list() {
    for name in ["account-full.yaml", "security-group-baseline-full.yaml", "lambda-baseline-full.yaml"] {
        let (mut document, mut repeated) = (example(name), Vec::new());
        repeat_entries(&mut document["spec"], "spec", &mut repeated);
        assert!(repeated.len() >= 10, "{repeated:?}");
        let said = admit(&document).unwrap_err().to_string();
        for problem in repeated {
            // The order of the grants counts: a rule refuses a name that stands twice.
            let problem = problem.replace("spec.namespaces[2]: Duplicate value", "spec.namespaces: namespaces names");
            assert!(said.contains(&problem), "{name}: {problem} is not in:\n{said}");
        }
    }
}

#[test]
fn other_kinds_and_versions_are_told_apart() {
    let mut document = example("account.yaml");
    document["kind"] = json!("ECSBaseline");
    let refused = admit(&document).unwrap_err().to_string();
    assert!(
        refused.contains(
            "it has AWSAccount, SecurityGroupBaseline, LambdaBaseline, BaselineExemption, ChangeSet, ChangeSetApproval"
        ),
        "{refused}"
    );
    document["apiVersion"] = json!("baseward.dev/v1");
    assert!(admit(&document).unwrap_err().to_string().contains("is not baseward.dev/v1alpha1"));
    assert!(crate::admission::is_ours(&document));
    assert!(!crate::admission::is_ours(&json!({"apiVersion": "v1", "kind": "Namespace"})));
    assert!(admit(&json!("text")).is_err());
    assert!(admit(&json!({"apiVersion": "baseward.dev/v1alpha1", "kind": "AWSAccount"})).is_err());
}

#[test]
fn defaults_are_filled_in_and_nulls_are_fields_left_out() {
    let mut document = example("security-group-baseline-minimal.yaml");
    document["spec"]["interval"] = Value::Null;
    document["spec"]["internet"] = Value::Null;
    document["status"] = json!({"resources": 1});
    let baseline = security_groups(&document);
    assert_eq!(baseline.spec.common.interval, "60s");
    assert_eq!(baseline.spec.common.interval().as_secs(), 60);
    assert_eq!(baseline.spec.parameters, SecurityGroupParameters::default());
    assert_eq!(baseline.status, None);
    let account = account("account-minimal.yaml");
    assert_eq!((account.spec.rate_share, account.spec.rules_per_security_group), (50, 60));
}

#[test]
fn yaml_is_read_as_kubectl_reads_it() {
    let document = document("mode: Off\nquoted: \"Off\"\nid: 111122223333\nempty:\n");
    assert_eq!(document, json!({"mode": false, "quoted": "Off", "id": 111_122_223_333_u64, "empty": null}));
    assert!(documents("a: 1\na: 2\n").is_err());
    assert_eq!(documents("---\n# nothing\n---\na: 1\n---\nb: 2\n").unwrap().len(), 2);
    assert_eq!(documents("{\"a\": 1}").unwrap(), [json!({"a": 1})]);
}

/// Every field below a schema, map values and list items included.
fn fields(schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        fields(schema, &path, into);
        into.insert(path);
    }
    if schema["items"].is_object() {
        fields(&schema["items"], path, into);
    }
}

/// Every field that an example writes.
fn written(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                written(value, &path, into);
                into.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| written(item, path, into)),
        _ => {}
    }
}

#[test]
fn the_full_examples_use_every_field() {
    let all = &["spec.select.all", "spec.remediation.canary.resources"];
    let examples = BTreeMap::from([
        ("AWSAccount", (&["account-full.yaml"][..], &["spec.namespaces.select.all"][..])),
        ("SecurityGroupBaseline", (&["security-group-baseline-full.yaml"], all)),
        ("LambdaBaseline", (&["lambda-baseline-full.yaml"], all)),
        ("BaselineExemption", (&["exemption.yaml"], &[])),
        ("ChangeSet", (&["change-set.yaml", "change-set-of-functions.yaml"], &[])),
        ("ChangeSetApproval", (&["approval-rollback.yaml"], &[])),
    ]);
    for crd in crds() {
        let (names, exclusive) = examples[crd.spec.names.kind.as_str()];
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let schema = &schema["openAPIV3Schema"]["properties"]["spec"];
        let (mut all, mut used) = (BTreeSet::new(), BTreeSet::new());
        fields(schema, "spec", &mut all);
        names.iter().for_each(|name| written(&example(name)["spec"], "spec", &mut used));
        let missing: Vec<_> = all.difference(&used).filter(|field| !exclusive.contains(&field.as_str())).collect();
        assert!(missing.is_empty(), "{names:?} lack {missing:?}");
    }
}

#[test]
fn the_examples_fit_each_other() {
    let account = account("account.yaml").compile();
    assert!(account.writable && !account.writes_stopped);
    assert_eq!((account.name.as_str(), account.rules_per_group), ("payments-prod", 60));
    for name in [
        "security-group-baseline.yaml",
        "security-group-baseline-minimal.yaml",
        "lambda-baseline.yaml",
        "lambda-baseline-minimal.yaml",
        "lambda-baseline-full.yaml",
    ] {
        let baseline = AnyBaseline::compile(&admitted(&example(name)), &BTreeMap::new());
        let accepted = baseline.accept(std::slice::from_ref(&account)).unwrap();
        let here = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
        assert!(accepted.in_cell(&here).is_some(), "{name}");
    }
}

/// Nobody but the controller writes them: they are what it writes, and can be undone.
#[test]
fn the_edits_of_the_change_sets_are_read_as_the_engine_plans_them() {
    for name in ["change-set.yaml", "change-set-of-functions.yaml"] {
        let Ok(Object::ChangeSet(set)) = admit(&example(name)) else { panic!("{name} is refused") };
        assert!(set.spec.fits() && set.spec.edits.len() == 2, "{name}");
        for edit in set.spec.edits {
            let operation = edit.change().unwrap().operation();
            assert_eq!((edit.operation, edit.risk), (operation.to_string(), operation.risk().to_string()), "{name}");
        }
    }
}

#[test]
fn an_object_is_compiled_whole() {
    let mut object = security_groups(&example("security-group-baseline-full.yaml"));
    object.metadata.uid = Some("uid-1".to_owned());
    object.metadata.generation = Some(7);
    let labels = BTreeMap::from([("team".to_owned(), "security".to_owned())]);
    let compiled = object.compile(&labels);
    assert_eq!(compiled.reference.to_string(), "security/everything");
    assert_eq!((compiled.reference.uid.as_str(), compiled.reference.generation), ("uid-1", 7));
    assert_eq!((compiled.namespace.name.as_str(), &compiled.namespace.labels), ("security", &labels));
    assert!(compiled.suspended);
    assert_eq!(compiled.regions, ["eu-west-1", "us-east-1"]);
    assert_eq!(compiled.parameters, object.spec.parameters.into());
    assert_eq!(compiled.infrastructure_as_code.mode, engine::spec::CodeMode::Enforce);
    assert_eq!(object.spec.common.interval().as_secs(), 5400);
    assert!(account("account-full.yaml").compile().writes_stopped);
    assert!(!account("account-minimal.yaml").compile().writable);
}

#[test]
fn a_baseline_of_any_kind_is_read_and_written_as_it_is() {
    for (name, kind) in
        [("security-group-baseline-full.yaml", Kind::SecurityGroup), ("lambda-baseline-full.yaml", Kind::Lambda)]
    {
        let document = example(name);
        let baseline = admitted(&document);
        assert_eq!((baseline.reference().kind, baseline.compile(&BTreeMap::new()).parameters.kind()), (kind, kind));
        assert_eq!(baseline.to_value().unwrap(), document, "{name}");
    }
}

#[test]
fn the_outermost_values_are_admitted() {
    let mut document = example("security-group-baseline-minimal.yaml");
    document["spec"]["internet"] = json!({
        "allowPorts": ["tcp/443-443", "udp/5987-65535"],
        "icmp": {"allowedV4": ["255/255", "0"]},
        "replaceWith": ["fc00::/7", "8.0.0.0/8", "2600::/16"],
    });
    let ports = ["all", "tcp", "tcp/0", "udp/65535", "icmp/255/255", "icmpv6/0", "255", "0"];
    document["spec"]["sources"] = json!({"cidrs": ["10.0.0.0/8"], "ports": ports});
    admitted(&document);
}

#[test]
fn the_outermost_values_on_functions_are_admitted() {
    let mut document = example("lambda-baseline-minimal.yaml");
    let spec = document["spec"].as_object_mut().unwrap();
    let organizations = ["o-a1b2c3d4e5".to_owned(), format!("o-{}", "z".repeat(32))];
    spec.insert("access".to_owned(), json!({"trustedAccounts": [], "trustedOrgIds": organizations}));
    let origins =
        ["https://shop.example.com", "http://localhost:3000", "chrome-extension://abcdef", "https://[::1]:8443"];
    spec.insert("urls".to_owned(), json!({"corsOrigins": origins}));
    let upgrade = json!({"from": "provided.al2", "to": "provided.al2023"});
    spec.insert("runtime".to_owned(), json!({"warnDays": 0, "upgrades": [upgrade]}));
    let key = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
    spec.insert("environment".to_owned(), json!({"kmsKeyArn": key}));
    let layer = "arn:aws-cn:lambda:cn-north-1:488211338238:layer:LambdaInsightsExtension:1";
    spec.insert("observability".to_owned(), json!({"insightsLayerArns": [layer], "logLevel": "Fatal"}));
    spec.insert("network".to_owned(), json!({"require": "Vpc", "subnetIds": [], "minAzs": 6}));
    spec.insert(
        "limits".to_owned(),
        json!({
            "concurrency": {"default": 1, "perFunction": [{"name": "*", "reserved": 1}], "minUnreserved": 100},
            "maxTimeout": 900, "maxMemoryMiB": 128, "maxEphemeralMiB": 10240,
        }),
    );
    spec.insert("async".to_owned(), json!({"dlqArn": "arn:aws:sns:eu-west-1:111122223333:failed"}));
    admitted(&document);
    document["spec"]["runtime"]["warnDays"] = json!(365);
    document["spec"]["network"] = json!({"require": "Any", "minAzs": 1});
    document["spec"]["limits"]["maxMemoryMiB"] = json!(32768);
    admitted(&document);
}

#[test]
fn every_recommended_value_is_admitted() {
    let mut document = example("security-group-baseline-minimal.yaml");
    let recommended = serde_json::to_value(SecurityGroupParameters::recommended()).unwrap();
    document["spec"].as_object_mut().unwrap().extend(recommended.as_object().unwrap().clone());
    assert_eq!(security_groups(&document).spec.parameters, SecurityGroupParameters::recommended());
    let mut document = example("lambda-baseline-minimal.yaml");
    let recommended = serde_json::to_value(LambdaParameters::recommended()).unwrap();
    document["spec"].as_object_mut().unwrap().extend(recommended.as_object().unwrap().clone());
    assert_eq!(functions(&document).spec.parameters, LambdaParameters::recommended());
}

/// What Enforce lacks is asked for by the rules of the whole spec, and only of Enforce: a mode that is left out is Audit.
#[test]
fn what_only_enforce_needs_is_asked_of_enforce_alone() {
    let lacking = [
        (json!({"environment": {"requireCustomerKey": true}}), "environment.kmsKeyArn is needed"),
        (json!({"network": {"require": "Vpc"}}), "needs subnetIds and securityGroupIds"),
        (json!({"network": {"require": "Vpc", "subnetIds": [], "securityGroupIds": []}}), "needs subnetIds"),
        (json!({"network": {"require": "Vpc", "subnetIds": ["subnet-1", "subnet-2"]}}), "and securityGroupIds"),
        (json!({"network": {"require": "Vpc", "securityGroupIds": ["sg-1"]}}), "needs subnetIds"),
    ];
    let enough = [
        json!({}),
        json!({"environment": {"requireCustomerKey": false}, "network": {}}),
        json!({"environment": {}, "network": {"require": "Any"}}),
        json!({"network": {"require": "Vpc", "subnetIds": ["subnet-1", "subnet-2"], "securityGroupIds": ["sg-1"]}}),
    ];
    let with = |mode: Option<&str>, fields: &Value| {
        let mut document = example("lambda-baseline-minimal.yaml");
        let spec = document["spec"].as_object_mut().unwrap();
        spec.extend(fields.as_object().unwrap().clone());
        spec.extend(mode.map(|mode| ("mode".to_owned(), json!(mode))));
        admit(&document)
    };
    for (fields, said) in &lacking {
        for mode in [None, Some("Audit"), Some("Propose")] {
            assert!(with(mode, fields).is_ok(), "{mode:?} {fields}");
        }
        let refused = with(Some("Enforce"), fields).unwrap_err();
        assert_eq!(refused.problems.len(), 1, "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    for fields in &enough {
        for mode in [None, Some("Enforce")] {
            assert!(with(mode, fields).is_ok(), "{mode:?} {fields}");
        }
    }
}

#[test]
fn an_override_names_a_control_of_its_own_kind() {
    for (name, own, foreign) in [
        ("security-group-baseline-minimal.yaml", "sg-rule-described", "lambda-xray-active"),
        ("lambda-baseline-minimal.yaml", "lambda-xray-active", "sg-rule-described"),
    ] {
        let mut document = example(name);
        document["spec"]["overrides"] = json!([{"control": own, "mode": "Enforce"}]);
        admitted(&document);
        document["spec"]["overrides"] = json!([{"control": foreign, "mode": "Enforce"}]);
        let refused = admit(&document).unwrap_err().to_string();
        assert!(refused.contains(&format!("spec.overrides[0].control: Unsupported value: {foreign:?}")), "{refused}");
    }
}
