//! The HTTP server: accepts connections and serves them, and ends in order.

mod connection;
mod http1;
mod http2;
mod streams;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::App;
use crate::carrier::bare::BareStream;
use crate::server::connection::Served;

/// How long to wait after an accept that failed, which mostly means that there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `app`'s shutdown has drained; its tasks are the shutdown's.
pub(crate) async fn serve(listener: TcpListener, router: Router, app: App) -> io::Result<()> {
    let shutdown = app.shutdown().clone();
    let (soft, hard) = (shutdown.soft().clone(), shutdown.hard().clone());
    let drained = CancellationToken::new();
    let draining = async {
        app.pulse().run(soft).await;
        drained.cancel();
    };
    let connections = TaskTracker::new();
    let served = Served::new(router, app.clone(), drained.clone(), connections.clone());
    // The listener ends with it: who comes later must hear so at once, and not wait for an answer until we are gone.
    let accepting = drained.run_until_cancelled(accept(listener, served));
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
    let ended = Box::pin(hard.run_until_cancelled(kept)).await;
    app.hub().close();
    match ended {
        Some(Some(Err(error))) => Err(error),
        Some(_) => Ok(()),
        None => {
            // Streams on bare sockets hear of it by the clock that they have anyway.
            app.pulse().cut();
            Ok(())
        }
    }
}

async fn accept(listener: TcpListener, served: Served) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(served.most()));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((socket, _)) => {
                let connection = connection::serve(socket, served.clone());
                let hard = served.app.shutdown().hard().clone();
                let tasks = served.tasks.clone();
                served.tasks.spawn(async move {
                    if let Some(Some(stream)) = hard.run_until_cancelled(connection).await {
                        // A task of its own, since this one has room for all that a connection may need.
                        tasks.spawn(stream_on(stream, place));
                    }
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

/// Writes a stream to its end; `place` is its connection's.
async fn stream_on(stream: BareStream<TcpStream>, place: OwnedSemaphorePermit) {
    if let Err(error) = stream.await {
        tracing::debug!(%error, "a stream broke");
    }
    drop(place);
}

/// Whether an accept failed for a reason of that one connection's: the next one may be fine.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused | E::Interrupted)
}
