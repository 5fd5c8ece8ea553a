//! `[tasks.<name>]`: the tasks that may be submitted, and what runs each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::RunLimits;
use serde::Deserialize;

use super::size::Size;
use super::value::{DAY, GIB, KIB, duration_if_any, number_if_any, size_if_any};

/// One task: what runs it, and where it differs from `[jobs]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct TaskConfig {
    /// What runs the task.
    pub runs: Runs,
    /// How long one attempt may run, instead of `jobs.timeout`. 100ms to 30d.
    pub timeout: Option<Duration>,
    /// How long a job may wait for its first start, instead of `jobs.queue_timeout`. 100ms to 30d.
    pub queue_timeout: Option<Duration>,
    /// How many attempts a job gets, instead of `jobs.max_attempts`. 1 to 100.
    pub max_attempts: Option<u32>,
    /// How long the second attempt waits, instead of `jobs.retry_delay`. 0s to 1d.
    pub retry_delay: Option<Duration>,
    /// How many of its jobs one worker runs at once, within `worker.concurrency`. 1 to 10,000.
    pub concurrency: Option<u32>,
    /// How many of its jobs run at once, over all workers. 1 to 1,000,000.
    pub max_running: Option<u32>,
    /// The same for each owner. 1 to 1,000,000.
    pub max_running_per_owner: Option<u32>,
    /// How many events a job's log keeps, instead of `jobs.log_events`. 1 to 1,000,000.
    pub log_events: Option<u32>,
    /// How many bytes of events a job's log keeps, instead of `jobs.log_bytes`. 1 KiB to 1 GiB.
    pub log_bytes: Option<Size>,
}

/// What runs a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Runs {
    /// Our own workers don't: workers in any language claim it over HTTP.
    #[default]
    Elsewhere,
    /// A handler that is built into the worker, by its name.
    Handler(String),
    /// A program, by the exec protocol.
    Command(Command),
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program: a bare name is looked up in `PATH`; once loaded, a path is never relative.
    pub program: PathBuf,
    /// Its arguments, passed as they are.
    pub args: Vec<String>,
}

impl Command {
    /// Makes a program that is a relative path (one with a slash) absolute, from `dir`.
    pub(super) fn resolve(&mut self, dir: &Path) {
        if self.program.components().count() > 1 {
            self.program = dir.join(&self.program);
        }
    }
}

/// The task as the file has it. `handler` and `command` are two keys there, of which at most one may stand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    handler: Option<String>,
    command: Option<Vec<String>>,
    #[serde(default, deserialize_with = "duration_if_any::<_, 100, { 30 * DAY }>")]
    timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration_if_any::<_, 100, { 30 * DAY }>")]
    queue_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "number_if_any::<_, _, 1, 100>")]
    max_attempts: Option<u32>,
    #[serde(default, deserialize_with = "duration_if_any::<_, 0, DAY>")]
    retry_delay: Option<Duration>,
    #[serde(default, deserialize_with = "number_if_any::<_, _, 1, 10_000>")]
    concurrency: Option<u32>,
    #[serde(default, deserialize_with = "number_if_any::<_, _, 1, 1_000_000>")]
    max_running: Option<u32>,
    #[serde(default, deserialize_with = "number_if_any::<_, _, 1, 1_000_000>")]
    max_running_per_owner: Option<u32>,
    #[serde(default, deserialize_with = "number_if_any::<_, _, 1, 1_000_000>")]
    log_events: Option<u32>,
    #[serde(default, deserialize_with = "size_if_any::<_, KIB, GIB>")]
    log_bytes: Option<Size>,
}

/// Why a task's table is refused.
#[derive(Debug, thiserror::Error)]
enum BadTask {
    #[error("both `handler` and `command`; allowed: one of them, or neither for a task of workers over HTTP")]
    Both,
    #[error("an empty `command`; allowed: a list of the program and its arguments")]
    EmptyCommand,
    #[error("an empty `handler`; allowed: the name of a built-in handler")]
    EmptyHandler,
}

impl TaskConfig {
    /// How many of its jobs may run at once, over all workers.
    pub fn run_limits(&self) -> RunLimits {
        RunLimits { fleet: self.max_running, per_owner: self.max_running_per_owner }
    }
}

impl TryFrom<Written> for TaskConfig {
    type Error = BadTask;

    fn try_from(written: Written) -> Result<Self, BadTask> {
        let runs = match (written.handler, written.command) {
            (Some(_), Some(_)) => return Err(BadTask::Both),
            (Some(name), None) if name.is_empty() => return Err(BadTask::EmptyHandler),
            (Some(name), None) => Runs::Handler(name),
            (None, Some(words)) => {
                let mut words = words.into_iter();
                let program = words.next().filter(|program| !program.is_empty());
                let program = program.ok_or(BadTask::EmptyCommand)?.into();
                Runs::Command(Command { program, args: words.collect() })
            }
            (None, None) => Runs::Elsewhere,
        };
        Ok(Self {
            runs,
            timeout: written.timeout,
            queue_timeout: written.queue_timeout,
            max_attempts: written.max_attempts,
            retry_delay: written.retry_delay,
            concurrency: written.concurrency,
            max_running: written.max_running,
            max_running_per_owner: written.max_running_per_owner,
            log_events: written.log_events,
            log_bytes: written.log_bytes,
        })
    }
}
