//! The catalogue: what every control is, whatever it looks at.
//!
//! A folder per kind of baseline, a file per topic of its spec. Each file has the same shape:
//! parameters (the struct is that part of the CRD schema), checks, remedies, tests.

mod catalogue;
pub mod lambda;
pub mod security_group;
pub mod tags;

use std::fmt::{self, Display};

use regex::{Regex, RegexBuilder};
use serde::Serialize;

pub use catalogue::{Catalogue, Compiled, Control, Listed, Parameters, listed, oldest, read_at, resources};

use crate::finding::Severity;

/// What a person wants to know of a control before switching it on.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The id by which overrides, findings and metrics name the control. It never changes.
    pub id: &'static str,
    /// What a resource that passes is like.
    pub title: &'static str,
    /// How bad a failure is, unless an override says otherwise.
    pub severity: Severity,
    /// The field of the spec that the control belongs to: writing it makes the control enforceable.
    pub field: &'static str,
    /// What it is judged by while the field is left out; `Off` means that it is not judged at all.
    pub default: &'static str,
    /// What `Enforce` does about a failure.
    pub remedy: &'static str,
    /// The version of Baseward that brought the control.
    pub since: &'static str,
    /// The sources that the check reads, as `service/thing`. The first is where its resources come from.
    pub sources: &'static [&'static str],
}

/// `ec2/security_groups`: DescribeSecurityGroups.
pub const SECURITY_GROUPS: &str = "ec2/security_groups";
/// `ec2/network_interfaces`: DescribeNetworkInterfaces.
pub const NETWORK_INTERFACES: &str = "ec2/network_interfaces";
/// `ec2/prefix_lists`: DescribeManagedPrefixLists and GetManagedPrefixListEntries.
pub const PREFIX_LISTS: &str = "ec2/prefix_lists";

/// `ec2/subnets`: DescribeSubnets, DescribeRouteTables and DescribeNatGateways.
pub const SUBNETS: &str = "ec2/subnets";
/// `cloudfront/distributions`: ListDistributions, where the originals of Lambda@Edge are.
pub const DISTRIBUTIONS: &str = "cloudfront/distributions";
/// `lambda/functions`: ListFunctions, and GetResources of the tagging API.
pub const FUNCTIONS: &str = "lambda/functions";
/// `lambda/layers`: ListLayers and ListLayerVersions.
pub const LAYERS: &str = "lambda/layers";
/// `lambda/layer_policies`: GetLayerVersionPolicy, version by version.
pub const LAYER_POLICIES: &str = "lambda/layer_policies";
/// `lambda/account_settings`: GetAccountSettings.
pub const ACCOUNT_SETTINGS: &str = "lambda/account_settings";
/// `lambda/code_signing_configs`: ListCodeSigningConfigs.
pub const CODE_SIGNING_CONFIGS: &str = "lambda/code_signing_configs";
/// `lambda/aliases`: ListAliases, function by function.
pub const ALIASES: &str = "lambda/aliases";
/// `lambda/policies`: GetPolicy, function by function and alias by alias.
pub const POLICIES: &str = "lambda/policies";
/// `lambda/urls`: ListFunctionUrlConfigs, function by function.
pub const URLS: &str = "lambda/urls";
/// `lambda/concurrency`: GetFunctionConcurrency, function by function.
pub const CONCURRENCY: &str = "lambda/concurrency";
/// `lambda/code_signing`: GetFunctionCodeSigningConfig, function by function.
pub const CODE_SIGNING: &str = "lambda/code_signing";
/// `lambda/recursion`: GetFunctionRecursionConfig, function by function.
pub const RECURSION: &str = "lambda/recursion";
/// `lambda/runtime_management`: GetRuntimeManagementConfig, function by function.
pub const RUNTIME_MANAGEMENT: &str = "lambda/runtime_management";
/// `lambda/event_invoke`: ListFunctionEventInvokeConfigs, function by function.
pub const EVENT_INVOKE: &str = "lambda/event_invoke";
/// `lambda/versions`: ListVersionsByFunction, function by function.
pub const VERSIONS: &str = "lambda/versions";

/// Whether a baseline uses a control, and on whose word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Not judged: off by default and left out, or switched off.
    Off,
    /// Judged by its recommended default, reported, never enforced: the baseline does not write its field.
    Recommended,
    /// The baseline writes its field.
    Named,
}

impl Setting {
    /// On by default; named once the field is written.
    pub fn recommended<T>(field: Option<&T>) -> Self {
        if field.is_some() { Self::Named } else { Self::Recommended }
    }

    /// Off by default; on and named once the field is written.
    pub fn optional<T>(field: Option<&T>) -> Self {
        if field.is_some() { Self::Named } else { Self::Off }
    }

    /// On by default; a written `false` switches it off.
    pub fn switch(field: Option<bool>) -> Self {
        match field {
            None => Self::Recommended,
            Some(true) => Self::Named,
            Some(false) => Self::Off,
        }
    }
}

/// A value in a spec that passes the schema and still cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {problem}")]
pub struct InvalidParameter {
    /// Where, as a path below `spec`.
    pub field: String,
    /// What is wrong and how to mend it.
    pub problem: String,
}

impl InvalidParameter {
    /// From a path below `spec` and a sentence.
    pub fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }
}

/// Compiled patterns must stay small: a spec may hold many of them.
pub(crate) const PATTERN_SIZE_LIMIT: usize = 256 * 1024;

/// A regular expression that is compared by its text.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Pattern {
    /// `field` is where it stands below `spec`.
    pub(crate) fn new(field: &str, text: &str) -> Result<Self, InvalidParameter> {
        let compiled = RegexBuilder::new(text).size_limit(PATTERN_SIZE_LIMIT).build();
        compiled.map(Self).map_err(|_| {
            let problem = format!("{text:?} is no regular expression without look-around, or too large a one");
            InvalidParameter::new(field, problem)
        })
    }

    /// Whether a text matches.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names at most three things and counts the rest, so that a sentence stays short.
pub(crate) fn named<T: Display>(mut things: impl Iterator<Item = T>) -> String {
    const NAMED: usize = 3;
    let named: Vec<String> = things.by_ref().take(NAMED).map(|thing| thing.to_string()).collect();
    let text = named.join("; ");
    match things.count() {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}
