//! The calls of an attempt: workers in any language, over HTTP.

use axum::Json as JsonResponse;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use model::report::Percent;
use model::wire::{
    CompleteRequest, FailRequest, LeaseRequest, LeaseResponse, OutputItem, OutputRequest, ProgressRequest,
};
use model::{ErrorCode, JobId, Json, Report, Token};
use service::config::Scope;
use store::{End, Held, Lease, WorkError};

use super::path::JobPath;
use crate::App;
use crate::body::JsonBody;
use crate::owner::Caller;
use crate::problem::Problem;

/// The most outputs of one call.
const MOST: usize = 1000;

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
