//! The chapter about Lambda: what everybody may call is closed, and whoever was let in by name stays.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{REGION, apply, chapter, command, say, show, wait_for_status, worst};
use crate::callers::{Callers, assert_named_callers_kept, assert_nobody_let_in};
use crate::emulator::{AccountApi, Call, Seed};
use crate::kubectl::Kubectl;

/// The baseline of this chapter, as kubectl finds it.
const FUNCTIONS: [&str; 2] = ["lamb", "functions"];

const BASELINE: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: LambdaBaseline
metadata: {name: functions, namespace: security}
spec:
  accounts: {names: [shop-prod]}
  select: {all: true}
  interval: 10s
  mode: Audit
  access:
    forbidPublic: true
    serviceSource: true
    trustedAccounts: ["444455556666"]
  urls: {auth: AWS_IAM}
"#;

/// Who calls which function legitimately, in the words of the caller oracle and in ours.
const LEGITIMATE: [(&str, &str, &str); 3] = [
    (
        "checkout",
        "checkout arn:aws:iam::111122223333:role/storefront lambda:InvokeFunctionUrl lambda:FunctionUrlAuthType=AWS_IAM",
        "the role of the shop, which signs its requests to the URL",
    ),
    ("invoices", "invoices 444455556666 lambda:InvokeFunction", "a partner's account, 444455556666"),
    (
        "invoices",
        "invoices events.amazonaws.com lambda:InvokeFunction aws:SourceArn=arn:aws:events:eu-west-1:111122223333:rule/nightly",
        "events.amazonaws.com, for one rule of this account",
    ),
];

/// Finds what is public about two functions, and closes it.
pub(super) async fn close(kubectl: &Kubectl, aws: &AccountApi) -> Result<()> {
    chapter("Lambda: a public URL and a public policy");
    aws.seed(&Seed::in_region(REGION).with("functions", json!([checkout(), invoices()]))).await?;
    apply(kubectl, BASELINE).await?;
    wait_for_status(kubectl, FUNCTIONS, "every function is read", |status| {
        status["resources"].as_i64() > Some(0) && status["verdicts"]["unknown"] == 0
    })
    .await?;
    show(kubectl, &["get", "lamb"]).await?;
    worst(kubectl, FUNCTIONS, "Critical").await?;
    worst(kubectl, FUNCTIONS, "High").await?;
    who_may_call(aws).await?;

    chapter("Lambda: closed for everybody, not for the shop, the partner and the schedule");
    command("kubectl patch lamb functions --type=merge -p '{\"spec\":{\"mode\":\"Enforce\"}}'");
    kubectl.run(["patch", "lamb", "functions", "--type=merge", "-p", r#"{"spec":{"mode":"Enforce"}}"#]).await?;
    wait_for_status(kubectl, FUNCTIONS, "nothing is public", |status| {
        status["violations"]["critical"] == 0 && status["violations"]["high"] == 0
    })
    .await?;
    say("what AWS saw:");
    for call in written(&aws.ledger().await?) {
        println!("    {:>4}  {:<32} {}", call.seq, call.operation(), target(call));
    }
    who_may_call(aws).await?;
    show(kubectl, &["get", "lamb"]).await
}

/// Judges every write to a function by whom it let in and whom it shut out.
pub(super) fn prove(calls: &[Call]) -> Result<()> {
    ensure!(written(calls).next().is_some(), "no function was written");
    assert_nobody_let_in(calls, &Callers::default())?;
    assert_named_callers_kept(calls, &Callers::default())?;
    for change in written(calls).flat_map(|call| &call.functions) {
        for (_, caller, who) in LEGITIMATE.iter().filter(|(function, ..)| *function == change.name) {
            for state in [&change.before, &change.after] {
                let missing = Callers::parse([*caller])?.difference(&Callers::of_function(state)?);
                ensure!(missing.is_empty(), "{who} cannot call {}", change.name);
            }
        }
    }
    say("after every single write to a function: nobody was let in, and none of these callers was shut out:");
    for (function, _, who) in LEGITIMATE {
        println!("    {function:<12} {who}");
    }
    Ok(())
}

/// The calls that changed a function.
fn written(calls: &[Call]) -> impl Iterator<Item = &Call> {
    calls.iter().filter(|call| call.effect && call.is_by_a_role() && !call.functions.is_empty())
}

/// What a call was about: the function, and what of it.
fn target(call: &Call) -> String {
    let functions = call.functions.iter().map(|change| change.name.as_str());
    let details = ["StatementId", "AuthType"].iter().filter_map(|parameter| call.parameters[parameter].as_str());
    functions.chain(details).collect::<Vec<&str>>().join("  ")
}

/// Shows how each function is called.
async fn who_may_call(aws: &AccountApi) -> Result<()> {
    for name in ["checkout", "invoices"] {
        command(&format!("aws lambda get-policy --function-name {name}"));
        let function = aws.function(REGION, name).await?;
        let statements = function["policies"][""]["statements"].as_array().context("a function has no policy")?;
        for statement in statements {
            let sid = statement["Sid"].as_str().unwrap_or("-");
            let condition = &statement["Condition"];
            let condition = if condition.is_null() { String::new() } else { format!("  if {condition}") };
            println!("    {sid:<12} {}{condition}", principal(statement));
        }
    }
    let checkout = aws.function(REGION, "checkout").await?;
    say(&format!("the URL of checkout asks for: {}", checkout["urls"][""]["AuthType"].as_str().unwrap_or("-")));
    Ok(())
}

/// Who a statement is about, without the kind of principal.
fn principal(statement: &Value) -> &str {
    let principal = &statement["Principal"];
    let named = principal.as_object().and_then(|members| members.values().next());
    named.unwrap_or(principal).as_str().unwrap_or("-")
}

/// Its URL is open to everybody, and the shop calls it with a signature.
fn checkout() -> Value {
    let auth = |auth: &str| json!({"StringEquals": {"lambda:FunctionUrlAuthType": auth}});
    let everybody = statement("checkout", "anybody", json!("*"), "lambda:InvokeFunctionUrl", auth("NONE"));
    let shop = json!({"AWS": "arn:aws:iam::111122223333:role/storefront"});
    let shop = statement("checkout", "storefront", shop, "lambda:InvokeFunctionUrl", auth("AWS_IAM"));
    function("checkout", json!([{"authType": "NONE"}]), json!([everybody, shop]))
}

/// Everybody may call it, beside two who should.
fn invoices() -> Value {
    let invoke = |sid: &str, principal: Value, condition: Value| {
        statement("invoices", sid, principal, "lambda:InvokeFunction", condition)
    };
    let rule = json!({"ArnLike": {"AWS:SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/nightly"}});
    let policy = json!([
        invoke("everybody", json!("*"), Value::Null),
        invoke("partner", json!({"AWS": "arn:aws:iam::444455556666:root"}), Value::Null),
        invoke("nightly", json!({"Service": "events.amazonaws.com"}), rule),
    ]);
    function("invoices", json!([]), policy)
}

fn function(name: &str, urls: Value, policy: Value) -> Value {
    let failed = format!("arn:aws:sqs:{REGION}:111122223333:failed");
    json!({"name": name, "tracing": "Active", "deadLetter": failed, "urls": urls, "policy": {"": policy}})
}

fn statement(function: &str, sid: &str, principal: Value, action: &str, condition: Value) -> Value {
    let resource = format!("arn:aws:lambda:{REGION}:111122223333:function:{function}");
    let mut statement =
        json!({"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource});
    if !condition.is_null() {
        statement["Condition"] = condition;
    }
    statement
}
