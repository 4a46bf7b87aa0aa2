//! The same for Lambda: functions with their policies and URLs, layers, and baselines that look at them.

mod baselines;
mod concord;
mod convergence;
mod determinism;
mod generators;
mod knowledge;
mod mixed;
mod safety;
mod secrecy;
mod service;
mod statements;
mod undo;
mod world;

use proptest::prelude::*;

use self::world::World;
use crate::dice::Dice;

/// A tenth of the cases: a world of functions has all facts of all of them, and costs ten times as much as one of groups.
fn config() -> ProptestConfig {
    let config = crate::config();
    ProptestConfig { cases: config.cases.div_ceil(10), ..config }
}

/// An account with functions, layers and baselines.
fn worlds() -> impl Strategy<Value = World> {
    prop::collection::vec(any::<u16>(), 0..500).prop_map(|numbers| generators::world(&mut Dice::new(&numbers)))
}

/// A world, and choices beside it for what a property varies.
fn worlds_and_choices() -> impl Strategy<Value = (World, Vec<u16>)> {
    (worlds(), prop::collection::vec(any::<u16>(), 0..400))
}

/// So many worlds, always the same ones, with all the choices that they can make.
fn sample(count: usize) -> impl Iterator<Item = World> {
    crate::numbers(count, 500).map(|numbers| generators::world(&mut Dice::new(&numbers)))
}
