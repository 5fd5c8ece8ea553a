//! submit: a new job, or the one that its Idempotency-Key made.

use std::sync::LazyLock;
use std::time::Duration;

use model::{Clock, JobId, Json, Owner, Partition, Priority, RunLimits, SystemClock, TaskName, Token};

use super::deliveries::{Webhook, targets};
use super::reply::{Reply, unreadable};
use super::{ALL, millis, random_word};
use crate::connect::{Acknowledged, Request};
use crate::keys::{Keys, keys_of};
use crate::script::Script;
use crate::{Store, StoreError};

static SUBMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("submit.lua"), ALL));

/// Answers that say that there is a job.
const TOLD: &[&str] = &["created", "replayed"];

/// A job to be made.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Whose it is.
    pub owner: Owner,
    /// The kind of work.
    pub task: TaskName,
    /// What the handler gets.
    pub payload: Json,
    /// What the submitter attached.
    pub metadata: Option<Json>,
    /// How urgent it is.
    pub priority: Priority,
    /// How long from submission on it may not start; below the deadline.
    pub delay: Duration,
    /// How many attempts there may be, from 1.
    pub max_attempts: u32,
    /// How long an attempt after one that failed waits.
    pub retry: Retry,
    /// How many jobs of its task may run at once: they live in no more partitions than that.
    pub limits: RunLimits,
    /// It is cancelled when nobody has followed it for so long, from submission on. `None`: it goes on.
    pub cancel_on_disconnect: Option<Duration>,
    /// The longest that one attempt may run.
    pub timeout: Duration,
    /// The longest from submission to end.
    pub deadline: Duration,
    /// The longest from submission to the first start.
    pub queue_timeout: Duration,
    /// How long the ended job is kept.
    pub retention: Duration,
    /// The most events that its log keeps.
    pub log_events: u32,
    /// The most bytes that its log keeps.
    pub log_bytes: u64,
    /// By what the same submission is known again.
    pub idempotency: Option<Idempotency>,
    /// No worker claims it: whoever has the token reports what becomes of it. It has one attempt, whatever `max_attempts` says,
    /// and no `delay`.
    pub external: Option<External>,
    /// Who is told of its end, at most [`MAX_TARGETS`](model::webhook::MAX_TARGETS).
    pub webhooks: Vec<Webhook>,
}

impl NewJob {
    /// A plain job of `task` for `owner`: its payload is `null`, it has three attempts, one right after the other, and a day for each of
    /// its times; otherwise by the defaults of `[jobs]`.
    pub fn new(owner: Owner, task: TaskName) -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            owner,
            task,
            payload: Json::null(),
            metadata: None,
            priority: Priority::Normal,
            delay: Duration::ZERO,
            max_attempts: 3,
            retry: Retry::default(),
            limits: RunLimits::default(),
            cancel_on_disconnect: None,
            timeout: DAY,
            deadline: DAY,
            queue_timeout: DAY,
            retention: DAY,
            log_events: 10_000,
            log_bytes: 4 << 20,
            idempotency: None,
            external: None,
            webhooks: Vec::new(),
        }
    }
}

/// Who works at an external job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct External {
    /// What every report carries.
    pub token: Token,
    /// How long the attempt lives from each report on.
    pub lease: Duration,
}

/// How long the next attempt waits: `first` after the first failure, twice as long after each other one, up to `longest`; at random
/// from half of that on. No `first` is no wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retry {
    /// After the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

/// By what a submission is known again.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The SHA-256 of the Idempotency-Key, in hex.
    pub key: String,
    /// The fingerprint of the request: the same key with another one is a mistake.
    pub fingerprint: String,
}

/// The answer to a submission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submitted {
    /// The job was made.
    Created(JobId),
    /// The Idempotency-Key made this job before.
    Replayed(JobId),
}

