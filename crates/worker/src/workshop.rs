//! What the loops of a worker share, and how an attempt is started.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Partition, TaskName, Token};
use prometheus_client::metrics::gauge::Gauge;
use store::{Backoff, Claimable, Claimed, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::{self, Attempt, Stops};
use crate::places::{Place, Places};
use crate::{AnyHandler, Options, WorkerMetrics};

/// See the module.
pub(crate) struct Workshop {
    pub(crate) store: Store,
    pub(crate) options: Arc<Options>,
    pub(crate) handlers: HashMap<TaskName, Arc<dyn AnyHandler>>,
    pub(crate) metrics: WorkerMetrics,
    /// One for each attempt that may run.
    pub(crate) permits: Arc<Semaphore>,
    /// Those of each task.
    pub(crate) places: Places,
    /// All attempts.
    pub(crate) attempts: TaskTracker,
    /// Nothing is claimed once this is cancelled.
    pub(crate) soft: CancellationToken,
    pub(crate) stops: Stops,
}

/// What an attempt takes up: one of the worker's permits, and one of its task's places if that has a limit.
pub(crate) type Room = (OwnedSemaphorePermit, Option<Place>);

impl Workshop {
    /// One claim in `partition` with `token`.
    pub(crate) async fn claim(
        &self,
        partition: Partition,
        token: Token,
        tasks: &[TaskName],
    ) -> Result<Option<Claimed>, StoreError> {
        let limits = |task| self.options.limits.get(task).copied().unwrap_or_default();
        let tasks: Vec<_> =
            tasks.iter().map(|task| Claimable { task: task.clone(), limits: limits(task) }).collect();
        self.store.claim(partition, &tasks, token, self.options.lease).await
    }

    /// The same until it is answered.
    pub(crate) async fn claim_until_answered(
        &self,
        partition: Partition,
        token: Token,
        tasks: &[TaskName],
    ) -> Option<Claimed> {
        let mut backoff = Backoff::of_repeats();
        loop {
            sleep(backoff.next()).await;
            match self.claim(partition, token, tasks).await {
                Ok(claimed) => return claimed,
                Err(error) => tracing::debug!(%partition, %error, "a claim will be repeated"),
            }
        }
    }

    /// What an attempt needs that nobody counted on.
    pub(crate) fn room_for(&self, task: &TaskName) -> Option<Room> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some((permit, self.places.find(task).ok()?))
    }

    /// Whether attempts leave no room for one of `task`. Claims under way don't count: if they did, loops that hear rings at the
    /// same time could each give theirs back for the other's sake, for ever.
    pub(crate) fn is_full_of(&self, task: &TaskName) -> bool {
        self.attempts.len() >= self.options.concurrency || self.places.are_taken(task)
    }

    /// Starts an attempt at what was claimed.
    pub(crate) fn start(&self, claimed: Claimed, handler: Arc<dyn AnyHandler>, room: Room) {
        let running = Counted::new(&self.metrics.running);
        let (permit, place) = room;
        let taken = place.and_then(|place| self.places.take(place));
        let attempt = Attempt {
            claimed,
            handler,
            store: self.store.clone(),
            options: Arc::clone(&self.options),
            metrics: self.metrics.clone(),
            stops: self.stops.clone(),
        };
        self.attempts.spawn(async move {
            attempt::run(attempt).await;
            drop((running, taken, permit));
        });
    }
}

/// Counts itself in a gauge for as long as it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
