//! Pauses between tries: doubling, jittered, so that many callers don't come back as one.

use std::time::Duration;

use rand::RngExt;

/// A growing pause.
#[derive(Debug)]
pub(crate) struct Backoff {
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

    /// The next pause: half of it fixed, half of it random.
    pub(crate) fn next(&mut self) -> Duration {
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
}
