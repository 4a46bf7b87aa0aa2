//! `cargo chaos`: a process that dies, or loses its lease, at every write of a run changes nothing about what comes of it.
//!
//! There is a fleet of resources of each kind. Of each an undisturbed run is recorded first: every AWS write, by the emulator's ledger, and every write to the Kubernetes API,
//! by a proxy before the API server. Each of them is a crash point twice: before its effect, and after its effect but
//! before its reply. For each point the run is begun anew in an account of its own; at the point the process is killed
//! (`kill -9`) and started again. Each write is also a point at which another process takes the lease over, while the leader
//! sleeps or cannot renew it.
//!
//! Every run must end as the undisturbed one did, with the same changes, each made once. No write may have opened or cut
//! what it must not have (see [`crate::scenario::Scenario`]), every change set must be closed, nothing more may be written,
//! and no process may write after another one has begun to.

mod crash;
mod fleet;
mod functions;
mod groups;
mod handover;
mod names;
mod point;
mod stage;
mod trail;

use std::collections::BTreeSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use futures::future::try_join_all;
use futures::{FutureExt as _, StreamExt as _, stream};

use crate::baseward::Program;
use crate::world::World;
pub(crate) use crash::Moment;
pub(crate) use point::Nth;

use crash::Crash;
use fleet::Fleet;
use handover::Handover;
use stage::Stage;
use trail::Trail;

/// Which points, and how many at once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only points whose name contains this.
    pub only: String,
    /// A run waits more than it works.
    pub jobs: usize,
}

/// How often a point is tried on a machine that is busy with something else.
const ATTEMPTS: usize = 3;

/// So many runs of a sample at once: other tests run beside it, and a lease lasts a second.
const SAMPLED_AT_ONCE: usize = 4;

/// What happens to a run that would have been as another one was.
struct Blow<'t> {
    undisturbed: &'t Trail,
    kind: BlowKind,
}

enum BlowKind {
    Crash(Crash),
    Handover(Handover),
}

/// What came of a run.
struct Outcome {
    name: String,
    took: Duration,
    result: Result<Reached>,
}

/// Whether a run came by its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Yes,
    /// What is a matter of time did not happen this time; the run had to end well all the same.
    No,
    /// The machine was too slow to strike where it should have: that shows nothing.
    TooLate,
}

/// Runs all points and prints a table.
///
/// # Errors
/// The number of points at which something did not hold; what it was is in the table.
pub async fn run(program: Program, options: Options) -> Result<()> {
    let world = World::start().await?;
    let started = Instant::now();
    let undisturbed = record(&world, &program).await?;
    let mut blows: Vec<Blow<'_>> = undisturbed.iter().flat_map(all).collect();
    blows.retain(|blow| blow.to_string().contains(&options.only));
    let outcomes = suffer(&world, &program, blows, options.jobs).await;
    conclude(&outcomes, started.elapsed())
}

/// Runs a few points of each fleet, always the same ones, for the tests.
///
/// # Errors
/// What did not hold at which point.
pub async fn sample(program: Program, crashes: usize, handovers: usize) -> Result<()> {
    let world = World::start().await?;
    let started = Instant::now();
    let undisturbed = record(&world, &program).await?;
    let of_fleet = |undisturbed| {
        let (crash, handover): (Vec<_>, Vec<_>) =
            all(undisturbed).partition(|blow| matches!(blow.kind, BlowKind::Crash(_)));
        spread(crash, crashes).chain(spread(handover, handovers))
    };
    let blows = undisturbed.iter().flat_map(of_fleet).collect();
    let outcomes = suffer(&world, &program, blows, SAMPLED_AT_ONCE).await;
    conclude(&outcomes, started.elapsed())
}

/// So many of them, evenly spread. Of the two that follow each other at one write it is the first and the second in turn.
fn spread<T>(all: Vec<T>, count: usize) -> impl Iterator<Item = T> {
    let pairs = all.len() / 2;
    let chosen: BTreeSet<usize> =
        (0..count).map(|number| (2 * number + 1) * pairs / (2 * count) * 2 + number % 2).collect();
    all.into_iter().enumerate().filter(move |(position, _)| chosen.contains(position)).map(|(_, one)| one)
}

