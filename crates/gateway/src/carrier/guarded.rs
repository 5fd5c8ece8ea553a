//! A response that must be written: if its client goes away before, what it says is undone.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A body that calls `undo` if it is dropped before all of it was handed to the connection.
pub(crate) struct Guarded<F: FnOnce()> {
    body: Body,
    undo: Option<F>,
}

impl<F: FnOnce() + Send + Unpin + 'static> Guarded<F> {
    /// `response` with its body so guarded.
    pub(crate) fn wrap(response: Response, undo: F) -> Response {
        response.map(|body| Body::new(Self { body, undo: Some(undo) }))
    }
}

impl<F: FnOnce() + Unpin> HttpBody for Guarded<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.body.is_end_stream() || frame.is_none() {
            self.undo = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<F: FnOnce()> Drop for Guarded<F> {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            undo();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::response::IntoResponse;
    use http_body_util::BodyExt;

    use super::*;

    fn guarded() -> (Response, Arc<AtomicBool>) {
        let undone = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&undone);
        (Guarded::wrap("text".into_response(), move || flag.store(true, Ordering::Relaxed)), undone)
    }

    #[tokio::test]
    async fn only_an_unread_body_is_undone() {
        let (response, undone) = guarded();
        drop(response);
        assert!(undone.load(Ordering::Relaxed));
        let (response, undone) = guarded();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "text");
        assert!(!undone.load(Ordering::Relaxed));
    }
}
