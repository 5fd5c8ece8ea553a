//! When events are due: a schedule that waits for nothing, whoever is late.

use std::time::Duration;

use tokio::time::{Instant, Interval, interval};

use super::wire::now_us;

/// Events at a steady rate, sent together each tick.
pub(super) struct Schedule {
    ticks: Interval,
    /// The first tick, and the same by the clock that events carry.
    began: Option<(Instant, u64)>,
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
    /// So many events a second.
    pub(super) fn new(rate: f64, tick: Duration) -> Self {
        Self { ticks: interval(tick), began: None, rate }
    }

    /// Waits for the next tick; those that were missed come at once.
    pub(super) async fn next(&mut self) -> Due {
        let tick = self.ticks.tick().await;
        let (began, epoch) = *self.began.get_or_insert_with(|| (tick, now_us()));
        let since = tick.duration_since(began);
        let at = epoch + u64::try_from(since.as_micros()).unwrap_or(u64::MAX - epoch);
        Due { count: since.as_secs_f64() * self.rate, at }
    }
}
