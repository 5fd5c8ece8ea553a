//! A connection of one report after the other.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::hold::{Server, Socket};
use crate::wire::{Body, Broken, Head};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that is kept alive from call to call.
#[derive(Debug)]
pub(super) struct Connection {
    /// The servers there are, and which of them it is to.
    servers: Vec<Server>,
    turn: usize,
    socket: Option<Socket>,
    /// The request, then the answer; kept so that a call allocates nothing.
    bytes: Vec<u8>,
    answer: Vec<u8>,
}

/// A call that wasn't answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Broken(#[from] Broken),
}

impl Connection {
    /// A connection to one of `servers`, by its `turn`; made at the first call.
    pub(super) fn to(servers: Vec<Server>, turn: usize) -> Self {
        Self { servers, turn, socket: None, bytes: Vec::new(), answer: Vec::new() }
    }

    /// From now on it is to the next server.
    pub(super) fn turn(&mut self) {
        self.turn += 1;
        self.socket = None;
    }

    /// Posts `body`, JSON, to `path`; the answer's status and body.
    pub(super) async fn post(
        &mut self,
        path: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<(u16, &[u8]), CallError> {
        let socket = self.socket.take();
        let called = timeout(PATIENCE, self.call(socket, path, key, body));
        let status = called.await.map_err(io::Error::from)??;
        Ok((status, &self.answer))
    }

    async fn call(
        &mut self,
        socket: Option<Socket>,
        path: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<u16, CallError> {
        let server = &self.servers[self.turn % self.servers.len()];
        let mut socket = match socket {
            Some(socket) => socket,
            None => Socket::connect(server, None).await?,
        };
        let Server { host, base, .. } = server;
        let key = key.map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
        let head = format!(
            "POST {base}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.bytes.clear();
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(body);
        socket.write_all(&self.bytes).await?;
        self.bytes.clear();
        let (head, mut read) = loop {
            more(&mut socket, &mut self.bytes).await?;
            if let Some(read) = Head::read(&self.bytes)? {
                break read;
            }
        };
        self.answer.clear();
        let mut body = Body::of(&head);
        loop {
            body.feed(&self.bytes[read..], |piece| self.answer.extend_from_slice(piece))?;
            if body.ended() {
                break;
            }
            self.bytes.clear();
            read = 0;
            match more(&mut socket, &mut self.bytes).await {
                Err(_) if matches!(body, Body::UntilClose) => break,
                got => got?,
            }
        }
        if !head.closes && !matches!(body, Body::UntilClose) {
            self.socket = Some(socket);
        }
        Ok(head.status)
    }
}

/// Reads more; the connection's end is an error.
async fn more(socket: &mut Socket, bytes: &mut Vec<u8>) -> io::Result<()> {
    match socket.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
