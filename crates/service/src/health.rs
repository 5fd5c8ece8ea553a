//! Whether a role is ready for requests.
//!
//! Ready means: the store was reached once, and no stop has begun. A store that is lost later doesn't count: open
//! streams stay open and new ones wait, and a load balancer that took every node out would break them all. It
//! shows in the body instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::stop::Shutdown;

/// A role's readiness. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reached: AtomicBool,
    up: AtomicBool,
    stopping: CancellationToken,
}

/// What `/readyz` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Should requests come here?
    pub ready: bool,
    /// Does the store answer now?
    pub store: StoreState,
    /// Has a stop begun?
    pub stopping: bool,
}

/// Whether the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreState {
    /// It does.
    Up,
    /// It doesn't.
    Down,
}

impl Health {
    /// Not ready yet; stopping only from [`mark_stopping`](Self::mark_stopping) on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Not ready yet; stopping as soon as `shutdown`'s soft stage begins.
    pub fn following(shutdown: &Shutdown) -> Self {
        Self(Arc::new(Inner { stopping: shutdown.soft().child_token(), ..Inner::default() }))
    }

    /// The store was reached: the role is ready from now on.
    pub fn mark_reached(&self) {
        self.0.reached.store(true, Relaxed);
        self.store_up(true);
    }

    /// A stop has begun: the role is never ready again. The shutdown that is followed goes on as it was.
    pub fn mark_stopping(&self) {
        self.0.stopping.cancel();
    }

    /// The store answers, or doesn't. Changes what `/readyz` shows, never whether the role is ready.
    pub fn store_up(&self, up: bool) {
        self.0.up.store(up, Relaxed);
    }

    /// Should requests come here?
    pub fn ready(&self) -> bool {
        self.0.reached.load(Relaxed) && !self.0.stopping.is_cancelled()
    }

    /// What `/readyz` says now.
    pub fn readiness(&self) -> Readiness {
        let store = if self.0.up.load(Relaxed) { StoreState::Up } else { StoreState::Down };
        Readiness { ready: self.ready(), store, stopping: self.0.stopping.is_cancelled() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_from_the_first_answer_to_the_stop() {
        let shutdown = Shutdown::manual();
        let health = Health::following(&shutdown);
        assert!(!health.ready());
        health.store_up(true);
        assert!(!health.ready(), "up is not yet reached");
        health.mark_reached();
        assert!(health.ready());
        health.store_up(false);
        assert!(health.ready(), "a store lost later doesn't count");
        shutdown.stop_soft();
        let said = Readiness { ready: false, store: StoreState::Down, stopping: true };
        assert_eq!(health.readiness(), said);
    }

    #[test]
    fn marking_one_role_stops_no_other() {
        let shutdown = Shutdown::manual();
        let (one, other) = (Health::following(&shutdown), Health::following(&shutdown));
        one.mark_reached();
        other.mark_reached();
        one.mark_stopping();
        assert_eq!((one.ready(), other.ready()), (false, true));
        assert!(!shutdown.soft().is_cancelled());
    }
}
