//! Undo: what puts back what a change set changed on one resource, only where that is still as it was left.

pub mod group;
mod properties;

use crate::edit::{Change, Withheld};
use crate::facts::{Live, Tags};

/// A change that was made, and the tags of the rule that it replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The change.
    pub change: Change,
    /// Tags of the rule that was there before.
    pub tags: Tags,
    /// Whether all of it was made and seen. Else what was added may stand beside what was to go.
    pub whole: bool,
}

/// The changes that put back what was made. What is as it was before already needs none.
///
/// # Errors
/// `ForeignChange` where the resource is neither as it was left nor as it was before: somebody else has changed it since.
pub fn undo(made: &[Made], live: &Live) -> Result<Vec<Change>, Withheld> {
    match live {
        Live::Group(live) => group::undo(made, live),
        Live::Function(live) => properties::undo(made, live),
    }
}
