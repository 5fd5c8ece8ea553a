//! Says once that a node is away, and once that it is back.

use parking_lot::Mutex;
use tokio::time::Instant;

use super::address::Address;

/// One node's outage, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Option<Instant>>);

impl Outage {
    /// A call or a connection failed; `cause` is logged if the outage begins with it.
    pub(crate) fn began(&self, node: &Address, what: &str, cause: &dyn std::fmt::Display) {
        let mut since = self.0.lock();
        if since.is_none() {
            *since = Some(Instant::now());
            tracing::warn!(%node, %cause, "{what} failed; trying again until Redis answers");
        }
    }

    /// It answered.
    pub(crate) fn over(&self, node: &Address, what: &str) {
        let mut since = self.0.lock();
        if let Some(since) = since.take() {
            let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(%node, away_ms, "{what} works again");
        }
    }
}
