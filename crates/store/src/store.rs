//! The store: one process' way to Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use model::id::MAX_PARTITIONS;
use model::{ErrorCode, Partition, Status, Timestamp};

use crate::connect::{Request, Router};
use crate::counters::EndLabels;
use crate::live::Live;
use crate::options::Options;
use crate::partition::slot_of_key;
use crate::{Counters, StoreError};

/// One process' way to Redis: connections, steps and live channels. Cheap to clone; all clones share them.
///
/// Nothing is connected until it is needed, and every call waits for Redis as long as [`Options::patience`] says.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    now: Option<Timestamp>,
}

struct Shared {
    options: Options,
    router: Router,
    live: Live,
    counters: Counters,
    /// How many partitions there are; 0 until Redis was asked.
    partitions: AtomicU16,
}

impl Store {
    /// A store on `options`; must be made inside a Tokio runtime.
    pub fn new(options: Options) -> Self {
        let counters = Counters::default();
        let router = Router::new(&options, counters.clone());
        let live = Live::new(router.clone(), &options, counters.clone());
        Self {
            shared: Arc::new(Shared { options, router, live, counters, partitions: AtomicU16::new(0) }),
            now: None,
        }
    }

    /// The same store, whose steps believe that it is `now` by Redis' clock. For tests.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        Self { now: Some(now), ..self.clone() }
    }

    /// The live channels.
    pub fn live(&self) -> &Live {
        &self.shared.live
    }

    /// What this store counted.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How long a call waits for Redis.
    pub fn patience(&self) -> std::time::Duration {
        self.shared.options.patience
    }

    /// Whether the newest call reached Redis.
    pub fn is_up(&self) -> bool {
        self.shared.router.connected()
    }

    /// Asks Redis for a sign of life, and how many partitions there are.
    pub async fn reach(&self) -> Result<(), StoreError> {
        self.read_partition_count().await.map(|_| ())
    }

    /// All partitions that there are.
    pub async fn partitions(&self) -> Result<impl Iterator<Item = Partition> + use<>, StoreError> {
        Ok((0..self.partition_count().await?).map(Partition))
    }

    /// Whether there is such a partition. Reads the count anew before it says no, since it may have grown.
    pub async fn has_partition(&self, partition: Partition) -> Result<bool, StoreError> {
        if partition.0 >= MAX_PARTITIONS {
            return Ok(false);
        }
        Ok(partition.0 < self.partition_count().await? || partition.0 < self.read_partition_count().await?)
    }

    /// Closes the live connections; waits for their tasks.
    pub async fn close(&self) {
        self.shared.live.close().await;
    }

    pub(crate) async fn partition_count(&self) -> Result<u16, StoreError> {
        match self.shared.partitions.load(Ordering::Relaxed) {
            0 => self.read_partition_count().await,
            count => Ok(count),
        }
    }

    /// The count is Redis' own; configuration only seeds it. Written only where there is none: a full Redis takes no writes, and
    /// must not seem to be away for that.
    async fn read_partition_count(&self) -> Result<u16, StoreError> {
        let options = &self.shared.options;
        let key = format!("{}:partitions", options.prefix);
        let seed = options.partitions.unwrap_or(if options.target.is_cluster() { 16 } else { 1 });
        // Should the key be lost, jobs may still live in all partitions that there were.
        let seed = seed.max(self.shared.partitions.load(Ordering::Relaxed));
        let slot = slot_of_key(&key);
        let ask = async |cmd: &redis::Cmd| {
            let value = self.router().call(slot, &Request::Command(cmd)).await?;
            redis::from_redis_value::<Option<u16>>(value)
                .map_err(|error| StoreError::Unreadable(error.to_string()))
        };
        let count = match ask(redis::cmd("GET").arg(&key)).await? {
            Some(found) => found,
            None => ask(redis::cmd("SET").arg(&key).arg(seed).arg("NX").arg("GET")).await?.unwrap_or(seed),
        };
        if !(1..=MAX_PARTITIONS).contains(&count) {
            return Err(StoreError::Unreadable(format!("{key} is {count}, not 1 to {MAX_PARTITIONS}")));
        }
        self.shared.partitions.store(count, Ordering::Relaxed);
        Ok(count)
    }

    pub(crate) fn router(&self) -> &Router {
        &self.shared.router
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.shared.options.prefix
    }

    pub(crate) fn max_event(&self) -> usize {
        self.shared.options.max_event
    }

    /// The time that a script is to believe in: empty is Redis' own.
    pub(crate) fn now_word(&self) -> String {
        self.now.map(|now| now.as_millis().to_string()).unwrap_or_default()
    }

    pub(crate) fn count_end(&self, status: Status, code: Option<ErrorCode>) {
        self.shared.counters.ends.get_or_create(&EndLabels::new(status, code)).inc();
    }
}
