//! What all loops and deliveries of a courier share.

use std::sync::Arc;

use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::Ready;
use crate::destinations::Destinations;
use crate::host::Hosts;
use crate::{CourierMetrics, Options, Secrets};

/// See the module.
pub(crate) struct Courier {
    pub(crate) store: Store,
    pub(crate) options: Options,
    pub(crate) destinations: Destinations,
    pub(crate) secrets: Secrets,
    pub(crate) hosts: Hosts<Ready>,
    pub(crate) metrics: CourierMetrics,
    /// One for each delivery that may be in hand.
    pub(crate) permits: Arc<Semaphore>,
    /// All deliveries in hand.
    pub(crate) deliveries: TaskTracker,
    /// Nothing is claimed or begun once this is cancelled.
    pub(crate) soft: CancellationToken,
    /// Requests end when this is cancelled.
    pub(crate) cut: CancellationToken,
}
