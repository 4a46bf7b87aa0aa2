//! The catalogue: what every control is, whatever it looks at.
//!
//! A folder per kind of baseline, a file per topic of its spec. Each file has the same shape:
//! parameters (the struct is that part of the CRD schema), checks, remedies, tests.

pub mod security_group;

use serde::Serialize;

use crate::finding::Severity;

/// What a person wants to know of a control before switching it on.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The id by which overrides, findings and metrics name the control. It never changes.
    pub id: &'static str,
    /// What a resource that passes is like.
    pub title: &'static str,
    /// How bad a failure is, unless an override says otherwise.
    pub severity: Severity,
    /// The field of the spec that the control belongs to: writing it makes the control enforceable.
    pub field: &'static str,
    /// What it is judged by while the field is left out; `Off` means that it is not judged at all.
    pub default: &'static str,
    /// What `Enforce` does about a failure.
    pub remedy: &'static str,
    /// The version of Baseward that brought the control.
    pub since: &'static str,
    /// The sources that the check reads, as `service/thing`.
    pub sources: &'static [&'static str],
}

/// `ec2/security_groups`: DescribeSecurityGroups.
pub const SECURITY_GROUPS: &str = "ec2/security_groups";
/// `ec2/network_interfaces`: DescribeNetworkInterfaces.
pub const NETWORK_INTERFACES: &str = "ec2/network_interfaces";
/// `ec2/prefix_lists`: DescribeManagedPrefixLists and GetManagedPrefixListEntries.
pub const PREFIX_LISTS: &str = "ec2/prefix_lists";

/// Whether a baseline uses a control, and on whose word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Not judged: off by default and left out, or switched off.
    Off,
    /// Judged by its recommended default, reported, never enforced: the baseline does not write its field.
    Recommended,
    /// The baseline writes its field.
    Named,
}

impl Setting {
    /// On by default; named once the field is written.
    pub fn recommended<T>(field: Option<&T>) -> Self {
        if field.is_some() { Self::Named } else { Self::Recommended }
    }

    /// Off by default; on and named once the field is written.
    pub fn optional<T>(field: Option<&T>) -> Self {
        if field.is_some() { Self::Named } else { Self::Off }
    }

    /// On by default; a written `false` switches it off.
    pub fn switch(field: Option<bool>) -> Self {
        match field {
            None => Self::Recommended,
            Some(true) => Self::Named,
            Some(false) => Self::Off,
        }
    }
}

/// A value in a spec that passes the schema and still cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {problem}")]
pub struct InvalidParameter {
    /// Where, as a path below `spec`.
    pub field: String,
    /// What is wrong and how to mend it.
    pub problem: String,
}

impl InvalidParameter {
    /// From a path below `spec` and a sentence.
    pub fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }
}
