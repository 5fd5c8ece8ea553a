//! A submission.

use serde::{Deserialize, Serialize};

use super::Seconds;
use crate::webhook::Secret;
use crate::{Json, Priority, TaskName};

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
    /// Who is told when it ends. Without it: the owner's endpoints, where configuration has some.
    pub webhook: Option<WebhookRequest>,
    /// How long from submission on it may not start.
    pub delay: Option<Seconds>,
    /// How urgent it is among its owner's jobs of the task.
    pub priority: Option<Priority>,
    /// It is cancelled when nobody has followed it for so long.
    pub cancel_on_disconnect: Option<Seconds>,
    /// No worker claims it: the submitter reports what becomes of it.
    pub external: Option<ExternalRequest>,
}

/// `"external": true`, or `{"lease": seconds}`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged, expecting = "expected true, false, or {\"lease\": seconds}")]
pub enum ExternalRequest {
    /// Whether it is; with the lease that configuration says.
    Is(bool),
    /// It is, with this lease.
    With(ExternalLease),
}

/// How an external job is reported of.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalLease {
    /// How long the job lives from each report on.
    pub lease: Seconds,
}

/// Where a job's end is told.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookRequest {
    /// The receiver's URL.
    pub url: String,
    /// What deliveries are signed with; without it, the secrets that configuration has for the owner.
    pub secret: Option<Secret>,
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
            cancel_on_disconnect: None,
            external: None,
        }
    }

    /// Whether the job is external.
    pub fn is_external(&self) -> bool {
        !matches!(self.external, None | Some(ExternalRequest::Is(false)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            (r#"{"task":"a","external":{"leese":3}}"#, "expected true, false, or"),
            (r#"{"task":"a","priority":"urgent"}"#, "expected one of `high`, `normal`, `low`"),
        ] {
            let error = serde_json::from_str::<SubmitRequest>(body).unwrap_err().to_string();
            assert!(error.contains(says), "{body}: {error}");
        }
    }

    #[test]
    fn a_job_is_external_if_it_says_so() {
        for (external, is) in [
            ("", false),
            (r#","external":null"#, false),
            (r#","external":false"#, false),
            (r#","external":true"#, true),
            (r#","external":{"lease":2.5}"#, true),
        ] {
            let request: SubmitRequest =
                serde_json::from_str(&format!(r#"{{"task":"a"{external}}}"#)).unwrap();
            assert_eq!(request.is_external(), is, "{external}");
        }
    }

    #[test]
    fn a_webhook_has_a_url_and_maybe_a_secret() {
        let of = |text: &str| {
            serde_json::from_str::<SubmitRequest>(&format!(r#"{{"task":"a","webhook":{text}}}"#))
        };
        let request = of(r#"{"url":"https://x/","secret":"hush"}"#).unwrap();
        assert!(request.webhook.as_ref().unwrap().secret.is_some());
        assert!(!format!("{request:?}").contains("hush"), "{request:?}");
        assert!(of(r#"{"url":"https://x/"}"#).unwrap().webhook.unwrap().secret.is_none());
        for bad in [r"{}", r#""https://x/""#, r#"{"url":"x","secrets":[]}"#, r#"{"url":"x","secret":""}"#] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_may_have_a_fraction() {
        let request: SubmitRequest =
            serde_json::from_str(r#"{"task":"a","payload":null,"timeout":0.5}"#).unwrap();
        assert_eq!(request.timeout.unwrap().get(), Ok(Duration::from_millis(500)));
    }
}
