//! Statements of resource policies: principals of every class, conditions that narrow and others that only look like it,
//! and one statement in several spellings.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::generators::OTHER_ACCOUNT;
use crate::world::ACCOUNT;

/// An organization that some baselines trust.
pub(crate) const ORGANIZATION: &str = "o-a1b2c3d4e5";

/// An account that no baseline trusts.
pub(crate) const STRANGER: &str = "777788889999";

const AWS: [&str; 8] = [
    "arn:aws:iam::444455556666:root",
    "arn:aws:iam::444455556666:role/worker",
    "arn:aws:iam::111122223333:role/worker",
    "arn:aws:iam::777788889999:root",
    "arn:aws:iam::*:root",
    "444455556666",
    "111122223333",
    "AROAEXAMPLEEXAMPLE123",
];

const SERVICES: [&str; 8] = [
    "s3.amazonaws.com",
    "sns.amazonaws.com",
    "events.amazonaws.com",
    "apigateway.amazonaws.com",
    "logs.eu-west-1.amazonaws.com",
    "secretsmanager.amazonaws.com",
    "alexa-appkit.amazon.com",
    "*",
];

/// Operators and keys with values, first as AddPermission writes them.
const CONDITIONS: [(&str, &str, &[&str]); 16] = [
    ("StringEquals", "AWS:SourceAccount", &[ACCOUNT, OTHER_ACCOUNT, STRANGER]),
    (
        "ArnLike",
        "AWS:SourceArn",
        &["arn:aws:sns:eu-west-1:111122223333:*", "arn:aws:s3:::orders", "arn:aws:sns:eu-west-1:444455556666:orders"],
    ),
    ("StringEquals", "aws:PrincipalOrgID", &[ORGANIZATION, "o-anotherone"]),
    ("StringEquals", "lambda:FunctionUrlAuthType", &["NONE", "AWS_IAM"]),
    ("Bool", "lambda:InvokedViaFunctionUrl", &["true"]),
    ("StringEquals", "lambda:EventSourceToken", &["amzn1.ask.skill.1"]),
    ("StringEquals", "AWS:SourceAccount", &["*", "4444*"]),
    ("StringLike", "aws:SourceAccount", &[ACCOUNT, "*"]),
    ("ArnLike", "AWS:SourceArn", &["arn:aws:sns:*:*:*", "*", "arn:aws:sns:*:111122223333:orders"]),
    ("StringEqualsIfExists", "aws:SourceAccount", &[ACCOUNT]),
    ("StringNotEquals", "aws:SourceAccount", &[STRANGER]),
    ("ForAllValues:StringEquals", "aws:PrincipalOrgID", &[ORGANIZATION]),
    ("StringLike", "aws:PrincipalOrgID", &["o-*"]),
    ("IpAddress", "aws:SourceIp", &["203.0.113.0/24", "0.0.0.0/1", "128.0.0.0/1", "::/0"]),
    ("Bool", "aws:SecureTransport", &["true", "false"]),
    ("Null", "aws:SourceAccount", &["true"]),
];

/// How many of the conditions AddPermission knows.
const PLAIN: usize = 5;

fn names(dice: &mut Dice<'_>, names: &[&str]) -> Value {
    let some = if dice.one_in(6) { dice.some(names) } else { vec![*dice.pick(names)] };
    if let [one] = some[..] { json!(one) } else { json!(some) }
}

fn principal(dice: &mut Dice<'_>) -> Value {
    match dice.below(10) {
        0..=2 => json!("*"),
        3 => json!({"AWS": "*"}),
        4..=6 => json!({"Service": names(dice, &SERVICES[..6])}),
        7 => json!({"AWS": names(dice, &AWS)}),
        8 => json!({"Service": names(dice, &SERVICES)}),
        _ => json!({"AWS": names(dice, &AWS), "Service": names(dice, &SERVICES)}),
    }
}

fn condition(dice: &mut Dice<'_>) -> Value {
    let mut condition = json!({});
    for _ in 0..dice.below(4).saturating_sub(1) {
        let known = if dice.one_in(3) { CONDITIONS.len() } else { PLAIN };
        let (operator, key, values) = *dice.pick(&CONDITIONS[..known]);
        condition[operator][key] = names(dice, values);
    }
    condition
}

fn sid(dice: &mut Dice<'_>, number: usize) -> Option<String> {
    match dice.below(12) {
        0 => None,
        1 => Some("twice".to_owned()),
        2 => Some(format!("{}{number}", "long".repeat(24))),
        3 => Some("s0-own-account".to_owned()),
        _ => Some(format!("s{number}")),
    }
}

