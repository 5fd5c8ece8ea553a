//! Moving a slot from one node to another, key by key, as slowly as a test wants.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::{RedisResult, Value, cmd};
use tokio::time::{Instant, sleep};

use super::{PATIENCE, RedisCluster};

/// How long one key may take, in ms.
const KEY_MS: u64 = 3_000;
/// How many keys are asked for at once.
const PAGE: usize = 1_000;

/// A slot that has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The node that had it.
    pub from: usize,
    /// The node that has it.
    pub to: usize,
    /// The keys that were moved.
    pub keys: usize,
    /// How often something failed and was tried again.
    pub failures: usize,
}

/// What is known of a move beyond one try.
#[derive(Default)]
struct Progress {
    keys: usize,
    failures: usize,
    /// Keys whose move failed, of which there may be two copies; the sender's is the one that counts.
    doubtful: BTreeSet<Vec<u8>>,
    /// A key was on both nodes though no move of it had failed.
    doubled: Option<String>,
}

impl RedisCluster {
    /// Moves `slot` to node `to` (or, if that was replaced, to the primary of its shard) one key at a time, as `redis-cli
    /// --cluster reshard` does, with the keys spread over `hold`. A slot without keys stands open for as long.
    ///
    /// Whatever fails meanwhile is tried again, for up to 60 s longer than `hold`, so that nobody is left with half a slot. A
    /// call that was dropped in its middle leaves the slot open: another one, to the same node, ends that. An error says what
    /// couldn't be done, or names a key that was on both nodes though no move of it had failed, which is a mistake of whoever
    /// wrote it (the slot has moved all the same, with the sender's copy).
    pub async fn migrate_slot(&self, slot: u16, to: usize, hold: Duration) -> Result<Moved, String> {
        let begin = Instant::now();
        let mut progress = Progress::default();
        let from = self.primary_of(slot).await;
        loop {
            let error = match self.try_migrate(slot, to, begin + hold, &mut progress).await {
                Ok(to) => {
                    let Progress { keys, failures, doubled, .. } = progress;
                    let moved = Moved { from, to, keys, failures };
                    return doubled.map_or(Ok(moved), Err);
                }
                Err(error) => error,
            };
            progress.failures += 1;
            if begin.elapsed() > hold + PATIENCE {
                return Err(format!("slot {slot} couldn't be moved to node {to}: {error}"));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// One try from wherever the slot stands; the node that has it now.
    async fn try_migrate(
        &self,
        slot: u16,
        to: usize,
        end: Instant,
        progress: &mut Progress,
    ) -> RedisResult<usize> {
        let from = self.primary_of(slot).await;
        let to = self.primary_of_shard(to).await?;
        if from != to {
            let (from_id, to_id) = (self.id_of(from).await?, self.id_of(to).await?);
            self.set_slot(to, slot, &["IMPORTING", &from_id]).await?;
            self.set_slot(from, slot, &["MIGRATING", &to_id]).await?;
            self.move_keys(slot, from, to, end, progress).await?;
        }
        // The receiver first, then the sender: nobody may hear of nobody. The others are told to spare clients a detour.
        let id = self.id_of(to).await?;
        self.set_slot(to, slot, &["NODE", &id]).await?;
        self.set_slot(from, slot, &["NODE", &id]).await?;
        for n in 0..self.nodes.len() {
            // A replica refuses, and needs it not.
            let _ = self.set_slot(n, slot, &["NODE", &id]).await;
        }
        Ok(to)
    }

    /// Moves keys until none is left, the last of them at `end`.
    async fn move_keys(
        &self,
        slot: u16,
        from: usize,
        to: usize,
        end: Instant,
        progress: &mut Progress,
    ) -> RedisResult<()> {
        loop {
            let keys: Vec<Vec<u8>> =
                self.ask(from, cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(PAGE)).await?;
            let left = end.saturating_duration_since(Instant::now());
            if keys.is_empty() && left.is_zero() {
                return Ok(());
            }
            if keys.is_empty() {
                // A slot without keys stands open all the same.
                sleep(left).await;
                continue;
            }
            let pause = left / u32::try_from(keys.len()).expect("a page of keys");
            for key in keys {
                sleep(pause).await;
                self.move_key(&key, from, to, progress).await?;
            }
        }
    }

    async fn move_key(&self, key: &[u8], from: usize, to: usize, progress: &mut Progress) -> RedisResult<()> {
        let mut order = cmd("MIGRATE");
        order.arg("127.0.0.1").arg(self.nodes[to].server().port()).arg(key).arg(0).arg(KEY_MS);
        if progress.doubtful.contains(key) {
            order.arg("REPLACE");
        }
        let answer: RedisResult<Value> =
            self.ask_within(from, &order, Duration::from_millis(2 * KEY_MS)).await;
        if let Err(error) = answer {
            let is_doubled = error.to_string().contains("BUSYKEY");
            if is_doubled && progress.doubled.is_none() {
                progress.doubled =
                    Some(format!("the key {:?} is on both nodes", String::from_utf8_lossy(key)));
            }
            progress.doubtful.insert(key.to_vec());
            return Err(error);
        }
        progress.keys += 1;
        Ok(())
    }

    async fn set_slot(&self, n: usize, slot: u16, words: &[&str]) -> RedisResult<()> {
        self.ask(n, cmd("CLUSTER").arg("SETSLOT").arg(slot).arg(words)).await
    }

    /// Node `n`, or the primary whose replica it has become (if it is down: the one that has its place).
    async fn primary_of_shard(&self, n: usize) -> RedisResult<usize> {
        let port = self.nodes[n].server().port();
        let mut last = None;
        for witness in 0..self.nodes.len() {
            let lines = match self.map_of(witness).await {
                Ok(lines) => lines,
                Err(error) => {
                    last = Some(error);
                    continue;
                }
            };
            let Some(own) = lines.iter().find(|line| line.port == port) else { continue };
            if own.is_primary && !own.is_failing {
                return Ok(n);
            }
            let primary = own.primary.as_ref().and_then(|id| lines.iter().find(|line| &line.id == id));
            if let Some(primary) = primary.and_then(|line| self.by_port(line.port)) {
                return Ok(primary);
            }
        }
        Err(last.unwrap_or_else(|| std::io::Error::other("the receiver has failed").into()))
    }
}
