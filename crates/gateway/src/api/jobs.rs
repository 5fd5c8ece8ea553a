//! Jobs: submit, poll, cancel.

use std::time::Duration;

use axum::Json as JsonResponse;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::wire::{Accepted, JobView, SubmitRequest, urls};
use model::{Clock, Job, JobId, Position, Status, SystemClock, Token};
use serde::Deserialize;
use service::config::Scope;
use store::{NewJob, Submitted};

use super::external;
use super::new_job::new_job;
use super::path::JobPath;
use super::stream;
use super::webhook::webhooks;
use crate::App;
use crate::body::JsonBody;
use crate::header::{
    IDEMPOTENCY_REPLAYED, PREFERENCE_APPLIED, asks_for_stream, idempotency_key, none_match_names,
    preferred_wait,
};
use crate::hub::Follow;
use crate::owner::Caller;
use crate::problem::Problem;

/// `POST /api/jobs`
pub(crate) async fn submit(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<SubmitRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    let key = idempotency_key(&headers)?;
    external::answerable(&request, &headers)?;
    let job = new_job(app.config(), &caller, &request, key)?;
    let job = NewJob { webhooks: webhooks(&app, &caller.owner, request.webhook.as_ref()).await?, ..job };
    let (id, replayed) = create(&app, &job).await?;
    let token = external::token(&app, &job, id, replayed).await?;
    Ok(submitted(&app, &headers, id, replayed, job.cancel_on_disconnect, token).await)
}

/// The answer to a submission that made the job `id`, or found it.
pub(super) async fn submitted(
    app: &App,
    headers: &HeaderMap,
    id: JobId,
    replayed: bool,
    cancel_on_disconnect: Option<Duration>,
    lease_token: Option<Token>,
) -> Response {
    let mut response = if asks_for_stream(headers) {
        stream::from_beginning(app.clone(), id, cancel_on_disconnect)
    } else {
        let (status, last) = if replayed { now(app, id).await } else { (Status::Pending, Position::START) };
        match preferred_wait(headers) {
            // An external job is answered at once: nobody can end it before its token is known.
            Some(wait) if lease_token.is_none() => {
                let follow = app.hub().follow(id, last).keeping(cancel_on_disconnect);
                wait_for_end(app, id, follow, wait).await
            }
            _ => accepted(app, id, status, lease_token),
        }
    };
    let (url, _) = urls(app.base_url(), id);
    if let Ok(url) = HeaderValue::from_str(&url) {
        response.headers_mut().insert(LOCATION, url);
    }
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Makes `job`, or finds the one that its key made; then it is true.
pub(super) async fn create(app: &App, job: &NewJob) -> Result<(JobId, bool), Problem> {
    match app.store().submit(job).await? {
        Submitted::Created(id) => Ok((id, false)),
        Submitted::Replayed(id) => Ok((id, true)),
    }
}

fn accepted(app: &App, id: JobId, status: Status, lease_token: Option<Token>) -> Response {
    let (status_url, events_url) = urls(app.base_url(), id);
    let body = Accepted { job_id: id, status, status_url, events_url, lease_token };
    let mut response = (StatusCode::ACCEPTED, JsonResponse(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !status.is_terminal() {
        headers.insert(RETRY_AFTER, seconds(app.config().jobs.poll_min));
    }
    response
}

/// Waits for the end of a job: 200 with the job, or 202.
async fn wait_for_end(app: &App, id: JobId, mut follow: Follow, wait: Duration) -> Response {
    let wait = wait.min(app.config().jobs.max_wait);
    until(app, wait, follow.ended()).await;
    let mut response = match app.store().job(id).await {
        Ok(Some(job)) if job.status.is_terminal() => {
            let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (headers, JsonResponse(JobView::new(job, app.base_url()))).into_response()
        }
        Ok(Some(job)) => accepted(app, id, job.status, None),
        // The job is there, whatever became of Redis since: an error would have it submitted again.
        Ok(None) | Err(_) => accepted(app, id, Status::Pending, None),
    };
    applied(&mut response, wait);
    response
}

/// Where a job stands that was submitted before, and its newest event.
async fn now(app: &App, id: JobId) -> (Status, Position) {
    match app.store().peek(id).await {
        Ok(Some(peek)) => (peek.status, peek.last.into()),
        // What Redis doesn't tell now was true once, and a poll will tell.
        _ => (Status::Pending, Position::START),
    }
}

/// Whether `what` happened within `wait`; a node that stops waits no longer.
async fn until(app: &App, wait: Duration, what: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = what => true,
        () = tokio::time::sleep(wait) => false,
        () = app.shutdown().soft().cancelled() => false,
    }
}

fn applied(response: &mut Response, wait: Duration) {
    if let Ok(value) = HeaderValue::from_str(&format!("wait={}", wait.as_secs())) {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
}

/// The query of a poll.
#[derive(Deserialize)]
pub(crate) struct PollQuery {
    /// Seconds to wait for a change.
    wait: Option<u64>,
}

/// `GET /api/jobs/{id}`
pub(crate) async fn poll(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
    query: Result<Query<PollQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must(Scope::Read)?;
    let Query(query) = query?;
    let bounded = |wait: Duration| wait.min(app.config().jobs.max_wait);
    let asked = query.wait.map(Duration::from_secs).map(bounded);
    let preferred = preferred_wait(&headers).map(bounded).filter(|_| asked.is_none());
    let wait = asked.or(preferred);

    let mut job = find(&app, &caller, id).await?;
    app.hub().looked_at(id, job.status, job.cancel_on_disconnect).await;
    let known = |job: &Job| none_match_names(&headers, &etag(job));
    let asked_for_change = headers.contains_key(IF_NONE_MATCH);
    if let Some(wait) = wait
        && !job.status.is_terminal()
        && (!asked_for_change || known(&job))
    {
        let mut follow = app.hub().follow(id, job.last_event.into()).keeping(job.cancel_on_disconnect);
        if until(&app, wait, follow.changed()).await {
            job = find(&app, &caller, id).await?;
        }
    }

    let mut response = if known(&job) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(&app, &job, response.headers_mut());
        response
    } else {
        let mut headers = HeaderMap::new();
        describe(&app, &job, &mut headers);
        (headers, JsonResponse(JobView::new(job, app.base_url()))).into_response()
    };
    if let Some(wait) = preferred {
        applied(&mut response, wait);
    }
    Ok(response)
}

async fn find(app: &App, caller: &Caller, id: JobId) -> Result<Job, Problem> {
    let job = app.store().job(id).await?;
    job.filter(|job| job.owner == caller.owner).ok_or(Problem::NotFound)
}

fn etag(job: &Job) -> String {
    format!("\"{}\"", job.last_event)
}

fn describe(app: &App, job: &Job, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&etag(job)) {
        headers.insert(ETAG, value);
    }
    // A cache may keep it, but must ask each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if !job.status.is_terminal() {
        let limits = &app.config().jobs;
        let age = SystemClock.now().since(job.created_at);
        headers.insert(
            RETRY_AFTER,
            seconds((age / 10).clamp(limits.poll_min, limits.poll_max.max(limits.poll_min))),
        );
    }
}

/// `Retry-After` in whole seconds, at least one.
fn seconds(duration: Duration) -> HeaderValue {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    HeaderValue::from(whole.max(1))
}

/// `POST /api/jobs/{id}/cancel`
pub(crate) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    app.store().cancel(id, &caller.owner, "the job was cancelled by its owner").await?;
    Ok(accepted(&app, id, Status::Cancelled, None))
}
