//! `spec.observability`: tracing, monitoring and logs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::regional;
use super::{Compiled as Parameters, Control, LambdaView, Remedy};
use crate::controls::{About, FUNCTIONS, Setting};
use crate::facts::{LogFormat, Logging, Package, Tracing};
use crate::finding::{Severity, Verdict};
use crate::property::{Json, Property, PropertyChange, PropertyName};

/// Tracing, monitoring and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observability {
    /// Whether active tracing with AWS X-Ray is on. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xray: Option<bool>,
    /// ARNs of the Lambda Insights extension, one for each region and architecture: Enforce adds the one that fits as the
    /// last layer. An empty list only reports functions without the extension. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 80),
        inner(
            length(max = 256),
            regex(pattern = "^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+:[0-9]+$")
        )
    )]
    pub insights_layer_arns: Option<Vec<String>>,
    /// Whether functions log JSON. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_logs: Option<bool>,
    /// The least severe application log that must be kept, with jsonLogs: Trace, Debug, Info, Warn, Error or Fatal.
    /// Recommended: Info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
}

/// A level of application logs; the least severe comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What helps to find errors.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
    /// What ends the function.
    Fatal,
}

impl LogLevel {
    const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// As Lambda writes it.
    fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl Observability {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self { xray: Some(true), insights_layer_arns: None, json_logs: None, log_level: None }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    insights: Vec<String>,
    level: LogLevel,
}

impl Compiled {
    pub(super) fn new(observability: Option<&Observability>) -> Self {
        let Observability { insights_layer_arns, log_level, .. } = observability.cloned().unwrap_or_default();
        Self { insights: insights_layer_arns.unwrap_or_default(), level: log_level.unwrap_or_default() }
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "lambda-xray-active",
            title: "Active tracing is on",
            severity: Severity::Low,
            field: "observability.xray",
            default: "true",
            remedy: "switches it on (UpdateFunctionConfiguration); the execution role needs xray:PutTraceSegments and xray:PutTelemetryRecords",
            since: "0.2.0",
            sources: &[FUNCTIONS],
        },
        setting: |spec| Setting::switch(spec.observability.as_ref().and_then(|it| it.xray)),
        alike: |_, _| true,
        check: check_tracing,
        remedy: Some(trace),
    },
    Control {
        about: About {
            id: "lambda-insights-enabled",
            title: "Enhanced monitoring (Lambda Insights) is on",
            severity: Severity::Low,
            field: "observability.insightsLayerArns",
            default: "Off",
            remedy: "adds the extension that fits region and architecture as the last layer (UpdateFunctionConfiguration); report only without one",
            since: "0.2.0",
            sources: &[FUNCTIONS],
        },
        setting: |spec| Setting::optional(spec.observability.as_ref().and_then(|it| it.insights_layer_arns.as_ref())),
        alike: |one, other| one.observability.insights == other.observability.insights,
        check: check_insights,
        remedy: Some(add_insights),
    },
    Control {
        about: About {
            id: "lambda-log-format-json",
            title: "Functions emit structured logs to their log group",
            severity: Severity::Low,
            field: "observability.jsonLogs",
            default: "Off",
            remedy: "sets the format, and the level where it keeps too little (UpdateFunctionConfiguration)",
            since: "0.2.0",
            sources: &[FUNCTIONS],
        },
        setting: |spec| match spec.observability.as_ref().and_then(|it| it.json_logs) {
            Some(true) => Setting::Named,
            Some(false) | None => Setting::Off,
        },
        alike: |one, other| one.observability.level == other.observability.level,
        check: check_logs,
        remedy: Some(log_json),
    },
];

fn check_tracing(_: &Parameters, view: &LambdaView<'_>) -> Verdict {
    match regional(view).map(|view| view.configuration().tracing) {
        Err(verdict) => verdict,
        Ok(Tracing::Active) => Verdict::Pass,
        Ok(Tracing::PassThrough) => Verdict::fail("active tracing", "PassThrough"),
    }
}

fn trace(_: &Parameters, _: &LambdaView<'_>) -> Vec<Remedy> {
    vec![Remedy::set(PropertyChange {
        property: Property::only(PropertyName::Tracing),
        before: Some(Json::of(&Tracing::PassThrough)),
        after: Some(Json::of(&Tracing::Active)),
    })]
}

const INSIGHTS: &str = ":layer:LambdaInsightsExtension";

fn check_insights(_: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let configuration = match regional(view) {
        Err(verdict) => return verdict,
        Ok(view) => view.configuration(),
    };
    if configuration.package == Package::Image {
        return Verdict::unknown("the extension of a container image is inside of the image");
    }
    if configuration.layers.iter().any(|layer| layer.contains(INSIGHTS)) {
        return Verdict::Pass;
    }
    Verdict::fail("the Lambda Insights extension among the layers", format!("{} layers", configuration.layers.len()))
}

/// A function takes so many layers (Lambda quotas).
const MOST_LAYERS: usize = 5;

fn add_insights(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Some(view) = view.function() else { return Vec::new() };
    let configuration = view.configuration();
    let region = &view.location().region;
    // The extension for arm64 is a layer of its own, as its name says (CloudWatch user guide).
    let fits = |arn: &&String| {
        arn.split(':').nth(3) == Some(region) && arn.contains("-Arm64") == configuration.arm && arn.contains(INSIGHTS)
    };
    let fitting = parameters.observability.insights.iter().find(fits);
    let Some(layer) = fitting.filter(|_| configuration.layers.len() < MOST_LAYERS) else { return Vec::new() };
    let mut layers = configuration.layers.clone();
    layers.push(layer.clone());
    vec![Remedy::set(PropertyChange {
        property: Property::only(PropertyName::Layers),
        before: Some(Json::of(&configuration.layers)),
        after: Some(Json::of(&layers)),
    })]
}

fn check_logs(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let configuration = match regional(view) {
        Err(verdict) => return verdict,
        Ok(view) => view.configuration(),
    };
    if configuration.package == Package::Image {
        return Verdict::not_applicable("container images log as they are built");
    }
    let level = parameters.observability.level;
    let expected = format!("JSON logs at {} or below", level.name());
    match &configuration.logging {
        Logging { format: LogFormat::Text, .. } => Verdict::fail(expected, "text"),
        Logging { application_level: Some(found), .. } if !keeps(found, level) => {
            Verdict::fail(expected, format!("JSON at {found}"))
        }
        Logging { .. } => Verdict::Pass,
    }
}

/// Whether a level keeps what the wanted one keeps. One that is not known keeps nothing.
fn keeps(found: &str, wanted: LogLevel) -> bool {
    LogLevel::of(found).is_some_and(|found| found <= wanted)
}

fn log_json(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Some(view) = view.function() else { return Vec::new() };
    let before = &view.configuration().logging;
    let level = parameters.observability.level;
    let kept = before.application_level.clone().filter(|found| keeps(found, level));
    let application_level = Some(kept.unwrap_or_else(|| level.name().to_owned()));
    // Lambda would add it by itself, and nothing is to change that the edit does not name.
    let system_level = Some(before.system_level.clone().unwrap_or_else(|| LogLevel::Info.name().to_owned()));
    let group = before.group.clone();
    let after = Logging { format: LogFormat::Json, application_level, system_level, group };
    if *before == after {
        return Vec::new();
    }
    vec![Remedy::set(PropertyChange {
        property: Property::only(PropertyName::Logging),
        before: Some(Json::of(before)),
        after: Some(Json::of(&after)),
    })]
}
