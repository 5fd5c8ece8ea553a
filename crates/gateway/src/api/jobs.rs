//! Jobs: submit, poll, cancel.

use std::time::Duration;

use axum::Json as JsonResponse;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::wire::{Accepted, JobView, Seconds, SubmitRequest, urls};
use model::{Clock, Job, JobId, Json, Position, Status, SystemClock};
use serde::Deserialize;
use service::config::{JobsConfig, Scope, TaskConfig};
use store::{Idempotency, NewJob, Submitted};

use super::path::JobPath;
use super::stream;
use crate::App;
use crate::body::JsonBody;
use crate::header::{asks_for_stream, idempotency_key, none_match_names, preferred_wait};
use crate::owner::Caller;
use crate::problem::Problem;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The most attempts that a submission may ask for.
const MAX_ATTEMPTS: u32 = 100;

/// `POST /api/jobs`
pub(crate) async fn submit(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<SubmitRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    let key = idempotency_key(&headers)?;
    let (id, replayed) = create(&app, &caller, &request, key).await?;
    let mut response = match preferred_wait(&headers) {
        _ if asks_for_stream(&headers) => stream::from_beginning(app.clone(), id),
        Some(wait) => wait_for_end(&app, id, wait).await,
        None if replayed => accepted(&app, id, status_of(&app, id).await),
        None => accepted(&app, id, Status::Pending),
    };
    let (url, _) = urls(app.base_url(), id);
    if let Ok(url) = HeaderValue::from_str(&url) {
        response.headers_mut().insert(LOCATION, url);
    }
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Makes the job that `request` asks for, or finds the one that the key made; then it is true.
pub(super) async fn create(
    app: &App,
    caller: &Caller,
    request: &SubmitRequest,
    key: Option<String>,
) -> Result<(JobId, bool), Problem> {
    match app.store().submit(&new_job(app, caller, request, key)?).await? {
        Submitted::Created(id) => Ok((id, false)),
        Submitted::Replayed(id) => Ok((id, true)),
    }
}

/// Checks what the request asks for against what is declared and allowed.
fn new_job(
    app: &App,
    caller: &Caller,
    request: &SubmitRequest,
    key: Option<String>,
) -> Result<NewJob, Problem> {
    let (config, limits) = (app.config(), &app.config().jobs);
    if let Some(field) = request.unsupported() {
        return Err(Problem::Unsupported(field));
    }
    let Some(task) = config.tasks.get(&request.task) else {
        return Err(Problem::UnknownTask(request.task.to_string(), task_names(app)));
    };
    let payload = request.payload.clone().unwrap_or_else(Json::null);
    at_most("payload", payload.as_str().len(), limits.max_payload.as_usize())?;
    let metadata = match &request.metadata {
        None => None,
        Some(map) => Some(Json::of(map).map_err(|error| Problem::Malformed(error.to_string()))?),
    };
    at_most(
        "metadata",
        metadata.as_ref().map_or(0, |json| json.as_str().len()),
        limits.max_metadata.as_usize(),
    )?;
    let idempotency = match key {
        None => None,
        Some(key) => Some(Idempotency {
            key: model::fingerprint::sha256(key.as_bytes()),
            fingerprint: model::fingerprint::of(request)
                .map_err(|error| Problem::Malformed(error.to_string()))?,
        }),
    };
    let times = Times::of(request, task, limits)?;
    Ok(NewJob {
        owner: caller.owner.clone(),
        task: request.task.clone(),
        payload,
        metadata,
        max_attempts: max_attempts(request, task, limits)?,
        timeout: times.timeout,
        deadline: times.deadline,
        queue_timeout: times.queue_timeout,
        retention: times.retention,
        log_events: task.log_events.unwrap_or(limits.log_events),
        log_bytes: task.log_bytes.unwrap_or(limits.log_bytes).as_u64(),
        idempotency,
    })
}

fn task_names(app: &App) -> String {
    app.config().tasks.keys().map(model::TaskName::as_str).collect::<Vec<_>>().join(", ")
}

fn at_most(what: &str, size: usize, limit: usize) -> Result<(), Problem> {
    if size <= limit {
        return Ok(());
    }
    let says =
        format!("The {what} has {size} bytes, more than {limit}; store it elsewhere and send a link to it.");
    Err(Problem::TooLarge(says))
}

fn max_attempts(request: &SubmitRequest, task: &TaskConfig, limits: &JobsConfig) -> Result<u32, Problem> {
    let Some(asked) = request.max_attempts else {
        return Ok(task.max_attempts.unwrap_or(limits.max_attempts));
    };
    let legal = u32::try_from(asked).ok().filter(|attempts| (1..=MAX_ATTEMPTS).contains(attempts));
    legal.ok_or_else(|| Problem::OutOfRange(format!("maxAttempts is 1 to {MAX_ATTEMPTS}, not {asked}.")))
}

struct Times {
    timeout: Duration,
    deadline: Duration,
    queue_timeout: Duration,
    retention: Duration,
}

impl Times {
    fn of(request: &SubmitRequest, task: &TaskConfig, limits: &JobsConfig) -> Result<Self, Problem> {
        let within = |name: &str, asked: Option<Seconds>, most: Duration| {
            let asked = asked.map(Seconds::get).transpose();
            let asked = asked.map_err(|error| Problem::OutOfRange(format!("{name}: {error}.")))?;
            match asked {
                Some(asked) if asked > most => Err(Problem::OutOfRange(format!(
                    "{name} is at most {} seconds here, not {}.",
                    most.as_secs_f64(),
                    asked.as_secs_f64()
                ))),
                asked => Ok(asked),
            }
        };
        let deadline = within("deadline", request.deadline, limits.max_deadline)?.unwrap_or(limits.deadline);
        let timeout = within("timeout", request.timeout, limits.max_deadline)?;
        let queue_timeout = within("queueTimeout", request.queue_timeout, limits.max_deadline)?;
        let retention = within("retention", request.retention, limits.max_retention)?;
        Ok(Self {
            timeout: timeout.or(task.timeout).unwrap_or(limits.timeout),
            deadline,
            queue_timeout: queue_timeout.or(task.queue_timeout).or(limits.queue_timeout).unwrap_or(deadline),
            retention: retention.unwrap_or(limits.retention),
        })
    }
}

fn accepted(app: &App, id: JobId, status: Status) -> Response {
    let (status_url, events_url) = urls(app.base_url(), id);
    let body = Accepted { job_id: id, status, status_url, events_url };
    let mut response = (StatusCode::ACCEPTED, JsonResponse(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !status.is_terminal() {
        headers.insert(RETRY_AFTER, seconds(app.config().jobs.poll_min));
    }
    response
}

/// Waits for the end of a job that was just submitted: 200 with the job, or 202.
async fn wait_for_end(app: &App, id: JobId, wait: Duration) -> Response {
    let wait = wait.min(app.config().jobs.max_wait);
    let mut follow = app.hub().follow(id, Position::START);
    until(app, wait, follow.ended()).await;
    let mut response = match app.store().job(id).await {
        Ok(Some(job)) if job.status.is_terminal() => {
            let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (headers, JsonResponse(JobView::new(job, app.base_url()))).into_response()
        }
        Ok(Some(job)) => accepted(app, id, job.status),
        // The job is there, whatever became of Redis since: an error would have it submitted again.
        Ok(None) | Err(_) => accepted(app, id, Status::Pending),
    };
    applied(&mut response, wait);
    response
}

/// Where a job stands that was submitted before.
async fn status_of(app: &App, id: JobId) -> Status {
    // What Redis doesn't tell now was true once, and a poll will tell.
    app.store().peek(id).await.ok().flatten().map_or(Status::Pending, |peek| peek.status)
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
    let known = |job: &Job| none_match_names(&headers, &etag(job));
    let asked_for_change = headers.contains_key("if-none-match");
    if let Some(wait) = wait
        && !job.status.is_terminal()
        && (!asked_for_change || known(&job))
    {
        let mut follow = app.hub().follow(id, job.last_event.into());
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
    Ok(accepted(&app, id, Status::Cancelled))
}
