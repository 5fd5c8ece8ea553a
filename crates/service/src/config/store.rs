//! `[store]`: where Redis is and how long to wait for it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::store_url::StoreUrl;
use super::value::{MINUTE, duration, number, number_if_any};

/// Where Redis (or Valkey) is, and how patient Jobcast is with it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Where the server is. Default `redis://127.0.0.1:6379`. May hold a password: never shown whole.
    pub url: StoreUrl,
    /// What all keys in Redis begin with. Default `jc`.
    pub prefix: KeyPrefix,
    /// How many partitions a new installation gets, 1 to 64; an existing one keeps what Redis says. Default: 1,
    /// on a Cluster 16 (see [`StoreConfig::partitions`]).
    #[serde(deserialize_with = "number_if_any::<_, _, 1, 64>")]
    pub partitions: Option<u16>,
    /// How long a request waits for Redis before it is answered 503. Default 5s, 100ms to 1m.
    #[serde(deserialize_with = "duration::<_, 100, MINUTE>")]
    pub patience: Duration,
    /// How long one reply of Redis may take; a later one drops the connection. Default 2s, 50ms to 1m.
    #[serde(deserialize_with = "duration::<_, 50, MINUTE>")]
    pub response_timeout: Duration,
    /// How long connecting may take. Default 1s, 50ms to 1m.
    #[serde(deserialize_with = "duration::<_, 50, MINUTE>")]
    pub connect_timeout: Duration,
    /// What must have a submission, or an end, before it is acknowledged. Default `local`.
    pub durability: DurabilityConfig,
    /// How many replicas must have it, where `durability` is `replicated`. Default 1, 1 to 16.
    #[serde(deserialize_with = "number::<_, _, 1, 16>")]
    pub replicas: u32,
    /// How long replicas are waited for; then a request is answered 503 `not-replicated`. Default 2s, 50ms to 1m.
    #[serde(deserialize_with = "duration::<_, 50, MINUTE>")]
    pub replication_timeout: Duration,
}

/// What must have a submission, or an end, before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityConfig {
    /// The primary. A failover may lose it.
    Local,
    /// The primary and as many replicas as [`StoreConfig::replicas`] says.
    Replicated,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: StoreUrl::default(),
            prefix: KeyPrefix::default(),
            partitions: None,
            patience: Duration::from_secs(5),
            response_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            durability: DurabilityConfig::Local,
            replicas: 1,
            replication_timeout: Duration::from_secs(2),
        }
    }
}

impl StoreConfig {
    /// How many partitions a new installation gets: as configured, else 1, on a Cluster 16.
    pub fn partitions(&self) -> u16 {
        self.partitions.unwrap_or(if self.url.is_cluster() { 16 } else { 1 })
    }
}

/// What all keys in Redis begin with: 1 to 32 of the characters `A-Z a-z 0-9 _ . -`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The prefix as text, without the colon that follows it in a key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyPrefix {
    fn default() -> Self {
        Self("jc".to_owned())
    }
}

impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for KeyPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if (1..=32).contains(&text.len()) && text.bytes().all(legal) {
            return Ok(Self(text));
        }
        let allowed = "1 to 32 of the characters A-Z a-z 0-9 _ . -";
        Err(de::Error::invalid_value(de::Unexpected::Str(&text), &allowed))
    }
}
