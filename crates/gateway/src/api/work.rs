//! The worker API: workers in any language, over HTTP.

use std::time::Duration;

use axum::Json as JsonResponse;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::report::Percent;
use model::wire::{
    ClaimRequest, ClaimResponse, CompleteRequest, FailRequest, LeaseRequest, LeaseResponse, OutputItem,
    OutputRequest, ProgressRequest,
};
use model::{ErrorCode, JobId, Json, Partition, Report, TaskName, Token};
use serde::Deserialize;
use service::config::Scope;
use store::{Claimed, End, Held, Lease, StoreError, WorkError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::path::JobPath;
use crate::App;
use crate::body::JsonBody;
use crate::carrier::guarded::Guarded;
use crate::owner::Caller;
use crate::problem::Problem;

/// The most tasks of one claim, and the most outputs of one call.
const MOST: usize = 1000;

/// The query of a claim.
#[derive(Deserialize)]
pub(crate) struct ClaimQuery {
    /// Seconds to wait for a job.
    wait: Option<u64>,
}

/// `POST /api/work/claim`
pub(crate) async fn claim(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<ClaimQuery>, QueryRejection>,
    JsonBody(request): JsonBody<ClaimRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Work)?;
    let Query(query) = query?;
    if request.tasks.is_empty() || request.tasks.len() > MOST {
        return Err(Problem::OutOfRange(format!("tasks lists 1 to {MOST} tasks.")));
    }
    if let Some(unknown) = request.tasks.iter().find(|task| !app.config().tasks.contains_key(task)) {
        let known = app.config().tasks.keys().map(TaskName::as_str).collect::<Vec<_>>().join(", ");
        return Err(Problem::UnknownTask(unknown.to_string(), known));
    }
    let wait = Duration::from_secs(query.wait.unwrap_or(0)).min(app.config().jobs.max_wait);
    let Some(claimed) = next_job(&app, request.tasks, wait).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    Ok(answer(&app, claimed))
}

/// Claims in a task of its own: a client that goes away drops the handler, and what was claimed meanwhile is given back.
async fn next_job(app: &App, tasks: Vec<TaskName>, wait: Duration) -> Result<Option<Claimed>, Problem> {
    let (sender, receiver) = oneshot::channel();
    app.shutdown().tasks().spawn({
        let app = app.clone();
        async move { claim_for(&app, &tasks, wait, sender).await }
    });
    receiver.await.map_err(|_| Problem::Internal)?.map_err(Problem::from)
}

type Answer = oneshot::Sender<Result<Option<Claimed>, StoreError>>;

/// Never dropped half-way: a claim that is on its way must be answered or given back.
async fn claim_for(app: &App, tasks: &[TaskName], wait: Duration, mut client: Answer) {
    let found = look_or_wait(app, tasks, wait, &mut client).await;
    if let Err(Ok(Some(claimed))) = client.send(found) {
        give_back(app, &claimed.lease).await;
    }
}

async fn look_or_wait(
    app: &App,
    tasks: &[TaskName],
    wait: Duration,
    client: &mut Answer,
) -> Result<Option<Claimed>, StoreError> {
    let deadline = Instant::now() + wait;
    loop {
        // In line before the look, so that a ring in between is heard.
        let waiting = if wait.is_zero() { None } else { Some(app.bells().wait(tasks).await?) };
        if let Some(claimed) = look_everywhere(app, tasks).await? {
            return Ok(Some(claimed));
        }
        let Some(mut waiting) = waiting else { return Ok(None) };
        let rung = tokio::select! {
            biased;
            () = client.closed() => None,
            () = app.shutdown().soft().cancelled() => None,
            rung = timeout_at(deadline, waiting.rung()) => rung.ok().flatten(),
        };
        let Some(partition) = rung else { return Ok(None) };
        if let Some(claimed) = claim_in(app, partition, tasks).await? {
            return Ok(Some(claimed));
        }
    }
}

async fn look_everywhere(app: &App, tasks: &[TaskName]) -> Result<Option<Claimed>, StoreError> {
    let mut partitions: Vec<_> = app.store().partitions().await?.collect();
    let first = rand::random_range(0..partitions.len());
    partitions.rotate_left(first);
    for partition in partitions {
        if let Some(claimed) = claim_in(app, partition, tasks).await? {
            return Ok(Some(claimed));
        }
    }
    Ok(None)
}

async fn claim_in(
    app: &App,
    partition: Partition,
    tasks: &[TaskName],
) -> Result<Option<Claimed>, StoreError> {
    let token = Token::from_random(rand::random());
    app.store().claim(partition, tasks, token, app.config().jobs.lease).await
}

async fn give_back(app: &App, lease: &Lease) {
    if let Err(error) = app.store().release(lease).await {
        tracing::info!(job = %lease.job, %error, "a claim whose client has gone is left to its lease");
    }
}

/// The 200; a client that goes before it was written has claimed nothing.
fn answer(app: &App, claimed: Claimed) -> Response {
    let lease = claimed.lease;
    let body = ClaimResponse {
        job_id: lease.job,
        task: claimed.task,
        payload: claimed.payload,
        attempt: claimed.attempt,
        max_attempts: claimed.max_attempts,
        lease_token: lease.token,
        lease_expires_at: claimed.expires_at,
    };
    let app = app.clone();
    let tasks = app.shutdown().tasks().clone();
    Guarded::wrap(JsonResponse(body).into_response(), move || {
        tasks.spawn(async move { give_back(&app, &lease).await });
    })
}

