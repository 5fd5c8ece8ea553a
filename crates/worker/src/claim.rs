//! How jobs are claimed: no polling, no herd, no attempt burned.
//!
//! Each partition has its own loop: wait until an attempt may start, claim, start it; where nothing is ready, wait at the
//! bell. A claim without an answer is repeated with the same token, so that what it may have claimed is found again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Partition, TaskName, Token};
use prometheus_client::metrics::gauge::Gauge;
use store::{Claimable, Claimed, Store, StoreError, WorkError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::{self, Attempt, FAREWELL, Stops};
use crate::backoff::Backoff;
use crate::{AnyHandler, Options, WorkerMetrics};

/// The longest wait at a bell; then a claim looks for itself.
const AT_THE_BELL: Duration = Duration::from_mins(1);

/// What all loops of a worker share.
pub(crate) struct Workshop {
    pub(crate) store: Store,
    pub(crate) options: Arc<Options>,
    pub(crate) handlers: HashMap<TaskName, Arc<dyn AnyHandler>>,
    pub(crate) metrics: WorkerMetrics,
    /// One for each attempt that may run.
    pub(crate) permits: Arc<Semaphore>,
    /// All attempts.
    pub(crate) attempts: TaskTracker,
    /// Nothing is claimed once this is cancelled.
    pub(crate) soft: CancellationToken,
    pub(crate) stops: Stops,
}

/// One partition's loop.
pub(crate) struct Claimer {
    shop: Arc<Workshop>,
    partition: Partition,
    /// In the order of the next claim's preference.
    tasks: Vec<TaskName>,
    has_complained: bool,
}

impl Claimer {
    pub(crate) fn new(shop: Arc<Workshop>, partition: Partition) -> Self {
        let tasks = shop.handlers.keys().cloned().collect();
        Self { shop, partition, tasks, has_complained: false }
    }

    /// Claims and starts attempts until the soft stop.
    pub(crate) async fn run(mut self) {
        let soft = self.shop.soft.clone();
        let mut backoff = Backoff::new();
        while let Some(permit) = self.permit(&soft).await {
            // In turn, so that no task starves behind a busy one.
            self.tasks.rotate_left(1);
            if self.claim(permit).await {
                continue;
            }
            match soft.run_until_cancelled(self.wait_for_work()).await {
                None => return,
                Some(Ok(())) => backoff = Backoff::new(),
                Some(Err(error)) => {
                    self.complain(&error);
                    soft.run_until_cancelled(sleep(backoff.next())).await;
                }
            }
        }
    }

    async fn permit(&self, soft: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        if soft.is_cancelled() {
            return None;
        }
        soft.run_until_cancelled(Arc::clone(&self.shop.permits).acquire_owned()).await?.ok()
    }

    /// Claims once, and starts what it got; false if there was nothing. The claim is not given up half-way: what was
    /// claimed without anybody knowing would be lost for a lease's length.
    async fn claim(&mut self, permit: OwnedSemaphorePermit) -> bool {
        let token = Token::from_random(rand::random());
        let error = match self.try_claim(token).await {
            Ok(claimed) => return self.take(claimed, Some(permit)).await,
            Err(error) => error,
        };
        self.complain(&error);
        // Without the permit, which partitions that answer can use.
        drop(permit);
        let farewell = async {
            self.shop.soft.cancelled().await;
            sleep(FAREWELL).await;
        };
        let Some(claimed) = or_else_at(farewell, self.claim_until_answered(token)).await else {
            return false;
        };
        self.has_complained = false;
        let permit = Arc::clone(&self.shop.permits).try_acquire_owned().ok();
        self.take(Some(claimed), permit).await
    }

    async fn try_claim(&self, token: Token) -> Result<Option<Claimed>, StoreError> {
        let limits = |task| self.shop.options.limits.get(task).copied().unwrap_or_default();
        let tasks: Vec<_> =
            self.tasks.iter().map(|task| Claimable { task: task.clone(), limits: limits(task) }).collect();
        self.shop.store.claim(self.partition, &tasks, token, self.shop.options.lease).await
    }

    async fn claim_until_answered(&self, token: Token) -> Option<Claimed> {
        let mut backoff = Backoff::new();
        loop {
            sleep(backoff.next()).await;
            match self.try_claim(token).await {
                Ok(claimed) => return claimed,
                Err(error) => {
                    tracing::debug!(partition = %self.partition, %error, "a claim will be repeated");
                }
            }
        }
    }

    /// Starts an attempt at what was claimed, or gives it back: at a stop, or where there is no permit for it.
    async fn take(&self, claimed: Option<Claimed>, permit: Option<OwnedSemaphorePermit>) -> bool {
        let Some(claimed) = claimed else { return false };
        let handler = self.shop.handlers.get(&claimed.task).cloned();
        match (permit, handler) {
            (Some(permit), Some(handler)) if !self.shop.soft.is_cancelled() => {
                self.shop.start(claimed, handler, permit);
            }
            _ => self.release(&claimed).await,
        }
        true
    }

    async fn release(&self, claimed: &Claimed) {
        let mut backoff = Backoff::new();
        let give_back = async {
            while let Err(WorkError::Store(_)) = self.shop.store.release(&claimed.lease).await {
                sleep(backoff.next()).await;
            }
        };
        // If nobody answers, the lease ends by itself.
        or_else_at(sleep(FAREWELL), give_back).await;
    }

    /// Waits at the bell. A ring that can't be used now is given to somebody else.
    async fn wait_for_work(&self) -> Result<(), StoreError> {
        let wait = AT_THE_BELL.mul_f64(rand::random_range(0.8..=1.0));
        let store = &self.shop.store;
        let rang = store.wait_for_bell(self.partition, &self.tasks, wait).await?;
        match rang {
            Some(task) if self.shop.permits.available_permits() == 0 => {
                store.ring(self.partition, &task).await
            }
            _ => Ok(()),
        }
    }

    /// The store itself logs that Redis is away; anything else is logged here, once until a claim is answered.
    fn complain(&mut self, error: &StoreError) {
        let partition = self.partition;
        let is_known = matches!(error, StoreError::Unavailable(_)) || self.has_complained;
        if is_known {
            tracing::debug!(%partition, %error, "no claim for now");
        } else {
            self.has_complained = true;
            tracing::warn!(%partition, %error, "jobs can't be claimed; trying again");
        }
    }
}

impl Workshop {
    fn start(&self, claimed: Claimed, handler: Arc<dyn AnyHandler>, permit: OwnedSemaphorePermit) {
        let running = Counted::new(&self.metrics.running);
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
            drop((running, permit));
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

/// What `work` comes to, or the default once `limit` is over.
async fn or_else_at<T: Default>(limit: impl Future<Output = ()>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        () = limit => T::default(),
    }
}
