//! What can be done with a job that has ended: try it again as a new one, or delete it.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use model::wire::{ExternalLease, ExternalRequest, SubmitRequest};
use model::{JobId, Status};
use service::config::{JobsConfig, Scope};
use store::{Idempotency, NewJob, Past};

use super::external;
use super::jobs;
use super::new_job::{MAX_ATTEMPTS, new_job};
use super::path::JobPath;
use crate::App;
use crate::header::idempotency_key;
use crate::owner::Caller;
use crate::problem::Problem;

/// `POST /api/jobs/{id}/retry`
pub(crate) async fn retry(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    let key = idempotency_key(&headers)?;
    // An ended job stays as it is, so there is nothing that this and the submission would have to do at once.
    let past = app.store().past(id, &caller.owner).await?.ok_or(Problem::NotFound)?;
    match past.status {
        Status::Failed | Status::Cancelled => {}
        Status::Completed => return Err(Problem::JobCompleted),
        living @ (Status::Pending | Status::Processing) => return Err(Problem::JobLiving(living.as_str())),
    }
    let webhooks = past.webhooks.clone();
    let request = again(past, &app.config().jobs);
    external::answerable(&request, &headers)?;
    let idempotency = key.map(|key| Idempotency {
        key: model::fingerprint::sha256(key.as_bytes()),
        fingerprint: fingerprint(id),
    });
    let job = NewJob { idempotency, webhooks, ..new_job(app.config(), &caller, &request, None)? };
    let (id, replayed) = jobs::create(&app, &job).await?;
    let token = external::token(&app, &job, id, replayed).await?;
    Ok(jobs::submitted(&app, &headers, id, replayed, job.cancel_on_disconnect, token).await)
}

/// A submission like the job's own, at once, and within what may be asked for now.
fn again(past: Past, limits: &JobsConfig) -> SubmitRequest {
    let within = |asked: Duration, most: Duration| Some(asked.min(most).into());
    SubmitRequest {
        timeout: within(past.timeout, limits.max_deadline),
        deadline: within(past.deadline, limits.max_deadline),
        queue_timeout: within(past.queue_timeout, limits.max_deadline),
        retention: within(past.retention, limits.max_retention),
        max_attempts: Some(past.max_attempts.min(MAX_ATTEMPTS).into()),
        metadata: past.metadata.and_then(|metadata| serde_json::from_str(metadata.as_str()).ok()),
        priority: Some(past.priority),
        cancel_on_disconnect: past.cancel_on_disconnect.and_then(|time| within(time, limits.max_deadline)),
        external: past.external.map(|lease| ExternalRequest::With(ExternalLease { lease: lease.into() })),
        ..SubmitRequest::new(past.task, past.payload)
    }
}

/// A key stands for the retry of this job, and for nothing else.
fn fingerprint(id: JobId) -> String {
    model::fingerprint::sha256(format!("retry {id}").as_bytes())
}

/// `DELETE /api/jobs/{id}`
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    app.store().delete(id, &caller.owner).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
