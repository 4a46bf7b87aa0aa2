//! Thousands of functions beside the groups, seen and put right by the same process.

mod calls;
pub mod cpu;
mod figures;
pub(super) mod objects;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use crds::{ControlStatus, LambdaBaseline};
use engine::controls::Catalogue as _;
use engine::controls::lambda::Functions;
use engine::kind::Kind;
use engine::spec::Mode;
use serde_json::Value;

use super::fleet::{ACCOUNT, NAMESPACE, REGION, TAGS};
use super::rest::{self, Rest};
use super::usage::Memory;
use super::{PATIENCE, SWEEPS_AT_REST, closing, resources, say, wait_for_status};
use crate::baseward::{Controller, Program};
use crate::emulator::{AccountApi, FunctionFleetSeed};
use crate::world::World;
use calls::Deep;
pub(super) use figures::FunctionFigures;
use objects::{ALL_CONTROLS, BASELINE, ENFORCE, LISTS_ALONE};

/// How many functions, and how many of them are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Functions in all.
    pub functions: u32,
    /// Functions that are not traced.
    pub bad: u32,
}

/// What is wrong with the bad ones: a list shows it.
const PROBLEM: &str = "tracingOff";
/// Sweeps while what takes a call for each function comes in. Each takes the time of its lists and three quarters of a minute.
const SWEEPS_WITH_DEEP_READS: u32 = 2;
/// What the repair of a function may take, at three calls for each and the lists again for every twenty.
const PATIENCE_FOR_A_REPAIR: Duration = Duration::from_secs(3);

/// The emulated account with its functions.
struct AtScale<'w> {
    world: &'w World,
    aws: AccountApi,
    fleet: Fleet,
    bad: BTreeSet<String>,
}

/// Measures the fleet with a controller that looks at the groups all the while. `alone` is what it came to without functions.
pub(super) async fn measure(
    program: &Program,
    world: &World,
    controller: &mut Controller,
    fleet: Fleet,
    alone: &Rest,
) -> Result<FunctionFigures> {
    let scale = AtScale::seed(world, fleet).await?;
    say(&format!("{} functions are seeded", fleet.functions));
    let mut cpu_seconds = super::cpu::measure(program, world, cpu::SUBCOMMAND).await?;
    say("the engine alone is measured on them");
    let before = rest::last_seq(world).await?;
    let seconds_to_first_verdict = scale.first_verdict().await?;
    say(&format!("the first verdict on functions is there after {seconds_to_first_verdict:.1} s"));
    let with_groups = Rest::measure(world, controller, Kind::SecurityGroup, SWEEPS_AT_REST).await?;
    let deep = Rest::measure(world, controller, Kind::Lambda, SWEEPS_WITH_DEEP_READS).await?;
    let calls = scale.aws.calls(before, "*").await?;
    let memory = Memory::of(controller.process().pid())?;
    let (per_second, policies_per_second) = calls::busiest(&calls);
    cpu_seconds.insert("controller_sweep_with_deep_reads".to_owned(), deep.cpu_per_sweep);
    say(&format!("{:.0} s of reads function by function, {:.0} s each sweep", deep.seconds, deep.seconds_per_sweep()));
    let drained = scale.drain().await?;
    say(&format!("{} functions are put right after {:.0} s", fleet.bad, drained.seconds));
    let memory = memory.most(Memory::of(controller.process().pid())?);
    let at_rest = scale.rest(controller).await?;
    let groups_at_rest = Rest::measure(world, controller, Kind::SecurityGroup, SWEEPS_AT_REST).await?;
    let memory = memory.most(Memory::of(controller.process().pid())?);
    let kube_writes = rest::sum(&at_rest.kube_writes, &groups_at_rest.kube_writes);
    if !kube_writes.is_empty() {
        say(&format!("written to Kubernetes at rest: {kube_writes:?}"));
    }
    Ok(FunctionFigures {
        functions: fleet.functions,
        bad: fleet.bad,
        calls_warm: calls::listings(&calls)?,
        deep: Deep::of(&deep.calls, deep.seconds),
        most_in_a_second: per_second,
        most_policies_in_a_second: policies_per_second,
        cpu_seconds,
        seconds_to_first_verdict,
        rss_mib: memory.resident_mib,
        rss_peak_mib: memory.peak_mib,
        aws_writes_at_rest: [&deep, &at_rest, &groups_at_rest].map(Rest::aws_writes).into_iter().sum(),
        kube_writes_at_rest: kube_writes.values().sum(),
        seconds_per_sweep_of_groups: with_groups.seconds_per_sweep(),
        seconds_per_sweep_of_groups_alone: alone.seconds_per_sweep(),
        drained,
    })
}

/// What the repair came to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(super) struct Drained {
    /// From the switch to the last write.
    pub(super) seconds: f64,
    /// All write calls, by operation.
    pub(super) write_calls: rest::Counts,
    /// The most write calls that any function took.
    pub(super) write_calls_per_function: u64,
    /// Calls in a second that shared the rate of the control plane.
    pub(super) calls_per_second: f64,
}

impl<'w> AtScale<'w> {
    async fn seed(world: &'w World, fleet: Fleet) -> Result<Self> {
        let aws = world.emulator.api().account(ACCOUNT);
        let seed = FunctionFleetSeed {
            region: REGION.to_owned(),
            functions: fleet.functions,
            bad_functions: fleet.bad,
            function_problems: vec![PROBLEM.to_owned()],
            tags: TAGS.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        };
        let bad = aws.function_fleet(&seed).await?.bad_functions;
        ensure!(bad.len() == fleet.bad as usize, "{} bad functions were made", bad.len());
        Ok(Self { world, aws, fleet, bad: bad.into_iter().map(|function| function.name).collect() })
    }

