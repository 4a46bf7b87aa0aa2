//! `ChangeSet`: journal, preview and undo record of a batch of edits in one.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

mod record;

use std::collections::BTreeMap;

use engine::approval::Undo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most edits of one change set.
pub const MAX_EDITS: usize = 50;

/// The most baselines that demand edits of one change set.
const MAX_BASELINES: usize = 100;

/// The most ids of requests that one resource has: each of its edits can take a call, and there are calls that serve them all.
pub const MAX_REQUEST_IDS: usize = 64;

/// The most parts of a resource that one edit changes, and the most calls that make it.
const MAX_RECORDS: usize = 64;

/// The most bytes of the value of a property: a policy has at most 20 KB (Lambda quotas).
const MAX_VALUE: usize = 20 * 1024;

/// The most bytes of the spec of one change set, as JSON.
pub const MAX_BYTES: usize = 256 * 1024;

/// The edits of one account and region that are made together, written down before the first of them is made.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "baseward.dev",
    version = "v1alpha1",
    kind = "ChangeSet",
    plural = "changesets",
    shortname = "chg",
    category = "baseward",
    namespaced,
    status = "ChangeSetStatus",
    selectable = ".spec.account",
    selectable = ".spec.region",
    selectable = ".status.phase",
    derive = "PartialEq",
    doc = "Edits to AWS resources, written down by the controller before it makes them: what, why, before and after. It holds what is needed to undo them, and cannot be changed.",
    printcolumn(name = "Baseline", type_ = "string", json_path = ".spec.baseline.name"),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.account"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self == oldSelf",
    "message": "a change set cannot be changed"
}]))]
pub struct ChangeSetSpec {
    /// The oldest of the baselines that demand the edits, in the namespace of the change set.
    pub baseline: BaselineName,
    /// The other baselines that demand any of the edits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub other_baselines: Vec<OtherBaseline>,
    /// Account id.
    #[schemars(length(max = 12), regex(pattern = "^[0-9]{12}$"))]
    pub account: String,
    /// Region.
    #[schemars(length(min = 1, max = 32))]
    pub region: String,
    /// Whether the edits wait for a person's decision. Left out: they are made right after they are written down here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proposed: bool,
    /// What the edits put back; left out unless they are an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Undoes>,
    /// Hash of the edits, such as sha256:7f3a9c….
    #[schemars(length(min = 1, max = 80))]
    pub hash: String,
    /// The edits, worst first.
    #[schemars(length(min = 1, max = 50))]
    pub edits: Vec<EditRecord>,
}

/// What an undo puts back, and on whose word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Undoes {
    /// Name of the change set that is undone, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub change_set: String,
    /// Name of the approval that says so.
    #[schemars(length(min = 1, max = 253))]
    pub approval: String,
    /// Who says so.
    #[schemars(length(max = 512))]
    pub by: String,
}

impl From<&Undo> for Undoes {
    fn from(Undo { change_set, approval, by }: &Undo) -> Self {
        Self { change_set: change_set.name.clone(), approval: approval.clone(), by: by.clone() }
    }
}

/// One generation of one baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineName {
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid: an object that was deleted and made again is another one.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The generation that demanded the edits.
    #[schemars(range(min = 0))]
    pub generation: i64,
}

/// One generation of a baseline in any namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherBaseline {
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid: an object that was deleted and made again is another one.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The generation that demanded the edits.
    #[schemars(range(min = 0))]
    pub generation: i64,
}

/// One edit to one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditRecord {
    /// Id of the resource, such as sg-0f12, or the name of a function.
    #[schemars(length(min = 1, max = 512))]
    pub resource: String,
    /// Ids of the controls that demand the edit.
    #[schemars(length(min = 1, max = 32), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub controls: Vec<String>,
    /// The baselines that demand the edit, as NAMESPACE/NAME.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 317)), extend("x-kubernetes-list-type" = "atomic"))]
    pub baselines: Vec<String>,
    /// What is done, such as NarrowGrant.
    #[schemars(length(min = 1, max = 63))]
    pub operation: String,
    /// What it can break: ConfigOnly, AddsAccess or ConnectivityRisk.
    #[schemars(length(min = 1, max = 63))]
    pub risk: String,
    /// What uses the resource, such as 2 interfaces; Unknown where that could not be read.
    #[schemars(length(max = 256))]
    pub impact: String,
    /// What was there.
    #[schemars(length(max = 64))]
    pub before: Vec<Record>,
    /// What is to be there instead.
    #[schemars(length(max = 64))]
    pub after: Vec<Record>,
    /// The AWS operations that make the edit, in their order. Edits of one resource share calls where they can.
    #[schemars(length(max = 64), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub calls: Vec<String>,
}

