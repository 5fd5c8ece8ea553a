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
mod load;
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
use tokio::net::{TcpListener, TcpSocket};

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
    bind(address).map_err(|source| ListenError { address, flag, source })
}

/// How many connections may wait to be accepted: when all clients come back at once the system's own limit (`somaxconn`, 4,096
/// by default) should be what counts. A connection that finds no place is tried again by its client's system only a second later.
const BACKLOG: u32 = 16 * 1024;

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As every server does: after a restart the port is free although old connections are remembered.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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
