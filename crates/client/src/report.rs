//! Reporting: what becomes of a job, told by whoever works at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::report::Percent;
use model::wire::{
    CompleteRequest, FailRequest, LeaseRequest, LeaseResponse, OutputItem, OutputRequest, ProgressRequest,
};
use model::{JobId, Json, Token};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::Client;
use crate::error::{Error, Problem};
use crate::event::Output;

/// A third of a worker's usual lease.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The shortest time between two heartbeats, and the least that one is waited for.
const LEAST: Duration = Duration::from_millis(100);
/// For how long a report is sent again while nobody answers: as long as a worker goes on without Redis.
const PATIENCE: Duration = Duration::from_mins(5);

/// Why a report was not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The job was cancelled: stop working. Nothing more is recorded.
    #[error("the job was cancelled")]
    Cancelled,
    /// The attempt isn't ours any more (no report came for a whole lease, or the job has ended): stop working. Nothing more is
    /// recorded.
    #[error("the attempt is lost: {0}")]
    Lost(Problem),
    /// The gateway refused it, or nobody answered. Where [`Error::is_retryable`], the report may have been recorded or not:
    /// don't repeat it, for the next one sends it again first.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl ReportError {
    /// Whether the attempt is over, so that working on is of no use.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// How an attempt came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The job was cancelled.
    Cancelled,
    /// The lease was lost.
    Lost,
    /// It was reported as ended.
    Reported,
}

/// Reports of one attempt at a job: an external one's, or one claimed over HTTP. Made by [`Client::report`].
///
/// Each report is numbered and sent until it is answered (for 5 minutes at most), so it is recorded once, and in order. One is
/// under way at a time; others wait. A report that was dropped before its answer, or that nobody answered, is sent
/// again before the next one.
///
/// Heartbeats go out by themselves as long as the reporter lives, the first at once: it is what starts an external job. They
/// also hear that the job was cancelled: see [`Reporter::over`]. Dropped without an end, the reporter leaves the job to its lease.
pub struct Reporter {
    inner: Arc<Inner>,
    heartbeats: JoinSet<()>,
}

struct Inner {
    client: Client,
    job: JobId,
    token: Token,
    over: watch::Sender<Option<Over>>,
    writes: Mutex<Writes>,
    /// An end is under way: that the lease is lost then may be its doing.
    is_ending: AtomicBool,
}

/// The writes of the attempt.
#[derive(Default)]
struct Writes {
    /// How many were answered.
    answered: u64,
    /// The one after them, if it was begun.
    unanswered: Option<Call>,
}

struct Call {
    name: &'static str,
    body: String,
    /// A try of it had no answer: it may be recorded.
    is_doubtful: bool,
}

impl Client {
    /// Reports of the job `id`, with the token that [`Submitted::lease_token`](crate::Submitted::lease_token) or a claim gave.
    /// There must be one reporter of an attempt: two would number their reports alike. The key needs the scope `work`.
    ///
    /// Panics outside of a Tokio runtime.
    ///
    /// ```no_run
    /// # use client::{Client, Json, Percent, Submit};
    /// # async fn render(_: u32) -> String { String::new() }
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let submit = Submit::new("report".parse()?, &serde_json::json!({ "pages": 3 }))?.external();
    /// let job = client.submit(&submit).await?;
    /// // Often in another process, which got both by a queue of its own.
    /// let report = client.report(job.id, job.lease_token.ok_or("no token")?);
    /// let work = async {
    ///     for page in 1..=3 {
    ///         report.text(&render(page).await).await?;
    ///         report.progress(Some(Percent::clamped(f64::from(page) * 100.0 / 3.0)), None).await?;
    ///     }
    ///     report.complete(&Json::of(&"done")?).await?;
    ///     Ok(())
    /// };
    /// tokio::select! {
    ///     done = work => done,
    ///     over = report.over() => {
    ///         println!("stopped: {over:?}");
    ///         Ok(())
    ///     }
    /// }
    /// # }
    /// ```
    pub fn report(&self, id: JobId, token: Token) -> Reporter {
        let inner = Inner {
            client: self.clone(),
            job: id,
            token,
            over: watch::Sender::new(None),
            writes: Mutex::default(),
            is_ending: AtomicBool::new(false),
        };
        Reporter { inner: Arc::new(inner), heartbeats: JoinSet::new() }.heartbeat_every(HEARTBEAT)
    }
}

impl Reporter {
    /// How often it gives a sign of life; at most a third of the lease is wise. Default: 10 s. At least 100 ms.
    #[must_use]
    pub fn heartbeat_every(mut self, every: Duration) -> Self {
        self.heartbeats.abort_all();
        self.heartbeats.spawn(Arc::clone(&self.inner).heartbeats(every.max(LEAST)));
        self
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.inner.job
    }

