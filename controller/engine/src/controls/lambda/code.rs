//! `spec.code`: code signing and layers.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::inexpressible;
use super::view::{HOURLY_MAX_AGE, unread};
use super::{Compiled as Parameters, Control, FunctionView, LambdaView, Remedy};
use crate::controls::{About, CODE_SIGNING, CODE_SIGNING_CONFIGS, FUNCTIONS, LAYER_POLICIES, LAYERS, Setting, named};
use crate::edit::Withheld;
use crate::facts::{CodeSigningConfig, Package, ReadFailure};
use crate::finding::{Severity, Verdict};
use crate::permission::{self, Permission};
use crate::policy::{Class, Policy, Statement, Trust};
use crate::property::{Json, Property, PropertyChange, PropertyName};

/// Where the code of functions comes from: code signing and layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Code {
    /// Code signing of functions in zip packages. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    /// Twelve-digit ids of accounts whose layers functions may use, beside the function's own account and those in which
    /// AWS publishes layers (580247275435, 094274105915, 017000801446). Reported only. Recommended: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 12, max = 12), regex(pattern = "^[0-9]{12}$")))]
    pub trusted_layer_accounts: Option<Vec<String>>,
    /// Whether no version of a layer of the account may be shared with everybody. Enforce removes the statements that do so:
    /// functions that use the version already keep it. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_layers: Option<bool>,
}

/// Code signing of functions in zip packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signing {
    /// ARN of the code signing configuration that Enforce gives to functions in its region that have none, or a weaker one.
    /// It counts from the next deployment on: a pipeline that does not sign then fails. Left out: report only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = "^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:code-signing-config:csc-[a-z0-9]{17}$")
    )]
    pub config_arn: Option<String>,
    /// What the configuration of a function must at least do with code that is not signed by somebody it trusts: Enforce
    /// (refuse it) or Warn (let it pass with a warning). Recommended: Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SigningPolicy>,
}

/// What is done with code that nobody trusted has signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SigningPolicy {
    /// It is refused.
    #[default]
    Enforce,
    /// It passes, with a warning.
    Warn,
}

impl Code {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self { signing: None, trusted_layer_accounts: Some(Vec::new()), private_layers: Some(true) }
    }
}

/// The accounts in which AWS publishes layers (control catalogue, `lambda-layers-trusted`).
const AWS_LAYER_ACCOUNTS: [&str; 3] = ["580247275435", "094274105915", "017000801446"];

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    signing: Signing,
    layer_accounts: BTreeSet<String>,
}

impl Compiled {
    pub(super) fn new(code: Option<&Code>) -> Self {
        let Code { signing, trusted_layer_accounts, private_layers: _ } = code.cloned().unwrap_or_default();
        let published = AWS_LAYER_ACCOUNTS.into_iter().map(str::to_owned);
        Self {
            signing: signing.unwrap_or_default(),
            layer_accounts: trusted_layer_accounts.unwrap_or_default().into_iter().chain(published).collect(),
        }
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "lambda-code-signing",
            title: "Code signing is enforced for zip functions",
            severity: Severity::Medium,
            field: "code.signing",
            default: "Off",
            remedy: "sets signing.configArn in its own region (PutFunctionCodeSigningConfig); report only without it",
            since: "0.2.0",
            sources: &[FUNCTIONS, CODE_SIGNING, CODE_SIGNING_CONFIGS],
        },
        setting: |spec| Setting::optional(spec.code.as_ref().and_then(|code| code.signing.as_ref())),
        alike: |one, other| one.code.signing == other.code.signing,
        check: check_signing,
        remedy: Some(sign),
    },
    Control {
        about: About {
            id: "lambda-layers-trusted",
            title: "Layers come from trusted accounts",
            severity: Severity::High,
            field: "code.trustedLayerAccounts",
            default: "the account of the function, and AWS",
            remedy: "report only: the code needs the layer",
            since: "0.2.0",
            sources: &[FUNCTIONS],
        },
        setting: |spec| Setting::recommended(spec.code.as_ref().and_then(|code| code.trusted_layer_accounts.as_ref())),
        alike: |one, other| one.code.layer_accounts == other.code.layer_accounts,
        check: check_layers,
        remedy: None,
    },
    Control {
        about: About {
            id: "lambda-layer-not-public",
            title: "Own layers are not shared with everyone",
            severity: Severity::High,
            field: "code.privateLayers",
            default: "true",
            remedy: "removes the statement (RemoveLayerVersionPermission)",
            since: "0.2.0",
            sources: &[LAYERS, LAYER_POLICIES],
        },
        setting: |spec| Setting::switch(spec.code.as_ref().and_then(|code| code.private_layers)),
        alike: |one, other| one.access == other.access,
        check: check_sharing,
        remedy: Some(unshare),
    },
];

