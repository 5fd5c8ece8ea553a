//! The store: one process' way to Redis.

use std::sync::Arc;

use model::id::MAX_PARTITIONS;
use model::{ErrorCode, Status, Timestamp};

use crate::connect::Router;
use crate::counters::EndLabels;
use crate::live::Live;
use crate::options::Options;
use crate::partition_count::Known;
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
    partitions: Known,
}

impl Store {
    /// A store on `options`; must be made inside a Tokio runtime.
    pub fn new(options: Options) -> Self {
        let counters = Counters::default();
        let router = Router::new(&options, counters.clone());
        let live = Live::new(router.clone(), &options, counters.clone());
        Self {
            shared: Arc::new(Shared { options, router, live, counters, partitions: Known::nothing() }),
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
        self.partition_counts().await.map(|_| ())
    }

    /// The same, unless somebody has asked how many partitions there are within the last `age`.
    pub async fn reach_unless_within(&self, age: std::time::Duration) -> Result<(), StoreError> {
        if self.known().is_younger_than(age) { Ok(()) } else { self.reach().await }
    }

    /// Closes the live connections; waits for their tasks.
    pub async fn close(&self) {
        self.shared.live.close().await;
    }

    /// What this process knows of the number of partitions.
    pub(crate) fn known(&self) -> &Known {
        &self.shared.partitions
    }

    /// How many partitions a new installation gets.
    pub(crate) fn seed(&self) -> u16 {
        let options = &self.shared.options;
        options
            .partitions
            .unwrap_or(if options.target.is_cluster() { 16 } else { 1 })
            .clamp(1, MAX_PARTITIONS)
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
