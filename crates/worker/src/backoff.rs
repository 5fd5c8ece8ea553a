//! Pauses between tries.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// A pause that doubles from 50 ms to 1 s, jittered so that many workers don't come back as one.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(FIRST)
    }

    /// The next pause: half of it fixed, half of it random.
    pub(crate) fn next(&mut self) -> Duration {
        let full = self.0;
        self.0 = (full * 2).min(LONGEST);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_second() {
        let mut backoff = Backoff::new();
        for full in [50, 100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next().as_millis();
            assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
        }
    }
}
