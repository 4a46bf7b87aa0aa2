//! The rig as a command: generated files, the demo, the benchmark, and the world of the tests to try things by hand.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tests::{Program, World, demo, generate};

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
    /// Show the main job, live.
    Demo,
    /// Write every generated file.
    Generate,
    /// Start a control plane and an AWS emulator, and keep them until Ctrl-C.
    Up,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Baseward { arguments } => {
            return controller::main(std::iter::once("baseward".into()).chain(arguments));
        }
        Command::Demo => wait_for(play()),
        Command::Generate => generate::write(),
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

fn wait_for(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

async fn play() -> Result<()> {
    demo::play(Program::at(&std::env::current_exe()?)).await
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