fn lease(app: &App, job: JobId, token: Token) -> Lease {
    Lease { job, token, duration: app.config().jobs.lease }
}

/// The answer to a call of an attempt. Where there is no such job there is no lease to lose: that is 404.
async fn answer_of(app: &App, id: JobId, done: Result<Held, WorkError>) -> Result<Response, Problem> {
    match done {
        Ok(Held { expires_at, cancelled }) => {
            Ok(JsonResponse(LeaseResponse { lease_expires_at: expires_at, cancelled }).into_response())
        }
        Err(WorkError::LeaseLost) if app.store().peek(id).await?.is_none() => Err(Problem::NotFound),
        Err(error) => Err(error.into()),
    }
}

/// `POST /api/work/{id}/heartbeat`
pub(crate) async fn heartbeat(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
    JsonBody(request): JsonBody<LeaseRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Work)?;
    counted(request.batch)?;
    let renewed = app.store().renew(&lease(&app, id, request.lease_token)).await;
    answer_of(&app, id, renewed).await
}

/// `POST /api/work/{id}/progress`
pub(crate) async fn progress(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
    JsonBody(request): JsonBody<ProgressRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Work)?;
    let ProgressRequest { lease_token, batch, progress, message } = request;
    let progress = progress.map(Percent::try_from).transpose();
    let progress = progress.map_err(|error| Problem::OutOfRange(format!("{error}.")))?;
    append(&app, id, lease_token, batch, vec![Report::Progress { progress, message }]).await
}

/// `POST /api/work/{id}/output`
pub(crate) async fn output(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
    JsonBody(request): JsonBody<OutputRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Work)?;
    let OutputRequest { lease_token, batch, output, text, outputs } = request;
    let items = match (outputs, &output, &text) {
        (Some(items), None, None) if (1..=MOST).contains(&items.len()) => items,
        (None, _, _) => vec![OutputItem { output, text }],
        _ => return Err(one_of_three()),
    };
    let reports = items.into_iter().map(report).collect::<Result<Vec<_>, _>>()?;
    append(&app, id, lease_token, batch, reports).await
}

fn report(item: OutputItem) -> Result<Report, Problem> {
    match (item.output, item.text) {
        (Some(json), None) => Ok(Report::Output(json)),
        (None, Some(text)) => Ok(Report::Text(text)),
        _ => Err(one_of_three()),
    }
}

fn one_of_three() -> Problem {
    Problem::Malformed(format!("Send exactly one of output, text and outputs (1 to {MOST} of them)."))
}

async fn append(
    app: &App,
    id: JobId,
    token: Token,
    batch: Option<u64>,
    reports: Vec<Report>,
) -> Result<Response, Problem> {
    let batch = counted(batch)?;
    let limit = app.config().jobs.max_event.as_usize();
    if let Some(size) = reports.iter().map(Report::event_size).find(|&size| size > limit) {
        return Err(Problem::TooLarge(format!(
            "An event of {size} bytes is larger than {limit}; split it, or store the data elsewhere and send a link to it."
        )));
    }
    let appended = app.store().append(&lease(app, id, token), batch, &reports).await;
    answer_of(app, id, appended).await
}

fn counted(batch: Option<u64>) -> Result<Option<u64>, Problem> {
    if batch == Some(0) { Err(Problem::OutOfRange("batch counts from 1.".into())) } else { Ok(batch) }
}

/// `POST /api/work/{id}/complete`
pub(crate) async fn complete(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
    JsonBody(request): JsonBody<CompleteRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Work)?;
    let result = request.result.unwrap_or_else(Json::null);
    let limit = app.config().jobs.max_result.as_usize();
    if result.as_str().len() > limit {
        return Err(Problem::TooLarge(format!(
            "The result has {} bytes, more than {limit}; store it elsewhere and return a link to it.",
            result.as_str().len()
        )));
    }
    end(&app, id, request.lease_token, request.batch, End::Completed(result)).await
}

/// `POST /api/work/{id}/fail`
pub(crate) async fn fail(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
    JsonBody(request): JsonBody<FailRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Work)?;
    let FailRequest { lease_token, batch, error, retry } = request;
    let code = ErrorCode::Handler;
    let how = if retry { End::Retry { error, code } } else { End::Failed { error, code } };
    end(&app, id, lease_token, batch, how).await
}

async fn end(app: &App, id: JobId, token: Token, batch: Option<u64>, how: End) -> Result<Response, Problem> {
    let ended = app.store().end(&lease(app, id, token), &how, counted(batch)?, &[]).await;
    answer_of(app, id, ended.map(|ended| ended.held)).await
}

/// `POST /api/work/{id}/release`
pub(crate) async fn release(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
    JsonBody(request): JsonBody<LeaseRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Work)?;
    counted(request.batch)?;
    let released = app.store().release(&lease(&app, id, request.lease_token)).await;
    answer_of(&app, id, released).await
}
