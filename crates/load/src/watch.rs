//! Watches processes of this machine: their processor time and memory, and what the kernel holds for sockets.

mod proc;

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::clock::now_us;
use crate::plan::Plan;

/// How often the processes are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What a watched process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// One of Jobcast's, or of what stands before it.
    Server,
    /// Redis.
    Redis,
}

/// What a process has used at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    /// Processor time since its start, in seconds.
    pub(crate) cpu: f64,
    /// Its memory, in bytes.
    pub(crate) memory: u64,
}

/// The machine at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// The watched processes, in the order of [`Watcher::processes`]; one that is gone has used nothing. Their memory is the
    /// proportional set size.
    pub(crate) used: Vec<Used>,
    /// The kernel's memory for TCP, in bytes.
    pub(crate) kernel: u64,
}

/// A look in passing: memory is the resident set, which costs the process nothing.
#[derive(Clone, Debug)]
pub(crate) struct Second {
    /// When, in seconds since the Unix epoch.
    pub(crate) at: u64,
    /// The watched processes.
    pub(crate) used: Vec<Used>,
}

/// Watches processes.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) processes: Vec<(u32, Role)>,
    seconds: Vec<Second>,
    last: Option<Instant>,
}

impl Watcher {
    /// Watches the processes of `plan`; the error is the pid of one that isn't there.
    pub(crate) fn of(plan: &Plan) -> Result<Self, u32> {
        let servers = plan.pids.iter().map(|&pid| (pid, Role::Server));
        let processes: Vec<_> = servers.chain(plan.redis_pid.map(|pid| (pid, Role::Redis))).collect();
        match processes.iter().find(|(pid, _)| proc::cpu(*pid).is_none()) {
            Some(&(pid, _)) => Err(pid),
            None => Ok(Self { processes, seconds: Vec::new(), last: None }),
        }
    }

    /// Looks closely.
    pub(crate) fn look(&self) -> Look {
        let used = self.processes.iter().map(|&(pid, _)| Used {
            cpu: proc::cpu(pid).unwrap_or(0.0),
            memory: proc::proportional(pid).or_else(|| proc::resident(pid)).unwrap_or(0),
        });
        Look { used: used.collect(), kernel: proc::kernel().unwrap_or(0) }
    }

    /// Looks in passing, if a second has gone by.
    pub(crate) fn tick(&mut self) {
        if self.processes.is_empty() || self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        let used = self.processes.iter().map(|&(pid, _)| Used {
            cpu: proc::cpu(pid).unwrap_or(0.0),
            memory: proc::resident(pid).unwrap_or(0),
        });
        self.seconds.push(Second { at: now_us() / 1_000_000, used: used.collect() });
    }

    /// All looks in passing.
    pub(crate) fn take(&mut self) -> Vec<Second> {
        std::mem::take(&mut self.seconds)
    }
}
