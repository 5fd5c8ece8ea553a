//! One attempt's life, from its claim until nothing is left of it.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Entry, EventType, JobId};
use store::{Backoff, Claimed, End, Ended, LastReports, LiveSink, Store};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::coalesce::Parting;
use crate::context::{Aftermath, AttemptFacts, Context};
use crate::lease::{Gone, Holding, Refusal};
use crate::outgoing::Outgoing;
use crate::verdict::{Stopped, Word, after, verdict};
use crate::{AnyHandler, Options, Outcome, WorkerMetrics};

/// How long an attempt's last call is repeated once the worker stops. Shorter than the time that a hard stop leaves.
pub(crate) const FAREWELL: Duration = Duration::from_secs(4);

/// How long an attempt runs before its worker listens for a cancellation. Short attempts are over by then, and don't pay for a
/// subscription that nothing comes of.
const UNHEARD: Duration = Duration::from_millis(100);

/// The longest run limit that is counted here; Redis' sweep counts any.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// When attempts stop by themselves.
#[derive(Clone, Debug)]
pub(crate) struct Stops {
    /// What runs is to be given back.
    pub(crate) give_back: CancellationToken,
    /// What is being ended is to hurry. Cancels `give_back` as well.
    pub(crate) hard: CancellationToken,
}

/// A claimed job and what it takes to work on it.
pub(crate) struct Attempt {
    pub(crate) claimed: Claimed,
    pub(crate) handler: Arc<dyn AnyHandler>,
    pub(crate) store: Store,
    pub(crate) options: Arc<Options>,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) stops: Stops,
}

/// Works on `attempt` until its end is told and nothing of its handler, programs included, is left.
pub(crate) async fn run(attempt: Attempt) -> Outcome {
    let Attempt { claimed, handler, store, options, metrics, stops } = attempt;
    // Redis' clock began this when it answered. Late by the way back, which the sweep settles; never early.
    let limit = Instant::now() + claimed.time_left.min(LONGEST);
    let over = CancellationToken::new();
    let outgoing = Arc::new(Outgoing::new(options.outbox_limits(), over.clone()));
    let aftermath = Aftermath { tasks: TaskTracker::new(), hurry: stops.hard.clone() };
    let holding = Holding::new(store.clone(), claimed.lease, &options);

    let facts = AttemptFacts {
        job: claimed.job(),
        task: claimed.task.clone(),
        owner: claimed.owner,
        attempt: claimed.attempt,
        max_attempts: claimed.max_attempts,
    };
    let ctx = Context::new(facts, Arc::clone(&outgoing), over.clone(), options.max_event, aftermath.clone());
    let payload = claimed.payload;
    // A task of its own: it may be slow to yield, and a panic stays in it.
    let mut work = JoinSet::new();
    work.spawn(async move { handler.run_boxed(ctx, payload).await });

    let desk = Desk { holding, outgoing, metrics, stops };
    let stopped = desk.attend(&mut work, &store, &claimed.lease, limit).await;

    // From now on the handler isn't heard any more, whatever it does.
    over.cancel();
    desk.outgoing.close();
    work.abort_all();
    let leave = async {
        while work.join_next().await.is_some() {}
        aftermath.tasks.close();
        aftermath.tasks.wait().await;
    };
    let (word, outcome) = verdict(stopped, claimed.time_left, options.max_result);
    let (job, task, number) = (claimed.lease.job, claimed.task, claimed.attempt);
    match &word {
        Word::End(End::Completed(_)) => {}
        Word::End(End::Failed { error, .. } | End::Retry { error, .. }) => {
            tracing::info!(%job, %task, attempt = number, error, "an attempt failed");
        }
        _ => {
            tracing::info!(%job, %task, attempt = number, outcome = outcome.as_str(), "an attempt is stopped");
        }
    }
    let (outcome, ()) = tokio::join!(desk.tell(word, outcome), leave);
    tracing::debug!(%job, %task, attempt = number, outcome = outcome.as_str(), "an attempt ended");
    desk.metrics.ended(outcome);
    outcome
}

/// Everything of an attempt that talks to Redis.
struct Desk {
    holding: Holding,
    outgoing: Arc<Outgoing>,
    metrics: WorkerMetrics,
    stops: Stops,
}

impl Desk {
    /// Attends to the running handler: writes its reports, keeps the lease, and sees why it stops.
    async fn attend(
        &self,
        work: &mut JoinSet<Result<model::Json, crate::Failure>>,
        store: &Store,
        lease: &store::Lease,
        limit: Instant,
    ) -> Stopped {
        let nudge = Arc::new(Notify::new());
        tokio::select! {
            biased;
            Some(done) = work.join_next() => Stopped::Done(done),
            gone = self.pump() => Stopped::Gone(gone),
            gone = self.holding.keep(&nudge) => Stopped::Gone(gone),
            never = listen(store, lease.job, &nudge) => match never {},
            () = sleep_until(limit) => Stopped::TimeUp,
            () = self.holding.blind() => Stopped::Gone(Gone::Blind),
            () = self.stops.give_back.cancelled() => Stopped::GiveBack,
        }
    }

