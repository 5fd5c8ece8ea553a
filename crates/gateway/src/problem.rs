//! Errors as RFC 9457 problem documents: the one place where an error becomes a status.

use axum::extract::rejection::QueryRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::TaskName;
use model::webhook::TargetError;
use serde::Serialize;
use service::config::Config;
use store::{CancelError, DeleteError, ReplayError, StoreError, SubmitError, WorkError};

use crate::hub::NoPage;

/// What went wrong, as the client hears of it. `type` is `urn:jobcast:<name>`; the sentence says what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    BadCursor(String),
    #[error("The header {0} was sent more than once; send it once.")]
    DoubledHeader(HeaderName),
    #[error("Send an API key as `Authorization: Bearer <key>`.")]
    Unauthenticated,
    #[error("The stream token is not valid; get a new one from POST /api/tokens.")]
    InvalidToken,
    #[error("The stream token has expired; get a new one from POST /api/tokens.")]
    ExpiredToken,
    #[error("The stream token is for another stream; get one for this from POST /api/tokens.")]
    WrongToken,
    #[error("This node has no key to sign tokens with: set auth.token_keys in its configuration.")]
    TokensOff,
    #[error(
        "This node has no default task: set gateway.default_task in its configuration, or call POST /api/jobs."
    )]
    NoDefaultTask,
    #[error("The key's scopes don't include `{0}`; use a key that has it.")]
    MissingScope(&'static str),
    #[error("There is no such thing here, or it has expired, or it belongs to somebody else.")]
    NotFound,
    #[error("This path doesn't know the method; the Allow header lists those that it knows.")]
    MethodNotAllowed,
    #[error("The job has ended already ({0}); nothing can be changed.")]
    JobEnded(&'static str),
    #[error("The job has not ended ({0}); cancel it first, or wait for its end.")]
    JobLiving(&'static str),
    #[error(
        "The job has completed, and only a job that failed or was cancelled is tried again; submit another one."
    )]
    JobCompleted,
    #[error("The receiver has taken this delivery; there is nothing to replay.")]
    Delivered,
    #[error(
        "The lease is lost: another attempt or the sweep has replaced the token, or the attempt has ended. Stop this attempt."
    )]
    LeaseLost,
    #[error("The batch number skips one: send the batch before it first.")]
    BatchGap,
    #[error("The Idempotency-Key made job {0}, which has expired; use a new key to submit again.")]
    JobExpired(String),
    #[error("The body stopped arriving; send it in one go.")]
    SlowBody,
    #[error("{0}")]
    TooLarge(String),
    #[error("Send the body as `Content-Type: application/json`, not compressed.")]
    UnsupportedMediaType,
    #[error("There is no task `{0}`; the tasks are: {1}.")]
    UnknownTask(String, String),
    #[error("{0}")]
    OutOfRange(String),
    #[error("The webhook's URL is refused: {0}.")]
    WebhookRefused(TargetError),
    #[error(
        "The webhook has no secret to sign with: send `webhook.secret`, or have webhooks.owners.{0}.secrets set in the \
         configuration."
    )]
    NoWebhookSecret(String),
    #[error(
        "This node has no key to keep a webhook's secret with: set webhooks.encryption_keys in its configuration, or send the \
         webhook without a secret and have its owner's set there."
    )]
    WebhookSecretsOff,
    #[error("The Idempotency-Key was used with another request, which made job {0}; use a new key.")]
    IdempotencyMismatch(String),
    #[error("Redis doesn't answer; nothing was changed that you weren't told of. Try again.")]
    Unavailable,
    #[error("Redis is full; nothing was stored. Try again later.")]
    StoreFull,
    #[error(
        "Redis has it, but too few of its replicas do, so that it may still be lost. Send the same again: a submission is found \
         by its Idempotency-Key, and an attempt's end by its leaseToken; a submission without a key makes another job."
    )]
    NotReplicated,
    #[error("Something broke here; the log of the node says what.")]
    Internal,
}

const RELEASE_EXTERNAL: &str = "An external job can't be given back, since no worker would take it. Send fail, and submit it anew if it is to be tried \
                                again.";

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
}

impl Problem {
    /// `task` isn't one of those that are declared.
    pub(crate) fn unknown_task(task: &TaskName, config: &Config) -> Self {
        let known: Vec<_> = config.tasks.keys().map(TaskName::as_str).collect();
        Self::UnknownTask(task.to_string(), known.join(", "))
    }

