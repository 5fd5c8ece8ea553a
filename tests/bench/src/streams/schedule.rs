//! When events are due: a schedule that waits for nothing, whoever is late.

use std::time::Duration;

use tokio::time::{Instant, Interval, interval_at};

use super::wire::now_us;

/// Events at a steady rate, sent together each tick.
pub(super) struct Schedule {
    ticks: Interval,
    began: Instant,
    /// The same by the clock that events carry.
    epoch: u64,
    rate: f64,
}

/// What is due by a tick.
pub(super) struct Due {
    /// How many events are, all before included; the first tick has none yet.
    pub(super) count: f64,
    /// When the tick was to be, in microseconds since the Unix epoch: events that are sent late were due at that time all the same.
    pub(super) at: u64,
}

impl Schedule {
    /// So many events a second, from now on.
    pub(super) fn new(rate: f64, tick: Duration) -> Self {
        // Both clocks at once: a first tick may come a millisecond late.
        let (began, epoch) = (Instant::now(), now_us());
        Self { ticks: interval_at(began, tick), began, epoch, rate }
    }

    /// Waits for the next tick; those that were missed come at once.
    pub(super) async fn next(&mut self) -> Due {
        let since = self.ticks.tick().await.duration_since(self.began);
        let at = self.epoch + u64::try_from(since.as_micros()).unwrap_or(u64::MAX - self.epoch);
        Due { count: since.as_secs_f64() * self.rate, at }
    }
}
