//! Pauses between tries: doubling, jittered, so that many callers don't come back as one.

use std::time::Duration;

use rand::RngExt;

/// A growing pause, half of it random.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    cap: Duration,
}

impl Backoff {
    /// Begins with about `first`, doubles, and stays at about `cap`.
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        Self { next: first, first, cap }
    }

    /// For a call: 20 ms to 500 ms.
    pub(crate) fn of_call() -> Self {
        Self::new(Duration::from_millis(20), Duration::from_millis(500))
    }

    /// For a caller that repeats what the store gave up: 50 ms to 1 s.
    pub fn of_repeats() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// The next pause: half of it fixed, half of it random.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is nothing to iterate over")]
    pub fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.cap);
        pause.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_begins_anew() {
        let mut backoff = Backoff::of_call();
        for full in [20, 40, 80, 160, 320, 500, 500] {
            let pause = backoff.next().as_millis();
            assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
        }
        backoff.reset();
        assert!(backoff.next().as_millis() <= 20);
    }

    #[test]
    fn doubles_up_to_a_second() {
        let mut backoff = Backoff::of_repeats();
        for full in [50, 100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next().as_millis();
            assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
        }
    }
}
