//! What may happen to a server's replies, and the counts of what did.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::resp::pubsub_message;

type Drops = Arc<dyn Fn(&str, &[u8]) -> bool + Send + Sync>;

/// The rules of one proxy, for all of its connections.
#[derive(Default)]
pub(super) struct Rules {
    every: Mutex<Every>,
    drops: Mutex<Option<Drops>>,
    /// How much later passes what comes.
    delay: Mutex<Duration>,
    swallowed: AtomicUsize,
    dropped: AtomicUsize,
}

#[derive(Default)]
struct Every {
    /// 0: never.
    n: usize,
    /// Replies since the rule was made.
    seen: usize,
}

/// What is to be done with one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Drop,
    Close,
}

impl Rules {
    pub(super) fn clear(&self) {
        *self.every.lock() = Every::default();
        *self.drops.lock() = None;
        *self.delay.lock() = Duration::ZERO;
    }

    pub(super) fn close_every(&self, n: usize) {
        *self.every.lock() = Every { n, seen: 0 };
    }

    pub(super) fn drop_messages(&self, drops: Drops) {
        *self.drops.lock() = Some(drops);
    }

    pub(super) fn delay_by(&self, delay: Duration) {
        *self.delay.lock() = delay;
    }

    pub(super) fn delay(&self) -> Duration {
        *self.delay.lock()
    }

    pub(super) fn replies_swallowed(&self) -> usize {
        self.swallowed.load(Ordering::SeqCst)
    }

    pub(super) fn messages_dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Judges one whole frame of the server's, and counts it.
    pub(super) fn judge(&self, frame: &[u8]) -> Verdict {
        if frame.first() == Some(&b'>') { self.judge_push(frame) } else { self.judge_reply() }
    }

    fn judge_push(&self, frame: &[u8]) -> Verdict {
        let Some(drops) = self.drops.lock().clone() else { return Verdict::Pass };
        match pubsub_message(frame) {
            Some((channel, payload)) if drops(channel, payload) => {
                self.dropped.fetch_add(1, Ordering::SeqCst);
                Verdict::Drop
            }
            _ => Verdict::Pass,
        }
    }

    fn judge_reply(&self) -> Verdict {
        let mut every = self.every.lock();
        every.seen += 1;
        if every.n == 0 || !every.seen.is_multiple_of(every.n) {
            return Verdict::Pass;
        }
        self.swallowed.fetch_add(1, Ordering::SeqCst);
        Verdict::Close
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("replies_swallowed", &self.replies_swallowed())
            .field("messages_dropped", &self.messages_dropped())
            .finish_non_exhaustive()
    }
}