    /// Status, stable name and title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Malformed(_) => (S::BAD_REQUEST, "malformed", "Malformed request"),
            Self::BadCursor(_) => (S::BAD_REQUEST, "bad-cursor", "Not a cursor"),
            Self::DoubledHeader(_) => (S::BAD_REQUEST, "doubled-header", "Doubled header"),
            Self::Unauthenticated => (S::UNAUTHORIZED, "unauthenticated", "No valid key"),
            Self::InvalidToken => (S::UNAUTHORIZED, "invalid-token", "Not a valid token"),
            Self::ExpiredToken => (S::UNAUTHORIZED, "expired-token", "The token has expired"),
            Self::WrongToken => (S::FORBIDDEN, "wrong-token", "The token is for something else"),
            Self::TokensOff => (S::UNPROCESSABLE_ENTITY, "tokens-off", "No stream tokens here"),
            Self::NoDefaultTask => (S::UNPROCESSABLE_ENTITY, "no-default-task", "No default task"),
            Self::MissingScope(_) => (S::FORBIDDEN, "missing-scope", "Missing scope"),
            Self::NotFound => (S::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::JobEnded(_) => (S::CONFLICT, "job-ended", "The job has ended"),
            Self::JobLiving(_) => (S::CONFLICT, "job-living", "The job has not ended"),
            Self::JobCompleted => (S::CONFLICT, "job-completed", "The job has completed"),
            Self::Delivered => (S::CONFLICT, "delivered", "It was delivered"),
            Self::LeaseLost => (S::CONFLICT, "lease-lost", "The lease is lost"),
            Self::BatchGap => (S::CONFLICT, "batch-gap", "A batch is missing"),
            Self::JobExpired(_) => (S::GONE, "job-expired", "The job has expired"),
            Self::SlowBody => (S::REQUEST_TIMEOUT, "slow-body", "The body stopped arriving"),
            Self::TooLarge(_) => (S::PAYLOAD_TOO_LARGE, "too-large", "Too large"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::UnknownTask(..) => (S::UNPROCESSABLE_ENTITY, "unknown-task", "Unknown task"),
            Self::OutOfRange(_) => (S::UNPROCESSABLE_ENTITY, "out-of-range", "Out of range"),
            Self::WebhookRefused(_) => (S::UNPROCESSABLE_ENTITY, "webhook-refused", "No webhook there"),
            Self::NoWebhookSecret(_) => {
                (S::UNPROCESSABLE_ENTITY, "no-webhook-secret", "No secret for the webhook")
            }
            Self::WebhookSecretsOff => {
                (S::UNPROCESSABLE_ENTITY, "webhook-secrets-off", "No secrets of webhooks here")
            }
            Self::IdempotencyMismatch(_) => {
                (S::UNPROCESSABLE_ENTITY, "idempotency-mismatch", "Idempotency-Key used before")
            }
            Self::Unavailable => (S::SERVICE_UNAVAILABLE, "unavailable", "Redis is away"),
            Self::StoreFull => (S::SERVICE_UNAVAILABLE, "store-full", "Redis is full"),
            Self::NotReplicated => (S::SERVICE_UNAVAILABLE, "not-replicated", "Not replicated yet"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title) = self.kind();
        let document = Document {
            r#type: format!("urn:jobcast:{name}"),
            title,
            status: status.as_u16(),
            detail: self.to_string(),
        };
        let mut response = (status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::UNAUTHORIZED => {
                drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("2")));
            }
            _ => {}
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => {
                tracing::debug!(cause, "a request had no answer from Redis");
                Self::Unavailable
            }
            StoreError::Full => Self::StoreFull,
            StoreError::NotReplicated { have, want } => {
                tracing::debug!(have, want, "a change is not replicated");
                Self::NotReplicated
            }
            StoreError::Refused(_) | StoreError::Unreadable(_) => {
                tracing::error!(%error, "a request failed");
                Self::Internal
            }
        }
    }
}

impl From<NoPage> for Problem {
    fn from(error: NoPage) -> Self {
        match error {
            NoPage::Store(error) => error.into(),
            NoPage::Forgotten => Self::NotFound,
            NoPage::Busy | NoPage::Changed => Self::Unavailable,
            NoPage::Broken(_) | NoPage::Snapshot(_) => {
                tracing::error!(%error, "a request failed");
                Self::Internal
            }
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Mismatch(job) => Self::IdempotencyMismatch(job.to_string()),
            SubmitError::Expired(job) => Self::JobExpired(job.to_string()),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Absent => Self::NotFound,
            CancelError::Terminal(status) => Self::JobEnded(status.as_str()),
            CancelError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteError> for Problem {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Absent => Self::NotFound,
            DeleteError::Living(status) => Self::JobLiving(status.as_str()),
            DeleteError::Store(error) => error.into(),
        }
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Absent => Self::NotFound,
            ReplayError::Delivered => Self::Delivered,
            ReplayError::Store(error) => error.into(),
        }
    }
}

impl From<WorkError> for Problem {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::BatchGap => Self::BatchGap,
            WorkError::External => Self::OutOfRange(RELEASE_EXTERNAL.into()),
            // The store starts an attempt by itself: nobody hears of one that has yet to start.
            WorkError::LeaseLost | WorkError::NotStarted => Self::LeaseLost,
            WorkError::Store(error) => error.into(),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::Malformed(format!("The query can't be read: {}", rejection.body_text()))
    }
}
