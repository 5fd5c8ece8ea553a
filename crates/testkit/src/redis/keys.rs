//! What is in a server: every key with its type, life and size. For invariants that hold after a test.

use std::fmt;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{RedisResult, cmd, pipe};

/// How many keys are asked about at once.
const PAGE: usize = 1_000;

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
    for page in keys.chunks(PAGE) {
        all.extend(look(connection, page).await.expect("keys are looked at"));
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
            cmd("SCAN").arg(cursor).arg("COUNT").arg(PAGE).query_async(connection).await?;
        all.extend(page);
        if next == 0 {
            return Ok(all);
        }
        cursor = next;
    }
}

/// These keys, without those that are gone.
async fn look(connection: &mut impl ConnectionLike, keys: &[Vec<u8>]) -> RedisResult<Vec<KeyInfo>> {
    let mut types = pipe();
    for key in keys {
        types.cmd("TYPE").arg(key);
    }
    let kinds: Vec<String> = types.query_async(connection).await?;
    let there: Vec<_> = keys.iter().zip(kinds).filter(|(_, kind)| kind != "none").collect();
    let mut rest = pipe();
    for (key, kind) in &there {
        rest.cmd(size_by(kind)).arg(key).cmd("PTTL").arg(key);
    }
    let numbers: Vec<i64> = rest.query_async(connection).await?;
    let infos = there.into_iter().zip(numbers.chunks_exact(2)).filter_map(|((key, kind), numbers)| {
        let (size, ttl) = (numbers[0].unsigned_abs(), numbers[1]);
        let ttl = match ttl {
            -2 => return None,
            -1 => None,
            left => Some(Duration::from_millis(left.unsigned_abs())),
        };
        Some(KeyInfo { key: String::from_utf8_lossy(key).into_owned(), kind, ttl, size })
    });
    Ok(infos.collect())
}

/// The command that says how large a key of this type is.
fn size_by(kind: &str) -> &'static str {
    match kind {
        "string" => "STRLEN",
        "list" => "LLEN",
        "set" => "SCARD",
        "zset" => "ZCARD",
        "hash" => "HLEN",
        "stream" => "XLEN",
        other => panic!("a key of the unknown type {other}"),
    }
}
