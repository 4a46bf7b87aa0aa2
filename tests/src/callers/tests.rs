use std::slice;

use serde_json::json;

use super::*;

const ARN: &str = "arn:aws:lambda:eu-west-1:111122223333:function:shop";

fn statement(principal: Value, action: &str, condition: Value) -> Value {
    json!({
        "Sid": "any", "Effect": "Allow", "Principal": principal, "Action": action, "Resource": ARN,
        "Condition": condition,
    })
}

fn allow(principal: Value) -> Value {
    statement(principal, "lambda:InvokeFunction", json!({}))
}

fn everybody() -> Value {
    allow(json!("*"))
}

fn partner() -> Value {
    allow(json!({"AWS": "arn:aws:iam::444455556666:root"}))
}

fn bucket() -> Value {
    allow(json!({"Service": "s3.amazonaws.com"}))
}

fn own_bucket() -> Value {
    let account = json!({"StringEquals": {"AWS:SourceAccount": "111122223333"}});
    statement(json!({"Service": "s3.amazonaws.com"}), "lambda:InvokeFunction", account)
}

fn function(statements: &[Value], auth: Option<&str>) -> Value {
    let policies = if statements.is_empty() { json!({}) } else { json!({"": {"statements": statements}}) };
    let urls = auth.map_or(json!({}), |auth| json!({"": {"AuthType": auth}}));
    json!({"name": "shop", "arn": ARN, "policies": policies, "urls": urls})
}

fn of(statements: &[Value]) -> Result<Callers> {
    Callers::of_function(&function(statements, None))
}

fn lines(callers: &Callers) -> Vec<String> {
    callers.to_string().lines().map(|line| line.trim().to_owned()).collect()
}

fn write(before: Value, after: Value) -> Result<Call> {
    Ok(serde_json::from_value(json!({
        "seq": 7, "time": 0.0, "operation": "AddPermission", "effect": true, "region": "eu-west-1",
        "principal": "arn:aws:iam::111122223333:role/writer",
        "functions": [{"name": "shop", "before": before, "after": after}],
    }))?)
}

fn change(before: &[Value], after: &[Value]) -> Result<Call> {
    write(function(before, None), function(after, None))
}

fn by_hand(call: Call) -> Call {
    Call { principal: Some("root".to_owned()), ..call }
}

fn let_in(call: &Call) -> Result<()> {
    assert_nobody_let_in(std::slice::from_ref(call), &Callers::default())
}

fn kept(calls: &[Call]) -> Result<()> {
    assert_named_callers_kept(calls, &Callers::default())
}

#[test]
fn callers_read_as_they_are_written() -> Result<()> {
    let texts = [
        "lib:3 * lambda:getlayerversion aws:principalorgid=o-1",
        "shop * unsigned",
        "shop 444455556666 lambda:invokefunction",
        "shop s3.amazonaws.com lambda:invokefunction StringLike~aws:sourcearn=arn:aws:s3:::a*|arn:aws:s3:::b*",
        "shop:live arn:aws:iam::111122223333:role/a lambda:invokefunctionurl lambda:functionurlauthtype=AWS_IAM",
    ];
    let callers = Callers::parse(texts)?;
    assert_eq!(lines(&callers), texts);
    assert_eq!(Callers::parse(lines(&callers).iter().map(String::as_str))?, callers);
    for wrong in ["shop *", "shop * lambda:InvokeFunction account"] {
        assert!(Callers::parse([wrong]).is_err(), "{wrong}");
    }
    Ok(())
}

#[test]
fn one_meaning_has_one_spelling() -> Result<()> {
    let same = [
        (everybody(), allow(json!({"AWS": ["*"]}))),
        (partner(), allow(json!({"AWS": "444455556666"}))),
        (everybody(), statement(json!("*"), "lambda:invokefunction", Value::Null)),
        (own_bucket(), {
            let account = json!({"StringEquals": {"aws:sourceaccount": ["111122223333"]}});
            statement(json!({"Service": ["s3.amazonaws.com"]}), "lambda:InvokeFunction", account)
        }),
    ];
    for (one, other) in same {
        assert_eq!(of(&[one])?, of(&[other])?);
    }
    Ok(())
}

#[test]
fn whoever_is_no_more_than_another_is_let_in_with_him() -> Result<()> {
    let all = |action| statement(json!("*"), action, json!({}));
    let sources =
        |sources: Value| statement(json!("*"), "lambda:InvokeFunction", json!({"ArnLike": {"aws:SourceArn": sources}}));
    let no_less = [
        (everybody(), partner()),
        (everybody(), own_bucket()),
        (bucket(), own_bucket()),
        (all("lambda:*"), partner()),
        (all("*"), partner()),
        (sources(json!(["a", "b"])), sources(json!("a"))),
    ];
    for (wide, narrow) in no_less {
        assert!(
            of(slice::from_ref(&narrow))?.difference(&of(slice::from_ref(&wide))?).is_empty(),
            "{narrow} in {wide}"
        );
        assert!(!of(&[wide])?.difference(&of(&[narrow])?).is_empty());
    }
    let not = |team: &str| {
        statement(
            json!("*"),
            "lambda:InvokeFunction",
            json!({"StringNotEquals": {"aws:PrincipalTag/team": [team, "b"]}}),
        )
    };
    let fewer =
        statement(json!("*"), "lambda:InvokeFunction", json!({"StringNotEquals": {"aws:PrincipalTag/team": ["b"]}}));
    assert!(!of(&[fewer])?.difference(&of(&[not("a")])?).is_empty(), "fewer are kept out");
    Ok(())
}

