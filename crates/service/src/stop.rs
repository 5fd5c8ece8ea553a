//! The two-stage stop.
//!
//! The soft token asks: finish what you have, take nothing new. The hard token ends: stop now. The soft one is the
//! hard one's child, so who waits for the soft one alone also hears a hard stop. The first SIGTERM or SIGINT is
//! soft; a second one, or the time limit of [`Shutdown::finish`], is hard. All tasks are owned: they run in the
//! tracker, and `finish` waits for them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long tasks have to leave after the hard token, before `finish` gives them up.
const LEAVE: Duration = Duration::from_secs(5);

/// One process's stop, shared by all its roles. Clones are the same stop.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hard: CancellationToken,
    soft: CancellationToken,
    tasks: TaskTracker,
    /// Holds the signal listener, which ends with the last clone.
    listener: Mutex<JoinSet<()>>,
}

/// How [`Shutdown::finish`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// All tasks ended by themselves in the soft stage.
    Drained,
    /// It took the hard stage.
    Cut {
        /// What made it hard.
        why: Cut,
        /// How many tasks were still running when it was seen to be hard.
        running: usize,
        /// How many of them didn't end even then, and were given up.
        abandoned: usize,
    },
}

/// What made a stop hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The time limit.
    Limit,
    /// The hard token: a second signal, or [`Shutdown::stop_hard`].
    Asked,
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained => f.write_str("stopped, all work done"),
            Self::Cut { why, running, abandoned } => {
                let why = if *why == Cut::Limit { "the time limit" } else { "a second request" };
                write!(
                    f,
                    "stopped by {why}: tasks running then: {running}, still running after it: {abandoned}"
                )
            }
        }
    }
}

impl Shutdown {
    /// A stop that the process's SIGTERM and SIGINT begin. From now on they no longer end the process by
    /// themselves. Must be called within a Tokio runtime; fails if the handlers can't be set.
    pub fn install() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let this = Self::manual();
        let (soft, hard) = (this.0.soft.clone(), this.0.hard.clone());
        this.0.listener.lock().spawn(listen(terminate, interrupt, soft, hard));
        Ok(this)
    }

    /// A stop that only [`stop_soft`](Self::stop_soft) and [`stop_hard`](Self::stop_hard) begin: for tests.
    pub fn manual() -> Self {
        let hard = CancellationToken::new();
        let soft = hard.child_token();
        let (tasks, listener) = (TaskTracker::new(), Mutex::new(JoinSet::new()));
        Self(Arc::new(Inner { hard, soft, tasks, listener }))
    }

    /// Cancelled when the process should finish what it has and take nothing new.
    pub fn soft(&self) -> &CancellationToken {
        &self.0.soft
    }

    /// Cancelled when the process should stop now.
    pub fn hard(&self) -> &CancellationToken {
        &self.0.hard
    }

    /// The tasks that [`finish`](Self::finish) waits for. Spawn on it whatever outlives its caller.
    pub fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Begins the soft stage; no effect if it has begun.
    pub fn stop_soft(&self) {
        self.0.soft.cancel();
    }

    /// Begins the hard stage, and the soft one with it.
    pub fn stop_hard(&self) {
        self.0.hard.cancel();
    }

    /// Begins the soft stage if it hasn't begun, waits up to `limit` for all tasks, then stops hard and waits 5
    /// seconds more. Wait for [`soft`](Self::soft) before, to run until a signal comes.
    pub async fn finish(&self, limit: Duration) -> Finished {
        self.finish_within(limit, LEAVE).await
    }

    async fn finish_within(&self, limit: Duration, leave: Duration) -> Finished {
        self.stop_soft();
        self.0.tasks.close();
        let why = tokio::select! {
            biased;
            () = self.0.hard.cancelled() => Cut::Asked,
            () = self.0.tasks.wait() => return Finished::Drained,
            () = tokio::time::sleep(limit) => Cut::Limit,
        };
        let running = self.0.tasks.len();
        self.stop_hard();
        let left = tokio::time::timeout(leave, self.0.tasks.wait()).await;
        let abandoned = if left.is_ok() { 0 } else { self.0.tasks.len() };
        Finished::Cut { why, running, abandoned }
    }
}

async fn listen(
    mut terminate: Signal,
    mut interrupt: Signal,
    soft: CancellationToken,
    hard: CancellationToken,
) {
    loop {
        let name = tokio::select! {
            Some(()) = terminate.recv() => "SIGTERM",
            Some(()) = interrupt.recv() => "SIGINT",
            else => return,
        };
        if soft.is_cancelled() {
            tracing::warn!(signal = name, "stopping at once");
            hard.cancel();
            return;
        }
        tracing::info!(signal = name, "stopping: finishing what is under way; once more to stop at once");
        soft.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    /// Spawns a task that ends when `token` is cancelled.
    fn until(shutdown: &Shutdown, token: &CancellationToken) {
        shutdown.tasks().spawn(token.clone().cancelled_owned());
    }

    #[tokio::test]
    async fn soft_is_enough_for_who_listens() {
        let shutdown = Shutdown::manual();
        until(&shutdown, shutdown.soft());
        assert_eq!(shutdown.finish(LONG).await, Finished::Drained);
        assert!(!shutdown.hard().is_cancelled());
    }

    #[tokio::test]
    async fn the_limit_makes_it_hard() {
        let shutdown = Shutdown::manual();
        until(&shutdown, shutdown.hard());
        let finished = shutdown.finish(Duration::from_millis(1)).await;
        assert_eq!(finished, Finished::Cut { why: Cut::Limit, running: 1, abandoned: 0 });
    }

    #[tokio::test]
    async fn a_second_request_makes_it_hard() {
        let shutdown = Shutdown::manual();
        until(&shutdown, shutdown.hard());
        shutdown.stop_soft();
        let (finished, ()) = tokio::join!(shutdown.finish(LONG), async { shutdown.stop_hard() });
        assert!(matches!(finished, Finished::Cut { why: Cut::Asked, abandoned: 0, .. }), "{finished:?}");
    }

    #[test]
    fn the_end_is_told_in_a_sentence() {
        let cut = Finished::Cut { why: Cut::Limit, running: 3, abandoned: 1 };
        for (finished, said) in [
            (Finished::Drained, "stopped, all work done"),
            (cut, "stopped by the time limit: tasks running then: 3, still running after it: 1"),
        ] {
            assert_eq!(finished.to_string(), said);
        }
    }

    #[tokio::test]
    async fn who_never_listens_is_given_up() {
        let shutdown = Shutdown::manual();
        shutdown.tasks().spawn(std::future::pending::<()>());
        let short = Duration::from_millis(1);
        let finished = shutdown.finish_within(short, short).await;
        assert_eq!(finished, Finished::Cut { why: Cut::Limit, running: 1, abandoned: 1 });
    }

    #[tokio::test]
    async fn hard_is_heard_by_who_waits_for_soft() {
        let shutdown = Shutdown::manual();
        shutdown.stop_hard();
        shutdown.soft().cancelled().await;
    }

    #[tokio::test]
    async fn signals_stop_in_two_stages() {
        use rustix::process::{Signal, getpid, kill_process};
        let shutdown = Shutdown::install().unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        shutdown.soft().cancelled().await;
        assert!(!shutdown.hard().is_cancelled());
        kill_process(getpid(), Signal::INT).unwrap();
        shutdown.hard().cancelled().await;
    }
}
