//! The AWS calls that carry out edits, as values. `rails::permit` hands each of them out, one at a
//! time, right before it is made; the `aws` crate makes exactly the call that the permit holds.

use std::fmt;

use crate::facts::{Direction, Rule, Tags};

/// One mutating AWS call on one security group.
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
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation())
    }
}
