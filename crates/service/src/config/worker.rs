//! `[worker]`: how a worker runs attempts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::gateway;
use super::size::Size;
use super::value::{DAY, GIB, HOUR, KIB, MINUTE, SECOND, duration, number, size};

/// How a worker runs attempts, and what it holds back while Redis is away.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// How many attempts run at once. Default 4, 1 to 10,000.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub concurrency: u32,
    /// How long running attempts may go on after SIGTERM; what isn't done by then is given back. Default 30s,
    /// 0s to 1h.
    #[serde(deserialize_with = "duration::<_, 0, HOUR>")]
    pub grace: Duration,
    /// How long an attempt goes on without any answer of Redis. Default 5m, 1s to 1d.
    #[serde(deserialize_with = "duration::<_, SECOND, DAY>")]
    pub max_blind: Duration,
    /// The shortest time between two progress events of one job; the latest value wins. Default 50ms, 1ms to 10s.
    #[serde(deserialize_with = "duration::<_, 1, { 10 * SECOND }>")]
    pub progress_interval: Duration,
    /// How long pieces of text are gathered into one event. Default 25ms, 1ms to 10s.
    #[serde(deserialize_with = "duration::<_, 1, { 10 * SECOND }>")]
    pub text_interval: Duration,
    /// How much unsent output of one attempt is held before its handler has to wait, in bytes; at least
    /// `jobs.max_event`. Default 1 MiB, 1 KiB to 1 GiB.
    #[serde(deserialize_with = "size::<_, KIB, GIB>")]
    pub buffer: Size,
    /// How long a program may take to end after SIGTERM, before SIGKILL. Default 10s, 0s to 10m.
    #[serde(deserialize_with = "duration::<_, 0, { 10 * MINUTE }>")]
    pub kill_after: Duration,
    /// The one folder that the example tasks may read from; from the configuration file's folder if relative.
    /// Default `.`
    pub input_dir: PathBuf,
    /// Where the worker serves `/healthz`, `/readyz` and `/metrics`, IP and port. Default none: nowhere.
    #[serde(deserialize_with = "listen_if_any")]
    pub listen: Option<SocketAddr>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            concurrency: 4,
            grace: Duration::from_secs(30),
            max_blind: Duration::from_mins(5),
            progress_interval: Duration::from_millis(50),
            text_interval: Duration::from_millis(25),
            buffer: Size::mib(1),
            kill_after: Duration::from_secs(10),
            input_dir: PathBuf::from("."),
            listen: None,
        }
    }
}

fn listen_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    gateway::listen(deserializer).map(Some)
}
