//! The hub: one live subscription per log, shared by all local streams of that log.
//!
//! Its core is pure: [`core::LogCore`] takes what was heard and read, and gives frames, "wait", or "read this". It knows no
//! transport, no Redis, no clock; the shell around it ([`node`], [`reconcile`], [`pulse`]) does what it asks for. A stream
//! is a [`Follow`]: a place in a log, not a queue and not a task.

mod answer;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod chain;
mod core;
mod follow;
mod frame;
mod held;
mod id_lines;
mod keep;
mod logs;
mod node;
mod page;
mod permits;
mod plant;
mod pulse;
mod read;
mod reader;
mod reconcile;
mod seat;
mod several;
#[cfg(test)]
mod sim;
mod streams;
mod wakes;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use model::wire::SnapshotReason;
use model::{Job, JobId, LogId, Owner, Position};
use parking_lot::Mutex;
use store::Store;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::core::Limits;
pub(crate) use self::follow::{Follow, Next, WaitFor};
use self::held::Held;
use self::logs::Logs;
use self::node::Node;
use self::permits::ReadPermits;
pub(crate) use self::pulse::{Beats, Pulse, Turn};
pub(crate) use self::reader::{Found, NoPage};
pub(crate) use self::several::{Member, Several, gone_frame};
#[cfg(test)]
pub(crate) use self::sim::begun;

/// How a hub works; each as in `config/jobcast.toml`.
#[derive(Clone, Debug)]
pub(crate) struct HubOptions {
    /// What one log's ring may keep, in bytes.
    pub(crate) ring_log: usize,
    /// What all of them may keep.
    pub(crate) rings: usize,
    /// About how much one read of a log brings, in bytes.
    pub(crate) page: usize,
    /// How many reads may be in flight, of all partitions together.
    pub(crate) reads: u32,
    /// How long a log's subscription outlives its last stream.
    pub(crate) linger: Duration,
    /// How often silent logs are compared with Redis.
    pub(crate) reconcile: Duration,
    /// How long a log's events are gathered before its streams are woken.
    pub(crate) coalesce: Duration,
    /// What `statusUrl` and `eventsUrl` begin with.
    pub(crate) base_url: String,
}

/// The least time from one [`Hub::tick`] to the next, even where nothing lingers.
const OFTEN: Duration = Duration::from_millis(100);

/// All followed logs of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Shared>);

struct Shared {
    store: Store,
    options: Inner,
    logs: Mutex<Logs<Arc<Node>>>,
    /// What all of them hold.
    held: Held,
    /// Those of jobs that are cancelled when nobody follows them, by when they are looked at next.
    kept: Mutex<BTreeMap<(Instant, LogId), Weak<Node>>>,
    /// Those that keep frames for streams that may come.
    warm: Mutex<Vec<Arc<Node>>>,
    reads: ReadPermits,
    /// Partitions were added.
    grown: Arc<Notify>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Inner {
    limits: Limits,
    page: usize,
    rings: usize,
    linger: Duration,
    reconcile: Duration,
    coalesce: Duration,
    base_url: String,
}

/// The frame of a snapshot whose JSON is `json`.
pub(crate) fn snapshot_frame(json: &[u8], id: impl std::fmt::Display) -> Bytes {
    frame::render(b"snapshot", json, id)
}

impl Hub {
    /// A hub on `store`, whose tasks run on `tasks` until `stop`, or until it is closed.
    pub(crate) fn new(
        store: Store,
        options: HubOptions,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let HubOptions { ring_log, rings, page, reads, linger, reconcile, coalesce, base_url } = options;
        let options = Inner {
            limits: Limits { ring_bytes: ring_log, endless: false },
            page,
            rings,
            linger,
            reconcile,
            coalesce,
            base_url,
        };
        let (logs, kept, warm) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (reads, grown) = (ReadPermits::new(reads), Arc::default());
        let held = Held::default();
        Self(Arc::new(Shared { store, options, logs, held, kept, warm, reads, grown, tasks, stop }))
    }

    /// Ends whatever it is at: there are no streams any more. A read that Redis doesn't answer would go on for as long as it is away.
    pub(crate) fn close(&self) {
        self.0.stop.cancel();
    }

    /// Follows `log` from `position` on. A job is known to exist, or the follower is told that it is gone.
    pub(crate) fn follow(&self, log: impl Into<LogId>, position: Position) -> Follow {
        let node = self.0.logs.lock().join(log.into(), |log| Node::open(&self.0, log));
        Follow::new(self.clone(), node, position)
    }

