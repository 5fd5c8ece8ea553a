//! When events are due. The times are fixed before anything is sent: a slow answer moves none of them (no coordinated omission).

use std::time::Duration;

/// Events at a fixed rate, numbered from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Events a second.
    rate: f64,
    /// How many there are.
    events: u64,
}

impl Schedule {
    /// As many as are due within `duration` at `rate` a second; the first one at once.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is too large saturates"
    )]
    pub(crate) fn new(rate: f64, duration: Duration) -> Self {
        let events = if rate > 0.0 { (duration.as_secs_f64() * rate).ceil() as u64 } else { 0 };
        Self { rate, events }
    }

    /// How many events there are.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// When event `number` is due, counted from the begin.
    #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^52 events")]
    pub(crate) fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_evenly_whatever_happens() {
        let schedule = Schedule::new(200.0, Duration::from_secs(3));
        assert_eq!(schedule.events(), 600);
        let due: Vec<_> = (0..600).map(|number| schedule.due(number)).collect();
        assert_eq!(
            (due[0], due[1], due[200]),
            (Duration::ZERO, Duration::from_millis(5), Duration::from_secs(1))
        );
        assert!(due.windows(2).all(|pair| pair[1] > pair[0]) && due[599] < Duration::from_secs(3));
    }

    #[test]
    fn there_may_be_none_or_one_now_and_then() {
        assert_eq!(Schedule::new(0.0, Duration::from_secs(9)).events(), 0);
        let seldom = Schedule::new(0.1, Duration::from_secs(25));
        assert_eq!((seldom.events(), seldom.due(2)), (3, Duration::from_secs(20)));
    }
}
