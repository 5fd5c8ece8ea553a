//! What a handler knows of its attempt, and how it tells of its work.

use std::sync::Arc;
use std::time::Duration;

use model::report::Percent;
use model::{JobId, Json, Owner, Partition, Report, TaskName, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::coalesce::Limits;
use crate::outgoing::{Outgoing, output_size, too_large};
use crate::{Failure, Options};

/// One attempt, as its handler sees it. Cheap to clone; all clones are the same attempt.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    attempt: AttemptFacts,
    over: CancellationToken,
    reports: Reports,
    max_event: usize,
    aftermath: Aftermath,
}

/// What is known of an attempt from its start.
#[derive(Clone, Debug)]
pub(crate) struct AttemptFacts {
    pub(crate) job: JobId,
    pub(crate) task: TaskName,
    pub(crate) owner: Owner,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
}

/// What may outlive a handler that is dropped: programs that are being ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aftermath {
    /// The attempt's slot isn't free before these tasks are done.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when they must hurry.
    pub(crate) hurry: CancellationToken,
}

enum Reports {
    Outgoing(Arc<Outgoing>),
    Recorded(Arc<Mutex<Vec<Report>>>),
}

impl Context {
    pub(crate) fn new(
        attempt: AttemptFacts,
        outgoing: Arc<Outgoing>,
        over: CancellationToken,
        max_event: usize,
        aftermath: Aftermath,
    ) -> Self {
        Self(Arc::new(Inner { attempt, over, reports: Reports::Outgoing(outgoing), max_event, aftermath }))
    }

    /// A context for a handler's unit test: what is reported is kept in the [`Recording`], unchanged and without limit, but
    /// for the size of an output. The job is attempt 1 of 1 at the task `recorded` of the owner `anonymous`.
    pub fn recording() -> (Self, Recording) {
        let over = CancellationToken::new();
        let reports = Arc::new(Mutex::default());
        #[expect(
            clippy::expect_used,
            reason = "it keeps to the alphabet of names, and a test holds it to that"
        )]
        let task = "recorded".parse().expect("a name");
        let attempt = AttemptFacts {
            job: JobId::new(Timestamp::default(), [0; 10], Partition(0)),
            task,
            owner: Owner::anonymous(),
            attempt: 1,
            max_attempts: 1,
        };
        let aftermath = Aftermath::default();
        let recording =
            Recording { reports: Arc::clone(&reports), over: over.clone(), aftermath: aftermath.clone() };
        let inner = Inner {
            attempt,
            over,
            reports: Reports::Recorded(reports),
            max_event: Options::default().max_event,
            aftermath,
        };
        (Self(Arc::new(inner)), recording)
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.0.attempt.job
    }

    /// The kind of work.
    pub fn task(&self) -> &TaskName {
        &self.0.attempt.task
    }

    /// Whose job it is.
    pub fn owner(&self) -> &Owner {
        &self.0.attempt.owner
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt.attempt
    }

    /// How many attempts there may be, those given back by a shutdown not counted.
    pub fn max_attempts(&self) -> u32 {
        self.0.attempt.max_attempts
    }

    /// Tells how far the work is, 0 to 100 (below is 0, above is 100), and in what it is engaged: a short sentence for
    /// people; an empty one is none, a long one is cut. Never waits and never fails; may be called a million times a
    /// second: the latest wins, and the last one is always written.
    pub fn progress(&self, percent: f64, message: &str) {
        self.note(Some(Percent::clamped(percent)), message);
    }

    /// The same where nobody knows how far it is.
    pub fn progress_unknown(&self, message: &str) {
        self.note(None, message);
    }

    fn note(&self, percent: Option<Percent>, message: &str) {
        match &self.0.reports {
            Reports::Outgoing(outgoing) => outgoing.progress(percent, message),
            Reports::Recorded(reports) => {
                let message = (!message.is_empty()).then(|| message.to_owned());
                reports.lock().push(Report::Progress { progress: percent, message });
            }
        }
    }

    /// Appends one output to the job, never merged, never dropped. Waits while too much is unsent because Redis is away.
    ///
    /// [`Failure::Fatal`] if it is larger than an event may be; [`Failure::Over`] once the attempt is over.
    pub async fn output(&self, output: &Json) -> Result<(), Failure> {
        let size = output_size(output);
        if size > self.0.max_event {
            return Err(too_large("output", size, self.0.max_event));
        }
        match &self.0.reports {
            Reports::Outgoing(outgoing) => outgoing.output(output).await,
            Reports::Recorded(reports) => self.record(reports, Report::Output(output.clone())),
        }
    }

    /// Appends a piece of text, none of it dropped. Pieces that come close together are joined, and one larger than an event
    /// is split, between characters. Waits while too much is unsent because Redis is away.
    ///
    /// [`Failure::Over`] once the attempt is over.
    pub async fn text(&self, text: &str) -> Result<(), Failure> {
        match &self.0.reports {
            Reports::Outgoing(outgoing) => outgoing.text(text).await,
            Reports::Recorded(reports) => self.record(reports, Report::Text(text.to_owned())),
        }
    }

    fn record(&self, reports: &Mutex<Vec<Report>>, report: Report) -> Result<(), Failure> {
        if self.0.over.is_cancelled() {
            return Err(Failure::Over);
        }
        reports.lock().push(report);
        Ok(())
    }

    /// Cancelled when the attempt is over whatever the handler does: its job was cancelled, its time is up, its lease is
    /// lost, or the worker stops. The handler's future is dropped right after; this is for what it has spawned.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.over
    }

    pub(crate) fn aftermath(&self) -> &Aftermath {
        &self.0.aftermath
    }
}

