//! One GET on a socket of its own: the head, then the body's events. As little as 500 of them at once can afford.

use std::time::Duration;

use testkit::sse::{Event, Parser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection and a head may take. A gateway that is paused holds both.
const HEAD: Duration = Duration::from_secs(6);

/// The longest silence of a stream whose heartbeat is 2 ± 0.5 s.
const SILENCE: Duration = Duration::from_secs(8);

/// An answer whose body is still to be read.
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    socket: TcpStream,
    chunks: Chunks,
    /// What came with the head.
    rest: Vec<u8>,
    parser: Parser,
}

/// What comes next in a stream.
pub(super) enum Next {
    /// Events, at least one.
    Events(Vec<Event>),
    /// Its last chunk.
    Closed,
    /// An end in the middle, or a silence too long.
    Broken(String),
}

impl Answer {
    /// Asks, and reads the head. An error is a sentence.
    pub(super) async fn get(
        address: &str,
        path: &str,
        key: &str,
        last_event_id: &str,
    ) -> Result<Self, String> {
        let opening = Self::open(address, path, key, last_event_id);
        match timeout(HEAD, opening).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {HEAD:?}")),
        }
    }

    async fn open(address: &str, path: &str, key: &str, last_event_id: &str) -> std::io::Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let id = if last_event_id.is_empty() {
            String::new()
        } else {
            format!("Last-Event-ID: {last_event_id}\r\n")
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: chaos\r\nAccept: text/event-stream\r\nAuthorization: Bearer {key}\r\n{id}\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::with_capacity(1024);
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if socket.read_buf(&mut bytes).await? == 0 {
                return Err(std::io::Error::other("the connection ended before a head came"));
            }
        };
        let rest = bytes.split_off(end + 4);
        let head = String::from_utf8_lossy(&bytes).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP: {head}")))?;
        let parser = Parser::new(last_event_id);
        Ok(Self { status, socket, chunks: Chunks::default(), rest, parser })
    }

    /// The id that a reconnect sends; empty if none.
    pub(super) fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// The stream's last `retry:`.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.parser.retry().map(Duration::from_millis)
    }

    /// What comes next. Dropping the future loses nothing that was not yet there.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            let bytes = std::mem::take(&mut self.rest);
            if !bytes.is_empty() {
                let mut events = Vec::new();
                let body = match self.chunks.take(&bytes) {
                    Ok(body) => body,
                    Err(error) => return Next::Broken(error),
                };
                for piece in body {
                    events.extend(self.parser.push(&bytes[piece]));
                }
                if !events.is_empty() {
                    return Next::Events(events);
                }
            }
            if self.chunks.ended {
                return Next::Closed;
            }
            let mut buffer = Vec::with_capacity(4096);
            match timeout(SILENCE, self.socket.read_buf(&mut buffer)).await {
                Ok(Ok(0)) => return Next::Broken("the connection ended before the last chunk".into()),
                Ok(Ok(_)) => self.rest = buffer,
                Ok(Err(error)) => return Next::Broken(error.to_string()),
                Err(_) => return Next::Broken(format!("not a byte for {SILENCE:?}")),
            }
        }
    }
}

/// Takes a body in chunks apart.
#[derive(Debug, Default)]
struct Chunks {
    place: Place,
    ended: bool,
}

#[derive(Debug, Default)]
enum Place {
    /// In the line that says a chunk's length, with what was read of it.
    #[default]
    Start,
    Line(usize),
    /// In a chunk, so many bytes before its end.
    Data(usize),
    /// In the line end after a chunk, so many bytes before its end.
    After(u8),
}

impl Chunks {
    /// Which parts of the next bytes are body.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<std::ops::Range<usize>>, String> {
        let (mut at, mut body) = (0, Vec::new());
        while at < bytes.len() && !self.ended {
            match &mut self.place {
                Place::Start => self.place = Place::Line(0),
                Place::Line(length) => {
                    match bytes[at] {
                        b'\r' => {}
                        b'\n' if *length == 0 => self.ended = true,
                        b'\n' => self.place = Place::Data(*length),
                        digit => {
                            let digit = char::from(digit).to_digit(16);
                            let digit = digit.ok_or_else(|| format!("no chunk: {:?}", bytes[at]))?;
                            *length = *length * 16 + digit as usize;
                        }
                    }
                    at += 1;
                }
                Place::Data(left) => {
                    let taken = (*left).min(bytes.len() - at);
                    body.push(at..at + taken);
                    at += taken;
                    *left -= taken;
                    if *left == 0 {
                        self.place = Place::After(2);
                    }
                }
                Place::After(left) => {
                    at += 1;
                    *left -= 1;
                    if *left == 0 {
                        self.place = Place::Start;
                    }
                }
            }
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cut_anywhere_are_the_same_body() {
        let wire = b"5\r\nhello\r\n10\r\n, wide wide worl\r\n1\r\nd\r\n0\r\n\r\n";
        for size in 1..wire.len() {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            for piece in wire.chunks(size) {
                for range in chunks.take(piece).unwrap() {
                    body.extend_from_slice(&piece[range]);
                }
            }
            assert_eq!(String::from_utf8(body).unwrap(), "hello, wide wide world");
            assert!(chunks.ended);
        }
    }
}