/// The function, if its code comes in zip packages.
fn zipped<'v, 'a>(view: &'v LambdaView<'a>, image: &'static str) -> Result<&'v FunctionView<'a>, Verdict> {
    match view.function() {
        None => Err(Verdict::not_applicable("not a function")),
        Some(view) if view.configuration().package == Package::Image => Err(Verdict::not_applicable(image)),
        Some(view) => Ok(view),
    }
}

/// How a function is signed.
struct Signed<'v, 'a> {
    view: &'v FunctionView<'a>,
    /// ARN of its configuration.
    arn: Option<&'a String>,
    /// Why that does not do.
    problem: Option<&'static str>,
}

/// How a function is signed, as far as that is known.
fn signed<'v, 'a>(parameters: &Parameters, view: &'v LambdaView<'a>) -> Result<Signed<'v, 'a>, Verdict> {
    let view = zipped(view, "container images are signed otherwise")?;
    let arn = view.lambda().code_signing.of(&view.function.name, view.now());
    let arn = arn.map_err(|failure| unread("its code signing configuration", failure))?.as_ref();
    let Some(known) = arn else { return Ok(Signed { view, arn, problem: Some("none") }) };
    let configs = configs(view).map_err(|failure| unread("the code signing configurations", failure))?;
    let config = configs.get(known);
    let config = config.ok_or(Verdict::unknown("its code signing configuration is not among those that were read"))?;
    Ok(Signed { view, arn, problem: problem(&parameters.code.signing, config) })
}

/// The code signing configurations of the account, by ARN.
fn configs<'a>(view: &FunctionView<'a>) -> Result<&'a BTreeMap<String, CodeSigningConfig>, ReadFailure> {
    let source = &view.lambda().code_signing_configs;
    source.facts().and_then(|_| source.fresh(view.now(), HOURLY_MAX_AGE).ok_or(ReadFailure::NotReadYet))
}

/// Why a configuration does not do.
fn problem(signing: &Signing, config: &CodeSigningConfig) -> Option<&'static str> {
    match (signing.policy.unwrap_or_default(), config) {
        (_, CodeSigningConfig { publishers: 0, .. }) => Some("a configuration that trusts no signing profile"),
        (SigningPolicy::Enforce, CodeSigningConfig { enforces: false, .. }) => Some("a configuration that only warns"),
        (SigningPolicy::Enforce | SigningPolicy::Warn, _) => None,
    }
}

fn check_signing(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let expected = match parameters.code.signing.policy.unwrap_or_default() {
        SigningPolicy::Enforce => "a code signing configuration that refuses code that is not signed",
        SigningPolicy::Warn => "a code signing configuration",
    };
    match signed(parameters, view) {
        Err(verdict) => verdict,
        Ok(Signed { problem: None, .. }) => Verdict::Pass,
        Ok(Signed { problem: Some(actual), .. }) => Verdict::fail(expected, actual),
    }
}

/// Sets the configuration of the baseline, unless that would not do either, or is not known to exist.
fn sign(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let signing = &parameters.code.signing;
    let (Ok(Signed { view, arn, problem: Some(_) }), Some(wanted)) = (signed(parameters, view), &signing.config_arn)
    else {
        return Vec::new();
    };
    let config = configs(view).ok().and_then(|configs| configs.get(wanted));
    let does = config.is_some_and(|config| problem(signing, config).is_none());
    if !does || wanted.split(':').nth(3) != Some(&view.location().region) {
        return Vec::new();
    }
    let change = PropertyChange {
        property: Property::only(PropertyName::CodeSigning),
        before: arn.map(Json::of),
        after: Some(Json::of(wanted)),
    };
    vec![Remedy::set(change)]
}

/// Whether a layer is of an account that is trusted: `arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION`, or
/// `arn:aws:lambda:::awslayer:NAME` of AWS itself. One that cannot be read is not.
fn is_trusted(arn: &str, own_account: &str, trusted: &BTreeSet<String>) -> bool {
    let fields: Vec<&str> = arn.split(':').collect();
    match fields.as_slice() {
        ["arn", _, "lambda", "", "", "awslayer", ..] => true,
        ["arn", _, "lambda", _, account, "layer", ..] => *account == own_account || trusted.contains(*account),
        _ => false,
    }
}