impl Options {
    pub(crate) const fn outbox_limits(&self) -> Limits {
        Limits {
            event: self.max_event,
            buffer: self.buffer,
            progress_interval: self.progress_interval,
            text_interval: self.text_interval,
        }
    }
}

/// What a handler under test has reported. Cheap to clone; all clones are the same recording.
#[derive(Clone, Debug)]
pub struct Recording {
    reports: Arc<Mutex<Vec<Report>>>,
    over: CancellationToken,
    aftermath: Aftermath,
}

impl Recording {
    /// All reports so far, in order, none merged.
    pub fn reports(&self) -> Vec<Report> {
        self.reports.lock().clone()
    }

    /// All outputs so far.
    pub fn outputs(&self) -> Vec<Json> {
        self.pick(|report| match report {
            Report::Output(json) => Some(json.clone()),
            _ => None,
        })
    }

    /// All texts so far, joined.
    pub fn text(&self) -> String {
        self.pick(|report| match report {
            Report::Text(text) => Some(text.clone()),
            _ => None,
        })
        .concat()
    }

    /// All progress so far: percentage, if known, and message.
    pub fn progress(&self) -> Vec<(Option<f64>, Option<String>)> {
        self.pick(|report| match report {
            Report::Progress { progress, message } => Some((progress.map(Percent::get), message.clone())),
            _ => None,
        })
    }

    fn pick<T>(&self, pick: impl FnMut(&Report) -> Option<T>) -> Vec<T> {
        self.reports.lock().iter().filter_map(pick).collect()
    }

    /// Cancels the attempt, as a cancelled job would. The test drops the handler's future itself.
    pub fn cancel(&self) {
        self.over.cancel();
    }

    /// Waits for what the handler left behind when it was dropped, such as a program being ended; `limit` at most.
    /// True if it is done.
    pub async fn settle(&self, limit: Duration) -> bool {
        self.aftermath.tasks.close();
        tokio::time::timeout(limit, self.aftermath.tasks.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_recording_keeps_what_was_reported() {
        let (ctx, recording) = Context::recording();
        ctx.progress(142.0, "much");
        ctx.progress_unknown("");
        ctx.text("a").await.unwrap();
        ctx.text("b").await.unwrap();
        ctx.output(&Json::null()).await.unwrap();
        assert_eq!(recording.progress(), [(Some(100.0), Some("much".into())), (None, None)]);
        assert_eq!((recording.text(), recording.outputs()), ("ab".into(), vec![Json::null()]));
        assert_eq!(ctx.task().as_str(), "recorded");
        recording.cancel();
        assert_eq!(ctx.text("c").await, Err(Failure::Over));
        assert!(ctx.cancellation().is_cancelled());
    }

    #[tokio::test]
    async fn an_output_too_large_says_so() {
        let (ctx, _) = Context::recording();
        let Err(Failure::Fatal(error)) = ctx.output(&Json::of(&"x".repeat(70_000)).unwrap()).await else {
            panic!("too large");
        };
        assert_eq!(
            error,
            "the output is too large: 70194 bytes where an event holds at most 65536; store it elsewhere and return a link"
        );
    }
}
