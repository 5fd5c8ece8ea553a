//! `[stream]`: how events reach clients.

use std::time::Duration;

use serde::Deserialize;

use super::size::Size;
use super::value::{DAY, GIB, HOUR, KIB, MIB, MINUTE, SECOND, duration, number, size};

/// How streams are held open, refreshed and closed, and what they may cost a node.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// How often a silent stream gets a comment, give or take [`heartbeat_jitter`](Self::heartbeat_jitter).
    /// Default 15s, 100ms to 5m.
    #[serde(deserialize_with = "duration::<_, 100, { 5 * MINUTE }>")]
    pub heartbeat: Duration,
    /// How much a heartbeat may come early or late; less than [`heartbeat`](Self::heartbeat). Default 3s, from 0s.
    #[serde(deserialize_with = "duration::<_, 0, { 5 * MINUTE }>")]
    pub heartbeat_jitter: Duration,
    /// How long a client waits before it reconnects, give or take half. Default 2s, 100ms to 1m.
    #[serde(deserialize_with = "duration::<_, 100, MINUTE>")]
    pub retry: Duration,
    /// How long a log stays subscribed after its last stream has left. Default 10s, 0s to 10m.
    #[serde(deserialize_with = "duration::<_, 0, { 10 * MINUTE }>")]
    pub linger: Duration,
    /// How often a silent log is compared with Redis, so how long a lost live message can stay unseen. Default
    /// 15s, 100ms to 5m.
    #[serde(deserialize_with = "duration::<_, 100, { 5 * MINUTE }>")]
    pub reconcile: Duration,
    /// How often the live connection is asked for a sign of life; a dead one is found within twice this.
    /// Default 5s, 100ms to 1m.
    #[serde(deserialize_with = "duration::<_, 100, MINUTE>")]
    pub ping: Duration,
    /// How old a stream may grow; each is closed at a random 80 to 100 % of it, and its client comes back.
    /// Default 30m, 1s to 1d.
    #[serde(deserialize_with = "duration::<_, SECOND, DAY>")]
    pub max_age: Duration,
    /// How long a client may take nothing while frames wait for it, before it is cut. Default 60s, 100ms to 1h.
    #[serde(deserialize_with = "duration::<_, 100, HOUR>")]
    pub stall: Duration,
    /// Over how long the closing of streams is spread when the gateway stops. Default 10s, 0s to 10m.
    #[serde(deserialize_with = "duration::<_, 0, { 10 * MINUTE }>")]
    pub drain: Duration,
    /// How long the events of a log are gathered before they are written to its streams, all in one write. Default 0ms,
    /// 0ms to 1s.
    #[serde(deserialize_with = "duration::<_, 0, SECOND>")]
    pub coalesce: Duration,
    /// The most that one log's ring of rendered frames may hold, in bytes. Default 1 MiB, 1 KiB to 64 MiB.
    #[serde(deserialize_with = "size::<_, KIB, { 64 * MIB }>")]
    pub ring_log: Size,
    /// The most that all rings of a node may hold together, in bytes; at least [`ring_log`](Self::ring_log).
    /// Default 256 MiB, 1 KiB to 1024 GiB.
    #[serde(deserialize_with = "size::<_, KIB, { 1024 * GIB }>")]
    pub rings: Size,
    /// How much of a log one read fetches, in bytes. Default 64 KiB, 1 KiB to 16 MiB.
    #[serde(deserialize_with = "size::<_, KIB, { 16 * MIB }>")]
    pub page: Size,
    /// How many reads of logs a node has under way at once; each partition has an equal share, at least one. Default 64, 1 to 10,000.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub reads_in_flight: u32,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            heartbeat_jitter: Duration::from_secs(3),
            retry: Duration::from_secs(2),
            linger: Duration::from_secs(10),
            reconcile: Duration::from_secs(15),
            ping: Duration::from_secs(5),
            max_age: Duration::from_mins(30),
            stall: Duration::from_mins(1),
            drain: Duration::from_secs(10),
            coalesce: Duration::ZERO,
            ring_log: Size::mib(1),
            rings: Size::mib(256),
            page: Size::kib(64),
            reads_in_flight: 64,
        }
    }
}
