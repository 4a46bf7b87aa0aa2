//! What a control says about a resource.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a failed control is. Ordered: the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// Hygiene: nobody gets in because of it.
    Low,
    /// Wider than it should be.
    Medium,
    /// A way in for somebody who tries.
    High,
    /// A way in for everybody.
    Critical,
}

impl Severity {
    /// From worst to least.
    pub const WORST_FIRST: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One control's verdict on one resource, in words that a person understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The resource is as the control demands.
    Pass,
    /// So it is, and there is something that a person should know: it will not stay so by itself.
    PassWithNote {
        /// What.
        note: String,
    },
    /// It is not, and that is proven by complete facts.
    Fail {
        /// What the control demands.
        expected: String,
        /// What was found instead.
        actual: String,
    },
    /// The control has nothing to say about this resource.
    NotApplicable {
        /// Why not.
        why: Cow<'static, str>,
    },
    /// The facts do not suffice: never counted as compliant, never a reason to write.
    Unknown {
        /// Which fact is missing.
        why: Cow<'static, str>,
    },
}

impl Verdict {
    /// A failure, from what was expected and what was found.
    pub fn fail(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self::Fail { expected: expected.into(), actual: actual.into() }
    }

    /// A pass with a note.
    pub fn pass_with_note(note: impl Into<String>) -> Self {
        Self::PassWithNote { note: note.into() }
    }

    /// `NotApplicable` with its reason.
    pub fn not_applicable(why: &'static str) -> Self {
        Self::NotApplicable { why: Cow::Borrowed(why) }
    }

    /// `Unknown` with the fact that is missing.
    pub fn unknown(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// Whether there is something to tell a person, beside the count.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Fail { .. } | Self::Unknown { .. } | Self::PassWithNote { .. })
    }

    /// The verdict as one word, as status and CLI show it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass | Self::PassWithNote { .. } => "Pass",
            Self::Fail { .. } => "Fail",
            Self::NotApplicable { .. } => "NotApplicable",
            Self::Unknown { .. } => "Unknown",
        }
    }
}
