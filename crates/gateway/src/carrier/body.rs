//! A stream on a hyper body: what HTTP/2 needs, where a response isn't its connection's last.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::stream::{EventStream, Streamed};

/// The body of an event stream.
pub(crate) struct EventBody {
    /// Until the first poll, which takes the stream for good.
    streamed: Option<Streamed>,
    stream: Option<Pin<Box<EventStream>>>,
    ready: VecDeque<Bytes>,
}

impl EventBody {
    /// The body of that stream, unless another carrier takes it.
    pub(crate) fn new(streamed: Streamed) -> Self {
        Self { streamed: Some(streamed), stream: None, ready: VecDeque::new() }
    }
}

impl HttpBody for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(streamed) = this.streamed.take() {
            this.stream = streamed.take().map(Box::pin);
        }
        if this.ready.is_empty() {
            let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
            if !ready!(stream.as_mut().poll_pieces(cx, &mut this.ready)) {
                this.stream = None;
            }
        }
        Poll::Ready(this.ready.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}
