//! Facts of Lambda: functions with what is read of each, layer versions, and the settings of the account.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gathered, Source, Tags};
use crate::property::{Json, Property};
use crate::secrets::Suspicion;

/// The one region whose functions CloudFront takes ("Restrictions on Lambda@Edge", CloudFront developer guide).
pub const EDGE_REGION: &str = "us-east-1";

/// A function as ListFunctions shows its `$LATEST`, with its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, unique in an account and region.
    pub name: String,
    /// The account that owns it.
    pub account: String,
    /// Its tags.
    pub tags: Tags,
    /// Whether Lambda@Edge is at work: it is a replica (`MasterArn`), or a distribution calls it.
    pub edge: bool,
    /// The revision of its configuration: it moves with each change of it.
    pub revision: String,
    /// What can be configured.
    pub configuration: Configuration,
}

/// What can be configured of a function, and stays as it is in a published version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Zip file or container image.
    pub package: Package,
    /// Identifier of the runtime; container images have none.
    pub runtime: Option<String>,
    /// Whether the customer manages the runtime (`RuntimeConfig`).
    pub customer_runtime: bool,
    /// ARN of the execution role.
    pub role: String,
    /// ARN of the customer key that the environment variables are encrypted with.
    pub kms_key: Option<String>,
    /// What is known of the environment variables.
    pub environment: Environment,
    /// Whether requests are traced.
    pub tracing: Tracing,
    /// Whether it runs on arm64, not on x86_64.
    pub arm: bool,
    /// ARNs of the layer versions, in order.
    pub layers: Vec<String>,
    /// The VPC, if it is in one.
    pub vpc: Option<Vpc>,
    /// ARN of the queue or topic that takes failed asynchronous events.
    pub dead_letter: Option<String>,
    /// How it logs.
    pub logging: Logging,
    /// Longest run, in seconds.
    pub timeout: i32,
    /// Memory, in MiB.
    pub memory: i32,
    /// Ephemeral storage, in MiB.
    pub storage: i32,
}

/// What a function is deployed as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Package {
    /// A zip file: AWS patches its runtime.
    #[default]
    Zip,
    /// A container image: whoever builds it patches it.
    Image,
}

/// What is known of environment variables. Their values are dropped as soon as they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// How many variables there are.
    pub variables: usize,
    /// Whether they could not be decrypted (`Environment.Error`).
    pub unreadable: bool,
    /// Variables that look like credentials, by name.
    pub suspicions: Vec<Suspicion>,
}

/// Whether requests are traced (`TracingConfig.Mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tracing {
    /// Only those that come with a decision to be sampled.
    #[default]
    PassThrough,
    /// All that Lambda samples.
    Active,
}

/// The part of a VPC that a function reaches (`VpcConfig`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vpc {
    /// `vpc-…`; not a part of what is set.
    #[serde(skip)]
    pub id: String,
    /// `subnet-…`, sorted.
    pub subnets: Vec<String>,
    /// `sg-…`, sorted.
    pub security_groups: Vec<String>,
    /// Whether it may reach IPv6 through subnets with both families (`Ipv6AllowedForDualStack`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6: bool,
}

/// How a function logs (`LoggingConfig`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// Text or JSON.
    pub format: LogFormat,
    /// The least severe application log that is kept, with JSON: TRACE to FATAL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_level: Option<String>,
    /// The least severe system log that is kept, with JSON: DEBUG, INFO or WARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_level: Option<String>,
    /// The log group that it logs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Lines of text.
    #[default]
    Text,
    /// A JSON object each.
    #[serde(rename = "JSON")]
    Json,
}

/// The resource policy of a function, or of one of its aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualifiedPolicy {
    /// Name of the alias; empty for the function itself.
    pub qualifier: String,
    /// The document. A parsed policy takes ten times the memory.
    pub document: Box<str>,
}

