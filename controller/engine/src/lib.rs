//! The brain of Baseward: facts and baselines in, findings, plans and reports out.
//!
//! Everything here is a pure function of its arguments: no client, no clock, no randomness, no
//! environment. Time is an argument. The data flow, one module per step, is
//! `desired` → `evaluate` → `plan` → `rails` → `report`.

pub mod address;
pub mod approval;
pub mod budget;
pub mod call;
pub mod canary;
pub mod contests;
pub mod controls;
pub mod desired;
pub mod duration;
pub mod edit;
pub mod evaluate;
pub mod exempt;
pub mod exposure;
pub mod facts;
pub mod finding;
pub mod kind;
pub mod permission;
pub mod permit;
pub mod plan;
pub mod policy;
pub mod property;
pub mod questions;
pub mod rails;
mod ranges;
pub mod readiness;
pub mod remediation;
pub mod report;
pub mod retries;
pub mod rivals;
pub mod runtimes;
mod schema;
pub mod secrets;
pub mod select;
pub mod sequence;
pub mod spec;
pub mod tenancy;
pub mod traffic;
pub mod undo;
pub mod window;