    /// How far the work is, and in what it is engaged. Each is an event of its own: some a second, not thousands.
    pub async fn progress(
        &self,
        progress: Option<Percent>,
        message: Option<&str>,
    ) -> Result<(), ReportError> {
        let message = message.map(str::to_owned);
        let progress = progress.map(Percent::get);
        self.write("progress", |lease_token, batch| ProgressRequest { lease_token, batch, progress, message })
            .await
    }

    /// A piece of the result, any JSON. None is ever dropped.
    pub async fn output(&self, output: &Json) -> Result<(), ReportError> {
        self.outputs(&[Output::Json(output.clone())]).await
    }

    /// A piece of text, such as a few words of a language model's answer.
    pub async fn text(&self, text: &str) -> Result<(), ReportError> {
        self.outputs(&[Output::Text(text.to_owned())]).await
    }

    /// Several at once, 1 to 1,000: all or none.
    pub async fn outputs(&self, outputs: &[Output]) -> Result<(), ReportError> {
        let outputs = Some(outputs.iter().map(item).collect());
        self.write("output", |lease_token, batch| OutputRequest {
            lease_token,
            batch,
            output: None,
            text: None,
            outputs,
        })
        .await
    }

    /// A sign of life now, beside those that go out by themselves.
    pub async fn heartbeat(&self) -> Result<(), ReportError> {
        self.inner.repeat("heartbeat", &self.inner.alone()?).await.0
    }

    /// The job has ended well. Refused as `batch-gap` if Redis has lost a report that it had answered.
    pub async fn complete(&self, result: &Json) -> Result<(), ReportError> {
        let result = Some(result.clone());
        self.end("complete", |lease_token, batch| CompleteRequest { lease_token, batch, result }).await
    }

    /// The job has failed, for good.
    pub async fn fail(&self, error: &str) -> Result<(), ReportError> {
        self.end_badly(error, false).await
    }

    /// The attempt has failed, and another one may help. There is none for an external job: it has failed for good.
    pub async fn fail_attempt(&self, error: &str) -> Result<(), ReportError> {
        self.end_badly(error, true).await
    }

    /// `retry` is the wire's: whether another attempt may help.
    async fn end_badly(&self, error: &str, retry: bool) -> Result<(), ReportError> {
        let error = error.to_owned();
        self.end("fail", |lease_token, _| FailRequest { lease_token, batch: None, error, retry }).await
    }

    /// Gives the attempt back, uncounted, to be started by another worker; or says of a cancelled one that the work has stopped.
    /// An external job that was not cancelled can't be given back.
    pub async fn release(&self) -> Result<(), ReportError> {
        let mut writes = self.inner.writes.lock().await;
        let released = self.inner.end("release", &self.inner.alone()?).await;
        if !matches!(released, Err(ReportError::Failed(_))) {
            // What another attempt will do anew needs no answer any more.
            writes.unanswered = None;
        }
        if let Err(ReportError::Cancelled) = released { Ok(()) } else { released }
    }

    /// Waits until the attempt is over, and says how. A cancellation is heard by the next heartbeat or report.
    pub async fn over(&self) -> Over {
        let mut over = self.inner.over.subscribe();
        match over.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(over)) => *over,
            // The sender is ours, and it is asked for something.
            _ => Over::Lost,
        }
    }

    /// The same, if it is over as far as is known.
    pub fn is_over(&self) -> Option<Over> {
        *self.inner.over.borrow()
    }

    /// A numbered write, after the one before it that had no answer.
    async fn write<B: Serialize>(
        &self,
        name: &'static str,
        body: impl FnOnce(Token, Option<u64>) -> B,
    ) -> Result<(), ReportError> {
        let mut writes = self.inner.writes.lock().await;
        self.inner.settle(&mut writes).await?;
        let body = self.inner.body(&body(self.inner.token, Some(writes.answered + 1)))?;
        // From here on it may be recorded, even if this future is dropped.
        writes.unanswered = Some(Call { name, body, is_doubtful: false });
        self.inner.settle(&mut writes).await
    }

    async fn end<B: Serialize>(
        &self,
        name: &'static str,
        body: impl FnOnce(Token, Option<u64>) -> B,
    ) -> Result<(), ReportError> {
        let mut writes = self.inner.writes.lock().await;
        self.inner.settle(&mut writes).await?;
        let body = self.inner.body(&body(self.inner.token, Some(writes.answered + 1)))?;
        self.inner.end(name, &body).await
    }
}