impl EditRecord {
    fn fits(&self) -> bool {
        let Self { before, after, calls, .. } = self;
        let value = |record: &Record| record.value.as_ref().map_or(0, String::len);
        [before.len(), after.len(), calls.len()].into_iter().all(|length| length <= MAX_RECORDS)
            && before.iter().chain(after).all(|record| value(record) <= MAX_VALUE)
    }
}

/// One part of a resource with all that is needed to make it again: a rule, a property, or tags alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Which way the traffic of a rule flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Protocol of a rule as EC2 writes it: -1 (all), tcp, udp, icmp, icmpv6 or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub protocol: Option<String>,
    /// Ports of a rule (443, 6000-6010), or ICMP type and code (3/4, any).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ports: Option<String>,
    /// The other end of a rule: a CIDR, a prefix list, or a security group as ACCOUNT/GROUP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub peer: Option<String>,
    /// Description of a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// Id of a rule, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub rule_id: Option<String>,
    /// Name of a property, such as Tracing or Statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub property: Option<String>,
    /// Which of several properties of that name: the key of a tag, the alias of a URL, ALIAS/SID of a statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub of: Option<String>,
    /// Value of a property as JSON. Left out where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20480))]
    pub value: Option<String>,
    /// Tags of the rule; in a record without a rule or a property, tags of the resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 60, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    pub tags: BTreeMap<String, String>,
}

/// Which way the traffic of a rule flows, seen from the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    /// Into the interfaces that carry the group.
    Ingress,
    /// Out of them.
    Egress,
}

/// How far the edits got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSetStatus {
    /// Left out until there is something to tell; then one of Proposed (waits for a decision), Approved, Rejected, Applying, Applied (every edit was made and read back), PartlyApplied
    /// (some are there, or may be), RolledBack or Expired (none was made, and none will be).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Who approved or rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub decided_by: Option<String>,
    /// Name of the approval by which it was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub rolled_back_by: Option<String>,
    /// When it was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_at: Option<Time>,
    /// Why it expired, or how far it was undone, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub message: Option<String>,
    /// What came of the edits, one entry per resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub edits: Vec<EditOutcome>,
}

/// How far a change set got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// It waits for somebody to approve or reject it.
    Proposed,
    /// Somebody approved it: its edits are made as soon as budget, window and the rest let them.
    Approved,
    /// Somebody rejected it: its edits are not made, and not proposed again.
    Rejected,
    /// Its edits are being made.
    Applying,
    /// Every edit was made and read back.
    Applied,
    /// Some edits are there or may be, wholly or in part; others are not.
    PartlyApplied,
    /// What it changed was put back.
    RolledBack,
    /// No edit was made, and none will be: what is still wrong is planned anew.
    Expired,
}

/// What came of the edits to one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditOutcome {
    /// Id of the resource.
    #[schemars(length(min = 1, max = 512))]
    pub resource: String,
    /// Verified, Withheld, Failed or Unknown.
    pub outcome: Outcome,
    /// Why the edits were not made, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// How many AWS calls were seen to have taken effect: more than 0 without Verified is a change made in part.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub verified_calls: i32,
    /// AWS's ids of the requests that were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub request_ids: Vec<String>,
    /// When the outcome was known.
    pub finished_at: Time,
}

/// What came of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Made, read back, and as planned.
    Verified,
    /// Not made, or not to its end: a rail held a call back right before it.
    Withheld,
    /// Not made, or not to its end: AWS refused a call.
    Failed,
    /// A call was made, or may have been, and nobody saw what came of it.
    Unknown,
}

impl From<&engine::plan::Outcome> for Outcome {
    fn from(outcome: &engine::plan::Outcome) -> Self {
        match outcome {
            engine::plan::Outcome::Verified => Self::Verified,
            engine::plan::Outcome::Withheld(_) => Self::Withheld,
            unknown if unknown.is_unknown() => Self::Unknown,
            engine::plan::Outcome::Failed(_) => Self::Failed,
        }
    }
}

impl Outcome {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "Verified",
            Self::Withheld => "Withheld",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

impl EditOutcome {
    /// Whether a call had an effect, or may have had one.
    pub fn is_touched(&self) -> bool {
        self.verified_calls > 0 || matches!(self.outcome, Outcome::Verified | Outcome::Unknown)
    }
}

impl ChangeSet {
    /// How far it has got. One that does not say waits for somebody if it was proposed, else its edits are being made.
    pub fn phase(&self) -> Phase {
        let told = self.status.as_ref().and_then(|status| status.phase);
        told.unwrap_or(if self.spec.proposed { Phase::Proposed } else { Phase::Applying })
    }
}

impl Phase {
    /// The phases that nothing follows, but an undo. What is rejected counts as long as it would be proposed again.
    pub const ENDED: [Self; 4] = [Self::Applied, Self::PartlyApplied, Self::RolledBack, Self::Expired];

