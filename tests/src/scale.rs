//! `cargo scale`: what a sweep of ten thousand security groups costs, and one of thousands of functions beside them,
//! measured on the real program.
//!
//! The account is made in the emulator's own process from a seed number, so every run looks at the same groups and functions.
//! The controller runs against it from its start to the last repair; the engine alone is measured in a process of its own.
//! The functions come once all is measured of the groups alone. Every figure is measured; a figure that misses its target
//! makes the program fail.

mod closing;
pub mod cpu;
mod figures;
mod fleet;
pub mod functions;
mod rest;
mod usage;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use crds::{BaselineObject, SecurityGroupBaseline};
use engine::kind::Kind;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::baseward::{Controller, Program};
use crate::emulator::{Call, Settings};
use crate::world::World;
use figures::{Figures, Target};
use fleet::{AtScale, BASELINE, NAMESPACE};
use rest::{Counts, Rest};
use usage::Memory;

/// How many groups, and how many of them are bad.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Security groups in all, the default group of their VPC included.
    pub groups: u32,
    /// Groups that are open to the world.
    pub bad: u32,
    /// The functions beside them.
    pub functions: Option<functions::Fleet>,
}

/// Sweeps that are measured while nothing changes.
const SWEEPS_AT_REST: u32 = 3;
/// And after the last repair.
const SWEEPS_AFTERWARDS: u32 = 2;
/// The first sweep, and the first status after it.
const PATIENCE: Duration = Duration::from_secs(180);
/// AWS's rates allow a few repairs a second at most.
const PATIENCE_FOR_REPAIRS: Duration = Duration::from_secs(1800);

/// Measures everything and prints a table and, last, one line of JSON.
///
/// # Errors
/// What could not be measured, or the targets that are missed.
pub async fn run(program: Program, options: Options) -> Result<()> {
    ensure!(options.bad < options.groups, "--bad is less than --groups: one group is the VPC's default group");
    let too_many = options.functions.is_some_and(|fleet| fleet.bad > fleet.functions);
    ensure!(!too_many, "--bad-functions is at most --functions");
    let figures = measure(&program, options).await?;
    let targets = figures.targets();
    print!("{}", figures::table(&figures.rows(), &targets));
    println!("{}", serde_json::to_string(&figures)?);
    let missed: Vec<String> = targets.iter().filter(|target| !target.met).map(Target::to_string).collect();
    if !missed.is_empty() {
        bail!("missed: {}", missed.join("; "));
    }
    Ok(())
}

async fn measure(program: &Program, options: Options) -> Result<Figures> {
    let binary_mib = binary_mib()?;
    let world = World::start().await?;
    let scale = AtScale::seed(&world, options).await?;
    say(&format!("{} groups with {} rules are seeded after {:.1} s", options.groups, scale.rules, scale.seconds));
    let mut cpu_seconds = cpu::measure(program, &world, cpu::SUBCOMMAND).await?;
    say("the engine alone is measured");
    let emulator_seconds = scale.read_directly(&world).await?;
    // What was read so far must not count against the rates of what follows.
    scale.aws.configure(&Settings { rates: Some("aws".into()), ..Settings::default() }).await?;
    let start = Start::measure(program, &world, options).await?;
    let mut controller = start.controller;
    say(&format!("the first verdict is there after {:.1} s", start.seconds));
    let resting = Rest::measure(&world, &mut controller, Kind::SecurityGroup, SWEEPS_AT_REST).await?;
    say(&format!("{SWEEPS_AT_REST} sweeps at rest, {:.1} s each", resting.seconds_per_sweep()));
    let memory = Memory::of(controller.process().pid())?;
    let closed = close(&world, &scale, options).await?;
    say(&format!("{} bad groups are closed after {:.0} s", options.bad, closed.seconds_to_close_all));
    let afterwards = Rest::measure(&world, &mut controller, Kind::SecurityGroup, SWEEPS_AFTERWARDS).await?;
    let memory = memory.most(Memory::of(controller.process().pid())?);
    cpu_seconds.insert("controller_start_to_first_verdict".to_owned(), start.cpu_seconds);
    cpu_seconds.insert("controller_warm_sweep".to_owned(), resting.cpu_per_sweep);
    let kube_writes = rest::sum(&resting.kube_writes, &afterwards.kube_writes);
    if !kube_writes.is_empty() {
        say(&format!("written to Kubernetes at rest: {kube_writes:?}"));
    }
    let of_functions = match options.functions {
        Some(fleet) => Some(functions::measure(program, &world, &mut controller, fleet, &resting).await?),
        None => None,
    };
    Ok(Figures {
        groups: options.groups,
        rules: scale.rules,
        interfaces: scale.interfaces,
        bad: options.bad,
        calls_cold: start.calls,
        calls_warm: resting.calls_per_sweep()?,
        cpu_seconds,
        rss_mib: memory.resident_mib,
        rss_peak_mib: memory.peak_mib,
        aws_writes_at_rest: resting.aws_writes() + afterwards.aws_writes(),
        kube_writes_at_rest: kube_writes.values().sum(),
        seconds_to_first_verdict: start.seconds,
        emulator_seconds,
        throttles: throttles(&world.emulator.api().calls(0).await?),
        binary_mib,
        closed,
        of_functions,
    })
}

