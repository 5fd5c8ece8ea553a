//! Which of several things woke a task.
//!
//! Each of them has a waker of its own, which is made once; so to wait once more takes no memory, and what was not woken isn't
//! looked at.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::sync::futures::OwnedNotified;

/// What a task waits for, by keys `K`.
pub(super) struct Wakes<K>(Arc<Mutex<Woken<K>>>);

struct Woken<K> {
    keys: VecDeque<K>,
    /// Whom to wake.
    task: Option<Waker>,
}

struct Bell<K> {
    key: K,
    woken: Arc<Mutex<Woken<K>>>,
}

impl<K: Copy + Send + Sync + 'static> Wake for Bell<K> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = {
            let mut woken = self.woken.lock();
            woken.keys.push_back(self.key);
            woken.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<K: Copy + Send + Sync + 'static> Wakes<K> {
    /// Of a task that waits for nothing yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Woken { keys: VecDeque::new(), task: None })))
    }

    /// Where to wait for what is called `key`.
    pub(super) fn place(&self, key: K) -> Place {
        let waker = Arc::new(Bell { key, woken: Arc::clone(&self.0) }).into();
        Place { waker, awaited: Box::pin(None) }
    }

    /// What was woken first and wasn't told yet; pending while there is none.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<K> {
        let mut woken = self.0.lock();
        if let Some(key) = woken.keys.pop_front() {
            return Poll::Ready(key);
        }
        match &mut woken.task {
            Some(task) => task.clone_from(cx.waker()),
            task => *task = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// Where one thing is waited for, again and again.
pub(super) struct Place {
    waker: Waker,
    awaited: Pin<Box<Option<OwnedNotified>>>,
}

impl Place {
    /// Waits for `what`, and no more for what was waited for before. Ready if it has come already; else [`Wakes::poll_next`] tells it.
    pub(super) fn wait_for(&mut self, what: OwnedNotified) -> Poll<()> {
        self.awaited.set(Some(what));
        let awaited = self.awaited.as_mut().as_pin_mut();
        awaited.map_or(Poll::Pending, |awaited| awaited.poll(&mut Context::from_waker(&self.waker)))
    }
}
