//! The program under test, as a process of its own: `baseward`, started by way of the multi-call binary `rig`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::task::spawn_blocking;

use crate::process::{Log, Server};
use crate::wait::wait_until;
use crate::world::World;

/// The account that the controller's own identity belongs to. No scenario has it.
pub const OWN_ACCOUNT: &str = "999999999999";

/// The region that the controller runs in. No scenario has anything there.
pub const OWN_REGION: &str = "us-east-1";

/// Short enough that a test need not wait. A write starts only while more than its own time is left of the lease, so a
/// renewal may be late by what is between them on a busy machine.
const LEASE_SECONDS: &str = "8";
const WRITE_SECONDS: &str = "3";

/// How to start `baseward`.
#[derive(Debug, Clone)]
pub struct Program {
    rig: PathBuf,
    name: Option<&'static str>,
    kubeconfig: Option<PathBuf>,
    /// What a shell does before it becomes the program.
    prelude: Option<String>,
}

/// A finished run of the command line.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// A running controller.
#[derive(Debug)]
pub struct Controller {
    server: Server,
}

impl Program {
    /// By way of this binary: `env!("CARGO_BIN_EXE_rig")` in a test, the program itself in the rig.
    #[must_use]
    pub fn at(rig: &Path) -> Self {
        Self { rig: rig.to_owned(), name: None, kubeconfig: None, prelude: None }
    }

    /// The same program, but what it sends to AWS says that it comes from this one: see [`crate::emulator::Call::user_agent`].
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// The same program, but it reaches the API server in the way and with the identity of a kubeconfig file.
    #[must_use]
    pub fn through(self, kubeconfig: PathBuf) -> Self {
        Self { kubeconfig: Some(kubeconfig), ..self }
    }

    /// The same program, but a shell does something before it becomes the program, such as `ulimit -n 20`.
    #[must_use]
    pub fn after(self, prelude: &str) -> Self {
        Self { prelude: Some(prelude.to_owned()), ..self }
    }

    /// A command of `baseward` that talks to this world.
    pub fn command<S: AsRef<OsStr>>(&self, world: &World, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.rig_in(world, OWN_ACCOUNT);
        let kubeconfig = self.kubeconfig.clone().unwrap_or_else(|| world.control_plane.kubeconfig());
        command.arg("baseward").args(arguments).env("KUBECONFIG", kubeconfig);
        command.env("AWS_REGION", OWN_REGION).envs(self.name.map(|name| ("AWS_EXECUTION_ENV", name)));
        command
    }

    /// The rig itself as a child whose AWS is this world's, with the rights of an account's root.
    pub(crate) fn rig_in(&self, world: &World, account: &str) -> Command {
        let mut command = self.begin();
        command
            .env("AWS_ENDPOINT_URL", world.emulator.url())
            .env("AWS_ACCESS_KEY_ID", account)
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command
    }

    fn begin(&self) -> Command {
        let Some(prelude) = &self.prelude else { return Command::new(&self.rig) };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{prelude}; exec \"$@\"")).arg("sh").arg(&self.rig);
        shell
    }

    /// Runs the command line to its end.
    pub async fn run<S: AsRef<OsStr>>(
        &self,
        world: &World,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Finished> {
        let mut command = self.command(world, arguments);
        command.stdin(Stdio::null());
        let output = spawn_blocking(move || command.output()).await?.context("cannot start baseward")?;
        Ok(Finished {
            code: output.status.code().context("baseward was killed")?,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Starts `baseward run` and returns when it has read all objects, or stands by for another leader.
    pub async fn start(&self, world: &World) -> Result<Controller> {
        self.start_with(world, &[]).await
    }

    /// The same with more flags.
    pub async fn start_with(&self, world: &World, flags: &[&str]) -> Result<Controller> {
        let times = ["--lease-seconds", LEASE_SECONDS, "--write-seconds", WRITE_SECONDS, "--read-seconds", "5"];
        let mut controller = self.launch(world, &[&times, flags].concat()).await?;
        let output = controller.log();
        let http = controller.server.ready(Duration::from_secs(30), async || address(&output)).await?;
        controller
            .server
            .ready(Duration::from_secs(60), async || {
                let answer = reqwest::get(format!("http://{http}/readyz")).await?;
                ensure!(answer.status().is_success(), "/readyz answers {}", answer.status());
                Ok(())
            })
            .await?;
        Ok(controller)
    }

    /// Starts `baseward run` with flags of its own and returns at once.
    pub async fn launch(&self, world: &World, flags: &[&str]) -> Result<Controller> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let mut command = self.command(world, ["run", "--http-address", "127.0.0.1:0"]);
        command.args(flags).env("BASEWARD_LOG", "warn,controller=debug");
        let log = world.control_plane.folder().join(format!("baseward-{number}.log"));
        let server = spawn_blocking(move || Server::start("baseward", &command, &log)).await??;
        Ok(Controller { server })
    }
}

/// Where health and metrics are served, as the log says.
fn address(log: &Log) -> Result<String> {
    let text = log.read()?;
    let found = text.lines().find_map(|line| line.split_once("Baseward started")?.1.split_once("address="));
    let (_, rest) = found.context("the log does not tell the address yet")?;
    Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
}

impl Controller {
    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> Log {
        self.server.output()
    }

    /// The process, for signals.
    pub fn process(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Everything at `/metrics`, `/healthz` or `/readyz`.
    pub async fn http(&self, path: &str) -> Result<String> {
        let http = address(&self.log())?;
        Ok(reqwest::get(format!("http://{http}{path}")).await?.error_for_status()?.text().await?)
    }

    /// Asks it to stop and waits for the end.
    pub async fn terminate(mut self) -> Result<Log> {
        self.server.signal(rustix::process::Signal::TERM)?;
        wait_until("baseward has stopped", Duration::from_secs(20), async || {
            ensure!(self.server.exited()?.is_some(), "it still runs");
            Ok(())
        })
        .await?;
        Ok(self.log())
    }
}
