//! Says once that something is away, and once that it is back.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

/// One outage, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// A copy of the other for those who find all well, which is every call.
    is_on: AtomicBool,
    since: Mutex<Option<Instant>>,
}

impl Outage {
    /// `what` failed; it is logged, with its `cause`, if an outage begins with it.
    pub(crate) fn began(&self, what: impl Display, cause: &dyn Display) {
        let mut since = self.since.lock();
        if since.is_none() {
            *since = Some(Instant::now());
            self.is_on.store(true, Ordering::Release);
            tracing::warn!(%cause, "{what} failed; trying on");
        }
    }

    /// Whether there is one.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// `what` works; it is logged if an outage ends with it.
    pub(crate) fn over(&self, what: impl Display) {
        if !self.is_on() {
            return;
        }
        let mut since = self.since.lock();
        if let Some(since) = since.take() {
            self.is_on.store(false, Ordering::Release);
            let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(away_ms, "{what} works again");
        }
    }
}
