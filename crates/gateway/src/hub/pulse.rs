//! The node's one clock for streams: heartbeats, the end of old streams, and the spread of a drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How many groups the streams are in; each group has its own beat, so that not all write at once.
const SLOTS: usize = 64;

/// How often the pulse beats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beats {
    /// From one beat of a group to its next one.
    pub(crate) every: Duration,
    /// At most so much earlier or later.
    pub(crate) jitter: Duration,
    /// Over how long a drain is spread.
    pub(crate) drain: Duration,
}

/// The clock. A stream belongs to one slot and is woken at each of its beats.
#[derive(Debug)]
pub(crate) struct Pulse {
    beats: Beats,
    slots: Vec<Slot>,
    draining: AtomicBool,
    /// Of how many slots the drain has closed the streams; they come first.
    closed: AtomicUsize,
    over: AtomicBool,
    cut: AtomicBool,
}

#[derive(Debug, Default)]
struct Slot {
    beat: Arc<Notify>,
    /// Goes on by one before each beat, and by one after it.
    turn: AtomicUsize,
}

impl Slot {
    fn beat(&self) {
        self.turn.fetch_add(1, Ordering::Release);
        self.beat.notify_waiters();
        self.turn.fetch_add(1, Ordering::Release);
    }
}

/// Where a slot is between its beats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn(usize);

impl Turn {
    /// Whether what was made in `then` has certainly not heard a beat since. While the slot beats nothing is certain.
    pub(crate) fn is_still(self, then: Self) -> bool {
        self == then && self.0.is_multiple_of(2)
    }
}

impl Pulse {
    /// A clock that stands still until [`Pulse::run`].
    pub(crate) fn new(beats: Beats) -> Self {
        Self {
            beats,
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            draining: AtomicBool::new(false),
            closed: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        }
    }

    /// The slot of a new stream: any, but once the drain has begun one that it hasn't come to, so that those who come
    /// meanwhile don't all stay to its end.
    pub(crate) fn slot(&self) -> usize {
        rand::random_range(self.closed.load(Ordering::Relaxed).min(SLOTS - 1)..SLOTS)
    }

    /// Completes at the next beat of `slot`.
    pub(crate) fn beat(&self, slot: usize) -> OwnedNotified {
        Arc::clone(&self.slots[slot % SLOTS].beat).notified_owned()
    }

    /// Where `slot` is between its beats; to be asked before [`beat`](Self::beat).
    pub(crate) fn turn(&self, slot: usize) -> Turn {
        Turn(self.slots[slot % SLOTS].turn.load(Ordering::Acquire))
    }

    /// Whether streams are to end at their next beat.
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether the drain is over: no stream has a place here any more.
    pub(crate) fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether streams are to end at once, whatever they still have to say.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Ends all streams at once.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.end();
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.slots.iter().for_each(Slot::beat);
    }

    /// Beats until `drain`; then once more for each slot, spread over the drain time, and at last for all.
    pub(crate) async fn run(&self, drain: CancellationToken) {
        drain.run_until_cancelled(self.keep_beating()).await;
        self.draining.store(true, Ordering::Relaxed);
        let step = self.beats.drain / u32::try_from(SLOTS).unwrap_or(1);
        for (n, slot) in (1..).zip(&self.slots) {
            self.closed.store(n, Ordering::Relaxed);
            slot.beat();
            tokio::time::sleep(step).await;
        }
        self.end();
    }

    async fn keep_beating(&self) {
        let start = Instant::now();
        let share = self.beats.every / u32::try_from(SLOTS).unwrap_or(1);
        let mut due: Vec<_> = (1..).map(|n| start + share * n).take(SLOTS).collect();
        loop {
            let Some((slot, &at)) = due.iter().enumerate().min_by_key(|(_, at)| **at) else { return };
            sleep_until(at).await;
            self.slots[slot].beat();
            due[slot] = at + self.jittered();
        }
    }

    fn jittered(&self) -> Duration {
        let Beats { every, jitter, .. } = self.beats;
        (every + jitter).saturating_sub((2 * jitter).mul_f64(rand::random())).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_stream_hears_a_beat_within_its_time_and_its_end_within_the_drain() {
        let beats = Beats {
            every: Duration::from_secs(15),
            jitter: Duration::from_secs(3),
            drain: Duration::from_secs(10),
        };
        let (pulse, drain) = (Arc::new(Pulse::new(beats)), CancellationToken::new());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn({
            let (pulse, drain) = (Arc::clone(&pulse), drain.clone());
            async move { pulse.run(drain).await }
        });
        for stream in 0..200 {
            pulse.beat(stream).await;
            let heard = Instant::now();
            pulse.beat(stream).await;
            let between = heard.elapsed();
            assert!(between >= Duration::from_secs(12) && between <= Duration::from_secs(18), "{between:?}");
        }
        assert!(!pulse.draining());
        let ends = (0..64).map(|stream| pulse.beat(stream)).collect::<Vec<_>>();
        let began = Instant::now();
        drain.cancel();
        futures_util::future::join_all(ends).await;
        assert!(pulse.draining());
        let took = began.elapsed();
        assert!(took > Duration::from_secs(9) && took <= Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_it_drains_is_closed_in_the_rest_of_it() {
        let (every, jitter) = (Duration::from_secs(15), Duration::from_secs(3));
        let pulse = Arc::new(Pulse::new(Beats { every, jitter, drain: Duration::from_secs(64) }));
        let drain = CancellationToken::new();
        drain.cancel();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn({
            let pulse = Arc::clone(&pulse);
            async move { pulse.run(drain).await }
        });
        tokio::time::sleep(Duration::from_millis(32_500)).await;
        let mut beats = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let beat = pulse.beat(pulse.slot());
            beats.spawn(async move {
                beat.await;
                Instant::now()
            });
        }
        let mut times = beats.join_all().await;
        times.sort();
        times.dedup();
        assert!(!pulse.over(), "none of them stayed to the end");
        assert!((20..=32).contains(&times.len()), "spread over the seconds that were left: {}", times.len());
    }
}