/// The URL of a function, or of one of its aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionUrl {
    /// Name of the alias; empty for the function itself.
    pub qualifier: String,
    /// Who may call it.
    pub auth: UrlAuth,
    /// What browsers let other origins do.
    pub cors: Option<Cors>,
}

/// Who may call a function URL (`AuthType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UrlAuth {
    /// Whoever signs the request and is allowed to.
    #[serde(rename = "AWS_IAM")]
    Iam,
    /// Whoever the resource policy lets, without a signature.
    #[serde(rename = "NONE")]
    None,
}

/// What browsers let other origins do with a URL (`Cors`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Whether cookies and credentials may go along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Request headers, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Methods, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Origins, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// Response headers, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// Seconds for which the answer to a preflight is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i32>,
}

/// A name for a published version, or for two of them by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Its name.
    pub name: String,
    /// The versions that it leads to, `$LATEST` among them if so.
    pub versions: Vec<String>,
}

/// A published version behind an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: String,
    /// Its configuration, which cannot be changed.
    pub configuration: Configuration,
}

/// Whether Lambda stops a function that calls itself in a loop (`RecursiveLoop`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Recursion {
    /// It lets it loop.
    Allow,
    /// It stops it.
    Terminate,
}

/// How AWS updates the runtime of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeManagement {
    /// When.
    pub update_on: UpdateOn,
    /// The version that it is pinned to, with `Manual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_arn: Option<String>,
}

/// When AWS updates the runtime of a function (`UpdateRuntimeOn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateOn {
    /// As soon as there is a patch.
    Auto,
    /// With the next change of the function.
    FunctionUpdate,
    /// Never by itself.
    Manual,
}

/// A code signing configuration of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSigningConfig {
    /// Whether it refuses what is not signed, and does not merely warn.
    pub enforces: bool,
    /// How many signing profiles it trusts.
    pub publishers: usize,
}

/// A version of a layer of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerVersion {
    /// `layer:NAME:VERSION`.
    pub id: String,
    /// Name of the layer.
    pub name: String,
    /// The account that owns it.
    pub account: String,
    /// Layers have no tags.
    pub tags: Tags,
}

/// What Lambda says about the account in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// The account.
    pub account: String,
    /// Concurrent runs in all.
    pub concurrency: i32,
    /// Concurrent runs that no function has reserved.
    pub unreserved: i32,
    /// An account has no tags here.
    pub tags: Tags,
}

/// What was read of Lambda in one account and region.
#[derive(Clone, Debug, Default)]
pub struct Lambda {
    /// `lambda/functions` and `tagging/resources`: ListFunctions and GetResources together, as no function is known without
    /// its tags.
    pub functions: Source<Vec<Function>>,
    /// `cloudfront/distributions`: ListDistributions, in [`EDGE_REGION`] alone; the names of the functions that they call.
    pub distributions: Source<BTreeSet<String>>,
    /// `lambda/layers`: ListLayers and ListLayerVersions.
    pub layers: Source<Vec<LayerVersion>>,
    /// `lambda/layer_policies`: GetLayerVersionPolicy, by id of the version; `None` where there is none.
    pub layer_policies: Gathered<Option<Box<str>>>,
    /// `lambda/account_settings`: GetAccountSettings.
    pub account: Source<Vec<AccountSettings>>,
    /// `lambda/code_signing_configs`: ListCodeSigningConfigs, by ARN.
    pub code_signing_configs: Source<BTreeMap<String, CodeSigningConfig>>,
    /// `lambda/aliases`: ListAliases.
    pub aliases: Gathered<Vec<Alias>>,
    /// `lambda/policies`: GetPolicy of the function and of each alias.
    pub policies: Gathered<Vec<QualifiedPolicy>>,
    /// `lambda/urls`: ListFunctionUrlConfigs.
    pub urls: Gathered<Vec<FunctionUrl>>,
    /// `lambda/concurrency`: GetFunctionConcurrency; `None` where nothing is reserved.
    pub concurrency: Gathered<Option<i32>>,
    /// `lambda/code_signing`: GetFunctionCodeSigningConfig; `None` where there is none.
    pub code_signing: Gathered<Option<String>>,
    /// `lambda/recursion`: GetFunctionRecursionConfig.
    pub recursion: Gathered<Recursion>,
    /// `lambda/runtime_management`: GetRuntimeManagementConfig.
    pub runtime_management: Gathered<RuntimeManagement>,
    /// `lambda/event_invoke`: ListFunctionEventInvokeConfigs; whether there is a destination for failures.
    pub event_invoke: Gathered<bool>,
    /// `lambda/versions`: ListVersionsByFunction, those behind an alias.
    pub versions: Gathered<Vec<Version>>,
    /// The `RevisionId` of each function that was listed last, which what is read function by function is of.
    pub revisions: Arc<BTreeMap<String, String>>,
}

