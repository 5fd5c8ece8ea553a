//! A TCP proxy before a server, which breaks on demand.
//!
//! ```text
//! client ── 127.0.0.1:PORT ── Proxy ── server
//!              pass · pass_new · refuse · blackhole · cut · hold_clients
//!              delay_replies
//!              close_every_nth_reply · drop_messages   (where the server speaks RESP)
//! ```
//!
//! It passes any protocol; the last two rules need a server that speaks RESP2 or RESP3, whose replies are then passed
//! on whole.

mod connection;
mod hold;
mod resp;
mod rules;

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use hold::Held;
pub use resp::{FrameError, Framer};

use crate::free_port;
use hold::Hold;
use rules::Rules;

/// A breakable TCP proxy. Modes and rules are switched while it runs; dropping it closes everything.
///
/// It runs on the Tokio runtime on which it was started: a test that blocks its only thread blocks the proxy too.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    runtime: Handle,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    address: SocketAddr,
    /// `None` while connections are refused.
    listener: Mutex<Option<TcpListener>>,
    /// Tells the accepting task that there is a new listener.
    reopened: Notify,
    state: watch::Sender<State>,
    rules: Rules,
    /// The number of the next rule about clients.
    next_hold: AtomicU64,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

/// What every connection watches.
#[derive(Debug, Clone, PartialEq)]
struct State {
    /// Nothing passes.
    held: bool,
    /// Of these clients nothing passes.
    holds: Vec<Hold>,
    /// A connection that began in an earlier epoch is closed.
    epoch: u64,
    /// Through a connection that began in an earlier era nothing passes any more.
    era: u64,
}

impl State {
    /// Closes all connections, and holds nothing back but what is held for its client's sake.
    fn begin_anew(&mut self) {
        self.held = false;
        self.epoch += 1;
    }
}