impl Inner {
    /// Sends the write that has no answer yet, if there is one.
    async fn settle(&self, writes: &mut Writes) -> Result<(), ReportError> {
        let Some(call) = &mut writes.unanswered else { return Ok(()) };
        let Call { name, body, is_doubtful } = call;
        let was_doubtful = std::mem::replace(is_doubtful, true);
        let (told, is_repeated) = self.repeat(name, body).await;
        match told {
            Ok(()) => writes.answered += 1,
            // Whether it was recorded is not known.
            Err(ReportError::Failed(error)) if !is_refusal(&error, was_doubtful || is_repeated) => {
                return Err(error.into());
            }
            Err(error) => {
                writes.unanswered = None;
                return Err(error);
            }
        }
        writes.unanswered = None;
        Ok(())
    }

    /// Sends a call until it is answered; what came of it, and whether it was sent more than once.
    async fn repeat(&self, name: &str, body: &str) -> (Result<(), ReportError>, bool) {
        let mut is_repeated = false;
        let request = |before: u32| {
            is_repeated = before > 0;
            self.request(name, body)
        };
        let sent = self.client.send_safely_for(PATIENCE, Duration::ZERO, request).await;
        (self.judge(sent.map(|(response, _)| response)).await, is_repeated)
    }

    /// The same with a call that ends the attempt.
    async fn end(&self, name: &str, body: &str) -> Result<(), ReportError> {
        let ending = Ending::begin(&self.is_ending);
        let (ended, _) = self.repeat(name, body).await;
        match &ended {
            Ok(()) => drop(self.over.send_replace(Some(Over::Reported))),
            Err(ReportError::Lost(_)) => self.lose(),
            Err(_) => {}
        }
        drop(ending);
        ended
    }

    /// The lease is lost, unless the attempt was over before.
    fn lose(&self) {
        self.over.send_if_modified(|over| {
            let is_news = over.is_none();
            over.get_or_insert(Over::Lost);
            is_news
        });
    }

    async fn judge(&self, answer: Result<reqwest::Response, Error>) -> Result<(), ReportError> {
        let answer: Result<LeaseResponse, Error> = match answer {
            Ok(response) => self.client.read(response).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(LeaseResponse { cancelled: false, .. }) => Ok(()),
            Ok(_) => {
                self.over.send_replace(Some(Over::Cancelled));
                Err(ReportError::Cancelled)
            }
            Err(Error::Refused(problem)) if matches!(problem.name(), "lease-lost" | "not-found") => {
                if !self.is_ending.load(Ordering::SeqCst) {
                    self.lose();
                }
                Err(ReportError::Lost(problem))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn heartbeats(self: Arc<Self>, every: Duration) {
        let mut over = self.over.subscribe();
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = over.wait_for(Option::is_some) => return,
            }
            if self.is_ending.load(Ordering::SeqCst) {
                continue;
            }
            let Ok(body) = self.alone() else { return };
            // One that hangs must not hold up the next; what it heard is in `over`, and what fails will be told by a report.
            let beat = async {
                self.judge(self.client.send(self.request("heartbeat", &body), Duration::ZERO).await).await
            };
            drop(timeout(every.max(Duration::from_secs(1)), beat).await);
        }
    }

    fn alone(&self) -> Result<String, Error> {
        self.body(&LeaseRequest { lease_token: self.token, batch: None })
    }

    fn body(&self, body: &impl Serialize) -> Result<String, Error> {
        serde_json::to_string(body).map_err(|error| self.client.unreadable(error.to_string()))
    }

    fn request(&self, name: &str, body: &str) -> RequestBuilder {
        let path = format!("/api/work/{}/{name}", self.job);
        self.client
            .request(Method::POST, &path)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_owned())
    }
}

/// Whether it says of a report that it was not recorded. Of a doubtful one only what the gateway says of its content does: it would
/// have said that of the first try too, while a load balancer, or a key that is withdrawn, knows nothing of that one.
fn is_refusal(error: &Error, is_doubtful: bool) -> bool {
    error.problem().is_some_and(|problem| {
        let is_of_content = matches!(problem.status, 400 | 413 | 415 | 422) && problem.is_jobcasts();
        !problem.is_retryable() && (is_of_content || !is_doubtful)
    })
}

fn item(output: &Output) -> OutputItem {
    match output {
        Output::Text(text) => OutputItem { output: None, text: Some(text.clone()) },
        Output::Json(json) => OutputItem { output: Some(json.clone()), text: None },
    }
}

/// That an end is under way; until it is answered or dropped.
struct Ending<'a>(&'a AtomicBool);

impl<'a> Ending<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("job", &self.inner.job).finish_non_exhaustive()
    }
}