fn check_layers(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let view = match zipped(view, "container images have no layers") {
        Err(verdict) => return verdict,
        Ok(view) if view.function.edge => return Verdict::not_applicable("Lambda@Edge does not support layers"),
        Ok(view) => view,
    };
    let (own, trusted) = (&view.function.account, &parameters.code.layer_accounts);
    let found = named(view.configuration().layers.iter().filter(|arn| !is_trusted(arn, own, trusted)));
    if found.is_empty() { Verdict::Pass } else { Verdict::fail("layers of trusted accounts alone", found) }
}

/// The statements that let in everybody.
fn public<'p>(policy: &'p Policy, trust: &Trust) -> Vec<&'p Statement> {
    let judged = policy.judge(trust).into_iter().filter(|(_, class)| *class == Class::Public);
    judged.filter_map(|(index, _)| policy.statements().get(index)).collect()
}

fn check_sharing(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let LambdaView::Layer(view) = view else { return Verdict::not_applicable("not a version of a layer") };
    let policy = match view.policy() {
        Err(unknown) => return unknown,
        Ok(None) => return Verdict::Pass,
        Ok(Some(policy)) => policy,
    };
    let trust = parameters.access.trust(&view.layer.account);
    let found = named(public(&policy, &trust).into_iter().filter_map(|statement| statement.why(&trust)));
    if found.is_empty() { Verdict::Pass } else { Verdict::fail("no statement that shares it with everybody", found) }
}

