//! What is done to a job in Redis behind the gateways' backs, and what Redis says of it by itself.

use model::JobId;
use testkit::redis::{Cmd, FromRedisValue, MultiplexedConnection, cmd, pipe};

use crate::System;

/// The keys of one job in a system of one partition.
pub struct Behind {
    redis: MultiplexedConnection,
    id: JobId,
    job: String,
    log: String,
}

/// A job as it was.
#[derive(Clone, Debug)]
pub struct Saved {
    job: Vec<u8>,
    log: Vec<u8>,
}

impl Behind {
    /// The keys of the job `id`.
    pub async fn of(system: &System, id: JobId) -> Self {
        let key = |name: &str| format!("jc:{{0.325}}:{name}:{id}");
        Self { redis: system.redis.client().await, id, job: key("job"), log: key("log") }
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.redis.clone()).await.unwrap()
    }

    /// The job's hash and log as they are now.
    pub async fn save(&self) -> Saved {
        let mut both = pipe();
        both.atomic().cmd("DUMP").arg(&self.job).cmd("DUMP").arg(&self.log);
        let (job, log) = both.query_async(&mut self.redis.clone()).await.unwrap();
        Saved { job, log }
    }

    /// Makes hash and log what they were, as a failover to a replica that lags does. Nobody is told.
    pub async fn rewind(&self, saved: &Saved) {
        let day_ms = 24 * 60 * 60 * 1000;
        let mut both = pipe();
        both.atomic();
        for (key, value) in [(&self.job, &saved.job), (&self.log, &saved.log)] {
            both.cmd("RESTORE").arg(key).arg(day_ms).arg(&value[..]).arg("REPLACE").ignore();
        }
        both.exec_async(&mut self.redis.clone()).await.unwrap();
    }

    /// Removes the log's oldest `entries`.
    pub async fn trim(&self, entries: usize) {
        let gone: Vec<String> = self.ask(cmd("LPOP").arg(&self.log).arg(entries)).await;
        assert_eq!(gone.len(), entries);
    }

    /// Removes the job and its log.
    pub async fn delete(&self) {
        let _: i64 = self.ask(cmd("DEL").arg(&self.job).arg(&self.log)).await;
    }

    /// The log's entries, oldest first, as Redis has them.
    pub async fn entries(&self) -> Vec<String> {
        self.ask(cmd("LRANGE").arg(&self.log).arg(0).arg(-1)).await
    }

    /// The frames that a stream must give for the log's entries.
    pub async fn frames(&self) -> Vec<String> {
        self.entries().await.iter().map(|entry| frame(entry)).collect()
    }

    /// The cursor before the log's first entry.
    pub async fn start(&self) -> String {
        let entries = self.entries().await;
        let mut words = entries[0].split(' ');
        let seq: u64 = words.next().unwrap().parse().unwrap();
        format!("{}-{}", seq - 1, words.nth(1).unwrap())
    }

    /// The job's live channel.
    pub fn channel(&self) -> String {
        format!("jc:{{0.325}}:live:{}", self.id)
    }
}

/// How a stream shows a log's entry, by DESIGN's words and by no code of the gateway.
fn frame(entry: &str) -> String {
    let words: Vec<_> = entry.splitn(5, ' ').collect();
    let [seq, mark, _before, name, json] = words[..] else { panic!("{entry}") };
    format!("event: {name}\ndata: {json}\nid: {seq}-{mark}\n\n")
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behind").field("job", &self.job).finish_non_exhaustive()
    }
}
