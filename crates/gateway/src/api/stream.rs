//! The stream of one job.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::wire::SnapshotReason;
use model::{JobId, Owner, Position};
use serde::Deserialize;
use store::{Peek, StoreError};

use super::path::JobPath;
use crate::App;
use crate::carrier::body::{EventBody, Opened, Source, Words, as_it_is};
use crate::header::{LAST_EVENT_ID, single};
use crate::owner::Viewer;
use crate::problem::Problem;

/// How long a stream that can't be opened yet waits before it tries again.
const AGAIN: Duration = Duration::from_millis(500);

/// The query of a stream.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StreamQuery {
    last_event_id: Option<String>,
    from: Option<String>,
}

/// Where a stream starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// After what the client has seen.
    After(Position),
    /// With a snapshot, then live.
    Now,
}

impl Start {
    /// The header beats the query; what is empty is none; no cursor is the beginning.
    fn of(headers: &HeaderMap, query: &StreamQuery) -> Result<Self, Problem> {
        let header = single(headers, &LAST_EVENT_ID)?;
        let cursor =
            [header, query.last_event_id.as_deref()].into_iter().flatten().find(|text| !text.is_empty());
        if let Some(text) = cursor {
            return text.parse().map(Self::After).map_err(|error| {
                Problem::BadCursor(format!(
                    "{text:?} is no cursor: {error}. Send the last `id:` that you got, or none."
                ))
            });
        }
        match query.from.as_deref() {
            None | Some("") => Ok(Self::After(Position::START)),
            Some("now") => Ok(Self::Now),
            Some(_) => Err(Problem::Malformed(
                "`from` can only be `now`; leave it out to start at the first event.".into(),
            )),
        }
    }
}

/// What a look at the job came to.
enum Look {
    Stream(Opened),
    /// The client has seen the end: 204 stops an EventSource.
    Seen,
    Absent,
}

/// `GET /api/jobs/{id}/events`
pub(crate) async fn events(
    State(app): State<App>,
    viewer: Viewer,
    JobPath(id): JobPath,
    query: Result<Query<StreamQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    viewer.may_stream(id)?;
    let Query(query) = query?;
    let start = Start::of(&headers, &query)?;
    open(app, viewer.owner, id, start, as_it_is).await
}

/// Answers with the stream, or with the status that says why there is none.
async fn open(app: App, owner: Owner, id: JobId, start: Start, words: Words) -> Result<Response, Problem> {
    match look(&app, &owner, id, start).await {
        Ok(Look::Stream(opened)) => Ok(respond(app, opened, words)),
        Ok(Look::Seen) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Look::Absent) => Err(Problem::NotFound),
        Err(StoreError::Unavailable(_)) => {
            // An EventSource gives up for good on any status but 200, so the stream waits for Redis, open.
            let source = Source::Opening(Box::pin(look_on(app.clone(), owner, id, start)));
            Ok(stream(EventBody::new(app, None, source, words)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The stream of a job that was just submitted, from its beginning.
pub(super) fn from_beginning(app: App, id: JobId) -> Response {
    let follow = app.hub().follow(id, Position::START);
    respond(app, Opened { lead: None, follow: Some(follow) }, as_it_is)
}

/// The stream of a job after `position`, in other words than the log's. Where there is none, 204 stops an EventSource.
pub(super) async fn resume(
    app: App,
    owner: Owner,
    id: JobId,
    position: Position,
    words: Words,
) -> Result<Response, Problem> {
    match open(app, owner, id, Start::After(position), words).await {
        Err(Problem::NotFound) => Ok(StatusCode::NO_CONTENT.into_response()),
        answer => answer,
    }
}

/// The 200 of what was opened; its lead is written as it is.
pub(super) fn respond(app: App, opened: Opened, words: Words) -> Response {
    let Opened { lead, follow } = opened;
    let source = Opened { lead: None, follow }.into();
    stream(EventBody::new(app, lead, source, words))
}

async fn look(app: &App, owner: &Owner, id: JobId, start: Start) -> Result<Look, StoreError> {
    match start {
        Start::After(position) => {
            let found = app.store().peek(id).await?.filter(|peek| peek.owner == *owner);
            let Some(Peek { status, last, .. }) = found else { return Ok(Look::Absent) };
            if status.is_terminal() && position.is(last) {
                return Ok(Look::Seen);
            }
            Ok(Look::Stream(Opened { lead: None, follow: Some(app.hub().follow(id, position)) }))
        }
        Start::Now => {
            let found = app.store().job(id).await?.filter(|job| job.owner == *owner);
            let Some(job) = found else { return Ok(Look::Absent) };
            let (at, over) = (job.last_event, job.status.is_terminal());
            let snapshot = app.hub().snapshot(job, SnapshotReason::Now, at);
            let lead = snapshot.map_err(|error| StoreError::Unreadable(error.to_string()))?;
            let follow = if over { None } else { Some(app.hub().follow(id, at.into())) };
            Ok(Look::Stream(Opened { lead: Some(lead), follow }))
        }
    }
}

/// Looks until Redis answers.
async fn look_on(app: App, owner: Owner, id: JobId, start: Start) -> Opened {
    loop {
        match look(&app, &owner, id, start).await {
            Ok(Look::Stream(opened)) => return opened,
            // The reconnect gets the status that says so.
            Ok(Look::Seen) => return Opened { lead: None, follow: None },
            Ok(Look::Absent) => {
                return Opened { lead: Some(Bytes::from_static(b": there is no such job\n")), follow: None };
            }
            Err(error) => {
                tracing::debug!(job = %id, %error, "a stream waits for Redis");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn stream(body: EventBody) -> Response {
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx buffers answers unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_starts_where_the_client_says() {
        let after = |text: &str| Start::After(text.parse().unwrap());
        for (header, cursor, from, want) in [
            (None, None, None, Some(after("0"))),
            (Some("5-4f2a9c"), Some("3"), Some("now"), Some(after("5-4f2a9c"))),
            (None, Some("3"), Some("now"), Some(after("3"))),
            (Some(""), Some(""), Some("now"), Some(Start::Now)),
            (Some(""), None, Some(""), Some(after("0"))),
            (Some("x"), None, None, None),
            (None, Some("1-2"), None, None),
            (None, None, Some("then"), None),
        ] {
            let headers = header.map(|value: &str| (LAST_EVENT_ID, value.parse().unwrap()));
            let query = StreamQuery { last_event_id: cursor.map(Into::into), from: from.map(Into::into) };
            assert_eq!(
                Start::of(&headers.into_iter().collect(), &query).ok(),
                want,
                "{header:?} {cursor:?} {from:?}"
            );
        }
    }
}
