//! Properties that hold for every account and every set of baselines, on generated ones. Each is one of the invariants
//! that the design promises: nothing opens, nothing required goes away, nothing unknown is acted on.
//!
//! 10,000 cases each; `PROPTEST_CASES` sets another number, `PROPTEST_RNG_SEED` other cases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod approval;
mod bounded;
mod budget;
mod commutation;
mod convergence;
mod determinism;
mod dice;
mod ec2;
mod generators;
mod handover;
mod interruption;
mod knowledge;
mod lambda;
mod metamorphic;
mod oracle;
mod policy;
mod process;
mod safety;
mod undo;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

use crate::dice::Dice;
use crate::world::World;

/// 10,000 cases, always the same ones unless the environment says otherwise: what turns red is the change, not luck.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if default.cases == 256 { 10_000 } else { default.cases };
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(6),
        fixed => fixed,
    };
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_global_rejects: u32::MAX, ..default }
}

/// Tries what sweeps many times in each case, on a quarter of the cases.
fn try_some<S: Strategy>(strategy: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = config();
    let some = ProptestConfig { cases: config.cases.div_ceil(4), ..config };
    TestRunner::new(some).run(&strategy, property).unwrap_or_else(|failure| panic!("{failure}"));
}

/// An account with groups, prefix lists, interfaces and baselines.
fn worlds() -> impl Strategy<Value = World> {
    prop::collection::vec(any::<u16>(), 0..600).prop_map(|numbers| generators::world(&mut Dice::new(&numbers)))
}

/// So many worlds, always the same ones.
fn sample(count: usize) -> impl Iterator<Item = World> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(move |_| worlds().new_tree(&mut runner).unwrap().current())
}

/// So many sequences of so many numbers, always the same ones.
fn numbers(count: usize, length: usize) -> impl Iterator<Item = Vec<u16>> {
    let mut runner = TestRunner::deterministic();
    let numbers = prop::collection::vec(any::<u16>(), length);
    (0..count).map(move |_| numbers.new_tree(&mut runner).unwrap().current())
}

/// A world, and choices beside it for what a property varies.
fn worlds_and_choices() -> impl Strategy<Value = (World, Vec<u16>)> {
    (worlds(), prop::collection::vec(any::<u16>(), 0..40))
}
