//! `spec.runtime`: runtimes, and how they are patched.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::unread;
use super::{Compiled as Parameters, Control, FunctionView, LambdaView, Remedy};
use crate::controls::{About, FUNCTIONS, InvalidParameter, RUNTIME_MANAGEMENT, Setting};
use crate::facts::{Package, RuntimeManagement, UpdateOn};
use crate::finding::{Severity, Verdict};
use crate::property::{Json, Property, PropertyChange, PropertyName};
use crate::runtimes::{Support, update_blocked};

/// Runtimes of functions in zip packages, and how AWS patches them. Whoever builds a container image patches it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// Whether a runtime must still get security patches from AWS. Enforce changes what upgrades names. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_deprecated: Option<bool>,
    /// From how many days ahead of its deprecation on a runtime passes with a note that says so. Recommended: 90.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 365))]
    pub warn_days: Option<i32>,
    /// What Enforce makes of deprecated runtimes, such as {from: nodejs20.x, to: nodejs24.x}. Test the code with the new one
    /// before: it may break. A runtime that is not named here, or whose successor is deprecated too, is only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["from"]))]
    pub upgrades: Option<Vec<Upgrade>>,
    /// When AWS applies patches: Auto (as soon as there is one) or FunctionUpdate (with the next change of the function).
    /// Enforce sets it, which ends the pinning of a function to one version of its runtime. Left out: both pass.
    /// Recommended: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patching: Option<Patching>,
}

/// The runtime that takes the place of a deprecated one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.from != self.to",
    "message": "an upgrade goes from one runtime to another"
}]))]
pub struct Upgrade {
    /// The runtime that functions have, such as nodejs20.x.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z0-9.-]+$"))]
    pub from: String,
    /// The runtime that these functions get, such as nodejs24.x.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z0-9.-]+$"))]
    pub to: String,
}

/// When AWS applies patches to the runtime of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Patching {
    /// As soon as there is one.
    Auto,
    /// With the next change of the function.
    FunctionUpdate,
}

impl Patching {
    fn update_on(self) -> UpdateOn {
        match self {
            Self::Auto => UpdateOn::Auto,
            Self::FunctionUpdate => UpdateOn::FunctionUpdate,
        }
    }
}

const WARN_DAYS: i32 = 90;

impl Runtime {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self { deny_deprecated: Some(true), warn_days: Some(WARN_DAYS), upgrades: None, patching: Some(Patching::Auto) }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    warn_days: i32,
    upgrades: BTreeMap<String, String>,
    patching: Option<Patching>,
}

impl Compiled {
    pub(super) fn new(runtime: Option<&Runtime>) -> Result<Self, InvalidParameter> {
        let Runtime { deny_deprecated: _, warn_days, upgrades: written, patching } =
            runtime.cloned().unwrap_or_default();
        let refuse = |from: &str, problem: &str| {
            InvalidParameter::new("runtime.upgrades", format!("the upgrade from {from:?} {problem}"))
        };
        let mut upgrades = BTreeMap::new();
        for Upgrade { from, to } in written.unwrap_or_default() {
            if from == to {
                return Err(refuse(&from, "goes to the same runtime"));
            }
            if upgrades.contains_key(&from) {
                return Err(refuse(&from, "is written twice"));
            }
            upgrades.insert(from, to);
        }
        Ok(Self { warn_days: warn_days.unwrap_or(WARN_DAYS), upgrades, patching })
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "lambda-supported-runtime",
            title: "Functions use a runtime that still gets security patches",
            severity: Severity::High,
            field: "runtime.denyDeprecated, runtime.warnDays, runtime.upgrades",
            default: "true, 90 days ahead",
            remedy: "sets the runtime that upgrades names (UpdateFunctionConfiguration); report only without it, as the code may break",
            since: "0.2.0",
            sources: &[FUNCTIONS],
        },
        setting: |spec| match &spec.runtime {
            Some(Runtime { deny_deprecated: Some(false), .. }) => Setting::Off,
            Some(Runtime { deny_deprecated: None, warn_days: None, upgrades: None, .. }) | None => Setting::Recommended,
            Some(_) => Setting::Named,
        },
        alike: |one, other| {
            (one.runtime.warn_days, &one.runtime.upgrades) == (other.runtime.warn_days, &other.runtime.upgrades)
        },
        check: check_support,
        remedy: Some(upgrade),
    },
    Control {
        about: About {
            id: "lambda-runtime-auto-update",
            title: "Runtime patches are applied automatically",
            severity: Severity::Medium,
            field: "runtime.patching",
            default: "Auto or FunctionUpdate",
            remedy: "sets it (PutRuntimeManagementConfig)",
            since: "0.2.0",
            sources: &[FUNCTIONS, RUNTIME_MANAGEMENT],
        },
        setting: |spec| Setting::recommended(spec.runtime.as_ref().and_then(|runtime| runtime.patching.as_ref())),
        alike: |one, other| one.runtime.patching == other.runtime.patching,
        check: check_patching,
        remedy: Some(patch),
    },
];

