//! One server: its shared connection, made anew when it breaks, and its connections for blocking commands.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_redis::{Pool, PoolError, Runtime, Timeouts};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::backoff::Backoff;
use super::dedicated::{Dedicated, Own, Place};
use super::dial::Dialer;
use super::outage::Outage;
use crate::Counters;

/// The most connections for blocking commands to one node: one per partition and waiting task, with room to spare.
const MAX_WAITING: usize = 256;

/// How long a connection counts as made just now.
const YOUNG: Duration = Duration::from_millis(100);

/// All servers that were ever asked, by address.
pub(crate) struct Nodes {
    dialer: Dialer,
    counters: Counters,
    known: Mutex<HashMap<Address, Arc<Node>>>,
}

impl Nodes {
    pub(crate) fn new(dialer: Dialer, counters: Counters) -> Self {
        Self { dialer, counters, known: Mutex::default() }
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// The server at `address`; does no I/O.
    pub(crate) fn get(&self, address: &Address) -> Arc<Node> {
        let mut known = self.known.lock();
        let make = || Arc::new(Node::new(address.clone(), self.dialer.clone(), self.counters.clone()));
        Arc::clone(known.entry(address.clone()).or_insert_with(make))
    }

    /// Forgets the servers that aren't in `wanted`: their connections end with the last call on them, and so do waits.
    pub(crate) fn keep(&self, wanted: &[Address]) {
        self.known.lock().retain(|address, _| wanted.contains(address));
    }
}

/// One server.
pub(crate) struct Node {
    pub(crate) address: Address,
    pub(crate) outage: Outage,
    /// Too few replicas have what it acknowledged.
    pub(crate) lacks_replicas: Outage,
    dialer: Dialer,
    counters: Counters,
    current: Mutex<Option<Wire>>,
    /// How many times a connection was tried, whatever came of it.
    tries: AtomicU64,
    dialing: tokio::sync::Mutex<Dialing>,
    waiting: Mutex<Option<Pool>>,
    dedicated: Dedicated,
}

/// One connection of many callers.
#[derive(Clone)]
struct Wire {
    number: u64,
    since: Instant,
    connection: MultiplexedConnection,
    /// Cancelled when the connection is dropped: what is still to come on it may be another call's reply.
    cut: CancellationToken,
}

/// The making of a connection; who holds it makes it for all.
struct Dialing {
    made: u64,
    failed: Option<RedisError>,
    not_before: Instant,
    backoff: Backoff,
}

/// What goes over a connection in one piece.
pub(crate) enum Packet<'a> {
    One(&'a Cmd),
    /// Each command's own error stays in its place, as a [`Value::ServerError`].
    Many(&'a Pipeline),
}

impl Node {
    fn new(address: Address, dialer: Dialer, counters: Counters) -> Self {
        let dialing =
            Dialing { made: 0, failed: None, not_before: Instant::now(), backoff: Backoff::of_call() };
        Self {
            address,
            outage: Outage::default(),
            lacks_replicas: Outage::default(),
            dialer,
            counters,
            current: Mutex::default(),
            tries: AtomicU64::new(0),
            dialing: tokio::sync::Mutex::new(dialing),
            waiting: Mutex::default(),
            dedicated: Dedicated::new(),
        }
    }

    /// Sends one command and reads its reply.
    pub(crate) async fn ask(&self, cmd: &Cmd) -> RedisResult<Value> {
        self.exchange(Packet::One(cmd)).await?.pop().unwrap_or(Value::Nil).extract_error()
    }

    /// Sends one command to a node that takes over its slot (ASKING), and reads its reply.
    pub(crate) async fn ask_ahead(&self, cmd: &Cmd) -> RedisResult<Value> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING").add_command(cmd.clone());
        self.exchange(Packet::Many(&pipeline)).await?.pop().unwrap_or(Value::Nil).extract_error()
    }

    /// Sends `packet` and reads as many replies as it has commands. After a response timeout the connection is dropped
    /// for everybody: a reply that comes late would be taken for the next call's.
    pub(crate) async fn exchange(&self, packet: Packet<'_>) -> RedisResult<Vec<Value>> {
        let wire = self.wire().await?;
        let answer = tokio::select! {
            biased;
            () = wire.cut.cancelled() => Err(io_error(io::ErrorKind::ConnectionAborted, "another call on this connection had no answer")),
            answer = timeout(self.dialer.response_timeout, send(wire.connection.clone(), packet)) => {
                answer.unwrap_or_else(|_| Err(io_error(io::ErrorKind::TimedOut, "no answer in time")))
            }
        };
        match &answer {
            Ok(replies) => {
                self.counters.round_trips.inc_by(replies.len() as u64);
            }
            Err(_) => self.drop_wire(wire.number),
        }
        answer
    }

    /// Drops the shared connection, so that the next call makes a new one. One that was made just now is kept: it isn't the
    /// one that the caller has in mind.
    pub(crate) fn hang_up(&self) {
        let old =
            self.current.lock().as_ref().filter(|wire| wire.since.elapsed() > YOUNG).map(|wire| wire.number);
        if let Some(number) = old {
            self.drop_wire(number);
        }
    }

    fn drop_wire(&self, number: u64) {
        let mut current = self.current.lock();
        if let Some(wire) = current.take_if(|wire| wire.number == number) {
            wire.cut.cancel();
        }
    }

    /// The shared connection; callers who find none wait for one attempt that one of them makes.
    async fn wire(&self) -> RedisResult<Wire> {
        if let Some(wire) = self.current.lock().clone() {
            return Ok(wire);
        }
        let seen = self.tries.load(Ordering::Acquire);
        let mut dialing = self.dialing.lock().await;
        if let Some(wire) = self.current.lock().clone() {
            return Ok(wire);
        }
        if self.tries.load(Ordering::Acquire) > seen
            && let Some(error) = &dialing.failed
        {
            return Err(error.clone());
        }
        sleep_until(dialing.not_before).await;
        let made = self.dialer.redis(&self.address).await;
        self.tries.fetch_add(1, Ordering::Release);
        match made {
            Ok(connection) => {
                dialing.made += 1;
                if dialing.made > 1 {
                    self.counters.reconnects.inc();
                }
                dialing.failed = None;
                dialing.backoff.reset();
                dialing.not_before = Instant::now() + Duration::from_millis(20);
                let wire = Wire {
                    number: dialing.made,
                    since: Instant::now(),
                    connection,
                    cut: CancellationToken::new(),
                };
                *self.current.lock() = Some(wire.clone());
                Ok(wire)
            }
            Err(error) => {
                dialing.not_before = Instant::now() + dialing.backoff.next();
                dialing.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// A connection of the caller's own, for blocking commands, and what says that waiting on it has become useless: a server
    /// that stopped, or is cut off, never ends a wait, so a wait lasts no longer than the shared connection, where calls
    /// find that out.
    pub(crate) async fn waiting(&self) -> RedisResult<(deadpool_redis::Connection, CancellationToken)> {
        let cut = self.wire().await?.cut;
        let pool = self.pool()?;
        match pool.get().await {
            Ok(connection) => Ok((connection, cut)),
            Err(PoolError::Backend(error)) => Err(error),
            Err(error) => Err(io_error(io::ErrorKind::TimedOut, &error.to_string())),
        }
    }

    /// The dedicated connections to this node.
    pub(crate) fn dedicated(&self) -> &Dedicated {
        &self.dedicated
    }

    /// A dedicated connection. A new one is made only while there is a shared one, which one caller makes for all: however
    /// many calls fail, a server that is away is dialled by one of them.
    pub(crate) async fn own(&self, place: Place) -> RedisResult<Own> {
        let make = async || {
            self.wire().await?;
            self.dialer.redis(&self.address).await
        };
        let connection = match self.dedicated.idle() {
            Some(connection) => connection,
            None => Box::pin(make()).await?,
        };
        Ok(self.dedicated.lend(place, connection))
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long a reply may take that nothing holds up.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.dialer.response_timeout
    }

    fn pool(&self) -> RedisResult<Pool> {
        let mut waiting = self.waiting.lock();
        if let Some(pool) = &*waiting {
            return Ok(pool.clone());
        }
        let timeouts = Timeouts {
            wait: Some(self.dialer.response_timeout),
            create: Some(self.dialer.connect_timeout),
            recycle: Some(self.dialer.response_timeout),
        };
        let pool = Pool::builder(self.dialer.manager(&self.address)?)
            .max_size(MAX_WAITING)
            .runtime(Runtime::Tokio1)
            .timeouts(timeouts)
            .build()
            .map_err(|error| RedisError::from((ErrorKind::Client, "no pool", error.to_string())))?;
        *waiting = Some(pool.clone());
        Ok(pool)
    }
}

impl Drop for Node {
    /// Nobody calls any more, so nobody would find out that this server answers no one: who waits there need wait no longer.
    fn drop(&mut self) {
        if let Some(wire) = self.current.get_mut() {
            wire.cut.cancel();
        }
    }
}

async fn send(mut connection: MultiplexedConnection, packet: Packet<'_>) -> RedisResult<Vec<Value>> {
    match packet {
        Packet::One(cmd) => Ok(vec![connection.send_packed_command(cmd).await?]),
        Packet::Many(pipeline) => connection.send_packed_commands(pipeline, 0, pipeline.len()).await,
    }
}

fn io_error(kind: io::ErrorKind, sentence: &str) -> RedisError {
    io::Error::new(kind, sentence.to_owned()).into()
}
