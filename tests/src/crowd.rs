//! A crowd of followers that cost little: each is a socket and a parser, and comes back as an EventSource does.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use testkit::sse::{Event, Parser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::SOON;

/// Many followers of streams at one address.
#[derive(Debug)]
pub struct Crowd {
    address: String,
    shared: Arc<Shared>,
    followers: JoinSet<Followed>,
}

#[derive(Debug)]
struct Shared {
    /// Followers that have seen an event.
    began: AtomicUsize,
    /// After so many terminal events a follower of what never ends leaves.
    enough: AtomicUsize,
}

/// What one follower met, and what it was told.
#[derive(Debug, Default)]
pub struct Followed {
    /// What it followed.
    pub path: String,
    /// Its connections, in order.
    pub visits: Vec<Visit>,
    /// Answers other than a stream or 204, and connections that broke.
    pub mishaps: Vec<String>,
    /// What it was told of each job.
    pub told: HashMap<String, Told>,
    ends: usize,
    last_event_id: String,
    retry: Duration,
}

/// One stream that a follower had.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When it began to connect.
    pub came: Instant,
    /// The header `X-Gateway` of the answer; empty if there is none.
    pub gateway: String,
    /// When the stream ended.
    pub left: Instant,
}

/// What was told of one job: how many events, and the hash of their data in that order.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// How many events.
    pub events: usize,
    hash: DefaultHasher,
}

impl Told {
    /// Adds an event's data.
    pub fn add(&mut self, data: &str) {
        self.events += 1;
        self.hash.write(data.as_bytes());
        self.hash.write_u8(b'\n');
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        (self.events, self.hash.finish()) == (other.events, other.hash.finish())
    }
}

impl Crowd {
    /// Nobody yet; they will come to `url`, `http://127.0.0.1:8080`.
    pub fn new(url: &str) -> Self {
        let shared = Shared { began: AtomicUsize::new(0), enough: AtomicUsize::new(usize::MAX) };
        let address = url.strip_prefix("http://").unwrap().to_owned();
        Self { address, shared: Arc::new(shared), followers: JoinSet::new() }
    }

    /// One more follower, until it is answered 204. Where nothing ends, see [`Self::leave`].
    pub fn follow(&mut self, path: impl Into<String>) {
        let follower = Follower {
            address: self.address.clone(),
            shared: Arc::clone(&self.shared),
            parser: Parser::new(""),
            followed: Followed { path: path.into(), retry: Duration::from_secs(2), ..Followed::default() },
        };
        self.followers.spawn(follower.run());
    }

    /// How many followers have seen an event.
    pub fn began(&self) -> usize {
        self.shared.began.load(SeqCst)
    }

    /// From now on, who has seen so many terminal events leaves without being told that nothing follows.
    pub fn leave(&self, ends: usize) {
        self.shared.enough.store(ends, SeqCst);
    }

    /// Waits until all have left.
    pub async fn wait(mut self, deadline: Duration) -> Vec<Followed> {
        let mut all = Vec::new();
        let all_left = async {
            while let Some(followed) = self.followers.join_next().await {
                all.push(followed.unwrap());
            }
        };
        let in_time = timeout(deadline, all_left).await.is_ok();
        assert!(in_time, "all have left within {deadline:?}; {} haven't", self.followers.len());
        all
    }
}

struct Follower {
    address: String,
    shared: Arc<Shared>,
    parser: Parser,
    followed: Followed,
}

/// How a visit ended.
enum Left {
    /// In order, to come back.
    InOrder,
    /// For good.
    ForGood,
}

impl Follower {
    async fn run(mut self) -> Followed {
        loop {
            let came = Instant::now();
            let mut visit = Visit { came, gateway: String::new(), left: came };
            let left = self.visit(&mut visit).await;
            visit.left = Instant::now();
            self.followed.visits.push(visit);
            match left {
                Ok(Left::InOrder) => {}
                Ok(Left::ForGood) => return self.followed,
                Err(mishap) => self.followed.mishaps.push(mishap),
            }
            tokio::time::sleep(self.followed.retry).await;
        }
    }

    async fn visit(&mut self, visit: &mut Visit) -> Result<Left, String> {
        let mut socket = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        let Followed { path, last_event_id, .. } = &self.followed;
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: crowd\r\nConnection: close\r\n");
        if !last_event_id.is_empty() {
            request += &format!("Last-Event-ID: {last_event_id}\r\n");
        }
        socket.write_all((request + "\r\n").as_bytes()).await.map_err(|error| error.to_string())?;
        let mut wire = Vec::new();
        let head = loop {
            if let Some(end) = wire.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(wire.drain(..end + 4).collect()).unwrap();
            }
            more(&mut socket, &mut wire).await?;
        };
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        visit.gateway = header("x-gateway").unwrap_or_default();
        match head.split(' ').nth(1) {
            Some("200") => {}
            Some("204") => return Ok(Left::ForGood),
            _ => return Err(head),
        }
        self.parser = Parser::new(&self.followed.last_event_id);
        loop {
            while let Some(chunk) = take_chunk(&mut wire) {
                if chunk.is_empty() {
                    return Ok(Left::InOrder);
                }
                let events = self.parser.push(&chunk);
                if let Some(retry) = self.parser.retry() {
                    self.followed.retry = Duration::from_millis(retry);
                }
                for event in events {
                    self.hear(&event);
                }
            }
            if self.followed.ends >= self.shared.enough.load(SeqCst) {
                return Ok(Left::ForGood);
            }
            more(&mut socket, &mut wire).await?;
        }
    }

    fn hear(&mut self, event: &Event) {
        let followed = &mut self.followed;
        if followed.last_event_id.is_empty() {
            self.shared.began.fetch_add(1, SeqCst);
        }
        followed.last_event_id.clone_from(&event.last_event_id);
        followed.ends += usize::from(["completed", "failed", "cancelled"].contains(&event.event.as_str()));
        let job = event.data.split("\"jobId\":\"").nth(1).and_then(|rest| rest.split('"').next());
        followed.told.entry(job.unwrap_or_default().to_owned()).or_default().add(&event.data);
    }
}

/// Reads what there is, waiting for the first byte: a heartbeat comes in time.
async fn more(socket: &mut TcpStream, wire: &mut Vec<u8>) -> Result<(), String> {
    match timeout(SOON, socket.read_buf(wire)).await {
        Ok(Ok(1..)) => Ok(()),
        Ok(Ok(0)) => Err("the connection ended in the middle".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("nothing came, not even a heartbeat".into()),
    }
}

/// The first chunk, if it is there whole; the last one of all is empty.
fn take_chunk(wire: &mut Vec<u8>) -> Option<Vec<u8>> {
    let line = wire.windows(2).position(|two| two == b"\r\n")?;
    let size = usize::from_str_radix(std::str::from_utf8(&wire[..line]).unwrap(), 16).unwrap();
    let end = line + 2 + size + 2;
    if wire.len() < end {
        return None;
    }
    let chunk = wire[line + 2..end - 2].to_vec();
    wire.drain(..end);
    Some(chunk)
}
