//! The rig as a command: the world of the tests, to try things by hand.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tests::World;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a control plane and an AWS emulator, and keep them until Ctrl-C.
    Up,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Up => up().await,
    }
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
    tokio::signal::ctrl_c()
        .await
        .context("cannot wait for Ctrl-C")
}