/// A statement of a policy of something with this ARN.
pub(crate) fn statement(dice: &mut Dice<'_>, number: usize, arn: &str, action: &str) -> Value {
    let mut statement = json!({"Effect": if dice.one_in(12) { "Deny" } else { "Allow" }});
    if let Some(sid) = sid(dice, number) {
        statement["Sid"] = json!(sid);
    }
    statement[if dice.one_in(30) { "NotPrincipal" } else { "Principal" }] = principal(dice);
    match dice.below(10) {
        0 => statement["Action"] = json!("lambda:*"),
        1 => statement["Action"] = json!("lambda:Invoke*"),
        2 => statement["Action"] = json!(["lambda:InvokeFunction", "lambda:InvokeFunctionUrl"]),
        3 => statement["Action"] = json!("lambda:InvokeFunctionUrl"),
        4 if dice.one_in(3) => statement["NotAction"] = json!("lambda:GetFunction"),
        _ => statement["Action"] = json!(action),
    }
    match dice.below(12) {
        0 => statement["Resource"] = json!("*"),
        1 => statement["Resource"] = json!([arn]),
        2 => statement["Resource"] = json!(format!("{arn}-other")),
        3 if dice.one_in(3) => statement["NotResource"] = json!(format!("{arn}-other")),
        _ => statement["Resource"] = json!(arn),
    }
    let condition = condition(dice);
    if condition != json!({}) || dice.one_in(8) {
        statement["Condition"] = condition;
    }
    statement
}

/// What opens a URL to everybody.
pub(crate) fn open_url(number: usize, arn: &str) -> Value {
    json!({
        "Sid": format!("url{number}"), "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl",
        "Resource": arn, "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
    })
}

/// Some statements of one policy.
pub(crate) fn statements(dice: &mut Dice<'_>, arn: &str, action: &str) -> Vec<Value> {
    (0..1 + dice.below(4)).map(|number| statement(dice, number, arn, action)).collect()
}

/// Another way to write a value: one in a list, a list in another order and with a repetition.
fn respelled_names(dice: &mut Dice<'_>, value: &Value) -> Value {
    match value {
        Value::Array(values) => {
            let mut values = dice.shuffled(values);
            values.push(values[0].clone());
            Value::Array(values)
        }
        Value::String(_) if dice.one_in(2) => json!([value]),
        value => value.clone(),
    }
}

/// The same principals: everybody, and the root of an account, have two names.
fn respelled_principal(dice: &mut Dice<'_>, principal: &Value) -> Value {
    let Some(types) = principal.as_object() else { return json!({"AWS": "*"}) };
    let mut other = json!({});
    for (of, names) in types {
        let names = match names.as_str() {
            Some("*") if of == "AWS" && types.len() == 1 && dice.one_in(2) => return json!("*"),
            Some(OTHER_ACCOUNT) => json!(format!("arn:aws:iam::{OTHER_ACCOUNT}:root")),
            Some("arn:aws:iam::444455556666:root") => json!(OTHER_ACCOUNT),
            _ => names.clone(),
        };
        other[of] = respelled_names(dice, &names);
    }
    other
}

/// The same conditions: neither operators nor keys depend on case.
fn respelled_condition(dice: &mut Dice<'_>, condition: &Value) -> Value {
    let mut other = json!({});
    for (operator, keys) in condition.as_object().unwrap() {
        let operator = if dice.one_in(2) { operator.to_uppercase() } else { operator.clone() };
        for (key, values) in keys.as_object().unwrap() {
            let key = if dice.one_in(2) { key.to_lowercase() } else { key.clone() };
            other[&operator][&key] = respelled_names(dice, values);
        }
    }
    other
}

/// The same statement in other words.
pub(crate) fn respelled(dice: &mut Dice<'_>, statement: &Value) -> Value {
    let mut other = statement.clone();
    for (element, value) in other.as_object_mut().unwrap() {
        *value = match element.as_str() {
            "Principal" | "NotPrincipal" => respelled_principal(dice, value),
            "Condition" => respelled_condition(dice, value),
            "Sid" | "Effect" => continue,
            "Action" if value.is_string() && dice.one_in(3) => json!(value.as_str().unwrap().to_uppercase()),
            _ => respelled_names(dice, value),
        };
    }
    other
}
