//! A stream without its transport: a place in a log, and what comes next.

use std::sync::Arc;
use std::time::Duration;

use model::{Owner, Position};
use tokio::sync::futures::OwnedNotified;

use super::Hub;
pub(crate) use super::core::WaitFor;
use super::core::{Frames, Taken};
use super::node::Node;
use super::seat::Seat;

/// The most bytes that a stream takes at once; one frame may be larger.
const BUDGET: usize = 64 * 1024;

/// One follower of one log. Dropping it gives its place back.
pub(crate) struct Follow {
    hub: Hub,
    node: Arc<Node>,
    /// `None` only while it is dropped.
    seat: Option<Seat>,
}

/// What a follower gets.
pub(crate) enum Next {
    /// Frames to write, in this order; at least one. Ask again when they are written.
    Frames(Frames),
    /// Nothing now: ask again when this completes.
    Wait(OwnedNotified, WaitFor),
    /// Nothing will follow: the end was told.
    End,
    /// Nothing will follow: the job doesn't exist, or no longer.
    Gone,
}

impl Follow {
    pub(super) fn new(hub: Hub, node: Arc<Node>, position: Position) -> Self {
        let seat = {
            let mut core = node.core.lock();
            let seat = core.open(position);
            if core.is_warm() {
                hub.warmed(&node);
            }
            seat
        };
        // An opening may raise a doubt that nobody else's waiting would settle.
        node.read_what_is_wanted();
        Self { hub, node, seat: Some(seat) }
    }

    /// The same, of a job that is cancelled when nobody has followed it for `within`: as long as this lives, somebody does.
    pub(crate) fn keeping(self, within: Option<Duration>) -> Self {
        if let Some(within) = within {
            self.node.keep(within);
        }
        self
    }

    /// The same, of a job of `owner` by Redis' word: who comes next may [`join`](Hub::join).
    pub(crate) fn owned_by(self, owner: &Owner) -> Self {
        self.node.belongs_to(owner);
        self
    }

    /// What comes next.
    pub(crate) fn next(&mut self) -> Next {
        let Some(seat) = &mut self.seat else { return Next::End };
        let mut core = self.node.core.lock();
        let wait = match core.take(seat, BUDGET) {
            Taken::Frames(frames) => return Next::Frames(frames),
            Taken::Gone => return Next::Gone,
            Taken::End => return Next::End,
            Taken::Wait(wait) => wait,
        };
        // While the core is still locked: who changes it wakes those who wait only then, so nothing is missed.
        let woken = self.node.woken(wait);
        drop(core);
        if wait == WaitFor::Read {
            self.node.read_what_is_wanted();
        }
        Next::Wait(woken, wait)
    }

    /// Completes when the log has gone on from this place, or never will.
    pub(crate) async fn changed(&mut self) {
        while let Next::Wait(woken, _) = self.next() {
            woken.await;
        }
    }

    /// Completes when the job has ended, or is gone.
    pub(crate) async fn ended(&mut self) {
        loop {
            match self.next() {
                Next::Frames(_) => {}
                Next::Wait(woken, _) => woken.await,
                Next::End | Next::Gone => return,
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.node.core.lock().close(seat);
        }
        self.hub.left(&self.node);
    }
}
