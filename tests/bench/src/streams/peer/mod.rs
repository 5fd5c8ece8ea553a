//! Others that do what Jobcast's streams do, where they are installed: `make bench-peers` installs them.

mod nchan;
mod pushpin;

use std::time::{Duration, Instant};

use model::{Cursor, JobId};
use tempfile::TempDir;
use testkit::process::Jobcast;
use testkit::redis::RedisServer;
use tokio::task::JoinSet;

use super::process::Used;
use super::replay::Replay;
use super::wire::Wire;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// nginx with Nchan, on a Redis.
    Nchan,
    /// Pushpin.
    Pushpin,
}

/// What its figures are called, and those of Jobcast held against them.
pub(super) struct Figures {
    pub(super) memory: &'static str,
    pub(super) memory_ratio: &'static str,
    pub(super) fanout: &'static str,
    pub(super) fanout_ratio: &'static str,
    pub(super) jobs: &'static str,
    pub(super) jobs_ratio: &'static str,
    /// Events of `jobs` a second, as many as it takes; at most as many as come.
    pub(super) rate: &'static str,
    pub(super) latency: &'static str,
    /// Jobcast's at the same rate.
    pub(super) latency_beside: &'static str,
    pub(super) latency_ratio: &'static str,
}

impl Peer {
    /// Those that are here; it says which aren't.
    pub fn installed() -> Vec<Self> {
        let mut here = Vec::new();
        for (peer, found) in [(Self::Nchan, nchan::is_installed()), (Self::Pushpin, pushpin::is_installed())]
        {
            if found {
                here.push(peer);
            } else {
                eprintln!("{peer:?} isn't installed, and is left out: make bench-peers installs it");
            }
        }
        here
    }

    /// See [`Figures`].
    pub(super) fn figures(self) -> &'static Figures {
        match self {
            Self::Nchan => &nchan::FIGURES,
            Self::Pushpin => &pushpin::FIGURES,
        }
    }

    /// What was measured of it; it says where it didn't hold out, and what isn't measured is left out.
    pub(super) fn or_left_out<T>(self, measured: anyhow::Result<T>) -> Option<T> {
        measured.inspect_err(|error| eprintln!("{self:?} is left out: {error}")).ok()
    }

    /// Starts it with so many logs, each with one event.
    pub(super) async fn start(self, logs: usize, pin: bool) -> anyhow::Result<Running> {
        match self {
            Self::Nchan => nchan::start(logs, pin).await,
            Self::Pushpin => pushpin::start(logs, pin).await,
        }
    }
}

/// One that runs; dropping it ends it.
pub(super) struct Running {
    /// Where its clients go.
    pub(super) address: String,
    /// Where events are published, and how.
    publish_at: String,
    wire: Wire,
    /// The path of a log's streams, without its number.
    path: &'static str,
    logs: usize,
    /// What is measured.
    server: Jobcast,
    /// What else it needs.
    _beside: Beside,
}

/// What a server needs beside itself, for as long as it runs.
#[derive(Default)]
struct Beside {
    _processes: Vec<Jobcast>,
    _redis: Option<RedisServer>,
    _tasks: JoinSet<()>,
    _folder: Option<TempDir>,
}

impl Drop for Running {
    /// Asked to end, it ends what it started, which may be in process groups of their own.
    fn drop(&mut self) {
        self.server.terminate();
        let end = Instant::now() + Duration::from_secs(10);
        while self.server.exited().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Running {
    /// Where so many streams are, over all logs in turn.
    pub(super) fn paths(&self, streams: usize) -> Vec<String> {
        (0..streams).map(|n| format!("{}{}", self.path, n % self.logs)).collect()
    }

    /// What publishes events of its logs.
    pub(super) async fn replay(&self) -> anyhow::Result<Replay> {
        let logs = vec![(JobId::from_bytes([0; 16]), Cursor::START); self.logs];
        Replay::new(&self.publish_at, self.wire, logs).await
    }

    /// What its processes have used.
    pub(super) fn used(&self) -> anyhow::Result<Used> {
        Used::of_all(self.server.pid())
    }
}

/// Writes `text` as `name` in `folder`; its path.
fn file(folder: &TempDir, name: &str, text: &str) -> anyhow::Result<std::path::PathBuf> {
    let path = folder.path().join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}
