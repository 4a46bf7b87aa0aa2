//! The command line.

mod catalogue;
mod cluster;
mod decide;
mod explain;
mod history;
mod init;
mod load;
mod look;
mod output;
mod plan;
mod policies;
mod render;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crds::Action;

use crate::run::{self, Run};
use crate::telemetry::{self, LogFormat};

/// The futures of the AWS SDK are nested deeply, and without optimisation each of their frames is large: a write overflowed
/// the 2 MiB that a thread has by default. Of a stack only what was touched takes memory.
const THREAD_STACK_BYTES: usize = 8 * 1024 * 1024;

/// Keeps AWS compute at its declared security baseline.
///
/// Baseward compares AWS resources with baselines, shows what differs, and, where a baseline says Enforce, puts it right
/// without breaking what runs: it plans, journals, adds before it removes, and proves the result.
#[derive(Debug, Parser)]
#[command(name = "baseward", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t, env = "BASEWARD_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged, as a filter such as info or controller=debug,kube=warn.
    #[arg(long, global = true, default_value = "warn,controller=info", env = "BASEWARD_LOG")]
    log_filter: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller in a cluster.
    Run(Run),
    /// Show what baselines find in AWS and what they would change. Needs no cluster and writes nothing.
    ///
    /// Exit code 0: every control passes. 2: a control fails, also where its edit is withheld. 1: an error, or a verdict that is unknown.
    Plan(plan::PlanOptions),
    /// Show everything about one resource, a security group or a function: which baselines see it, what each control says, what would be done, and what
    /// holds that back. Reads the objects from files, or from the cluster of the current kubeconfig, and writes nothing.
    ///
    /// Exit code as for plan.
    Explain(explain::ExplainOptions),
    /// Approve a change set that waits for it: its edits are made. Needs the verb approve on changesets.
    Approve(decide::Decide),
    /// Reject a change set: its edits are not made, and not proposed again. Needs the verb approve on changesets.
    Reject(decide::Decide),
    /// Undo what a change set changed, where it is still as it was left. Needs the verb rollback on changesets.
    Rollback(decide::Rollback),
    /// Print a baseline with every recommended value written out.
    Init(init::Init),
    /// List the controls.
    Controls(catalogue::Controls),
    /// Print the custom resource definitions, for kubectl apply --server-side -f -.
    Crds,
    /// Print the admission policies and the cluster roles, for kubectl apply --server-side -f -.
    Policies(policies::Policies),
}

/// The whole program: parses `arguments`, runs, and says how it went.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => return explain(&usage),
    };
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            if let Some(sentence) = output::sentence(&error) {
                eprintln!("baseward: {sentence}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints help, the version, or what is wrong with the arguments. That is an error like any other: 2 is a plan's answer.
fn explain(usage: &clap::Error) -> ExitCode {
    // Nobody is left to tell if the terminal is gone.
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    telemetry::start(cli.log_format, &cli.log_filter)?;
    // Two libraries bring rustls along: the process says once which cryptography both use.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a provider of cryptography is installed already: an error of the program"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(THREAD_STACK_BYTES).build()?;
    runtime.block_on(execute(cli.command))
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(options) => run::run(options).await.map(|()| ExitCode::SUCCESS),
        Command::Plan(options) => plan::plan(options).await,
        Command::Explain(options) => explain::explain(options).await,
        Command::Approve(options) => decide::decide(Action::Approve, options).await,
        Command::Reject(options) => decide::decide(Action::Reject, options).await,
        Command::Rollback(options) => decide::rollback(options).await,
        Command::Init(options) => init::init(&options).map(|()| ExitCode::SUCCESS),
        Command::Controls(options) => catalogue::controls(&options).map(|()| ExitCode::SUCCESS),
        Command::Crds => catalogue::crds().map(|()| ExitCode::SUCCESS),
        Command::Policies(options) => policies::policies(&options).map(|()| ExitCode::SUCCESS),
    }
}
