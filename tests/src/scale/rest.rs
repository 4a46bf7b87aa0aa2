//! Sweeps while nothing changes: what they call, write and use.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use engine::kind::Kind;

use super::usage;
use crate::baseward::Controller;
use crate::emulator::Call;
use crate::wait::wait_until;
use crate::world::World;

/// Names and how often each occurred.
pub(super) type Counts = BTreeMap<String, u64>;

/// The longest that one sweep and the pause before it can take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What some sweeps at rest came to.
#[derive(Debug)]
pub(super) struct Rest {
    /// How many sweeps.
    pub(super) sweeps: u64,
    /// All calls.
    pub(super) calls: Vec<Call>,
    /// How long it all took.
    pub(super) seconds: f64,
    /// Writes to the Kubernetes API, leases left out, by verb and resource.
    pub(super) kube_writes: Counts,
    /// CPU time of the controller for a sweep and everything else that it does meanwhile.
    pub(super) cpu_per_sweep: f64,
}

/// How things stand right after a sweep, when the controller pauses.
struct Mark {
    sweeps: usize,
    seq: u64,
    kube_writes: Counts,
    cpu: Duration,
    at: Instant,
}

impl Rest {
    /// Lets a sweep of a kind pass, in which the controller may still settle, and looks at the `sweeps` that follow.
    pub(super) async fn measure(world: &World, controller: &mut Controller, kind: Kind, sweeps: u32) -> Result<Self> {
        let before = Mark::after(world, controller, kind, 1).await?;
        let after = Mark::after(world, controller, kind, sweeps).await?;
        let calls = world.emulator.api().calls(before.seq).await?;
        let swept = u64::try_from(after.sweeps - before.sweeps)?;
        Ok(Self {
            sweeps: swept,
            calls: calls.into_iter().filter(|call| call.seq <= after.seq).collect(),
            seconds: (after.at - before.at).as_secs_f64(),
            kube_writes: difference(&after.kube_writes, &before.kube_writes),
            cpu_per_sweep: (after.cpu - before.cpu).as_secs_f64() / swept as f64,
        })
    }

    /// Calls of each operation in each of the sweeps, which are all alike.
    pub(super) fn calls_per_sweep(&self) -> Result<Counts> {
        shared(&count(&self.calls), self.sweeps)
    }

    /// From the end of one sweep to the end of the next.
    pub(super) fn seconds_per_sweep(&self) -> f64 {
        self.seconds / self.sweeps as f64
    }

    /// Calls that change something.
    pub(super) fn aws_writes(&self) -> u64 {
        self.calls.iter().filter(|call| is_write(call)).count() as u64
    }
}

impl Mark {
    /// Waits for the end of the n-th sweep of a kind from now.
    async fn after(world: &World, controller: &mut Controller, kind: Kind, more: u32) -> Result<Self> {
        let wanted = sweeps(controller, kind)? + more as usize;
        let sweeps = wait_until("the sweeps end", PATIENCE * more, async || {
            let sweeps = sweeps(controller, kind)?;
            ensure!(sweeps >= wanted, "{sweeps} of {wanted}");
            Ok(sweeps)
        })
        .await?;
        Ok(Self {
            sweeps,
            at: Instant::now(),
            cpu: usage::cpu(controller.process().pid())?,
            kube_writes: kube_writes(&api_server_metrics(world).await?),
            seq: last_seq(world).await?,
        })
    }
}

/// The number of sweeps of a kind that the controller has logged: to ask it would cost it time.
pub(super) fn sweeps(controller: &Controller, kind: Kind) -> Result<usize> {
    let (log, of_kind) = (controller.log().read()?, format!("kind={kind}"));
    Ok(log.lines().filter(|line| line.contains("Sweep ended") && line.contains(&of_kind)).count())
}

/// The `seq` of the latest call.
pub(super) async fn last_seq(world: &World) -> Result<u64> {
    Ok(world.emulator.api().calls(0).await?.last().map_or(0, |call| call.seq))
}

