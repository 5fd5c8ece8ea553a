//! How many wait, or are under way, at all hosts together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::gate::Gate;

/// A number of deliveries that has a limit.
pub(crate) struct Crowd {
    count: AtomicUsize,
    pub(crate) most: usize,
}

impl Crowd {
    /// Nobody yet; at most so many, but one at least.
    pub(crate) fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), most: most.max(1) })
    }

    /// How many may wait before one for such a host: those that have not shown that they take what they get have a half, so that
    /// they never keep the others from waiting.
    pub(crate) fn open_to(&self, gate: &Gate) -> usize {
        if gate.is_proven() { self.most } else { self.most.div_ceil(2) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= self.most
    }
}

/// Counts one of the crowd for as long as it lives.
pub(crate) struct Seat(Arc<Crowd>);

impl Seat {
    /// One of the first `most`.
    pub(crate) fn take(crowd: &Arc<Crowd>, most: usize) -> Option<Self> {
        let before = crowd.count.fetch_add(1, Ordering::Relaxed);
        // Dropped, and so not counted, where there is no room.
        let seat = Self(Arc::clone(crowd));
        (before < most).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}
