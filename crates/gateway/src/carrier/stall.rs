//! Gives a socket up when its peer takes nothing for too long.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Sleep;

/// Fails a socket's writes once the peer has taken nothing for `limit` while bytes wait. One that the system gave up for the
/// same reason (`TCP_USER_TIMEOUT` runs even while the system's own buffer still takes bytes) is counted too.
pub(crate) struct Stall {
    limit: Duration,
    counter: Counter,
    /// Runs only while a write waits, so that an idle stream has none.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// That limit; `counter` counts the sockets given up.
    pub(crate) fn new(limit: Duration, counter: Counter) -> Self {
        Self { limit, counter, waiting: None }
    }

    /// What `written` comes to: the very same, or an error if it has waited for too long.
    pub(crate) fn judge<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.waiting = None;
            self.look_at(&written);
            return written;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if waiting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.counter.inc();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }

    /// Counts the system's own verdict, if `done` is that: it tells a socket's error once, to whoever asks first.
    pub(crate) fn look_at<R>(&self, done: &Poll<io::Result<R>>) {
        if let Poll::Ready(Err(error)) = done
            && error.kind() == io::ErrorKind::TimedOut
            && error.raw_os_error().is_some()
        {
            self.counter.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;
    use crate::carrier::head::{HeadLimit, Serving};
    use crate::carrier::socket::Socket;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let counter = Counter::default();
        let head = HeadLimit::new(Duration::from_mins(1), Serving::default());
        let mut socket = Socket::new(ours, head, Stall::new(Duration::from_mins(1), counter.clone()));
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                theirs.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(socket.write_all(&[7; 176]), slow);
        written.unwrap();
        let began = Instant::now();
        let error = socket.write_all(&[7; 1000]).await.unwrap_err();
        assert_eq!((error.kind(), counter.get()), (io::ErrorKind::TimedOut, 1));
        assert!(began.elapsed() >= Duration::from_mins(1));
    }
}
