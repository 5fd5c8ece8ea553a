//! The stream of one job.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{JobId, Owner, Position};
use store::{Peek, Plant, StoreError, planted};

use super::page::page;
use super::{Look, Start, StartQuery, open, respond};
use crate::App;
use crate::api::path::JobPath;
use crate::carrier::stream::{Opened, Source, Words, as_it_is};
use crate::header::prefers_json;
use crate::hub::snapshot_frame;
use crate::owner::Viewer;
use crate::problem::Problem;

/// `GET /api/jobs/{id}/events`
pub(crate) async fn events(
    State(app): State<App>,
    viewer: Viewer,
    JobPath(id): JobPath,
    query: Result<Query<StartQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    viewer.may_stream(&[id])?;
    let Query(query) = query?;
    let start = Start::of(&headers, &query, Position::START, str::parse)?;
    if prefers_json(&headers) {
        return page(&app, &viewer.owner, id, start).await;
    }
    stream_of(app, viewer.owner, id, start, as_it_is).await
}

/// The stream of a job that was just submitted, from its beginning.
pub(crate) fn from_beginning(app: App, id: JobId, cancel_on_disconnect: Option<Duration>) -> Response {
    let follow = app.hub().follow(id, Position::START).keeping(cancel_on_disconnect);
    respond(app, Opened::at_once(Source::Log(follow)), as_it_is)
}

/// The stream of a job after `position`, in other words than the log's. Where there is none, 204 stops an EventSource.
pub(crate) async fn resume(
    app: App,
    owner: Owner,
    id: JobId,
    position: Position,
    words: Words,
) -> Result<Response, Problem> {
    match stream_of(app, owner, id, Start::After(position), words).await {
        Err(Problem::NotFound) => Ok(StatusCode::NO_CONTENT.into_response()),
        answer => answer,
    }
}

async fn stream_of(
    app: App,
    owner: Owner,
    id: JobId,
    start: Start<Position>,
    words: Words,
) -> Result<Response, Problem> {
    let own = app.clone();
    let look = move || {
        let (app, owner) = (own.clone(), owner.clone());
        async move { look(&app, &owner, id, start).await }
    };
    open(app, words, look).await
}

async fn look(app: &App, owner: &Owner, id: JobId, start: Start<Position>) -> Result<Look, StoreError> {
    match start {
        Start::After(position) => {
            if !planted(Plant::AlwaysSnapshot)
                && let Some(follow) = app.hub().join(id, owner, position)
            {
                return Ok(Look::Stream(Opened::at_once(Source::Log(follow))));
            }
            let found = app.store().peek(id).await?.filter(|peek| peek.owner == *owner);
            let Some(Peek { status, last, cancel_on_disconnect, .. }) = found else {
                return Ok(Look::Absent);
            };
            if status.is_terminal() && position.is(last) {
                return Ok(Look::Seen);
            }
            if planted(Plant::AlwaysSnapshot) && position != Position::START {
                return always_snapshot(app, id).await;
            }
            let follow = app.hub().follow(id, position);
            let follow = match cancel_on_disconnect {
                None => follow.owned_by(owner),
                within => follow.keeping(within),
            };
            Ok(Look::Stream(Opened::at_once(Source::Log(follow))))
        }
        Start::Now => {
            let found = app.store().job(id).await?.filter(|job| job.owner == *owner);
            let Some(job) = found else { return Ok(Look::Absent) };
            let (at, over) = (job.last_event, job.status.is_terminal());
            let cancel_on_disconnect = job.cancel_on_disconnect;
            let snapshot =
                app.hub().snapshot(job).map_err(|error| StoreError::Unreadable(error.to_string()))?;
            let follow = || app.hub().follow(id, at.into()).keeping(cancel_on_disconnect);
            let source = if over { Source::Over } else { Source::Log(follow()) };
            Ok(Look::Stream(Opened { lead: Some(snapshot_frame(&snapshot, at)), source }))
        }
    }
}

/// With [`Plant::AlwaysSnapshot`]: the easy way out, instead of what the client has missed.
async fn always_snapshot(app: &App, id: JobId) -> Result<Look, StoreError> {
    let Some(job) = app.store().job(id).await? else { return Ok(Look::Absent) };
    let at = job.last_event;
    let json = app.hub().snapshot(job).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let json = String::from_utf8_lossy(&json).replacen("\"now\"", "\"trimmed\"", 1);
    let source = Source::Log(app.hub().follow(id, at.into()));
    Ok(Look::Stream(Opened { lead: Some(snapshot_frame(json.as_bytes(), at)), source }))
}