/// Calls of each operation.
pub(super) fn count<'c>(calls: impl IntoIterator<Item = &'c Call>) -> Counts {
    let mut counts = Counts::new();
    for call in calls {
        *counts.entry(call.operation().to_owned()).or_default() += 1;
    }
    counts
}

/// Whether a call is one that changes something.
pub(super) fn is_write(call: &Call) -> bool {
    const READS: [&str; 4] = ["Describe", "Get", "List", "AssumeRole"];
    !READS.iter().any(|prefix| call.operation().starts_with(prefix))
}

/// The part of each of so many sweeps, which must be the same.
fn shared(counts: &Counts, sweeps: u64) -> Result<Counts> {
    let each = |(name, count): (&String, &u64)| {
        let part = count.checked_div(sweeps).context("no sweep ended")?;
        ensure!(part * sweeps == *count, "{count} calls of {name} in {sweeps} sweeps: they are not alike");
        Ok((name.clone(), part))
    };
    counts.iter().map(each).collect()
}

/// What was counted beyond an earlier count.
fn difference(later: &Counts, earlier: &Counts) -> Counts {
    let more =
        |(name, count): (&String, &u64)| (name.clone(), count.saturating_sub(earlier.get(name).copied().unwrap_or(0)));
    later.iter().map(more).filter(|(_, count)| *count > 0).collect()
}

/// Two counts together.
pub(super) fn sum(one: &Counts, other: &Counts) -> Counts {
    let mut sum = one.clone();
    other.iter().for_each(|(name, count)| *sum.entry(name.clone()).or_default() += count);
    sum
}

async fn api_server_metrics(world: &World) -> Result<String> {
    let client = world.control_plane.client().await?;
    Ok(client.request_text(http::Request::get("/metrics").body(Vec::new())?).await?)
}

/// Requests that write, as the API server counts them; those for leases are left out.
fn kube_writes(metrics: &str) -> Counts {
    const VERBS: [&str; 6] = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];
    let mut counts = Counts::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
        let Some((labels, number)) = line.split_once("} ") else { continue };
        let (verb, resource) = (label(labels, "verb"), label(labels, "resource"));
        if VERBS.contains(&verb) && resource != "leases" {
            let number: f64 = number.trim().parse().unwrap_or_default();
            *counts.entry(format!("{verb} {resource}")).or_default() += number as u64;
        }
    }
    counts
}

fn label<'l>(labels: &'l str, name: &str) -> &'l str {
    let value = labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
    value.and_then(|value| value.strip_suffix('"')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn writes_are_read_from_the_api_servers_metrics() {
        let metrics = r#"
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",group="",resource="namespaces",subresource="",verb="LIST",version="v1"} 12
apiserver_request_total{code="200",group="baseward.dev",resource="changesets",subresource="status",verb="APPLY",version="v1alpha1"} 2
apiserver_request_total{code="409",group="baseward.dev",resource="changesets",subresource="status",verb="APPLY",version="v1alpha1"} 1
apiserver_request_total{code="200",group="coordination.k8s.io",resource="leases",subresource="",verb="PUT",version="v1"} 40
"#;
        assert_eq!(kube_writes(metrics), counts(&[("APPLY changesets", 3)]));
    }

    #[test]
    fn sweeps_share_their_calls_only_if_they_are_alike() -> Result<()> {
        assert_eq!(shared(&counts(&[("a", 30), ("b", 3)]), 3)?, counts(&[("a", 10), ("b", 1)]));
        assert!(shared(&counts(&[("a", 31)]), 3).is_err());
        assert!(shared(&counts(&[("a", 31)]), 0).is_err());
        Ok(())
    }

    #[test]
    fn only_what_is_new_counts() {
        let (earlier, later) = (counts(&[("a", 1), ("b", 2)]), counts(&[("a", 1), ("b", 5), ("c", 1)]));
        assert_eq!(difference(&later, &earlier), counts(&[("b", 3), ("c", 1)]));
        assert_eq!(sum(&earlier, &later), counts(&[("a", 2), ("b", 7), ("c", 1)]));
    }
}