/// The controller from the start of its process to the first verdict.
struct Start {
    controller: Controller,
    seconds: f64,
    cpu_seconds: f64,
    calls: Counts,
}

impl Start {
    async fn measure(program: &Program, world: &World, options: Options) -> Result<Self> {
        let client = world.control_plane.client().await?;
        let before = rest::last_seq(world).await?;
        let started = Instant::now();
        let verdict = async {
            let seen = |baseline: &SecurityGroupBaseline| resources(baseline) == i64::from(options.groups);
            wait_for_status(&client, BASELINE, PATIENCE, seen).await?;
            Ok(started.elapsed())
        };
        let (mut controller, elapsed) = tokio::try_join!(program.start(world), verdict)?;
        let cpu_seconds = usage::cpu(controller.process().pid())?.as_secs_f64();
        let calls = rest::count(&world.emulator.api().calls(before).await?);
        Ok(Self { controller, seconds: elapsed.as_secs_f64(), cpu_seconds, calls })
    }
}

/// The resources that a baseline has a verdict on.
fn resources(baseline: &impl BaselineObject) -> i64 {
    baseline.status().and_then(|status| status.resources).unwrap_or_default()
}

async fn wait_for_status<B: BaselineObject>(
    client: &Client,
    name: &str,
    patience: Duration,
    is_so: impl Fn(&B) -> bool,
) -> Result<()> {
    let api: Api<B> = Api::namespaced(client.clone(), NAMESPACE);
    let condition = |object: Option<&B>| object.is_some_and(&is_so);
    match timeout(patience, await_condition(api.clone(), name, condition)).await {
        Ok(found) => Ok(found.map(drop)?),
        Err(_) => {
            let seen = serde_json::to_string(&api.get_status(name).await?.status())?;
            bail!("waited {} s in vain for the status; last seen: {seen}", patience.as_secs())
        }
    }
}

/// Switches to `Enforce` and waits until the last bad group is closed.
async fn close(world: &World, scale: &AtScale, options: Options) -> Result<closing::Closed> {
    let client = world.control_plane.client().await?;
    let before = rest::last_seq(world).await?;
    let began = closing::now()?;
    world.control_plane.kubectl().in_namespace(NAMESPACE).apply(fleet::ENFORCE).await?;
    let is_closed = |baseline: &SecurityGroupBaseline| {
        resources(baseline) == i64::from(options.groups) && closing::is_closed(baseline)
    };
    wait_for_status(&client, BASELINE, PATIENCE_FOR_REPAIRS, is_closed).await?;
    scale.ensure_closed().await?;
    closing::Closed::of(&scale.bad, &scale.aws.calls(before, "*").await?, began)
}

fn throttles(calls: &[Call]) -> u64 {
    let throttled = |call: &&Call| {
        call.fault.as_deref() == Some("throttled") || call.error_code.as_deref() == Some("RequestLimitExceeded")
    };
    calls.iter().filter(throttled).count() as u64
}

/// The size of the stripped program, which stands beside this one once it is built.
fn binary_mib() -> Result<f64> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--quiet", "--release", "--workspace"]).status()?;
    ensure!(built.success(), "the program cannot be built");
    let binary = std::env::current_exe()?.with_file_name("baseward");
    let file = std::fs::metadata(&binary).with_context(|| format!("{} is not there", binary.display()))?;
    Ok(usage::mib(file.len()))
}

/// Steps and their seconds.
type Seconds = BTreeMap<String, f64>;

fn say(line: &str) {
    println!("  {line}");
}
