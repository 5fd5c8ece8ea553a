//! A streaming response on a bare socket: for tests of what goes over the wire, and of clients that don't read.

use std::time::Duration;

use testkit::sse::{Event, Parser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{timeout, timeout_at};

use crate::SOON;

/// One response in chunks, read when the test asks for more and not before.
#[derive(Debug)]
pub struct RawStream {
    socket: TcpStream,
    /// The status line and the headers, without the empty line.
    head: String,
    /// What was received of the body, with its chunk lines.
    wire: Vec<u8>,
    /// How much of `wire` was decoded.
    decoded: usize,
    body: Vec<u8>,
    /// Where each chunk of `body` ends.
    chunks: Vec<usize>,
    ended: bool,
    /// How much of `body` the parser has.
    parsed: usize,
    parser: Parser,
}

impl RawStream {
    /// Sends a GET of `url` over HTTP/1.1 with these header lines, and reads the response's head alone.
    pub async fn open(url: &str, headers: &[&str]) -> Self {
        Self::with_buffer(url, headers, None).await
    }

    /// The same with a receive buffer of about so many bytes, so that what isn't read soon holds the sender.
    pub async fn with_buffer(url: &str, headers: &[&str], buffer: Option<u32>) -> Self {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(size) = buffer {
            socket.set_recv_buffer_size(size).unwrap();
        }
        let mut socket = socket.connect(host.parse().unwrap()).await.unwrap();
        let mut request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n");
        for header in headers {
            request += header;
            request += "\r\n";
        }
        request += "\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        Self::answered(socket, &[]).await
    }

    /// The response that comes on `socket`, of which `read` was received already.
    pub async fn answered(mut socket: TcpStream, read: &[u8]) -> Self {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n").map_or(read.len(), |at| at + 4);
        let (head, body) = read.split_at(end);
        let mut head = head.to_vec();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(SOON, socket.read_u8()).await.expect("a head").expect("a whole head"));
        }
        head.truncate(head.len() - 4);
        let mut stream = Self {
            socket,
            head: String::from_utf8(head).unwrap(),
            wire: body.to_vec(),
            decoded: 0,
            body: Vec::new(),
            chunks: Vec::new(),
            ended: false,
            parsed: 0,
            parser: Parser::new(""),
        };
        while stream.decode() {}
        stream
    }

    /// Sends `bytes` on the stream's connection; whether they could be sent.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        timeout(SOON, self.socket.write_all(bytes)).await.expect("the gateway takes bytes").is_ok()
    }

    /// Says that nothing more will be sent.
    pub async fn shut(&mut self) {
        self.socket.shutdown().await.unwrap();
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }

    /// Reads one byte; false at the connection's end.
    pub async fn one_byte(&mut self) -> bool {
        match timeout(SOON, self.socket.read_u8()).await.expect("more of the body in time") {
            Ok(byte) => {
                self.wire.push(byte);
                while self.decode() {}
                true
            }
            Err(_) => false,
        }
    }

    /// The status line and the headers, without the empty line after them.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The values of a header, its name in any case.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The body as far as it was read.
    pub fn body(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as far as it was read, in the chunks in which it came: each is one write of the server, or a part of one.
    pub fn chunks(&self) -> Vec<&str> {
        let starts = std::iter::once(&0).chain(&self.chunks);
        starts.zip(&self.chunks).map(|(&from, &to)| &self.body()[from..to]).collect()
    }

    /// Whether the body's last chunk has come.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The last `retry:`, as far as the stream was read.
    pub fn retry(&mut self) -> Option<Duration> {
        self.events();
        self.parser.retry().map(Duration::from_millis)
    }

    /// Reads what there is, waiting for the first byte; false at the connection's end, broken or not.
    pub async fn more(&mut self) -> bool {
        let mut buffer = [0; 8 * 1024];
        match self.socket.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.wire.extend_from_slice(&buffer[..n]);
                while self.decode() {}
                true
            }
        }
    }

    /// Reads about so many bytes, or to the body's or the connection's end. Panics when that takes longer than anything may.
    pub async fn take(&mut self, bytes: usize) {
        let enough = self.wire.len() + bytes;
        let end = tokio::time::Instant::now() + SOON;
        while !self.ended && self.wire.len() < enough {
            if !timeout_at(end, self.more()).await.expect("more of the body in time") {
                return;
            }
        }
    }

    /// Reads until `enough` says so of the body; false if it came to the connection's end before. Panics when that
    /// takes longer than anything may.
    pub async fn until(&mut self, mut enough: impl FnMut(&str) -> bool) -> bool {
        let end = tokio::time::Instant::now() + SOON;
        while !enough(self.body()) {
            let more = timeout_at(end, self.more()).await;
            if !more.unwrap_or_else(|_| panic!("more of the body in time after {:?}", self.body())) {
                return false;
            }
        }
        true
    }

    /// Reads to the connection's or the body's end and gives the events that weren't given yet.
    pub async fn events_to_end(&mut self) -> Vec<Event> {
        while !self.ended && timeout(SOON, self.more()).await.expect("more of the body in time") {}
        self.events()
    }

    /// The events that were read and weren't given yet.
    pub fn events(&mut self) -> Vec<Event> {
        let from = std::mem::replace(&mut self.parsed, self.body.len());
        self.parser.push(&self.body[from..])
    }

    /// Takes one chunk from the wire, if a whole one is there.
    fn decode(&mut self) -> bool {
        let rest = &self.wire[self.decoded..];
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else { return false };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(line + 2..line + 2 + size + 2) else { return false };
        assert_eq!(&chunk[size..], b"\r\n", "a chunk ends with its line");
        self.body.extend_from_slice(&chunk[..size]);
        if size > 0 {
            self.chunks.push(self.body.len());
        }
        self.ended |= size == 0;
        self.decoded += line + 2 + size + 2;
        !self.ended
    }
}
