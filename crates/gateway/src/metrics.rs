//! What a gateway counts.

use std::time::Duration;

use model::{Clock, SystemClock, TaskName};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use service::metrics::Metrics;
use store::{QueueState, Store, StoreError};

/// A task, as a label. Tasks are declared in configuration, so there are few.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct TaskLabel {
    task: String,
}

/// The gateway's metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct GatewayMetrics {
    /// Streams that are open.
    pub(crate) open_streams: Gauge,
    /// Logs that are followed.
    pub(crate) followed_logs: Gauge,
    /// Frames written to streams.
    pub(crate) events_sent: Counter,
    /// Streams closed because they took nothing.
    pub(crate) streams_stalled: Counter,
    ready: Family<TaskLabel, Gauge>,
    running: Family<TaskLabel, Gauge>,
    oldest: Family<TaskLabel, Gauge>,
}

/// How long a scrape waits for Redis.
const PATIENCE: Duration = Duration::from_secs(1);

impl GatewayMetrics {
    /// The metrics, shown in `metrics`.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register("open_streams", "Streams that are open", own.open_streams.clone());
        metrics.register("followed_logs", "Logs with a live subscription", own.followed_logs.clone());
        metrics.register("events_sent", "Frames written to streams", own.events_sent.clone());
        metrics.register(
            "streams_stalled",
            "Streams closed because they took nothing",
            own.streams_stalled.clone(),
        );
        metrics.register("queue_ready", "Jobs that could start now", own.ready.clone());
        metrics.register("queue_running", "Attempts that run", own.running.clone());
        metrics.register(
            "queue_oldest_seconds",
            "Age of the oldest job that could start now",
            own.oldest.clone(),
        );
        own
    }

    /// Asks Redis how long the queues are. They keep their last values while it is away.
    pub(crate) async fn refresh_queues(&self, store: &Store, tasks: impl Iterator<Item = &TaskName>) {
        for task in tasks {
            let asked = tokio::time::timeout(PATIENCE, self.refresh_queue(store, task)).await;
            if !matches!(asked, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn refresh_queue(&self, store: &Store, task: &TaskName) -> Result<(), StoreError> {
        let QueueState { ready, running, oldest, .. } = store.whole_queue(task).await?;
        let label = TaskLabel { task: task.to_string() };
        let age = oldest.map_or(0, |since| SystemClock.now().since(since).as_secs());
        for (family, value) in [(&self.ready, ready), (&self.running, running), (&self.oldest, age)] {
            family.get_or_create(&label).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        Ok(())
    }
}
