//! The rig as a command: generated files, the demo, the benchmark, and the world of the tests to try things by hand.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use tests::scale::functions::Fleet;
use tests::{Program, World, chaos, demo, generate, scale};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Be the program under test: all arguments are those of `baseward`.
    #[command(disable_help_flag = true)]
    Baseward {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Kill the program, or take the lease from it, at every write of a run, and fail if that makes a difference.
    Chaos(Chaos),
    /// Show the main job, live.
    Demo,
    /// Write every generated file.
    Generate,
    /// Measure what sweeps of thousands of groups and functions cost, and fail if a target is missed.
    Scale(Scale),
    /// Measure the engine alone: the part of `scale` that needs a process of its own.
    #[command(name = scale::cpu::SUBCOMMAND, hide = true)]
    ScaleCpu,
    /// The same of functions.
    #[command(name = scale::functions::cpu::SUBCOMMAND, hide = true)]
    ScaleCpuOfFunctions,
    /// Start a control plane and an AWS emulator, and keep them until Ctrl-C.
    Up,
}

#[derive(Args)]
struct Chaos {
    /// Only the points whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// How many runs at once.
    #[arg(long, default_value_t = 8)]
    jobs: usize,
}

#[derive(Args)]
struct Scale {
    /// How many security groups.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..))]
    groups: u32,
    /// How many of them are open to the world.
    #[arg(long, default_value_t = 200)]
    bad: u32,
    /// How many functions beside them; 5000 take twenty minutes more.
    #[arg(long, default_value_t = 0)]
    functions: u32,
    /// How many of them are bad. Left out: a fifth.
    #[arg(long)]
    bad_functions: Option<u32>,
}

impl Scale {
    fn options(&self) -> scale::Options {
        let &Self { groups, bad, functions, bad_functions } = self;
        let fleet = Fleet { functions, bad: bad_functions.unwrap_or(functions / 5) };
        scale::Options { groups, bad, functions: (functions > 0).then_some(fleet) }
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse_from(without_separator(std::env::args_os())).command {
        Command::Baseward { arguments } => {
            return controller::main(std::iter::once("baseward".into()).chain(arguments));
        }
        Command::Chaos(Chaos { only, jobs }) => wait_for(disturb(chaos::Options { only, jobs })),
        Command::Demo => wait_for(play()),
        Command::Generate => generate::write(),
        Command::Scale(scale) => wait_for(measure(scale.options())),
        Command::ScaleCpu => wait_for(scale::cpu::print()),
        Command::ScaleCpuOfFunctions => wait_for(scale::functions::cpu::print()),
        Command::Up => wait_for(up()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `cargo scale -- --groups N` reaches this program as `scale -- --groups N`, because the alias has a separator already.
fn without_separator(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    const AFTER_THE_SUBCOMMAND: usize = 2;
    let keep = |(position, argument): &(usize, OsString)| *position != AFTER_THE_SUBCOMMAND || argument != "--";
    arguments.enumerate().filter(keep).map(|(_, argument)| argument)
}

fn wait_for(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

async fn play() -> Result<()> {
    demo::play(Program::at(&std::env::current_exe()?)).await
}

async fn disturb(options: chaos::Options) -> Result<()> {
    chaos::run(Program::at(&std::env::current_exe()?), options).await
}

async fn measure(options: scale::Options) -> Result<()> {
    scale::run(Program::at(&std::env::current_exe()?), options).await
}

async fn up() -> Result<()> {
    let world = World::start().await?;
    let mut pids = world.control_plane.pids().await;
    pids.push(world.emulator.pid().await);
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    let guide = format!(
        "export KUBECONFIG={kubeconfig}\n\
         export AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=111122223333 AWS_SECRET_ACCESS_KEY=any AWS_REGION=eu-central-1\n\
         # logs and data: {folder}\n\
         # servers: {pids}\n\
         # Ctrl-C ends them all",
        kubeconfig = world.control_plane.kubeconfig().display(),
        endpoint = world.emulator.url(),
        folder = world.control_plane.folder().display(),
        pids = pids.join(" "),
    );
    writeln!(std::io::stdout(), "{guide}").context("cannot write to stdout")?;
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
}

#[cfg(test)]
mod spelling {
    use super::*;

    fn options(arguments: &[&str]) -> Result<scale::Options> {
        let arguments = ["rig", "scale"].iter().chain(arguments).map(OsString::from);
        match Arguments::try_parse_from(without_separator(arguments))?.command {
            Command::Scale(scale) => Ok(scale.options()),
            _ => anyhow::bail!("another command"),
        }
    }

    fn scale(arguments: &[&str]) -> Result<(u32, u32)> {
        options(arguments).map(|options| (options.groups, options.bad))
    }

    #[test]
    fn a_fifth_of_the_functions_is_bad_unless_it_is_said() -> Result<()> {
        assert_eq!(options(&[])?.functions, None);
        assert_eq!(options(&["--functions", "50"])?.functions, Some(Fleet { functions: 50, bad: 10 }));
        let said = options(&["--functions", "50", "--bad-functions", "1"])?.functions;
        assert_eq!(said, Some(Fleet { functions: 50, bad: 1 }));
        Ok(())
    }

    #[test]
    fn flags_may_follow_a_separator_of_cargo() -> Result<()> {
        assert_eq!(scale(&["--", "--groups", "300"])?, (300, 200));
        assert_eq!(scale(&["--groups", "300", "--bad", "9"])?, (300, 9));
        assert_eq!(scale(&["--"])?, (10_000, 200));
        assert!(scale(&["--", "--", "--groups", "300"]).is_err());
        Ok(())
    }
}
