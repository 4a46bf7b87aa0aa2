//! A run whose process is killed at one write and started again.

use std::fmt;

use anyhow::{Result, ensure};

use super::Reached;
use super::point::Point;
use super::stage::Stage;
use super::trail::Trail;
use crate::baseward::Program;
use crate::world::World;

/// Where the process dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crash {
    at: Point,
    moment: Moment,
}

/// When, seen from the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It is sent, and has no effect.
    Before,
    /// It has had its effect, and nobody has been told.
    After,
}

impl Crash {
    /// All crash points of a run.
    pub(super) fn all(undisturbed: &Trail) -> impl Iterator<Item = Self> {
        let at = |at: Point| [Moment::Before, Moment::After].map(|moment| Self { at: at.clone(), moment });
        Point::all(undisturbed).flat_map(at)
    }

    pub(super) async fn run(&self, world: &World, program: &Program, undisturbed: &Trail) -> Result<Reached> {
        let stage = Stage::set(world, program, undisturbed.fleet).await?;
        let proxy = stage.proxy("proxy").await?;
        match &self.at {
            Point::Aws(point) => stage.stop_at(point, self.moment).await?,
            Point::Kubernetes(point) => proxy.stop_at(point, self.moment),
        }
        let mut first = stage.launch("first", &proxy).await?;
        let end = Some(&undisturbed.end);
        let reached = tokio::select! {
            stopped = self.at.reached(&stage, &proxy) => { stopped?; Reached::Yes }
            rested = stage.rest(None, end) => { rested?; Reached::No }
        };
        let _second;
        if reached == Reached::Yes {
            first.process().kill();
            if !stage.died_in_time().await? {
                return Ok(Reached::TooLate);
            }
            let holder = stage.holder().await?;
            _second = stage.launch("second", &proxy).await?;
            stage.rest(holder.as_deref(), end).await?;
        }
        ensure!(reached == Reached::Yes || !self.at.is_certain(undisturbed.fleet), "the run did not come by");
        stage.trail(proxy.writes()).await?.compare(undisturbed)?;
        Ok(reached)
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        write!(f, "{} {moment}", self.at)
    }
}
