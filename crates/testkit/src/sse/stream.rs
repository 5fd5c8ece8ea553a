//! One streaming response, read when the test asks for more and not before.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Event, Parser};

/// How a stream came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server ended the body in order.
    Closed,
    /// The connection broke in the middle of the body; with the reason.
    Broken(String),
    /// It was no event stream from the first: not status 200, or another content type.
    NoStream,
}

/// One response that should be an event stream.
///
/// Nothing is read ahead of [`Self::next`]: a test that doesn't ask is a slow reader. Dropping it closes the
/// connection.
#[derive(Debug)]
pub struct SseStream {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` once it is at its end.
    response: Option<Response>,
    parser: Parser,
    ready: VecDeque<Event>,
    end: Option<End>,
}

/// A request for an [`SseStream`].
#[derive(Debug)]
pub struct SseBuilder {
    request: RequestBuilder,
    last_event_id: String,
}

impl SseBuilder {
    /// Adds a request header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Resumes after this id, by the header `Last-Event-ID`; as in browsers, an empty one isn't sent.
    #[must_use]
    pub fn last_event_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.last_event_id);
        self
    }

    /// Sends `Authorization: Bearer <key>`.
    #[must_use]
    pub fn bearer(self, key: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {key}"))
    }

    /// Sends a POST with this JSON instead of a GET.
    #[must_use]
    pub fn post_json(mut self, body: &serde_json::Value) -> Self {
        let (client, request) = self.request.build_split();
        let mut request = request.expect("a valid request");
        *request.method_mut() = reqwest::Method::POST;
        self.request = RequestBuilder::from_parts(client, request).json(body);
        self
    }

    /// Sends the request and waits for the response's head; panics if there is no connection.
    pub async fn open(self) -> SseStream {
        self.try_open()
            .await
            .unwrap_or_else(|error| panic!("no answer to the request for a stream: {error:?}"))
    }

    /// Like [`Self::open`], for tests in which the server may be away.
    pub async fn try_open(self) -> Result<SseStream, reqwest::Error> {
        let mut request = self.request;
        if !self.last_event_id.is_empty() {
            request = request.header("Last-Event-ID", &self.last_event_id);
        }
        let response = request.send().await?;
        Ok(SseStream {
            status: response.status(),
            headers: response.headers().clone(),
            end: (!is_stream(&response)).then_some(End::NoStream),
            response: Some(response),
            parser: Parser::new(&self.last_event_id),
            ready: VecDeque::new(),
        })
    }
}

impl SseStream {
    /// Opens a stream with a GET; panics if there is no connection. Any status is taken: see [`Self::status`].
    pub async fn open(url: impl AsRef<str>) -> Self {
        Self::builder(url).open().await
    }

    /// Builds a request with headers. Each has a connection of its own.
    pub fn builder(url: impl AsRef<str>) -> SseBuilder {
        let client = crate::http().pool_max_idle_per_host(0).build();
        let request = client.expect("a plain HTTP client").get(url.as_ref());
        let request = request.header(ACCEPT, "text/event-stream").header(CACHE_CONTROL, "no-store");
        SseBuilder { request, last_event_id: String::new() }
    }

    /// The response's status; with any but 200 there are no events, and [`Self::body`] says why.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The response's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The last `retry:`, as far as the stream was read.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry().map(Duration::from_millis)
    }

    /// The comments (heartbeats), as far as the stream was read.
    pub fn comments(&self) -> &[String] {
        self.parser.comments()
    }

    /// What a reconnect would send; empty if nothing.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// How it ended, or `None` as long as [`Self::next`] hasn't come to the end.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref().filter(|_| self.ready.is_empty())
    }

    /// The next event, or `None` at the end: see [`Self::end`]. Waits as long as it takes. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.end.is_some() {
                return None;
            }
            match self.response.as_mut()?.chunk().await {
                Ok(Some(bytes)) => self.ready.extend(self.parser.push(&bytes)),
                Ok(None) => self.finish(End::Closed),
                Err(error) => self.finish(End::Broken(format!("{error:?}"))),
            }
        }
    }

    /// The next event, or `None` if there is none within `limit` or the stream is at its end ([`Self::end`] tells).
    pub async fn next_within(&mut self, limit: Duration) -> Option<Event> {
        timeout(limit, self.next()).await.unwrap_or_default()
    }

    /// All further events up to the stream's end; panics with what came if it isn't at its end within `deadline`.
    pub async fn collect_to_end(&mut self, deadline: Duration) -> Vec<Event> {
        let end = Instant::now() + deadline;
        let mut events = Vec::new();
        loop {
            match timeout_at(end, self.next()).await {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return events,
                Err(_elapsed) => {
                    let last = events.last();
                    panic!(
                        "the stream isn't over within {deadline:?}: {} events, the last is {last:?}",
                        events.len()
                    )
                }
            }
        }
    }

    /// The rest of the body as text: for answers that are no stream. Panics if it breaks.
    pub async fn body(mut self) -> String {
        let response = self.response.take().expect("the body wasn't read to its end yet");
        response.text().await.expect("the whole body")
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.response = None;
    }
}

/// Whether a browser would take it as an event stream.
fn is_stream(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    response.status() == StatusCode::OK
        && essence.is_some_and(|name| name.eq_ignore_ascii_case("text/event-stream"))
}
