//! A run in which another process takes the lease over at one AWS write.

use std::fmt;

use anyhow::{Result, ensure};

use super::point::Point;
use super::stage::{LEASE_SECONDS, Stage};
use super::trail::{End, Trail, writes};
use super::{Moment, Reached};
use crate::baseward::{Controller, Program};
use crate::emulator::{Call, FaultKind};
use crate::proxy::{Gate, Proxy};
use crate::wait::wait_until;
use crate::world::World;

const FIRST: &str = "first";
const SECOND: &str = "second";

/// At which write, and how the leader loses the lease. It cannot see that it has lost it before all is done.
pub(super) struct Handover {
    at: Point,
    loss: Loss,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It sleeps while its write is on its way and another one takes over and writes, and then finds the answer. What it
    /// had sent to the API server arrives only then.
    Asleep,
    /// It goes on. To its write to the API server there is no answer.
    CutOff,
}

impl Handover {
    /// All of a run.
    pub(super) fn all(undisturbed: &Trail) -> impl Iterator<Item = Self> {
        let at = |at: Point| [Loss::Asleep, Loss::CutOff].map(|loss| Self { at: at.clone(), loss });
        Point::all(undisturbed).flat_map(at)
    }

    pub(super) async fn run(&self, world: &World, program: &Program, undisturbed: &Trail) -> Result<Reached> {
        let stage = Stage::set(world, program, undisturbed.fleet).await?;
        let proxies = [stage.proxy(FIRST).await?, stage.proxy(SECOND).await?];
        let [proxy, _] = &proxies;
        match &self.at {
            Point::Aws(point) => stage.spoil_slowly(self.loss.on_its_way(), point).await?,
            Point::Kubernetes(point) => proxy.stop_at(point, self.loss.moment()),
        }
        let mut first = stage.launch(FIRST, proxy).await?;
        let end = Some(&undisturbed.end);
        tokio::select! {
            reached = self.at.reached(&stage, proxy) => reached?,
            rested = stage.rest(None, end) => {
                rested?;
                ensure!(!self.at.is_certain(undisturbed.fleet), "the run did not come by");
                return Ok(Reached::No);
            }
        }
        proxy.set_gate(Gate::Journal);
        let mut second = self.take_over(&stage, &mut first, &proxies, end).await?;
        proxy.set_gate(Gate::Open);
        if !self.at.is_first_bid() {
            wait_until("the first process ends, since another one leads", stage.scenario.patience, async || {
                ensure!(first.process().exited()?.is_some(), "it still runs");
                Ok(())
            })
            .await?;
        }
        stage.rest(None, end).await?;
        ensure!(second.process().exited()?.is_none(), "the second process has ended, too");
        one_at_a_time(&stage, &proxies).await?;
        stage.trail(proxy.writes()).await?.compare(undisturbed)?;
        Ok(Reached::Yes)
    }

    /// Starts another process, which takes over and puts everything right, while the first one sleeps or goes on.
    async fn take_over(
        &self,
        stage: &Stage<'_>,
        leading: &mut Controller,
        proxies: &[Proxy; 2],
        end: Option<&End>,
    ) -> Result<Controller> {
        let [proxy, other] = proxies;
        leading.process().freeze(self.loss == Loss::Asleep)?;
        let leader = stage.holder().await?;
        let second = stage.launch(SECOND, other).await?;
        stage.taken_over(leader.as_deref()).await?;
        if self.loss == Loss::Asleep {
            tokio::select! {
                written = has_written(stage, SECOND) => written?,
                // Perhaps there is nothing left to write.
                rested = stage.rest(leader.as_deref(), end) => rested?,
            }
            proxy.let_go();
            leading.process().freeze(false)?;
        }
        stage.rest(leader.as_deref(), end).await?;
        Ok(second)
    }
}

/// Waits until a process has made a write.
async fn has_written(stage: &Stage<'_>, process: &str) -> Result<()> {
    stage.writable(None).await?;
    wait_until("the new holder writes", stage.scenario.patience, async || {
        let calls = writes(stage.scenario.aws.ledger().await?);
        ensure!(calls.iter().any(|call| is_by(call, process)), "it does not");
        Ok(())
    })
    .await
}

fn is_by(call: &Call, process: &str) -> bool {
    call.user_agent.as_deref().is_some_and(|agent| agent.contains(&format!("exec-env/{process}")))
}

impl Loss {
    /// When a write to the API server is held, seen from its effect.
    fn moment(self) -> Moment {
        match self {
            Self::Asleep => Moment::Before,
            Self::CutOff => Moment::After,
        }
    }

    /// The write to AWS takes effect a little later: time to fall asleep, and less than a write may take.
    fn on_its_way(self) -> FaultKind {
        let milliseconds = match self {
            Self::Asleep => 350.0,
            Self::CutOff => 10.0,
        };
        FaultKind::Latency { milliseconds }
    }
}

/// Fails if a process has written after the one that came after it, or longer than it held the lease for sure.
async fn one_at_a_time(stage: &Stage<'_>, proxies: &[Proxy; 2]) -> Result<()> {
    let calls = writes(stage.scenario.aws.ledger().await?);
    let seconds: Vec<bool> = calls.iter().map(|call| is_by(call, SECOND)).collect();
    ensure!(seconds.is_sorted(), "writes of two processes are mixed: {seconds:?}");
    for call in &calls {
        let [first, second] = proxies;
        let proxy = if is_by(call, SECOND) { second } else { first };
        let renewed = proxy.renewed_before(call.time).unwrap_or_default();
        let late = call.time - renewed - f64::from(LEASE_SECONDS);
        ensure!(late <= 0.0, "call {}, {}, is {late:.1} s later than the lease", call.seq, call.operation());
    }
    Ok(())
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = match self.loss {
            Loss::Asleep => "leader asleep",
            Loss::CutOff => "leader cut off",
        };
        write!(f, "{} {loss}", self.at)
    }
}
