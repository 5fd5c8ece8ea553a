//! One connection of HTTP/2 without TLS, in the test's hands.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::JobId;
use serde_json::Value;
use testkit::sse::{Event, Parser};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use crate::{Client, SOON};

/// A connection; dropping it closes it.
#[derive(Debug)]
pub struct Http2 {
    send: SendRequest<Full<Bytes>>,
    connection: JoinSet<hyper::Result<()>>,
    base: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Http2Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Http2Answer {
    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the problem's name.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        (self.status, self.json()["type"].as_str().unwrap().replace("urn:jobcast:", ""))
    }
}

/// How many bytes a client takes of one stream before it reads them, and of all of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Of one stream.
    pub stream: u32,
    /// Of all of them.
    pub connection: u32,
}

/// As Envoy and others have it by default: room for all streams.
pub const ROOMY: Windows = Windows { stream: 64 * 1024, connection: 16 * 1024 * 1024 };

impl Http2 {
    /// A connection to the client's gateway.
    pub async fn connect(client: &Client) -> Self {
        Self::with(client, ROOMY).await
    }

    /// The same with these windows.
    pub async fn with(client: &Client, windows: Windows) -> Self {
        let base = client.url("");
        let socket = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
        let (send, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .handshake(TokioIo::new(socket))
            .await
            .unwrap();
        let mut running = JoinSet::new();
        running.spawn(connection);
        Self { send, connection: running, base }
    }

    /// A request; headers as name and value.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.into())).unwrap()
    }

    /// Sends it, and reads the answer's head alone. An error where the stream or the connection was closed.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let mut send = self.send.clone();
        timeout(SOON, async {
            send.ready().await?;
            send.send_request(request).await
        })
        .await
        .expect("an answer")
    }

    /// Sends it, and reads the whole answer.
    pub async fn answer(&self, request: Request<Full<Bytes>>) -> Http2Answer {
        let (head, body) = self.send(request).await.unwrap().into_parts();
        let body = timeout(SOON, body.collect()).await.expect("a whole body").unwrap().to_bytes();
        Http2Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Http2Answer {
        self.answer(self.request(Method::GET, path, &[], "")).await
    }

    /// A POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Http2Answer {
        let json = [("content-type", "application/json")];
        self.answer(self.request(Method::POST, path, &json, body.to_string())).await
    }

    /// The job's stream, from the beginning.
    pub async fn stream(&self, id: JobId) -> Http2Stream {
        self.stream_after(id, "").await
    }

    /// The job's stream after `cursor`.
    pub async fn stream_after(&self, id: JobId, cursor: &str) -> Http2Stream {
        let headers = [("last-event-id", cursor)];
        let path = format!("/api/jobs/{id}/events");
        let response = self.send(self.request(Method::GET, &path, &headers, "")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Http2Stream::new(response, cursor)
    }

    /// Whether the gateway takes one more request here: not after GOAWAY.
    pub async fn takes_more(&self) -> bool {
        self.send(self.request(Method::GET, "/healthz", &[], "")).await.is_ok()
    }

    /// How the connection ended, which takes less than `limit`.
    pub async fn ended_within(&mut self, limit: Duration) -> hyper::Result<()> {
        timeout(limit, self.connection.join_next()).await.expect("the connection ends").unwrap().unwrap()
    }
}

/// An event stream on it.
#[derive(Debug)]
pub struct Http2Stream {
    response: Response<Incoming>,
    parser: Parser,
    ready: VecDeque<Event>,
    /// How the stream ended, once it has: in order, or by a reset.
    pub ended: Option<Result<(), String>>,
}

impl Http2Stream {
    /// The stream in this response, opened after `cursor`.
    pub fn new(response: Response<Incoming>, cursor: &str) -> Self {
        Self { response, parser: Parser::new(cursor), ready: VecDeque::new(), ended: None }
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The last `retry:`.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry().map(Duration::from_millis)
    }

    /// How many comments there were.
    pub fn comments(&self) -> usize {
        self.parser.comments().len()
    }

    /// The id of the last event.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Reads what comes next; false at the end.
    pub async fn more(&mut self) -> bool {
        let frame = std::future::poll_fn(|cx| Pin::new(self.response.body_mut()).poll_frame(cx)).await;
        match frame {
            Some(Ok(frame)) => {
                self.ready.extend(self.parser.push(frame.data_ref().map_or(&[], |data| data)));
                return true;
            }
            Some(Err(error)) => self.ended = Some(Err(format!("{error:?}"))),
            None => self.ended = Some(self.ended.take().unwrap_or(Ok(()))),
        }
        false
    }

    /// The next event; `None` at the end. Panics when neither comes in time.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Event> {
        let end = tokio::time::Instant::now() + limit;
        while self.ready.is_empty() {
            if !timeout_at(end, self.more()).await.expect("an event in time") {
                return None;
            }
        }
        self.ready.pop_front()
    }

    /// All events to the end.
    pub async fn collect_to_end(&mut self, limit: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        let all = async {
            while let Some(event) = self.next_within(limit).await {
                events.push(event);
            }
        };
        timeout(limit, all).await.expect("an end in time");
        events
    }
}
