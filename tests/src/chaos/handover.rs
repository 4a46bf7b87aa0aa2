//! A run in which another process takes the lease over at one AWS write.

use std::fmt;

use anyhow::{Result, ensure};

use super::Reached;
use super::point::Nth;
use super::stage::{LEASE_SECONDS, Stage};
use super::trail::{AwsWrite, Trail, writes};
use crate::baseward::{Controller, Program};
use crate::emulator::{Call, FaultKind};
use crate::proxy::{Gate, Proxy};
use crate::wait::wait_until;
use crate::world::World;

const FIRST: &str = "first";
const SECOND: &str = "second";

/// At which write, and how the leader loses the lease. It cannot see that it has lost it before all is done.
pub(super) struct Handover {
    at: Nth<AwsWrite>,
    loss: Loss,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It sleeps while its write takes effect and another one takes over and writes, and then finds the answer.
    Asleep,
    /// It goes on.
    CutOff,
}

impl Handover {
    /// All of a run.
    pub(super) fn all(undisturbed: &Trail) -> impl Iterator<Item = Self> {
        let at = |at: Nth<AwsWrite>| [Loss::Asleep, Loss::CutOff].map(|loss| Self { at: at.clone(), loss });
        Nth::all(&undisturbed.aws).into_iter().flat_map(at)
    }

    pub(super) async fn run(&self, world: &World, program: &Program, undisturbed: &Trail) -> Result<Reached> {
        let stage = Stage::set(world, program).await?;
        let proxies = [stage.proxy(FIRST).await?, stage.proxy(SECOND).await?];
        let [proxy, other] = &proxies;
        stage.spoil_slowly(self.loss.on_its_way(), &self.at).await?;
        let mut first = stage.launch(FIRST, proxy).await?;
        stage.taken_over(None).await?;
        let leader = stage.holder().await?;
        let mut second = stage.launch(SECOND, other).await?;
        stage.under_way().await?;
        if stage.holder().await? != leader {
            return Ok(Reached::TooLate);
        }
        self.lose(&stage, &mut first, proxy, leader.as_deref()).await?;
        stage.rest(leader.as_deref(), Some(&undisturbed.end)).await?;
        proxy.set_gate(Gate::Open);
        wait_until("the first process ends, since another one leads", stage.scenario.patience, async || {
            ensure!(first.process().exited()?.is_some(), "it still runs");
            Ok(())
        })
        .await?;
        ensure!(second.process().exited()?.is_none(), "the second process has ended, too");
        one_at_a_time(&stage, &proxies).await?;
        stage.all_closed().await?;
        stage.trail(proxy.writes()).await?.compare(undisturbed)?;
        Ok(Reached::Yes)
    }

    async fn lose(
        &self,
        stage: &Stage<'_>,
        leading: &mut Controller,
        proxy: &Proxy,
        leader: Option<&str>,
    ) -> Result<()> {
        if self.loss == Loss::CutOff {
            proxy.set_gate(Gate::Journal);
            return Ok(());
        }
        leading.process().freeze(true)?;
        proxy.set_gate(Gate::Journal);
        stage.taken_over(leader).await?;
        tokio::select! {
            written = has_written(stage, SECOND) => written?,
            // Perhaps there is nothing left to write.
            rested = stage.rest(leader, None) => rested?,
        }
        leading.process().freeze(false)
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
    /// The write takes effect a little later: time to fall asleep, and less than a write may take.
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
