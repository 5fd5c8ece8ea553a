//! past: what an ended job was submitted with, for one more like it.

use std::time::Duration;

use model::{JobId, Json, Owner, Priority, Status, TaskName};

use super::deliveries::{Webhook, read_targets};
use super::reply::{Reply, unreadable};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::{Store, StoreError};

/// A job's submission, as far as it can be told from the job.
#[derive(Clone, PartialEq, Debug)]
pub struct Past {
    /// Where the job stands.
    pub status: Status,
    /// The kind of work.
    pub task: TaskName,
    /// What the handler got.
    pub payload: Json,
    /// What the submitter attached.
    pub metadata: Option<Json>,
    /// How urgent it was.
    pub priority: Priority,
    /// How many attempts there could be.
    pub max_attempts: u32,
    /// The longest that one attempt could run.
    pub timeout: Duration,
    /// The longest from submission to end.
    pub deadline: Duration,
    /// The longest from submission, or from the end of its delay, to the first start.
    pub queue_timeout: Duration,
    /// How long the ended job is kept.
    pub retention: Duration,
    /// It was cancelled if nobody followed it for so long.
    pub cancel_on_disconnect: Option<Duration>,
    /// It was an external one, with this lease.
    pub external: Option<Duration>,
    /// Who was to be told of its end.
    pub webhooks: Vec<Webhook>,
}

const FIELDS: &[&str] = &[
    "owner",
    "status",
    "task",
    "payload",
    "metadata",
    "priority",
    "maxAttempts",
    "timeout",
    "createdAt",
    "deadline",
    "queueLimit",
    "delay",
    "retention",
    "disconnectMs",
    "external",
    "webhooks",
];

impl Store {
    /// What `job` of `owner` was submitted with; `None` if there is no such job. Nothing of it changes while the job is there.
    pub async fn past(&self, job: JobId, owner: &Owner) -> Result<Option<Past>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Ok(None) };
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(keys.job(job)).arg(FIELDS);
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Command(&cmd)).await?)?;
        let Some(found) = reply.text_if_any()? else { return Ok(None) };
        if found != owner.as_str() {
            return Ok(None);
        }
        let json = |text: String| Json::parse(&text).map_err(|error| unreadable(&error));
        let (status, task) = (reply.parse()?, reply.parse()?);
        let payload = json(reply.text()?)?;
        let metadata = reply.text_if_any()?.map(json).transpose()?;
        let priority = Priority::of_rank(reply.parse()?).unwrap_or_default();
        let (max_attempts, timeout) = (reply.parse()?, Duration::from_millis(reply.parse()?));
        let (created, deadline, queue_limit) = (reply.time()?, reply.time()?, reply.time()?);
        let delay = reply.millis_if_any()?.unwrap_or_default();
        // Where only the deadline ended the wait, there was no other limit.
        let queued = if queue_limit == deadline { created } else { created.plus(delay) };
        Ok(Some(Past {
            status,
            task,
            payload,
            metadata,
            priority,
            max_attempts,
            timeout,
            deadline: deadline.since(created),
            queue_timeout: queue_limit.since(queued),
            retention: Duration::from_millis(reply.parse()?),
            cancel_on_disconnect: reply.millis_if_any()?,
            external: reply.millis_if_any()?,
            webhooks: read_targets(&reply.text_if_any()?.unwrap_or_default())?,
        }))
    }
}
