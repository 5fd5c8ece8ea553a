//! Which connection carries which slot.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::line::Line;
use super::table::Listener;
use crate::connect::{Address, Backoff, Dialer, Router, Topology};
use crate::partition::Slot;
use crate::{Counters, Options};

/// What the task of a connection is told.
pub(super) enum Command {
    Add(Listener),
    Remove {
        channel: Bytes,
        id: u64,
    },
    /// `done` when all that was published on the channel before has been routed; dropped if it doesn't stand.
    Barrier {
        channel: Bytes,
        done: oneshot::Sender<()>,
    },
    Rebuild,
    /// Where the slot's primary was when this was sent. If that is elsewhere, everybody is found out anew; so an old word costs a
    /// reconnection, and nothing else.
    Primary(Address),
}

/// What one connection's task has still to read.
#[derive(Default)]
pub(super) struct Inbox {
    commands: Mutex<Vec<Command>>,
    bell: Notify,
}

impl Inbox {
    fn push(&self, commands: impl IntoIterator<Item = Command>) {
        self.commands.lock().extend(commands);
        self.bell.notify_one();
    }

    pub(super) fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.commands.lock())
    }

    /// Returns when something may have come since the last time.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}

/// The live connections of a store, and which slot each of them carries.
pub(super) struct Routes {
    router: Router,
    pub(super) counters: Counters,
    pub(super) ping: Duration,
    pub(super) closed: CancellationToken,
    tasks: TaskTracker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seats: HashMap<Slot, Seat>,
    lines: HashMap<Address, Arc<Inbox>>,
}

/// Where a slot's commands go. Sinks are never dropped under the lock on the state: that may end subscriptions.
enum Seat {
    /// To a connection.
    Line(Arc<Inbox>),
    /// They wait until it is known who the primary is.
    Settling(Vec<Command>),
}

impl Seat {
    fn take(&mut self, command: Command) {
        match self {
            Self::Line(inbox) => inbox.push([command]),
            Self::Settling(waiting) => waiting.push(command),
        }
    }

    fn is_at(&self, inbox: &Arc<Inbox>) -> bool {
        matches!(self, Self::Line(at) if Arc::ptr_eq(at, inbox))
    }
}

impl Routes {
    pub(super) fn new(router: Router, options: &Options, counters: Counters) -> Arc<Self> {
        Arc::new(Self {
            router,
            counters,
            ping: options.ping,
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            state: Mutex::default(),
        })
    }

    pub(super) fn topology(&self) -> &Topology {
        self.router.topology()
    }

    pub(super) fn dialer(&self) -> &Dialer {
        self.router.dialer()
    }

    /// Sends a new listener to its slot's connection, which is opened if there is none.
    pub(super) fn add(self: &Arc<Self>, listener: Listener) {
        let slot = listener.slot;
        let command = Command::Add(listener);
        match self.state.lock().seats.entry(slot) {
            Entry::Occupied(mut seat) => seat.get_mut().take(command),
            Entry::Vacant(seat) => {
                seat.insert(Seat::Settling(vec![command]));
                self.spawn_settling(slot);
            }
        }
    }

    /// Sends a command to the connection that carries `slot`; gives it back if there is none.
    pub(super) fn post(&self, slot: Slot, command: Command) -> Option<Command> {
        match self.state.lock().seats.get_mut(&slot) {
            Some(seat) => seat.take(command),
            None => return Some(command),
        }
        None
    }

    /// Tells the connection that carries `slot` where its primary is, as far as that is known.
    pub(super) fn follow_primary(&self, slot: Slot) {
        if let Some(primary) = self.topology().known_primary_of(slot) {
            drop(self.post(slot, Command::Primary(primary)));
        }
    }

    /// All slots that have a seat: those that anything was ever subscribed in.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.state.lock().seats.keys().copied().collect()
    }

    /// The slots that `inbox`'s connection carries.
    pub(super) fn slots_of(&self, inbox: &Arc<Inbox>) -> Vec<Slot> {
        let state = self.state.lock();
        state.seats.iter().filter(|(_, seat)| seat.is_at(inbox)).map(|(slot, _)| *slot).collect()
    }

    /// From now on, commands for `slots` wait; those sent before are in `inbox`.
    pub(super) fn unseat(&self, inbox: &Arc<Inbox>, slots: &[Slot]) {
        let mut state = self.state.lock();
        for slot in slots {
            if let Some(seat) = state.seats.get_mut(slot).filter(|seat| seat.is_at(inbox)) {
                *seat = Seat::Settling(Vec::new());
            }
        }
    }

    /// Finds the connection that carries `slot` now; `listeners` come before whatever waits.
    pub(super) fn settle(self: &Arc<Self>, slot: Slot, listeners: Vec<Listener>) {
        if let Some(Seat::Settling(waiting)) = self.state.lock().seats.get_mut(&slot) {
            waiting.splice(0..0, listeners.into_iter().map(Command::Add));
        }
        self.spawn_settling(slot);
    }

    fn spawn_settling(self: &Arc<Self>, slot: Slot) {
        let routes = Arc::clone(self);
        self.tasks.spawn(async move {
            let closed = routes.closed.clone();
            closed.run_until_cancelled(routes.find_line(slot)).await;
        });
    }

    async fn find_line(self: &Arc<Self>, slot: Slot) {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
        let mut is_logged = false;
        let address = loop {
            match self.topology().primary_of(slot).await {
                Ok(address) => break address,
                Err(cause) if !is_logged => {
                    tracing::warn!(%cause, "the primary to subscribe at is not known; asking on");
                    is_logged = true;
                }
                Err(_) => {}
            }
            sleep(backoff.next()).await;
        };
        let mut state = self.state.lock();
        let State { seats, lines } = &mut *state;
        let Some(seat @ Seat::Settling(_)) = seats.get_mut(&slot) else { return };
        let inbox = lines.entry(address.clone()).or_insert_with(|| self.open_line(address));
        if let Seat::Settling(waiting) = std::mem::replace(seat, Seat::Line(Arc::clone(inbox))) {
            inbox.push(waiting);
        }
    }

    fn open_line(self: &Arc<Self>, address: Address) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        self.tasks.spawn(Line::new(address, Arc::clone(&inbox), Arc::clone(self)).run());
        inbox
    }

    /// Ends the line at `address` if no slot is carried there; true if so.
    pub(super) fn retire_if_idle(&self, address: &Address, inbox: &Arc<Inbox>) -> bool {
        let mut state = self.state.lock();
        let is_idle = !state.seats.values().any(|seat| seat.is_at(inbox));
        if is_idle {
            state.lines.remove(address);
        }
        is_idle
    }

    pub(super) async fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // What nobody reads any more may hold sinks, and they subscriptions of this: dropped without the lock.
        let unread = std::mem::take(&mut *self.state.lock());
        drop(unread);
    }
}
