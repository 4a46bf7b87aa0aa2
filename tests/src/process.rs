//! Servers that end with the process that started them, however that process ends.
//!
//! Each server runs under a small POSIX shell script which waits on a pipe. Only this process holds the pipe's other
//! end, and the kernel closes it also after a panic, `kill -9` or an exit without destructors.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::wait::wait_until;

/// Runs the server with the pipe as its stdin and tells its process id. The shell ends when the server has ended, with
/// the server's exit status, so the shell's state is the server's.
const SUPERVISOR: &str = r#"
exec 3<&0
"$@" <&3 3<&- >&2 &
server=$!
echo "$server"
( read -r _ <&3; kill -KILL "$server" ) 2>/dev/null &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"#;

/// Removes a folder when the pipe closes. Servers that die at the same moment may still write, hence the repetition.
const JANITOR: &str = r#"
read -r _
for attempt in 1 2 3 4 5; do
  rm -rf "$1" 2>/dev/null && exit
  sleep 1
done
"#;

/// A running server and its log file.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    pid: Pid,
    supervisor: Supervisor,
    output: Log,
}

/// What a server has written since its start.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    /// Where the output of earlier starts ends.
    start: usize,
}

/// A shell script that does its last work when its stdin, which this process holds, is closed.
#[derive(Debug)]
struct Supervisor {
    shell: Child,
    lifeline: Option<ChildStdin>,
}

impl Server {
    /// Starts `command` with its output in the file `log`, which keeps what earlier starts wrote.
    ///
    /// The server's stdin is a pipe that reaches its end when this process ends.
    pub fn start(name: &'static str, command: &Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open the log {} of {name}", log.display()))?;
        let start = usize::try_from(output.metadata()?.len())?;
        let mut shell = shell(SUPERVISOR);
        take_over(&mut shell, command);
        shell.stdout(Stdio::piped()).stderr(output);
        let mut supervisor =
            Supervisor::start(&mut shell).with_context(|| format!("cannot start the supervisor of {name}"))?;
        let pid = supervisor
            .first_line()
            .and_then(|line| Ok(line.trim().parse::<i32>()?))
            .with_context(|| format!("the supervisor of {name} did not tell a process id"))?;
        let pid = Pid::from_raw(pid).with_context(|| format!("{name} has no process id"))?;
        Ok(Self { name, pid, supervisor, output: Log { path: log.to_owned(), start } })
    }

    /// The process id of the server itself, not of the shell above it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// How the server ended, or `None` while it runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.supervisor.shell.try_wait();
        status.with_context(|| format!("cannot look after {}", self.name))
    }

    /// Sends a signal, unless the server has ended and its process id may be another's.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.exited()? {
            bail!("{} has ended ({status}), it takes no signal", self.name);
        }
        kill_process(self.pid, signal).with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Stops the server in its tracks: its connections stay open and get no answer. `false` lets it go on.
    pub fn freeze(&mut self, frozen: bool) -> Result<()> {
        self.signal(if frozen { Signal::STOP } else { Signal::CONT })
    }

    /// Polls `probe` until it succeeds, and gives up at once if the server ends.
    pub async fn ready<T>(&mut self, deadline: Duration, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let what = format!("{} is ready", self.name);
        let outcome = wait_until(&what, deadline, async || {
            if let Some(status) = self.exited()? {
                return Ok(Err(status));
            }
            probe().await.map(Ok)
        })
        .await;
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(status)) => {
                bail!("{} ended ({status}) instead of starting. The end of its log:\n{}", self.name, self.output.tail())
            }
            Err(error) => Err(error.context(format!(
                "{} runs but does not answer. The end of its log:\n{}",
                self.name,
                self.output.tail()
            ))),
        }
    }

    /// What the server has written since this start.
    #[must_use]
    pub fn output(&self) -> Log {
        self.output.clone()
    }

    /// Kills the server and returns when it is gone.
    pub fn kill(&mut self) {
        self.supervisor.end();
    }

    /// Kills the server and returns when it is gone. So does dropping it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Supervisor {
    fn start(shell: &mut Command) -> Result<Self> {
        let mut shell = shell
            .stdin(Stdio::piped())
            // Ctrl-C is for the process that was started by hand; it ends the others in its own order.
            .process_group(0)
            .spawn()
            .context("cannot run sh: a POSIX shell must be on PATH")?;
        let lifeline = shell.stdin.take();
        Ok(Self { shell, lifeline })
    }

    fn first_line(&mut self) -> Result<String> {
        let stdout = self.shell.stdout.take().context("its stdout is no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line)
    }

    fn end(&mut self) {
        self.lifeline = None;
        // A shell that cannot be waited for is gone, which is what is wanted.
        let _ = self.shell.wait();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

impl Log {
    /// All of it.
    pub fn read(&self) -> Result<String> {
        let bytes = fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        let bytes = bytes.get(self.start..).unwrap_or_default();
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The last lines, for an error message.
    #[must_use]
    pub fn tail(&self) -> String {
        self.read().map(|log| tail(&log)).unwrap_or_else(|error| format!("{error:#}"))
    }
}

/// A temporary folder that goes away with this process, however that ends. Must outlive the servers that write to it.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    _janitor: Supervisor,
}

impl ScratchDir {
    /// Creates the folder.
    pub fn new() -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("baseward-")
            .tempdir()
            .context("cannot create a temporary folder: is TMPDIR writable?")?
            .keep();
        let mut shell = shell(JANITOR);
        shell.arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let janitor = Supervisor::start(&mut shell)?;
        Ok(Self { path, _janitor: janitor })
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// `sh` running `script`; arguments added to the command are the script's.
fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "supervisor"]);
    shell
}

