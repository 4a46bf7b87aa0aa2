//! The Kubernetes API of Baseward: group `baseward.dev`, version `v1alpha1`.
//!
//! The types here are what users write and read; the YAML beside them is generated from them. What good looks like
//! for one AWS service comes from the engine's parameter structs, which are that part of the schema.

mod account;
pub mod admission;
mod approval;
mod baseline;
mod change_set;
mod compile;
pub mod conditions;
mod exemption;
mod generate;
mod kind;
mod lambda_baseline;
mod name;
pub mod policy;
mod readiness;
pub mod roles;
mod security_group_baseline;
#[cfg(test)]
mod tests;

pub use account::{AWSAccount, AWSAccountSpec, AWSAccountStatus, Identity, RegionStatus, Writes};
pub use approval::{Action, ChangeSetApproval, ChangeSetApprovalSpec, ChangeSetApprovalStatus, EXEMPT_FOR_BOUNDS};
pub use baseline::{
    BaselineStatus, CellStatus, Common, ControlStatus, NamedVerdict, Verdicts, Violations, WorstFinding,
};
pub use change_set::{
    BaselineName, ChangeSet, ChangeSetSpec, ChangeSetStatus, Direction, EditOutcome, EditRecord, MAX_BYTES, MAX_EDITS,
    MAX_REQUEST_IDS, OtherBaseline, Outcome, Phase, Record, Undoes,
};
pub use compile::DEFAULT_NAMESPACE;
pub use exemption::{BaselineExemption, BaselineExemptionSpec, BaselineExemptionStatus};
pub use generate::{crds, policies_yaml, yaml_files};
pub use kind::{AnyBaseline, BaselineObject};
pub use lambda_baseline::{LambdaBaseline, LambdaBaselineSpec};
pub use name::{is_object_name, shortened};
pub use readiness::{EnforceReadiness, ImpactCounts, RiskCounts};
pub use security_group_baseline::{SecurityGroupBaseline, SecurityGroupBaselineSpec};

/// The API group of every kind.
pub const GROUP: &str = "baseward.dev";

/// The version of every kind.
pub const VERSION: &str = "v1alpha1";

/// A new value of this annotation on a baseline asks for a sweep now; `status.lastHandledReconcileAt` echoes it.
pub const RECONCILE_AT: &str = "baseward.dev/reconcile-at";
