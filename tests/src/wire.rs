//! Requests as bytes, on a bare socket: for what no HTTP client would send.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::{Client, RawStream, SOON};

/// One connection, on which the test writes its bytes.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    read: Vec<u8>,
}

/// One answer on it.
#[derive(Debug)]
pub struct WireAnswer {
    /// The status.
    pub status: u16,
    /// The status line and the headers, without the empty line.
    pub head: String,
    /// The body; by its Content-Length, so empty for an answer in chunks.
    pub body: Vec<u8>,
}

impl WireAnswer {
    /// The value of a header, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The status and the problem's name; an empty name for an answer without a body.
    pub fn problem(&self) -> (u16, String) {
        if self.body.is_empty() {
            return (self.status, String::new());
        }
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        (self.status, document["type"].as_str().unwrap().replace("urn:jobcast:", ""))
    }
}

impl Wire {
    /// A connection to the client's gateway.
    pub async fn open(client: &Client) -> Self {
        let url = client.url("");
        let socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, read: Vec::new() }
    }

    /// The same with a receive buffer of about so many bytes, so that what isn't read soon holds the sender.
    pub async fn with_buffer(client: &Client, buffer: u32) -> Self {
        let url = client.url("");
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(buffer).unwrap();
        let to = url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { socket: socket.connect(to).await.unwrap(), read: Vec::new() }
    }

    /// Sends `bytes` as they are. The gateway may have closed the connection already.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        timeout(SOON, self.socket.write_all(bytes.as_ref())).await.expect("the gateway takes bytes").is_ok()
    }

    /// Says that nothing more will be sent.
    pub async fn shut(&mut self) {
        self.socket.shutdown().await.unwrap();
    }

    /// The next answer; `None` where the connection ends, in order or not, before a whole one.
    pub async fn answer(&mut self) -> Option<WireAnswer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap().trim_end().to_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = WireAnswer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            self.more().await?;
        }
        answer.body = self.read.drain(..length).collect();
        Some(answer)
    }

    /// The next answer, which is a stream.
    pub async fn stream(self) -> RawStream {
        RawStream::answered(self.socket, &self.read).await
    }

    /// What comes in one piece, as text; empty at the connection's end.
    pub async fn piece(&mut self) -> String {
        if self.more().await.is_none() {
            return String::new();
        }
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Whether the gateway closes the connection, unasked and without a word, within `limit`.
    pub async fn closes_within(&mut self, limit: Duration) -> bool {
        assert!(self.read.is_empty());
        timeout(limit, self.more()).await.is_ok_and(|more| more.is_none())
    }

    async fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        let n = timeout(SOON, self.socket.read(&mut buffer)).await.expect("an answer").unwrap_or(0);
        self.read.extend_from_slice(&buffer[..n]);
        (n > 0).then_some(())
    }
}
