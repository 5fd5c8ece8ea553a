//! What a gateway asks of Redis, listened to on the way: how often logs are read, how many reads are in flight, and how often jobs are
//! looked at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use testkit::proxy::Framer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use std::sync::{Mutex, PoisonError};

/// A proxy before one Redis server that counts. Dropping it closes everything.
#[derive(Debug)]
pub struct Wiretap {
    url: String,
    counts: Arc<Mutex<Reads>>,
    _accepting: JoinSet<()>,
}

/// Reads of logs: scripts that name one. (For gateways through which nothing is written.)
#[derive(Clone, Copy, Debug, Default)]
pub struct Reads {
    /// All so far.
    pub all: usize,
    /// Those that aren't answered.
    pub in_flight: usize,
    /// The most that ever were.
    pub most_in_flight: usize,
    /// Looks at jobs without their logs, all so far.
    pub looks: usize,
}

/// What was asked on one connection and isn't answered; true for a read of a log.
type Asked = Arc<Mutex<VecDeque<bool>>>;

impl Wiretap {
    /// Starts one before the server at `upstream`, `host:port`; answers come `late`.
    pub async fn start(upstream: String, late: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let counts = Arc::new(Mutex::new(Reads::default()));
        let (seen, mut accepting) = (Arc::clone(&counts), JoinSet::new());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&upstream).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let (asked, counts) = (Asked::default(), Arc::clone(&seen));
                let up = pass(from_client, to_server, Duration::ZERO, {
                    let (asked, counts) = (Arc::clone(&asked), Arc::clone(&counts));
                    move |frame| count_command(frame, &asked, &counts)
                });
                let down =
                    pass(from_server, to_client, late, move |frame| count_reply(frame, &asked, &counts));
                connections.spawn(async move {
                    tokio::select! {
                        () = up => {}
                        () = down => {}
                    }
                });
            }
        });
        Self { url, counts, _accepting: accepting }
    }

    /// Its address as a Redis URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The counts so far.
    pub fn reads(&self) -> Reads {
        *locked(&self.counts)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count_command(frame: &[u8], asked: &Asked, counts: &Mutex<Reads>) {
    let has = |words: &[u8]| frame.windows(words.len()).any(|window| window == words);
    let is_read = has(b"EVAL") && has(b":log:");
    locked(asked).push_back(is_read);
    if has(b"HMGET") {
        locked(counts).looks += 1;
    }
    if is_read {
        let mut counts = locked(counts);
        counts.all += 1;
        counts.in_flight += 1;
        counts.most_in_flight = counts.most_in_flight.max(counts.in_flight);
    }
}

fn count_reply(frame: &[u8], asked: &Asked, counts: &Mutex<Reads>) {
    let is_push = frame.starts_with(b">");
    if !is_push && locked(asked).pop_front() == Some(true) {
        locked(counts).in_flight -= 1;
    }
}

/// Passes everything, whole frames at a time, and tells of each before it passes.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, late: Duration, mut tell: impl FnMut(&[u8])) {
    let (mut bytes, mut framer, mut looked_at) = (Vec::new(), Framer::default(), 0);
    while from.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        tokio::time::sleep(late).await;
        let mut whole = 0;
        while let Some(more) = framer.advance(&bytes[looked_at..]).unwrap() {
            looked_at += more;
            tell(&bytes[whole..looked_at]);
            whole = looked_at;
        }
        looked_at = bytes.len();
        if to.write_all(&bytes[..whole]).await.is_err() {
            return;
        }
        bytes.drain(..whole);
        looked_at -= whole;
    }
}
