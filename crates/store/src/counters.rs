//! What this process did with Redis, counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// How a job ended, as a label.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct EndLabels {
    /// The terminal status.
    pub status: &'static str,
    /// The error code, or empty.
    pub code: &'static str,
}

/// Counters of one [`crate::Store`]; cheap to clone, all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Commands and scripts answered by Redis.
    pub round_trips: Counter,
    /// Connections to Redis that had to be made anew.
    pub reconnects: Counter,
    /// Live messages received.
    pub live_messages: Counter,
    /// Live messages that were found missing by reconciling, by log.
    pub reconciled_losses: Counter,
    /// Jobs that a step of this process ended.
    pub ends: Family<EndLabels, Counter>,
}
