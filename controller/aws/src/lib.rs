//! The way to AWS: the only crate that names a type of an AWS SDK.
//!
//! A [`Connector`] is made once per process and gives out a [`Connection`] per account and region.
//! [`observe`] reads the facts that controls judge, [`live::read_live`] looks at single resources
//! right before and after a change, [`write::execute`] makes one permitted call, and
//! [`cloudtrail::lookup_events::latest_other`] tells who else changes a group.
//!
//! Reads are repeated by one loop, paying a token for each attempt; writes are never repeated. The
//! SDK's own retries are off.

mod classify;
pub mod cloudfront;
pub mod cloudtrail;
mod connection;
mod connector;
mod credentials;
pub mod ec2;
mod error;
pub mod iam;
mod identity;
mod inventory;
pub mod lambda;
mod limiter;
pub mod live;
mod paging;
mod reply;
mod retry;
pub mod tagging;
pub mod write;

pub use connection::Connection;
pub use connector::{Connector, ConnectorOptions, Target};
pub use error::{AwsError, Effect, ErrorClass};
pub use identity::{IdentityError, Role};
pub use inventory::{Observed, observe};
