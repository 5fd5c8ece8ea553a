//! What a worker counts.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use service::metrics::Metrics;

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// With a result.
    Completed,
    /// The handler failed, or panicked.
    Failed,
    /// The handler asked for another attempt.
    Retry,
    /// Its time was up.
    Timeout,
    /// The job was cancelled.
    Cancelled,
    /// Another attempt, or the sweep, has replaced it.
    Lost,
    /// Given up, because no call was accepted for too long.
    Blind,
    /// Given back at a shutdown.
    Released,
}

impl Outcome {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Retry => "retry",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Blind => "blind",
            Self::Released => "released",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// How an attempt ended, as a label.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// How it ended.
    pub outcome: Outcome,
}

/// What one worker counts; cheap to clone, all clones count together. `default()` is shown nowhere: for tests.
#[derive(Clone, Debug, Default)]
pub struct WorkerMetrics {
    /// Attempts that run now.
    pub running: Gauge,
    /// Attempts that ended, by outcome.
    pub ended: Family<OutcomeLabels, Counter>,
    /// Writes of reports that had to be repeated.
    pub append_retries: Counter,
}

impl WorkerMetrics {
    /// Metrics that show in `metrics`: `jobcast_attempts_running`, `jobcast_attempts_ended_total`,
    /// `jobcast_append_retries_total`. Once for each `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            running: metrics.register("attempts_running", "Attempts that run now", Gauge::default()),
            ended: metrics.register("attempts_ended", "Attempts that ended, by outcome", Family::default()),
            append_retries: metrics.register(
                "append_retries",
                "Writes of reports that had to be repeated",
                Counter::default(),
            ),
        }
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        self.ended.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        let shown = Metrics::new();
        let metrics = WorkerMetrics::new(&shown);
        metrics.running.set(2);
        metrics.ended(Outcome::Completed);
        let text = shown.encode();
        for line in [
            "jobcast_attempts_running 2",
            "jobcast_attempts_ended_total{outcome=\"completed\"} 1",
            "jobcast_append_retries_total 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
    }
}
