//! Gives a socket up when a request's head doesn't arrive in time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Whether a request of this connection is being answered. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Serving(Arc<AtomicUsize>);

/// How many answers were begun and ended: odd while there is one. An answer may be over before the socket is looked at
/// again, so a mere yes or no would hide it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Turn(usize);

impl Turn {
    const fn is_answer(self) -> bool {
        self.0 % 2 == 1
    }
}

impl Serving {
    /// Runs `answer` as the answer to the request whose head has just arrived.
    pub(crate) async fn during<F: Future>(&self, answer: F) -> F::Output {
        self.0.fetch_add(1, Relaxed);
        let answered = answer.await;
        self.0.fetch_add(1, Relaxed);
        answered
    }

    fn turn(&self) -> Turn {
        Turn(self.0.load(Relaxed))
    }
}

/// Fails a socket's reads once a head took longer than `limit`: the first one from the connection's start on, a later
/// one from its first byte on. So a connection may idle between requests for longer than a head may take.
pub(crate) struct HeadLimit {
    limit: Duration,
    serving: Serving,
    /// Where the connection stood at the last read.
    turn: Turn,
    /// Since when a head has been arriving.
    since: Option<Instant>,
    /// Runs only while a head is late.
    late: Option<Pin<Box<Sleep>>>,
}

impl HeadLimit {
    /// The limit of a new connection, whose requests are answered within `serving`.
    pub(crate) fn new(limit: Duration, serving: Serving) -> Self {
        Self { limit, serving, turn: Turn::default(), since: Some(Instant::now()), late: None }
    }

    /// What `read` comes to: the very same, or an error if it waits and a head is late. `arrived`: did it bring any bytes?
    pub(crate) fn judge(
        &mut self,
        cx: &mut Context<'_>,
        arrived: bool,
        read: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let turn = self.serving.turn();
        if turn != self.turn {
            self.turn = turn;
            self.since = None;
            self.late = None;
        }
        if turn.is_answer() {
            return read;
        }
        if arrived {
            self.since.get_or_insert_with(Instant::now);
        }
        let (Poll::Pending, Some(since)) = (&read, self.since) else { return read };
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(since + self.limit)));
        late.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the head is late")))
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::carrier::socket::Socket;
    use crate::carrier::stall::Stall;

    const LIMIT: Duration = Duration::from_secs(10);

    fn pair() -> (Socket<DuplexStream>, DuplexStream, Serving) {
        let (ours, theirs) = tokio::io::duplex(64);
        let serving = Serving::default();
        let stall = Stall::new(LIMIT, Counter::default());
        (Socket::new(ours, HeadLimit::new(LIMIT, serving.clone()), stall), theirs, serving)
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_head_that_does_not_come_is_given_up() {
        let (mut socket, mut theirs, _) = pair();
        let began = Instant::now();
        let drip = async {
            loop {
                theirs.write_all(b"x").await.unwrap();
                sleep(Duration::from_secs(3)).await;
            }
        };
        let read = async {
            loop {
                if let Err(error) = socket.read_u8().await {
                    return error.kind();
                }
            }
        };
        let kind = tokio::select! { kind = read => kind, () = drip => unreachable!() };
        assert_eq!((kind, began.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_it_may_idle_and_a_body_may_take_its_time() {
        let (mut socket, mut theirs, serving) = pair();
        theirs.write_all(b"h").await.unwrap();
        socket.read_u8().await.unwrap();
        let slow_body = async {
            assert!(timeout(3 * LIMIT, socket.read_u8()).await.is_err(), "nothing yet, and no error");
        };
        serving.during(slow_body).await;
        assert!(timeout(3 * LIMIT, socket.read_u8()).await.is_err(), "idle");
        theirs.write_all(b"h").await.unwrap();
        socket.read_u8().await.unwrap();
        serving.during(async {}).await;
        assert!(
            timeout(3 * LIMIT, socket.read_u8()).await.is_err(),
            "idle after an answer that took no time"
        );
        theirs.write_all(b"h").await.unwrap();
        socket.read_u8().await.unwrap();
        let began = Instant::now();
        assert_eq!(socket.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), LIMIT);
    }
}
