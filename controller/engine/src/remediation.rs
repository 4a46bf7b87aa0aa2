//! How fast, how far and when a baseline may have resources changed: the spec, and what it comes to.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canary::Canary;
use crate::controls::InvalidParameter;
use crate::edit::Edit;
use crate::window::{OpenTimes, Opening, Window};

/// How fast, how far and when resources are changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remediation {
    /// How many resources are changed in an hour. The rest waits, the worst go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// How much of what the baseline selects is changed without asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blast_radius: Option<BlastRadius>,
    /// When edits that can break connections of a resource in use are made. Left out: at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Lifts the window for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// What is changed first, and how long it has to stand before the rest follows. Only edits that can break connections of a
    /// resource in use wait for it. Left out: nothing goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// How many resources are changed in an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Resources in any 60 minutes, over all accounts and regions of the baseline. Left out with budget: 60.
    #[schemars(range(min = 1, max = 10000))]
    pub per_hour: i32,
}

/// How much is changed without asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlastRadius {
    /// Percent of the selected resources that may change in 24 hours, counted over all accounts and regions, from 20 selected
    /// resources up. A plan that is larger waits for approval as a whole. Left out with blastRadius: 25. 100: never ask.
    #[schemars(range(min = 1, max = 100))]
    pub max_share: i32,
}

/// An exception from the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emergency {
    /// Until when no edit waits for the window, such as 2026-11-24T18:00:00Z.
    #[schemars(length(min = 1, max = 64), extend("format" = "date-time"))]
    pub until: String,
    /// Why, for whoever reads it later.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// Resources in an hour, for a baseline that says nothing.
pub const BASELINE_PER_HOUR: usize = 60;

/// Resources in an hour, for an account that says nothing.
pub const ACCOUNT_PER_HOUR: usize = 120;

/// Percent of the selection in 24 hours, for a baseline that says nothing.
const MAX_SHARE: u64 = 25;

/// A share is counted from so many selected resources up.
pub const COUNTED_FROM: u64 = 20;

/// The limits of one baseline.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Resources in any 60 minutes.
    pub per_hour: usize,
    /// Percent of the selection in 24 hours.
    pub max_share: u64,
    window: Option<OpenTimes>,
    emergency: Option<Timestamp>,
}

impl Limits {
    /// Prepares the limits for use.
    ///
    /// # Errors
    /// A window that cannot be meant, or a time that is none.
    pub fn new(remediation: &Remediation) -> Result<Self, InvalidParameter> {
        // The canary depends on the accounts and regions: it is prepared with them.
        let Remediation { budget, blast_radius, window, emergency, canary: _ } = remediation;
        let per_hour = budget.as_ref().and_then(|budget| usize::try_from(budget.per_hour).ok());
        let max_share = blast_radius.as_ref().and_then(|radius| u64::try_from(radius.max_share).ok());
        let until = |emergency: &Emergency| {
            let problem = || {
                let text = format!("{:?} is no time: write one such as 2026-11-24T18:00:00Z", emergency.until);
                InvalidParameter::new("remediation.emergency.until", text)
            };
            emergency.until.parse::<Timestamp>().map_err(|_| problem())
        };
        Ok(Self {
            per_hour: per_hour.unwrap_or(BASELINE_PER_HOUR),
            max_share: max_share.unwrap_or(MAX_SHARE),
            window: window.as_ref().map(|window| OpenTimes::new("remediation.window", window)).transpose()?,
            emergency: emergency.as_ref().map(until).transpose()?,
        })
    }

    /// When the window opens that an edit has to wait for. What hangs on nothing, and what breaks no connection, waits for none.
    pub fn opens(&self, edit: &Edit, now: Timestamp) -> Option<Timestamp> {
        let window = self.window.as_ref().filter(|window| edit.is_disruptive() && !window.spares(edit.severity))?;
        match window.at(now) {
            Opening::Closed { opens } if self.emergency.is_none_or(|until| until <= now) => Some(opens),
            Opening::Closed { .. } | Opening::Open { .. } => None,
        }
    }

    /// When the window opens next, if there is one and it is closed.
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        match self.window.as_ref()?.at(now) {
            Opening::Closed { opens } => Some(opens),
            Opening::Open { .. } => None,
        }
    }
}
