//! Several baselines, or several controls of one, that see the same function.

use super::*;

/// Two baselines that both look at the function.
fn both(one: Value, other: Value, change: impl FnOnce(&mut Case)) -> Case {
    Case::with(one, |case| {
        case.statements.clear();
        case.baselines.push(baseline("others", other));
        change(case);
    })
}

#[test]
fn who_is_content_with_a_value_contradicts_whoever_sets_another() {
    let patching = |on: &str| json!({"runtime": {"patching": on}});
    for on in [UpdateOn::Auto, UpdateOn::FunctionUpdate, UpdateOn::Manual] {
        let found = RuntimeManagement { update_on: on, version_arn: None };
        let case = |other: &str| both(patching("Auto"), patching(other), |case| case.management = Some(found.clone()));
        let (made, held) = case("FunctionUpdate").outcome();
        assert!(
            made.is_empty() && !held.is_empty() && held.iter().all(|held| *held == "Conflicting"),
            "{on:?} {held:?}"
        );
        let agreed = if on == UpdateOn::Auto { vec![] } else { vec![Operation::SetRuntimeManagement] };
        assert_eq!(case("Auto").outcome(), (agreed, vec![]), "{on:?}");
    }
    let key = |key: &str| json!({"environment": {"kmsKeyArn": key}});
    let other = KEY.replace("1234", "5678");
    let keys = both(key(KEY), key(&other), |case| {
        let environment = Environment { variables: 1, ..Environment::default() };
        case.functions[0].configuration =
            Configuration { environment, kms_key: Some(KEY.to_owned()), ..case.functions[0].configuration.clone() };
    });
    assert_eq!(keys.outcome(), (vec![], vec!["Conflicting"]));
}

#[test]
fn lists_of_origins_of_several_baselines_intersect() {
    let origins = |origins: &[&str]| json!({"urls": {"corsOrigins": origins}});
    let [a, b, c] = ["https://a.example", "https://b.example", "https://c.example"];
    let left = |one: &[&str], other: &[&str], present: &[&str]| {
        let case = both(origins(one), origins(other), |case| {
            let allow_origins = present.iter().map(|origin| (*origin).to_owned()).collect();
            let cors = Cors { allow_origins, max_age: Some(60), ..Cors::default() };
            case.urls = vec![FunctionUrl { qualifier: String::new(), auth: UrlAuth::Iam, cors: Some(cors) }];
        });
        let permitted = case.plan(NOW).stage;
        let [resource] = permitted.resources.as_slice() else { panic!("{permitted:?}") };
        let [edit] = resource.edits.as_slice() else { panic!("{resource:?}") };
        let engine::edit::Change::Properties(changes) = &edit.change else { panic!("{edit:?}") };
        let after: Cors = changes[0].after.as_ref().unwrap().read().unwrap();
        assert_eq!(after.max_age, Some(60));
        (after.allow_origins, edit.demands.len())
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(left(&[a, b], &[b, c], &["*"]), (texts(&[b]), 2));
    assert_eq!(left(&[a], &[c], &[a, c]), (texts(&[]), 2));
    assert_eq!(left(&[a, b], &[b, c], &[a, b]), (texts(&[b]), 1), "the other one is content");
}

#[test]
fn one_baseline_sets_one_property_once_at_a_time() {
    let network = json!({"network": {"subnetIds": ["subnet-1", "subnet-2"], "securityGroupIds": ["sg-1"]}});
    let case = Case::with(network, |case| {
        case.statements.clear();
        let over = json!([{"control": "lambda-vpc-multi-az", "mode": "Enforce"}]);
        case.baselines[0].overrides = serde_json::from_value(over).unwrap();
        let owned = |id: &str| vec![id.to_owned()];
        let vpc =
            Vpc { id: "vpc-1".to_owned(), subnets: owned("subnet-1"), security_groups: owned("sg-2"), ipv6: false };
        case.functions[0].configuration.vpc = Some(vpc);
        case.groups = vec![crate::group("sg-1", "shop", &[]), crate::group("sg-2", "default", &[])];
    });
    assert_eq!(case.outcome(), (vec![Operation::SetVpc], vec!["SweepLimit"]));
    assert_eq!(case.resource().edits[0].controls(), ["lambda-vpc-multi-az"]);
}
