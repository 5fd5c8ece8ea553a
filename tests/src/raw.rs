//! A streaming response on a bare socket: for tests of what goes over the wire, and of clients that don't read.

use std::time::Duration;

use testkit::sse::{Event, Parser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{timeout, timeout_at};

use crate::SOON;

/// A heartbeat: a line of its own, which may come behind any frame.
pub const HEARTBEAT: &str = ":\n";

/// A version of HTTP in which a stream has a connection for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Http {
    /// A body goes on until the connection's end.
    V1_0,
    /// A body comes in chunks.
    V1_1,
}

impl Http {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::V1_0, Self::V1_1];

    /// As a request or an answer says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "HTTP/1.0",
            Self::V1_1 => "HTTP/1.1",
        }
    }
}

/// One response, read when the test asks for more and not before.
#[derive(Debug)]
pub struct RawStream {
    socket: TcpStream,
    /// The status line and the headers, without the empty line.
    head: String,
    http: Http,
    /// What was received of the body, with the lines of its chunks if it has such.
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
        Self::asked(Http::V1_1, url, headers, buffer).await
    }

    /// The same over `http`.
    pub async fn asked(http: Http, url: &str, headers: &[&str], buffer: Option<u32>) -> Self {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(size) = buffer {
            socket.set_recv_buffer_size(size).unwrap();
        }
        let mut socket = socket.connect(host.parse().unwrap()).await.unwrap();
        let mut request = format!("GET /{path} {}\r\nHost: {host}\r\n", http.name());
        for header in headers {
            request += header;
            request += "\r\n";
        }
        request += "\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let stream = Self::answered(socket, &[]).await;
        assert_eq!(stream.http, http, "the answer's version is the request's");
        stream
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
        let head = String::from_utf8(head).unwrap();
        let http = Http::ALL.into_iter().find(|http| head.starts_with(http.name())).expect("a version");
        let mut stream = Self {
            socket,
            head,
            http,
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
        timeout(SOON, self.read(&mut [0])).await.expect("more of the body in time")
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

    /// The body as far as it was read, without a character that is cut there.
    pub fn body(&self) -> &str {
        let text = self.body.utf8_chunks().next();
        let text = text.map_or("", |chunk| chunk.valid());
        assert!(self.body.len() < text.len() + 4, "the body is text");
        text
    }

    /// The body as far as it was read, in the chunks in which it came: each is one write of the server, or a part of one.
    pub fn chunks(&self) -> Vec<&str> {
        let starts = std::iter::once(&0).chain(&self.chunks);
        starts.zip(&self.chunks).map(|(&from, &to)| &self.body()[from..to]).collect()
    }

    /// Whether the body's end has come: its last chunk, or the connection's end in order where it has no chunks.
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
        self.read(&mut [0; 8 * 1024]).await
    }

    async fn read(&mut self, buffer: &mut [u8]) -> bool {
        match self.socket.read(buffer).await {
            Ok(0) => {
                self.ended |= self.http == Http::V1_0;
                false
            }
            Ok(n) => {
                self.wire.extend_from_slice(&buffer[..n]);
                while self.decode() {}
                true
            }
            Err(_) => false,
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

    /// The same, up to the end of a frame, or to heartbeats behind it.
    pub async fn until_frame(&mut self, mut enough: impl FnMut(&str) -> bool) -> bool {
        self.until(|body| enough(body) && body.trim_end_matches(HEARTBEAT).ends_with("\n\n")).await
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

    /// Takes one chunk from the wire, if a whole one is there; all that is there of a body without chunks. Whether there may be
    /// more.
    fn decode(&mut self) -> bool {
        let rest = &self.wire[self.decoded..];
        if self.http == Http::V1_0 {
            self.body.extend_from_slice(rest);
            self.decoded = self.wire.len();
            return false;
        }
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
