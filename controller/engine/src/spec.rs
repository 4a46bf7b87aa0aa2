//! The fields that every kind of baseline and the accounts share, as users write them.
//!
//! The structs are the schema of the custom resources; nothing here is specific to one AWS service.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Severity;
use crate::schema;

/// How far a baseline goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Look and report. Nothing is ever written.
    #[default]
    Audit,
    /// Write down what would be put right, and do it once a person approves.
    Propose,
    /// Put right what the baseline names.
    Enforce,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How far one control of a baseline goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OverrideMode {
    /// Report, whatever the baseline's mode.
    Audit,
    /// Put right once a person approves, whatever the baseline's mode.
    Propose,
    /// Put right, whatever the baseline's mode.
    Enforce,
    /// Do not judge at all.
    Off,
}

/// Another mode or severity for one control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.mode) || has(self.severity)",
    "message": "an override sets mode, severity or both"
}]))]
pub struct Override {
    /// Id of the control, such as sg-rule-described or lambda-xray-active. The command baseward controls says what each of them demands.
    #[schemars(length(min = 3, max = 63), regex(pattern = "^[a-z0-9-]+$"))]
    pub control: String,
    /// How far this control goes, whatever the mode of the baseline: Audit (report), Propose (put right
    /// once a person approves), Enforce (put right) or Off (do not judge at all; in quotes, as YAML reads Off as false).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<OverrideMode>,
    /// How bad a violation of this control is, instead of what the control says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// Globs by which resources are found. Different lists must all match; entries of one list are alternatives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Tags that the resource must all have; values are globs such as edge*.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    pub tags: BTreeMap<String, String>,
    /// Globs on the name of the resource, such as web-*.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 255)))]
    pub names: Vec<String>,
    /// Globs on the ARN of the resource, such as *:security-group/sg-0f12* or *:function:payments-*.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 512)))]
    pub arns: Vec<String>,
    /// Globs on the id of the VPC that the resource is in, such as vpc-0a1b2c3d.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 64)))]
    pub vpc_ids: Vec<String>,
}

impl Match {
    /// Whether nothing is written, so that everything would match.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The resources of an exemption.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.tags) && self.tags.size() > 0) || (has(self.names) && self.names.size() > 0) || (has(self.arns) && self.arns.size() > 0) || (has(self.vpcIds) && self.vpcIds.size() > 0)",
    "message": "resources takes at least one of tags, names, arns, vpcIds"
}]))]
pub struct ExemptResources {
    /// Globs by which they are found.
    #[serde(flatten)]
    pub matches: Match,
    /// Names of the AWSAccount objects that they are in. Left out: any account that the baselines of the namespace may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub accounts: Vec<String>,
}

/// Which resources are meant: all, or those that match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.all) && self.all) != ((has(self.tags) && self.tags.size() > 0) || (has(self.names) && self.names.size() > 0) || (has(self.arns) && self.arns.size() > 0) || (has(self.vpcIds) && self.vpcIds.size() > 0))",
    "message": "select takes either all: true or at least one of tags, names, arns, vpcIds"
}]))]
pub struct Select {
    /// true: every resource of the account and region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Tags that the resource must all have; values are globs such as edge*.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    pub tags: BTreeMap<String, String>,
    /// Globs on the name of the resource, such as web-*.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 255)))]
    pub names: Vec<String>,
    /// Globs on the ARN of the resource, such as *:security-group/sg-0f12* or *:function:payments-*.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 512)))]
    pub arns: Vec<String>,
    /// Globs on the id of the VPC that the resource is in, such as vpc-0a1b2c3d. For security groups: where one
    /// matches, the default group of the VPC is in scope as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 64)))]
    pub vpc_ids: Vec<String>,
    /// Resources that are left out although they are selected: those that match each of the fields that are written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Match>,
}

/// Which accounts a baseline is for, by the names and labels of AWSAccount objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.names) && self.names.size() > 0) || (has(self.matchLabels) && self.matchLabels.size() > 0)",
    "message": "accounts names AWSAccount objects (names) or selects them by label (matchLabels)"
}]))]
pub struct Accounts {
    /// Names of AWSAccount objects. Each must exist and grant this namespace access.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub names: Vec<String>,
    /// Labels of AWSAccount objects, all of which must match. Accounts that grant this namespace nothing are
    /// left out and counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
}

/// Whether resources that infrastructure as code owns are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CodeMode {
    /// They are reported and never written.
    #[default]
    Audit,
    /// They are written like others.
    Enforce,
}

/// What happens to resources that infrastructure as code owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InfrastructureAsCode {
    /// Audit: they are reported and never written, as the template has to be mended. Enforce: they are written like others.
    #[serde(default)]
    pub mode: CodeMode,
    /// Tags, beside CloudFormation's own, that mark a resource as owned by infrastructure as code; values are globs.
    /// Left out: ManagedBy and managed-by with a value that names Terraform, OpenTofu, Pulumi or CloudFormation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 20, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    pub tags: Option<BTreeMap<String, String>>,
}

/// What one namespace may do in an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.name) != has(self.selector)",
    "message": "a grant names one namespace (name) or selects namespaces by label (selector)"
}]))]
pub struct NamespaceGrant {
    /// Name of the namespace. Either name or selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// Namespaces by their labels. Either name or selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
    /// The furthest that baselines and overrides of the namespace may go: Audit, Propose or Enforce.
    pub max_mode: Mode,
    /// Only these resources exist for the namespace; written as the select of a baseline. Left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// Rules that baselines of the namespace may require to be added. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_add_rules: Option<MayAddRules>,
}

/// Namespaces by their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that a namespace must all have.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 20, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
}

/// The most that required rules may open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.cidrs.all(c, isCIDR(c) && c.matches('/(0|[1-9][0-9]*)$'))",
        "message": "mayAddRules.cidrs holds valid CIDRs, for example 10.0.0.0/8"
    }
]))]
pub struct MayAddRules {
    /// Networks such as 10.0.0.0/8. The other end of a required rule is a network inside one of them; prefix lists and
    /// security groups are never added.
    #[schemars(length(min = 1, max = 50), inner(length(max = 43)))]
    pub cidrs: Vec<String>,
    /// Ports such as tcp/443 or udp/6000-6010. The ports of a required rule are inside one entry.
    #[schemars(length(min = 1, max = 50), transform = schema::ports)]
    pub ports: Vec<String>,
}
