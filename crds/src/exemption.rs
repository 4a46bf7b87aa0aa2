//! `BaselineExemption`: findings that stand for a while, by somebody's word.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use engine::controls::listed;
use engine::kind::Kind;
use engine::spec::ExemptResources;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which controls on which resources, why, and until when.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "baseward.dev",
    version = "v1alpha1",
    kind = "BaselineExemption",
    plural = "baselineexemptions",
    shortname = "bex",
    category = "baseward",
    namespaced,
    status = "BaselineExemptionStatus",
    derive = "PartialEq",
    doc = "Findings of the baselines in this namespace that stand for a while: they are still shown, counted as exempt, and not repaired until the exemption expires.",
    printcolumn(name = "Ticket", type_ = "string", json_path = ".spec.ticket"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expires"),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.conditions[?(@.type==\"Active\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Active\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = name_controls)]
pub struct BaselineExemptionSpec {
    /// Ids of the controls, one by one, such as sg-no-open-admin-ports. Other controls may still ask for the same change.
    #[schemars(length(min = 1, max = 100), inner(length(max = 63)))]
    pub controls: Vec<String>,
    /// The resources, by globs.
    pub resources: ExemptResources,
    /// Why, for whoever reads it in a year.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Where it was decided, such as SEC-412.
    #[schemars(length(min = 1, max = 128))]
    pub ticket: String,
    /// When it ends, such as 2027-01-31T00:00:00Z; at most 365 days after the object was made. From then on the findings are
    /// violations again.
    pub expires: Time,
}

/// Whether the exemption holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineExemptionStatus {
    /// Active: True while it holds; False if it has expired or cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The controls that an exemption can name.
fn name_controls(schema: &mut Schema) {
    let control = schema.pointer_mut("/properties/controls/items").and_then(Value::as_object_mut);
    if let Some(control) = control {
        let all = Kind::ALL.into_iter().flat_map(listed);
        let ids = all.map(|control| control.about.id.into()).collect();
        control.insert("enum".to_owned(), Value::Array(ids));
    }
}
