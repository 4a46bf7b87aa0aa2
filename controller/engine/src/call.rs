//! The AWS calls that carry out edits, as values. `rails::permit` hands each of them out, one at a
//! time, right before it is made; the `aws` crate makes exactly the call that the permit holds.

use std::fmt;

use crate::facts::{Direction, Rule, Tags, Variables};
use crate::property::PropertyChange;

/// One mutating AWS call on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `AuthorizeSecurityGroupIngress` or `…Egress`: adds rules, all with the same tags.
    Authorize {
        /// Which of the two operations.
        direction: Direction,
        /// The rules to add, with their descriptions.
        rules: Vec<Rule>,
        /// Tags for each of the new rules.
        tags: Tags,
    },
    /// `ModifySecurityGroupRules`: rewrites rules in place, description included.
    Modify {
        /// Rule id and what the rule becomes.
        rules: Vec<(String, Rule)>,
    },
    /// `RevokeSecurityGroupIngress` or `…Egress` by rule id.
    Revoke {
        /// Which of the two operations.
        direction: Direction,
        /// The ids of the rules to remove.
        rule_ids: Vec<String>,
    },
    /// `CreateTags` on the group.
    Tag {
        /// Keys and values to set.
        tags: Tags,
    },
    /// `DeleteTags` on the group.
    Untag {
        /// Keys to remove, each only while it has this value.
        tags: Tags,
    },
    /// A call of Lambda.
    Lambda(LambdaCall),
}

/// One mutating call of Lambda: properties that one operation sets together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaCall {
    /// The operation.
    pub operation: LambdaOperation,
    /// What it sets.
    pub changes: Vec<PropertyChange>,
    /// The revision that the change was planned on, where the API takes one: on another one AWS refuses it.
    pub revision: Option<String>,
    /// The environment variables, which are sent again with their key and never otherwise.
    pub environment: Option<Variables>,
    /// The ARN of the resource, where the API takes no name.
    pub arn: Option<String>,
}

/// The operations of Lambda that change something, in the order of the calls on one function: what adds before what removes,
/// and who has access before all else, since a configuration that AWS refuses ends the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they are those of the Lambda API reference")]
pub enum LambdaOperation {
    AddPermission,
    AddLayerVersionPermission,
    UpdateFunctionUrlConfig,
    RemovePermission,
    RemoveLayerVersionPermission,
    PutFunctionConcurrency,
    DeleteFunctionConcurrency,
    PutFunctionCodeSigningConfig,
    DeleteFunctionCodeSigningConfig,
    PutFunctionRecursionConfig,
    PutRuntimeManagementConfig,
    UpdateFunctionConfiguration,
    TagResource,
    UntagResource,
}

impl LambdaOperation {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddPermission => "AddPermission",
            Self::AddLayerVersionPermission => "AddLayerVersionPermission",
            Self::TagResource => "TagResource",
            Self::UntagResource => "UntagResource",
            Self::UpdateFunctionConfiguration => "UpdateFunctionConfiguration",
            Self::UpdateFunctionUrlConfig => "UpdateFunctionUrlConfig",
            Self::PutFunctionConcurrency => "PutFunctionConcurrency",
            Self::DeleteFunctionConcurrency => "DeleteFunctionConcurrency",
            Self::PutFunctionCodeSigningConfig => "PutFunctionCodeSigningConfig",
            Self::DeleteFunctionCodeSigningConfig => "DeleteFunctionCodeSigningConfig",
            Self::PutFunctionRecursionConfig => "PutFunctionRecursionConfig",
            Self::PutRuntimeManagementConfig => "PutRuntimeManagementConfig",
            Self::RemovePermission => "RemovePermission",
            Self::RemoveLayerVersionPermission => "RemoveLayerVersionPermission",
        }
    }
}

impl Call {
    /// The name of the AWS operation.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Authorize { direction: Direction::Ingress, .. } => "AuthorizeSecurityGroupIngress",
            Self::Authorize { direction: Direction::Egress, .. } => "AuthorizeSecurityGroupEgress",
            Self::Modify { .. } => "ModifySecurityGroupRules",
            Self::Revoke { direction: Direction::Ingress, .. } => "RevokeSecurityGroupIngress",
            Self::Revoke { direction: Direction::Egress, .. } => "RevokeSecurityGroupEgress",
            Self::Tag { .. } => "CreateTags",
            Self::Untag { .. } => "DeleteTags",
            Self::Lambda(call) => call.operation.name(),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation())
    }
}
