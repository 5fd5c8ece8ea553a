//! A socket that is lent to hyper, and taken back from it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `T`, for two owners of one task. Clones are the same.
pub(crate) struct Lent<T>(Arc<Mutex<Held<T>>>);

struct Held<T> {
    io: Option<T>,
    /// The borrower has written, and hasn't said since that nothing is left in its buffers.
    unflushed: bool,
}

impl<T> Clone for Lent<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Lent<T> {
    /// A socket to be lent.
    pub(crate) fn new(io: T) -> Self {
        Self(Arc::new(Mutex::new(Held { io: Some(io), unflushed: false })))
    }

    /// Takes the socket back, if the borrower owes it nothing: the end of an earlier answer may still be in its buffers.
    pub(crate) fn take_back(&self) -> Option<T> {
        let mut held = self.0.lock();
        if held.unflushed { None } else { held.io.take() }
    }

    /// What `poll` makes of the socket; an error once it was taken back.
    fn with<R>(&self, poll: impl FnOnce(&mut T, &mut bool) -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        let Held { io, unflushed } = &mut *self.0.lock();
        match io {
            Some(io) => poll(io, unflushed),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|io, _| Pin::new(io).poll_read(cx, buf))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|io, unflushed| {
            *unflushed = true;
            Pin::new(io).poll_write(cx, buf)
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|io, unflushed| {
            *unflushed = true;
            Pin::new(io).poll_write_vectored(cx, bufs)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper asks for this when its own buffer is empty, and not before.
        self.with(|io, unflushed| {
            let flushed = Pin::new(io).poll_flush(cx);
            *unflushed &= flushed.is_pending();
            flushed
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|io, _| Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn it_is_given_back_when_nothing_is_owed_to_it_and_then_not_lent_any_more() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let lent = Lent::new(ours);
        let mut borrower = lent.clone();
        borrower.write_all(b"owed").await.unwrap();
        assert!(lent.take_back().is_none(), "there may be more of it");
        borrower.flush().await.unwrap();
        let mut back = lent.take_back().unwrap();
        back.write_all(b", paid").await.unwrap();
        let error = borrower.write_all(b"again").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        drop(back);
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "owed, paid");
    }
}
