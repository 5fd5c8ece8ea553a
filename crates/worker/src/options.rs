//! How a worker runs attempts.

use std::collections::HashMap;
use std::time::Duration;

use model::{RunLimits, TaskName};

/// Times and limits of a worker; the defaults are those of `config/jobcast.toml`, `[worker]` and `[jobs]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many attempts run at once, from 1. `worker.concurrency`, default 4.
    pub concurrency: usize,
    /// How many attempts of a task run at once, from 1; tasks that aren't here have no limit but the one above.
    /// `tasks.<name>.concurrency`.
    pub task_concurrency: HashMap<TaskName, usize>,
    /// How many jobs of a task may run over the whole fleet; tasks that aren't here have no limit. `tasks.<name>.max_running` and
    /// `max_running_per_owner`.
    pub limits: HashMap<TaskName, RunLimits>,
    /// How long an attempt is ours without a sign of life. `jobs.lease`, default 30 s.
    pub lease: Duration,
    /// The longest between two signs of life; at most half of `lease`. `jobs.heartbeat`, default 10 s.
    pub heartbeat: Duration,
    /// How long attempts may go on after a soft stop. `worker.grace`, default 30 s.
    pub grace: Duration,
    /// How long an attempt goes on without any accepted call. `worker.max_blind`, default 5 min.
    pub max_blind: Duration,
    /// The shortest time between two progress events of one job. `worker.progress_interval`, default 50 ms.
    pub progress_interval: Duration,
    /// How long texts are gathered into one event. `worker.text_interval`, default 25 ms.
    pub text_interval: Duration,
    /// The most bytes of one attempt's unsent outputs and texts; then its handler waits. `worker.buffer`, default 1 MiB.
    pub buffer: usize,
    /// The most bytes of one event. `jobs.max_event`, default 64 KiB.
    pub max_event: usize,
    /// The most bytes of a result. `jobs.max_result`, default 1 MiB.
    pub max_result: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 4,
            task_concurrency: HashMap::new(),
            limits: HashMap::new(),
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            grace: Duration::from_secs(30),
            max_blind: Duration::from_mins(5),
            progress_interval: Duration::from_millis(50),
            text_interval: Duration::from_millis(25),
            buffer: 1024 * 1024,
            max_event: 64 * 1024,
            max_result: 1024 * 1024,
        }
    }
}
