//! The evidence for switching a baseline from `Audit` to `Enforce`, as its status shows it.

use std::collections::BTreeMap;

use engine::edit::Risk;
use engine::readiness::{Readiness, Usage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{count, counts};

/// What Enforce would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnforceReadiness {
    /// Edits that would be made.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub edits: i64,
    /// The same edits by what they can break.
    #[serde(default)]
    pub risks: RiskCounts,
    /// Resources that would be changed.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub resources: i64,
    /// The same resources by whether anything uses them.
    #[serde(default)]
    pub impact: ImpactCounts,
    /// Edits that would be held back all the same, by reason: NotNamed, InfrastructureAsCode, ManagedByService, Conflicting,
    /// NoExactForm, RuleQuota, ReadOnlyAccount and so on. AccountGrant: the AWSAccount does not grant this namespace Enforce,
    /// so there the baseline would not be accepted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "integer", "format": "int64", "minimum": 0}))]
    pub withheld: BTreeMap<String, i64>,
    /// Resources with any of these edits, made or held back, that infrastructure as code owns, whatever infrastructureAsCode.mode
    /// says.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub owned_by_code: i64,
    /// Resources with any of these edits that somebody else has changed within the last day, as far as the controller was there to
    /// see it: whoever did may do it again, and find it Contested.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub changed_by_others: i64,
}

/// Edits by what they can break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RiskCounts {
    /// New connections or calls of somebody may fail.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub connectivity_risk: i64,
    /// Access is added, none is taken away.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub adds_access: i64,
    /// Nothing that carries traffic is touched: descriptions, tags, tracing, logs and the like.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub config_only: i64,
}

/// Resources by whether anything uses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImpactCounts {
    /// Network interfaces carry them, or somebody may call them.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub in_use: i64,
    /// Nothing uses them.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unused: i64,
    /// What uses them could not be read.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unknown: i64,
}

impl From<&Readiness> for EnforceReadiness {
    fn from(readiness: &Readiness) -> Self {
        let Readiness { edits, resources, withheld, owned_by_code, changed_by_others } = readiness;
        let risk = |risk| count(edits.get(&risk).copied().unwrap_or_default());
        let usage = |usage| count(resources.get(&usage).copied().unwrap_or_default());
        Self {
            edits: count(edits.values().fold(0, |sum: u64, edits| sum.saturating_add(*edits))),
            risks: RiskCounts {
                connectivity_risk: risk(Risk::ConnectivityRisk),
                adds_access: risk(Risk::AddsAccess),
                config_only: risk(Risk::ConfigOnly),
            },
            resources: count(resources.values().fold(0, |sum: u64, resources| sum.saturating_add(*resources))),
            impact: ImpactCounts {
                in_use: usage(Usage::InUse),
                unused: usage(Usage::Unused),
                unknown: usage(Usage::Unknown),
            },
            withheld: counts(withheld),
            owned_by_code: count(*owned_by_code),
            changed_by_others: count(*changed_by_others),
        }
    }
}
