//! The live channel: one subscription connection of our own per primary, shared by all logs of the process.
//!
//! ```text
//! Live::subscribe ── Routes (slot → line) ── Line: a task per primary
//!                                              │  Table: channels, sinks, what is unconfirmed (no I/O)
//!                                              └─ connection: RESP3 from and to the socket
//! ```
//!
//! It is not redis-rs' connection, because that one takes an unasked-for `sunsubscribe` for the reply to another command.
//! Nothing but SSUBSCRIBE, SUNSUBSCRIBE and PING is sent here. Whatever is not as it should be (an end, an error, an
//! unasked-for `sunsubscribe`, silence; or that another one is the primary now) ends the connection: all sinks hear [`LiveSink::lost`], the primary is found out
//! anew, and everything is subscribed again.

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod connection;
mod line;
mod router;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use model::LogId;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::connect::Router;
use crate::keys::{Keys, keys_of};
use crate::partition::Slot;
use crate::{Counters, Options, StoreError};
use router::{Command, Routes};
use table::Listener;

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
///
/// Sinks are called from the connection's task alone, never from inside [`Live::subscribe`], and without any lock held: they
/// may subscribe and end subscriptions. An entry's bytes are part of a read buffer, so what is to be kept for long is better
/// copied. After the last clone is dropped, nothing is heard any more.
#[derive(Clone)]
pub struct Live {
    shared: Arc<Shared>,
}

struct Shared {
    routes: Arc<Routes>,
    prefix: String,
    response_timeout: Duration,
    next_id: AtomicU64,
}

/// One sink's subscription; dropping it ends it. An entry that is being routed just then may still arrive.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    /// `None` for a log whose partition can't be: nothing is ever published.
    place: Option<Place>,
}

struct Place {
    routes: Arc<Routes>,
    slot: Slot,
    channel: Bytes,
    id: u64,
}

impl Live {
    /// No subscription yet; does no I/O.
    pub(crate) fn new(router: Router, options: &Options, counters: Counters) -> Self {
        let shared = Shared {
            routes: Routes::new(router, options, counters),
            prefix: options.prefix.clone(),
            response_timeout: options.response_timeout,
            next_id: AtomicU64::new(1),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Subscribes `sink` to the live channel of `log`. Returns at once; the sink hears when it stands. Must be called inside
    /// a Tokio runtime.
    pub fn subscribe(&self, log: &LogId, sink: Arc<dyn LiveSink>) -> Subscription {
        let place = Keys::of(&self.shared.prefix, log.partition()).map(|keys| {
            let channel = Bytes::from(keys.live(log));
            self.listen(keys.slot, channel, sink)
        });
        Subscription { place }
    }

    fn listen(&self, slot: Slot, channel: Bytes, sink: Arc<dyn LiveSink>) -> Place {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let routes = Arc::clone(&self.shared.routes);
        routes.add(Listener { slot, channel: channel.clone(), id, sink });
        Place { routes, slot, channel, id }
    }

    /// Returns once everything that was published on `log`'s channel before the call, and that this process will ever
    /// receive, has been given to the sinks. `Unavailable` where the subscription is not standing.
    pub async fn barrier(&self, log: &LogId) -> Result<(), StoreError> {
        let keys = keys_of(&self.shared.prefix, log.partition())?;
        let (done, answer) = oneshot::channel();
        let command = Command::Barrier { channel: Bytes::from(keys.live(log)), done };
        // Given back, and dropped, where nothing is subscribed: then the answer is an error.
        drop(self.shared.routes.post(keys.slot, command));
        match timeout(self.shared.response_timeout, answer).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(StoreError::Unavailable("the live subscription doesn't stand".into())),
            Err(_) => Err(StoreError::Unavailable("the live connection doesn't answer".into())),
        }
    }

    /// The connection that carries `log`'s channel was found to lose messages: builds it anew, and all its subscriptions. Does
    /// nothing to a connection younger than a second.
    pub fn rebuild(&self, log: &LogId) {
        if let Some(keys) = Keys::of(&self.shared.prefix, log.partition()) {
            drop(self.shared.routes.post(keys.slot, Command::Rebuild));
        }
    }

    /// Has the channels of `slot` follow to the primary that was named last.
    pub(crate) fn follow_primary(&self, slot: Slot) {
        self.shared.routes.follow_primary(slot);
    }

    /// The same for all channels.
    pub(crate) fn follow_primaries(&self) {
        for slot in self.shared.routes.slots() {
            self.shared.routes.follow_primary(slot);
        }
    }

    /// Ends all subscriptions for good; returns when their tasks are done.
    pub async fn close(&self) {
        self.shared.routes.close().await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.routes.closed.cancel();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(Place { routes, slot, channel, id }) = self.place.take() {
            drop(routes.post(slot, Command::Remove { channel, id }));
        }
    }
}
