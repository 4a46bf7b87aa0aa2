//! The AWS emulator: moto behind the layer in `tests/emulator`, on a free port of this machine.
//!
//! Its state lives in its process. So there are two kinds of outage: [`Emulator::freeze`] keeps the state and lets
//! clients wait, as a network that swallows packets would; faults (`Reset`, `InternalError`, …) keep the state and answer
//! at once. [`Emulator::restart`] loses the state: it is for tests of an endpoint that forgets everything.

mod api;
mod fault;
mod rule;
mod seed;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

pub use api::{AccountApi, Call, EmulatorApi, FunctionChange, Group, GroupChange, GroupRules, LayerChange, Settings};
pub use fault::{Fault, FaultCount, FaultKind, ForeignChange};
pub use rule::{Direction, PeerKind, Rule};
pub use seed::{BadFunction, BadGroup, Fleet, FleetSeed, FunctionFleet, FunctionFleetSeed, GroupSeed, Seed, Seeded};

use crate::cache::{Cache, Inputs, progress};
use crate::process::{ScratchDir, Server, run};

/// The package `baseward_emulator` and its requirements.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/emulator");

/// Importing moto takes seconds on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the pinned requirements ask for.
const OLDEST_PYTHON: (u32, u32) = (3, 11);

/// A running emulator. Dropping it ends it.
///
/// Nothing in it belongs to an async runtime, so the tests of a binary, which have a runtime each, can share it.
#[derive(Debug)]
pub struct Emulator {
    // The order counts: the server must not outlive its folder.
    server: Mutex<Server>,
    python: PathBuf,
    port: u16,
    scratch: ScratchDir,
}

impl Emulator {
    /// Starts the emulator, and returns when it serves.
    pub async fn start() -> Result<Self> {
        let python = spawn_blocking(interpreter).await??;
        let scratch = ScratchDir::new()?;
        let (server, port) = launch(&python, scratch.path(), 0).await?;
        Ok(Self { server: Mutex::new(server), python, port, scratch })
    }

    /// The endpoint for AWS clients, as in `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client of the control API. Each call makes a new one: its connections belong to the runtime they are made in.
    #[must_use]
    pub fn api(&self) -> EmulatorApi {
        EmulatorApi::new(self.url())
    }

    /// Stops the emulator in its tracks (connections stay open and get no answer), or lets it go on with its state.
    pub async fn freeze(&self, frozen: bool) -> Result<()> {
        self.server.lock().await.freeze(frozen)
    }

    /// Kills the emulator: connections are refused, and its state is lost.
    pub async fn kill(&self) {
        self.server.lock().await.kill();
    }

    /// Kills the emulator and starts it on the same port, with no state at all.
    pub async fn restart(&self) -> Result<()> {
        let mut server = self.server.lock().await;
        server.kill();
        let (started, _) = launch(&self.python, self.scratch.path(), self.port).await?;
        *server = started;
        Ok(())
    }

    /// The process id.
    pub async fn pid(&self) -> i32 {
        self.server.lock().await.pid()
    }

    /// Ends the emulator. So does dropping it.
    pub fn stop(self) {
        drop(self);
    }
}

async fn launch(python: &Path, folder: &Path, port: u16) -> Result<(Server, u16)> {
    let mut command = Command::new(python);
    command.args(["-m", "baseward_emulator", "--port"]).arg(port.to_string()).env("PYTHONPATH", SOURCES);
    let log = folder.join("emulator.log");
    let mut server = Server::start("emulator", &command, &log)?;
    let output = server.output();
    let port = server.ready(DEADLINE, async || listening_port(&output.read()?));
    let port = port.await?;
    Ok((server, port))
}

/// The port in the line that the emulator prints when it serves.
fn listening_port(output: &str) -> Result<u16> {
    let port = output
        .lines()
        .find_map(|line| line.strip_prefix("listening http://127.0.0.1:"))
        .context("it has not said where it listens")?;
    Ok(port.trim().parse()?)
}

/// The interpreter of a virtual environment with the emulator's requirements, made on first use.
///
/// Blocks: the installation takes a minute.
pub fn interpreter() -> Result<PathBuf> {
    let requirements = Path::new(SOURCES).join("requirements.txt");
    let remedy = format!(
        "the AWS emulator of the tests needs python3 {}.{} or newer with its venv module (on Debian and Ubuntu: apt \
         install python3-venv)",
        OLDEST_PYTHON.0, OLDEST_PYTHON.1
    );
    let python = Python::find().with_context(|| remedy.clone())?;
    ensure!(python.version >= OLDEST_PYTHON, "{} is too old: {remedy}", python.description);
    let inputs = Inputs::new().file(&requirements)?.text(&python.description);
    let folder = Cache::open()?.entry("emulator", inputs, |folder| {
        progress("installing the AWS emulator's requirements; once, about a minute");
        let mut venv = Command::new("python3");
        run(venv.args(["-m", "venv"]).arg(folder)).with_context(|| remedy.clone())?;
        let mut pip = Command::new(python_in(folder));
        pip.args(["-m", "pip", "install", "--no-input", "--require-hashes"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(&requirements);
        run(&mut pip)?;
        Ok(())
    })?;
    // The cache renames the folder after the build. An interpreter finds its packages from where it is; scripts such
    // as bin/pip would not.
    Ok(python_in(&folder))
}

fn python_in(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

/// The `python3` on PATH.
struct Python {
    version: (u32, u32),
    /// Which interpreter it is: an environment works only with the one that made it.
    description: String,
}

impl Python {
    fn find() -> Result<Self> {
        const ASK: &str = "import sys; print(*sys.version_info[:2]); print(sys.version, sys.base_prefix)";
        let answer = run(Command::new("python3").args(["-c", ASK]))?;
        let (numbers, description) = answer.split_once('\n').context("no version")?;
        let (major, minor) = numbers.split_once(' ').context("no version")?;
        Ok(Self { version: (major.parse()?, minor.parse()?), description: description.trim().replace('\n', " ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_line_that_tells_it() -> Result<()> {
        assert!(listening_port("a warning\n").is_err());
        let output = "a warning\nlistening http://127.0.0.1:40123\n";
        assert_eq!(listening_port(output)?, 40123);
        Ok(())
    }
}
