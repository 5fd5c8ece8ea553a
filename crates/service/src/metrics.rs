//! Metrics of one role, for Prometheus.
//!
//! A registry belongs to whoever made it; there is none for the process, so two gateways in one process count
//! apart. Labels are bounded: a task, a status, a reason, never an id.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
pub use prometheus_client;
use prometheus_client::registry::{Metric, Registry, Unit};

/// The metrics of one role. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// The media type of [`encode`](Self::encode).
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// No metrics yet. All names will begin with `jobcast_`.
    pub fn new() -> Self {
        Self { registry: Arc::new(Mutex::new(Registry::with_prefix("jobcast"))) }
    }

    /// Adds a metric and gives it back. `name` is without `jobcast_`, and for a counter without `_total`, both of
    /// which are added; `help` is a sentence without its dot, which is added. Each name once.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.registry.lock().register(name, help, metric.clone());
        metric
    }

    /// As [`register`](Self::register), with a unit, which is added to the name.
    pub fn register_with_unit<M: Metric + Clone>(&self, name: &str, help: &str, unit: Unit, metric: M) -> M {
        self.registry.lock().register_with_unit(name, help, unit, metric.clone());
        metric
    }

    /// Lets whoever counts without knowing this crate show its metrics here.
    pub fn extend(&self, show: impl FnOnce(&mut Registry)) {
        show(&mut self.registry.lock());
    }

    /// All metrics as they stand, in the `OpenMetrics` text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail, and our metrics don't; what there is is still worth sending.
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry.lock()) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn names_have_their_prefix_unit_and_ending() {
        let metrics = Metrics::new();
        let open: Gauge = metrics.register("streams_open", "Streams that are open", Gauge::default());
        let sent: Counter = metrics.register_with_unit("sent", "Bytes sent", Unit::Bytes, Counter::default());
        open.set(3);
        sent.inc_by(17);
        let other = Metrics::new();
        assert_eq!(
            metrics.encode(),
            "# HELP jobcast_streams_open Streams that are open.\n\
             # TYPE jobcast_streams_open gauge\n\
             jobcast_streams_open 3\n\
             # HELP jobcast_sent_bytes Bytes sent.\n\
             # TYPE jobcast_sent_bytes counter\n\
             # UNIT jobcast_sent_bytes bytes\n\
             jobcast_sent_bytes_total 17\n\
             # EOF\n"
        );
        assert_eq!(other.encode(), "# EOF\n");
    }
}
