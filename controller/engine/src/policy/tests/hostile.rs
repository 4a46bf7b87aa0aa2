//! What is no policy is an error, and nothing that was written to confuse passes for narrow.

use super::*;

fn error(text: &str) -> PolicyError {
    Policy::parse(text).expect_err(text)
}

#[test]
fn what_is_no_policy_is_an_error() {
    for text in [
        "",
        "null",
        "[]",
        "\"*\"",
        "{}",
        r#"{"Statement": []}"#,
        r#"{"Statement": null}"#,
        r#"{"Statement": "Allow"}"#,
        r#"{"Version": "2012-10-17"}"#,
        r#"{"Statement": {}} trailing"#,
        "{\"Statement\": [",
        "\u{feff}{}",
    ] {
        error(text);
    }
    let statement = allow(json!({"Principal": "*"}));
    for frame in [
        json!({"Version": "2030-01-01", "Statement": statement}),
        json!({"Version": 2012, "Statement": statement}),
        json!({"Statement": statement, "statement": statement}),
        json!({"Statement": [statement, [statement]]}),
        json!({"Statement": [[]]}),
    ] {
        error(&frame.to_string());
    }
}

#[test]
fn what_is_no_statement_is_an_error() {
    for (element, values) in [
        ("Effect", vec![json!("allow"), json!("Permit"), json!(["Allow"]), json!(null)]),
        ("Sid", vec![json!(1), json!(null), json!([])]),
        ("Action", vec![json!([]), json!({}), json!(null), json!([["*"]]), json!(["*", 1])]),
        ("Resource", vec![json!([]), json!(null), json!(false)]),
        ("Condition", vec![json!([]), json!("x"), json!(null), json!({"Bool": "x"}), json!({"Bool": {"k": null}})]),
        ("condition", vec![json!({})]),
        ("NotAction", vec![json!("kms:*")]),
        ("NotPrincipal", vec![json!("*")]),
        ("Principal", vec![json!([]), json!({}), json!(null), json!(OWN), json!(["*", OWN]), json!({"AWS": []})]),
        (
            "Principal",
            vec![
                json!({"aws": "*"}),
                json!({"Group": "*"}),
                json!({"AWS": {"AWS": "*"}}),
                json!({"AWS": 111122223333_u64}),
            ],
        ),
    ] {
        for value in values {
            let mut statement = allow(json!({"Principal": "*"}));
            statement[element] = value;
            let text = json!({"Statement": [allow(json!({"Principal": "*"})), statement]}).to_string();
            assert!(matches!(error(&text), PolicyError::Statement { position: 2, .. }), "{text}");
        }
    }
    for missing in ["Effect", "Principal", "Action"] {
        let mut statement = allow(json!({"Principal": "*"}));
        statement.as_object_mut().unwrap().remove(missing);
        error(&json!({"Statement": statement}).to_string());
    }
}

