//! `spec.environment`: the key of environment variables, and credentials in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compiled as Parameters, Control, FunctionView, LambdaView, Remedy};
use crate::controls::{About, FUNCTIONS, InvalidParameter, Setting};
use crate::edit::Withheld;
use crate::facts::Configuration;
use crate::finding::{Severity, Verdict};
use crate::property::{Json, Property, PropertyChange, PropertyName};
use crate::secrets::{Detectors, Filter};

/// Environment variables: the key that they are encrypted with, and credentials in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentVariables {
    /// Whether the environment variables of a function must be encrypted with a key of the customer, not with that of AWS.
    /// Recommended: true once kmsKeyArn is written; off until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_customer_key: Option<bool>,
    /// ARN of the KMS key that environment variables must be encrypted with. Enforce sets it for functions in the region of
    /// the key: their execution roles must be allowed to decrypt with it (kms:Decrypt), or they no longer start. In other
    /// regions no function can pass: write a baseline for each. Left out: any key of the customer passes, and a function
    /// without one is only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = "^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$")
    )]
    pub kms_key_arn: Option<String>,
    /// Credentials in environment variables. Reported only, by the name of the variable, never with its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Secrets>,
}

/// Credentials in environment variables: whoever may read the configuration of a function reads them. Reported only, by the
/// name of the variable, never with its value. Rotate what is found: old versions of the function keep it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Secrets {
    /// What counts: Certain (values that have the form of a credential), Named (also variables that are named like one), or
    /// Entropy (also values that look random; these are reported as unknown, for a review). Recommended: Named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectors: Option<Detectors>,
    /// Regular expressions (without look-around) that match the whole names of variables which hold no credential.
    /// Recommended: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 256)))]
    pub allow_names: Option<Vec<String>>,
}

impl EnvironmentVariables {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        let secrets = Secrets { detectors: Some(Detectors::default()), allow_names: Some(Vec::new()) };
        Self { require_customer_key: None, kms_key_arn: None, secrets: Some(secrets) }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    key: Option<String>,
    secrets: Filter,
}

impl Compiled {
    pub(super) fn new(environment: Option<&EnvironmentVariables>) -> Result<Self, InvalidParameter> {
        let EnvironmentVariables { require_customer_key: _, kms_key_arn: key, secrets } =
            environment.cloned().unwrap_or_default();
        let Secrets { detectors, allow_names } = secrets.unwrap_or_default();
        let (detectors, allowed) = (detectors.unwrap_or_default(), allow_names.unwrap_or_default());
        Ok(Self { key, secrets: Filter::new("environment.secrets.allowNames", detectors, &allowed)? })
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "lambda-env-cmk",
            title: "Environment variables are encrypted with a customer key",
            severity: Severity::Medium,
            field: "environment.requireCustomerKey, environment.kmsKeyArn",
            default: "Off",
            remedy: "sets kmsKeyArn in its own region (UpdateFunctionConfiguration); the execution role needs kms:Decrypt; report only without it",
            since: "0.2.0",
            sources: &[FUNCTIONS],
        },
        setting: |spec| match &spec.environment {
            Some(EnvironmentVariables { require_customer_key: Some(true), .. })
            | Some(EnvironmentVariables { require_customer_key: None, kms_key_arn: Some(_), .. }) => Setting::Named,
            Some(_) | None => Setting::Off,
        },
        alike: |one, other| one.environment.key == other.environment.key,
        check: check_key,
        remedy: Some(set_key),
    },
    Control {
        about: About {
            id: "lambda-no-secrets-in-env",
            title: "No credentials in function environment variables",
            severity: Severity::Critical,
            field: "environment.secrets",
            default: "{detectors: Named}",
            remedy: "report only: rotate the credential, keep it in Secrets Manager and change the code",
            since: "0.2.0",
            sources: &[FUNCTIONS],
        },
        setting: |spec| {
            Setting::recommended(spec.environment.as_ref().and_then(|environment| environment.secrets.as_ref()))
        },
        alike: |one, other| one.environment.secrets == other.environment.secrets,
        check: check_secrets,
        remedy: None,
    },
];

/// The function, unless it can have no environment variables.
fn judged<'v, 'a>(view: &'v LambdaView<'a>) -> Result<&'v FunctionView<'a>, Verdict> {
    match view.function() {
        None => Err(Verdict::not_applicable("not a function")),
        Some(view) if view.function.edge => {
            Err(Verdict::not_applicable("Lambda@Edge does not support environment variables"))
        }
        Some(view) => Ok(view),
    }
}

