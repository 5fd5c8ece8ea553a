//! A client's socket, with the limits on what may take long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::head::HeadLimit;
use super::stall::Stall;

/// How much is read at once to tell how a connection begins: mostly a whole request.
const FIRST_READ: usize = 1024;

/// A socket whose reads fail when a head is late, and whose writes fail when its peer takes nothing.
pub(crate) struct Socket<T> {
    io: T,
    /// What was read before the one who reads now, and is to be read again.
    begun: Bytes,
    /// Of its own memory, which a stream doesn't need.
    head: Option<Box<HeadLimit>>,
    stall: Stall,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// `io` with these limits.
    pub(crate) fn new(io: T, head: HeadLimit, stall: Stall) -> Self {
        Self { io, begun: Bytes::new(), head: Some(Box::new(head)), stall }
    }

    /// Whether the first bytes that come are those of `preface`: it waits for no more of them than it takes to say so, and
    /// for no longer than a head may take. They are read again by whoever reads next.
    pub(crate) async fn begins_with(&mut self, preface: &[u8]) -> io::Result<bool> {
        let mut begun = Vec::with_capacity(FIRST_READ);
        while begun.len() < preface.len() && preface.starts_with(&begun) {
            if self.read_buf(&mut begun).await? == 0 {
                break;
            }
        }
        let is_preface = begun.starts_with(preface);
        self.begun = begun.into();
        Ok(is_preface)
    }

    /// The same socket, on which no head is waited for any more.
    pub(crate) fn without_heads(self) -> Self {
        Self { head: None, ..self }
    }

    /// The same socket with another rule for a peer that takes nothing, and without one for heads: where several requests
    /// share it, who answers them looks after that.
    pub(crate) fn shared(self, stall: Stall) -> Self {
        Self { head: None, stall, ..self }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.begun.is_empty() {
            let piece = this.begun.split_to(this.begun.len().min(buf.remaining()));
            buf.put_slice(&piece);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        this.stall.look_at(&read);
        match &mut this.head {
            Some(head) => head.judge(cx, buf.filled().len() > before, read),
            None => read,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.stall.judge(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.stall.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;
    use crate::carrier::head::Serving;

    const LIMIT: Duration = Duration::from_secs(10);
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";

    fn socket<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> Socket<T> {
        Socket::new(io, HeadLimit::new(LIMIT, Serving::default()), Stall::new(LIMIT, Counter::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_is_known_however_it_comes_and_is_read_again() {
        for (sent, is_preface) in [
            (&b"PRI * HTTP/2.0 and more"[..], true),
            (b"PRI * HTTP/1.1\r\n", false),
            (b"POST / HTTP/1.1\r\n", false),
            (b"GET / HTTP/1.1\r\n", false),
            (b"PRI", false),
            (b"", false),
        ] {
            for at_once in [1, 2, 5, 100] {
                let (ours, mut theirs) = tokio::io::duplex(64);
                let mut socket = socket(ours);
                let sending = async {
                    for piece in sent.chunks(at_once) {
                        theirs.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    drop(theirs);
                };
                let reading = async {
                    let said = socket.begins_with(PREFACE).await.unwrap();
                    let mut read = Vec::new();
                    socket.read_to_end(&mut read).await.unwrap();
                    (said, read)
                };
                let ((), (said, read)) = tokio::join!(sending, reading);
                assert_eq!((said, &read[..]), (is_preface, sent));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_preface_that_cannot_come_any_more() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(b"PO").await.unwrap();
        assert!(!socket(ours).begins_with(PREFACE).await.unwrap());
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(b"PR").await.unwrap();
        let began = Instant::now();
        let error = socket(ours).begins_with(PREFACE).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }
}