fn unshare(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let LambdaView::Layer(view) = view else { return Vec::new() };
    let Ok(Some(policy)) = view.policy() else { return Vec::new() };
    let layer = view.layer;
    let of = format!(":{}:{}", layer.account, layer.id);
    let remedy = |statement: &Statement| {
        let change = PropertyChange {
            property: Property::one(PropertyName::LayerStatement, statement.sid().unwrap_or_default()),
            before: Some(permission::canonical(statement.raw())),
            after: None,
        };
        let of_functions = || Permission::of(statement.raw()).is_some_and(|parts| !parts.shares_a_layer());
        let lost = || of_functions().then(|| "layers know no such statement".to_owned());
        let held = inexpressible(&policy, statement, &of).or_else(lost);
        Remedy { held: held.map(Withheld::NotExpressible), ..Remedy::set(change) }
    };
    public(&policy, &parameters.access.trust(&layer.account)).into_iter().map(remedy).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixtures::{
        NAME, configured, control, failure, function, gathered, inventory, now, remedies, setting, spec, verdict,
        with_layer,
    };
    use super::*;
    use crate::facts::{Configuration, Function, Inventory, Source};

    const SIGNING: &str = "lambda-code-signing";
    const TRUSTED: &str = "lambda-layers-trusted";
    const PRIVATE: &str = "lambda-layer-not-public";
    const STRICT: &str = "arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef0";
    const LAX: &str = "arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef1";
    const EMPTY: &str = "arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef2";
    const UNKNOWN: &str = "arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef3";
    const ABROAD: &str = "arn:aws:lambda:us-east-1:111122223333:code-signing-config:csc-0123456789abcdef4";

    fn signed_by(read: Result<Option<&str>, ReadFailure>) -> Inventory {
        let mut inventory = configured(Configuration::default());
        inventory.lambda.code_signing = gathered(read.map(|arn| arn.map(str::to_owned)));
        let config = |arn: &str, enforces, publishers| (arn.to_owned(), CodeSigningConfig { enforces, publishers });
        let configs = [config(STRICT, true, 1), config(LAX, false, 1), config(EMPTY, true, 0), config(ABROAD, true, 1)];
        inventory.lambda.code_signing_configs = Source::complete(BTreeMap::from(configs), now());
        inventory
    }

    fn signing(config_arn: &str) -> Value {
        json!({"code": {"signing": {"configArn": config_arn}}})
    }

    fn policy(policy: &str) -> Value {
        json!({"code": {"signing": {"policy": policy}}})
    }

    #[test]
    fn signing_is_off_and_layers_are_judged_until_the_baseline_says_otherwise() {
        for (id, written, expected) in [
            (SIGNING, json!({}), Setting::Off),
            (SIGNING, policy("Warn"), Setting::Named),
            (TRUSTED, json!({}), Setting::Recommended),
            (TRUSTED, json!({"code": {"trustedLayerAccounts": []}}), Setting::Named),
            (PRIVATE, json!({}), Setting::Recommended),
            (PRIVATE, json!({"code": {"privateLayers": true}}), Setting::Named),
            (PRIVATE, json!({"code": {"privateLayers": false}}), Setting::Off),
        ] {
            assert_eq!(setting(&spec(written.clone()), id), expected, "{id} {written}");
        }
    }

    #[test]
    fn a_configuration_does_what_the_baseline_demands_at_least() {
        let judged = |read, written| verdict(&spec(written), SIGNING, &signed_by(read));
        assert_eq!(judged(Ok(Some(STRICT)), policy("Enforce")), Verdict::Pass);
        assert_eq!(judged(Ok(Some(STRICT)), policy("Warn")), Verdict::Pass);
        assert_eq!(judged(Ok(Some(LAX)), policy("Warn")), Verdict::Pass);
        assert_eq!(failure(judged(Ok(Some(LAX)), signing(STRICT))).1, "a configuration that only warns");
        let trusts_nobody = "a configuration that trusts no signing profile";
        assert_eq!(failure(judged(Ok(Some(EMPTY)), policy("Warn"))).1, trusts_nobody);
        assert_eq!(failure(judged(Ok(None), policy("Warn"))).1, "none");
        assert!(matches!(judged(Ok(Some(UNKNOWN)), policy("Warn")), Verdict::Unknown { .. }));
        assert!(matches!(judged(Err(ReadFailure::Throttled), policy("Warn")), Verdict::Unknown { .. }));
        let mut unread = signed_by(Ok(Some(STRICT)));
        unread.lambda.code_signing_configs = Source::failed(ReadFailure::AccessDenied, now());
        let expected = Verdict::unknown("the code signing configurations could not be read (AccessDenied)");
        assert_eq!(verdict(&spec(policy("Warn")), SIGNING, &unread), expected);
        let hourly = now() - HOURLY_MAX_AGE;
        unread.lambda.code_signing_configs = Source::complete(BTreeMap::new(), hourly);
        let missing = Verdict::unknown("its code signing configuration is not among those that were read");
        assert_eq!(verdict(&spec(policy("Warn")), SIGNING, &unread), missing);
        let long_ago = hourly - jiff::SignedDuration::from_secs(1);
        unread.lambda.code_signing_configs = Source::complete(BTreeMap::new(), long_ago);
        assert!(matches!(verdict(&spec(policy("Warn")), SIGNING, &unread), Verdict::Unknown { .. }));
    }

    #[test]
    fn container_images_have_neither_signing_nor_layers() {
        let image = Configuration { package: Package::Image, ..Configuration::default() };
        for id in [SIGNING, TRUSTED] {
            let verdict = verdict(&spec(json!({})), id, &configured(image.clone()));
            assert!(matches!(verdict, Verdict::NotApplicable { .. }), "{id}");
        }
    }

    #[test]
    fn a_function_gets_a_configuration_that_does_in_its_own_region() {
        let asked = |read, written| remedies(&spec(written), SIGNING, &signed_by(read));
        let change = |before: Option<&str>| PropertyChange {
            property: Property::only(PropertyName::CodeSigning),
            before: before.map(|arn| Json::of(&arn)),
            after: Some(Json::of(&STRICT)),
        };
        assert_eq!(asked(Ok(None), signing(STRICT)), [Remedy::set(change(None))]);
        assert_eq!(asked(Ok(Some(LAX)), signing(STRICT)), [Remedy::set(change(Some(LAX)))]);
        assert_eq!(asked(Ok(Some(STRICT)), signing(STRICT)), []);
        for useless in [LAX, EMPTY, UNKNOWN, ABROAD] {
            assert_eq!(asked(Ok(None), signing(useless)), [], "{useless}");
        }
        assert_eq!(asked(Ok(None), policy("Enforce")), []);
        assert_eq!(asked(Err(ReadFailure::AccessDenied), signing(STRICT)), []);
    }

    #[test]
    fn layers_come_from_the_own_account_from_aws_or_from_named_ones() {
        let judged = |arn: &str, written| {
            let layers = vec![arn.to_owned()];
            verdict(&spec(written), TRUSTED, &configured(Configuration { layers, ..Configuration::default() }))
        };
        for arn in [
            "arn:aws:lambda:eu-west-1:111122223333:layer:own:1",
            "arn:aws:lambda:eu-west-1:580247275435:layer:LambdaInsightsExtension:53",
            "arn:aws:lambda:eu-west-1:094274105915:layer:AWSLambdaPowertoolsTypeScript:1",
            "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3:1",
            "arn:aws:lambda:::awslayer:AmazonLinux1803",
        ] {
            assert_eq!(judged(arn, json!({})), Verdict::Pass, "{arn}");
        }
        let foreign = "arn:aws:lambda:eu-west-1:444455556666:layer:theirs:7";
        let trusting = || json!({"code": {"trustedLayerAccounts": ["444455556666"]}});
        assert_eq!(judged(foreign, trusting()), Verdict::Pass);
        for arn in [foreign, "arn:aws:lambda:eu-west-1:999999999999:awslayer:x", "layer"] {
            assert_eq!(failure(judged(arn, json!({}))).1, arn);
        }
        assert_eq!(verdict(&spec(json!({})), TRUSTED, &configured(Configuration::default())), Verdict::Pass);
        let function = Function { edge: true, configuration: Configuration::default(), ..function(NAME) };
        let at_edge = verdict(&spec(json!({})), TRUSTED, &inventory(vec![function]));
        assert!(matches!(at_edge, Verdict::NotApplicable { .. }));
        assert!(control(TRUSTED).remedy.is_none());
    }

    fn layer(policy: Option<String>) -> Inventory {
        with_layer("layer:own:3", Ok(policy.map(String::into_boxed_str)))
    }

    fn of_statements(statements: &[Value]) -> Inventory {
        layer(Some(json!({"Version": "2012-10-17", "Id": "default", "Statement": statements}).to_string()))
    }

    fn share(sid: &str, principal: &str) -> Value {
        json!({
            "Sid": sid, "Effect": "Allow", "Principal": principal, "Action": "lambda:GetLayerVersion",
            "Resource": "arn:aws:lambda:eu-west-1:111122223333:layer:own:3",
        })
    }

    fn within(mut statement: Value, condition: &Value) -> Value {
        statement["Condition"] = condition.clone();
        statement
    }

    #[test]
    fn a_layer_may_be_shared_with_some_but_not_with_everybody() {
        let organization = |id: &str| json!({"StringEquals": {"aws:PrincipalOrgID": id}});
        let account = json!({
            "Sid": "b", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"},
            "Action": "lambda:GetLayerVersion", "Resource": "arn:aws:lambda:eu-west-1:111122223333:layer:own:3",
        });
        for narrow in [account.clone(), within(share("all", "*"), &organization("o-a1b2c3d4e5"))] {
            assert_eq!(
                verdict(&spec(json!({})), PRIVATE, &of_statements(std::slice::from_ref(&narrow))),
                Verdict::Pass,
                "{narrow}"
            );
            assert_eq!(remedies(&spec(json!({})), PRIVATE, &of_statements(&[narrow])), []);
        }
        assert_eq!(verdict(&spec(json!({})), PRIVATE, &layer(None)), Verdict::Pass);
        let (expected, actual) =
            failure(verdict(&spec(json!({})), PRIVATE, &of_statements(&[account, share("all", "*")])));
        assert_eq!(expected, "no statement that shares it with everybody");
        assert_eq!(actual, "statement \"all\": anyone may lambda:GetLayerVersion");
        let broken = layer(Some("{".to_owned()));
        assert!(matches!(verdict(&spec(json!({})), PRIVATE, &broken), Verdict::Unknown { .. }));
        assert_eq!(remedies(&spec(json!({})), PRIVATE, &broken), []);
    }

    #[test]
    fn a_layer_whose_turn_has_not_come_is_unknown() {
        let reason = |failure| match verdict(&spec(json!({})), PRIVATE, &with_layer("layer:own:3", Err(failure))) {
            Verdict::Unknown { why } => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(ReadFailure::NotReadYet), "its policy: not read yet, or too long ago");
        assert_eq!(reason(ReadFailure::AccessDenied), "its policy could not be read (AccessDenied)");
    }

    #[test]
    fn a_layer_loses_the_statements_that_share_it_with_everybody_if_they_can_come_back() {
        let mut nameless = share("", "*");
        nameless.as_object_mut().unwrap().remove("Sid");
        let odd = within(share("odd", "*"), &json!({"Bool": {"aws:SecureTransport": "true"}}));
        let asked = remedies(&spec(json!({})), PRIVATE, &of_statements(&[share("all", "*"), nameless, odd.clone()]));
        let change = |sid: &str, statement: &Value| PropertyChange {
            property: Property::one(PropertyName::LayerStatement, sid),
            before: Some(permission::canonical(statement)),
            after: None,
        };
        assert_eq!(asked[0], Remedy::set(change("all", &share("all", "*"))));
        assert_eq!(asked[2].changes, [change("odd", &odd)]);
        for held in &asked[1..] {
            assert!(matches!(held.held, Some(Withheld::NotExpressible(_))), "{held:?}");
        }
        let twice = remedies(&spec(json!({})), PRIVATE, &of_statements(&[share("all", "*"), share("all", "*")]));
        assert!(twice.iter().all(|remedy| matches!(remedy.held, Some(Withheld::NotExpressible(_)))));
    }
}