    /// Follows the log of `job` from `position` on, if this node knows by what it hears of it that it is a job of `owner` and goes on;
    /// otherwise Redis has to be asked. So many who come to one job ask but once.
    pub(crate) fn join(&self, job: JobId, owner: &Owner, position: Position) -> Option<Follow> {
        let node = {
            let (mut logs, log) = (self.0.logs.lock(), LogId::Job(job));
            logs.get(&log).filter(|node| node.is_known_to_go_on(owner))?;
            logs.join(log, |log| Node::open(&self.0, log))
        };
        Some(Follow::new(self.clone(), node, position))
    }

    fn left(&self, node: &Node) {
        self.0.logs.lock().leave(&node.log, Instant::now());
    }

    /// Ends the subscriptions that nobody has needed for the linger.
    fn tidy(&self) {
        let Some(until) = Instant::now().checked_sub(self.0.options.linger) else { return };
        let idle = self.0.logs.lock().take_idle(until);
        // Outside of the lock: ending a subscription takes the live channel's own.
        for node in idle {
            node.close();
        }
    }

    /// `node`, whose core is locked, keeps frames for streams that may come.
    fn warmed(&self, node: &Arc<Node>) {
        if !node.listed.swap(true, Ordering::Relaxed) {
            self.0.warm.lock().push(Arc::clone(node));
        }
    }

    /// Lets logs to which several streams came go back to keeping nothing for those who may come. They are a list of their own:
    /// to look at all logs each second would hold up what goes on.
    fn cool(&self) {
        let mut warm = std::mem::take(&mut *self.0.warm.lock());
        warm.retain(|node| {
            let mut core = node.core.lock();
            core.cool();
            node.listed.store(core.is_warm(), Ordering::Relaxed);
            core.is_warm()
        });
        self.0.warm.lock().append(&mut warm);
    }

    /// Keeps what all rings hold within the node's cap: the largest give first. Only where they hold more are they looked at.
    fn shed(&self) {
        if self.0.held.bytes() <= self.0.options.rings {
            return;
        }
        let nodes: Vec<_> = self.0.logs.lock().all().map(Arc::clone).collect();
        let mut sizes: Vec<_> = nodes.iter().map(|node| (node.core.lock().bytes(), node)).collect();
        let mut over = sizes.iter().map(|(size, _)| size).sum::<usize>().saturating_sub(self.0.options.rings);
        sizes.sort_unstable_by_key(|(size, _)| std::cmp::Reverse(*size));
        for (size, node) in sizes {
            if over == 0 {
                return;
            }
            over = over.saturating_sub(node.core.lock().shed(over.min(size)));
        }
    }

    /// What is done every second. It costs nothing for the logs with which there is nothing to do.
    fn tick(&self) {
        self.tidy();
        self.cool();
        self.shed();
    }

    /// How many logs are followed.
    pub(crate) fn logs(&self) -> usize {
        self.0.logs.lock().len()
    }

    /// What follows `position` in `log`, without following it. `None` if there is no such job. Waits for other reads no longer than
    /// for Redis itself.
    pub(crate) async fn page(&self, log: &LogId, position: Position) -> Result<Option<Found>, NoPage> {
        let patience = self.0.store.patience();
        let _permit = timeout(patience, self.0.permit(log)).await.map_err(|_| NoPage::Busy)?;
        self.0.find(log, position).await
    }

    /// The JSON of a `snapshot` of `job`, as it is now.
    pub(crate) fn snapshot(&self, job: Job) -> Result<Bytes, serde_json::Error> {
        self.0.snapshot(job, SnapshotReason::Now)
    }

    /// How many partitions there are, as far as this node has heard.
    fn partitions(&self) -> u16 {
        self.0.store.known_partitions()
    }

    /// Completes when there are more partitions than when it was made.
    fn partitions_may_grow(&self) -> OwnedNotified {
        Arc::clone(&self.0.grown).notified_owned()
    }

    /// Keeps the hub in order until it is stopped: lingering, caps, reconciling, and partitions that are added.
    pub(crate) async fn run(&self) {
        let work = async {
            tokio::join!(self.reconcile_often(), self.keep_on(), async {
                let mut ticks =
                    tokio::time::interval(self.0.options.linger.clamp(OFTEN, Duration::from_secs(1)));
                let mut partitions = 0;
                loop {
                    ticks.tick().await;
                    self.tick();
                    if std::mem::replace(&mut partitions, self.partitions()) != partitions {
                        self.0.grown.notify_waiters();
                    }
                }
            })
        };
        self.0.stop.run_until_cancelled(work).await;
    }
}