#[test]
fn an_element_that_is_there_twice_hides_nothing() {
    error(r#"{"Statement": [{"Effect": "Deny", "Effect": "Allow", "Principal": "*", "Action": "*"}]}"#);
    error(
        r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Princip\u0061l": {"AWS": "111122223333"}, "Action": "*"}]}"#,
    );
    let twice = grant(json!("*"), json!({"StringEquals": {"aws:SourceAccount": OWN, "AWS:SourceAccount": "*"}}));
    error(&json!({"Statement": twice}).to_string());
    let twice =
        grant(json!("*"), json!({"StringEquals": {"aws:SourceIp": "a"}, "stringequals": {"aws:sourceip": "b"}}));
    error(&json!({"Statement": twice}).to_string());
}

#[test]
fn nesting_ends_in_an_error_not_in_the_stack() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        assert!(matches!(error(&nested), PolicyError::NotJson(_)));
        assert!(matches!(error(&format!(r#"{{"Statement":{nested}}}"#)), PolicyError::NotJson(_)));
    }
}

#[test]
fn an_error_repeats_nothing_of_the_policy() {
    let secret = "hunter2-\u{1b}[31m";
    for text in [
        format!(r#"{{"Statement": "{secret}"}}"#),
        json!({"Statement": {"Effect": secret}}).to_string(),
        json!({"Statement": {"Effect": "Allow", secret: 1}}).to_string(),
        json!({secret: {}}).to_string(),
    ] {
        assert!(!error(&text).to_string().contains("hunter2"));
    }
}

#[test]
fn no_value_narrows_nothing() {
    for condition in [
        json!({"StringEquals": {"aws:SourceAccount": []}}),
        json!({"StringEquals": {"aws:SourceAccount": ""}}),
        json!({"IpAddress": {"aws:SourceIp": []}}),
        json!({"StringEquals": {"aws:PrincipalOrgID": [""]}}),
        json!({"StringEquals": {"lambda:EventSourceToken": ""}}),
        json!({"ArnLike": {"aws:SourceArn": []}}),
        json!({"StringEquals": {}}),
        json!({}),
    ] {
        assert_eq!(class(&grant(json!("*"), condition.clone()), &trust()), Class::Public, "{condition}");
        assert_eq!(class(&grant(service("s3"), condition.clone()), &trust()), Class::ConfusedDeputy, "{condition}");
    }
}

#[test]
fn what_only_looks_like_an_account_narrows_nothing() {
    for (key, value) in [
        ("aws:SourceAccount", "11112222333"),
        ("aws:SourceAccount", "1111222233334"),
        ("aws:SourceAccount", "11112222333?"),
        ("aws:SourceAccount", "１１１１２２２２３３３３"),
        ("aws:SourceAccount", " 111122223333"),
        ("aws:SourceArn", "*:111122223333:*"),
        ("aws:SourceArn", "arn:aws:sns:*"),
        ("aws:SourceArn", "arn:aws:sns:111122223333:*:orders"),
        ("aws:SourceArn", "arn:aws:iam::111122223333*"),
        ("aws:SourceArn", "arn:aws:iam::111122223333"),
        ("aws:SourceArn", "arn:aws:sns:${aws:PrincipalTag/a}:111122223333:*"),
        ("aws:SourceArn", "arn:aws:${a, 'b:c:111122223333:d'}:x"),
        ("aws:PrincipalArn", "arn:aws:iam::${aws:PrincipalAccount}:root"),
        ("aws:PrincipalOrgPaths", "o-ourown1234*/r-ab12/"),
        ("aws:PrincipalOrgPaths", "*"),
        ("aws:SourceVpc", "vpc-*"),
        ("aws:SourceIp", "203.0.*"),
        ("aws:SourceIp", "203.0.113.0/33"),
        ("lambda:EventSourceToken", "amzn1.*"),
        ("lambda:SourceFunctionArn", "arn:aws:lambda:eu-west-1:111122223333:function:x"),
        ("aws:PrincipalTag/aws:SourceAccount", OWN),
        ("aws:SourceAccount\u{200b}", OWN),
    ] {
        let statement = grant(json!("*"), json!({"StringLike": {key: value}}));
        assert_eq!(class(&statement, &trust()), Class::Public, "{key} {value}");
        let beside = grant(json!("*"), json!({"StringLike": {key: [OWN, value, ORGANIZATION]}}));
        assert_eq!(class(&beside, &trust()), Class::Public, "{key} {value}");
    }
}

#[test]
fn no_operator_that_may_hold_without_the_key_narrows() {
    for operator in [
        "StringEqualsIfExists",
        "stringlikeifexists",
        "ForAllValues:StringEquals",
        "forallvalues:stringlike",
        "ForAnyValue:StringEqualsIfExists",
        "ForAnyValue:ForAnyValue:StringEquals",
        "StringNotEquals",
        "StringNotLike",
        "ForAnyValue:StringNotEquals",
        "ArnNotLike",
        "Null",
        "Bool",
        "NumericEquals",
        "DateEquals",
        "BinaryEquals",
        "NotIpAddress",
        "StringEquals ",
        "",
    ] {
        let statement = grant(json!("*"), json!({operator: {"aws:SourceAccount": OWN}}));
        assert_eq!(class(&statement, &trust()), Class::Public, "{operator:?}");
    }
}

#[test]
fn wide_principals_stay_wide_in_any_company() {
    for principal in [
        json!({"AWS": [OWN, "arn:aws:iam::*:root"]}),
        json!({"AWS": "arn:aws:iam::11112222333?:root"}),
        json!({"AWS": "arn:aws:iam::${aws:PrincipalAccount}:root"}),
        json!({"AWS": ["*", OWN], "Service": "secretsmanager.amazonaws.com"}),
        json!({"Service": ["secretsmanager.amazonaws.com", "*.amazonaws.com"]}),
        json!({"CanonicalUser": "*", "AWS": OWN}),
        json!(["*"]),
    ] {
        assert_eq!(class(&allow(json!({"Principal": principal})), &trust()), Class::Public, "{principal}");
    }
    for foreign in [
        json!({"AWS": [OWN, OTHER]}),
        json!({"AWS": "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"}),
        json!({"AWS": "AIDAEXAMPLEEXAMPLE123"}),
        json!({"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}),
        json!({"AWS": "１１１１２２２２３３３３"}),
        json!({"Federated": "arn:aws:iam::111122223333:saml-provider/ours", "Service": "s3.amazonaws.com"}),
    ] {
        assert_eq!(class(&allow(json!({"Principal": foreign})), &trust()), Class::Untrusted, "{foreign}");
    }
}

#[test]
fn statements_of_one_sid_are_judged_each() {
    let policy = policy(json!([
        grant(json!({"AWS": OWN}), json!({})),
        deny(json!({"Principal": {"AWS": OTHER}})),
        grant(json!("*"), json!({})),
        grant(service("s3"), json!({})),
    ]));
    assert_eq!(policy.judge(&trust()), [(0, Class::Ok), (2, Class::Public), (3, Class::ConfusedDeputy)]);
}

#[test]
fn a_sentence_stays_short_and_on_its_line() {
    let sid = format!("\u{202e}\n\u{1b}[2J\"{}", "ß".repeat(20_000));
    let names: Vec<String> = (0..2000).map(|number| format!("AROA\r\n{number}")).collect();
    let statement = allow(json!({"Sid": sid, "Principal": {"AWS": names}, "Action": names}));
    let why = policy(statement).statements()[0].why(&trust()).unwrap();
    assert!(why.chars().count() < 600, "{why}");
    assert!(!why.contains(char::is_control));
}

#[test]
fn the_largest_policies_are_read_and_judged() {
    let topic = |number: usize| {
        let arn = format!("arn:aws:sns:eu-west-1:111122223333:topic-{number}");
        grant(service("sns"), json!({"ArnLike": {"aws:SourceArn": arn}}))
    };
    let mut statements: Vec<Value> = (0..100).map(topic).collect();
    statements.push(grant(json!("*"), json!({})));
    let large = policy(Value::Array(statements));
    assert!(large.document().to_string().len() > 20_000);
    let worst = large.judge(&trust()).into_iter().max_by_key(|(_, class)| *class);
    assert_eq!(worst, Some((100, Class::Public)));
    assert!(large.without(100).is_no_wider_than(&large));
    assert!(!large.is_no_wider_than(&large.without(100)));
}
