//! Streams: of one job, of several, of an owner's feed.

mod feed;
mod job;
mod page;
mod several;

use std::future::Future;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::cursor::BadCursor;
use serde::Deserialize;
use store::StoreError;

use crate::App;
use crate::carrier::body::EventBody;
use crate::carrier::stream::{EventStream, Opened, Source, Streamed, Words};
use crate::header::{LAST_EVENT_ID, single};
use crate::problem::Problem;

pub(super) use feed::feed;
pub(super) use job::{events, from_beginning, resume};
pub(super) use several::several;

/// How long a stream that can't be opened yet waits before it tries again.
const AGAIN: Duration = Duration::from_millis(500);

/// What the query of a stream says of its start.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartQuery {
    last_event_id: Option<String>,
    from: Option<String>,
}

/// Where a stream starts, `C` being a place in what it is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start<C> {
    /// After what the client has seen.
    After(C),
    /// With a snapshot, then live.
    Now,
}

impl<C> Start<C> {
    /// The header beats the query; what is empty is none; no cursor is the `beginning`.
    fn of(
        headers: &HeaderMap,
        query: &StartQuery,
        beginning: C,
        read: impl Fn(&str) -> Result<C, BadCursor>,
    ) -> Result<Self, Problem> {
        let header = single(headers, &LAST_EVENT_ID)?;
        let cursor =
            [header, query.last_event_id.as_deref()].into_iter().flatten().find(|text| !text.is_empty());
        if let Some(text) = cursor {
            return read(text).map(Self::After).map_err(|error| {
                Problem::BadCursor(format!(
                    "{text:?} is no cursor of this stream: {error}. Send the last `id:` that you got, or none."
                ))
            });
        }
        match query.from.as_deref() {
            None | Some("") => Ok(Self::After(beginning)),
            Some("now") => Ok(Self::Now),
            Some(_) => Err(Problem::Malformed(
                "`from` can only be `now`; leave it out to start at the first event.".into(),
            )),
        }
    }
}

/// What a look at the jobs came to.
enum Look {
    Stream(Opened),
    /// The client has seen the end: 204 stops an EventSource.
    Seen,
    Absent,
}

/// Answers with the stream that `look` finds, or with the status that says why there is none.
async fn open<F>(app: App, words: Words, look: impl Fn() -> F + Send + 'static) -> Result<Response, Problem>
where
    F: Future<Output = Result<Look, StoreError>> + Send + 'static,
{
    match look().await {
        Ok(Look::Stream(opened)) => Ok(respond(app, opened, words)),
        Ok(Look::Seen) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Look::Absent) => Err(Problem::NotFound),
        Err(StoreError::Unavailable(_)) => {
            // An EventSource gives up for good on any status but 200, so the stream waits for Redis, open.
            let source = Source::Opening(Box::pin(look_on(look)));
            Ok(stream(EventStream::new(app, None, source, words)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Looks until Redis answers.
async fn look_on<F>(look: impl Fn() -> F) -> Opened
where
    F: Future<Output = Result<Look, StoreError>>,
{
    loop {
        match look().await {
            Ok(Look::Stream(opened)) => return opened,
            // The reconnect gets the status that says so.
            Ok(Look::Seen) => return Opened::at_once(Source::Over),
            Ok(Look::Absent) => {
                let lead = Some(Bytes::from_static(b": there is no such job\n"));
                return Opened { lead, source: Source::Over };
            }
            Err(error) => {
                tracing::debug!(%error, "a stream waits for Redis");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// The 200 of what was opened; its lead is written as it is.
pub(super) fn respond(app: App, opened: Opened, words: Words) -> Response {
    let Opened { lead, source } = opened;
    stream(EventStream::new(app, lead, source, words))
}

fn stream(stream: EventStream) -> Response {
    let streamed = Streamed::new(stream);
    let mut response = Response::new(Body::new(EventBody::new(streamed.clone())));
    response.extensions_mut().insert(streamed);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx buffers answers unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use model::Position;

    use super::*;

    #[test]
    fn a_stream_starts_where_the_client_says() {
        let after = |text: &str| Start::After(text.parse::<Position>().unwrap());
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
            let query = StartQuery { last_event_id: cursor.map(Into::into), from: from.map(Into::into) };
            let start = Start::of(&headers.into_iter().collect(), &query, Position::START, str::parse);
            assert_eq!(start.ok(), want, "{header:?} {cursor:?} {from:?}");
        }
    }
}
