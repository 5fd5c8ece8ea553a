//! What a courier counts.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use service::metrics::Metrics;
use service::metrics::prometheus_client::registry::Unit;
use store::Outcome;

/// What became of a delivery that a courier had in hand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Became {
    /// The receiver took it.
    Delivered,
    /// It is tried again.
    Retried,
    /// It is a dead letter.
    Dead,
    /// Put off without an attempt, since there was no place at its host.
    Postponed,
}

impl From<Outcome> for Became {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::Retry(_) => Self::Retried,
            Outcome::Postponed(_) => Self::Postponed,
            Outcome::Dead => Self::Dead,
        }
    }
}

impl EncodeLabelValue for Became {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Postponed => "postponed",
        };
        name.encode(encoder)
    }
}

/// Why an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// By the answer's status.
    Status,
    /// No answer in time.
    Timeout,
    /// No connection, or a broken one.
    Connection,
    /// The target may not be gone to.
    Refused,
    /// It can't be signed.
    Secret,
    /// Too old, without a place at its host.
    Host,
    /// Nothing is left to send.
    Body,
}

impl EncodeLabelValue for Failure {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Refused => "refused",
            Self::Secret => "secret",
            Self::Host => "host",
            Self::Body => "body",
        };
        name.encode(encoder)
    }
}

/// What became of it, as a label.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct BecameLabels {
    /// What became of it.
    pub outcome: Became,
}

/// Why it failed, as a label.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct FailureLabels {
    /// Why it failed.
    pub reason: Failure,
}

/// What one courier counts; cheap to clone, all clones count together. `default()` is shown nowhere: for tests.
#[derive(Clone, Debug)]
pub struct CourierMetrics {
    /// Requests under way.
    pub running: Gauge,
    /// Deliveries that were in hand, by what became of them.
    pub became: Family<BecameLabels, Counter>,
    /// Attempts that failed, by why.
    pub failed: Family<FailureLabels, Counter>,
    /// From the end of the job (or its replay) until the receiver took it.
    pub latency: Histogram,
    /// Deliveries in Redis that are not settled.
    pub pending: Gauge,
    /// How long the oldest of them has been due.
    pub oldest: Gauge,
    /// Hosts that nothing is sent to, since they keep failing.
    pub broken_hosts: Gauge,
}

/// From a quick receiver to one that was down for hours, in seconds.
const LATENCIES: [f64; 14] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 14_400.0];

impl Default for CourierMetrics {
    fn default() -> Self {
        Self {
            running: Gauge::default(),
            became: Family::default(),
            failed: Family::default(),
            latency: Histogram::new(LATENCIES),
            pending: Gauge::default(),
            oldest: Gauge::default(),
            broken_hosts: Gauge::default(),
        }
    }
}

impl CourierMetrics {
    /// Metrics that show in `metrics`, once for each: `jobcast_deliveries_running`, `jobcast_deliveries_total`,
    /// `jobcast_delivery_failures_total`, `jobcast_delivery_latency_seconds`, `jobcast_deliveries_pending`,
    /// `jobcast_deliveries_oldest_due_seconds` and `jobcast_delivery_hosts_broken`.
    pub fn new(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register("deliveries_running", "Requests of deliveries under way", own.running.clone());
        metrics.register(
            "deliveries",
            "Deliveries that were in hand, by what became of them",
            own.became.clone(),
        );
        metrics.register(
            "delivery_failures",
            "Attempts of deliveries that failed, by why",
            own.failed.clone(),
        );
        metrics.register_with_unit(
            "delivery_latency",
            "From the end of a job until its receiver took it",
            Unit::Seconds,
            own.latency.clone(),
        );
        metrics.register("deliveries_pending", "Deliveries that are not settled", own.pending.clone());
        metrics.register(
            "deliveries_oldest_due_seconds",
            "How long the oldest delivery has been due",
            own.oldest.clone(),
        );
        metrics.register(
            "delivery_hosts_broken",
            "Hosts that nothing is sent to, since they keep failing",
            own.broken_hosts.clone(),
        );
        own
    }

    pub(crate) fn became(&self, outcome: Outcome) {
        self.became.get_or_create(&BecameLabels { outcome: outcome.into() }).inc();
    }

    pub(crate) fn failed(&self, reason: Failure) {
        self.failed.get_or_create(&FailureLabels { reason }).inc();
    }

    pub(crate) fn took(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
    }
}

/// Counts itself in a gauge for as long as it lives.
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        let shown = Metrics::new();
        let metrics = CourierMetrics::new(&shown);
        metrics.running.set(2);
        metrics.became(Outcome::Delivered);
        metrics.failed(Failure::Timeout);
        metrics.took(Duration::from_millis(20));
        let text = shown.encode();
        for line in [
            "jobcast_deliveries_running 2",
            "jobcast_deliveries_total{outcome=\"delivered\"} 1",
            "jobcast_delivery_failures_total{reason=\"timeout\"} 1",
            "jobcast_delivery_latency_seconds_bucket{le=\"0.01\"} 0",
            "jobcast_delivery_latency_seconds_bucket{le=\"0.025\"} 1",
            "jobcast_deliveries_pending 0",
            "jobcast_deliveries_oldest_due_seconds 0",
            "jobcast_delivery_hosts_broken 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
    }
}
