//! Jobs that are cancelled when nobody follows them: as long as this node has followers of one, it says so to Redis.
//!
//! Each word of it says also that it will be said again, and lasts until then; so a node that dies keeps no job for long,
//! and a follower that goes to another node leaves no gap.

use std::sync::{Arc, Weak};
use std::time::Duration;

use model::{JobId, LogId, Status};
use tokio::time::Instant;

use super::Hub;
use super::node::Node;

/// How often it is looked whose turn it is.
const TICK: Duration = Duration::from_secs(1);

/// A job that is cancelled when nobody follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// For so long.
    within: Duration,
    /// When it is to be said next that somebody does.
    due: Instant,
}

impl Kept {
    /// How often it is said.
    fn every(&self) -> Duration {
        self.within / 3
    }
}

impl Node {
    /// It is of a job that is cancelled when nobody has followed it for `within`, and somebody does.
    pub(super) fn keep(&self, within: Duration) {
        self.kept.lock().get_or_insert(Kept { within, due: Instant::now() });
        if let Some(hub) = self.hub.upgrade() {
            hub.kept.lock().insert(self.log.clone(), Weak::clone(&self.me));
        }
        self.say_followed();
    }

    /// Says that the job is followed, if it is time to.
    fn say_followed(&self) {
        let (Some(hub), Some(node), LogId::Job(job)) =
            (self.hub.upgrade(), self.me.upgrade(), self.log.clone())
        else {
            return;
        };
        let still = match &mut *self.kept.lock() {
            Some(kept) if kept.due <= Instant::now() => {
                kept.due = Instant::now() + kept.every();
                kept.every() + TICK
            }
            _ => return,
        };
        let stop = hub.stop.clone();
        hub.tasks.clone().spawn(stop.run_until_cancelled_owned(async move {
            match hub.store.followed(job, still).await {
                Ok(true) => {}
                Ok(false) => *node.kept.lock() = None,
                Err(error) => {
                    tracing::debug!(%job, %error, "that the job is followed will be said again");
                    if let Some(kept) = &mut *node.kept.lock() {
                        kept.due = Instant::now();
                    }
                }
            }
        }));
    }
}

impl Hub {
    /// Says of all followed jobs that they are, as often as each needs it, forever.
    pub(super) async fn keep_on(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for node in self.kept() {
                node.say_followed();
            }
        }
    }

    /// The logs of such jobs that somebody follows. They are a list of their own: most logs are of other jobs.
    fn kept(&self) -> Vec<Arc<Node>> {
        let mut nodes = Vec::new();
        self.0.kept.lock().retain(|_, node| {
            let kept = node.upgrade().filter(|node| node.kept.lock().is_some());
            let keep = kept.is_some();
            nodes.extend(kept);
            keep
        });
        let logs = self.0.logs.lock();
        nodes.retain(|node| logs.get(&node.log).is_some_and(|followed| followed.streams > 0));
        nodes
    }

    /// Somebody has asked how `job` stands, which is following it for a moment; `within` is its `cancelOnDisconnect`.
    pub(crate) async fn looked_at(&self, job: JobId, status: Status, within: Option<Duration>) {
        if within.is_some()
            && !status.is_terminal()
            && let Err(error) = self.0.store.followed(job, Duration::ZERO).await
        {
            // The job was told, and it may well be asked for again.
            tracing::debug!(%job, %error, "that the job is followed can't be said");
        }
    }
}
