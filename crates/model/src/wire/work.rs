//! The worker API.

use serde::{Deserialize, Serialize};

use crate::{JobId, Json, TaskName, Timestamp, Token};

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
    fn an_output_may_be_null() {
        let item: OutputItem = serde_json::from_str(r#"{"output":null}"#).unwrap();
        assert!(item.output.unwrap().is_null());
        assert!(serde_json::from_str::<OutputItem>("{}").unwrap().output.is_none());
    }
}
