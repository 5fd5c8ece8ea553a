//! Submitting.

use std::time::Duration;

use model::webhook::Secret;
use model::wire::{Accepted, JobView, WebhookRequest};
use model::{JobId, Json, Priority, Status, TaskName, Token};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde::Serialize;

use crate::client::Client;
use crate::error::Error;
use crate::poll::whole;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// A submission to be.
///
/// ```
/// use std::time::Duration;
/// use client::Submit;
///
/// let submit = Submit::new("report".parse()?, &serde_json::json!({ "month": "2026-11" }))?
///     .timeout(Duration::from_secs(600))
///     .max_attempts(5)
///     .idempotency_key("report-2026-11");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is submitted before `Client::submit`"]
pub struct Submit {
    body: Body,
    idempotency_key: Option<String>,
    wait: Option<Duration>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    task: TaskName,
    payload: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_timeout: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_on_disconnect: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<WebhookRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<External>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
enum External {
    Is(bool),
    With { lease: f64 },
}

impl Submit {
    /// A job of `task`, whose handler gets `payload`. The error is the payload's: one that has no JSON form.
    pub fn new(task: TaskName, payload: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = Body {
            task,
            payload: Json::of(payload)?,
            timeout: None,
            deadline: None,
            queue_timeout: None,
            delay: None,
            priority: None,
            retention: None,
            max_attempts: None,
            cancel_on_disconnect: None,
            metadata: None,
            webhook: None,
            external: None,
        };
        Ok(Self { body, idempotency_key: None, wait: None })
    }

    /// The longest that one attempt may run.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.body.timeout = Some(limit.as_secs_f64());
        self
    }

    /// The longest from submission to end.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.body.deadline = Some(limit.as_secs_f64());
        self
    }

    /// The longest from submission to the first start.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.body.queue_timeout = Some(limit.as_secs_f64());
        self
    }

    /// How long no attempt may start yet; the queue timeout runs from then on.
    pub fn delay(mut self, time: Duration) -> Self {
        self.body.delay = Some(time.as_secs_f64());
        self
    }

    /// Which of the owner's jobs of this task go first.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.body.priority = Some(priority);
        self
    }

    /// How long the ended job is kept.
    pub fn retention(mut self, time: Duration) -> Self {
        self.body.retention = Some(time.as_secs_f64());
        self
    }

    /// How many attempts there may be.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.body.max_attempts = Some(attempts);
        self
    }

    /// Cancels the job when nobody has followed it, or asked how it stands, for so long; from 5 s. Without it, a client that
    /// goes away cancels nothing.
    pub fn cancel_on_disconnect(mut self, time: Duration) -> Self {
        self.body.cancel_on_disconnect = Some(time.as_secs_f64());
        self
    }

    /// What is kept and shown with the job; the gateway takes an object alone.
    pub fn metadata(mut self, metadata: Json) -> Self {
        self.body.metadata = Some(metadata);
        self
    }

    /// Who is told of the job's end, signed with the secrets that the gateway's configuration has for the key's owner.
    pub fn webhook(mut self, url: impl Into<String>) -> Self {
        self.body.webhook = Some(WebhookRequest { url: url.into(), secret: None });
        self
    }

    /// Who is told of the job's end, signed with `secret`.
    pub fn signed_webhook(mut self, url: impl Into<String>, secret: Secret) -> Self {
        self.body.webhook = Some(WebhookRequest { url: url.into(), secret: Some(secret) });
        self
    }

    /// An external job: no worker of Jobcast takes it. Whoever has [`Submitted::lease_token`] does the work and reports of it with
    /// [`Client::report`]; the job is pending until then. It has one attempt, and [`Submit::wait`] doesn't wait for it.
    pub fn external(mut self) -> Self {
        self.body.external = Some(External::Is(true));
        self
    }

    /// The same, with how long may pass between two reports before the job fails as lost, 1 s to 1 h; else the gateway's
    /// `jobs.external_lease`, 2 min by default.
    pub fn external_lease(mut self, lease: Duration) -> Self {
        self.body.external = Some(External::With { lease: lease.as_secs_f64() });
        self
    }

    /// By what the gateway knows this submission again: one with the same key and the same content finds the same job. 1 to 256
    /// visible ASCII characters and spaces. Without it, each call of [`Client::submit`] makes one of its own.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Waits up to so long for the job's end (whole seconds, rounded up; the gateway has a limit of its own, 1 min by
    /// default): see [`Submitted::job`].
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}

