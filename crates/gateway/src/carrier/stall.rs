//! A socket that is given up when its peer takes nothing for too long.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A socket whose writes fail once the peer has taken nothing for `limit` while bytes wait. One that the system gave up for the
/// same reason (`TCP_USER_TIMEOUT` runs even while the system's own buffer still takes bytes) is counted too.
pub(crate) struct Stall<T> {
    socket: T,
    limit: Duration,
    counter: Counter,
    /// Runs only while a write waits, so that an idle stream has none.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Stall<T> {
    /// `socket` with that limit; `counter` counts the sockets given up.
    pub(crate) fn new(socket: T, limit: Duration, counter: Counter) -> Self {
        Self { socket, limit, counter, waiting: None }
    }

    fn judge<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if let Poll::Ready(ended) = &written {
            self.waiting = None;
            self.count_timeout(ended.as_ref().err());
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

    /// The system tells a socket's error once, to whoever asks first.
    fn count_timeout(&self, error: Option<&io::Error>) {
        if error
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_some())
        {
            self.counter.inc();
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stall<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read {
            self.count_timeout(Some(error));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stall<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let counter = Counter::default();
        let mut socket = Stall::new(ours, Duration::from_mins(1), counter.clone());
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
