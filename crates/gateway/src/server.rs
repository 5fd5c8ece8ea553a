//! The HTTP server: accepts connections and serves them, and ends in order.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::App;
use crate::carrier::head::{HeadLimit, Serving};
use crate::carrier::leftover;
use crate::carrier::stall::Stall;

/// How long to wait after an accept that failed, which mostly means that there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a connection may take to its end once the drain is over: more than a request waits for Redis by default, less than
/// the whole stop may take. A client that takes nothing must not hold it up.
const LAST_WORDS: Duration = Duration::from_secs(6);

/// Serves `router` on `listener` until `app`'s shutdown has drained; its tasks are the shutdown's.
pub(crate) async fn serve(listener: TcpListener, router: Router, app: App) -> io::Result<()> {
    let shutdown = app.shutdown().clone();
    let (soft, hard) = (shutdown.soft().clone(), shutdown.hard().clone());
    let drained = CancellationToken::new();
    let draining = async {
        app.pulse().run(soft).await;
        drained.cancel();
    };
    let connections = tokio_util::task::TaskTracker::new();
    let accepting = drained.run_until_cancelled(accept(&listener, &router, &app, &drained, &connections));
    let whole = async {
        // Until the drain is over new connections are served: a balancer needs a moment to hear of it.
        let ((), accepted) = tokio::join!(draining, accepting);
        connections.close();
        connections.wait().await;
        accepted
    };
    // The hub is kept in order for as long as there are streams, and no longer: it must not hold up the stop.
    let kept = async {
        tokio::select! {
            accepted = whole => accepted,
            () = app.hub().run() => None,
        }
    };
    match Box::pin(hard.run_until_cancelled(kept)).await {
        Some(Some(Err(error))) => Err(error),
        _ => Ok(()),
    }
}

async fn accept(
    listener: &TcpListener,
    router: &Router,
    app: &App,
    drained: &CancellationToken,
    connections: &tokio_util::task::TaskTracker,
) -> io::Result<()> {
    let places =
        Arc::new(Semaphore::new(usize::try_from(app.config().gateway.max_connections).unwrap_or(usize::MAX)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((socket, _)) => {
                let connection = connection(socket, router.clone(), app.clone(), drained.clone());
                let hard = app.shutdown().hard().clone();
                connections.spawn(async move {
                    hard.run_until_cancelled(connection).await;
                    drop(place);
                });
            }
            Err(error) if is_the_clients(&error) => {
                tracing::debug!(%error, "a connection was over before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether an accept failed for a reason of that one connection's: the next one may be fine.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused | E::Interrupted)
}

fn tune(socket: &TcpStream, stall: Duration) -> io::Result<()> {
    // Events are small and must leave at once.
    socket.set_nodelay(true)?;
    // A client whose machine is gone takes heartbeats into the kernel's buffer for a quarter of an hour. Later than the
    // stall, which counts those that are there and take nothing.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(socket).set_tcp_user_timeout(Some(2 * stall))?;
    Ok(())
}

async fn connection(socket: TcpStream, router: Router, app: App, drained: CancellationToken) {
    if let Err(error) = tune(&socket, app.config().stream.stall) {
        tracing::debug!(%error, "a connection keeps the system's settings");
    }
    let config = &app.config().gateway;
    let serving = Serving::default();
    let socket = HeadLimit::new(socket, config.header_timeout, serving.clone());
    let socket = Stall::new(socket, app.config().stream.stall, app.metrics().streams_stalled.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let (serving, router) = (serving.clone(), router.clone());
        let answer = leftover::answered(request, |request| router.oneshot(request));
        async move { Ok::<_, Infallible>(serving.during(answer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper's clock for a head runs from the answer before on; the socket's own looks after the head itself.
        .header_read_timeout(config.header_timeout.max(config.idle_timeout))
        .max_buf_size(config.max_head.as_usize())
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = drained.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let Ok(served) = tokio::time::timeout(LAST_WORDS, connection).await else {
                tracing::debug!("a connection is cut: its client doesn't take what is left for it");
                return;
            };
            served
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke");
    }
}
