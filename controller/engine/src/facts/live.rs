//! What is read of one resource right before it is written, and after each call.

use jiff::Timestamp;

use super::{LiveFunction, LiveGroup};

/// A fresh read of one resource, with all that its calls need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// Of a security group.
    Group(LiveGroup),
    /// Of a function, or of a layer version.
    Function(LiveFunction),
}

impl Live {
    /// The id of the resource.
    pub fn id(&self) -> &str {
        match self {
            Self::Group(group) => &group.id,
            Self::Function(function) => &function.id,
        }
    }

    /// When the read was begun: what it shows is at least as new.
    pub fn read_at(&self) -> Timestamp {
        match self {
            Self::Group(group) => group.read_at,
            Self::Function(function) => function.read_at,
        }
    }
}