#[test]
fn what_a_statement_leaves_out_on_purpose_is_like_nothing_else() -> Result<()> {
    let mut but = everybody();
    but["NotPrincipal"] = json!({"AWS": "444455556666"});
    but.as_object_mut().unwrap().remove("Principal");
    let mut abroad = everybody();
    abroad["Resource"] = json!("*");
    assert!(of(&[but.clone()])?.named().is_empty(), "all but one are nobody in particular");
    assert!(!of(&[partner()])?.difference(&of(&[but])?).is_empty());
    assert_eq!(lines(&of(&[abroad])?), ["shop * lambda:invokefunction ~resource=*"]);
    Ok(())
}

#[test]
fn a_new_statement_lets_somebody_in_unless_he_was_in_already() -> Result<()> {
    let_in(&change(&[bucket()], &[bucket(), own_bucket()])?)?;
    let_in(&change(&[bucket(), own_bucket()], &[own_bucket()])?)?;
    let_in(&by_hand(change(&[], &[everybody()])?))?;
    let error = let_in(&change(&[own_bucket()], &[bucket()])?).unwrap_err().to_string();
    assert_eq!(
        error,
        "writes let in whom they must not have:\n\
         call 7, AddPermission, let in:\n  shop s3.amazonaws.com lambda:invokefunction\n"
    );
    let may = Callers::parse(["shop s3.amazonaws.com lambda:InvokeFunction"])?;
    assert_nobody_let_in(&[change(&[], &[own_bucket()])?], &may)
}

#[test]
fn a_url_without_a_signature_lets_everybody_in() -> Result<()> {
    let [none, iam] = ["NONE", "AWS_IAM"].map(|auth| function(&[], Some(auth)));
    let_in(&write(none.clone(), iam.clone())?)?;
    assert!(let_in(&write(iam.clone(), none)?).unwrap_err().to_string().contains("shop * unsigned"));
    let gone = kept(&[write(iam.clone(), function(&[], None))?]).unwrap_err().to_string();
    assert!(gone.contains("shop * url"), "{gone}");
    assert!(let_in(&write(function(&[], None), iam)?).is_err(), "a URL is new");
    Ok(())
}

#[test]
fn a_denial_counts_for_those_whom_it_keeps_out() -> Result<()> {
    let deny = json!({"Sid": "no", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": ARN});
    let with = [everybody(), deny];
    assert!(let_in(&change(&with, &[everybody()])?).is_err());
    assert!(kept(&[change(&[everybody()], &with)?]).is_err());
    let_in(&change(&[everybody()], &with)?)?;
    kept(&[change(&with, &[everybody()])?])
}

#[test]
fn who_is_named_stays_and_who_is_not_may_go() -> Result<()> {
    kept(&[change(&[everybody(), partner()], &[partner()])?])?;
    kept(&[change(&[everybody()], &[])?])?;
    let calls = [change(&[partner()], &[])?, change(&[], &[partner()])?];
    let error = kept(&calls).unwrap_err().to_string();
    assert!(error.ends_with("shut out:\n  shop 444455556666 lambda:invokefunction\n"), "{error}");
    assert_named_callers_kept(&calls, &Callers::parse(["* 444455556666 *"])?)
}

#[test]
fn who_was_named_is_remembered() -> Result<()> {
    let redundant = change(&[everybody(), partner()], &[everybody()])?;
    let last = change(&[everybody()], &[])?;
    kept(std::slice::from_ref(&redundant))?;
    assert!(kept(&[redundant.clone(), last.clone()]).is_err());
    kept(&[by_hand(redundant), last.clone()])?;
    let named = by_hand(change(&[everybody()], &[everybody(), partner()])?);
    assert!(kept(&[named, change(&[everybody(), partner()], &[everybody()])?, last]).is_err());
    Ok(())
}

#[test]
fn who_must_be_let_in_may_be_so_by_another_word() -> Result<()> {
    let must = Callers::parse(["shop s3.amazonaws.com lambda:InvokeFunction aws:SourceAccount=111122223333"])?;
    let narrowed =
        [change(&[bucket()], &[bucket(), own_bucket()])?, change(&[bucket(), own_bucket()], &[own_bucket()])?];
    assert_never_shut_out(&narrowed, &must)?;
    let gap = [change(&[bucket()], &[])?, change(&[], &[own_bucket()])?];
    assert!(assert_never_shut_out(&gap, &must).unwrap_err().to_string().contains("aws:sourceaccount=111122223333"));
    Ok(())
}

#[test]
fn a_layer_is_used_by_callers_too() -> Result<()> {
    let arn = "arn:aws:lambda:eu-west-1:111122223333:layer:lib:1";
    let share =
        json!({"Sid": "all", "Effect": "Allow", "Principal": "*", "Action": "lambda:GetLayerVersion", "Resource": arn});
    let version = |statements: Value| json!({"LayerVersionArn": arn, "policy": {"statements": statements}});
    let mut call = write(Value::Null, Value::Null)?;
    let shared = (version(json!([])), version(json!([share])));
    call.layers = vec![LayerChange { name: "lib".to_owned(), version: 1, before: shared.0, after: shared.1 }];
    let error = let_in(&call).unwrap_err().to_string();
    assert!(error.contains("lib:1 * lambda:getlayerversion"), "{error}");
    Ok(())
}
