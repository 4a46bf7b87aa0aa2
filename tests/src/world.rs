//! Everything that a test needs around it: Kubernetes, and AWS.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, anyhow};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::control_plane::{ADMINISTRATOR, Binaries, ControlPlane};
use crate::emulator::{self, Emulator};
use crate::scenario::Scenario;

/// A control plane with the CRDs, and an AWS emulator.
///
/// Tests share one per test binary and keep apart by namespace and account. A test that stops a server takes a world
/// of its own, with [`World::start`].
#[derive(Debug)]
pub struct World {
    /// Kubernetes.
    pub control_plane: ControlPlane,
    /// AWS.
    pub emulator: Emulator,
    scenarios: AtomicU32,
}

impl World {
    /// The world that the tests of this binary share; the first who asks starts it.
    pub async fn shared() -> Result<&'static Self> {
        static WORLD: OnceCell<Result<World, String>> = OnceCell::const_new();
        let start = async || Self::start().await.map_err(|error| format!("{error:#}"));
        // A start that failed would fail for the next test too, and take as long again.
        let world = WORLD.get_or_init(start).await;
        world.as_ref().map_err(|error| anyhow!(error.clone()))
    }

    /// A world of one's own. It ends when it is dropped.
    pub async fn start() -> Result<Self> {
        // The quick part first: a missing Python is told before Go compiles for minutes.
        spawn_blocking(|| emulator::interpreter().and_then(|_| Binaries::locate())).await??;
        let (control_plane, emulator) = tokio::try_join!(start_control_plane(), Emulator::start())?;
        Ok(Self { control_plane, emulator, scenarios: AtomicU32::new(0) })
    }

    /// A fresh namespace and a fresh AWS account. `name` becomes part of the namespace's name.
    pub async fn scenario(&self, name: &str) -> Result<Scenario<'_>> {
        let number = self.scenarios.fetch_add(1, Ordering::Relaxed);
        Scenario::start(self, name, number).await
    }
}

async fn start_control_plane() -> Result<ControlPlane> {
    let control_plane = ControlPlane::start().await?;
    control_plane.apply_crds(crds::yaml_files()?.into_iter().map(|(_, yaml)| yaml)).await?;
    control_plane.install_policies(ADMINISTRATOR).await?;
    Ok(control_plane)
}