/// The undisturbed run of each fleet.
async fn record(world: &World, program: &Program) -> Result<Vec<Trail>> {
    try_join_all(Fleet::ALL.map(|fleet| record_one(world, program, fleet))).await
}

async fn record_one(world: &World, program: &Program, fleet: Fleet) -> Result<Trail> {
    let started = Instant::now();
    let stage = Stage::set(world, program, fleet).await?;
    let proxy = stage.proxy("proxy").await?;
    let _controller = stage.launch("only", &proxy).await?;
    stage.rest(None, None).await?;
    let trail = stage.trail(proxy.writes()).await?;
    let (aws, kubernetes, points) = (trail.aws.len(), trail.kubernetes.len(), all(&trail).count());
    let took = started.elapsed().as_secs_f32();
    println!("{fleet} undisturbed: {aws} AWS writes, {kubernetes} Kubernetes writes, {points} points, {took:.0} s");
    Ok(trail)
}

fn all(undisturbed: &Trail) -> impl Iterator<Item = Blow<'_>> {
    let handovers = Handover::all(undisturbed).map(BlowKind::Handover);
    let kinds = Crash::all(undisturbed).map(BlowKind::Crash).chain(handovers);
    kinds.map(move |kind| Blow { undisturbed, kind })
}

async fn suffer(world: &World, program: &Program, blows: Vec<Blow<'_>>, jobs: usize) -> Vec<Outcome> {
    let run = async |blow: Blow<'_>| {
        let started = Instant::now();
        let mut result = Ok(Reached::TooLate);
        for _ in 0..ATTEMPTS {
            // A scenario that is judged guilty at its end panics.
            let run = AssertUnwindSafe(blow.strike(world, program)).catch_unwind();
            result = run.await.unwrap_or_else(|_| Err(anyhow!("judged guilty")));
            if !matches!(result, Ok(Reached::TooLate)) {
                break;
            }
        }
        let outcome = Outcome { name: blow.to_string(), took: started.elapsed(), result };
        println!("{outcome}");
        outcome
    };
    stream::iter(blows.into_iter().map(run)).buffer_unordered(jobs.max(1)).collect().await
}

fn conclude(outcomes: &[Outcome], took: Duration) -> Result<()> {
    let failed = outcomes.iter().filter(|outcome| !matches!(outcome.result, Ok(Reached::Yes | Reached::No))).count();
    println!("{} points, {failed} failed, {:.0} s", outcomes.len(), took.as_secs_f32());
    ensure!(!outcomes.is_empty(), "there is no such point");
    ensure!(failed == 0, "{failed} of {} points failed", outcomes.len());
    Ok(())
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.1} s  {:<64} ", self.took.as_secs_f32(), self.name)?;
        match &self.result {
            Ok(Reached::Yes) => f.write_str("held"),
            Ok(Reached::No) => f.write_str("held, but did not happen"),
            Ok(Reached::TooLate) => f.write_str("FAILED: the machine is too slow"),
            Err(error) => write!(f, "FAILED: {error:#}"),
        }
    }
}

impl Blow<'_> {
    async fn strike(&self, world: &World, program: &Program) -> Result<Reached> {
        match &self.kind {
            BlowKind::Crash(crash) => crash.run(world, program, self.undisturbed).await,
            BlowKind::Handover(handover) => handover.run(world, program, self.undisturbed).await,
        }
    }
}

impl fmt::Display for Blow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.undisturbed.fleet)?;
        match &self.kind {
            BlowKind::Crash(crash) => crash.fmt(f),
            BlowKind::Handover(handover) => handover.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly_and_takes_both_sides_of_a_write() {
        let sample = |all: usize, count| spread((0..all).collect(), count).collect::<Vec<usize>>();
        assert_eq!(sample(16, 4), [2, 7, 10, 15]);
        assert_eq!(sample(42, 1), [20]);
        assert_eq!(sample(4, 0), [0; 0]);
        assert_eq!(sample(2, 1), [0]);
    }
}