/// The function and its runtime, if AWS manages one for it.
fn managed<'v, 'a>(view: &'v LambdaView<'a>) -> Result<(&'v FunctionView<'a>, &'a str), Verdict> {
    let Some(view) = view.function() else { return Err(Verdict::not_applicable("not a function")) };
    let configuration = view.configuration();
    match &configuration.runtime {
        _ if configuration.package == Package::Image => {
            Err(Verdict::not_applicable("a container image brings its own runtime"))
        }
        _ if configuration.customer_runtime => Err(Verdict::unknown("the customer manages the runtime")),
        None => Err(Verdict::unknown("AWS shows no runtime of the function")),
        Some(runtime) => Ok((view, runtime)),
    }
}

fn check_support(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let (view, runtime) = match managed(view) {
        Err(verdict) => return verdict,
        Ok(found) => found,
    };
    match Support::of(runtime, view.today(), parameters.runtime.warn_days) {
        Support::Supported => Verdict::Pass,
        Support::DeprecatedSoon { on, .. } => Verdict::pass_with_note(format!("{runtime} is deprecated from {on} on")),
        Support::NoDates => Verdict::unknown(format!("AWS has published no dates for {runtime}")),
        Support::UnknownIdentifier => {
            Verdict::unknown(format!("the runtime {runtime:?} is unknown to this version of Baseward"))
        }
        Support::Deprecated { since } => {
            let blocked = update_blocked(runtime, view.today()).map(|since| format!(", updates blocked since {since}"));
            let actual = format!("{runtime}, deprecated since {since}{}", blocked.unwrap_or_default());
            Verdict::fail("a runtime that gets security patches", actual)
        }
    }
}

/// A deprecated runtime becomes the one that the baseline names, unless that is deprecated too: a change that mends
/// nothing is not worth its risk. Whether AWS still takes the update is left to AWS, which keeps moving those dates.
fn upgrade(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Ok((view, runtime)) = managed(view) else { return Vec::new() };
    let deprecated = |runtime: &str| {
        let support = Support::of(runtime, view.today(), parameters.runtime.warn_days);
        matches!(support, Support::Deprecated { .. })
    };
    let successor = parameters.runtime.upgrades.get(runtime).filter(|to| deprecated(runtime) && !deprecated(to));
    let remedy = |to: &String| {
        let change = PropertyChange {
            property: Property::only(PropertyName::Runtime),
            before: Some(Json::of(&runtime)),
            after: Some(Json::of(to)),
        };
        Remedy::set(change)
    };
    successor.map(remedy).into_iter().collect()
}

/// The function with how its runtime is managed, and whether that is as demanded.
fn management<'v, 'a>(
    parameters: &Parameters,
    view: &'v LambdaView<'a>,
) -> Result<(&'v FunctionView<'a>, &'a RuntimeManagement, bool), Verdict> {
    let view = match managed(view) {
        Ok((view, _)) => view,
        Err(Verdict::Unknown { .. }) => return Err(Verdict::not_applicable("AWS manages no runtime for it")),
        Err(verdict) => return Err(verdict),
    };
    let found = view.lambda().runtime_management.of(&view.function.name, view.now());
    let found = found.map_err(|failure| unread("its runtime management", failure))?;
    let fits = match parameters.runtime.patching {
        Some(wanted) => found.update_on == wanted.update_on(),
        None => found.update_on != UpdateOn::Manual,
    };
    Ok((view, found, fits))
}

fn check_patching(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let expected = match parameters.runtime.patching {
        Some(Patching::Auto) => "Auto",
        Some(Patching::FunctionUpdate) => "FunctionUpdate",
        None => "Auto or FunctionUpdate",
    };
    match management(parameters, view) {
        Err(verdict) => verdict,
        Ok((_, _, true)) => Verdict::Pass,
        Ok((_, found, false)) => Verdict::fail(
            expected,
            match found.update_on {
                UpdateOn::Auto => "Auto",
                UpdateOn::FunctionUpdate => "FunctionUpdate",
                UpdateOn::Manual => "Manual: the function is pinned to one version of its runtime",
            },
        ),
    }
}

