//! The rig itself: what the other tests take for granted.

mod aws;
mod emulator;
mod judge;
mod kubernetes;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tests::wait_until;

const DEADLINE: Duration = Duration::from_secs(30);

/// `rig up` is a process with all servers. Killed with -9 it runs no code at all, and still nothing of it may stay.
#[tokio::test]
async fn servers_and_their_data_end_with_a_process_that_is_killed() -> Result<()> {
    let mut rig = Command::new(env!("CARGO_BIN_EXE_rig")).arg("up").stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(rig.stdout.take().context("no stdout")?).lines();
    let mut value = |prefix: &str| -> Result<String> {
        for line in lines.by_ref() {
            if let Some(value) = line?.strip_prefix(prefix) {
                return Ok(value.to_owned());
            }
        }
        bail!("`rig up` did not print a line {prefix}")
    };
    let folder = PathBuf::from(value("# logs and data: ")?);
    let pids = value("# servers: ")?;
    let pids: Option<Vec<Pid>> = pids.split(' ').map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
    let pids = pids.context("a process id is no number")?;
    assert_eq!(pids.len(), 3, "API server, etcd, emulator");
    for pid in &pids {
        test_kill_process(*pid)?;
    }
    // A server that does not even get to run must not be left behind either.
    kill_process(pids[0], Signal::STOP)?;

    rig.kill()?;
    rig.wait()?;
    wait_until("the servers and their data are gone", DEADLINE, async || {
        let left: Vec<_> = pids.iter().filter(|pid| test_kill_process(**pid).is_ok()).collect();
        ensure!(left.is_empty(), "processes {left:?} are left");
        ensure!(!folder.exists(), "{} is left", folder.display());
        Ok(())
    })
    .await
}
