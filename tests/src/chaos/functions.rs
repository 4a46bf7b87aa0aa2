//! The functions of a chaos run, each bad in a way of its own, a layer, and the baseline that puts them right.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::fleet::REGION;
use super::names::Names;
use crate::emulator::{AccountApi, Call, FunctionChange, LayerChange, Seed, Seeded, Settings};
use crate::scenario::Scenario;

const INVOKE: &str = "lambda:InvokeFunction";
const INVOKE_URL: &str = "lambda:InvokeFunctionUrl";
const INSIGHTS: &str = "arn:aws:lambda:eu-west-1:580247275435:layer:LambdaInsightsExtension:53";

/// How long an update takes.
const UPDATE_SECONDS: f64 = 1.0;

/// The account and the baseline. Nothing waits for the interval: a run that ends in time was never left to it. What is
/// only reported, and takes a read for each function, is off.
const DECLARED: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: AWSAccount
metadata: {name: $NAMESPACE}
spec:
  accountId: "$ACCOUNT"
  regions: [eu-west-1]
  readRole: arn:aws:iam::$ACCOUNT:role/baseward-read
  writeRole: arn:aws:iam::$ACCOUNT:role/baseward-write
  rateShare: 100
  namespaces: [{name: $NAMESPACE, maxMode: Enforce}]
---
apiVersion: baseward.dev/v1alpha1
kind: LambdaBaseline
metadata: {name: edge, namespace: $NAMESPACE}
spec:
  accounts: {names: [$NAMESPACE]}
  select: {all: true}
  mode: Enforce
  interval: 1h
  overrides:
  - {control: lambda-published-versions-compliant, mode: "Off"}
  - {control: lambda-async-failure-destination, mode: "Off"}
  access:
    forbidPublic: true
    serviceSource: true
    addSourceAccount: true
    trustedAccounts: ["444455556666"]
  urls: {auth: AWS_IAM, corsOrigins: ["https://shop.example.com"]}
  runtime:
    denyDeprecated: true
    upgrades: [{from: nodejs20.x, to: nodejs24.x}]
    patching: Auto
  environment:
    requireCustomerKey: true
    kmsKeyArn: arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
  code:
    signing: {configArn: "$SIGNING", policy: Enforce}
    privateLayers: true
  observability:
    xray: true
    jsonLogs: true
    insightsLayerArns: ["arn:aws:lambda:eu-west-1:580247275435:layer:LambdaInsightsExtension:53"]
  limits: {recursion: Terminate, concurrency: {default: 20}}
  requiredTags: [{key: owner, default: unknown}]
"#;

/// Makes the functions and applies the account and the baseline.
pub(super) async fn set_up(scenario: &Scenario<'_>) -> Result<Seeded> {
    let slow = [("functionUpdateSeconds".to_owned(), json!(UPDATE_SECONDS))];
    scenario.aws.configure(&Settings { others: slow.into_iter().collect(), ..Settings::default() }).await?;
    let seed = Seed::in_region(REGION)
        .with("codeSigningConfigs", json!([{"key": "signed", "policy": "Enforce"}]))
        .with("layers", json!([{"name": "lib", "versions": [{"policy": [shared(scenario)]}]}]))
        .with("functions", functions(&scenario.account));
    let seeded = scenario.aws.seed(&seed).await?;
    scenario.may_shut_out([
        "strange 777788889999 lambda:InvokeFunction",
        "bucket s3.amazonaws.com lambda:InvokeFunction",
    ])?;
    scenario.must_let_in(["bucket s3.amazonaws.com lambda:InvokeFunction aws:SourceAccount=$ACCOUNT"])?;
    let signing = seeded.code_signing_configs.get("signed").context("no code signing configuration")?;
    scenario.apply(&DECLARED.replace("$SIGNING", signing)).await?;
    Ok(seeded)
}

/// The function, or the layer, that a write is about.
pub(super) fn target(call: &Call) -> &str {
    let function = call.functions.first().map(|change| change.name.as_str());
    let named = ["FunctionName", "LayerName"].iter().find_map(|name| call.parameters.get(*name)?.as_str());
    // Tags are set on an ARN, which ends with the name.
    let tagged = call.parameters.get("Resource").and_then(Value::as_str).and_then(|arn| arn.rsplit(':').next());
    function.or(named).or(tagged).unwrap_or_default()
}

/// All of every function and of every layer.
pub(super) async fn state(aws: &AccountApi, names: &Names) -> Result<BTreeSet<String>> {
    let (functions, layers) = (aws.functions(REGION).await?, aws.layers(REGION).await?);
    Ok(functions.iter().chain(&layers).flat_map(|resource| in_words(resource, names)).collect())
}

/// What a call has touched, before it and after it. How far an update has come is a matter of time.
pub(super) fn states(call: &Call, names: &Names) -> (BTreeSet<String>, BTreeSet<String>) {
    let of = |side: Side| {
        let functions = call.functions.iter().map(move |change| side.of_function(change));
        let resources = functions.chain(call.layers.iter().map(move |change| side.of_layer(change)));
        let lines = resources.flat_map(|resource| in_words(resource, names));
        lines.filter(|line| !line.contains(UPDATE)).collect()
    };
    (of(Side::Before), of(Side::After))
}

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

impl Side {
    fn of_function(self, change: &FunctionChange) -> &Value {
        match self {
            Self::Before => &change.before,
            Self::After => &change.after,
        }
    }

    fn of_layer(self, change: &LayerChange) -> &Value {
        match self {
            Self::Before => &change.before,
            Self::After => &change.after,
        }
    }
}