    /// Writes what is due, forever: what Redis doesn't take is repeated unchanged.
    async fn pump(&self) -> Gone {
        let mut backoff = Backoff::of_repeats();
        loop {
            let batch = self.outgoing.next().await;
            match self.holding.append(&batch).await {
                Ok(()) => {
                    self.outgoing.acknowledge(batch.number);
                    backoff = Backoff::of_repeats();
                    continue;
                }
                Err(Refusal::Gone(gone)) => return gone,
                Err(Refusal::Full | Refusal::NoAnswer | Refusal::NotReplicated) => {}
            }
            self.metrics.append_retries.inc();
            sleep(backoff.next()).await;
        }
    }

    /// Tells `word` until it is answered, or the worker has stopped and nobody answers.
    async fn tell(&self, word: Word, outcome: Outcome) -> Outcome {
        let told = async {
            let (mut word, mut outcome) = (word, outcome);
            loop {
                let told = match &word {
                    Word::End(end) => self.end(end, false).await,
                    Word::EndBare(end) => self.end(end, true).await,
                    Word::Release => self.release().await.map(|()| None),
                    Word::Nothing => return outcome,
                };
                match told {
                    Ok(Some(ended)) if ended.held.cancelled => return Outcome::Cancelled,
                    Ok(Some(_)) => {
                        let job = self.holding.lease().job;
                        tracing::debug!(%job, outcome = outcome.as_str(), "an attempt's end was acknowledged");
                        return outcome;
                    }
                    Ok(None) => return outcome,
                    Err(gone) => (word, outcome) = after(gone),
                }
            }
        };
        // Heartbeats go on. That one is refused says nothing: an end that was made, and whose reply was lost, ended the lease.
        let keep = async {
            let nobody = Notify::new();
            self.holding.keep(&nobody).await;
            pending::<()>().await;
        };
        let farewell = async {
            self.stops.give_back.cancelled().await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            biased;
            outcome = told => outcome,
            () = farewell => Outcome::Blind,
            () = keep => Outcome::Blind,
        }
    }

    /// Ends the attempt; `None` if it is ended, but that wasn't replicated for as long as a lease lasts: then it is as good as
    /// told, and the place is for other work.
    async fn end(&self, end: &End, is_bare: bool) -> Result<Option<Ended>, Gone> {
        let mut backoff = Backoff::of_repeats();
        let mut made = None;
        loop {
            let refusal = match self.outgoing.part() {
                _ if is_bare => match self.holding.end(end, LastReports::default()).await {
                    Ok(ended) => return Ok(Some(ended)),
                    Err(refusal) => refusal,
                },
                Parting::First(batch) => match self.holding.append(&batch).await {
                    Ok(()) => {
                        self.outgoing.acknowledge(batch.number);
                        continue;
                    }
                    Err(refusal) => refusal,
                },
                Parting::Last(rest) => {
                    // With a number also where nothing is left: then it says whether what came before is still there.
                    let batch = Some(self.outgoing.next_number());
                    let (reports, sent) =
                        rest.as_deref().map_or((&[][..], 0), |rest| (&rest.reports, rest.sent));
                    match self.holding.end(end, LastReports { batch, reports, sent }).await {
                        Ok(ended) => return Ok(Some(ended)),
                        Err(refusal) => refusal,
                    }
                }
            };
            match refusal {
                Refusal::Gone(gone) => return Err(gone),
                // An end is accepted even then, and takes all reports along.
                Refusal::Full => self.outgoing.gather(),
                Refusal::NotReplicated => {
                    let (made, lease) = (*made.get_or_insert_with(Instant::now), self.holding.lease());
                    if made.elapsed() >= lease.duration {
                        tracing::info!(job = %lease.job, "an attempt's end is left to a primary without replicas");
                        return Ok(None);
                    }
                }
                Refusal::NoAnswer => {}
            }
            sleep(backoff.next()).await;
        }
    }

    async fn release(&self) -> Result<(), Gone> {
        let mut backoff = Backoff::of_repeats();
        loop {
            match self.holding.release().await {
                Ok(()) => return Ok(()),
                Err(Refusal::Gone(gone)) => return Err(gone),
                Err(_) => sleep(backoff.next()).await,
            }
        }
    }
}

/// Listens to the job's live channel, once the attempt has run for a moment. A heartbeat then tells what was missed.
async fn listen(store: &Store, job: JobId, nudge: &Arc<Notify>) -> Infallible {
    sleep(UNHEARD).await;
    let _subscription = store.live().subscribe(&job.into(), Arc::new(Ear(Arc::clone(nudge))));
    pending().await
}

/// What the live channel tells: an end that somebody else made brings a heartbeat at once, whose answer counts.
struct Ear(Arc<Notify>);

impl LiveSink for Ear {
    fn subscribed(&self) {
        // It may have been missed.
        self.0.notify_one();
    }

    fn entry(&self, entry: Bytes) {
        let body = Entry::parse(&entry).ok().and_then(|entry| entry.body);
        let kind = body.and_then(|body| std::str::from_utf8(&body.name).ok()?.parse().ok());
        if kind.is_some_and(|kind: EventType| kind.is_terminal() || kind == EventType::Retrying) {
            self.0.notify_one();
        }
    }

    fn lost(&self) {}
}
