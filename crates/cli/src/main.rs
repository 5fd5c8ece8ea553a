//! `jobcast`: one binary, many roles.

mod args;
mod command;
mod open_files;
mod parts;
mod role;

use std::process::ExitCode;

use service::config::ConfigError;
use tokio::runtime::Runtime;

use crate::args::{Args, Command, Role};

/// Measured: idle streams take the least memory with it (docs/decisions/0017).
#[cfg(all(feature = "jemalloc", unix, target_pointer_width = "64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a wrong configuration; clap has the same for a wrong command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::read();
    let role = match &args.command {
        Command::Role(role) => role,
        Command::Partitions(partitions) => return partitions.run(&args),
        Command::People(people) => return people.run(&args),
    };
    let Err(error) = run(&args, role) else { return ExitCode::SUCCESS };
    eprintln!("jobcast: {error}");
    let usage = error.is::<ConfigError>() || error.is::<parts::BadTask>() || error.is::<store::TargetError>();
    if usage { USAGE.into() } else { ExitCode::FAILURE }
}

fn run(args: &Args, role: &Role) -> anyhow::Result<()> {
    let loaded = args.load(role)?;
    let installed = rustls::crypto::ring::default_provider().install_default();
    installed.map_err(|_| anyhow::anyhow!("TLS was set up twice"))?;
    let runtime = Runtime::new().map_err(|error| anyhow::anyhow!("the runtime can't start: {error}"))?;
    let ended = runtime.block_on(command::run(role, loaded));
    // What was given up must not hold the process.
    runtime.shutdown_background();
    ended
}
