//! `[jobs]`: what a job gets unless its submission says otherwise, and the most that it may have.

use std::time::Duration;

use serde::Deserialize;

use super::size::Size;
use super::value::{DAY, GIB, HOUR, KIB, MIB, MINUTE, SECOND, duration, duration_if_any, number, size};

/// Times, limits and sizes of jobs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsConfig {
    /// How long a worker holds an attempt without a sign of life. Default 30s, 1s to 1h.
    #[serde(deserialize_with = "duration::<_, SECOND, HOUR>")]
    pub lease: Duration,
    /// How often a worker renews its lease; at most half of [`lease`](Self::lease). Default 10s, 100ms to 30m.
    #[serde(deserialize_with = "duration::<_, 100, { 30 * MINUTE }>")]
    pub heartbeat: Duration,
    /// How long an external job lives from each report on, where its submission doesn't say. Default 2m, 1s to 1h.
    #[serde(deserialize_with = "duration::<_, SECOND, HOUR>")]
    pub external_lease: Duration,
    /// How often expired leases, deadlines and delayed jobs are looked for; at most [`lease`](Self::lease).
    /// Default 1s, 50ms to 1m.
    #[serde(deserialize_with = "duration::<_, 50, MINUTE>")]
    pub sweep: Duration,
    /// How long one attempt may run. Default 24h, 100ms to 30d.
    #[serde(deserialize_with = "duration::<_, 100, { 30 * DAY }>")]
    pub timeout: Duration,
    /// How long a job may take in all, from submission; at most [`max_deadline`](Self::max_deadline). Default
    /// 24h, 100ms to 30d.
    #[serde(deserialize_with = "duration::<_, 100, { 30 * DAY }>")]
    pub deadline: Duration,
    /// The longest `deadline` that a submission may ask for. Default 7d, 100ms to 30d.
    #[serde(deserialize_with = "duration::<_, 100, { 30 * DAY }>")]
    pub max_deadline: Duration,
    /// How long a job may wait for its first start; at most [`max_deadline`](Self::max_deadline). Default none:
    /// as long as its deadline. 100ms to 30d.
    #[serde(deserialize_with = "duration_if_any::<_, 100, { 30 * DAY }>")]
    pub queue_timeout: Option<Duration>,
    /// How many attempts a job gets. Default 3, 1 to 100.
    #[serde(deserialize_with = "number::<_, _, 1, 100>")]
    pub max_attempts: u32,
    /// How long the second attempt waits after the first one failed; each other one twice as long as the one before, at random
    /// from half of that on. Default 1s, 0s to 1d.
    #[serde(deserialize_with = "duration::<_, 0, DAY>")]
    pub retry_delay: Duration,
    /// The longest such wait; at least [`retry_delay`](Self::retry_delay). Default 5m, 1s to 1d.
    #[serde(deserialize_with = "duration::<_, SECOND, DAY>")]
    pub max_retry_delay: Duration,
    /// How long an ended job is kept; at most [`max_retention`](Self::max_retention). Default 24h, 1s to 365d.
    #[serde(deserialize_with = "duration::<_, SECOND, { 365 * DAY }>")]
    pub retention: Duration,
    /// The longest `retention` that a submission may ask for. Default 7d, 1s to 365d.
    #[serde(deserialize_with = "duration::<_, SECOND, { 365 * DAY }>")]
    pub max_retention: Duration,
    /// The largest payload, in bytes. Default 1 MiB, 1 KiB to 64 MiB.
    #[serde(deserialize_with = "size::<_, KIB, { 64 * MIB }>")]
    pub max_payload: Size,
    /// The largest result, in bytes. Default 1 MiB, 1 KiB to 64 MiB.
    #[serde(deserialize_with = "size::<_, KIB, { 64 * MIB }>")]
    pub max_result: Size,
    /// The largest event, in bytes. Default 64 KiB, 1 KiB to 1 MiB.
    #[serde(deserialize_with = "size::<_, KIB, MIB>")]
    pub max_event: Size,
    /// The largest metadata of a job, in bytes. Default 4 KiB, 0 B to 64 KiB.
    #[serde(deserialize_with = "size::<_, 0, { 64 * KIB }>")]
    pub max_metadata: Size,
    /// How many events a job's log keeps; the oldest go first. Default 10,000, 1 to 1,000,000.
    #[serde(deserialize_with = "number::<_, _, 1, 1_000_000>")]
    pub log_events: u32,
    /// How many bytes of events a job's log keeps; at least [`max_event`](Self::max_event). Default 4 MiB, 1 KiB
    /// to 1 GiB.
    #[serde(deserialize_with = "size::<_, KIB, GIB>")]
    pub log_bytes: Size,
    /// The shortest `Retry-After` of a poll, for a young job; whole seconds count. Default 1s, 1s to 1h.
    #[serde(deserialize_with = "duration::<_, SECOND, HOUR>")]
    pub poll_min: Duration,
    /// The longest `Retry-After` of a poll, for an old job; at least [`poll_min`](Self::poll_min). Default 30s,
    /// 1s to 1h.
    #[serde(deserialize_with = "duration::<_, SECOND, HOUR>")]
    pub poll_max: Duration,
    /// The longest that a request may wait (`?wait=`, `Prefer: wait=`, a claim). Default 60s, 1s to 10m.
    #[serde(deserialize_with = "duration::<_, SECOND, { 10 * MINUTE }>")]
    pub max_wait: Duration,
}

impl Default for JobsConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            external_lease: Duration::from_mins(2),
            sweep: Duration::from_secs(1),
            timeout: DAY,
            deadline: DAY,
            max_deadline: 7 * DAY,
            queue_timeout: None,
            max_attempts: 3,
            retry_delay: Duration::from_secs(1),
            max_retry_delay: Duration::from_mins(5),
            retention: DAY,
            max_retention: 7 * DAY,
            max_payload: Size::mib(1),
            max_result: Size::mib(1),
            max_event: Size::kib(64),
            max_metadata: Size::kib(4),
            log_events: 10_000,
            log_bytes: Size::mib(4),
            poll_min: Duration::from_secs(1),
            poll_max: Duration::from_secs(30),
            max_wait: Duration::from_mins(1),
        }
    }
}
