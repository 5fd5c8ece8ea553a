//! A connection of HTTP/1: one request after the other, and maybe a stream at last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::response::Parts;
use axum::http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tower::ServiceExt;

use super::connection::{LAST_WORDS, Served};
use crate::carrier::bare::BareStream;
use crate::carrier::framing::Framing;
use crate::carrier::head::Serving;
use crate::carrier::leftover;
use crate::carrier::lent::Lent;
use crate::carrier::socket::Socket;
use crate::carrier::stream::{EventStream, Streamed};

/// A stream that is the answer to a connection's last request.
type Answer = Arc<Mutex<Option<(Framing, Parts, EventStream)>>>;

/// Serves `socket` to its end, or until a while after the drain; `serving` is what its limit for heads asks. When an answer is a
/// stream, hyper's part is over: what goes on with the socket is given back.
pub(super) async fn serve(
    socket: Socket<TcpStream>,
    serving: Serving,
    served: Served,
) -> Option<BareStream<TcpStream>> {
    let Served { router, app, drained, .. } = served;
    let config = &app.config().gateway;
    let (lent, stream) = (Lent::new(socket), Answer::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (serving, router, stream) = (serving.clone(), router.clone(), Arc::clone(&stream));
        let framing = Framing::of(request.version());
        // An answer to HEAD has no body.
        let may_stream = request.method() != Method::HEAD;
        let answer = leftover::answered(request, |request| router.oneshot(request));
        async move {
            let mut response = serving.during(answer).await;
            if let Some(streamed) = Streamed::of(&mut response)
                && may_stream
                && let Some(streamed) = streamed.take()
            {
                *stream.lock() = Some((framing, response.into_parts().0, streamed));
                // hyper never hears of it: its connection is given up.
                return std::future::pending().await;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper's clock for a head runs from the answer before on; the socket's own looks after the head itself.
        .header_read_timeout(config.header_timeout.max(config.idle_timeout))
        .max_buf_size(config.max_head.as_usize())
        .serve_connection(TokioIo::new(lent.clone()), service);
    let mut connection = pin!(connection);
    let lend = |connection: Pin<&mut _>, cx: &mut Context<'_>| {
        let polled = Future::poll(connection, cx);
        let stream_waits = stream.lock().is_some();
        match stream_waits.then(|| lent.take_back()).flatten() {
            Some(socket) => Poll::Ready(Ok(Some(socket))),
            None => polled.map(|served: hyper::Result<()>| served.map(|()| None)),
        }
    };
    let mut patience = LAST_WORDS;
    let served = tokio::select! {
        served = poll_fn(|cx| lend(connection.as_mut(), cx)) => served,
        () = drained.cancelled() => {
            let began = Instant::now();
            connection.as_mut().graceful_shutdown();
            let rest = poll_fn(|cx| lend(connection.as_mut(), cx));
            let Ok(served) = timeout(LAST_WORDS, rest).await else {
                tracing::debug!("a connection is cut: its client doesn't take what is left for it");
                return None;
            };
            patience = patience.saturating_sub(began.elapsed());
            served
        }
    };
    match served {
        Ok(socket) => {
            let (framing, parts, stream) = stream.lock().take()?;
            return Some(BareStream::new(socket?, framing, &parts, stream, patience));
        }
        Err(error) => tracing::debug!(%error, "a connection broke"),
    }
    None
}
