//! What a process uses, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// Memory of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    /// What it holds now.
    pub(super) resident_mib: f64,
    /// The most that it ever held.
    pub(super) peak_mib: f64,
}

impl Memory {
    pub(super) fn of(pid: i32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        Self::parse(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?)
    }

    fn parse(status: &str) -> Result<Self> {
        Ok(Self { resident_mib: kib(status, "VmRSS:")? / 1024.0, peak_mib: kib(status, "VmHWM:")? / 1024.0 })
    }

    /// The greater figures of two looks.
    pub(super) fn most(self, other: Self) -> Self {
        Self { resident_mib: self.resident_mib.max(other.resident_mib), peak_mib: self.peak_mib.max(other.peak_mib) }
    }
}

fn kib(status: &str, key: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {key} in the status of the process"))?.parse()?)
}

/// Bytes as MiB.
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

/// CPU time of a process and all its threads, in the kernel's ticks of some milliseconds.
pub(super) fn cpu(pid: i32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let ticks = ticks(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?)?;
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// User and system time, fields 14 and 15 of proc_pid_stat(5). The second field may hold spaces, the last that may.
fn ticks(stat: &str) -> Result<u64> {
    let (_, fields) = stat.rsplit_once(')').context("no name in the stat of the process")?;
    let times: Vec<u64> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(times.iter().sum())
}

/// CPU time that this thread spends on some work.
pub(super) fn thread_cpu<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = seconds(ClockId::ThreadCPUTime);
    let value = work();
    (value, seconds(ClockId::ThreadCPUTime) - before)
}

/// CPU time of this whole process so far.
pub(super) fn own_cpu() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() -> Result<()> {
        let status = "Name:\trig\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(Memory::parse(status)?, Memory { resident_mib: 2.0, peak_mib: 3.0 });
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 120 34 5 6 20 0 9 0 1 2 3";
        assert_eq!(ticks(stat)?, 154);
        Ok(())
    }

    #[test]
    fn this_process_can_be_looked_at() -> Result<()> {
        let pid = i32::try_from(std::process::id())?;
        let memory = Memory::of(pid)?;
        assert!(memory.resident_mib > 0.0 && memory.peak_mib >= memory.resident_mib);
        let ((), spent) = thread_cpu(|| while own_cpu() < 0.05 {});
        assert!(cpu(pid)?.as_secs_f64() >= 0.01 && spent >= 0.0);
        Ok(())
    }
}