/// Sets what the baseline demands; where that is so already, it stays so.
fn patch(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Ok((_, before, fits)) = management(parameters, view) else { return Vec::new() };
    if fits && parameters.runtime.patching.is_none() {
        return Vec::new();
    }
    let wanted = parameters.runtime.patching.unwrap_or(Patching::Auto);
    let after = RuntimeManagement { update_on: wanted.update_on(), version_arn: None };
    let change = PropertyChange {
        property: Property::only(PropertyName::RuntimeManagement),
        before: Some(Json::of(before)),
        after: Some(Json::of(&after)),
    };
    vec![Remedy::set(change)]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixtures::{configured, failure, gathered, remedies, setting, spec, verdict};
    use super::*;
    use crate::facts::{Configuration, Inventory, ReadFailure};

    const SUPPORTED: &str = "lambda-supported-runtime";
    const PATCHED: &str = "lambda-runtime-auto-update";

    fn zip(runtime: &str) -> Configuration {
        Configuration { runtime: Some(runtime.to_owned()), ..Configuration::default() }
    }

    fn image() -> Configuration {
        Configuration { package: Package::Image, ..Configuration::default() }
    }

    fn of_customer() -> Configuration {
        Configuration { customer_runtime: true, ..zip("nodejs24.x") }
    }

    fn upgrades(pairs: &[(&str, &str)]) -> Value {
        let pairs: Vec<Value> = pairs.iter().map(|(from, to)| json!({"from": from, "to": to})).collect();
        json!({"runtime": {"upgrades": pairs}})
    }

    #[test]
    fn writing_any_field_of_it_names_the_control() {
        for (written, expected) in [
            (json!({}), Setting::Recommended),
            (json!({"runtime": {"patching": "Auto"}}), Setting::Recommended),
            (json!({"runtime": {"denyDeprecated": true}}), Setting::Named),
            (json!({"runtime": {"warnDays": 10}}), Setting::Named),
            (upgrades(&[("nodejs20.x", "nodejs24.x")]), Setting::Named),
            (json!({"runtime": {"denyDeprecated": false, "warnDays": 10}}), Setting::Off),
        ] {
            assert_eq!(setting(&spec(written.clone()), SUPPORTED), expected, "{written}");
        }
        assert_eq!(setting(&spec(json!({"runtime": {"warnDays": 10}})), PATCHED), Setting::Recommended);
        assert_eq!(setting(&spec(json!({"runtime": {"patching": "FunctionUpdate"}})), PATCHED), Setting::Named);
    }

    #[test]
    fn an_upgrade_leads_from_each_runtime_to_one_other() {
        let problem = |written: Value| {
            let runtime: Runtime = serde_json::from_value(written["runtime"].clone()).unwrap();
            Compiled::new(Some(&runtime)).unwrap_err().to_string()
        };
        assert!(problem(upgrades(&[("go1.x", "go1.x")])).contains("\"go1.x\" goes to the same runtime"));
        assert!(problem(upgrades(&[("java8", "java21"), ("java8", "java25")])).contains("\"java8\" is written twice"));
    }

    #[test]
    fn a_runtime_is_judged_by_the_day_of_its_deprecation() {
        let judged = |configuration, days: i32| {
            verdict(&spec(json!({"runtime": {"warnDays": days}})), SUPPORTED, &configured(configuration))
        };
        assert_eq!(judged(zip("nodejs24.x"), 90), Verdict::Pass);
        assert_eq!(judged(zip("ruby3.3"), 90), Verdict::Pass);
        let note = Verdict::pass_with_note("ruby3.3 is deprecated from 2027-03-31 on");
        assert_eq!(judged(zip("ruby3.3"), 365), note);
        let (expected, actual) = failure(judged(zip("python3.10"), 90));
        assert_eq!(expected, "a runtime that gets security patches");
        assert_eq!(actual, "python3.10, deprecated since 2026-10-31");
        let (_, actual) = failure(judged(zip("nodejs12.x"), 0));
        assert_eq!(actual, "nodejs12.x, deprecated since 2023-03-31, updates blocked since 2023-04-30");
        assert!(matches!(judged(image(), 90), Verdict::NotApplicable { .. }));
        for unknown in [of_customer(), zip("nodejs26.x"), zip("rust1"), Configuration::default()] {
            assert!(matches!(judged(unknown.clone(), 90), Verdict::Unknown { .. }), "{unknown:?}");
        }
    }

    #[test]
    fn a_deprecated_runtime_becomes_the_one_that_the_baseline_names() {
        let written = || upgrades(&[("python3.9", "python3.14"), ("java21", "java25"), ("java8", "java11.al2023")]);
        let asked = |runtime: &str| remedies(&spec(written()), SUPPORTED, &configured(zip(runtime)));
        let change = PropertyChange {
            property: Property::only(PropertyName::Runtime),
            before: Some(Json::of(&"python3.9")),
            after: Some(Json::of(&"python3.14")),
        };
        assert_eq!(asked("python3.9"), [Remedy::set(change)]);
        // Newer than the table: the user knows.
        assert_eq!(asked("java8").len(), 1);
        assert!(asked("java21").is_empty(), "it is not deprecated");
        assert!(asked("python3.8").is_empty(), "no upgrade is named");
        assert!(remedies(&spec(json!({})), SUPPORTED, &configured(zip("python3.9"))).is_empty());
        let pointless = upgrades(&[("python3.8", "python3.9")]);
        assert!(remedies(&spec(pointless), SUPPORTED, &configured(zip("python3.8"))).is_empty());
        for other in [image(), of_customer()] {
            assert!(remedies(&spec(written()), SUPPORTED, &configured(other)).is_empty());
        }
    }

    fn with_management(configuration: Configuration, read: Result<RuntimeManagement, ReadFailure>) -> Inventory {
        let mut inventory = configured(configuration);
        inventory.lambda.runtime_management = gathered(read);
        inventory
    }

    fn managed_on(update_on: UpdateOn) -> Result<RuntimeManagement, ReadFailure> {
        Ok(RuntimeManagement { update_on, version_arn: None })
    }

    fn pinned() -> RuntimeManagement {
        let arn = "arn:aws:lambda:eu-west-1::runtime:07a48df201798d627f2b950f03bb227aab4a655a1d019c3296406f95937e2525";
        RuntimeManagement { update_on: UpdateOn::Manual, version_arn: Some(arn.to_owned()) }
    }

    #[test]
    fn patches_are_automatic_unless_a_function_is_pinned() {
        let judged = |read, written| verdict(&spec(written), PATCHED, &with_management(zip("nodejs24.x"), read));
        let named = |patching: &str| json!({"runtime": {"patching": patching}});
        assert_eq!(judged(managed_on(UpdateOn::Auto), json!({})), Verdict::Pass);
        assert_eq!(judged(managed_on(UpdateOn::FunctionUpdate), json!({})), Verdict::Pass);
        let (expected, actual) = failure(judged(Ok(pinned()), json!({})));
        assert_eq!(expected, "Auto or FunctionUpdate");
        assert!(actual.starts_with("Manual"), "{actual}");
        assert_eq!(judged(managed_on(UpdateOn::Auto), named("Auto")), Verdict::Pass);
        let (expected, actual) = failure(judged(managed_on(UpdateOn::FunctionUpdate), named("Auto")));
        assert_eq!((expected.as_str(), actual.as_str()), ("Auto", "FunctionUpdate"));
        let (expected, actual) = failure(judged(managed_on(UpdateOn::Auto), named("FunctionUpdate")));
        assert_eq!((expected.as_str(), actual.as_str()), ("FunctionUpdate", "Auto"));
        assert!(matches!(judged(Err(ReadFailure::NotReadYet), json!({})), Verdict::Unknown { .. }));
        for other in [image(), of_customer()] {
            let verdict = verdict(&spec(json!({})), PATCHED, &with_management(other, Ok(pinned())));
            assert!(matches!(verdict, Verdict::NotApplicable { .. }), "{verdict:?}");
        }
    }

    #[test]
    fn a_pinned_runtime_is_let_loose_and_the_pin_is_kept_for_an_undo() {
        let asked = |read, written| remedies(&spec(written), PATCHED, &with_management(zip("nodejs24.x"), read));
        let change = |to| PropertyChange {
            property: Property::only(PropertyName::RuntimeManagement),
            before: Some(Json::of(&pinned())),
            after: Some(Json::of(&managed_on(to).unwrap())),
        };
        assert_eq!(asked(Ok(pinned()), json!({})), [Remedy::set(change(UpdateOn::Auto))]);
        let written = json!({"runtime": {"patching": "FunctionUpdate"}});
        assert_eq!(asked(Ok(pinned()), written), [Remedy::set(change(UpdateOn::FunctionUpdate))]);
        assert!(asked(managed_on(UpdateOn::FunctionUpdate), json!({})).is_empty());
        let stays = asked(managed_on(UpdateOn::Auto), json!({"runtime": {"patching": "Auto"}}));
        assert_eq!(stays[0].changes[0].before, stays[0].changes[0].after);
        assert!(asked(Err(ReadFailure::AccessDenied), json!({})).is_empty());
    }
}
