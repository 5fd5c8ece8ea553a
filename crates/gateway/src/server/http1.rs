//! A connection of HTTP/1.1: one request after the other.

use std::convert::Infallible;

use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::connection::{LAST_WORDS, Served};
use crate::carrier::head::Serving;
use crate::carrier::leftover;
use crate::carrier::socket::Socket;

/// Serves `socket` to its end, or until a while after the drain; `serving` is what its limit for heads asks.
pub(super) async fn serve(socket: Socket<TcpStream>, serving: Serving, served: Served) {
    let Served { router, app, drained, .. } = served;
    let config = &app.config().gateway;
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
