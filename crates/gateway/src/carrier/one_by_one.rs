//! A body on one of the streams of an HTTP/2 connection.
//!
//! There the socket may take bytes while one stream's window is shut. So that such a stream holds next to nothing, and is
//! seen, a body hands its next piece over only when all of the last one is written.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use bytes::Buf;
use futures_util::task::AtomicWaker;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// What is ready together goes together, up to about so many bytes.
const TOGETHER: usize = 16 * 1024;

/// The most that may be handed over together with the body's end, after which nobody watches it any more.
const LAST: usize = 16 * 1024;

/// How far the client has taken what it was sent. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Taken(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    born: Instant,
    /// A piece waits.
    waits: AtomicBool,
    /// When it was handed over, or a part of it was taken: milliseconds since `born`.
    moved: AtomicU64,
    body: AtomicWaker,
}

impl Taken {
    /// Of a stream that is sent nothing yet.
    pub(crate) fn new() -> Self {
        let inner = Inner {
            born: Instant::now(),
            waits: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            body: AtomicWaker::new(),
        };
        Self(Arc::new(inner))
    }

    /// Since when the client has taken nothing although something waits for it; `None` where nothing waits.
    pub(crate) fn nothing_since(&self) -> Option<Instant> {
        let waits = self.0.waits.load(Ordering::Acquire);
        waits.then(|| self.0.born + Duration::from_millis(self.0.moved.load(Ordering::Relaxed)))
    }

    fn moves(&self) {
        let since = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.moved.store(since, Ordering::Relaxed);
    }
}

/// A piece of a body on its way.
#[derive(Debug)]
pub(crate) struct Piece {
    parts: VecDeque<Bytes>,
    left: usize,
    taken: Taken,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let filled = into.iter_mut().zip(&self.parts).map(|(slice, part)| *slice = IoSlice::new(part));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        self.taken.moves();
        self.left -= count;
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.taken.0.waits.store(false, Ordering::Release);
        self.taken.0.body.wake();
    }
}

/// `B`, whose pieces go one by one; it tells `Taken` of them.
pub(crate) struct OneByOne<B: HttpBody> {
    body: B,
    taken: Taken,
    /// What came after a piece that was gathered, and doesn't go with it.
    next: Option<Result<Frame<Bytes>, B::Error>>,
    over: bool,
    /// What was handed over last takes the end along.
    ends: bool,
    _place: OwnedSemaphorePermit,
}

