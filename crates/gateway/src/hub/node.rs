//! One followed log in this process: the core, and what it needs to be alive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use model::{Cursor, Entry, LogId, Owner, Position};
use parking_lot::Mutex;
use store::{LiveSink, Subscription};
use tokio::sync::Notify;

use super::Shared;
use super::core::{LogCore, WaitFor, Wake};
use super::frame;
use super::keep::Kept;
use super::page::ReadPage;
use super::read::{ReadAt, ReadOutcome};
use super::reader::{Found, NoPage};
use super::reconcile::Due;

/// How long a read that failed stays in flight, so that what Redis refuses at once isn't asked without end.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// A log that some stream of this process follows, or followed a moment ago.
pub(crate) struct Node {
    pub(super) log: LogId,
    pub(super) me: Weak<Self>,
    pub(super) hub: Weak<Shared>,
    pub(super) core: Mutex<LogCore>,
    at_head: Arc<Notify>,
    behind: Arc<Notify>,
    /// Nothing is read before the subscription stood once: what happens in between would be read twice.
    stood: AtomicBool,
    /// The subscription stands: what happens to the log is heard.
    hears: AtomicBool,
    /// Whose job it is, once Redis has said so and that it isn't one that is cancelled when nobody follows it. A job's owner never
    /// changes.
    owner: OnceLock<Owner>,
    /// Events are gathered; who waits for them will be woken.
    gathering: AtomicBool,
    /// When it is compared with Redis. What seems to be a repeat puts that off no more than silence: it may be of a new history
    /// that hasn't come to where the lost one ended.
    pub(super) due: Due,
    /// It is in the hub's list of warm logs. Changed under the core's lock alone.
    pub(super) listed: AtomicBool,
    subscription: Mutex<Option<Subscription>>,
    /// In a box, as few logs have it.
    pub(super) kept: Mutex<Option<Box<Kept>>>,
}

impl Node {
    /// A log of which nothing is known, and its subscription.
    pub(super) fn open(hub: &Arc<Shared>, log: LogId) -> Arc<Self> {
        let node = Arc::new_cyclic(|me| Self {
            core: Mutex::new(match log {
                LogId::Job(_) => LogCore::of_job(hub.options.limits, hub.held.share()),
                LogId::Feed(..) => LogCore::of_feed(hub.options.limits, hub.held.share()),
            }),
            log,
            me: Weak::clone(me),
            hub: Arc::downgrade(hub),
            at_head: Arc::default(),
            behind: Arc::default(),
            stood: AtomicBool::new(false),
            hears: AtomicBool::new(false),
            owner: OnceLock::new(),
            gathering: AtomicBool::new(false),
            due: Due::default(),
            listed: AtomicBool::new(false),
            subscription: Mutex::new(None),
            kept: Mutex::new(None),
        });
        let subscription = hub.store.live().subscribe(&node.log, Arc::clone(&node) as Arc<dyn LiveSink>);
        *node.subscription.lock() = Some(subscription);
        node
    }

    /// Ends the subscription; the node is of no more use.
    pub(super) fn close(&self) {
        self.subscription.lock().take();
    }

    /// Completes when there is something new for who waits so. Made while the core that said so is still locked, it misses nothing:
    /// [`Node::wake`] comes after the core has changed.
    pub(super) fn woken(&self, wait: WaitFor) -> tokio::sync::futures::OwnedNotified {
        let notify = match wait {
            WaitFor::Head => &self.at_head,
            WaitFor::Read => &self.behind,
        };
        Arc::clone(notify).notified_owned()
    }

    pub(super) fn wake(&self, wake: Wake) {
        if wake.head && !self.gather() {
            self.at_head.notify_waiters();
        }
        if wake.behind {
            self.behind.notify_waiters();
        }
        if wake.read {
            self.read_what_is_wanted();
        }
    }

    /// Whether who waits at the log's end is woken later, since more may come by then.
    fn gather(&self) -> bool {
        let Some(hub) = self.hub.upgrade() else { return false };
        let coalesce = hub.options.coalesce;
        if coalesce.is_zero() {
            return false;
        }
        let Some(node) = self.me.upgrade() else { return false };
        if !self.gathering.swap(true, Ordering::AcqRel) {
            hub.tasks.spawn(hub.stop.clone().run_until_cancelled_owned(async move {
                tokio::time::sleep(coalesce).await;
                node.gathering.store(false, Ordering::Release);
                node.at_head.notify_waiters();
            }));
        }
        true
    }

