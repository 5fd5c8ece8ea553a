//! Whether one host may get another request now, later, or not for a while: the rules, without clock, tasks or sockets.
//!
//! A host begins with one request at a time; each success allows one more, up to a limit; each failure takes it back to one. After
//! five failures in a row the breaker opens: nothing is sent until a cool-down is over, then one request as a probe.
//! What finds no place may wait a moment if the host is quick enough; otherwise it gets a time of its own, later than that of
//! all who were put off before it.

use std::time::Duration;

use tokio::time::Instant;

/// How long a delivery may wait in memory for a place.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
const FIRST_COOL_DOWN: Duration = Duration::from_secs(5);
const LONGEST_COOL_DOWN: Duration = Duration::from_mins(5);
/// What a host is believed to take for a request as long as nothing is known of it.
const UNKNOWN: Duration = Duration::from_millis(5);
/// Nothing is put off for less: to come again costs two calls.
const LEAST_DELAY: Duration = Duration::from_millis(100);
/// How long a host is remembered after its last request.
const REMEMBERED: Duration = Duration::from_mins(1);
/// In a cool-down so many deliveries are put off to times within one of its lengths.
const A_COOL_DOWN: u32 = 32;

/// The bounds of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The most requests at once, from 1.
    pub(crate) most: u32,
    /// The most deliveries that wait in memory.
    pub(crate) waiting: usize,
    /// The longest that a delivery is put off.
    pub(crate) delay: Duration,
}

/// What a delivery may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Send now; the caller owes a [`Gate::leave`].
    Go,
    /// Wait for a place.
    Wait,
    /// Come again later.
    Later,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The host took it, within so long.
    Took(Duration),
    /// It failed, within so long.
    Failed(Duration),
    /// It was given up by us: nothing is known of the host.
    Abandoned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaker {
    Closed,
    Open {
        until: Instant,
        cool_down: Duration,
    },
    /// A probe is under way.
    Probing {
        cool_down: Duration,
    },
}

/// One host's state.
#[derive(Debug)]
pub(crate) struct Gate {
    bounds: Bounds,
    window: u32,
    running: u32,
    failures: u32,
    /// Whether the newest request was taken.
    is_proven: bool,
    breaker: Breaker,
    /// How long a request takes, smoothed.
    pace: Duration,
    /// When a request ended last, or began where none was running.
    progress: Instant,
    /// Until when those reach that were put off.
    put_off: Instant,
}

