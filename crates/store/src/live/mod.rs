//! The live channel: one subscription connection of our own per primary, shared by all logs of the process.

use std::sync::Arc;

use bytes::Bytes;
use model::JobId;

use crate::connect::Router;
use crate::{Counters, Options, StoreError};

/// Who hears of one log. Called from the connection's task, in order: return at once, never block.
pub trait LiveSink: Send + Sync + 'static {
    /// The subscription stands (for the first time, or again): whatever happened before must now be read from the log.
    fn subscribed(&self);
    /// A live entry arrived, as published: `<seq> <mark> <mark before> <type> <json>`, or the first three words alone.
    fn entry(&self, entry: Bytes);
    /// The subscription is gone; messages are being missed until [`LiveSink::subscribed`] is called again.
    fn lost(&self);
}

/// All subscriptions of a process. Cheap to clone.
#[derive(Clone)]
pub struct Live {}

/// One sink's subscription; dropping it ends it.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {}

impl Live {
    /// No subscription yet; does no I/O.
    pub(crate) fn new(router: Router, options: &Options, counters: Counters) -> Self {
        let _ = (router, options, counters);
        Self {}
    }

    /// Ends all subscriptions; returns when their tasks are done.
    #[allow(clippy::unused_async, reason = "the connections' tasks come next")]
    pub async fn close(&self) {}

    /// Subscribes `sink` to the live channel of `job`. Returns at once; the sink hears when it stands.
    pub fn subscribe(&self, job: JobId, sink: Arc<dyn LiveSink>) -> Subscription {
        let _ = (job, sink);
        Subscription {}
    }

    /// Returns once everything that was published on `job`'s channel before the call, and that this process will ever
    /// receive, has been given to the sinks. `Unavailable` where the subscription is not standing.
    pub async fn barrier(&self, job: JobId) -> Result<(), StoreError> {
        let _ = job;
        Ok(())
    }

    /// The connection that carries `job`'s channel was found to lose messages: builds it anew, and all its subscriptions.
    pub fn rebuild(&self, job: JobId) {
        let _ = job;
    }
}
