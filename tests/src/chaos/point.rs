//! The writes of an undisturbed run as points at which something happens to another run.
//!
//! A point is named by what its write does and by its number among its like, never by its place in the run: the order of
//! equally bad groups and the times of statuses and renewals are not the same in every run. Renewals of the lease are
//! alike and without end, so of them the first, second, fourth, eighth … are points; every other write is one.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;

use super::fleet::Fleet;
use super::stage::Stage;
use super::trail::{AwsWrite, Trail};
use crate::proxy::{KubernetesWrite, Proxy};

/// The n-th write of its kind, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nth<W> {
    pub(crate) write: W,
    pub(crate) ordinal: u32,
}

/// A write to either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Aws(Nth<AwsWrite>),
    Kubernetes(Nth<KubernetesWrite>),
}

impl Point {
    /// All points of a run.
    pub(super) fn all(trail: &Trail) -> impl Iterator<Item = Self> {
        let counts = |point: &Nth<KubernetesWrite>| !point.write.is_renewal() || point.ordinal.is_power_of_two();
        let kubernetes = Nth::all(&trail.kubernetes).into_iter().filter(counts).map(Self::Kubernetes);
        Nth::all(&trail.aws).into_iter().map(Self::Aws).chain(kubernetes)
    }

    /// Whether it is the write by which a process takes the lease: before the answer it does not know that it leads.
    pub(super) fn is_first_bid(&self) -> bool {
        matches!(self, Self::Kubernetes(point) if point.write == KubernetesWrite::new("POST", "leases"))
    }

    /// Waits until a run has come by.
    pub(super) async fn reached(&self, stage: &Stage<'_>, proxy: &Proxy) -> Result<()> {
        match self {
            Self::Aws(_) => stage.under_way().await,
            Self::Kubernetes(_) => {
                proxy.stopped().await;
                Ok(())
            }
        }
    }

    /// Whether every run comes by. How many statuses, events and renewals there are is a matter of time.
    /// So is how many change sets there are for functions: what is read of them in turns is found at different times.
    pub(super) fn is_certain(&self, fleet: Fleet) -> bool {
        match self {
            Self::Aws(_) => true,
            Self::Kubernetes(point) if point.ordinal > 1 => fleet == Fleet::Groups && point.write.is_of_the_journal(),
            Self::Kubernetes(_) => true,
        }
    }
}

impl<W: Ord + Clone> Nth<W> {
    /// Each write with its number among its like.
    pub(super) fn all(writes: &[W]) -> Vec<Self> {
        let mut counts: BTreeMap<&W, u32> = BTreeMap::new();
        let number = |write| {
            let count = counts.entry(write).or_default();
            *count += 1;
            Self { write: write.clone(), ordinal: *count }
        };
        writes.iter().map(number).collect()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(point) => point.fmt(f),
            Self::Kubernetes(point) => point.fmt(f),
        }
    }
}

impl<W: fmt::Display> fmt::Display for Nth<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.write, self.ordinal)
    }
}