/// Why a submission was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// The Idempotency-Key was used with another request.
    #[error("the Idempotency-Key was used with another request, which made job {0}")]
    Mismatch(JobId),
    /// The job that the Idempotency-Key made is no longer kept.
    #[error("the Idempotency-Key made job {0}, which has expired")]
    Expired(JobId),
    /// Redis had no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes `job`, in a random partition, or in the one that its owner and Idempotency-Key name. While that partition's slot
    /// moves, a job without a key goes to another one. `NotReplicated` leaves the job where it is made: with the same
    /// Idempotency-Key it is found.
    pub async fn submit(&self, job: &NewJob) -> Result<Submitted, SubmitError> {
        let count = job.limits.homes(self.open_partition_count().await?);
        let Some(idempotency) = &job.idempotency else {
            let first = rand::random_range(0..count);
            for offset in 0..count {
                let partition = Partition((first + offset) % count);
                let (id, call) = self.submission(job, partition)?;
                // Another partition only after a definite refusal: a lost reply may mean that the job is there.
                if let Some(answer) = self.router().acknowledge_or_moving(call.0, &call.1, TOLD).await? {
                    return read(answer).inspect(|_| tracing::debug!(%id, "submitted"));
                }
            }
            let (_, call) = self.submission(job, Partition(first))?;
            return read(self.router().acknowledge(call.0, &call.1, TOLD).await?);
        };
        let hash = model::fingerprint::sha256(format!("{}:{}", job.owner, idempotency.key).as_bytes());
        let number = u64::from_str_radix(&hash[..8], 16).unwrap_or_default() % u64::from(count);
        let partition = Partition(u16::try_from(number).unwrap_or_default());
        let (_, call) = self.submission(job, partition)?;
        read(self.router().acknowledge(call.0, &call.1, TOLD).await?)
    }

    /// The token of an external job; `None` for any other one, and where there is no such job.
    pub async fn external_token(&self, job: JobId) -> Result<Option<Token>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Ok(None) };
        let mut cmd = redis::cmd("HGET");
        cmd.arg(keys.job(job)).arg("token");
        match self.router().call(keys.slot, &Request::Command(&cmd)).await? {
            redis::Value::Nil => Ok(None),
            value => Reply::new(redis::Value::Array(vec![value]))?.parse().map(Some),
        }
    }

    fn submission(
        &self,
        job: &NewJob,
        partition: Partition,
    ) -> Result<(JobId, (crate::partition::Slot, crate::script::ScriptCall)), StoreError> {
        let keys: Keys = keys_of(self.prefix(), partition)?;
        let id = JobId::new(SystemClock.now(), rand::random(), partition);
        let (key, fingerprint) = match &job.idempotency {
            Some(idempotency) => (idempotency.key.as_str(), idempotency.fingerprint.as_str()),
            None => ("", ""),
        };
        let call = SUBMIT
            .call(keys.still())
            .arg(self.now_word())
            .arg(random_word())
            .arg(id)
            .arg(&job.owner)
            .arg(&job.task)
            .arg(&job.payload)
            .arg(job.metadata.as_ref().map(Json::as_str).unwrap_or_default())
            .arg(job.external.map_or(job.max_attempts, |_| 1))
            .arg(millis(job.timeout))
            .arg(millis(job.deadline))
            .arg(millis(job.queue_timeout))
            .arg(millis(job.retention))
            .arg(job.log_events)
            .arg(job.log_bytes)
            .arg(key)
            .arg(fingerprint)
            .arg(job.priority.rank())
            .arg(job.delay.as_millis())
            .arg(job.retry.first.as_millis())
            .arg(millis(job.retry.longest))
            .arg(job.external.map(|external| external.token.to_string()).unwrap_or_default())
            .arg(job.external.map_or(0, |external| millis(external.lease)))
            .arg(job.cancel_on_disconnect.map_or(0, millis))
            .arg(targets(&job.webhooks));
        Ok((id, (keys.slot, call)))
    }
}

fn read(answer: Acknowledged) -> Result<Submitted, SubmitError> {
    answer.lasts?;
    let mut reply = Reply::new(answer.value)?;
    let word = reply.text()?;
    let id = reply.parse()?;
    match word.as_str() {
        "created" => Ok(Submitted::Created(id)),
        "replayed" => Ok(Submitted::Replayed(id)),
        "mismatch" => Err(SubmitError::Mismatch(id)),
        "expired" => Err(SubmitError::Expired(id)),
        _ => Err(unreadable(&word).into()),
    }
}
