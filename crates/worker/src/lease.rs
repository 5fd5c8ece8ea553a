//! One attempt's calls to Redis under its lease, and the heartbeats that keep it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use store::{Backoff, End, Ended, LastReports, Lease, Store, StoreError, WorkError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::Options;
use crate::coalesce::Batch;

/// Why an attempt may not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gone {
    /// Its job was cancelled.
    Cancelled,
    /// Another attempt, or the sweep, has replaced it.
    Lost,
    /// No call was accepted for too long; somebody else may have it by now.
    Blind,
    /// Redis no longer has reports that it had accepted, as after an asynchronous failover.
    Rewound,
}

/// Why a call came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// For good.
    Gone(Gone),
    /// Redis is full: nothing was written; the same again later.
    Full,
    /// There was no answer: it may have happened or not; the same again later.
    NoAnswer,
    /// It has happened, but too few replicas have it to rely on it; the same again later.
    NotReplicated,
}

/// An attempt's lease, and when it was last known to be ours.
pub(crate) struct Holding {
    store: Store,
    lease: Lease,
    heartbeat: Duration,
    max_blind: Duration,
    accepted: Mutex<Instant>,
    has_complained: AtomicBool,
}

impl Holding {
    /// A lease that was just claimed.
    pub(crate) fn new(store: Store, lease: Lease, options: &Options) -> Self {
        Self {
            store,
            lease,
            heartbeat: options.heartbeat,
            max_blind: options.max_blind,
            accepted: Mutex::new(Instant::now()),
            has_complained: AtomicBool::new(false),
        }
    }

    /// Sends heartbeats, one whenever no call was accepted for the heartbeat's time, and one at each `nudge`. Returns when
    /// the attempt may not go on.
    pub(crate) async fn keep(&self, nudge: &Notify) -> Gone {
        let mut backoff = None;
        loop {
            self.wait_for_heartbeat(backoff.as_mut(), nudge).await;
            match self.note(self.store.renew(&self.lease).await) {
                Ok(held) if held.cancelled => return Gone::Cancelled,
                Ok(_) => backoff = None,
                Err(Refusal::Gone(gone)) => return gone,
                Err(_) => _ = backoff.get_or_insert_with(Backoff::of_repeats),
            }
        }
    }

    async fn wait_for_heartbeat(&self, backoff: Option<&mut Backoff>, nudge: &Notify) {
        let pause = async {
            if let Some(backoff) = backoff {
                return tokio::time::sleep(backoff.next()).await;
            }
            // Jittered, so that attempts that began together don't come together.
            let pause = self.heartbeat.mul_f64(rand::random_range(0.8..=1.0));
            self.silence(pause).await;
        };
        tokio::select! {
            () = pause => {}
            () = nudge.notified() => {}
        }
    }

    /// Returns when no call was accepted for so long that the attempt gives up.
    pub(crate) async fn blind(&self) {
        self.silence(self.max_blind).await;
    }

    /// Returns when no call was accepted for `time`.
    async fn silence(&self, time: Duration) {
        loop {
            let end = *self.accepted.lock() + time;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Writes `batch`, once.
    pub(crate) async fn append(&self, batch: &Batch) -> Result<(), Refusal> {
        let answer = self.store.append(&self.lease, Some(batch.number), &batch.reports).await;
        if self.note(answer)?.cancelled { Err(Refusal::Gone(Gone::Cancelled)) } else { Ok(()) }
    }

    /// Ends the attempt, once, with its last reports.
    pub(crate) async fn end(&self, end: &End, last: LastReports<'_>) -> Result<Ended, Refusal> {
        self.note(self.store.end_with(&self.lease, end, last).await)
    }

    /// What is held.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Gives the attempt back, once. For a cancelled job it frees the running place.
    pub(crate) async fn release(&self) -> Result<(), Refusal> {
        self.note(self.store.release(&self.lease).await).map(|_| ())
    }

    fn note<T>(&self, answer: Result<T, WorkError>) -> Result<T, Refusal> {
        match answer {
            Ok(answer) => {
                *self.accepted.lock() = Instant::now();
                self.has_complained.store(false, Ordering::Relaxed);
                Ok(answer)
            }
            // Those of external jobs are never claimed.
            Err(WorkError::LeaseLost | WorkError::External | WorkError::NotStarted) => {
                Err(Refusal::Gone(Gone::Lost))
            }
            Err(WorkError::BatchGap) => Err(Refusal::Gone(Gone::Rewound)),
            Err(WorkError::Store(error)) => {
                self.complain(&error);
                Err(match error {
                    StoreError::Full => Refusal::Full,
                    StoreError::NotReplicated { .. } => Refusal::NotReplicated,
                    _ => Refusal::NoAnswer,
                })
            }
        }
    }

    /// The store itself logs that Redis is away, or lacks replicas; anything else is logged here, once until a call is accepted again.
    fn complain(&self, error: &StoreError) {
        let job = self.lease.job;
        let is_known = matches!(error, StoreError::Unavailable(_) | StoreError::NotReplicated { .. });
        if is_known || self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::debug!(%job, %error, "a call will be repeated");
        } else {
            tracing::warn!(%job, %error, "the attempt waits and repeats its call");
        }
    }
}
