//! Connections: every call goes to the primary of its slot, over one shared connection per node, and is tried again until
//! it is answered or patience is over.
//!
//! ```text
//! Router ── Topology (who is the slot's primary: single, sentinel, cluster)
//!    │            ▲ refreshed by whatever doesn't answer as a primary does
//!    └── Node ── one multiplexed connection for all calls, made anew by one caller for all,
//!                a pool of connections for blocking commands,
//!                and dedicated ones for calls that wait until replicas have what they wrote
//! ```
//!
//! A call may be sent more than once, since a lost reply doesn't say whether it happened: steps are made for that.

mod address;
pub(crate) mod backoff;
mod cluster;
#[cfg(test)]
mod cluster_tests;
mod dedicated;
mod dial;
mod node;
mod outage;
mod replicated;
mod sentinel;
#[cfg(test)]
mod sentinel_tests;
mod single;
mod slot_map;
pub(crate) mod target;
#[cfg(test)]
mod tests;
mod topology;
mod tries;
mod turn;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) use address::Address;
pub(crate) use backoff::Backoff;
pub(crate) use dial::{Dialer, Socket};
pub(crate) use outage::Outage;
pub(crate) use replicated::Acknowledged;
pub(crate) use topology::Topology;

use crate::partition::Slot;
use crate::script::ScriptCall;
use crate::{Counters, Durability, Options, StoreError};
use node::{Node, Nodes, Packet};
use tries::{Route, Tries};
use verdict::{Verdict, final_error};

/// What can't be done while nobody says who the primary is.
const WHO: &str = "finding the primary";

/// What is asked of Redis.
pub(crate) enum Request<'a> {
    /// A step: by its hash, and by its text where that isn't known.
    Script(&'a ScriptCall),
    /// A plain command. May be sent more than once.
    Command(&'a Cmd),
}

/// The way to the primaries of one Redis. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router {
    shared: Arc<Shared>,
}

struct Shared {
    topology: Topology,
    nodes: Arc<Nodes>,
    patience: Duration,
    durability: Durability,
    connected: AtomicBool,
    /// Nobody says who the primary is.
    lost_track: Outage,
}

impl Router {
    /// A way to Redis. Does no I/O.
    pub(crate) fn new(options: &Options, counters: Counters) -> Self {
        let nodes = Arc::new(Nodes::new(Dialer::new(options), counters));
        let topology = Topology::new(&options.target, &nodes);
        Self {
            shared: Arc::new(Shared {
                topology,
                nodes,
                patience: options.patience,
                durability: options.durability,
                connected: AtomicBool::new(false),
                lost_track: Outage::default(),
            }),
        }
    }

    /// Who is whose primary.
    pub(crate) fn topology(&self) -> &Topology {
        &self.shared.topology
    }

    /// How connections are made.
    pub(crate) fn dialer(&self) -> &Dialer {
        self.shared.nodes.dialer()
    }

    /// What must have a change that is acknowledged.
    pub(crate) fn durability(&self) -> Durability {
        self.shared.durability
    }

