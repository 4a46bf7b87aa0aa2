//! `SecurityGroupBaseline`: what good looks like for EC2 security groups.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use engine::controls::security_group::SecurityGroupParameters;
use engine::kind::Kind;
use kube::CustomResource;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::baseline::{BaselineStatus, Common};
use crate::kind::{BaselineObject, name_controls};

/// Which security groups, how far to go, and what good looks like. A field on what good looks like that is left out
/// is judged by its recommended value and reported; it is enforced once it is written.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "baseward.dev",
    version = "v1alpha1",
    kind = "SecurityGroupBaseline",
    plural = "securitygroupbaselines",
    shortname = "sgb",
    category = "baseward",
    namespaced,
    status = "BaselineStatus",
    derive = "PartialEq",
    doc = "What good looks like for EC2 security groups: Baseward compares every selected group with it, shows what differs and, with mode: Enforce, puts right what the spec writes.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Resources", type_ = "integer", json_path = ".status.resources"),
    printcolumn(name = "Violations", type_ = "integer", json_path = ".status.violationsTotal"),
    printcolumn(name = "Critical", type_ = "integer", json_path = ".status.violations.critical"),
    printcolumn(
        name = "Compliant",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Compliant\")].status"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = controls)]
pub struct SecurityGroupBaselineSpec {
    /// The fields that every baseline has.
    #[serde(flatten)]
    pub common: Common,
    /// What good looks like.
    #[serde(flatten)]
    pub parameters: SecurityGroupParameters,
}

fn controls(schema: &mut Schema) {
    name_controls(Kind::SecurityGroup, schema);
}

impl BaselineObject for SecurityGroupBaseline {
    const KIND: Kind = Kind::SecurityGroup;

    fn common(&self) -> &Common {
        &self.spec.common
    }

    fn parameters(&self) -> engine::controls::Parameters {
        self.spec.parameters.clone().into()
    }

    fn status(&self) -> Option<&BaselineStatus> {
        self.status.as_ref()
    }
}