impl Gate {
    pub(crate) fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            window: 1,
            running: 0,
            failures: 0,
            is_proven: false,
            breaker: Breaker::Closed,
            pace: UNKNOWN,
            progress: now,
            put_off: now,
        }
    }

    /// Asks for a place, behind `waiting` others.
    pub(crate) fn enter(&mut self, now: Instant, waiting: usize) -> Entry {
        match self.breaker {
            Breaker::Open { until, cool_down } if now >= until => {
                self.breaker = Breaker::Probing { cool_down };
                self.begin(now);
                Entry::Go
            }
            Breaker::Closed if waiting == 0 && self.running < self.window => {
                self.begin(now);
                Entry::Go
            }
            Breaker::Closed if self.may_wait(now, waiting) => Entry::Wait,
            Breaker::Closed | Breaker::Open { .. } | Breaker::Probing { .. } => Entry::Later,
        }
    }

    /// Gives a place to one who waits; false if there is none.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        let free = self.breaker == Breaker::Closed && self.running < self.window;
        if free {
            self.begin(now);
        }
        free
    }

    /// Ends a request.
    pub(crate) fn leave(&mut self, now: Instant, ended: Ended, random: f64) {
        let before = self.usual();
        self.running = self.running.saturating_sub(1);
        self.progress = now;
        self.tell(now, ended, random);
        // As many as were put off take more time now, or less.
        let factor = self.usual().as_secs_f64() / before.as_secs_f64().max(1e-9);
        let put_off = self.put_off.duration_since(now).as_secs_f64() * factor;
        self.put_off = now + Duration::from_secs_f64(put_off.min(self.bounds.delay.as_secs_f64()));
    }

    fn tell(&mut self, now: Instant, ended: Ended, random: f64) {
        match ended {
            Ended::Took(took) => self.succeed(now, took),
            Ended::Failed(took) => self.fail(now, took, random),
            Ended::Abandoned => {
                if let Breaker::Probing { cool_down } = self.breaker {
                    self.breaker = Breaker::Open { until: now, cool_down };
                }
            }
        }
    }

    /// A time for one that found no place: in how long it is to come again. `random` is from 0 to 1.
    pub(crate) fn later(&mut self, now: Instant, waiting: usize, random: f64) -> Duration {
        let interval = self.interval(now);
        let (first, interval) = match self.breaker {
            Breaker::Closed => (now + multiple(interval, waiting), interval),
            Breaker::Open { until, cool_down } => (until.max(now), interval.max(cool_down / A_COOL_DOWN)),
            Breaker::Probing { cool_down } => (now + interval, interval.max(cool_down / A_COOL_DOWN)),
        };
        self.put_off = self.put_off.max(first) + interval.mul_f64(0.75 + random / 2.0);
        let delay = self.put_off.duration_since(now).max(LEAST_DELAY);
        if delay <= self.bounds.delay {
            return delay;
        }
        // No more times are left: somewhere in the later half.
        self.put_off = now + self.bounds.delay;
        self.bounds.delay.mul_f64(0.5 + random / 2.0)
    }

    /// Whether those who wait still may.
    pub(crate) fn is_closed(&self) -> bool {
        self.breaker == Breaker::Closed
    }

    /// Whether nothing was ever sent to it that has ended.
    pub(crate) fn is_new(&self) -> bool {
        self.pace == UNKNOWN
    }

    /// Whether it takes what it gets.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Whether nothing is running, and nothing has happened for so long that what is known of the host is worth nothing.
    pub(crate) fn is_forgettable(&self, now: Instant) -> bool {
        let rests_since = match self.breaker {
            Breaker::Closed => self.progress.max(self.put_off),
            Breaker::Open { until, .. } => until.max(self.put_off) + LONGEST_COOL_DOWN,
            Breaker::Probing { .. } => return false,
        };
        self.running == 0 && now >= rests_since + REMEMBERED
    }

    /// When something happened last.
    pub(crate) fn last_used(&self) -> Instant {
        self.progress
    }

    /// How often a place becomes free: as often as usual, but a request takes at least as long as none has ended.
    pub(crate) fn interval(&self, now: Instant) -> Duration {
        self.usual().max(self.stands_still(now) / self.window.max(1))
    }

    /// For how long requests are under way, and none of them has ended.
    fn stands_still(&self, now: Instant) -> Duration {
        if self.running == 0 { Duration::ZERO } else { now.duration_since(self.progress) }
    }

    fn usual(&self) -> Duration {
        self.pace / self.window.max(1)
    }

    fn begin(&mut self, now: Instant) {
        if self.running == 0 {
            self.progress = now;
        }
        self.running += 1;
    }

    fn may_wait(&self, now: Instant, waiting: usize) -> bool {
        waiting < self.bounds.waiting
            && self.stands_still(now) <= PATIENCE
            && multiple(self.interval(now), waiting + 1) <= PATIENCE
    }

    fn succeed(&mut self, now: Instant, took: Duration) {
        // A slow past is soon forgiven.
        self.pace = if took < self.pace { (self.pace + took) / 2 } else { smooth(self.pace, took) };
        (self.failures, self.is_proven) = (0, true);
        self.window = (self.window + 1).min(self.bounds.most);
        if self.breaker != Breaker::Closed {
            self.breaker = Breaker::Closed;
            self.put_off = now;
        }
    }

    fn fail(&mut self, now: Instant, took: Duration, random: f64) {
        self.pace = smooth(self.pace, took);
        (self.failures, self.is_proven) = (self.failures + 1, false);
        self.window = 1;
        let cool_down = match self.breaker {
            Breaker::Probing { cool_down } => (cool_down * 2).min(LONGEST_COOL_DOWN),
            Breaker::Closed if self.failures >= FAILURES => FIRST_COOL_DOWN,
            Breaker::Closed | Breaker::Open { .. } => return,
        };
        let until = now + cool_down.mul_f64(0.9 + random / 5.0);
        self.breaker = Breaker::Open { until, cool_down };
    }
}

fn smooth(before: Duration, now: Duration) -> Duration {
    before.mul_f64(0.75) + now.mul_f64(0.25)
}

fn multiple(interval: Duration, times: usize) -> Duration {
    interval.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
