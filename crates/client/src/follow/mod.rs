//! Following a job.

#[cfg(test)]
mod sim;
pub(crate) mod source;
mod state;
mod turn;

use model::{Cursor, JobId, Position};
use tokio::time::{Instant, sleep};

use self::state::State;
pub(crate) use self::turn::{Lost, Rules};
use self::turn::{Next, Polled, Took};
use crate::client::Client;
use crate::event::Event;
use crate::following::Following;
use crate::sse::Piece;

/// Where a following begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After what was seen: a cursor of an event, of a poll's `last_event_id`, or a bare seq.
    After(Position),
    /// With a snapshot of the job, then what comes.
    Now,
}

impl Start {
    /// From the first event.
    pub const BEGINNING: Self = Self::After(Position::START);
}

impl From<Cursor> for Start {
    fn from(cursor: Cursor) -> Self {
        Self::After(cursor.into())
    }
}

impl From<Position> for Start {
    fn from(position: Position) -> Self {
        Self::After(position)
    }
}

/// How a follower is connected: for those who show it. See
/// [`ClientBuilder::on_connection`](crate::ClientBuilder::on_connection).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connection {
    /// Events come as they happen.
    Streaming,
    /// The stream can't be had; polls tell how the job stands.
    Polling,
    /// There is no connection; the next try comes by itself.
    Waiting {
        /// What the last try came to; empty after a stream's planned end.
        why: String,
    },
}

/// The events of one job, each once and in order, as [`Client::follow`] gives them.
pub type Follow = Following<Event>;

pub(crate) fn follow(client: Client, id: JobId, start: Start) -> Follow {
    Following::new(async_stream::stream! {
        let begin = Instant::now();
        let mut state = State::new(id, start, client.rules());
        let mut shown = Shown { client: &client, id, last: None };
        loop {
            match state.next(begin.elapsed()) {
                Next::Over => return,
                Next::Fail(error) => {
                    yield Err(error);
                    return;
                }
                Next::Sleep(wait) => {
                    if !shown.polls() {
                        let why = state.trouble().map(ToString::to_string).unwrap_or_default();
                        shown.show(Connection::Waiting { why });
                    }
                    sleep(wait).await;
                }
                Next::Poll { known, wait } => {
                    let polled = source::poll(&client, id, known, wait).await;
                    shown.show_poll(&polled);
                    if let Some(event) = state.polled(polled, begin.elapsed(), rand::random()) {
                        yield Ok(event);
                    }
                }
                Next::Stream(start) => {
                    let lost = match source::open(&client, id, start).await {
                        Err(lost) => lost,
                        Ok(mut source) => loop {
                            let pieces = match source.more().await {
                                Ok(pieces) => pieces,
                                Err(lost) => break lost,
                            };
                            state.heard(begin.elapsed());
                            shown.show(Connection::Streaming);
                            let mut stumbled = false;
                            for piece in pieces {
                                match piece {
                                    Piece::Retry(retry) => state.retry(retry),
                                    Piece::Frame(frame) => match state.frame(&frame) {
                                        Took::Event(event) => yield Ok(*event),
                                        Took::Nothing => {}
                                        Took::Stumbled => stumbled = true,
                                    },
                                }
                                if stumbled || state.is_over() {
                                    break;
                                }
                            }
                            if stumbled || state.is_over() {
                                break Lost::Closed;
                            }
                        },
                    };
                    if let Some(event) = state.lost(lost, begin.elapsed(), rand::random()) {
                        yield Ok(event);
                    }
                }
            }
        }
    })
}

/// What the caller was told of the connection.
struct Shown<'a> {
    client: &'a Client,
    id: JobId,
    last: Option<Connection>,
}

impl Shown<'_> {
    fn polls(&self) -> bool {
        self.last == Some(Connection::Polling)
    }

    fn show(&mut self, connection: Connection) {
        if self.last.as_ref() != Some(&connection) {
            self.client.show(self.id, &connection);
            self.last = Some(connection);
        }
    }

    fn show_poll(&mut self, polled: &Polled) {
        match polled {
            Polled::Job(_) | Polled::Same => self.show(Connection::Polling),
            Polled::Failed(error) => self.show(Connection::Waiting { why: error.to_string() }),
        }
    }
}