/// A job that was accepted: it is in Redis, and runs whether or not anybody asks for it again.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Submitted {
    /// The job's id.
    pub id: JobId,
    /// Where it stood.
    pub status: Status,
    /// Where to poll: a path, or a URL where the gateway knows its own.
    pub status_url: String,
    /// Where to stream: likewise.
    pub events_url: String,
    /// The idempotency key was known: this is the job that the first submission made.
    pub replayed: bool,
    /// An external job's: what every report of it carries, so for whoever does the work.
    pub lease_token: Option<Token>,
    /// The ended job, if [`Submit::wait`] was asked for and it ended in time.
    pub job: Option<Box<JobView>>,
}

impl Client {
    /// Submits a job. Sent again, with the same idempotency key, if no answer comes: however many answers are lost, there is
    /// one job.
    pub async fn submit(&self, submit: &Submit) -> Result<Submitted, Error> {
        let body = Json::of(&submit.body).map_err(|error| self.unreadable(error.to_string()))?;
        let key = match &submit.idempotency_key {
            Some(key) => quoted(key),
            None => random_key(),
        };
        // A key that no header can carry is left for the gateway to refuse, as an empty one.
        let key = HeaderValue::from_str(&key).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        let wait = submit.wait.unwrap_or_default();
        let sent = self.send_safely(wait, |_| {
            let request = self
                .request(Method::POST, "/api/jobs")
                .header(CONTENT_TYPE, "application/json")
                .header(IDEMPOTENCY_KEY, key.clone())
                .body(body.as_str().to_owned());
            if wait.is_zero() { request } else { request.header(PREFER, format!("wait={}", whole(wait))) }
        });
        let (response, _) = sent.await?;
        self.submitted(response).await
    }

    /// Reads the answer to a submission.
    pub(crate) async fn submitted(&self, response: Response) -> Result<Submitted, Error> {
        let replayed = response.headers().contains_key(REPLAYED);
        if response.status() == 200 {
            let job: Box<JobView> = self.read(response).await?;
            let (status_url, events_url) = (job.status_url.clone(), job.events_url.clone());
            return Ok(Submitted {
                id: job.id,
                status: job.status,
                status_url,
                events_url,
                replayed,
                lease_token: None,
                job: Some(job),
            });
        }
        let Accepted { job_id, status, status_url, events_url, lease_token } = self.read(response).await?;
        Ok(Submitted { id: job_id, status, status_url, events_url, replayed, lease_token, job: None })
    }
}

/// A key that nobody else has.
pub(crate) fn random_key() -> String {
    format!("\"{:032x}\"", rand::random::<u128>())
}

/// A string of a structured field (RFC 8941, section 3.3.3).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_sent() {
        let submit = Submit::new("a".parse().unwrap(), &[1]).unwrap();
        assert_eq!(Json::of(&submit.body).unwrap().as_str(), r#"{"task":"a","payload":[1]}"#);
        let submit = submit.timeout(Duration::from_millis(1500)).max_attempts(2);
        let body = Json::of(&submit.body).unwrap();
        assert_eq!(body.as_str(), r#"{"task":"a","payload":[1],"timeout":1.5,"maxAttempts":2}"#);
        // What the gateway reads is what the client writes.
        assert!(serde_json::from_str::<model::wire::SubmitRequest>(body.as_str()).is_ok());
        let signed = submit.clone().signed_webhook("https://a.example/", "hush".parse().unwrap());
        let body = Json::of(&signed.body).unwrap();
        let read: model::wire::SubmitRequest = serde_json::from_str(body.as_str()).unwrap();
        assert_eq!(read.webhook, signed.body.webhook);
        assert!(!format!("{signed:?}").contains("hush"));
        for (submit, external) in [
            (submit.clone().external(), "true"),
            (submit.external_lease(Duration::from_secs(5)), r#"{"lease":5.0}"#),
        ] {
            let body = Json::of(&submit.body).unwrap();
            assert!(body.as_str().ends_with(&format!(r#","external":{external}}}"#)), "{body:?}");
            let read: model::wire::SubmitRequest = serde_json::from_str(body.as_str()).unwrap();
            assert!(read.is_external());
        }
    }

    #[test]
    fn keys_are_quoted() {
        assert_eq!(quoted(r#"a "b" \"#), r#""a \"b\" \\""#);
    }
}