    /// The phase that follows from the outcomes of every resource.
    pub fn of(outcomes: &[EditOutcome]) -> Self {
        if !outcomes.is_empty() && outcomes.iter().all(|edit| edit.outcome == Outcome::Verified) {
            Self::Applied
        } else if outcomes.iter().any(EditOutcome::is_touched) {
            Self::PartlyApplied
        } else {
            Self::Expired
        }
    }
}

impl ChangeSetSpec {
    /// Whether the API takes it: not more than 50 edits for not more than 100 other baselines, none of them of more parts
    /// or of a larger value than a record holds, and not more than 256 KiB.
    pub fn fits(&self) -> bool {
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        (1..=MAX_EDITS).contains(&self.edits.len())
            && self.other_baselines.len() <= MAX_BASELINES
            && self.edits.iter().all(EditRecord::fits)
            && bytes <= MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_set_is_bounded_in_edits_and_bytes() {
        let spec = |count: usize, text: usize| ChangeSetSpec {
            edits: vec![EditRecord { impact: "x".repeat(text), ..EditRecord::default() }; count],
            ..ChangeSetSpec::default()
        };
        assert!(!spec(0, 1).fits());
        assert!(spec(50, 256).fits());
        assert!(!spec(51, 1).fits());
        assert!(!spec(1, MAX_BYTES).fits());
    }

    /// A URL that asks for a signature loses every statement that lets everybody in: there can be dozens.
    #[test]
    fn what_fits_is_what_the_api_takes() {
        let edit = |records: usize, calls: usize, value: usize| EditRecord {
            resource: "payments-webhook".to_owned(),
            controls: vec!["lambda-url-auth-iam".to_owned()],
            operation: "SetUrlAuth".to_owned(),
            risk: "ConnectivityRisk".to_owned(),
            before: vec![Record { value: Some("1".repeat(value)), ..Record::default() }; records],
            calls: vec!["RemovePermission".to_owned(); calls],
            ..EditRecord::default()
        };
        let admitted = |spec: &ChangeSetSpec| {
            let document = serde_json::json!({
                "apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSet", "metadata": {"name": "c"}, "spec": spec,
            });
            crate::admission::admit(&document).is_ok()
        };
        for (edit, fits) in [
            (edit(64, 64, 1), true),
            (edit(65, 1, 1), false),
            (edit(1, 65, 1), false),
            (edit(2, 2, 20_480), true),
            (edit(1, 1, 20_481), false),
        ] {
            let reversed = EditRecord { before: edit.after.clone(), after: edit.before.clone(), ..edit.clone() };
            for edit in [edit, reversed] {
                let baseline =
                    BaselineName { kind: "LambdaBaseline".to_owned(), name: "b".to_owned(), ..BaselineName::default() };
                let spec = ChangeSetSpec {
                    baseline,
                    account: "111122223333".to_owned(),
                    region: "eu-west-1".to_owned(),
                    hash: "sha256:1".to_owned(),
                    edits: vec![edit],
                    ..ChangeSetSpec::default()
                };
                assert_eq!((spec.fits(), admitted(&spec)), (fits, fits));
            }
        }
    }

    #[test]
    fn the_phase_says_whether_anything_is_there_or_may_be() {
        use Outcome::{Failed, Unknown, Verified, Withheld};
        let phase = |outcomes: &[(Outcome, i32)]| {
            let edit = |(outcome, verified_calls): &(Outcome, i32)| EditOutcome {
                resource: "sg-1".to_owned(),
                outcome: *outcome,
                reason: None,
                verified_calls: *verified_calls,
                request_ids: Vec::new(),
                finished_at: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
            };
            Phase::of(&outcomes.iter().map(edit).collect::<Vec<_>>())
        };
        assert_eq!(phase(&[(Verified, 1), (Verified, 2)]), Phase::Applied);
        assert_eq!(phase(&[(Verified, 1), (Failed, 0)]), Phase::PartlyApplied);
        assert_eq!(phase(&[(Withheld, 0), (Failed, 0)]), Phase::Expired);
        assert_eq!(phase(&[(Withheld, 1)]), Phase::PartlyApplied, "the second call was held back");
        assert_eq!(phase(&[(Failed, 1)]), Phase::PartlyApplied, "the second call was refused");
        assert_eq!(phase(&[(Unknown, 0)]), Phase::PartlyApplied, "the only call may have had an effect");
        assert_eq!(phase(&[]), Phase::Expired);
    }
}
