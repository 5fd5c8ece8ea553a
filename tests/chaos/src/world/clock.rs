//! One monotonic clock for all that a run records.

use std::time::{Duration, Instant};

/// Time since the run's start.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that stands at zero now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn now_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until `at_ms`; no time if that has passed.
    pub async fn until(self, at_ms: u64) {
        let at = tokio::time::Instant::from_std(self.0 + Duration::from_millis(at_ms));
        tokio::time::sleep_until(at).await;
    }
}
