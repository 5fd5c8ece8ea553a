//! The network side of following: one stream, one poll.

use std::time::Duration;

use model::{Cursor, JobId, Position};
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

use super::Start;
use super::turn::{Lost, Polled};
use crate::client::Client;
use crate::error::{Error, FollowError};
use crate::sse::{Parser, Piece};

/// A body that is a stream.
pub(crate) struct Source {
    client: Client,
    response: Response,
    parser: Parser,
    heard: bool,
}

/// Opens the stream of the job `id`.
pub(super) async fn open(client: &Client, id: JobId, start: Start) -> Result<Source, Lost> {
    let request = client.request(Method::GET, &format!("/api/jobs/{id}/events"));
    let request = match start {
        Start::Now => request.query(&[("from", "now")]),
        Start::After(Position::START) => request,
        Start::After(Position { seq, mark: None }) => request.header("last-event-id", seq),
        Start::After(Position { seq, mark: Some(mark) }) => {
            request.header("last-event-id", Cursor::new(seq, mark).to_string())
        }
    };
    open_request(client, request).await
}

/// Opens the stream that `request` asks for: the head has come, and says that it is one.
pub(crate) async fn open_request(client: &Client, request: RequestBuilder) -> Result<Source, Lost> {
    let mut request = request.header(ACCEPT, "text/event-stream").header(CACHE_CONTROL, "no-store");
    if let Some(token) = client.token() {
        request = request.query(&[("token", token)]);
    }
    let settings = client.settings();
    // The connection has a limit of its own: what passes this one is connected, and silent.
    let head = timeout(settings.connect_timeout.saturating_add(settings.first_byte), request.send()).await;
    let Ok(head) = head else { return Err(silent(client)) };
    let response = head.map_err(|error| Lost::Away(client.unreachable(error)))?;
    check(client, response).await.map(|response| Source {
        client: client.clone(),
        response,
        parser: Parser::default(),
        heard: false,
    })
}

async fn check(client: &Client, response: Response) -> Result<Response, Lost> {
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        return Err(Lost::Seen);
    }
    if status == StatusCode::OK {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or("nothing").to_owned();
        if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")) {
            return Ok(response);
        }
        return Err(Lost::Useless(client.unreadable(format!("a stream of type {kind:?}"))));
    }
    let problem = client.problem(response).await;
    Err(match problem.status {
        _ if problem.is_retryable() => Lost::Away(Error::Refused(problem)),
        // Said by what stands between: it doesn't do streams.
        405 | 406 | 415 | 501 | 505 => Lost::Useless(Error::Refused(problem)),
        _ => Lost::Refused(FollowError::Refused(problem)),
    })
}

fn silent(client: &Client) -> Lost {
    let seconds = client.settings().first_byte.as_secs_f64();
    Lost::Useless(client.unreachable(format!("connected, but nothing came for {seconds} s")))
}

impl Source {
    /// What came next; perhaps nothing but a comment.
    pub(crate) async fn more(&mut self) -> Result<Vec<Piece>, Lost> {
        let settings = self.client.settings();
        let limit = if self.heard { settings.silence() } else { settings.first_byte };
        let bytes = match timeout(limit, self.response.chunk()).await {
            Err(_) if !self.heard => return Err(silent(&self.client)),
            Ok(Ok(None)) => return Err(Lost::Closed),
            Ok(Err(error)) => return Err(Lost::Broken(self.client.unreachable(error))),
            Err(_) => {
                let seconds = limit.as_secs_f64();
                return Err(Lost::Broken(self.client.unreachable(format!("nothing came for {seconds} s"))));
            }
            Ok(Ok(Some(bytes))) => bytes,
        };
        self.heard = true;
        let mut pieces = Vec::new();
        match self.parser.push(&bytes, &mut pieces) {
            Ok(()) => Ok(pieces),
            Err(error) => Err(Lost::Useless(self.client.unreadable(error.to_string()))),
        }
    }
}

/// Polls, and waits up to `wait` for what differs from `known`.
pub(super) async fn poll(client: &Client, id: JobId, known: Option<Cursor>, wait: Duration) -> Polled {
    match client.poll_once(id, known, wait).await {
        Ok(Some(job)) => Polled::Job(Box::new(job)),
        Ok(None) => Polled::Same,
        Err(error) => Polled::Failed(error),
    }
}
