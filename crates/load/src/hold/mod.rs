//! Holds many streams and checks all that they tell, in one thread of its own.
//!
//! It knows nothing of jobs, only of event streams whose frames have ids of the form `<seq>-<mark>` (or a bare seq), counted
//! from 1 within each log. A stream that is cut comes back after the server's `retry:`, with its last id, as an `EventSource`
//! does; 204 is its end. Latency is of events whose data is an object with an object in it that begins with `"due":`, the
//! microseconds since the Unix epoch: as in `{"seq":7,"output":{"due":1764329000000000}}`.
//!
//! ```no_run
//! use load::hold::{Holder, Holding, Log, Server};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let holding = Holding {
//!     servers: vec![Server::at("127.0.0.1:8080".parse()?)],
//!     sources: vec![],
//!     key: None,
//!     logs: vec![Log { path: "/api/jobs/019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000/events".into(), streams: 10_000 }],
//!     opening: 128,
//!     every: std::time::Duration::ZERO,
//! };
//! let holder = Holder::start(holding)?;
//! while holder.counts().opened < 10_000 {
//!     tokio::time::sleep(std::time::Duration::from_millis(10)).await;
//! }
//! // … publish 500 events …
//! let tally = holder.stop(vec![500]).await?;
//! println!("{} lost, p99 {} ms", tally.counts.lost, tally.latency.figures().p99);
//! # Ok(())
//! # }
//! ```

mod follow;
mod judge;
mod server;
mod socket;
mod tally;
mod thread;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub(crate) use server::resolve;
pub use server::{Server, ServerError};
pub(crate) use socket::Socket;
pub(crate) use tally::Shared;
pub use tally::{Counts, Second, Tally};

/// Which streams to hold.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Where: streams take them in turn, a cut one takes the next. At least one.
    pub servers: Vec<Server>,
    /// The addresses to connect from, in turn; empty for what the system chooses. Each gives some 28,000 connections to one
    /// address.
    pub sources: Vec<IpAddr>,
    /// Sent as `Authorization: Bearer`, if there is one.
    pub key: Option<String>,
    /// The logs to follow.
    pub logs: Vec<Log>,
    /// How many connections are opened at once at first. From 1; a storm has no such limit.
    pub opening: usize,
    /// The time from one opening to the next, at first; zero for as fast as it goes.
    pub every: Duration,
}

/// One log, and how many streams follow it.
#[derive(Clone, Debug)]
pub struct Log {
    /// Where its stream is, such as `/api/jobs/<id>/events`.
    pub path: String,
    /// How many streams follow it.
    pub streams: usize,
}

/// A thread that holds streams. Dropped, it lets go of them.
#[derive(Debug)]
pub struct Holder {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// What the thread is asked to do.
#[derive(Debug)]
enum Command {
    /// Cut all streams, and open them anew at once.
    Storm,
    /// Let go, and say what was seen of logs with these last events (0 where it isn't known).
    Stop(Vec<u64>, oneshot::Sender<Tally>),
}

/// The thread has died, which is a defect.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the thread that holds the streams has died")]
pub struct Died;

impl Holder {
    /// Starts the thread, which opens the streams.
    pub fn start(holding: Holding) -> io::Result<Self> {
        let (commands, asked) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let runtime = thread::runtime()?;
        std::thread::Builder::new()
            .name("load-holder".into())
            .spawn(move || thread::run(&runtime, holding, told, asked))?;
        Ok(Self { commands, shared })
    }

    /// The counts of a moment ago.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// What went wrong last when a stream was to be opened, in words, if anything did.
    pub fn last_error(&self) -> Option<String> {
        self.shared.last_error()
    }

    /// Cuts all streams at once, and opens them again, each with its last id.
    pub fn storm(&self) {
        let _ = self.commands.send(Command::Storm);
    }

    /// Lets go of all streams, and says what they told. `ends` has the last event of each log in the order of
    /// [`Holding::logs`], by which what is missing at a stream's end counts as lost; 0 where it isn't known.
    pub async fn stop(self, ends: Vec<u64>) -> Result<Tally, Died> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Stop(ends, answer)).map_err(|_| Died)?;
        answered.await.map_err(|_| Died)
    }
}