    /// Starts the read that the core wants, if it wants one and none is in flight.
    pub(super) fn read_what_is_wanted(&self) {
        if !self.stood.load(Ordering::Acquire) {
            return;
        }
        let (Some(hub), Some(node)) = (self.hub.upgrade(), self.me.upgrade()) else { return };
        let Some(read) = self.core.lock().wanted() else { return };
        let stop = hub.stop.clone();
        hub.tasks.clone().spawn(async move { stop.run_until_cancelled(node.read_on(&hub, read)).await });
    }

    async fn read_on(&self, hub: &Shared, mut read: ReadAt) {
        loop {
            let outcome = self.read(hub, read.position).await;
            if matches!(outcome, ReadOutcome::Failed) {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            let (wake, next) = {
                let mut core = self.core.lock();
                (core.answer(read, outcome), core.wanted())
            };
            self.wake(Wake { read: false, ..wake });
            match next {
                Some(next) => read = next,
                None => return,
            }
        }
    }

    async fn read(&self, hub: &Shared, position: Position) -> ReadOutcome {
        let _permit = hub.permit(&self.log).await;
        match self.page(hub, position).await {
            Ok(Some(page)) => ReadOutcome::Page(page),
            Ok(None) => ReadOutcome::Gone,
            Err(error) => {
                tracing::debug!(log = %self.log, %error, "a read of the log will be tried again");
                ReadOutcome::Failed
            }
        }
    }

    async fn page(&self, hub: &Shared, position: Position) -> Result<Option<ReadPage>, NoPage> {
        let Some(Found { page, ended, restart }) = hub.find(&self.log, position).await? else {
            return Ok(None);
        };
        let read = match restart {
            None => ReadPage::follows(position, page, ended),
            // Nothing to say is an edge without a frame.
            Some(json) if json.is_empty() => ReadPage::restart(json, page, ended),
            Some(json) => {
                let frame = frame::render(b"snapshot", &json, page.start());
                ReadPage::restart(frame, page, ended)
            }
        };
        Ok(Some(read?))
    }

    /// The newest event known, for a reconcile.
    pub(super) fn head(&self) -> Option<Cursor> {
        self.core.lock().head()
    }

    /// It is of a job of `owner`, by Redis' word.
    pub(super) fn belongs_to(&self, owner: &Owner) {
        self.owner.get_or_init(|| owner.clone());
    }

    /// Whether it is known without asking Redis that this is a job of `owner` that goes on: what would end it, or put it in doubt,
    /// would have been heard here.
    pub(super) fn is_known_to_go_on(&self, owner: &Owner) -> bool {
        self.owner.get() == Some(owner) && self.hears.load(Ordering::Acquire) && self.core.lock().goes_on()
    }

    /// Reads even where no subscription ever stood.
    pub(super) fn insist(&self) {
        self.stood.store(true, Ordering::Release);
        self.read_what_is_wanted();
    }
}

impl LiveSink for Node {
    fn subscribed(&self) {
        self.stood.store(true, Ordering::Release);
        let wake = self.core.lock().unsettle();
        // After the doubt was raised, which only a read ends.
        self.hears.store(true, Ordering::Release);
        self.wake(Wake { read: true, ..wake });
    }

    fn entry(&self, entry: Bytes) {
        match Entry::parse(&entry) {
            Ok(entry) => {
                let (wake, went_on) = {
                    let mut core = self.core.lock();
                    let before = core.head();
                    (core.live(&entry), core.head() != before)
                };
                if went_on {
                    self.due.went_on();
                }
                self.wake(wake);
            }
            Err(error) => {
                tracing::warn!(log = %self.log, %error, "a live message can't be read");
                let wake = self.core.lock().unsettle();
                self.wake(wake);
            }
        }
    }

    fn lost(&self) {
        self.hears.store(false, Ordering::Release);
    }
}