impl Proxy {
    /// Starts a proxy on a free port of 127.0.0.1 before the server at `upstream` (`host:port`), passing everything.
    ///
    /// The server needn't run yet: a connection that can't be made on is closed.
    pub async fn start(upstream: impl Into<String>) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, free_port()).into(), upstream).await
    }

    /// The same at `address`, on which nothing may listen.
    #[allow(
        clippy::unused_async,
        reason = "the other parts of the kit start by an await too, and it needs a runtime"
    )]
    pub async fn start_at(address: SocketAddr, upstream: impl Into<String>) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.into(),
            address,
            listener: Mutex::new(Some(listen(address))),
            reopened: Notify::new(),
            state: watch::Sender::new(State { held: false, holds: Vec::new(), epoch: 0, era: 0 }),
            rules: Rules::default(),
            next_hold: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept_all(Arc::clone(&shared)));
        Self { shared, runtime: Handle::current(), _accepting: accepting }
    }

    /// Its own address, such as `127.0.0.1:PORT`.
    pub fn addr(&self) -> String {
        self.shared.address.to_string()
    }

    /// The same as an address.
    pub fn socket_addr(&self) -> SocketAddr {
        self.shared.address
    }

    /// Its own address as a Redis URL, `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Passes everything from now on, and drops the rules. What a black hole held back arrives now.
    pub fn pass(&self) {
        self.shared.rules.clear();
        self.open_with(|state| state.held = false);
    }

    /// Passes what comes on new connections. Through those that are open nothing passes any more, not even an end, as
    /// where a machine lost its power and is there again: it knows nothing of them, and the network lost what it said to that.
    pub fn pass_new(&self) {
        self.open_with(|state| (state.held, state.era) = (false, state.era + 1));
    }

    /// Closes all connections, and refuses new ones as a host does on which nothing listens.
    pub fn refuse(&self) {
        let mut listener = self.shared.listener.lock();
        *listener = None;
        self.shared.state.send_modify(State::begin_anew);
    }

    /// Keeps connections open and accepts new ones, but passes nothing in either direction, not even an end, as a
    /// network that loses every packet.
    pub fn blackhole(&self) {
        self.open_with(|state| state.held = true);
    }

    /// As long as what this returns lives, passes nothing on connections of those clients for whose own address `whose` says true,
    /// new ones included, as [`Self::blackhole`] does on all. Where it says `None`, that isn't known yet, and nothing passes until
    /// it is: see [`Held::ask_again`]. It is asked in the middle of a connection's work, so it must be quick. Independent of
    /// modes: [`Self::pass`] doesn't end it.
    pub fn hold_clients(&self, whose: impl Fn(SocketAddr) -> Option<bool> + Send + Sync + 'static) -> Held {
        let number = self.shared.next_hold.fetch_add(1, Ordering::SeqCst);
        Held::new(Arc::clone(&self.shared), Hold::new(number, Arc::new(whose)))
    }

    /// Closes all connections once; new ones pass. Rules stay.
    pub fn cut(&self) {
        self.open_with(State::begin_anew);
    }

    /// From now on passes what the server says only `delay` after it has come: on each connection one read after the other, so
    /// that the delays of many add up. What the clients say passes at once. Zero ends it.
    pub fn delay_replies(&self, delay: Duration) {
        self.shared.rules.delay_by(delay);
    }

    /// From now on, in place of every `n`-th reply of the server, closes the connection on which it would have
    /// passed: the command has been executed, its answer is lost. Counted over all connections together, replies
    /// to the client's handshake included (so a small `n` may let nobody in); pushes are no replies. 0 ends it.
    pub fn close_every_nth_reply(&self, n: usize) {
        self.shared.rules.close_every(n);
    }

    /// From now on swallows those RESP3 pub/sub messages (`message` and `smessage` pushes) for which `drops` says
    /// true of their channel and payload; everything else passes whole.
    pub fn drop_messages(&self, drops: impl Fn(&str, &[u8]) -> bool + Send + Sync + 'static) {
        self.shared.rules.drop_messages(Arc::new(drops));
    }

    /// How many replies were lost by [`Self::close_every_nth_reply`] so far.
    pub fn replies_swallowed(&self) -> usize {
        self.shared.rules.replies_swallowed()
    }

    /// How many messages were lost by [`Self::drop_messages`] so far.
    pub fn messages_dropped(&self) -> usize {
        self.shared.rules.messages_dropped()
    }

    /// How many connections it has accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    fn open_with(&self, change: impl FnOnce(&mut State)) {
        let mut listener = self.shared.listener.lock();
        self.shared.state.send_modify(change);
        if listener.is_none() {
            let _context = self.runtime.enter();
            *listener = Some(listen(self.shared.address));
            self.shared.reopened.notify_one();
        }
    }
}

/// Listens on a port again and again: the standard library sets `SO_REUSEADDR`.
fn listen(address: SocketAddr) -> TcpListener {
    let listener = std::net::TcpListener::bind(address).expect("the reserved port is free");
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    TcpListener::from_std(listener).expect("the proxy is used within a Tokio runtime")
}

async fn accept_all(shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (client, began, state) = shared.accept() => {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection::run(client, began, state, Arc::clone(&shared)));
            }
            Some(_over) = connections.join_next() => {}
        }
    }
}

impl Shared {
    /// The next connection, the state in whose epoch and era it began, and its view of it.
    async fn accept(&self) -> (TcpStream, State, watch::Receiver<State>) {
        loop {
            let accepted = poll_fn(|cx| {
                // Under the lock, so that a `refuse` comes wholly before or wholly after.
                let listener = self.listener.lock();
                let Some(listener) = listener.as_ref() else { return Poll::Pending };
                listener
                    .poll_accept(cx)
                    .map_ok(|(client, _)| (client, self.state.borrow().clone(), self.state.subscribe()))
            });
            tokio::select! {
                accepted = accepted => match accepted {
                    Ok(accepted) => return accepted,
                    Err(_out_of_files) => sleep(Duration::from_millis(10)).await,
                },
                () = self.reopened.notified() => {}
            }
        }
    }
}