impl Lambda {
    /// Forgets what was read of functions that have changed since, so that their turn comes before that of all others.
    pub fn forget_changed(&mut self) {
        let Ok(functions) = self.functions.facts() else { return };
        let revisions: BTreeMap<String, String> =
            functions.iter().map(|function| (function.name.clone(), function.revision.clone())).collect();
        let is_changed =
            |(name, revision): &(&String, &String)| self.revisions.get(*name).is_some_and(|seen| seen != *revision);
        let changed: Vec<String> = revisions.iter().filter(is_changed).map(|(name, _)| name.clone()).collect();
        changed.iter().for_each(|name| self.forget(name));
        self.revisions = Arc::new(revisions);
    }

    /// Forgets what was read one by one of a function, or of a version of a layer: it was changed, or may have been. The
    /// list of functions is read anew at every look.
    pub fn forget(&mut self, id: &str) {
        let Self {
            functions: _,
            distributions: _,
            layers: _,
            layer_policies,
            account: _,
            code_signing_configs: _,
            aliases,
            policies,
            urls,
            concurrency,
            code_signing,
            recursion,
            runtime_management,
            event_invoke,
            versions,
            revisions: _,
        } = self;
        layer_policies.forget(id);
        aliases.forget(id);
        policies.forget(id);
        urls.forget(id);
        concurrency.forget(id);
        code_signing.forget(id);
        recursion.forget(id);
        runtime_management.forget(id);
        event_invoke.forget(id);
        versions.forget(id);
    }
}

/// Environment variables on their way from a read to the write that sends them again, and nowhere else: they cannot be
/// printed and are written to no record.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// As they were read.
    pub fn new(variables: BTreeMap<String, String>) -> Self {
        Self(variables)
    }

    /// For the write.
    pub fn into_inner(self) -> BTreeMap<String, String> {
        self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} variables", self.0.len())
    }
}

/// Whether a function can be changed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateStatus {
    /// `State=Active` and `LastUpdateStatus=Successful`.
    Ready,
    /// A change, ours or that of others, is on its way.
    InProgress,
    /// The last update failed; this is the reason code.
    UpdateFailed(String),
    /// It is not active; this is its state.
    NotActive(String),
}

/// What was read of one function right before a write, and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveFunction {
    /// Its id: the name, or that of a layer version.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// The properties that were asked for; `None` where one is not set.
    pub properties: BTreeMap<Property, Option<Json>>,
    /// Revisions that writes carry: of the configuration under an empty text, of a policy under its qualifier after a
    /// slash.
    pub revisions: BTreeMap<String, String>,
    /// Whether it can be changed now; `None` if that was not asked.
    pub status: Option<UpdateStatus>,
    /// All its tags; `None` if they were not asked for.
    pub tags: Option<Tags>,
    /// Its environment variables, from the same read as its revision; `None` where they are not readable.
    pub environment: Option<Variables>,
    /// When the read was begun: what it shows is at least as new.
    pub read_at: Timestamp,
}