    async fn apply(&self, yaml: &str) -> Result<()> {
        self.world.control_plane.kubectl().in_namespace(NAMESPACE).apply(yaml).await?;
        Ok(())
    }

    /// Sets how much of AWS's rates may be used, in percent.
    async fn share(&self, percent: u8) -> Result<()> {
        let patch = format!(r#"{{"spec": {{"rateShare": {percent}}}}}"#);
        let kubectl = self.world.control_plane.kubectl();
        kubectl.run(["patch", "awsaccount", "scale", "--type=merge", "-p", &patch]).await?;
        Ok(())
    }

    /// Whether every function is seen; the settings of the account may be counted with them.
    fn is_seen(&self, baseline: &LambdaBaseline) -> bool {
        let current = baseline.status.as_ref().and_then(|status| status.observed_generation);
        current == baseline.metadata.generation && resources(baseline) >= i64::from(self.fleet.functions)
    }

    async fn first_verdict(&self) -> Result<f64> {
        let (client, started) = (self.world.control_plane.client().await?, Instant::now());
        self.apply(super::fleet::ALL_CONTROLS).await?;
        self.apply(ALL_CONTROLS).await?;
        wait_for_status(&client, BASELINE, PATIENCE, |baseline| self.is_seen(baseline)).await?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// Switches tracing to `Enforce` at the whole rate and waits until the last function is traced.
    async fn drain(&self) -> Result<Drained> {
        let (client, before) = (self.world.control_plane.client().await?, rest::last_seq(self.world).await?);
        self.share(100).await?;
        let began = closing::now()?;
        self.apply(ENFORCE).await?;
        let patience = PATIENCE + PATIENCE_FOR_A_REPAIR * self.fleet.bad;
        let is_drained = |baseline: &LambdaBaseline| self.is_seen(baseline) && is_traced(baseline);
        wait_for_status(&client, BASELINE, patience, is_drained).await?;
        self.ensure_traced().await?;
        let calls = self.aws.calls(before, "*").await?;
        let writes = calls::writes_of_functions(&calls);
        ensure!(writes.keys().copied().eq(self.bad.iter().map(String::as_str)), "other functions were written");
        let all: Vec<_> = writes.values().flatten().copied().collect();
        let last = all.iter().map(|write| write.time).fold(began, f64::max);
        let until_last: Vec<_> = calls.iter().filter(|call| (began..=last).contains(&call.time)).cloned().collect();
        Ok(Drained {
            seconds: last - began,
            write_calls: rest::count(all),
            write_calls_per_function: writes.values().map(Vec::len).max().unwrap_or_default() as u64,
            calls_per_second: calls::control_plane_per_second(&until_last),
        })
    }

    async fn ensure_traced(&self) -> Result<()> {
        let functions = self.aws.functions(REGION).await?;
        let mode = |function: &Value| function.pointer("/configuration/TracingConfig/Mode").cloned();
        let untraced = functions.iter().filter(|function| mode(function) != Some("Active".into()));
        let untraced: Vec<&Value> = untraced.filter_map(|function| function.get("name")).collect();
        ensure!(untraced.is_empty(), "still not traced: {untraced:?}");
        Ok(())
    }

    /// Sweeps of functions that have no news for anybody. Every status is written anew before them, so that none has its turn
    /// to be renewed meanwhile, which it has every ten minutes.
    async fn rest(&self, controller: &mut Controller) -> Result<Rest> {
        let client = self.world.control_plane.client().await?;
        self.share(50).await?;
        self.apply(super::fleet::ENFORCE).await?;
        self.apply(LISTS_ALONE).await?;
        let is_known = |baseline: &LambdaBaseline| self.is_seen(baseline) && is_known(baseline);
        wait_for_status(&client, BASELINE, PATIENCE, is_known).await?;
        Rest::measure(self.world, controller, Kind::Lambda, SWEEPS_AT_REST).await
    }
}

fn controls(baseline: &LambdaBaseline) -> &[ControlStatus] {
    baseline.status.as_ref().map(|status| status.controls.as_slice()).unwrap_or_default()
}

/// Whether the status has a verdict of every control on everything.
fn is_known(baseline: &LambdaBaseline) -> bool {
    let controls = controls(baseline);
    !controls.is_empty() && controls.iter().all(|control| control.unknown == 0)
}

/// Whether the status says that every function is traced, and kept so.
fn is_traced(baseline: &LambdaBaseline) -> bool {
    let traced = Functions::controls().find(|control| control.about.field == "observability.xray");
    let found = controls(baseline).iter().find(|control| traced.is_some_and(|traced| traced.about.id == control.id));
    found.is_some_and(|control| control.mode == Mode::Enforce && (control.fail, control.unknown) == (0, 0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_tells_when_every_function_is_traced_and_known() -> Result<()> {
        let baseline = |mode: &str, fail: u32, unknown: u32| {
            let control = json!({
                "id": "lambda-xray-active", "severity": "Low", "mode": mode, "fail": fail, "unknown": unknown,
            });
            serde_json::from_value::<LambdaBaseline>(json!({
                "apiVersion": "baseward.dev/v1alpha1", "kind": "LambdaBaseline", "metadata": {"name": "functions"},
                "spec": {"accounts": {"names": ["scale"]}, "select": {"all": true}},
                "status": {"controls": [control]},
            }))
        };
        assert!(is_traced(&baseline("Enforce", 0, 0)?) && is_known(&baseline("Enforce", 7, 0)?));
        assert!(!is_traced(&baseline("Audit", 0, 0)?), "the switch is not seen yet");
        assert!(!is_traced(&baseline("Enforce", 1, 0)?));
        assert!(!is_traced(&baseline("Enforce", 0, 1)?) && !is_known(&baseline("Enforce", 0, 1)?));
        Ok(())
    }
}
