//! One stream after another connection, until its end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::judge::{Stage, Stream};
use super::tally::{Growing, Shared};
use super::{Holding, Socket};
use crate::clock::now_us;
use crate::marks::Marks;
use crate::wire::{Body, Broken, Frames, Head};

/// The wait before a stream is opened again, where the server didn't say.
const RETRY: Duration = Duration::from_secs(2);
/// How long the head of an answer may take.
const HEAD_PATIENCE: Duration = Duration::from_mins(1);
/// The piece that is read at once, shared by all streams.
const BUFFER: usize = 64 * 1024;

/// All that the streams of one thread share.
pub(super) struct Held {
    pub(super) holding: Holding,
    pub(super) streams: Vec<RefCell<Stream>>,
    pub(super) tally: RefCell<Growing>,
    marks: Vec<RefCell<Marks>>,
    buffer: RefCell<Box<[u8]>>,
    permits: Semaphore,
    shared: Arc<Shared>,
    turn: Cell<usize>,
}

/// Why a stream couldn't be opened, or broke.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", said(.0))]
    Io(#[from] io::Error),
    #[error("{0}")]
    Broken(#[from] Broken),
    #[error("status {0}")]
    Status(u16),
    #[error("an answer that is no event stream")]
    NoStream,
}

/// How a connection was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The stream is at its end.
    AtEnd,
    /// It was cut; the server asks to wait so long.
    Cut(Option<Duration>),
}

impl Held {
    pub(super) fn new(holding: Holding, shared: Arc<Shared>) -> Self {
        let logs = holding.logs.iter().enumerate();
        let streams = logs.flat_map(|(at, log)| (0..log.streams).map(move |_| RefCell::new(Stream::of(at))));
        Self {
            streams: streams.collect(),
            marks: holding.logs.iter().map(|_| RefCell::default()).collect(),
            permits: Semaphore::new(holding.opening.max(1)),
            tally: RefCell::new(Growing::new()),
            buffer: RefCell::new(vec![0; BUFFER].into()),
            turn: Cell::new(0),
            holding,
            shared,
        }
    }

    /// From now on any number of streams may be opened at once.
    pub(super) fn open_all_at_once(&self) {
        self.permits.add_permits(self.streams.len());
    }

    fn error(&self, failure: &Failure) {
        let text = failure.to_string();
        self.shared.tell_error(text.clone());
        self.tally.borrow_mut().error(text);
    }
}

/// Follows stream `index` to its end, after `wait`.
pub(super) async fn follow(held: Rc<Held>, index: usize, wait: Duration) {
    if !wait.is_zero() {
        sleep(wait).await;
    }
    loop {
        let retry = match visit(&held, index).await {
            Ok(Left::AtEnd) => {
                held.streams[index].borrow_mut().stage = Stage::Ended;
                held.tally.borrow_mut().counts.ended += 1;
                return;
            }
            Ok(Left::Cut(retry)) => {
                held.tally.borrow_mut().counts.cuts += 1;
                retry
            }
            Err(failure) => {
                held.tally.borrow_mut().counts.failures += 1;
                held.error(&failure);
                None
            }
        };
        let jitter = if retry.is_some() { 1.0 } else { rand::random_range(0.5..1.5) };
        sleep(retry.unwrap_or(RETRY).mul_f64(jitter)).await;
    }
}

/// One connection.
async fn visit(held: &Held, index: usize) -> Result<Left, Failure> {
    let permit = held.permits.acquire().await.ok();
    let began = Instant::now();
    let turn = held.turn.replace(held.turn.get() + 1);
    let server = &held.holding.servers[turn % held.holding.servers.len()];
    let sources = &held.holding.sources;
    let source = (!sources.is_empty()).then(|| sources[turn % sources.len()]);
    let mut socket = Socket::connect(server, source).await?;
    let request = request(held, index, &server.host, &server.base);
    socket.write_all(request.as_bytes()).await?;
    let (head, rest) = timeout(HEAD_PATIENCE, read_head(&mut socket)).await.map_err(io::Error::from)??;
    match head.status {
        204 => return Ok(Left::AtEnd),
        200 if head.is_stream => {}
        200 => return Err(Failure::NoStream),
        status => return Err(Failure::Status(status)),
    }
    drop(permit);
    let open = Open::begin(held, index, began.elapsed());
    let left = read(held, index, &mut socket, Body::of(&head), &rest).await;
    drop(open);
    left
}

