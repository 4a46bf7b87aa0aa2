//! Faults that no other scenario shows: see `FAULTS.md` for all of them, with the promise that each must keep.

mod api_server;
mod aws;
mod hostile;
mod pages;
mod process;
mod silent;
mod store;
mod writes;

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use kube::core::DynamicObject;
use tests::baseward::{Controller, Program};
use tests::{Proxy, Scenario, World};
use tokio::sync::OnceCell;

use crate::{BASELINE, program};

/// Short enough that a test need not wait, long enough for a busy machine.
const LEASE_SECONDS: u32 = 4;

/// A scenario with a controller of its own, and what is between it and the API server.
pub(crate) struct Corner {
    // The order counts: the controller ends first.
    pub(crate) controller: Controller,
    pub(crate) proxy: Proxy,
    pub(crate) scenario: Scenario<'static>,
}

/// A corner of the world in which every scenario has a controller of its own.
pub(crate) async fn corner(name: &str) -> Result<Corner> {
    corner_of(program(), name).await
}

/// The same with a program that is started in its own way.
async fn corner_of(program: Program, name: &str) -> Result<Corner> {
    let (scenario, proxy) = empty_corner(name).await?;
    let controller = launch(program, &scenario, &proxy).await?;
    Ok(Corner { controller, proxy, scenario })
}

/// The same before its controller is started.
async fn empty_corner(name: &str) -> Result<(Scenario<'static>, Proxy)> {
    let mut scenario = world().await?.scenario(name).await?;
    scenario.patience = Duration::from_secs(60);
    let proxy = Proxy::start(&scenario.world.control_plane, &scenario.namespace, name).await?;
    Ok((scenario, proxy))
}

/// The world of the corners: nobody runs in it for everybody.
async fn world() -> Result<&'static World> {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_try_init(World::start).await
}

/// Starts a controller of one scenario alone, behind a proxy.
pub(crate) async fn launch(program: Program, scenario: &Scenario<'_>, proxy: &Proxy) -> Result<Controller> {
    let lease_seconds = LEASE_SECONDS.to_string();
    let flags = [
        ["--lease-namespace", &scenario.namespace],
        ["--lease-seconds", &lease_seconds],
        ["--write-seconds", "1"],
        ["--read-seconds", "3"],
    ];
    program.through(proxy.kubeconfig().to_owned()).launch(scenario.world, &flags.concat()).await
}

/// Has a baseline looked at once more, and waits until that look has ended.
async fn look_again(scenario: &Scenario<'_>, name: &str) -> Result<()> {
    let asked = Timestamp::now().to_string();
    let annotation = format!("baseward.dev/reconcile-at={asked}");
    scenario.kubectl.run(["annotate", "--overwrite", "sgb", name, &annotation]).await?;
    let asked = asked.as_str();
    let handled = |object: &DynamicObject| object.data["status"]["lastHandledReconcileAt"] == asked;
    scenario.wait_for(BASELINE, name, "it was looked at once more", handled).await?;
    Ok(())
}
