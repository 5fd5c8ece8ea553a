//! A connection of HTTP/2: many requests at once, each a stream of its own. Without TLS, so a client must know beforehand that
//! it may speak so.

use std::future::pending;
use std::pin::pin;

use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpStream;
use tokio::sync::AcquireError;
use tokio::time::timeout;
use tower::ServiceExt;

use super::connection::{LAST_WORDS, Served};
use super::streams::{self, Streams};
use crate::App;
use crate::carrier::leftover;
use crate::carrier::one_by_one::OneByOne;
use crate::carrier::socket::Socket;
use crate::carrier::stall::Stall;

/// What a client begins with that speaks HTTP/2.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of one request's body may be on its way to us.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same of all of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of an answer's body is buffered before its stream.
const SEND_BUFFER: usize = 16 * 1024;
/// How many streams that a client reset wait to be looked at, and how many we reset for their errors, before the connection is
/// given up.
const RESETS: usize = 50;

/// Serves `socket` to its end, or until a while after the drain.
pub(super) async fn serve(socket: Socket<TcpStream>, served: Served) {
    let Served { router, app, drained, tasks, streams: places } = served;
    let (config, stall) = (&app.config().gateway, app.config().stream.stall);
    // Streams are given up one by one, and counted so; the socket after them.
    let socket = socket.shared(Stall::new(stall.mul_f64(1.25), Counter::default()));
    let streams = Streams::new(tasks, stall, app.metrics().streams_stalled.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let (streams, router, places) = (streams.clone(), router.clone(), places.clone());
        async move {
            let asked = streams.asked();
            let place = places.acquire_owned().await?;
            // There are clients that lose an answer when their stream is reset after it (curl 7.88).
            let response = leftover::answered(request, |request| router.oneshot(request)).await;
            asked.answered();
            Ok::<_, AcquireError>(response.map(|body| OneByOne::new(body, streams::taken(), place)))
        }
    });
    let connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_streams)
        .max_header_list_size(u32::try_from(config.max_head.as_usize()).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        // Whoever is gone or has stopped answers no ping. Later than the stall, which counts those that take nothing.
        .keep_alive_interval(stall / 2)
        .keep_alive_timeout(stall)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let _over = streams.end_with();
    let mut moves_on = pin!(moves_on(&app));
    let mut quiet = pin!(streams.quiet(config.header_timeout, config.idle_timeout));
    let mut told = false;
    let served = loop {
        tokio::select! {
            served = connection.as_mut() => break served,
            () = moves_on.as_mut(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            () = quiet.as_mut() => {}
            () = streams.flooded() => tracing::debug!("a connection is closed: it resets nearly all that it asks"),
            () = drained.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let Ok(served) = timeout(LAST_WORDS, connection.as_mut()).await else {
            tracing::debug!("a connection is cut: its client doesn't take what is left for it");
            return;
        };
        break served;
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Until the client should make a new connection for what it asks next, and leave what is under way on this one. Where the
/// gateway stops, so that it comes to another one; and now and then, so that gateways that are new get their share.
async fn moves_on(app: &App) {
    let soft = app.shutdown().soft();
    // A new connection that comes nevertheless has no other place to go.
    let stops = async {
        if soft.is_cancelled() {
            pending::<()>().await;
        }
        soft.cancelled().await;
    };
    let age = app.config().stream.max_age.mul_f64(rand::random_range(0.8..=1.0));
    let _ = timeout(age, stops).await;
}
