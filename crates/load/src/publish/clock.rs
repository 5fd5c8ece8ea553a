//! The publisher's clock: a thread that says when events are due, since a runtime's timers are late by a millisecond or two.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::clock::now_us;
use crate::schedule::Schedule;

/// One event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Its number in the schedule.
    pub(super) number: u64,
    /// When, in microseconds since the Unix epoch.
    pub(super) us: u64,
}

/// The running clock. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Clock(Arc<AtomicBool>);

impl Clock {
    /// Begins to tell `each` of the events of `schedule` as they fall due, whether or not anybody has done anything about those
    /// before.
    pub(super) fn start(schedule: Schedule, each: mpsc::UnboundedSender<Due>) -> io::Result<Self> {
        let halted = Arc::new(AtomicBool::new(false));
        let halt = Arc::clone(&halted);
        thread::Builder::new().name("load-clock".into()).spawn(move || run(schedule, &each, &halt))?;
        Ok(Self(halted))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run(schedule: Schedule, each: &mpsc::UnboundedSender<Due>, halt: &AtomicBool) {
    let (begin, begin_us) = (Instant::now(), now_us());
    for number in 0..schedule.events() {
        let due = schedule.due(number);
        // Short enough to hear of a halt between two events that are far apart.
        while let Some(wait) = due.checked_sub(begin.elapsed()).filter(|wait| !wait.is_zero()) {
            thread::sleep(wait.min(std::time::Duration::from_millis(100)));
            if halt.load(Ordering::Relaxed) {
                return;
            }
        }
        let us = begin_us + u64::try_from(due.as_micros()).unwrap_or(0);
        if halt.load(Ordering::Relaxed) || each.send(Due { number, us }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn events_fall_due_at_their_times_even_if_nobody_takes_them() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let before = now_us();
        let clock = Clock::start(Schedule::new(1000.0, Duration::from_millis(50)), tell).unwrap();
        thread::sleep(Duration::from_millis(60));
        let mut all = Vec::new();
        while let Some(due) = told.recv().await {
            all.push(due);
        }
        drop(clock);
        assert_eq!(all.len(), 50);
        assert!(all[0].us >= before);
        assert!(
            all.iter()
                .enumerate()
                .all(|(at, due)| due.number == at as u64 && due.us - all[0].us == 1000 * at as u64),
            "by the schedule to the microsecond: {all:?}"
        );
    }

    #[tokio::test]
    async fn a_clock_that_is_dropped_stops() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let clock = Clock::start(Schedule::new(1.0, Duration::from_hours(1)), tell).unwrap();
        assert_eq!(told.recv().await.unwrap().number, 0);
        drop(clock);
        assert_eq!(told.recv().await, None);
    }
}
