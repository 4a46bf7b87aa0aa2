//! The calls that change one resource, as few as can be, in order: what adds comes first, and each call waits until
//! the one before is seen to have taken effect. Nothing is taken away before what replaces it is there.

pub mod group;
pub mod properties;

use std::collections::BTreeMap;

use crate::call::Call;
use crate::edit::{Edit, Withheld};
use crate::facts::{Live, LiveFunction, LiveGroup, Rule, Tags};
use crate::property::{Json, Property};

/// What of a resource its edits rest on and change, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Of a security group: all of it.
    Group {
        /// All rules of both directions, sorted.
        rules: Vec<Rule>,
        /// Tags of the group.
        tags: Tags,
    },
    /// Of a resource that is described by properties: those that change.
    Properties(BTreeMap<Property, Option<Json>>),
}

impl State {
    /// What a live read shows.
    pub fn of<'l, L>(live: &'l L) -> Self
    where
        Self: From<&'l L>,
    {
        Self::from(live)
    }

    /// What the edits of a resource were planned on, where that is all that they name.
    pub fn before(edits: &[Edit]) -> Self {
        let changes = edits.iter().flat_map(properties::changes);
        Self::Properties(changes.map(|change| (change.property.clone(), change.before.clone())).collect())
    }
}

impl From<&LiveGroup> for State {
    fn from(live: &LiveGroup) -> Self {
        Self::Group { rules: live.plain_rules(), tags: live.tags.clone() }
    }
}

impl From<&LiveFunction> for State {
    fn from(live: &LiveFunction) -> Self {
        Self::Properties(live.properties.clone())
    }
}

impl From<&Live> for State {
    fn from(live: &Live) -> Self {
        match live {
            Live::Group(group) => Self::of(group),
            Live::Function(function) => Self::of(function),
        }
    }
}

/// One call, and what has to be seen before the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The call.
    pub call: Call,
    /// The resource once the call has taken effect.
    pub after: State,
}

/// Orders the edits of one resource on what was just read of it.
///
/// # Errors
/// Why they cannot be made on it: it is not as it was planned on, or not ready to be changed.
pub fn sequence(edits: &[Edit], live: &Live) -> Result<Vec<Step>, Withheld> {
    match live {
        Live::Group(live) => group::sequence(edits, live),
        Live::Function(live) => properties::sequence(edits, live),
    }
}