    /// Whether the last call to any node was answered; false before the first.
    pub(crate) fn connected(&self) -> bool {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Sends `request` to the primary of `slot` until it is answered.
    ///
    /// `Full` and `Refused` come at once; `Unavailable` after the patience, with the last cause, and then the request may
    /// have happened or not.
    pub(crate) async fn call(&self, slot: Slot, request: &Request<'_>) -> Result<Value, StoreError> {
        match self.call_until_answered(slot, request, false).await? {
            Some(value) => Ok(value),
            None => Err(StoreError::Unavailable("the slot is moving".into())),
        }
    }

    /// `None` only if `is_moving_enough`: the slot is moving and holds the request up, and it surely did not happen, since no
    /// try before had a lost reply.
    async fn call_until_answered(
        &self,
        slot: Slot,
        request: &Request<'_>,
        is_moving_enough: bool,
    ) -> Result<Option<Value>, StoreError> {
        let mut tries = Tries::new(self, slot, is_moving_enough);
        let mut route = Route::Slot;
        loop {
            let error = match tries.run(self.try_once(slot, request, route)).await? {
                Ok(value) => return Ok(Some(value)),
                Err(error) => error,
            };
            match tries.after(error).await? {
                Some(next) => route = next,
                None => return Ok(None),
            }
        }
    }

    fn out_of_patience(&self, cause: Option<RedisError>) -> StoreError {
        self.shared.connected.store(false, Ordering::Relaxed);
        let cause = cause.map_or_else(|| "no answer".to_owned(), |error| error.to_string());
        StoreError::Unavailable(format!("{cause} (gave up after {:?})", self.shared.patience))
    }

    /// One try; what it says of the topology is taken in.
    async fn try_once(&self, slot: Slot, request: &Request<'_>, route: Route) -> RedisResult<Value> {
        let (node, is_ahead) = self.node_on(slot, route).await?;
        let answer = ask(&node, request, is_ahead).await;
        match &answer {
            Ok(_) => self.answered(&node),
            Err(error) => self.failed(&node, error).await,
        }
        answer
    }

    /// The node that `route` leads to, and whether it is asked ahead.
    async fn node_on(&self, slot: Slot, route: Route) -> RedisResult<(Arc<Node>, bool)> {
        let (address, is_ahead) = match route {
            Route::Slot => (self.primary_of(slot).await?, false),
            Route::Node(address) => (address, false),
            Route::Ahead(address) => (address, true),
        };
        Ok((self.shared.nodes.get(&address), is_ahead))
    }

    async fn primary_of(&self, slot: Slot) -> RedisResult<Address> {
        let mut named = self.shared.topology.primary_of(slot).await;
        if let Ok(address) = &named
            && self.shared.nodes.get(address).outage.is_on()
        {
            self.shared.topology.doubt().await;
            named = self.shared.topology.primary_of(slot).await;
        }
        match &named {
            Ok(_) => self.shared.lost_track.over(WHO),
            Err(error) => {
                self.shared.connected.store(false, Ordering::Relaxed);
                self.shared.lost_track.began(WHO, error);
            }
        }
        named
    }

    fn answered(&self, node: &Node) {
        self.shared.connected.store(true, Ordering::Relaxed);
        node.outage.over(format_args!("Redis at {}", node.address));
    }

    async fn failed(&self, node: &Node, error: &RedisError) {
        match Verdict::of(error) {
            Verdict::Lost | Verdict::Wait => {}
            // The name may lead to another server by now.
            Verdict::Demoted => node.hang_up(),
            // An answer is an answer; a failed login has no code.
            _ if error.code().is_some() => return self.answered(node),
            _ => return,
        }
        self.shared.connected.store(false, Ordering::Relaxed);
        node.outage.began(format_args!("Redis at {}", node.address), error);
        self.shared.topology.refresh().await;
    }

    /// The node that a MOVED or ASK names; a move is taken into the map.
    async fn named_by(&self, slot: Slot, error: &RedisError) -> Option<Address> {
        let from = self.shared.topology.primary_of(slot).await.ok()?;
        let named = from.redirected(error.redirect_node()?.0)?;
        if Verdict::of(error) == Verdict::Moved {
            self.shared.topology.moved(slot, &named);
        }
        Some(named)
    }

    /// Sends all of `cmds` to the primary of `slot` in one piece, once, and keeps their answers apart. Those whose key is on
    /// the other side of a moving slot (ASK) follow it alone. Whatever is no value is an error; nothing is tried again.
    pub(crate) async fn each(&self, slot: Slot, cmds: &[Cmd]) -> Vec<Result<Value, StoreError>> {
        if cmds.is_empty() {
            return Vec::new();
        }
        let deadline = Instant::now() + self.shared.patience;
        match timeout_at(deadline, self.try_each(slot, cmds)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => vec![Err(final_error(&error)); cmds.len()],
            Err(_) => vec![Err(self.out_of_patience(None)); cmds.len()],
        }
    }

    async fn try_each(&self, slot: Slot, cmds: &[Cmd]) -> RedisResult<Vec<Result<Value, StoreError>>> {
        let node = self.shared.nodes.get(&self.primary_of(slot).await?);
        let mut pipeline = Pipeline::with_capacity(cmds.len());
        for cmd in cmds {
            pipeline.add_command(cmd.clone());
        }
        let values = match node.exchange(Packet::Many(&pipeline)).await {
            Ok(values) => values,
            Err(error) => {
                self.failed(&node, &error).await;
                return Err(error);
            }
        };
        self.answered(&node);
        let mut values = values.into_iter();
        let mut answers = Vec::with_capacity(cmds.len());
        for cmd in cmds {
            let missing = || StoreError::Unavailable("a reply is missing".into());
            let answer = match values.next().map(Value::extract_error) {
                Some(Ok(value)) => Ok(value),
                Some(Err(error)) => self.follow(slot, cmd, &error).await,
                None => Err(missing()),
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    /// One command of several was answered with `error`: follows an ASK; a move is left to the next try.
    async fn follow(&self, slot: Slot, cmd: &Cmd, error: &RedisError) -> Result<Value, StoreError> {
        match (Verdict::of(error), self.named_by(slot, error).await) {
            (Verdict::Ask, Some(named)) => {
                let node = self.shared.nodes.get(&named);
                node.ask_ahead(cmd).await.map_err(|error| final_error(&error))
            }
            _ => Err(final_error(error)),
        }
    }

    /// Finds out anew who the primaries are, by the word of the Sentinels or of most primaries of the Cluster; later calls go
    /// there. False if fewer of them answered than it takes; what these knew that was newer is believed all the same.
    pub(crate) async fn confirm(&self) -> bool {
        timeout_at(Instant::now() + self.shared.patience, self.shared.topology.confirm())
            .await
            .unwrap_or(false)
    }

    /// A connection to the primary of `slot` for blocking commands, the caller's alone.
    ///
    /// Who stops waiting for a reply, or got an error, must not give it back: `deadpool_redis::Connection::take` it, and drop
    /// it. After an error [`Self::confirm`] finds the new primary. The token is cancelled when the server no longer answers
    /// other calls: then a reply needn't be waited for.
    pub(crate) async fn waiting(
        &self,
        slot: Slot,
    ) -> Result<(deadpool_redis::Connection, CancellationToken), StoreError> {
        let deadline = Instant::now() + self.shared.patience;
        let mut backoff = Backoff::of_call();
        let mut cause = None;
        loop {
            match timeout_at(deadline, self.try_waiting(slot)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) if Verdict::of(&error) == Verdict::Refused => return Err(final_error(&error)),
                Ok(Err(error)) => cause = Some(error),
                Err(_) => return Err(self.out_of_patience(cause)),
            }
            if timeout_at(deadline, sleep(backoff.next())).await.is_err() {
                return Err(self.out_of_patience(cause));
            }
        }
    }

    async fn try_waiting(&self, slot: Slot) -> RedisResult<(deadpool_redis::Connection, CancellationToken)> {
        let node = self.shared.nodes.get(&self.primary_of(slot).await?);
        let made = node.waiting().await;
        if let Err(error) = &made {
            self.failed(&node, error).await;
        }
        made
    }
}

/// One request to one node; a script that it doesn't know is sent with its text.
async fn ask(node: &Node, request: &Request<'_>, is_ahead: bool) -> RedisResult<Value> {
    match request {
        Request::Command(cmd) => ask_one(node, cmd, is_ahead).await,
        Request::Script(script) => match ask_one(node, &script.by_hash(), is_ahead).await {
            Err(error) if Verdict::of(&error) == Verdict::NoScript => {
                ask_one(node, &script.by_text(), is_ahead).await
            }
            answer => answer,
        },
    }
}

async fn ask_one(node: &Node, cmd: &Cmd, is_ahead: bool) -> RedisResult<Value> {
    if is_ahead { node.ask_ahead(cmd).await } else { node.ask(cmd).await }
}
