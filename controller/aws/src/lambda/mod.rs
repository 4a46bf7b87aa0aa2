//! Lambda: a file per source of the inventory, and the reads and writes around a change.
//!
//! `GetFunction` is never called: it hands out the code.

pub mod account_settings;
pub mod aliases;
pub mod code_signing;
pub mod concurrency;
mod configuration;
pub mod event_invoke;
pub mod functions;
mod gather;
pub mod layers;
pub mod live;
pub mod policies;
pub mod recursion;
pub mod runtime_management;
pub mod urls;
pub mod versions;
pub mod write;

pub(crate) use gather::observe;

use crate::error::{AwsError, ErrorClass};

/// What is absent: Lambda answers `ResourceNotFoundException` to reads of what is not set.
fn absent<T>(read: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.class == ErrorClass::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The qualifier behind an ARN of a function: empty for the function itself.
fn qualifier(arn: &str) -> &str {
    arn.split(':').nth(7).unwrap_or_default()
}

/// As calls take it: none for the function itself.
fn qualified(qualifier: &str) -> Option<String> {
    Some(qualifier.to_owned()).filter(|qualifier| !qualifier.is_empty())
}
