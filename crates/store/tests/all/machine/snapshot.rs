//! All of Redis, read at once.

use std::collections::BTreeMap;

use model::JobId;
use testkit::redis::{MultiplexedConnection, cmd};

/// Reads every key with its life and content. Without `#!lua`, so that it may touch any key.
const READ_ALL: &str = "
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, content = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then content = redis.call('HGETALL', key)
  elseif kind == 'list' then content = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then content = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  else content = { redis.call('GET', key) } end
  all[#all + 1] = { key, redis.call('PTTL', key), content }
end
return all";

/// One key.
pub(crate) struct Key {
    /// In milliseconds; negative if it has no end.
    pub(crate) ttl: i64,
    pub(crate) content: Vec<String>,
}

/// Redis at one moment. Keys go by what comes after the partition's tag.
#[derive(Default)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<String, Key>);

impl Snapshot {
    pub(crate) async fn read(redis: &mut MultiplexedConnection) -> Self {
        let all: Vec<(String, i64, Vec<String>)> =
            cmd("EVAL").arg(READ_ALL).arg(0).query_async(redis).await.unwrap();
        let name = |key: &str| key.rsplit_once("}:").map_or(key, |(_, name)| name).to_owned();
        Self(all.into_iter().map(|(key, ttl, content)| (name(&key), Key { ttl, content })).collect())
    }

    pub(crate) fn ttl(&self, key: &str) -> Option<i64> {
        self.0.get(key).map(|key| key.ttl)
    }

    /// The elements of a list or set.
    pub(crate) fn list(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], |key| &key.content)
    }

    /// The members of a zset with their scores, lowest first.
    pub(crate) fn zset(&self, key: &str) -> Vec<(&str, f64)> {
        self.list(key).chunks(2).map(|pair| (pair[0].as_str(), pair[1].parse().unwrap())).collect()
    }

    pub(crate) fn score(&self, key: &str, member: &str) -> Option<f64> {
        self.zset(key).into_iter().find(|(found, _)| *found == member).map(|(_, score)| score)
    }

    pub(crate) fn hash(&self, key: &str) -> BTreeMap<&str, &str> {
        self.list(key).chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect()
    }

    /// A number in a hash; 0 where it isn't there.
    pub(crate) fn number(&self, key: &str, field: &str) -> u64 {
        self.hash(key).get(field).map_or(0, |text| text.parse().unwrap())
    }

    pub(crate) fn job(&self, id: JobId) -> JobHash<'_> {
        JobHash(self.hash(&format!("job:{id}")))
    }

    /// What a repeated call may not change: everything but lives, and how long leases last.
    pub(crate) fn lasting(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let pairs = |key: &str| {
            let fields =
                self.hash(key).into_iter().filter(|(field, _)| !matches!(*field, "leaseUntil" | "leaseMs"));
            fields.map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
        };
        let whole = |key: &Key| key.content.iter().map(|text| (text.clone(), String::new())).collect();
        let all = self.0.iter();
        all.map(|(name, key)| (name.clone(), if name.starts_with("job:") { pairs(name) } else { whole(key) }))
            .collect()
    }
}

/// A job's fields.
pub(crate) struct JobHash<'a>(pub(crate) BTreeMap<&'a str, &'a str>);

impl JobHash<'_> {
    pub(crate) fn text(&self, field: &str) -> &str {
        self.0.get(field).copied().unwrap_or_default()
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        match self.text(field) {
            "" => 0,
            text => text.parse().unwrap_or_else(|_| panic!("{field} is {text:?}")),
        }
    }

    pub(crate) fn is_living(&self) -> bool {
        matches!(self.text("status"), "pending" | "processing")
    }

    /// When the limit that comes next ends the job.
    pub(crate) fn next_limit(&self) -> u64 {
        match (self.text("status"), self.number("attempt")) {
            ("processing", _) => {
                (self.number("startedAt") + self.number("timeout")).min(self.number("deadline"))
            }
            (_, 0) => self.number("queueLimit"),
            _ => self.number("deadline"),
        }
    }
}
