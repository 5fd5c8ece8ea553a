//! A stream on the bare socket: hyper has read the request, the router has answered it, and now neither is needed any more.
//!
//! hyper keeps a read and a write buffer for each connection as long as it lives. Here an idle stream is its socket, its place
//! in the log, and a task.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::response::Parts;
use bytes::{Buf, BytesMut};
use model::{Clock, SystemClock};
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::socket::Socket;
use super::stream::EventStream;

/// About how much is written together.
const TOGETHER: usize = 16 * 1024;
/// What is written in one piece from the stack. More goes out as pieces of shared memory.
const SMALL: usize = 2 * 1024;
/// The most that a chunk adds to what it carries.
const AROUND: usize = "ffffffffffffffff\r\n\r\n".len() + LAST_CHUNK.len();
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// How many pieces one call to the system takes.
const SLICES: usize = 32;
/// How long the head waits for a read of the log, so that both are one write: what no one notices, and what a read takes where
/// thousands come at once.
const GRACE: Duration = Duration::from_millis(25);
/// How often a client that goes on sending is read before others get their turn.
const READS: usize = 16;

type Pieces = SmallVec<[Bytes; 8]>;

pin_project! {
    /// A response on its socket, from its head to its end. A future that completes when the socket may be closed.
    pub(crate) struct BareStream<T> {
        socket: Socket<T>,
        #[pin]
        stream: EventStream,
        // What the socket hasn't taken yet; at first the head.
        left: VecDeque<Bytes>,
        // Nothing was offered to the socket yet.
        new: bool,
        grace: Option<Pin<Box<Sleep>>>,
        unflushed: bool,
        // Nothing follows what is left.
        over: bool,
        // How long the client may take what is left once no stream has a place here any more.
        patience: Duration,
        last: Option<Pin<Box<Sleep>>>,
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> BareStream<T> {
    /// The response `parts` with `stream` for its body, on a `socket` on which nothing of it was written. `patience` is how
    /// long its client may take what is left when all streams are to end.
    pub(crate) fn new(socket: Socket<T>, parts: &Parts, stream: EventStream, patience: Duration) -> Self {
        Self {
            socket: socket.without_heads(),
            stream,
            left: VecDeque::from([head(parts)]),
            new: true,
            grace: None,
            unflushed: false,
            over: false,
            patience,
            last: None,
        }
    }

    /// Completes when the client is gone. What it sends is thrown away: its connection has no next request.
    fn poll_gone(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        for _ in 0..READS {
            let mut space = [MaybeUninit::uninit(); 512];
            let mut buf = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut *this.socket).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Puts together what is written first; pending while more of it will be here in a moment. Whether the stream may have more.
    fn poll_first(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let more = match self.as_mut().poll_more(cx)? {
            Poll::Ready(more) => more,
            Poll::Pending => false,
        };
        let this = self.project();
        if this.stream.begins_soon() {
            ready!(this.grace.get_or_insert_with(|| Box::pin(sleep(GRACE))).as_mut().poll(cx));
        }
        (*this.new, *this.grace) = (false, None);
        Poll::Ready(Ok(more))
    }

    /// Asks the stream for what there is, and offers it to the socket; pending when that is nothing. Whether the stream may have
    /// more: where it doesn't, it knows already whom to wake.
    fn poll_more(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let (mut pieces, mut size, mut counted, mut more) = (Pieces::new(), 0, 0, true);
        let mut this = self.as_mut().project();
        while size < TOGETHER && !*this.over {
            match this.stream.as_mut().poll_pieces(cx, &mut pieces) {
                Poll::Ready(more) => *this.over = !more,
                Poll::Pending if pieces.is_empty() => return Poll::Pending,
                Poll::Pending => {
                    more = false;
                    break;
                }
            }
            size += pieces[counted..].iter().map(Bytes::len).sum::<usize>();
            counted = pieces.len();
        }
        if this.left.is_empty() && size + AROUND <= SMALL {
            self.write_small(cx, &pieces, size)?;
        } else {
            self.put(pieces, size);
        }
        Poll::Ready(Ok(more))
    }

    /// Writes a chunk at once; what the socket doesn't take is left.
    fn write_small(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &Pieces,
        size: usize,
    ) -> io::Result<()> {
        let this = self.project();
        let mut chunk = SmallVec::<[u8; SMALL]>::new();
        if size > 0 {
            write!(chunk, "{size:x}\r\n")?;
            pieces.iter().for_each(|piece| chunk.extend_from_slice(piece));
            chunk.extend_from_slice(b"\r\n");
        }
        if *this.over {
            chunk.extend_from_slice(LAST_CHUNK);
        }
        *this.unflushed = true;
        let written = match Pin::new(&mut *this.socket).poll_write(cx, &chunk) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if written < chunk.len() {
            this.left.push_back(Bytes::copy_from_slice(&chunk[written..]));
        }
        Ok(())
    }

    /// Puts a chunk to what is left.
    fn put(self: Pin<&mut Self>, pieces: Pieces, size: usize) {
        let this = self.project();
        if size > 0 {
            this.left.push_back(format!("{size:x}\r\n").into());
            this.left.extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
            this.left.push_back(Bytes::from_static(b"\r\n"));
        }
        if *this.over {
            this.left.push_back(Bytes::from_static(LAST_CHUNK));
        }
        *this.unflushed = true;
    }

    /// Completes when the socket has taken all that was left.
    fn poll_left(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        while !this.left.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = this.left.len().min(SLICES);
            slices.iter_mut().zip(&*this.left).for_each(|(slice, piece)| *slice = IoSlice::new(piece));
            let written = ready!(Pin::new(&mut *this.socket).poll_write_vectored(cx, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            advance(this.left, written);
        }
        // An idle stream holds no room for what it may have to keep.
        *this.left = VecDeque::new();
        if *this.unflushed {
            ready!(Pin::new(&mut *this.socket).poll_flush(cx))?;
            *this.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Completes when a client that doesn't take what is left must not be waited for any more.
    fn poll_impatient(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        ready!(this.stream.poll_over(cx));
        let patience = *this.patience;
        this.last.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for BareStream<T> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Once is enough: what is pending stays so while this goes on, or wakes it.
        if self.as_mut().poll_gone(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut more = true;
        loop {
            if self.stream.is_cut() {
                return Poll::Ready(Ok(()));
            }
            if self.new {
                more = ready!(self.as_mut().poll_first(cx))?;
            }
            if self.as_mut().poll_left(cx)?.is_pending() {
                return self.poll_impatient(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
            }
            if self.over {
                return Pin::new(self.project().socket).poll_shutdown(cx);
            }
            if !more {
                return Poll::Pending;
            }
            more = ready!(self.as_mut().poll_more(cx))?;
        }
    }
}

/// Drops the first `count` bytes of `pieces`.
fn advance(pieces: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(piece) = pieces.front_mut() {
        if count < piece.len() {
            piece.advance(count);
            return;
        }
        count -= piece.len();
        pieces.pop_front();
    }
}

/// The response's head. The body is in chunks, as on every carrier: common clients hold a body back that only the close ends.
fn head(parts: &Parts) -> Bytes {
    let mut head = BytesMut::with_capacity(512);
    head.extend_from_slice(format!("HTTP/1.1 {}\r\n", parts.status).as_bytes());
    for (name, value) in &parts.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_millis(SystemClock.now().as_millis()));
    let rest = format!("connection: close\r\ntransfer-encoding: chunked\r\ndate: {date}\r\n\r\n");
    head.extend_from_slice(rest.as_bytes());
    head.freeze()
}
