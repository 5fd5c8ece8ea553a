//! The JSON of the HTTP API. Apart from the inner types on purpose: these are fixed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::Percent;
use crate::{Cursor, ErrorCode, Job, JobId, Json, Status, TaskName, Timestamp, Token};

/// A duration in seconds, with fractions. Any number can be sent; [`Seconds::get`] knows which of them is a duration.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Seconds(f64);

/// A number that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a duration is a number of seconds above 0 and at most {MAX_SECONDS}, not {0}")]
pub struct BadSeconds(f64);

const MAX_SECONDS: f64 = 315_360_000.0;

impl Seconds {
    /// The duration: more than 0, at least one millisecond then, and at most 10 years.
    pub fn get(self) -> Result<Duration, BadSeconds> {
        if self.0 > 0.0 && self.0 <= MAX_SECONDS {
            Ok(Duration::from_secs_f64(self.0).max(Duration::from_millis(1)))
        } else {
            Err(BadSeconds(self.0))
        }
    }
}

/// The body of `POST /api/jobs`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubmitRequest {
    /// The kind of work; one that configuration declares.
    pub task: TaskName,
    /// What the handler gets; `null` if absent.
    pub payload: Option<Json>,
    /// The longest that one attempt may run.
    pub timeout: Option<Seconds>,
    /// The longest from submission to end.
    pub deadline: Option<Seconds>,
    /// The longest from submission to the first start.
    pub queue_timeout: Option<Seconds>,
    /// How long the ended job is kept.
    pub retention: Option<Seconds>,
    /// How many attempts there may be.
    pub max_attempts: Option<i64>,
    /// A JSON object, kept and shown with the job.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Not served yet.
    pub webhook: Option<Json>,
    /// Not served yet.
    pub delay: Option<Json>,
    /// Not served yet.
    pub priority: Option<Json>,
    /// Not served yet.
    pub external: Option<Json>,
}

impl SubmitRequest {
    /// A request for `task` with `payload`, everything else left to the defaults.
    pub fn new(task: TaskName, payload: Json) -> Self {
        Self {
            task,
            payload: Some(payload),
            timeout: None,
            deadline: None,
            queue_timeout: None,
            retention: None,
            max_attempts: None,
            metadata: None,
            webhook: None,
            delay: None,
            priority: None,
            external: None,
        }
    }

    /// The first field present that this version knows and doesn't serve.
    pub fn unsupported(&self) -> Option<&'static str> {
        [
            ("webhook", &self.webhook),
            ("delay", &self.delay),
            ("priority", &self.priority),
            ("external", &self.external),
        ]
        .into_iter()
        .find_map(|(name, value)| value.is_some().then_some(name))
    }
}

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

/// How urgent a job is among its owner's jobs. Only `normal` is served yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Priority {
    /// The default.
    Normal,
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
            priority: Priority::Normal,
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

/// The body of `POST /api/work/claim`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimRequest {
    /// The tasks that the worker can do, at least one.
    pub tasks: Vec<TaskName>,
}

/// The 200 of a claim.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimResponse {
    /// The claimed job.
    pub job_id: JobId,
    /// Its task.
    pub task: TaskName,
    /// What it is about.
    pub payload: Json,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// How many attempts there may be.
    pub max_attempts: u32,
    /// The fence: every later call of this attempt carries it.
    pub lease_token: Token,
    /// Until when the lease lasts unless renewed.
    pub lease_expires_at: Timestamp,
}

/// The 200 of every later call of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseResponse {
    /// Until when the lease lasts unless renewed.
    pub lease_expires_at: Timestamp,
    /// The job was cancelled: stop working; nothing more is recorded.
    pub cancelled: bool,
}

/// The body of `heartbeat` and `release`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseRequest {
    /// The attempt's token.
    pub lease_token: Token,
    /// Taken as with every call; these two write nothing that a repeat could write twice.
    pub batch: Option<u64>,
}

/// The body of `progress`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgressRequest {
    /// The attempt's token.
    pub lease_token: Token,
    /// The number of this write within the attempt, from 1, so that a repeat is known as one.
    pub batch: Option<u64>,
    /// 0 to 100, if known.
    pub progress: Option<f64>,
    /// A short sentence for people.
    pub message: Option<String>,
}

/// One output: exactly one of the two.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputItem {
    /// Any JSON.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// A piece of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The body of `output`: exactly one of `output`, `text` and `outputs`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputRequest {
    /// The attempt's token.
    pub lease_token: Token,
    /// The number of this write within the attempt, from 1, so that a repeat is known as one.
    pub batch: Option<u64>,
    /// Any JSON.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// A piece of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Several at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<OutputItem>>,
}

/// The body of `complete`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompleteRequest {
    /// The attempt's token.
    pub lease_token: Token,
    /// The number of this write within the attempt, from 1, so that a repeat is known as one.
    pub batch: Option<u64>,
    /// The result; `null` if absent.
    pub result: Option<Json>,
}

/// The body of `fail`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailRequest {
    /// The attempt's token.
    pub lease_token: Token,
    /// The number of this write within the attempt, from 1, so that a repeat is known as one.
    pub batch: Option<u64>,
    /// What went wrong: a sentence.
    pub error: String,
    /// Whether another attempt may help.
    #[serde(default)]
    pub retry: bool,
}

/// A present `null` is a value: an output may be `null`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_says_what_is_wrong_with_it() {
        for (body, says) in [
            ("{}", "missing field `task`"),
            (r#"{"task":"a b"}"#, "a name is 1 to 64"),
            (r#"{"task":1}"#, "expected a string"),
            (r#"{"task":"a","timeout":"1"}"#, "expected f64"),
            (r#"{"task":"a","colour":1}"#, "unknown field `colour`"),
            (r#"{"task":"a","task":"b"}"#, "duplicate field `task`"),
            (r#"{"task":"a","metadata":[1]}"#, "expected a map"),
            (r#"{"task":"a","maxAttempts":1.5}"#, "expected i64"),
        ] {
            let error = serde_json::from_str::<SubmitRequest>(body).unwrap_err().to_string();
            assert!(error.contains(says), "{body}: {error}");
        }
    }

    #[test]
    fn fields_not_served_are_named() {
        let request: SubmitRequest = serde_json::from_str(r#"{"task":"a","delay":5}"#).unwrap();
        assert_eq!(request.unsupported(), Some("delay"));
        let request: SubmitRequest =
            serde_json::from_str(r#"{"task":"a","payload":null,"timeout":0.5}"#).unwrap();
        assert_eq!(request.unsupported(), None);
        assert_eq!(request.timeout.unwrap().get(), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn a_duration_is_above_zero_and_at_most_ten_years() {
        let ms = Duration::from_millis;
        for (number, duration) in
            [(1.5, Some(ms(1500))), (1e-9, Some(ms(1))), (315_360_000.0, Some(ms(315_360_000_000)))]
        {
            assert_eq!(Seconds(number).get().ok(), duration, "{number}");
        }
        for bad in [0.0, -1.0, 315_360_000.5, f64::MAX] {
            assert_eq!(Seconds(bad).get(), Err(BadSeconds(bad)));
        }
    }

    #[test]
    fn an_output_may_be_null() {
        let item: OutputItem = serde_json::from_str(r#"{"output":null}"#).unwrap();
        assert!(item.output.unwrap().is_null());
        assert!(serde_json::from_str::<OutputItem>("{}").unwrap().output.is_none());
    }
}
