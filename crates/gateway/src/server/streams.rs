//! The streams of one connection of HTTP/2, each a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use prometheus_client::metrics::counter::Counter;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::carrier::one_by_one::Taken;

/// How many more requests of a connection may be reset as soon as they were made than were answered. Who exceeds it makes work
/// for its own sake.
const UNANSWERED: usize = 500;
/// How soon that is. Whoever loses patience does so later, and with many others while Redis is away: that is no crime.
const RAPID: Duration = Duration::from_millis(100);

tokio::task_local! {
    /// The stream's, while its task runs.
    static TAKEN: Taken;
}

/// How far the client has taken the answer of the stream whose task asks.
pub(super) fn taken() -> Taken {
    TAKEN.try_with(Clone::clone).unwrap_or_else(|_| Taken::new())
}

/// The streams of one connection; hyper hands them over as tasks. Clones are the same.
#[derive(Clone)]
pub(super) struct Streams(Arc<Inner>);

struct Inner {
    tasks: TaskTracker,
    over: CancellationToken,
    stall: Duration,
    stalled: Counter,
    activity: Mutex<Activity>,
    unanswered: AtomicUsize,
    flooded: CancellationToken,
}

/// What goes on.
struct Activity {
    open: usize,
    /// When the last one began or ended; `None` before the first.
    last: Option<Instant>,
}

impl Streams {
    /// None yet. Each will be one of `tasks`; one whose client takes nothing for `stall` while something waits is reset and
    /// counted in `stalled`.
    pub(super) fn new(tasks: TaskTracker, stall: Duration, stalled: Counter) -> Self {
        Self(Arc::new(Inner {
            tasks,
            over: CancellationToken::new(),
            stall,
            stalled,
            activity: Mutex::new(Activity { open: 0, last: None }),
            unanswered: AtomicUsize::new(0),
            flooded: CancellationToken::new(),
        }))
    }

    /// Ends all of them when it is dropped.
    pub(super) fn end_with(&self) -> DropGuard {
        self.0.over.clone().drop_guard()
    }

    /// Until there was none for `idle`, or `first` has passed without the first one.
    pub(super) async fn quiet(&self, first: Duration, idle: Duration) {
        sleep(first).await;
        loop {
            let due = match *self.0.activity.lock() {
                Activity { last: None, .. } => return,
                Activity { open: 0, last: Some(last) } => last + idle,
                Activity { .. } => Instant::now() + idle,
            };
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }

    /// Until too many requests were reset as soon as they were made.
    pub(super) async fn flooded(&self) {
        self.0.flooded.cancelled().await;
    }

    /// A request has come. If what this gives is dropped before it was told of the answer, it was reset.
    pub(super) fn asked(&self) -> Asked {
        Asked { streams: Arc::clone(&self.0), since: Instant::now(), answered: false }
    }
}

/// A request that is to be answered.
pub(super) struct Asked {
    streams: Arc<Inner>,
    since: Instant,
    answered: bool,
}

impl Asked {
    /// It was.
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let unanswered = &self.streams.unanswered;
        if self.answered {
            let _ = unanswered.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
        } else if self.since.elapsed() < RAPID && unanswered.fetch_add(1, Relaxed) >= UNANSWERED {
            self.streams.flooded.cancel();
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let taken = Taken::new();
        let watched = Watched {
            stream: TAKEN.scope(taken.clone(), stream),
            taken,
            alarm: None,
            open: Open::new(Arc::clone(&self.0)),
        };
        self.0.tasks.spawn(self.0.over.clone().run_until_cancelled_owned(watched));
    }
}

/// Counts a stream as long as it lives.
struct Open(Arc<Inner>);

impl Open {
    fn new(streams: Arc<Inner>) -> Self {
        let mut activity = streams.activity.lock();
        activity.open += 1;
        activity.last = Some(Instant::now());
        drop(activity);
        Self(streams)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut activity = self.0.activity.lock();
        activity.open -= 1;
        activity.last = Some(Instant::now());
    }
}

pin_project! {
    /// A stream that is over when its client has taken nothing for too long: to drop it is to reset it.
    struct Watched<F> {
        #[pin]
        stream: TaskLocalFuture<Taken, F>,
        taken: Taken,
        // Made when something first waits, and then left to ring: that costs less than to stop it each time.
        alarm: Option<Pin<Box<Sleep>>>,
        open: Open,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let streams = &this.open.0;
        loop {
            let Some(since) = this.taken.nothing_since() else { return Poll::Pending };
            let due = since + streams.stall;
            let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            ready!(alarm.as_mut().poll(cx));
            if due <= Instant::now() {
                streams.stalled.inc();
                tracing::debug!("a stream is reset: its client takes nothing");
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::timeout;

    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    fn streams() -> (Streams, Counter) {
        let stalled = Counter::default();
        (Streams::new(TaskTracker::new(), FIRST, stalled.clone()), stalled)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_quiet_without_a_first_stream_and_after_the_last() {
        let (streams, _) = streams();
        let began = Instant::now();
        streams.quiet(FIRST, IDLE).await;
        assert_eq!(began.elapsed(), FIRST);
        let began = Instant::now();
        for seconds in [1, 100, 200] {
            streams.execute(sleep(Duration::from_secs(seconds)));
        }
        streams.quiet(FIRST, IDLE).await;
        assert_eq!(began.elapsed(), Duration::from_secs(200) + IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn they_end_with_their_connection() {
        let (streams, _) = streams();
        let over = streams.end_with();
        streams.execute(pending());
        drop(over);
        streams.0.tasks.close();
        streams.0.tasks.wait().await;
        assert_eq!(streams.0.activity.lock().open, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_resets_at_once_more_than_it_lets_be_answered_is_found() {
        let (streams, _) = streams();
        let flooded = || timeout(FIRST, streams.flooded());
        for _ in 0..10 * UNANSWERED {
            drop(streams.asked());
            streams.asked().answered();
        }
        for _ in 0..10 * UNANSWERED {
            let impatient = streams.asked();
            tokio::time::advance(RAPID).await;
            drop(impatient);
        }
        assert!(flooded().await.is_err());
        for _ in 0..=UNANSWERED {
            drop(streams.asked());
        }
        assert!(flooded().await.is_ok());
    }
}
