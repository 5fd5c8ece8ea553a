//! A job as it is told.

use serde::{Deserialize, Serialize};

use crate::report::Percent;
use crate::{Cursor, ErrorCode, Job, JobId, Json, Priority, Status, TaskName, Timestamp, Token};

/// The 202 of a submission and of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The job's id.
    pub job_id: JobId,
    /// Where the job stands.
    pub status: Status,
    /// Where to poll.
    pub status_url: String,
    /// Where to stream.
    pub events_url: String,
    /// An external job's: what every report carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<Token>,
}

/// A job as polled, and as a `snapshot` carries it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is the one of `model::Job`, by its wire name")]
pub struct JobView {
    pub id: JobId,
    pub task: TaskName,
    pub status: Status,
    pub progress: Option<Percent>,
    pub message: Option<String>,
    pub result: Option<Json>,
    pub error: Option<String>,
    pub error_code: Option<ErrorCode>,
    pub attempt: u32,
    pub max_attempts: u32,
    pub priority: Priority,
    pub metadata: Option<Json>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub status_url: String,
    pub events_url: String,
    pub last_event_id: Cursor,
}

impl JobView {
    /// The view of `job`, with URLs that begin with `base`: the public URL, or nothing for paths.
    pub fn new(job: Job, base: &str) -> Self {
        let (status_url, events_url) = urls(base, job.id);
        Self {
            id: job.id,
            task: job.task,
            status: job.status,
            progress: job.progress,
            message: job.message,
            result: job.result,
            error: job.error,
            error_code: job.error_code,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            priority: job.priority,
            metadata: job.metadata,
            created_at: job.created_at,
            updated_at: job.updated_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            expires_at: job.expires_at,
            status_url,
            events_url,
            last_event_id: job.last_event,
        }
    }
}

/// A page of an owner's jobs, the newest first.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobList {
    /// The jobs, each as polled.
    pub jobs: Vec<JobView>,
    /// Where the next page begins: what to send as `after`. `None` when there are no more.
    pub next: Option<JobId>,
}

/// A job's `statusUrl` and `eventsUrl`.
pub fn urls(base: &str, id: JobId) -> (String, String) {
    (format!("{base}/api/jobs/{id}"), format!("{base}/api/jobs/{id}/events"))
}

/// Why a snapshot was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SnapshotReason {
    /// The client asked for one.
    Now,
    /// The log no longer reaches back to the cursor.
    Trimmed,
    /// The history that the cursor knows is not Redis' history.
    Rewound,
}

/// The data of a feed's `snapshot` frame: what was known of the owner's jobs may be out of date, and is to be listed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "type", rename = "snapshot")]
pub struct FeedSnapshot {
    /// Why.
    pub reason: SnapshotReason,
}

/// The data of a `snapshot` frame.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", tag = "type", rename = "snapshot")]
pub struct Snapshot {
    /// Whose state.
    pub job_id: JobId,
    /// Why.
    pub reason: SnapshotReason,
    /// The job as polled.
    pub job: JobView,
}
