//! A stream on the bare socket: hyper has read the request, the router has answered it, and now neither is needed any more.
//!
//! hyper keeps a read and a write buffer for each connection as long as it lives. Here an idle stream is its socket, its place
//! in the log, and a task.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::response::Parts;
use bytes::Buf;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::framing::{AROUND, Framing};
use super::socket::Socket;
use super::stream::EventStream;

/// About how much is written together.
const TOGETHER: usize = 16 * 1024;
/// What is copied together on the stack and written in one piece. More goes out as pieces of shared memory.
const SMALL: usize = 4 * 1024;
/// How many pieces are enough to be written together.
const SLICES: usize = 32;
/// How many pieces need no memory of their own: enough, and what one look at the stream may add to them.
const PIECES: usize = 2 * SLICES;
/// How long the head waits for a read of the log, so that both are one write: what no one notices, and what a read takes where
/// thousands come at once.
const GRACE: Duration = Duration::from_millis(25);
/// How often a client that goes on sending is read before others get their turn.
const READS: usize = 16;

type Pieces = SmallVec<[Bytes; PIECES]>;

pin_project! {
    /// A response on its socket, from its head to its end. A future that completes when the socket may be closed.
    pub(crate) struct BareStream<T> {
        socket: Socket<T>,
        framing: Framing,
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
    pub(crate) fn new(
        socket: Socket<T>,
        framing: Framing,
        parts: &Parts,
        stream: EventStream,
        patience: Duration,
    ) -> Self {
        Self {
            socket: socket.without_heads(),
            framing,
            stream,
            left: VecDeque::from([framing.head(parts)]),
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
        while size < TOGETHER && pieces.len() < SLICES && !*this.over {
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
        if !this.left.is_empty() {
            // The head: both are written together.
            self.put(pieces, size);
        } else if size + AROUND <= SMALL {
            self.write_small(cx, &pieces, size)?;
        } else {
            self.write_pieces(cx, pieces, size)?;
        }
        Poll::Ready(Ok(more))
    }

    /// Writes a part of the body at once; what the socket doesn't take is left.
    fn write_small(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &Pieces,
        size: usize,
    ) -> io::Result<()> {
        let this = self.project();
        let (begin, end) = this.framing.around(size, *this.over);
        let mut together = SmallVec::<[u8; SMALL]>::new();
        together.extend_from_slice(&begin);
        pieces.iter().for_each(|piece| together.extend_from_slice(piece));
        together.extend_from_slice(end);
        *this.unflushed = true;
        let written = match Pin::new(&mut *this.socket).poll_write(cx, &together) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if written < together.len() {
            this.left.push_back(Bytes::copy_from_slice(&together[written..]));
        }
        Ok(())
    }

    /// Puts a part of the body to what is left.
    fn put(self: Pin<&mut Self>, pieces: Pieces, size: usize) {
        let this = self.project();
        let (begin, end) = this.framing.around(size, *this.over);
        let all = [Bytes::copy_from_slice(&begin)].into_iter().chain(pieces).chain([Bytes::from_static(end)]);
        this.left.extend(all.filter(|piece| !piece.is_empty()));
        *this.unflushed = true;
    }

    /// Writes a part of the body at once; what the socket doesn't take is left.
    fn write_pieces(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: Pieces,
        size: usize,
    ) -> io::Result<()> {
        let this = self.as_mut().project();
        let (begin, end) = this.framing.around(size, *this.over);
        let mut slices = [IoSlice::new(&[]); PIECES + 2];
        let all = [&begin[..]].into_iter().chain(pieces.iter().map(|piece| &piece[..])).chain([end]);
        let count = slices.iter_mut().zip(all).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
        *this.unflushed = true;
        let written = match Pin::new(&mut *this.socket).poll_write_vectored(cx, &slices[..count]) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if written < begin.len() + size + end.len() {
            self.as_mut().put(pieces, size);
            advance(self.project().left, written);
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::rig::{Rig, Take};

    /// A client that takes `most` bytes at a time, and nothing every other time that it is offered some.
    #[derive(Clone)]
    struct Slow {
        most: usize,
        turn: bool,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Slow {
        fn new(most: usize) -> Self {
            Self { most, turn: false, taken: Arc::default() }
        }

        /// What the body said so far; of a body in chunks the whole ones, put together.
        fn body(&self, framing: Framing) -> Vec<u8> {
            let taken = self.taken.lock().unwrap();
            let head = taken.windows(4).position(|window| window == b"\r\n\r\n");
            let mut rest = head.map_or(&[][..], |head| &taken[head + 4..]);
            let Framing::Chunked = framing else { return rest.to_vec() };
            let mut body = Vec::new();
            while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
                let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
                let Some(chunk) = rest.get(line + 2..line + 2 + size + 2) else { break };
                body.extend(chunk.strip_suffix(b"\r\n").unwrap());
                rest = &rest[line + 2 + size + 2..];
            }
            body
        }
    }

    impl Take for Slow {
        fn take(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<usize> {
            self.turn = !self.turn;
            if self.turn {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut taken = self.taken.lock().unwrap();
            let before = taken.len();
            taken.extend(pieces.iter().flat_map(|piece| &piece[..]).take(self.most));
            Poll::Ready(taken.len() - before)
        }
    }

    #[test]
    fn whatever_a_client_takes_at_a_time_it_is_told_the_same() {
        for framing in [Framing::Chunked, Framing::UntilClose] {
            all_are_told_the_same(framing);
        }
    }

    fn all_are_told_the_same(framing: Framing) {
        let clients: Vec<_> = [1, 7, 1000, 4096, usize::MAX].map(Slow::new).into();
        let rig = Rig::new(framing, clients.clone());
        let mut truth = Vec::new();
        for sizes in [vec![200], vec![5000], vec![200; 10], vec![1000; 10], vec![60_000, 10], vec![300; 100]]
        {
            let events = rig.events(sizes);
            truth.extend(events.iter().flat_map(|event| event.frame().into_bytes()));
            rig.hear(&events, || {
                clients.iter().all(|client| client.taken.lock().unwrap().len() > truth.len())
            });
            rig.hear(&[], || {
                clients.iter().all(|client| client.body(framing).ends_with(&truth[truth.len() - 20..]))
            });
            for client in &clients {
                let body = client.body(framing);
                let retry = body.iter().position(|&byte| byte == b'\n').unwrap();
                assert!(
                    body.starts_with(b"retry: ") && body[retry + 1..] == truth,
                    "{framing:?}, {} at a time",
                    client.most
                );
            }
        }
    }
}
