//! The rig of the tests: a real kube-apiserver and etcd, an AWS emulator, and an oracle that judges every write.
//!
//! A test takes a [`Scenario`] from the [`World`] and reads as: given an account with these groups, apply this YAML,
//! wait for this condition, then look at AWS, at the ledger of calls and at the status.
//!
#![doc = include_str!("../FAULTS.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic"))]

pub mod aws_client;
pub mod baseward;
pub mod cache;
pub mod callers;
pub mod chaos;
pub mod control_plane;
pub mod demo;
pub mod emulator;
pub mod faults;
pub mod flows;
pub mod generate;
mod judge;
pub mod kubectl;
pub mod process;
pub mod proxy;
pub mod scale;
pub mod scenario;
pub mod wait;
pub mod world;

pub use baseward::Program;
pub use control_plane::ControlPlane;
pub use emulator::Emulator;
pub use kubectl::Kubectl;
pub use proxy::Proxy;
pub use scenario::Scenario;
pub use wait::wait_until;
pub use world::World;
