//! When things are due that are spread evenly over time. Each time is reckoned from the start, so that what one step is late
//! doesn't delay the next: a schedule, not a sum of pauses.

use std::time::Duration;

use tokio::time::Instant;

/// When, after the start, number `n` (from 0) is due at `per_second`, which is above 0.
pub(crate) fn nth(n: u64, per_second: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
    Duration::from_secs_f64(n as f64 / per_second)
}

/// When, after the start, `done` of `total` is due if all of it is to take `whole`. Nothing of nothing is due at the end.
pub(crate) fn share(whole: Duration, done: u64, total: u64) -> Duration {
    whole.mul_f64(fraction(done, total))
}

/// How much `done` of `total` is, 0 to 1. Nothing of nothing is all of it.
#[expect(clippy::cast_precision_loss, reason = "a fraction for people, right to 15 digits")]
pub(crate) fn fraction(done: u64, total: u64) -> f64 {
    if done >= total { 1.0 } else { done as f64 / total as f64 }
}

/// How far `done` of `total` is, in percent, to one decimal: what comes after it nobody sees.
pub(crate) fn percent(done: u64, total: u64) -> f64 {
    (1000.0 * fraction(done, total)).round() / 10.0
}

/// Waits for what is due at `due` after `start`. Gives others their turn in any case.
pub(crate) async fn until(start: Instant, due: Duration) {
    let wait = left(due, start.elapsed());
    // A timer rounds up to a millisecond, even for nothing: what is late would never be caught up with.
    if wait.is_zero() { tokio::task::yield_now().await } else { tokio::time::sleep(wait).await }
}

/// How long to wait for what is due at `due`, when `elapsed` has passed since the start.
fn left(due: Duration, elapsed: Duration) -> Duration {
    due.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_late_step_does_not_delay_the_next() {
        // 50 a second; the clock says how much has passed when each is asked for.
        for (n, elapsed, wait) in
            [(0, 0, 0), (1, 0, 20), (1, 5, 15), (2, 39, 1), (3, 75, 0), (4, 75, 5), (50, 1_000, 0)]
        {
            assert_eq!(left(nth(n, 50.0), MS(elapsed)), MS(wait), "token {n} at {elapsed} ms");
        }
    }

    #[test]
    fn the_last_of_many_is_due_when_the_rate_says() {
        assert_eq!(nth(100_000, 1_000.0), Duration::from_secs(100));
        assert_eq!(nth(1, 0.1), Duration::from_secs(10));
    }

    #[test]
    fn a_share_is_within_the_whole() {
        for (done, total, due) in [(0, 4, 0), (1, 4, 500), (4, 4, 2_000), (9, 4, 2_000), (0, 0, 2_000)] {
            assert_eq!(share(MS(2_000), done, total), MS(due), "{done} of {total}");
        }
        assert_eq!(share(Duration::ZERO, 1, 2), Duration::ZERO);
    }
}
