//! One connection through the proxy.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::hold::Judged;
use super::resp::Framer;
use super::rules::{Rules, Verdict};
use super::{Shared, State};

/// How long a client may take to notice that its connection was ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one client until either side is done or a new epoch begins.
pub(super) async fn run(
    client: TcpStream,
    began: State,
    mut state: watch::Receiver<State>,
    shared: Arc<Shared>,
) {
    let _counted = Counted::new(&shared.open);
    let Ok(peer) = client.peer_addr() else { return };
    let mut gate = Gate { state: state.clone(), era: began.era, judged: Judged::new(peer) };
    tokio::select! {
        // Either side's error ends the connection; the other side sees that it is closed.
        _ = serve(client, &mut gate, &shared) => {}
        _ = state.wait_for(|state| state.epoch != began.epoch) => {}
    }
}

async fn serve(client: TcpStream, gate: &mut Gate, shared: &Shared) -> io::Result<()> {
    gate.pass().await;
    let server = TcpStream::connect(&shared.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut gate_up = gate.clone();
    tokio::select! {
        error = commands(&mut from_client, to_server, &mut gate_up) => return error,
        over = replies(from_server, &mut to_client, gate, &shared.rules) => over?,
    }
    // The server's half is closed by now. Closing a socket with unread bytes would be a reset, which can cost the
    // client replies that had passed already: so end it, and read until the client has seen the end.
    to_client.shutdown().await?;
    let mut unread = BytesMut::with_capacity(16 << 10);
    let _ = timeout(FAREWELL, async {
        while from_client.read_buf(&mut unread).await.is_ok_and(|n| n > 0) {
            unread.clear();
        }
    })
    .await;
    Ok(())
}

/// Client to server. Returns only on an error: after the client's end, the server decides when all is over.
async fn commands(from: &mut OwnedReadHalf, mut to: OwnedWriteHalf, gate: &mut Gate) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        gate.pass().await;
        let read = from.read_buf(&mut buffer).await?;
        gate.pass().await; // it may have been held while we read; that goes for the end too
        if read == 0 {
            to.shutdown().await?;
            std::future::pending::<()>().await;
        }
        to.write_all_buf(&mut buffer).await?;
    }
}

/// Server to client, frame by frame. Returns at the server's end, or where a rule says to close.
async fn replies(
    mut from: OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    gate: &mut Gate,
    rules: &Rules,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    let mut cutter = Cutter::default();
    loop {
        gate.pass().await;
        let read = from.read_buf(&mut buffer).await;
        let delay = rules.delay();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        gate.pass().await;
        if read? == 0 {
            return Ok(());
        }
        let (mut passing, close) = cutter.cut(&mut buffer, rules);
        to.write_all_buf(&mut passing).await?;
        if close {
            return Ok(());
        }
    }
}

/// Cuts a server's bytes into frames, and applies the rules to each.
#[derive(Default)]
struct Cutter {
    framer: Framer,
    /// Bytes of an incomplete frame that the framer has seen.
    seen: usize,
    /// It isn't RESP, or no longer (what a replica is sent): everything passes.
    raw: bool,
}

impl Cutter {
    /// Takes all whole frames out of `buffer`; says what passes, and whether to close after it.
    fn cut(&mut self, buffer: &mut BytesMut, rules: &Rules) -> (BytesMut, bool) {
        let mut passing = BytesMut::new();
        while !self.raw {
            match self.framer.advance(&buffer[self.seen..]) {
                Ok(Some(end)) => {
                    let frame = buffer.split_to(self.seen + end);
                    self.seen = 0;
                    // A file without a line end follows, and then commands, which are no replies.
                    let begin = [&b"+FULLRESYNC"[..], b"+CONTINUE", b"+RDBCHANNELSYNC", b"+DUALCHANNELSYNC"];
                    self.raw = begin.iter().any(|word| frame.starts_with(word));
                    match rules.judge(&frame) {
                        Verdict::Pass => passing.unsplit(frame),
                        Verdict::Drop => {}
                        Verdict::Close => return (passing, true),
                    }
                }
                Ok(None) => {
                    self.seen = buffer.remaining();
                    return (passing, false);
                }
                Err(_not_resp) => self.raw = true,
            }
        }
        passing.unsplit(buffer.split());
        (passing, false)
    }
}

/// Lets through while nothing is held, and its connection isn't of an earlier era.
#[derive(Clone)]
struct Gate {
    state: watch::Receiver<State>,
    era: u64,
    judged: Judged,
}

impl Gate {
    async fn pass(&mut self) {
        let Self { state, era, judged } = self;
        // An error means that the proxy is gone; its drop ends this task too.
        let passes = |state: &State| !state.held && state.era == *era && !judged.is_held_by(&state.holds);
        let _ = state.wait_for(passes).await;
    }
}

/// Counts itself as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
