//! One connection, from its first byte on: which HTTP its client speaks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{http1, http2};
use crate::App;
use crate::carrier::bare::BareStream;
use crate::carrier::head::{HeadLimit, Serving};
use crate::carrier::socket::Socket;
use crate::carrier::stall::Stall;

/// How long a connection may take to its end once the drain is over: more than a request waits for Redis by default, less than
/// the whole stop may take. A client that takes nothing must not hold it up.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(6);

/// What all connections share. Clones are the same.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) router: Router,
    pub(super) app: App,
    /// The drain is over.
    pub(super) drained: CancellationToken,
    /// Connections, and what they started.
    pub(super) tasks: TaskTracker,
    /// Places for requests that share a connection with others.
    pub(super) streams: Arc<Semaphore>,
}

impl Served {
    /// What `router` answers, until `drained`; as `tasks`.
    pub(super) fn new(router: Router, app: App, drained: CancellationToken, tasks: TaskTracker) -> Self {
        let streams = Arc::new(Semaphore::new(most(&app)));
        Self { router, app, drained, tasks, streams }
    }

    /// How many connections there may be at once.
    pub(super) fn most(&self) -> usize {
        most(&self.app)
    }
}

fn most(app: &App) -> usize {
    usize::try_from(app.config().gateway.max_connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// Serves `socket` to its end, or until a while after the drain. A stream on the bare socket is given back, to go on in a task
/// that has room for nothing else.
pub(super) async fn serve(socket: TcpStream, served: Served) -> Option<BareStream<TcpStream>> {
    let stall = served.app.config().stream.stall;
    if let Err(error) = tune(&socket, stall) {
        tracing::debug!(%error, "a connection keeps the system's settings");
    }
    let serving = Serving::default();
    let head = HeadLimit::new(served.app.config().gateway.header_timeout, serving.clone());
    let stall = Stall::new(stall, served.app.metrics().streams_stalled.clone());
    let mut socket = Socket::new(socket, head, stall);
    let drained = served.drained.clone();
    match drained.run_until_cancelled(socket.begins_with(http2::PREFACE)).await {
        Some(Ok(true)) => Box::pin(http2::serve(socket, served)).await,
        Some(Ok(false)) => return Box::pin(http1::serve(socket, serving, served)).await,
        Some(Err(error)) => tracing::debug!(%error, "a connection broke before its first request"),
        None => {}
    }
    None
}

fn tune(socket: &TcpStream, stall: Duration) -> io::Result<()> {
    // Events are small and must leave at once. The send buffer is left to the system, which lets it grow only for those who are
    // far away or slow; and no keepalive is needed, since heartbeats are never far apart and idle connections are closed.
    socket.set_nodelay(true)?;
    // A client whose machine is gone takes heartbeats into the kernel's buffer for a quarter of an hour. Later than the
    // stall, which counts those that are there and take nothing.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(socket).set_tcp_user_timeout(Some(2 * stall))?;
    Ok(())
}
