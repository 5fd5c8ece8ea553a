//! How a store is reached.

use std::time::Duration;

pub use crate::connect::target::{Target, TargetError};

/// What a [`crate::Store`] needs to know. Durations as in `config/jobcast.toml`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Redis is.
    pub target: Target,
    /// What every key begins with.
    pub prefix: String,
    /// How many partitions to begin with, 1 to 64; `None` is 1, and 16 on Cluster. Redis' own record wins.
    pub partitions: Option<u16>,
    /// How long a call waits for Redis before it is `Unavailable`.
    pub patience: Duration,
    /// A reply later than this drops its connection: RESP has no reply ids.
    pub response_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How often a silent live connection is asked for a sign of life; dead after twice this.
    pub ping: Duration,
    /// What has a change that is acknowledged.
    pub durability: Durability,
    /// The most bytes of an event; a larger result is left out of its event.
    pub max_event: usize,
}

impl Options {
    /// The defaults of `config/jobcast.toml`, for `target`.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            prefix: "jc".into(),
            partitions: None,
            patience: Duration::from_secs(5),
            response_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            ping: Duration::from_secs(5),
            durability: Durability::Local,
            max_event: 64 * 1024,
        }
    }
}

/// What must have a submission, or an end, before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The primary.
    Local,
    /// The primary and so many of its replicas.
    Replicated(Replication),
}

/// How many replicas must have a change, and how long they are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replication {
    /// How many, from 1.
    pub replicas: u32,
    /// For how long, from 1 ms; then the call fails with [`crate::StoreError::NotReplicated`].
    pub within: Duration,
}
