//! When a loop is to look again, sooner than it had thought: a delivery that it claimed is due again.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// One loop's alarm. Others set it; the loop waits for it.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    at: Mutex<Option<Instant>>,
    moved: Notify,
}

impl Alarm {
    /// Rings at `at`, unless it rings sooner.
    pub(crate) fn set(&self, at: Instant) {
        let mut set = self.at.lock();
        if set.is_none_or(|before| at < before) {
            *set = Some(at);
            self.moved.notify_one();
        }
    }

    /// Forgets what was set: the loop looks now.
    pub(crate) fn clear(&self) {
        *self.at.lock() = None;
    }

    /// Waits until it rings.
    pub(crate) async fn rings(&self) {
        loop {
            let at = *self.at.lock();
            let moved = self.moved.notified();
            match at {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => return,
                    () = moved => {}
                },
                None => moved.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_counts_whenever_it_was_set() {
        let (alarm, begin) = (Alarm::default(), Instant::now());
        let second = Duration::from_secs(1);
        alarm.set(begin + 5 * second);
        alarm.set(begin + 9 * second);
        let set_later = async {
            tokio::time::sleep(second).await;
            alarm.set(begin + 3 * second);
        };
        tokio::join!(alarm.rings(), set_later);
        assert_eq!(begin.elapsed(), 3 * second);
        alarm.clear();
        assert!(tokio::time::timeout(Duration::from_hours(1), alarm.rings()).await.is_err());
    }
}