/// Whether the variables of a function are encrypted as demanded. The ARN of their key shows even where they cannot be
/// decrypted.
fn has_key(wanted: Option<&String>, configuration: &Configuration) -> bool {
    let environment = &configuration.environment;
    let has_variables = environment.variables > 0 || environment.unreadable;
    !has_variables || configuration.kms_key.as_ref().is_some_and(|key| wanted.is_none_or(|wanted| key == wanted))
}

fn check_key(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let configuration = match judged(view) {
        Err(verdict) => return verdict,
        Ok(view) => view.configuration(),
    };
    let wanted = parameters.environment.key.as_ref();
    if has_key(wanted, configuration) {
        return Verdict::Pass;
    }
    let actual = configuration.kms_key.as_deref().unwrap_or("the key of AWS");
    Verdict::fail(wanted.map_or("a key of the customer", String::as_str), actual)
}

fn set_key(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let (Ok(view), Some(wanted)) = (judged(view), &parameters.environment.key) else { return Vec::new() };
    let (configuration, region) = (view.configuration(), &view.location().region);
    // KMS keys are used in their own region alone.
    let is_set = configuration.kms_key.as_ref() == Some(wanted);
    if (has_key(Some(wanted), configuration) && !is_set) || wanted.split(':').nth(3) != Some(region) {
        return Vec::new();
    }
    // Where it is set, that it stays so.
    let remedy = Remedy::set(PropertyChange {
        property: Property::only(PropertyName::KmsKey),
        before: configuration.kms_key.as_ref().map(Json::of),
        after: Some(Json::of(wanted)),
    });
    let lost = || Withheld::WouldLose("the environment variables".to_owned());
    vec![Remedy { held: configuration.environment.unreadable.then(lost), ..remedy }]
}

