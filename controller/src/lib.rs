//! The controller of Baseward: the loops, the command line, and nothing that names an AWS SDK.
//!
//! Three small loops share one line of data: the account controller proves accounts, a worker per cell sweeps
//! (observe, evaluate, plan, rails, act, report), and the baseline controller writes statuses.

#![allow(unreachable_pub, reason = "`pub` says what the other modules of this crate may use")]

mod accounts;
mod act;
mod approvals;
mod audit;
mod authority;
mod backoff;
mod baselines;
mod cells;
mod cli;
mod context;
mod events;
mod exemptions;
mod http;
mod journal;
mod kubernetes;
mod lease;
mod metrics;
mod newest;
mod past;
mod pending;
mod policies;
mod retention;
mod rivals;
mod rollback;
mod run;
mod seconds;
mod status;
mod store;
mod sweep;
mod telemetry;
mod undecodable;

pub use cli::main;

/// Each sweep reads everything anew beside what it read before; the allocator of the system scatters the two among each other
/// and gives back little.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
