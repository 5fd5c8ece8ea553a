//! HTTP/2 frame by frame, on a bare socket: for what no client library would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Client, SOON};

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's kind.
#[allow(missing_docs, reason = "as RFC 9113 calls them")]
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data = 0,
    Headers = 1,
    Reset = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind, as a number.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether it is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u8
    }
}

/// A connection on which the test writes each frame. It answers nothing by itself, no ping either.
#[derive(Debug)]
pub struct Frames {
    socket: TcpStream,
    read: Vec<u8>,
}

/// One frame's bytes.
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind as u8, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header block of a GET, in HPACK, without compression.
pub fn get(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x01, 1, b'x', 0x04];
    assert!(path.len() < 127);
    block.push(u8::try_from(path.len()).unwrap());
    block.extend(path.bytes());
    block
}

impl Frames {
    /// A connection to the client's gateway on which nothing was sent.
    pub async fn open(client: &Client) -> Self {
        let url = client.url("");
        let socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, read: Vec::new() }
    }

    /// A connection with the preface and these settings: numbers of RFC 9113 and their values.
    pub async fn begin(client: &Client, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self::open(client).await;
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [name.to_be_bytes().as_slice(), &value.to_be_bytes()].concat())
            .collect();
        let begin = [PREFACE, &frame(Kind::Settings, 0, 0, &payload)].concat();
        assert!(frames.send(&begin).await);
        frames
    }

    /// Sends bytes; false where the connection was closed.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        timeout(SOON, self.socket.write_all(bytes)).await.expect("the gateway takes bytes").is_ok()
    }

    /// The next frame; `None` at the connection's end.
    pub async fn next(&mut self) -> Option<Frame> {
        timeout(SOON, self.next_unlimited()).await.expect("a frame in time")
    }

    /// The next frame of this kind; `None` at the connection's end.
    pub async fn next_of(&mut self, kind: Kind) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.is(kind) {
                return Some(frame);
            }
        }
    }

    /// Whether the connection ends within `limit`, whatever comes before.
    pub async fn ends_within(&mut self, limit: Duration) -> bool {
        timeout(limit, async { while self.next_unlimited().await.is_some() {} }).await.is_ok()
    }

    async fn next_unlimited(&mut self) -> Option<Frame> {
        loop {
            if self.read.len() >= 9 {
                let length = u32::from_be_bytes([0, self.read[0], self.read[1], self.read[2]]) as usize;
                if self.read.len() >= 9 + length {
                    let bytes: Vec<_> = self.read.drain(..9 + length).collect();
                    let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
                    return Some(Frame {
                        kind: bytes[3],
                        flags: bytes[4],
                        stream,
                        payload: bytes[9..].to_vec(),
                    });
                }
            }
            let mut buffer = [0; 16 * 1024];
            let n = self.socket.read(&mut buffer).await.unwrap_or(0);
            if n == 0 {
                return None;
            }
            self.read.extend_from_slice(&buffer[..n]);
        }
    }
}
