//! What this process did with Redis, counted.

use model::{ErrorCode, Status};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How a job ended, as a label.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct EndLabels {
    /// The terminal status.
    pub status: &'static str,
    /// The error code, or empty.
    pub code: &'static str,
}

impl EndLabels {
    pub(crate) fn new(status: Status, code: Option<ErrorCode>) -> Self {
        Self { status: status.as_str(), code: code.map_or("", ErrorCode::as_str) }
    }
}

/// Every way for a job to end.
const ENDS: [(Status, Option<ErrorCode>); 6] = [
    (Status::Completed, None),
    (Status::Failed, Some(ErrorCode::Handler)),
    (Status::Failed, Some(ErrorCode::Timeout)),
    (Status::Failed, Some(ErrorCode::Lost)),
    (Status::Failed, Some(ErrorCode::Unclaimed)),
    (Status::Cancelled, Some(ErrorCode::Cancelled)),
];

/// Counters of one [`crate::Store`]; cheap to clone, all clones count together.
#[derive(Clone, Debug)]
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

impl Counters {
    /// Shows the counters in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let mut show = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        show("redis_round_trips", "Commands and scripts answered by Redis", &self.round_trips);
        show("redis_reconnects", "Connections to Redis made anew", &self.reconnects);
        show("live_messages", "Live messages received", &self.live_messages);
        show("reconciled_losses", "Logs found to have lost live messages", &self.reconciled_losses);
        registry.register("jobs_ended", "Jobs that a step of this process ended", self.ends.clone());
    }
}

impl Default for Counters {
    fn default() -> Self {
        let ends = Family::<EndLabels, Counter>::default();
        // A series that begins with its first end has no rate until the second.
        for (status, code) in ENDS {
            drop(ends.get_or_create(&EndLabels::new(status, code)));
        }
        Self {
            round_trips: Counter::default(),
            reconnects: Counter::default(),
            live_messages: Counter::default(),
            reconciled_losses: Counter::default(),
            ends,
        }
    }
}
