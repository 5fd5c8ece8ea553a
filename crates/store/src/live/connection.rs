//! The bytes of a live connection: RESP3 from and to one server.

use std::io;

use bytes::{Bytes, BytesMut};
use redis_protocol::resp3::decode::complete::decode_bytes_mut;
use redis_protocol::resp3::types::BytesFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::connect::{Address, Dialer, Socket};

/// How much room a read has at least; what is read together is decoded together.
const READ_ROOM: usize = 16 * 1024;

/// What a server may say on a live connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// `ssubscribe`: a channel stands.
    Subscribed(Bytes),
    /// `sunsubscribe`: a channel is gone, asked for or not.
    Unsubscribed(Bytes),
    /// `smessage`: a publication.
    Message { channel: Bytes, payload: Bytes },
    /// The answer to a PING, with its payload.
    Pong(Bytes),
    /// An error, which breaks the connection: it isn't said which command it answers.
    Error(String),
    /// Another push, which is none of ours.
    Other,
}

/// What arrives.
pub(super) struct Reader {
    socket: ReadHalf<Box<dyn Socket>>,
    buffer: BytesMut,
}

/// What is to be sent.
pub(super) struct Writer {
    socket: WriteHalf<Box<dyn Socket>>,
    pub(super) buffer: BytesMut,
    is_unflushed: bool,
}

/// Connects, logs in with RESP3 and names the connection, within the dialer's connect timeout. A server that says that it is
/// no primary is an error.
pub(super) async fn open(dialer: &Dialer, address: &Address) -> io::Result<(Reader, Writer)> {
    let opened = timeout(dialer.connect_timeout, async {
        let (reader, writer) = tokio::io::split(dialer.socket(address).await?);
        let mut reader = Reader { socket: reader, buffer: BytesMut::with_capacity(4 * READ_ROOM) };
        let mut writer = Writer { socket: writer, buffer: BytesMut::new(), is_unflushed: false };
        command(&mut writer.buffer, &hello(dialer));
        while writer.is_pending() {
            writer.write().await?;
        }
        match reader.frame().await? {
            BytesFrame::Map { data, .. } => check_role(&data)?,
            BytesFrame::SimpleError { data, .. } => return Err(io::Error::other(data.to_string())),
            _ => return Err(io::Error::other("the server doesn't answer HELLO as Redis does")),
        }
        Ok((reader, writer))
    });
    opened.await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
}

fn hello(dialer: &Dialer) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &dialer.login.password {
        let user = dialer.login.user.as_deref().unwrap_or("default");
        parts.extend([b"AUTH", user.as_bytes(), password.as_bytes()]);
    }
    parts.extend([&b"SETNAME"[..], b"jobcast-live"]);
    parts
}

fn check_role(fields: &std::collections::HashMap<BytesFrame, BytesFrame>) -> io::Result<()> {
    let text = |frame: &BytesFrame| match frame {
        BytesFrame::BlobString { data, .. } | BytesFrame::SimpleString { data, .. } => data.clone(),
        _ => Bytes::new(),
    };
    let role = fields.iter().find(|(name, _)| text(name) == "role").map(|(_, role)| text(role));
    match role {
        Some(role) if role != "master" => Err(io::Error::other("the server is no primary")),
        _ => Ok(()),
    }
}

impl Reader {
    /// Reads what there is, and waits for it if there is nothing; `false` at the end. Losing this future loses no bytes.
    pub(super) async fn read(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ_ROOM);
        Ok(self.socket.read_buf(&mut self.buffer).await? > 0)
    }

    /// The next thing said, if it has arrived whole. Its bytes are the read buffer's own.
    pub(super) fn next(&mut self) -> io::Result<Option<Said>> {
        next(&mut self.buffer)
    }

    async fn frame(&mut self) -> io::Result<BytesFrame> {
        loop {
            if let Some(frame) = decoded(&mut self.buffer)? {
                return Ok(frame);
            }
            if !self.read().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The next thing said that is whole in `buffer`, which is taken out of it.
pub(super) fn next(buffer: &mut BytesMut) -> io::Result<Option<Said>> {
    Ok(decoded(buffer)?.map(said))
}

fn decoded(buffer: &mut BytesMut) -> io::Result<Option<BytesFrame>> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let decoded = decode_bytes_mut(buffer);
    decoded.map(|frame| frame.map(|(frame, ..)| frame)).map_err(io::Error::other)
}

fn said(frame: BytesFrame) -> Said {
    match frame {
        BytesFrame::Push { data, .. } => pushed(data),
        BytesFrame::BlobString { data, .. } | BytesFrame::SimpleString { data, .. } => Said::Pong(data),
        BytesFrame::SimpleError { data, .. } => Said::Error(data.to_string()),
        BytesFrame::BlobError { data, .. } => Said::Error(String::from_utf8_lossy(&data).into_owned()),
        other => Said::Error(format!("an unexpected reply: {other:?}")),
    }
}

fn pushed(data: Vec<BytesFrame>) -> Said {
    let mut parts = data.into_iter().map(|part| match part {
        BytesFrame::BlobString { data, .. } | BytesFrame::SimpleString { data, .. } => Some(data),
        _ => None,
    });
    let mut next = || parts.next().flatten();
    let (Some(kind), Some(channel)) = (next(), next()) else { return Said::Other };
    match &kind[..] {
        b"smessage" => next().map_or(Said::Other, |payload| Said::Message { channel, payload }),
        b"ssubscribe" => Said::Subscribed(channel),
        b"sunsubscribe" => Said::Unsubscribed(channel),
        _ => Said::Other,
    }
}

impl Writer {
    /// Is there something to write or to flush?
    pub(super) fn is_pending(&self) -> bool {
        self.is_unflushed || !self.buffer.is_empty()
    }

    /// Writes some of the buffer, or flushes what was written. Losing this future loses no bytes.
    pub(super) async fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.socket.flush().await?;
            self.is_unflushed = false;
            return Ok(());
        }
        self.is_unflushed = true;
        match self.socket.write_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            _ => Ok(()),
        }
    }
}

/// Appends a command to `out`.
pub(super) fn command<P: AsRef<[u8]>>(out: &mut BytesMut, parts: &[P]) {
    length(out, b'*', parts.len());
    for part in parts {
        let part = part.as_ref();
        length(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a command of a name and arguments to `out`.
pub(super) fn named_command(out: &mut BytesMut, name: &'static [u8], args: &[Bytes]) {
    length(out, b'*', args.len() + 1);
    for part in std::iter::once(name).chain(args.iter().map(|arg| &arg[..])) {
        length(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn length(out: &mut BytesMut, kind: u8, length: usize) {
    out.extend_from_slice(&[kind]);
    out.extend_from_slice(length.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}
