//! `AWSAccount`: an AWS account as Baseward may use it.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use engine::remediation::Budget;
use engine::spec::NamespaceGrant;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the account may be used, and by whom.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "baseward.dev",
    version = "v1alpha1",
    kind = "AWSAccount",
    plural = "awsaccounts",
    shortname = "awsacct",
    category = "baseward",
    status = "AWSAccountStatus",
    derive = "PartialEq",
    doc = "An AWS account as Baseward may use it: its regions, the roles to assume, the share of AWS's rate limits, and which namespaces may use it and how far.",
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.accountId"),
    printcolumn(name = "Regions", type_ = "string", json_path = ".spec.regions"),
    printcolumn(name = "Writes", type_ = "string", json_path = ".spec.writes"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.writeRole) || has(self.readRole)",
        "message": "writeRole needs readRole: what is written is read back with it"
    },
    {
        "rule": "!has(self.readRole) || !self.readRole.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/') || self.readRole.contains('::' + self.accountId + ':role/')",
        "message": "readRole is a role of another account than accountId"
    },
    {
        "rule": "!has(self.writeRole) || !self.writeRole.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/') || self.writeRole.contains('::' + self.accountId + ':role/')",
        "message": "writeRole is a role of another account than accountId"
    }
]))]
pub struct AWSAccountSpec {
    /// The twelve digits of the account, in quotes. It cannot be changed: another account is another object.
    #[schemars(
        length(max = 12),
        regex(pattern = "^[0-9]{12}$"),
        extend("x-kubernetes-validations" = [{
            "rule": "self == oldSelf",
            "message": "accountId cannot be changed: make another AWSAccount"
        }])
    )]
    pub account_id: String,
    /// The regions that baselines may look at, such as eu-west-1. Nothing is called in any other.
    #[schemars(
        length(min = 1, max = 40),
        inner(length(max = 32), regex(pattern = "^[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}$"))
    )]
    pub regions: Vec<String>,
    /// ARN of the role that is assumed to read. Its trust policy is shown in the status. Left out: the controller's
    /// own identity, which must then be of this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 640),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]+$')",
            "message": "readRole is the ARN of a role, such as arn:aws:iam::111122223333:role/baseward-read"
        }])
    )]
    pub read_role: Option<String>,
    /// ARN of the role that is assumed to write. Left out: nothing is ever written in this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 640),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]+$')",
            "message": "writeRole is the ARN of a role, such as arn:aws:iam::111122223333:role/baseward-write"
        }])
    )]
    pub write_role: Option<String>,
    /// Percent of each documented AWS rate limit that Baseward may use.
    #[serde(default = "default_rate_share")]
    #[schemars(range(min = 1, max = 100))]
    pub rate_share: i32,
    /// The account's quota of rules per security group, direction and address family (L-0EA8095F). A group is never
    /// narrowed where the narrower rules do not fit beside the wide one.
    #[serde(default = "default_rules_per_security_group")]
    #[schemars(range(min = 1, max = 1000))]
    pub rules_per_security_group: i32,
    /// How many resources are changed in an hour, over all regions and baselines. Left out: 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The kill switch. Stopped: nothing is written in this account, not even what is under way; reading goes on.
    #[serde(default)]
    pub writes: Writes,
    /// Which namespaces may use the account, and how far. The first entry that names or selects a namespace counts.
    /// Empty or left out: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        extend("x-kubernetes-validations" = [{
            "rule": "self.all(g, !has(g.name) || self.exists_one(other, has(other.name) && other.name == g.name))",
            "message": "namespaces names a namespace once: a second entry would never count"
        }])
    )]
    pub namespaces: Vec<NamespaceGrant>,
}

/// The values that the API server fills in; accountId and regions, which it asks for, are empty.
impl Default for AWSAccountSpec {
    fn default() -> Self {
        Self {
            account_id: String::new(),
            regions: Vec::new(),
            read_role: None,
            write_role: None,
            rate_share: default_rate_share(),
            rules_per_security_group: default_rules_per_security_group(),
            budget: None,
            writes: Writes::default(),
            namespaces: Vec::new(),
        }
    }
}

fn default_rate_share() -> i32 {
    50
}

fn default_rules_per_security_group() -> i32 {
    60
}

/// Whether anything may be written in an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Writes {
    /// As far as baselines and grants go.
    #[default]
    Allowed,
    /// Nothing is written.
    Stopped,
}

/// What is known of the account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AWSAccountStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The external id that the roles' trust policies ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub external_id: Option<String>,
    /// The trust policy to paste into the roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub trust_policy: Option<String>,
    /// How each region of the spec is doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 40),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub regions: Vec<RegionStatus>,
    /// Ready: the roles are proven to be of this account in every region.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// How one region of an account is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// The region.
    #[schemars(length(max = 32))]
    pub name: String,
    /// Whether the roles are proven to be of this account here.
    pub identity: Identity,
    /// Why the identity is not proven, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// When the last sweep of this region ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sweep: Option<Time>,
}

/// Whether the identity in a region is the one it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Identity {
    /// Not asked yet, or not answered.
    #[default]
    Unknown,
    /// GetCallerIdentity names this account.
    Proven,
    /// A role cannot be assumed, or is of another account. Where it is the writeRole alone, reading goes on.
    Failed,
}