/// Where the state of an update is told.
const UPDATE: &str = "/configuration/LastUpdateStatus";

/// What is another one in every account, or after every write.
const VOLATILE: [&str; 7] =
    ["RevisionId", "revisionId", "LastModified", "LastModifiedTime", "CreatedDate", "CreationTime", "FunctionUrl"];

/// A resource in lines: where in it, and what is there.
fn in_words(resource: &Value, names: &Names) -> Vec<String> {
    let name = resource.get("name").or_else(|| resource.get("LayerVersionArn")).and_then(Value::as_str);
    let mut lines = Vec::new();
    flatten(name.unwrap_or_default(), resource, &mut lines);
    lines.iter().map(|line| names.translate(line)).collect()
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let lasting = members.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
            lasting.for_each(|(name, member)| flatten(&format!("{path}/{name}"), member, lines));
        }
        Value::Array(items) => lines.extend(items.iter().map(|item| format!("{path} {item}"))),
        value => lines.push(format!("{path} {value}")),
    }
}

/// Everybody may use the layer.
fn shared(scenario: &Scenario<'_>) -> Value {
    let arn = format!("arn:aws:lambda:{REGION}:{}:layer:lib:1", scenario.account);
    json!({"Sid": "all", "Effect": "Allow", "Principal": "*", "Action": "lambda:GetLayerVersion", "Resource": arn})
}

fn functions(account: &str) -> Value {
    let of = Statements { account };
    let function = |name: &str, bad: Value| good(account, name, bad);
    let pinned = json!({"$LATEST": {
        "UpdateRuntimeOn": "Manual",
        "RuntimeVersionArn": format!("arn:aws:lambda:{REGION}::runtime:0123456789abcdef"),
    }});
    json!([
        function("open", json!({"policy": {"": [of.everybody("open"), of.partner("open")]}})),
        function("bucket", json!({"policy": {"": [of.allow("bucket", "s3", json!({"Service": "s3.amazonaws.com"}))]}})),
        function(
            "strange",
            json!({"policy": {"": [of.allow("strange", "other", json!({"AWS": "arn:aws:iam::777788889999:root"}))]}})
        ),
        function(
            "aliased",
            json!({"aliases": [{"name": "live", "version": "$LATEST"}], "policy": {"live": [of.everybody("aliased:live")]}})
        ),
        function("url", json!({"urls": [{"authType": "NONE"}], "policy": {"": of.url("url")}})),
        function("cors", json!({"urls": [{"authType": "AWS_IAM", "cors": {"AllowOrigins": ["*"], "MaxAge": 60}}]})),
        function("untraced", json!({"tracing": "PassThrough", "logging": {"LogFormat": "Text"}})),
        function("unwatched", json!({"layers": ["@lib:1"]})),
        function("keyless", json!({"environment": {"STAGE": "prod"}})),
        function("outdated", json!({"runtime": "nodejs20.x"})),
        // Each of these has a call of its own.
        function(
            "unset",
            json!({"runtimeManagement": pinned, "reservedConcurrency": 200, "codeSigningConfig": "", "recursion": "Allow"})
        ),
        function("untagged", json!({"tags": {"stage": "prod"}})),
        function(
            "neglected",
            json!({
                "urls": [{"authType": "NONE", "cors": {"AllowOrigins": ["*"]}}], "policy": {"": of.url("neglected")},
                "tracing": "PassThrough", "runtime": "nodejs20.x", "environment": {"STAGE": "prod"}, "tags": {},
                "reservedConcurrency": null,
            })
        ),
    ])
}

/// A function with nothing wrong but what is given.
fn good(account: &str, name: &str, bad: Value) -> Value {
    let mut function = json!({
        "name": name, "runtime": "python3.13", "role": format!("arn:aws:iam::{account}:role/{name}"),
        "tracing": "Active", "logging": {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"},
        "layers": [INSIGHTS], "codeSigningConfig": "@signed", "reservedConcurrency": 10, "tags": {"owner": "web"},
    });
    if let (Some(members), Value::Object(bad)) = (function.as_object_mut(), bad) {
        members.extend(bad);
    }
    function
}

/// Statements of policies in an account. What they are of is `FUNCTION` or `FUNCTION:ALIAS`.
struct Statements<'a> {
    account: &'a str,
}

impl Statements<'_> {
    fn allow(&self, of: &str, sid: &str, principal: Value) -> Value {
        let arn = format!("arn:aws:lambda:{REGION}:{}:function:{of}", self.account);
        json!({"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": INVOKE, "Resource": arn})
    }

    fn everybody(&self, of: &str) -> Value {
        self.allow(of, "everybody", json!("*"))
    }

    fn partner(&self, of: &str) -> Value {
        self.allow(of, "partner", json!({"AWS": "arn:aws:iam::444455556666:root"}))
    }

    /// Everybody may use the URL without a signature, and the shop with one.
    fn url(&self, of: &str) -> Value {
        let shop = json!({"AWS": format!("arn:aws:iam::{}:role/storefront", self.account)});
        let mut statements = [self.allow(of, "anybody", json!("*")), self.allow(of, "shop", shop)];
        for (statement, auth) in statements.iter_mut().zip(["NONE", "AWS_IAM"]) {
            if let Some(members) = statement.as_object_mut() {
                members.insert("Action".to_owned(), json!(INVOKE_URL));
                members.insert("Condition".to_owned(), json!({"StringEquals": {"lambda:FunctionUrlAuthType": auth}}));
            }
        }
        json!(statements)
    }
}
