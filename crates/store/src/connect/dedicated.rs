//! Dedicated connections: each is one call's alone for as long as that call takes. WAIT counts what its own connection wrote
//! and nothing else, and holds up whatever is pipelined behind it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The most of them to one node. While a node lacks replicas each call holds one for as long as it waits for them.
const MOST: usize = 128;

/// The dedicated connections to one node.
pub(crate) struct Dedicated {
    places: Arc<Semaphore>,
    /// Open and with no reply outstanding.
    idle: Arc<Mutex<Vec<MultiplexedConnection>>>,
}

/// The right to one of the connections.
pub(crate) type Place = OwnedSemaphorePermit;

/// A connection that is the caller's alone. Dropped, it is closed, since a reply may be outstanding on it; see
/// [`Own::give_back`].
pub(crate) struct Own {
    connection: MultiplexedConnection,
    idle: Arc<Mutex<Vec<MultiplexedConnection>>>,
    _place: Place,
}

impl Dedicated {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(MOST)), idle: Arc::default() }
    }

    /// Waits, for however long, until one more connection may be used; who came first is first.
    pub(crate) async fn place(&self) -> RedisResult<Place> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|_| io::Error::other("the connections are closed").into())
    }

    /// A connection that was given back.
    pub(crate) fn idle(&self) -> Option<MultiplexedConnection> {
        self.idle.lock().pop()
    }

    /// `connection`, for the call that has `place`.
    pub(crate) fn lend(&self, place: Place, connection: MultiplexedConnection) -> Own {
        Own { connection, idle: Arc::clone(&self.idle), _place: place }
    }

    /// Closes those that nobody uses: what broke one of them has broken all.
    pub(crate) fn close_idle(&self) {
        self.idle.lock().clear();
    }
}

impl Own {
    /// Sends `cmd`, after ASKING if `is_ahead`, and reads its reply, which may take `limit`. After an error that isn't the
    /// server's word the connection must not be used again.
    pub(crate) async fn ask(&mut self, cmd: &Cmd, is_ahead: bool, limit: Duration) -> RedisResult<Value> {
        let answer = async {
            if !is_ahead {
                return self.connection.send_packed_command(cmd).await?.extract_error();
            }
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.cmd("ASKING").add_command(cmd.clone());
            let mut replies = self.connection.send_packed_commands(&pipeline, 0, 2).await?;
            replies.pop().unwrap_or(Value::Nil).extract_error()
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into();
        timeout(limit, answer).await.unwrap_or_else(|_| Err(late()))
    }

    /// Leaves the connection to the next call. Every reply must have come.
    pub(crate) fn give_back(self) {
        self.idle.lock().push(self.connection);
    }
}
