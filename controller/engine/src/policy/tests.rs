mod hostile;
mod properties;
mod semantics;

use serde_json::{Value, json};

use super::*;

const OWN: &str = "111122223333";
const OTHER: &str = "444455556666";
const ORGANIZATION: &str = "o-ourown1234";

fn trust() -> Trust {
    Trust { organizations: [ORGANIZATION.to_owned()].into(), ..Trust::of(OWN) }
}

fn policy(statements: Value) -> Policy {
    Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap()
}

/// An Allow of one function with some of its elements replaced.
fn allow(elements: Value) -> Value {
    let mut statement = json!({
        "Sid": "Trigger",
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": "arn:aws:lambda:eu-west-1:111122223333:function:orders",
    });
    statement.as_object_mut().unwrap().extend(elements.as_object().unwrap().clone());
    statement
}

fn deny(elements: Value) -> Value {
    let mut statement = allow(elements);
    statement["Effect"] = json!("Deny");
    statement
}

/// An Allow for a principal under conditions.
fn grant(principal: Value, condition: Value) -> Value {
    allow(json!({"Principal": principal, "Condition": condition}))
}

fn class(statement: &Value, trust: &Trust) -> Class {
    policy(statement.clone()).statements()[0].class(trust)
}

fn assert_classes(rows: impl IntoIterator<Item = (&'static str, Value, Class)>) {
    for (name, statement, expected) in rows {
        assert_eq!(class(&statement, &trust()), expected, "{name}: {statement}");
    }
}

fn service(name: &str) -> Value {
    json!({"Service": format!("{name}.amazonaws.com")})
}

/// The table of section 3.6 of the control catalogue, row by row.
#[test]
fn everyone_is_public_unless_narrowed() {
    let everyone = |condition| grant(json!("*"), condition);
    let not_principal = allow(json!({"NotPrincipal": {"AWS": OWN}}));
    assert_classes([
        ("* no condition", allow(json!({"Principal": "*"})), Class::Public),
        ("{AWS:*} no condition", allow(json!({"Principal": {"AWS": "*"}})), Class::Public),
        ("{AWS:[*]}", allow(json!({"Principal": {"AWS": ["*"]}})), Class::Public),
        ("NotPrincipal", not_principal, Class::Public),
        (
            "* FunctionUrlAuthType NONE",
            everyone(json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}})),
            Class::Public,
        ),
        (
            "* FunctionUrlAuthType AWS_IAM",
            everyone(json!({"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}})),
            Class::Public,
        ),
        ("* InvokedViaFunctionUrl", everyone(json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}})), Class::Public),
        ("* PrincipalOrgID own", everyone(json!({"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}})), Class::Ok),
        ("* PrincipalOrgID o-*", everyone(json!({"StringLike": {"aws:PrincipalOrgID": "o-*"}})), Class::Public),
        (
            "* PrincipalOrgID IfExists",
            everyone(json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": ORGANIZATION}})),
            Class::Public,
        ),
        ("* SourceAccount own", everyone(json!({"StringEquals": {"aws:SourceAccount": OWN}})), Class::Ok),
        (
            "* SourceAccount list with *",
            everyone(json!({"StringLike": {"aws:SourceAccount": [OWN, "*"]}})),
            Class::Public,
        ),
        (
            "* SourceArn own account, wildcard resource",
            everyone(json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:eu-west-1:111122223333:*"}})),
            Class::Ok,
        ),
        (
            "* SourceArn wildcard account",
            everyone(json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:eu-west-1:*:orders"}})),
            Class::Public,
        ),
        ("* SourceIp /0", everyone(json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}})), Class::Public),
        ("* SourceIp office", everyone(json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}})), Class::Untrusted),
        ("* StringNotEquals", everyone(json!({"StringNotEquals": {"aws:PrincipalAccount": OTHER}})), Class::Public),
        (
            "* ForAllValues org",
            everyone(json!({"ForAllValues:StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}})),
            Class::Public,
        ),
        (
            "* variable",
            everyone(json!({"StringEquals": {"aws:SourceAccount": "${aws:PrincipalAccount}"}})),
            Class::Public,
        ),
        ("* SecureTransport only", everyone(json!({"Bool": {"aws:SecureTransport": true}})), Class::Public),
    ]);
}

/// The rest of the table.
#[test]
fn principals_are_trusted_by_account_and_services_by_source() {
    let own_topic = json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:eu-west-1:111122223333:orders"}});
    let own_api =
        json!({"ArnLike": {"aws:SourceArn": "arn:aws:execute-api:eu-west-1:111122223333:a1b2c3/*/GET/orders"}});
    let other_rule = json!({"ArnLike": {"aws:SourceArn": "arn:aws:events:eu-west-1:444455556666:rule/nightly"}});
    let bucket = json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::orders"}});
    let own_bucket = json!({
        "ArnLike": {"aws:SourceArn": "arn:aws:s3:::orders"},
        "StringEquals": {"aws:SourceAccount": OWN},
    });
    assert_classes([
        ("iam::*:root", grant(json!({"AWS": "arn:aws:iam::*:root"}), json!({})), Class::Public),
        ("own account root", grant(json!({"AWS": "arn:aws:iam::111122223333:root"}), json!({})), Class::Ok),
        ("other account", grant(json!({"AWS": "arn:aws:iam::444455556666:root"}), json!({})), Class::Untrusted),
        ("bare other account id", grant(json!({"AWS": OTHER}), json!({})), Class::Untrusted),
        (
            "other account + own org",
            grant(json!({"AWS": OTHER}), json!({"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}})),
            Class::Ok,
        ),
        ("s3 no condition", grant(service("s3"), json!({})), Class::ConfusedDeputy),
        ("s3 SourceArn only", grant(service("s3"), bucket), Class::ConfusedDeputy),
        ("s3 SourceArn + SourceAccount", grant(service("s3"), own_bucket), Class::Ok),
        ("sns SourceArn own", grant(service("sns"), own_topic), Class::Ok),
        ("apigateway SourceArn own API", grant(service("apigateway"), own_api), Class::Ok),
        ("events from other account", grant(service("events"), other_rule), Class::Untrusted),
        ("secretsmanager no condition", grant(service("secretsmanager"), json!({})), Class::Ok),
        (
            "alexa with token",
            grant(
                json!({"Service": "alexa-connectedhome.amazon.com"}),
                json!({"StringEquals": {"lambda:EventSourceToken": "amzn1.ask.skill.1"}}),
            ),
            Class::Ok,
        ),
        ("Deny *", deny(json!({"Principal": "*"})), Class::Ok),
    ]);
}

/// "How to read the rest of policies", line by line, and the rules above the table that it does not show.
#[test]
fn what_the_rules_say_beside_the_table() {
    let with = |principal, condition| grant(principal, condition);
    let other_source = json!({"StringEquals": {"aws:SourceAccount": OTHER}});
    let own_org = json!({"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}});
    let halves = json!({"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}});
    let wide_arn = json!({"StringLike": {"aws:SourceArn": "arn:*:sns:*:111122223333:*"}});
    let paths = json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-ourown1234/r-ab12/*"}});
    assert_classes([
        ("the worst principal decides", with(json!({"AWS": [OTHER, "*"]}), json!({})), Class::Public),
        ("of kinds as well", with(json!({"AWS": OTHER, "Service": "s3.amazonaws.com"}), json!({})), Class::Untrusted),
        ("a foreign source account", with(service("s3"), other_source), Class::Untrusted),
        ("principal keys and services", with(service("s3"), own_org), Class::Ok),
        ("halves of the world", with(json!("*"), halves), Class::Public),
        (
            "a VPC endpoint",
            with(json!("*"), json!({"StringEquals": {"aws:SourceVpce": "vpce-0a1b2c"}})),
            Class::Untrusted,
        ),
        (
            "an identity provider",
            with(json!({"Federated": "cognito-identity.amazonaws.com"}), json!({})),
            Class::Untrusted,
        ),
        ("any identity provider", with(json!({"Federated": "*"}), json!({})), Class::Public),
        ("any service", with(json!({"Service": "*"}), json!({})), Class::Public),
        ("a pattern of services", with(json!({"Service": "*.amazonaws.com"}), json!({})), Class::Public),
        ("the account field decides", with(service("sns"), wide_arn), Class::Ok),
        ("a deleted principal", with(json!({"AWS": "AROAEXAMPLEEXAMPLE123"}), json!({})), Class::Untrusted),
        ("paths of our organization", with(json!("*"), paths), Class::Ok),
        (
            "keys and operators in any case",
            with(json!("*"), json!({"stringequals": {"AWS:sourceaccount": OWN}})),
            Class::Ok,
        ),
        (
            "one condition of many narrows",
            with(
                json!("*"),
                json!({"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:SourceAccount": OWN}}),
            ),
            Class::Ok,
        ),
    ]);
}

#[test]
fn whoever_is_listed_is_trusted() {
    let trust = Trust {
        accounts: [OTHER.to_owned()].into(),
        endpoints: ["vpce-0a1b2c".to_owned()].into(),
        networks: ["203.0.113.0/24".parse().unwrap()].into_iter().collect(),
        identities: ["cognito-identity.amazonaws.com".to_owned()].into(),
        ..trust()
    };
    for statement in [
        grant(json!({"AWS": OTHER}), json!({})),
        grant(json!({"AWS": OWN}), json!({})),
        grant(json!("*"), json!({"StringEquals": {"aws:SourceVpce": "vpce-0a1b2c"}})),
        grant(json!("*"), json!({"IpAddress": {"aws:SourceIp": ["203.0.113.7", "203.0.113.128/25"]}})),
        grant(json!({"Federated": "cognito-identity.amazonaws.com"}), json!({})),
    ] {
        assert_eq!(class(&statement, &trust), Class::Ok, "{statement}");
    }
    let wider = grant(json!("*"), json!({"IpAddress": {"aws:SourceIp": ["203.0.113.7", "198.51.100.0/24"]}}));
    assert_eq!(class(&wider, &trust), Class::Untrusted);
}

#[test]
fn every_partition_names_accounts_alike() {
    for partition in ["aws", "aws-cn", "aws-us-gov"] {
        let root = |account| grant(json!({"AWS": format!("arn:{partition}:iam::{account}:root")}), json!({}));
        assert_eq!(class(&root(OWN), &trust()), Class::Ok);
        assert_eq!(class(&root(OTHER), &trust()), Class::Untrusted);
        let source = |account| {
            let arn = format!("arn:{partition}:sns:cn-north-1:{account}:orders");
            grant(service("sns"), json!({"ArnEquals": {"aws:SourceArn": arn}}))
        };
        assert_eq!(class(&source(OWN), &trust()), Class::Ok);
        assert_eq!(class(&source(OTHER), &trust()), Class::Untrusted);
    }
}

#[test]
fn a_bucket_is_enough_only_if_the_baseline_says_so() {
    let trust = Trust { require_account_for_s3: false, ..trust() };
    let from = |condition| class(&grant(service("s3"), condition), &trust);
    let bucket = "arn:aws:s3:::orders";
    assert_eq!(from(json!({"ArnLike": {"aws:SourceArn": bucket}})), Class::Ok);
    assert_eq!(from(json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}})), Class::ConfusedDeputy);
    assert_eq!(
        from(json!({"ArnLike": {"aws:SourceArn": [bucket, "arn:aws:sns:eu-west-1:444455556666:x"]}})),
        Class::Untrusted
    );
    let foreign = json!({"ArnLike": {"aws:SourceArn": bucket}, "StringEquals": {"aws:SourceAccount": OTHER}});
    assert_eq!(from(foreign), Class::Untrusted);
    let everyone = grant(json!("*"), json!({"ArnLike": {"aws:SourceArn": bucket}}));
    assert_eq!(class(&everyone, &trust), Class::Untrusted);
}

#[test]
fn only_a_deny_that_takes_all_back_excuses() {
    let public = allow(json!({"Principal": "*"}));
    let judged = |denied: Value| policy(json!([public, denied])).judge(&trust());
    assert_eq!(
        judged(deny(json!({"Principal": {"AWS": ["*"]}, "Action": ["lambda:invokefunction"]}))),
        [(0, Class::Ok)]
    );
    for broad_or_narrow in [
        deny(json!({"Principal": {"AWS": OTHER}})),
        deny(json!({"NotPrincipal": {"AWS": OWN}})),
        deny(json!({"Principal": "*", "Action": "lambda:*"})),
        deny(json!({"Principal": "*", "Resource": "*"})),
        deny(json!({"Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}})),
    ] {
        assert_eq!(judged(broad_or_narrow.clone()), [(0, Class::Public)], "{broad_or_narrow}");
    }
}

#[test]
fn the_sentence_names_who_may_do_what() {
    let why = |statement: Value| policy(statement).statements()[0].why(&trust());
    let sentence = |statement| why(statement).unwrap();
    let everyone = allow(json!({"Sid": "AllowAll", "Principal": "*"}));
    assert_eq!(sentence(everyone), r#"statement "AllowAll": anyone may lambda:InvokeFunction"#);
    assert_eq!(
        sentence(allow(json!({"Principal": {"AWS": [OTHER, "777788889999"]}, "Action": ["sqs:SendMessage", "sqs:*"]}))),
        r#"statement "Trigger": 444455556666, who is not trusted, may sqs:SendMessage and 1 more (and 1 more)"#
    );
    assert_eq!(
        sentence(grant(service("s3"), json!({}))),
        r#"statement "Trigger": s3.amazonaws.com may lambda:InvokeFunction on behalf of any account"#
    );
    assert_eq!(
        sentence(grant(service("s3"), json!({"StringEquals": {"aws:SourceAccount": OTHER}}))),
        r#"statement "Trigger": s3.amazonaws.com may lambda:InvokeFunction on behalf of somebody who is not trusted"#
    );
    let office = grant(json!("*"), json!({"IpAddress": {"aws:SourceIp": "203.0.113.7"}}));
    assert_eq!(
        sentence(office),
        r#"statement "Trigger": whoever meets its conditions may lambda:InvokeFunction, and these name somebody who is not trusted"#
    );
    let nameless = json!({"Effect": "Allow", "Principal": "*", "NotAction": "kms:Decrypt", "Resource": "*"});
    assert_eq!(sentence(nameless), "a statement without Sid: anyone may do everything but kms:Decrypt");
    assert_eq!(why(grant(json!({"AWS": OWN}), json!({}))), None);
    assert_eq!(why(deny(json!({"Principal": "*"}))), None);
}

#[test]
fn spellings_of_one_policy_are_equivalent() {
    let plain = policy(json!([
        grant(json!("*"), json!({"StringEquals": {"aws:SourceAccount": OWN}, "Bool": {"aws:SecureTransport": true}})),
        grant(json!({"AWS": "arn:aws:iam::444455556666:root"}), json!({})),
    ]));
    let fancy = policy(json!([
        allow(json!({"Sid": "Other", "Principal": {"AWS": [OTHER]}, "Action": ["LAMBDA:invokeFunction"]})),
        grant(
            json!({"AWS": ["*"]}),
            json!({"bool": {"AWS:SecureTransport": ["true"]}, "stringEquals": {"aws:sourceaccount": [OWN]}})
        ),
    ]));
    assert!(plain.is_equivalent_to(&fancy));
    assert!(!plain.is_equivalent_to(&plain.without(0)));
}

#[test]
fn narrower_is_proven_only_where_it_is() {
    let wide = policy(json!([allow(json!({"Principal": {"AWS": [OWN, OTHER]}, "Action": ["sqs:a", "sqs:b"]}))]));
    let no_wider = |elements: Value| policy(json!([allow(elements)])).is_no_wider_than(&wide);
    assert!(no_wider(json!({"Principal": {"AWS": OWN}, "Action": "sqs:b"})));
    assert!(no_wider(
        json!({"Principal": {"AWS": OTHER}, "Action": "sqs:b", "Condition": {"Null": {"aws:x": "true"}}})
    ));
    assert!(!no_wider(json!({"Principal": "*", "Action": "sqs:a"})));
    assert!(!no_wider(json!({"Principal": {"AWS": OWN}, "Action": "sqs:*"})));
    assert!(!no_wider(json!({"Principal": {"AWS": OWN}, "Action": "sqs:a", "Resource": "*"})));
    let all_but = |principals: Value| policy(json!([allow(json!({"NotPrincipal": {"AWS": principals}}))]));
    assert!(all_but(json!([OWN, OTHER])).is_no_wider_than(&all_but(json!(OWN))));
    assert!(!all_but(json!(OWN)).is_no_wider_than(&all_but(json!([OWN, OTHER]))));
}

#[test]
fn a_deny_less_is_wider() {
    let guarded =
        policy(json!([allow(json!({"Principal": {"AWS": OTHER}})), deny(json!({"Principal": "*", "Action": "*"}))]));
    assert!(guarded.without(0).is_no_wider_than(&guarded));
    assert!(guarded.is_no_wider_than(&guarded.without(1)));
    assert!(!guarded.without(1).is_no_wider_than(&guarded));
    let conditional = deny(json!({"Principal": "*", "Action": "*", "Condition": {"Null": {"aws:x": "true"}}}));
    let weakened = policy(json!([allow(json!({"Principal": {"AWS": OTHER}})), conditional]));
    assert!(!weakened.is_no_wider_than(&guarded));
    assert!(guarded.is_no_wider_than(&weakened));
}

#[test]
fn variables_keep_versions_apart() {
    let statement = allow(json!({"Principal": {"AWS": OWN}, "Resource": "${aws:username}"}));
    let of = |version: Value| Policy::parse(&json!({"Version": version, "Statement": statement}).to_string()).unwrap();
    let old = Policy::parse(&json!({"Statement": statement}).to_string()).unwrap();
    assert!(old.is_equivalent_to(&of(json!("2008-10-17"))));
    assert!(!old.is_no_wider_than(&of(json!("2012-10-17"))));
}

#[test]
fn a_source_account_makes_a_deputy_sure() {
    let deputy = |condition: Value| policy(grant(service("s3"), condition));
    for condition in [
        json!({}),
        json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::orders"}}),
        json!({"StringEquals": {"aws:PrincipalTag/x": "y"}}),
        json!({"StringEquals": {"AWS:sourceaccount": "*"}}),
        json!({"stringequals": {"aws:SourceAccount": ["*"]}, "StringEqualsIgnoreCase": {"aws:SourceAccount": []}}),
    ] {
        let before = deputy(condition);
        let after = policy(before.statements()[0].with_source_account(OWN));
        assert!(after.is_no_wider_than(&before), "{}", after.document());
        assert_eq!(after.statements()[0].class(&trust()), Class::Ok, "{}", after.document());
    }
    let bare = policy(allow(json!({"Principal": service("s3")})));
    let bound = grant(service("s3"), json!({"StringEquals": {"aws:SourceAccount": OWN}}));
    assert_eq!(bare.statements()[0].with_source_account(OWN), bound);
}

#[test]
fn a_source_account_that_cannot_be_added_changes_nothing() {
    let taken = json!({"StringEquals": {"aws:SourceAccount": "*"}, "StringLike": {"aws:SourceAccount": "*"}, "StringEqualsIgnoreCase": {"aws:SourceAccount": "*"}});
    for statement in [grant(service("s3"), taken), deny(json!({"Principal": "*"}))] {
        assert_eq!(policy(statement.clone()).statements()[0].with_source_account(OWN), statement);
    }
}

#[test]
fn what_was_read_can_be_written_back() {
    let text = r#"{"Version":"2012-10-17","Id":"default","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":"*"},"Action":"SQS:*"}]}"#;
    let policy = Policy::parse(text).unwrap();
    assert_eq!(policy.document(), serde_json::from_str::<Value>(text).unwrap());
    assert_eq!(policy.statements()[0].sid(), Some("a"));
    assert_eq!(policy.statements()[0].raw(), &policy.document()["Statement"][0]);
    assert_eq!(policy.without(0).document()["Statement"], json!([]));
}
