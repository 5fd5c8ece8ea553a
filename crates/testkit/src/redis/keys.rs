//! What is in a server: every key with its type, life and size. For invariants that hold after a test.

use std::fmt;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{RedisResult, cmd};

/// One key of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key; bytes that are not UTF-8 are replaced.
    pub key: String,
    /// What TYPE says: `string`, `list`, `set`, `zset`, `hash`, `stream`.
    pub kind: String,
    /// What is left of its life; `None` if it has no end.
    pub ttl: Option<Duration>,
    /// Its elements (fields of a hash), or the bytes of a string.
    pub size: u64,
}

impl fmt::Display for KeyInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, kind, ttl, size } = self;
        match ttl {
            Some(ttl) => write!(f, "{key} ({kind}, size {size}, ends in {ttl:?})"),
            None => write!(f, "{key} ({kind}, size {size}, no end)"),
        }
    }
}

/// All keys of the server (of database 0), in order. A key that goes away meanwhile may be missing; one that is
/// there throughout is listed exactly once.
pub async fn dump(connection: &mut impl ConnectionLike) -> Vec<KeyInfo> {
    let mut keys = scan(connection).await.expect("SCAN answers");
    keys.sort_unstable();
    keys.dedup();
    let mut all = Vec::with_capacity(keys.len());
    for key in keys {
        if let Some(info) = look(connection, &key).await.unwrap_or_else(|error| panic!("{key:?}: {error}")) {
            all.push(info);
        }
    }
    all
}

/// The keys that nothing will ever remove by itself, in order.
pub async fn keys_without_ttl(connection: &mut impl ConnectionLike) -> Vec<String> {
    dump(connection).await.into_iter().filter(|info| info.ttl.is_none()).map(|info| info.key).collect()
}

async fn scan(connection: &mut impl ConnectionLike) -> RedisResult<Vec<Vec<u8>>> {
    let (mut cursor, mut all) = (0_u64, Vec::new());
    loop {
        let (next, page): (u64, Vec<Vec<u8>>) =
            cmd("SCAN").arg(cursor).arg("COUNT").arg(1_000).query_async(connection).await?;
        all.extend(page);
        if next == 0 {
            return Ok(all);
        }
        cursor = next;
    }
}

/// One key, or `None` if it is gone.
async fn look(connection: &mut impl ConnectionLike, key: &[u8]) -> RedisResult<Option<KeyInfo>> {
    let kind: String = cmd("TYPE").arg(key).query_async(connection).await?;
    let size_by = match kind.as_str() {
        "none" => return Ok(None),
        "string" => "STRLEN",
        "list" => "LLEN",
        "set" => "SCARD",
        "zset" => "ZCARD",
        "hash" => "HLEN",
        "stream" => "XLEN",
        other => panic!("a key of the unknown type {other}"),
    };
    let size: u64 = cmd(size_by).arg(key).query_async(connection).await?;
    let ttl: i64 = cmd("PTTL").arg(key).query_async(connection).await?;
    let ttl = match ttl {
        -2 => return Ok(None),
        -1 => None,
        left => Some(Duration::from_millis(left.unsigned_abs())),
    };
    Ok(Some(KeyInfo { key: String::from_utf8_lossy(key).into_owned(), kind, ttl, size }))
}
