//! `LambdaBaseline`: what good looks like for Lambda functions.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use engine::controls::lambda::LambdaParameters;
use engine::kind::Kind;
use kube::CustomResource;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::baseline::{BaselineStatus, Common};
use crate::kind::{BaselineObject, name_controls};

/// Which functions, how far to go, and what good looks like. A field on what good looks like that is left out
/// is judged by its recommended value and reported; it is enforced once it is written.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "baseward.dev",
    version = "v1alpha1",
    kind = "LambdaBaseline",
    plural = "lambdabaselines",
    shortname = "lamb",
    category = "baseward",
    namespaced,
    status = "BaselineStatus",
    derive = "PartialEq",
    doc = "What good looks like for Lambda functions, their URLs, policies and layers: Baseward compares every selected function with it, shows what differs and, with mode: Enforce, puts right what the spec writes.",
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
#[schemars(transform = controls, extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.mode) || self.mode != 'Enforce' || !has(self.environment) || !has(self.environment.requireCustomerKey) || !self.environment.requireCustomerKey || has(self.environment.kmsKeyArn)",
        "message": "environment.kmsKeyArn is needed to enforce a customer key"
    },
    {
        "rule": "!has(self.mode) || self.mode != 'Enforce' || !has(self.network) || !has(self.network.require) || self.network.require != 'Vpc' || (has(self.network.subnetIds) && self.network.subnetIds.size() > 0 && has(self.network.securityGroupIds) && self.network.securityGroupIds.size() > 0)",
        "message": "network.require: Vpc needs subnetIds and securityGroupIds to enforce"
    }
]))]
pub struct LambdaBaselineSpec {
    /// The fields that every baseline has.
    #[serde(flatten)]
    pub common: Common,
    /// What good looks like.
    #[serde(flatten)]
    pub parameters: LambdaParameters,
}

fn controls(schema: &mut Schema) {
    name_controls(Kind::Lambda, schema);
}

impl BaselineObject for LambdaBaseline {
    const KIND: Kind = Kind::Lambda;

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
