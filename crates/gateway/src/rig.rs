//! Streams on sockets that are none, for tests: a log and its streams, which a runtime drives as a gateway's are driven. Redis is
//! never reached: what is published is told to the log.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Response;
use model::several::{ListHash, Seen};
use model::{JobId, Mark, Partition, Position, Timestamp};
use prometheus_client::metrics::counter::Counter;
use service::config::Config;
use service::health::Health;
use service::metrics::Metrics;
use service::stop::Shutdown;
use store::{LiveSink, Options, Store, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};

use crate::carrier::bare::BareStream;
use crate::carrier::framing::Framing;
use crate::carrier::head::{HeadLimit, Serving};
use crate::carrier::socket::Socket;
use crate::carrier::stall::Stall;
use crate::carrier::stream::{EventStream, Source, as_it_is};
use crate::hub::{Member, Several, begun};
use crate::{App, Parts};

/// A client: how much it takes of what it is offered.
pub(crate) trait Take: Unpin + Send + 'static {
    fn take(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<usize>;
}

/// The socket of a client that says nothing.
struct Silent<T>(T);

impl<T: Unpin> AsyncRead for Silent<T> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl<T: Take> AsyncWrite for Silent<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.take(cx, pieces).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A log of a rig.
struct Heard {
    sink: Arc<dyn LiveSink>,
    seq: Cell<u64>,
}

/// An event of one of the logs.
pub(crate) struct Event {
    log: usize,
    /// As it is published.
    entry: Bytes,
}

impl Event {
    /// The same, as its job's last.
    pub(crate) fn as_the_last(&self) -> Self {
        let entry = std::str::from_utf8(&self.entry).unwrap().replacen(" progress ", " completed ", 1).into();
        Self { log: self.log, entry }
    }

    /// As streams of its log alone tell it.
    pub(crate) fn frame(&self) -> String {
        let words: Vec<_> = std::str::from_utf8(&self.entry).unwrap().splitn(5, ' ').collect();
        let [seq, mark, _, name, json] = words[..] else { panic!("{:?}", self.entry) };
        format!("event: {name}\ndata: {json}\nid: {seq}-{mark}\n\n")
    }
}

/// Logs with streams.
pub(crate) struct Rig {
    /// What the gateway does beside its streams has a runtime of its own, which stands still.
    _still: Runtime,
    runtime: Runtime,
    streams: JoinSet<()>,
    logs: Vec<Heard>,
    /// Whose turn it is to have an event.
    turn: Cell<usize>,
}

/// A gateway's state, with the Redis at `url`.
pub(crate) fn app(url: &str) -> App {
    let store = Store::new(Options::new(Target::parse(url).unwrap()));
    let config = Arc::new(Config::default());
    App::new(Parts { store, config, health: Health::new(), metrics: Metrics::new() }, Shutdown::manual())
}

fn socket<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> Socket<T> {
    let head = HeadLimit::new(Duration::from_mins(1), Serving::default());
    Socket::new(io, head, Stall::new(Duration::from_mins(1), Counter::default()))
}

fn mark(seq: u64) -> Mark {
    let [low, middle, high, ..] = seq.to_le_bytes();
    Mark::from_bytes([high, middle, low])
}

impl Rig {
    /// A log without an event, with a stream to each of `clients`.
    pub(crate) fn new(framing: Framing, clients: impl IntoIterator<Item = impl Take>) -> Self {
        Self::on(framing, clients.into_iter().map(Silent))
    }

    /// A log without an event, with a stream on each of `sockets`.
    pub(crate) fn on<T>(framing: Framing, sockets: impl IntoIterator<Item = T>) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let follow = |app: &App, jobs: &[JobId]| Source::Log(app.hub().follow(jobs[0], Position::START));
        Self::with(framing, sockets, 1, follow)
    }

    /// `logs` logs without an event, with a stream of all of them to each of `clients`.
    pub(crate) fn of_several(clients: impl IntoIterator<Item = impl Take>, logs: u8) -> Self {
        let follow = |app: &App, jobs: &[JobId]| {
            let member = |&job: &JobId| Member::open(app.hub(), job.into(), Seen::NOTHING);
            let members = jobs.iter().map(member).collect();
            Source::Several(Box::new(Several::of_jobs(app.hub(), ListHash::of_jobs(jobs), members)))
        };
        Self::with(Framing::Chunked, clients.into_iter().map(Silent), logs, follow)
    }

    fn with<T>(
        framing: Framing,
        sockets: impl IntoIterator<Item = T>,
        logs: u8,
        follow: impl Fn(&App, &[JobId]) -> Source,
    ) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let still = Builder::new_current_thread().build().unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let mut streams = JoinSet::new();
        let here = still.enter();
        let app = app("redis://127.0.0.1:1");
        let jobs: Vec<_> =
            (0..logs).map(|n| JobId::new(Timestamp::from_millis(1), [n; 10], Partition(0))).collect();
        let begin = |&job: &JobId| {
            let (sink, first) = begun(app.hub(), job.into());
            (Heard { sink, seq: Cell::new(0) }, first)
        };
        let (logs, first): (Vec<_>, Vec<_>) = jobs.iter().map(begin).unzip();
        let (parts, ()) = Response::new(()).into_parts();
        for io in sockets {
            let stream = EventStream::new(app.clone(), None, follow(&app, &jobs), as_it_is);
            let stream = BareStream::new(socket(io), framing, &parts, stream, Duration::ZERO);
            streams.spawn_on(async move { stream.await.unwrap() }, runtime.handle());
        }
        drop((first, here));
        Self { _still: still, runtime, streams, logs, turn: Cell::new(0) }
    }

    /// How many streams there are.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The next events, each with so many bytes of JSON, of the logs in turn.
    pub(crate) fn events(&self, sizes: impl IntoIterator<Item = usize>) -> Vec<Event> {
        let event = |size: usize| {
            let log = self.turn.get();
            self.turn.set((log + 1) % self.logs.len());
            let seq = self.logs[log].seq.get() + 1;
            self.logs[log].seq.set(seq);
            let json = "x".repeat(size.saturating_sub(2));
            let entry = format!("{seq} {} {} progress \"{json}\"", mark(seq), mark(seq - 1)).into();
            Event { log, entry }
        };
        sizes.into_iter().map(event).collect()
    }

    /// The logs hear `events`, all before any stream does anything; then the streams run until `done`.
    pub(crate) fn hear(&self, events: &[Event], done: impl Fn() -> bool) {
        self.runtime.block_on(async {
            for event in events {
                self.logs[event.log].sink.entry(event.entry.clone());
            }
            while !done() {
                yield_now().await;
            }
        });
    }
}
