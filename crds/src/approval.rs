//! `ChangeSetApproval`: a person's word on one change set.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use std::ops::RangeInclusive;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which change set, as it was read, and what is to happen to it.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "baseward.dev",
    version = "v1alpha1",
    kind = "ChangeSetApproval",
    plural = "changesetapprovals",
    shortname = "chga",
    category = "baseward",
    namespaced,
    status = "ChangeSetApprovalStatus",
    derive = "PartialEq",
    doc = "A person's word, or that of a Git commit, on one change set of this namespace: make its edits, drop them, or undo them. It cannot be changed; another word is another object.",
    printcolumn(name = "ChangeSet", type_ = "string", json_path = ".spec.changeSet"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self == oldSelf",
        "message": "an approval cannot be changed: create another one"
    },
    {
        "rule": "!has(self.exemptFor) || self.action == 'Rollback'",
        "message": "exemptFor is for action: Rollback"
    }
]))]
pub struct ChangeSetApprovalSpec {
    /// Name of the change set.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::name::PATTERN))]
    pub change_set: String,
    /// spec.hash of the change set as it was read: the word is on exactly those edits.
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub hash: String,
    /// Approve: make the edits. Reject: do not make them. Rollback: undo those that were made.
    pub action: Action,
    /// Who says so: the user name that the API server knows the author by, as kubectl auth whoami prints it.
    #[schemars(length(min = 1, max = 512))]
    pub by: String,
    /// With Rollback: how long the findings then stand, as a duration of at most 168h such as 24h. An exemption says so, lest the
    /// next sweep repair what was just put back. Left out: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = engine::duration::Duration { field: "exemptFor", examples: "24h or 90m", shortest: "1m", longest: "168h" })]
    pub exempt_for: Option<String>,
    /// Why, for whoever reads it in a year, such as CAB-1182.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

impl ChangeSetApprovalSpec {
    /// How long findings stand once a change set is undone. Within its bounds also for an object that was stored before they
    /// were checked.
    pub fn exempt_for(&self) -> SignedDuration {
        let written = self.exempt_for.as_deref().and_then(engine::duration::parse);
        written.map_or(EXEMPT_FOR, |written| written.clamp(*EXEMPT_FOR_BOUNDS.start(), *EXEMPT_FOR_BOUNDS.end()))
    }
}

const EXEMPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How long findings can stand once a change set is undone.
pub const EXEMPT_FOR_BOUNDS: RangeInclusive<SignedDuration> =
    SignedDuration::from_mins(1)..=SignedDuration::from_hours(168);

/// What is to happen to a change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Make its edits.
    Approve,
    /// Do not make them.
    Reject,
    /// Undo those that were made.
    Rollback,
}

/// Whether the word was heard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSetApprovalStatus {
    /// Accepted: True once the change set follows it; False if it cannot; the reason says why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