fn check_secrets(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    match judged(view).map(|view| &view.configuration().environment) {
        Err(verdict) => verdict,
        Ok(environment) if environment.unreadable => {
            Verdict::unknown("the key of the environment variables does not let them be read")
        }
        Ok(environment) => parameters.environment.secrets.verdict(&environment.suspicions),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixtures::{
        NAME, configured, control, failure, function, inventory, remedies, setting, spec, verdict,
    };
    use super::*;
    use crate::facts::{Environment, Function};
    use crate::secrets::suspicions;

    const CMK: &str = "lambda-env-cmk";
    const SECRETS: &str = "lambda-no-secrets-in-env";
    const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    const OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-0";
    const ABROAD: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn with_variables(kms_key: Option<&str>) -> Configuration {
        Configuration {
            kms_key: kms_key.map(str::to_owned),
            environment: Environment { variables: 1, ..Environment::default() },
            ..Configuration::default()
        }
    }

    fn unreadable(kms_key: Option<&str>) -> Configuration {
        let environment = Environment { unreadable: true, ..Environment::default() };
        Configuration { environment, ..with_variables(kms_key) }
    }

    fn key(arn: &str) -> Value {
        json!({"environment": {"kmsKeyArn": arn}})
    }

    fn any_key() -> Value {
        json!({"environment": {"requireCustomerKey": true}})
    }

    #[test]
    fn a_key_is_demanded_once_the_baseline_says_so() {
        for (written, expected) in [
            (json!({}), Setting::Off),
            (json!({"environment": {"secrets": {}}}), Setting::Off),
            (any_key(), Setting::Named),
            (key(KEY), Setting::Named),
            (json!({"environment": {"requireCustomerKey": false, "kmsKeyArn": KEY}}), Setting::Off),
        ] {
            assert_eq!(setting(&spec(written.clone()), CMK), expected, "{written}");
        }
        assert_eq!(setting(&spec(key(KEY)), SECRETS), Setting::Recommended);
        assert_eq!(setting(&spec(json!({"environment": {"secrets": {}}})), SECRETS), Setting::Named);
    }

    #[test]
    fn variables_are_encrypted_with_the_key_that_is_demanded() {
        let judged = |written, configuration| verdict(&spec(written), CMK, &configured(configuration));
        assert_eq!(judged(key(KEY), Configuration::default()), Verdict::Pass);
        assert_eq!(judged(any_key(), with_variables(Some(OTHER))), Verdict::Pass);
        assert_eq!(judged(key(KEY), with_variables(Some(KEY))), Verdict::Pass);
        assert_eq!(judged(key(KEY), unreadable(Some(KEY))), Verdict::Pass);
        assert_eq!(judged(any_key(), with_variables(None)), Verdict::fail("a key of the customer", "the key of AWS"));
        assert_eq!(judged(key(KEY), with_variables(Some(OTHER))), Verdict::fail(KEY, OTHER));
        assert_eq!(judged(key(KEY), unreadable(None)), Verdict::fail(KEY, "the key of AWS"));
    }

    #[test]
    fn the_key_is_set_in_its_own_region_where_nothing_is_lost() {
        let asked = |written, configuration| remedies(&spec(written), CMK, &configured(configuration));
        let change = |before: Option<&str>| PropertyChange {
            property: Property::only(PropertyName::KmsKey),
            before: before.map(|key| Json::of(&key)),
            after: Some(Json::of(&KEY)),
        };
        assert_eq!(asked(key(KEY), with_variables(None)), [Remedy::set(change(None))]);
        assert_eq!(asked(key(KEY), with_variables(Some(OTHER))), [Remedy::set(change(Some(OTHER)))]);
        let held = Withheld::WouldLose("the environment variables".to_owned());
        assert_eq!(asked(key(KEY), unreadable(None)), [Remedy::set(change(None)).held_by(held)]);
        assert_eq!(asked(key(KEY), with_variables(Some(KEY))), [Remedy::set(change(Some(KEY)))], "it stays");
        for (written, configuration) in [
            (key(KEY), Configuration::default()),
            (key(ABROAD), with_variables(None)),
            (any_key(), with_variables(None)),
        ] {
            assert_eq!(asked(written, configuration), []);
        }
    }

    #[test]
    fn lambda_at_edge_has_no_environment_variables() {
        let function = Function { edge: true, configuration: with_variables(None), ..function(NAME) };
        let inventory = inventory(vec![function]);
        for id in [CMK, SECRETS] {
            assert!(matches!(verdict(&spec(key(KEY)), id, &inventory), Verdict::NotApplicable { .. }), "{id}");
        }
        assert!(remedies(&spec(key(KEY)), CMK, &inventory).is_empty());
    }

    #[test]
    fn credentials_are_told_by_their_variable_and_never_by_their_value() {
        const PASSWORD: &str = "hunter22-correct-horse";
        const RANDOM: &str = "q7RzT2mXc9LwKp4VbN8sYd3FhJ6gA5eU";
        let variables = [("DB_PASSWORD", PASSWORD), ("BLOB", RANDOM), ("STAGE", "prod")];
        let environment = Environment {
            variables: variables.len(),
            unreadable: false,
            suspicions: suspicions(variables.into_iter()),
        };
        let inventory = configured(Configuration { environment, ..Configuration::default() });
        let judged = |secrets: Value| verdict(&spec(json!({"environment": {"secrets": secrets}})), SECRETS, &inventory);
        for secrets in [json!({}), json!({"detectors": "Entropy"})] {
            let found = judged(secrets);
            assert!(!format!("{found:?}").contains(PASSWORD) && !format!("{found:?}").contains(RANDOM), "{found:?}");
            assert_eq!(failure(found).1, "DB_PASSWORD (named-password)");
        }
        assert_eq!(failure(verdict(&spec(json!({})), SECRETS, &inventory)).1, "DB_PASSWORD (named-password)");
        assert_eq!(judged(json!({"detectors": "Certain"})), Verdict::Pass);
        assert_eq!(judged(json!({"allowNames": ["DB_.*"]})), Verdict::Pass);
        let review = judged(json!({"detectors": "Entropy", "allowNames": ["DB_.*"]}));
        assert!(matches!(&review, Verdict::Unknown { why } if !why.contains(RANDOM)), "{review:?}");
        let locked = verdict(&spec(json!({})), SECRETS, &configured(unreadable(None)));
        assert!(matches!(locked, Verdict::Unknown { .. }), "{locked:?}");
        assert!(control(SECRETS).remedy.is_none());
    }

    #[test]
    fn a_pattern_that_cannot_be_used_names_its_field() {
        let secrets = Secrets { allow_names: Some(vec!["(?=a)".to_owned()]), ..Secrets::default() };
        let environment = EnvironmentVariables { secrets: Some(secrets), ..EnvironmentVariables::default() };
        assert_eq!(Compiled::new(Some(&environment)).unwrap_err().field, "environment.secrets.allowNames");
    }
}
