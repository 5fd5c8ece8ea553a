//! What is left of a request's body when its answer is ready.
//!
//! A connection that is closed while its client still writes is reset, and the answer lost on its way: so who is refused
//! before the body was read, for a wrong key say, would never hear why. What is left is therefore read and thrown away.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::http::header::EXPECT;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::time::timeout;

/// The most that is thrown away of one body.
const MOST: u64 = 16 * 1024 * 1024;
/// How long that may take.
const TIME: Duration = Duration::from_secs(5);

/// Answers `request` by `answer`, and has its body off the connection then.
pub(crate) async fn answered<B, A>(request: Request<B>, answer: impl FnOnce(Request<Body>) -> A) -> Response
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
    A: Future<Output = Result<Response, Infallible>>,
{
    if request.body().is_end_stream() {
        let Ok(response) = answer(request.map(|_| Body::empty())).await;
        return response;
    }
    let asks_first = request.headers().contains_key(EXPECT);
    let left = Arc::new(Mutex::new(None));
    let lent = |body| Body::new(Lent { body: Some(body), begun: !asks_first, left: Arc::clone(&left) });
    let Ok(response) = answer(request.map(lent)).await;
    let body = left.lock().take();
    if let Some(body) = body {
        drop(timeout(TIME, discard(body)).await);
    }
    response
}

async fn discard<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) {
    if body.size_hint().lower() > MOST {
        return; // it would be in vain
    }
    let mut read = 0;
    while read <= MOST {
        let Some(Ok(frame)) = body.frame().await else { return };
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

/// A body that is given back if it is dropped before its end.
struct Lent<B: HttpBody> {
    /// `None` only while it is dropped.
    body: Option<B>,
    /// Its client sends it: it didn't ask first (`Expect: 100-continue`), or was told to go on by the first read.
    begun: bool,
    left: Arc<Mutex<Option<B>>>,
}

impl<B: HttpBody + Unpin> HttpBody for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.begun = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl<B: HttpBody> Drop for Lent<B> {
    fn drop(&mut self) {
        if self.begun && !self.body.as_ref().is_none_or(HttpBody::is_end_stream) {
            *self.left.lock() = self.body.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;

    use super::*;

    /// A body of ten pieces, and how many of them were taken.
    fn body() -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let pieces = stream::iter((0..10).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from_static(b"piece"))
        }));
        (Body::from_stream(pieces), taken)
    }

    async fn answer(reads: usize, expect: bool) -> usize {
        let (body, taken) = body();
        let mut request = Request::new(body);
        if expect {
            request.headers_mut().insert(EXPECT, "100-continue".parse().unwrap());
        }
        let refusing = |mut request: Request<Body>| async move {
            for _ in 0..reads {
                request.body_mut().frame().await.unwrap().unwrap();
            }
            Ok(Response::new(Body::from("no")))
        };
        let response = answered(request, refusing).await;
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "no");
        taken.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_is_left_is_taken_off_unless_it_was_never_sent() {
        for (reads, expect, taken) in
            [(0, false, 10), (3, false, 10), (10, false, 10), (0, true, 0), (1, true, 10)]
        {
            assert_eq!(answer(reads, expect).await, taken, "{reads} {expect}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_length_nor_slowness_holds_the_answer_up_for_long() {
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[0; 1024])));
        let stuck = stream::pending::<Result<Bytes, Infallible>>();
        for body in [Body::from_stream(endless), Body::from_stream(stuck)] {
            let refusing = |_| async { Ok(Response::new(Body::empty())) };
            timeout(2 * TIME, answered(Request::new(body), refusing)).await.unwrap();
        }
    }
}