fn request(held: &Held, index: usize, host: &str, base: &str) -> String {
    let stream = held.streams[index].borrow();
    let path = &held.holding.logs[stream.log].path;
    let key = held.holding.key.as_ref();
    let authorization = key.map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
    let id = stream.last_event_id();
    format!(
        "GET {base}{path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n{authorization}{id}\r\n"
    )
}

/// Reads the answer's head, and what came after it.
async fn read_head(socket: &mut Socket) -> Result<(Head, Vec<u8>), Failure> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some((head, length)) = Head::read(&bytes)? {
            bytes.drain(..length);
            return Ok((head, bytes));
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// Reads the stream until it ends or breaks.
async fn read(
    held: &Held,
    index: usize,
    socket: &mut Socket,
    mut body: Body,
    rest: &[u8],
) -> Result<Left, Failure> {
    let mut frames = Frames::default();
    let mut retry = None;
    take(held, index, &mut body, &mut frames, rest)?;
    while !body.ended() {
        let got = poll_fn(|cx| {
            let buffer = &mut *held.buffer.borrow_mut();
            let mut buffer = ReadBuf::new(buffer);
            let read = ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer));
            let bytes = buffer.filled();
            Poll::Ready(read.map_err(Failure::from).and_then(|()| {
                take(held, index, &mut body, &mut frames, bytes)?;
                Ok(bytes.len())
            }))
        });
        let got = got.await;
        retry = frames.take_retry().or(retry);
        match got {
            Ok(0) => break,
            Ok(_) => {}
            // What breaks a stream after its head is a cut, and no failure to open it.
            Err(Failure::Io(error)) => {
                held.error(&error.into());
                break;
            }
            Err(failure) => return Err(failure),
        }
    }
    let at_end = held.streams[index].borrow().stage >= Stage::AtEnd;
    Ok(if at_end { Left::AtEnd } else { Left::Cut(retry.map(Duration::from_millis)) })
}

/// Takes what came for stream `index`.
fn take(held: &Held, index: usize, body: &mut Body, frames: &mut Frames, bytes: &[u8]) -> Result<(), Broken> {
    if bytes.is_empty() {
        return Ok(());
    }
    let stream = &mut *held.streams[index].borrow_mut();
    let marks = &mut *held.marks[stream.log].borrow_mut();
    let tally = &mut *held.tally.borrow_mut();
    tally.counts.reads += 1;
    tally.counts.bytes += bytes.len() as u64;
    let (now, mut broken) = (now_us(), None);
    body.feed(bytes, |piece| {
        if let Err(error) = frames.feed(piece, |frame| stream.take(frame, now, marks, tally)) {
            broken = Some(error);
        }
    })?;
    broken.map_or(Ok(()), Err)
}

/// What an error of the network says, with what to do where it isn't plain.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "no local port is left for one more connection, or the address isn't this machine's: give (more) --bind".into()
        }
        io::ErrorKind::UnexpectedEof => "the connection ended before an answer".into(),
        _ => error.to_string(),
    }
}

/// Counts an open stream as long as it lives.
struct Open<'a>(&'a Held);

impl<'a> Open<'a> {
    fn begin(held: &'a Held, index: usize, took: Duration) -> Self {
        let (mut stream, mut tally) = (held.streams[index].borrow_mut(), held.tally.borrow_mut());
        tally.counts.open += 1;
        tally.counts.connections += 1;
        tally.counts.last_opening_us = now_us();
        if stream.stage == Stage::New {
            stream.stage = Stage::Opened;
            tally.counts.opened += 1;
            tally.opening.add(took);
        } else {
            tally.reopening.add(took);
        }
        Self(held)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.tally.borrow_mut().counts.open -= 1;
    }
}
