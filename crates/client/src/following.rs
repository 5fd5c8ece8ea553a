//! What a following gives, one after another.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_stream::Stream;

use crate::error::FollowError;

/// A following: what comes, until it ends. Dropping it ends it, and changes nothing for the jobs.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Following<T>(Pin<Box<dyn Stream<Item = Result<T, FollowError>> + Send>>);

impl<T> Following<T> {
    pub(crate) fn new(stream: impl Stream<Item = Result<T, FollowError>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl<T> Stream for Following<T> {
    type Item = Result<T, FollowError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl<T> fmt::Debug for Following<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").finish_non_exhaustive()
    }
}