impl<B: HttpBody<Data = Bytes> + Unpin> OneByOne<B> {
    /// `body`; `place` is held for as long as it lasts.
    pub(crate) fn new(body: B, taken: Taken, place: OwnedSemaphorePermit) -> Self {
        let over = body.is_end_stream();
        Self { body, taken, next: None, over, ends: over, _place: place }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        if self.over || self.body.is_end_stream() {
            self.over = true;
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.over = matches!(&frame, Poll::Ready(None | Some(Err(_))));
        frame
    }

    fn hand_over(&mut self, mut parts: VecDeque<Bytes>, mut left: usize) -> Frame<Piece> {
        self.over |= self.body.is_end_stream();
        // The end goes with the last piece: who knows the length may be gone before it comes alone, and a balancer would
        // say that it left in the middle. So a long one is cut.
        if self.over
            && self.next.is_none()
            && left > LAST
            && let Some(mut last) = parts.pop_back()
        {
            let tail = last.split_off(last.len().saturating_sub(LAST));
            left -= tail.len();
            parts.extend((!last.is_empty()).then_some(last));
            self.next = Some(Ok(Frame::data(tail)));
        }
        self.ends = self.over && self.next.is_none();
        self.taken.moves();
        self.taken.0.waits.store(true, Ordering::Release);
        Frame::data(Piece { parts, left, taken: self.taken.clone() })
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for OneByOne<B>
where
    B::Error: Unpin,
{
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        let this = self.get_mut();
        let inner = &this.taken.0;
        if inner.waits.load(Ordering::Acquire) {
            inner.body.register(cx.waker());
            if inner.waits.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        let (mut parts, mut left) = (VecDeque::new(), 0);
        while left < TOGETHER {
            let frame = match this.poll_body(cx) {
                Poll::Pending if left == 0 => return Poll::Pending,
                Poll::Ready(None) if left == 0 => return Poll::Ready(None),
                Poll::Pending | Poll::Ready(None) => break,
                Poll::Ready(Some(frame)) => frame,
            };
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    left += data.len();
                    parts.extend((!data.is_empty()).then_some(data));
                }
                Ok(Err(other)) => {
                    if left > 0 {
                        this.next = Some(Ok(other));
                        break;
                    }
                    let Ok(trailers) = other.into_trailers() else { continue };
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Err(error) if left > 0 => {
                    this.next = Some(Err(error));
                    break;
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        Poll::Ready(Some(Ok(this.hand_over(parts, left))))
    }

    fn is_end_stream(&self) -> bool {
        self.ends
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::{FutureExt, stream};
    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;

    use super::*;

    fn one_by_one(body: Body) -> (OneByOne<Body>, Taken) {
        let taken = Taken::new();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        (OneByOne::new(body, taken.clone(), place), taken)
    }

    fn pieces(pieces: Vec<Result<&'static str, std::io::Error>>) -> Body {
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_piece_waits_until_the_last_is_written() {
        let large = "x".repeat(TOGETHER);
        let large: &'static str = large.leak();
        let (mut body, taken) =
            one_by_one(pieces(vec![Ok("one "), Ok(""), Ok("two"), Ok(large), Ok("last")]));
        assert_eq!(taken.nothing_since(), None);
        let mut piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece.remaining(), 7 + TOGETHER, "what is ready together goes together");
        let mut slices = [IoSlice::new(&[]); 9];
        assert_eq!(piece.chunks_vectored(&mut slices), 3);
        assert!(body.frame().now_or_never().is_none());
        let handed = taken.nothing_since().unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(piece.copy_to_bytes(6), "one tw");
        assert!(taken.nothing_since().unwrap() > handed, "a part was taken");
        assert!(body.frame().now_or_never().is_none());
        assert_eq!(piece.copy_to_bytes(1), "o");
        assert_eq!(piece.copy_to_bytes(TOGETHER), large);
        let mut next = tokio::task::JoinSet::new();
        next.spawn(async move {
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(body.is_end_stream(), "the end goes with it");
            (body, piece)
        });
        tokio::task::yield_now().await;
        drop(piece);
        let (mut body, mut piece) = next.join_next().await.unwrap().unwrap();
        assert_eq!(piece.copy_to_bytes(4), "last");
        drop(piece);
        assert!(body.frame().await.is_none());
        assert_eq!(taken.nothing_since(), None);
    }

    #[tokio::test]
    async fn the_end_goes_with_the_last_piece_which_is_no_long_one() {
        for (length, cut) in
            [(4, vec![4]), (LAST, vec![LAST]), (LAST + 1, vec![1, LAST]), (9 * LAST, vec![8 * LAST, LAST])]
        {
            let (mut body, _) = one_by_one(Body::from("x".repeat(length)));
            for (index, &piece) in cut.iter().enumerate() {
                assert!(!body.is_end_stream());
                let mut data = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert_eq!(data.remaining(), piece, "{length}");
                assert_eq!(body.is_end_stream(), index + 1 == cut.len(), "{length}");
                data.advance(piece);
            }
        }
    }

    #[tokio::test]
    async fn an_error_comes_after_what_was_before_it_and_an_empty_body_is_over() {
        let (mut body, _) =
            one_by_one(pieces(vec![Ok("one"), Err(std::io::ErrorKind::Other.into()), Ok("two")]));
        let mut piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece.copy_to_bytes(3), "one");
        drop(piece);
        assert!(body.frame().await.unwrap().is_err());
        let (body, _) = one_by_one(Body::empty());
        assert!(body.is_end_stream());
        let (body, _) = one_by_one(Body::from("four"));
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(4)));
    }
}