/// Gives the words of `command` to the script as its arguments, and the script the folder and environment of `command`.
fn take_over(shell: &mut Command, command: &Command) {
    shell.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
}

/// Runs a program to its end and returns its stdout; the error carries the end of what it wrote.
pub fn run(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {line}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{line} failed ({}):\n{}{}",
        output.status,
        tail(&text(&output.stdout)),
        tail(&text(&output.stderr))
    );
    Ok(text(&output.stdout))
}

fn tail(text: &str) -> String {
    const LINES: usize = 30;
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    lines.into_iter().skip(skipped).map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use rustix::process::test_kill_process;

    use super::*;

    const SECONDS: Duration = Duration::from_secs(10);

    fn sleeper(log: &Path) -> Result<Server> {
        Server::start("sleeper", Command::new("sleep").arg("600"), log)
    }

    #[test]
    fn a_stopped_server_is_gone() -> Result<()> {
        let scratch = ScratchDir::new()?;
        let server = sleeper(&scratch.path().join("log"))?;
        let pid = server.pid;
        assert!(test_kill_process(pid).is_ok(), "it runs");
        server.stop();
        assert!(test_kill_process(pid).is_err(), "it is gone");
        Ok(())
    }

    #[test]
    fn a_paused_server_is_killed_all_the_same() -> Result<()> {
        let scratch = ScratchDir::new()?;
        let mut server = sleeper(&scratch.path().join("log"))?;
        server.signal(Signal::STOP)?;
        let pid = server.pid;
        server.stop();
        assert!(test_kill_process(pid).is_err());
        Ok(())
    }

    #[tokio::test]
    async fn a_server_that_ends_early_shows_its_log() -> Result<()> {
        let scratch = ScratchDir::new()?;
        let log = scratch.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo the port is taken >&2; exit 3"]);
        let mut server = Server::start("server", &command, &log)?;
        let outcome = server.ready(SECONDS, async || -> Result<()> { bail!("not yet") }).await;
        let error = format!("{:#}", outcome.unwrap_err());
        assert!(error.contains("the port is taken"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(server.signal(Signal::CONT).is_err());
        Ok(())
    }

    #[tokio::test]
    async fn a_server_sees_the_end_of_its_stdin_and_its_environment() -> Result<()> {
        let scratch = ScratchDir::new()?;
        let log = scratch.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo \"$GREETING\"; cat"]).env("GREETING", "hello");
        let mut server = Server::start("server", &command, &log)?;
        let reader = log.clone();
        server
            .ready(SECONDS, async || {
                ensure!(fs::read_to_string(&reader)?.contains("hello"), "no greeting");
                Ok(())
            })
            .await?;
        assert!(server.exited()?.is_none(), "its stdin is open");
        Ok(())
    }

    #[test]
    fn a_scratch_folder_is_removed_with_what_is_in_it() -> Result<()> {
        let scratch = ScratchDir::new()?;
        let path = scratch.path().to_owned();
        fs::write(path.join("file"), "content")?;
        drop(scratch);
        assert!(!path.exists());
        Ok(())
    }
}
