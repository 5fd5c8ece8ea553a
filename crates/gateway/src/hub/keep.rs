//! Jobs that are cancelled when nobody follows them: as long as this node has followers of one, it says so to Redis.
//!
//! Each word of it says also that it will be said again, and lasts until then; so a node that dies keeps no job for long,
//! and a follower that goes to another node leaves no gap.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use model::{JobId, LogId, Status};
use tokio::time::Instant;

use super::node::Node;
use super::{Hub, Shared};

/// How often it is looked whose turn it is.
const TICK: Duration = Duration::from_secs(1);

/// A job that is cancelled when nobody follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// For so long.
    within: Duration,
    /// When it is to be said next that somebody does.
    due: Instant,
    /// Where it is in the hub's list. What stands elsewhere there is of an earlier time.
    listed: Instant,
}

impl Kept {
    /// How often it is said at least.
    fn every(&self) -> Duration {
        self.within / 3
    }
}

impl Node {
    /// It is of a job that is cancelled when nobody has followed it for `within`, and somebody does.
    pub(super) fn keep(&self, within: Duration) {
        let now = Instant::now();
        self.kept.lock().get_or_insert_with(|| Box::new(Kept { within, due: now, listed: now }));
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
                // Those that came together aren't all said together forever.
                let due = Instant::now() + kept.every().mul_f64(rand::random_range(0.8..=1.0));
                kept.due = due;
                self.look_again(&hub, kept, due);
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
                        let now = Instant::now();
                        kept.due = now;
                        node.look_again(&hub, kept, now);
                    }
                }
            }
        }));
    }

    /// Has the hub look at it at the time `at`, and not when it was to before.
    fn look_again(&self, hub: &Shared, kept: &mut Kept, at: Instant) {
        kept.listed = at;
        hub.kept.lock().insert((at, self.log.clone()), Weak::clone(&self.me));
    }

    /// The hub looks at it, as it was to at the time `at`.
    fn look(&self, hub: &Shared, at: Instant) {
        {
            let mut kept = self.kept.lock();
            let Some(kept) = kept.as_mut().filter(|kept| kept.listed == at) else { return };
            if !hub.logs.lock().has_streams(&self.log) {
                // Who comes until it is forgotten says so at once, if it is time to.
                self.look_again(hub, kept, Instant::now() + TICK);
                return;
            }
        }
        self.say_followed();
    }
}

impl Hub {
    /// Says of all followed jobs that they are, as often as each needs it, forever.
    pub(super) async fn keep_on(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for ((at, _), node) in self.due(Instant::now()) {
                if let Some(node) = node.upgrade() {
                    node.look(&self.0, at);
                }
            }
        }
    }

    /// What is to be looked at by `now`, which is in the list no more.
    fn due(&self, now: Instant) -> BTreeMap<(Instant, LogId), Weak<Node>> {
        let mut kept = self.0.kept.lock();
        let mut due = BTreeMap::new();
        while let Some(first) = kept.first_entry().filter(|first| first.key().0 <= now) {
            let (at, node) = first.remove_entry();
            due.insert(at, node);
        }
        due
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
