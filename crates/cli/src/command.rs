//! The subcommands. Each role takes the configuration and the stop, and returns when all is over; `partitions` needs the
//! configuration alone; what people do needs neither.

mod cancel;
mod completions;
mod courier;
mod dead_letters;
mod deliveries;
mod dev;
mod gateway;
mod jobs;
mod listen;
pub(crate) mod partitions;
pub(crate) mod people;
mod retry;
mod submit;
mod tasks;
mod watch;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use service::config::{Config, Loaded};
use service::start;
use tokio::net::TcpListener;

use crate::args::Role;

/// What a stop may take beyond the times that the configuration gives it.
const SLACK: Duration = Duration::from_secs(10);

/// Runs a role to its end.
pub(crate) async fn run(role: &Role, loaded: Loaded) -> anyhow::Result<()> {
    let shutdown = start::start(&loaded.config.log)?;
    match role {
        Role::Gateway { .. } => gateway::run(loaded, shutdown).await,
        Role::Worker { .. } => worker::run(loaded, shutdown).await,
        Role::Courier { .. } => courier::run(loaded, shutdown).await,
        Role::Dev { .. } => dev::run(loaded, shutdown).await,
    }
}

/// An address that can't be listened on. The sentence says how to choose another.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {}; choose another with {flag}", reason(source))]
pub(crate) struct ListenError {
    address: SocketAddr,
    flag: &'static str,
    source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program has this port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine doesn't have this address".to_owned(),
        io::ErrorKind::PermissionDenied => "this port needs more rights".to_owned(),
        _ => error.to_string(),
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, flag, source })
}

/// How long a gateway's stop may take.
fn gateway_limit(config: &Config) -> Duration {
    config.stream.drain + SLACK
}

/// How long a worker's stop may take.
fn worker_limit(config: &Config) -> Duration {
    config.worker.grace + config.worker.kill_after + SLACK
}

/// How long a courier's stop may take.
fn courier_limit(config: &Config) -> Duration {
    config.courier.grace + SLACK
}
