//! The right to make one AWS call: made by the rails alone, for one call, right before it.

use crate::call::Call;
use crate::facts::Location;

/// The right to make exactly one mutating AWS call, now. Only `rails::permit` makes one, and it cannot be
/// copied: the `aws` crate takes it by value.
#[derive(Debug)]
pub struct Permit {
    location: Location,
    resource: String,
    call: Call,
}

impl Permit {
    pub(crate) fn new(location: Location, resource: String, call: Call) -> Self {
        Self { location, resource, call }
    }

    /// The account and region that the call may be made in.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The id of the one resource that the call may change.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The call that may be made.
    pub fn call(&self) -> &Call {
        &self.call
    }
}
