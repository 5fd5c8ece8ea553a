//! Real Redis (or Valkey) servers for tests, and what tests ask them.
//!
//! Only `store` and this crate may depend on the `redis` crate; what tests elsewhere need of it comes from here.

mod cluster;
mod keys;
mod node;
mod sentinel;
mod server;

pub use ::redis::aio::MultiplexedConnection;
pub use ::redis::{
    AsyncCommands, Client, Cmd, FromRedisValue, RedisError, RedisResult, Value, cmd, from_redis_value, pipe,
};
pub use cluster::{Moved, RedisCluster, RedisClusterBuilder};
pub use keys::{KeyInfo, dump, keys_without_ttl};
pub use node::Node;
pub use sentinel::{SentinelSet, SentinelSetBuilder};
pub use server::{RedisServer, RedisServerBuilder};
