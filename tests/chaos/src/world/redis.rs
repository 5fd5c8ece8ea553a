//! Redis in its three forms, as far as the suite asks it.

use std::path::Path;
use std::time::Duration;

use testkit::redis::{MultiplexedConnection, Node, RedisCluster, RedisServer, SentinelSet, cmd};

use super::Link;
use super::keys::{slot_of_partition, tag_of};
use crate::record::{Durability, LogEntry, Target, Topology};

/// The servers.
#[derive(Debug)]
pub enum Redis {
    /// One, `appendfsync always`.
    Single(RedisServer),
    /// A primary with replicas, and three Sentinels.
    Sentinel(SentinelSet),
    /// Three primaries with a replica each.
    Cluster(RedisCluster),
}

impl Redis {
    /// Starts them. Under `replicated` every primary has one replica, so that the one that has what was acknowledged is the one
    /// that takes over.
    pub(super) async fn start(topology: Topology, durability: Durability) -> Self {
        match topology {
            Topology::Single => Self::Single(RedisServer::start().await),
            Topology::Sentinel => {
                let replicas = if durability == Durability::Replicated { 1 } else { 2 };
                let set = SentinelSet::builder().replicas(replicas).append_only(false);
                // Soon, so that a run of a minute has many failovers, and not so soon that one is followed by another for nothing.
                Self::Sentinel(set.down_after(Duration::from_secs(2)).start().await)
            }
            Topology::Cluster => Self::Cluster(RedisCluster::builder().append_only(false).start().await),
        }
    }

    /// What the configuration's `store.url` is, for who needs no way of its own.
    pub fn url(&self) -> String {
        match self {
            Self::Single(server) => server.url(),
            Self::Sentinel(set) => set.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// What the Sentinels decided, and why: into files of `folder`.
    pub(super) fn keep_logs(&self, folder: &Path) {
        if let Self::Sentinel(set) = self {
            set.keep_logs(folder);
        }
    }

    /// The one server, if there is one.
    pub fn single(&self) -> Option<&RedisServer> {
        match self {
            Self::Single(server) => Some(server),
            Self::Sentinel(_) | Self::Cluster(_) => None,
        }
    }

    /// The servers that belong together; none where there is one.
    pub fn nodes(&self) -> &[Node] {
        match self {
            Self::Single(_) => &[],
            Self::Sentinel(set) => set.nodes(),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// The ways to them that all processes share.
    pub(super) fn links(&self) -> Vec<Link> {
        (0..self.nodes().len()).map(|n| Link::of_server(Target::redis(n), n)).collect()
    }

    /// What isn't well: a server down, a replica out of step, no agreement.
    pub async fn check_healthy(&self) -> Result<(), String> {
        match self {
            Self::Single(_) => Ok(()),
            Self::Sentinel(set) => set.check_healthy().await,
            Self::Cluster(cluster) => cluster.check_healthy().await,
        }
    }

    /// The number of the server that is the primary of `partition`; 0 where there is one.
    pub async fn primary(&self, partition: u16) -> usize {
        match self {
            Self::Single(_) => 0,
            Self::Sentinel(set) => set.primary().await,
            Self::Cluster(cluster) => cluster.primary_of(slot_of_partition(partition)).await,
        }
    }

    /// The number of a server that is a replica of the primary of `partition`, if there is one.
    pub async fn replica(&self, partition: u16) -> Option<usize> {
        let primary = self.primary(partition).await;
        match self {
            Self::Single(_) => None,
            Self::Sentinel(set) => (0..set.nodes().len()).find(|&n| n != primary),
            Self::Cluster(cluster) => cluster.replicas_of(primary).await.first().copied(),
        }
    }

    /// A connection to the primary of `partition`, past all proxies.
    pub async fn client(&self, partition: u16) -> MultiplexedConnection {
        match self {
            Self::Single(server) => server.client().await,
            Self::Sentinel(_) | Self::Cluster(_) => {
                self.nodes()[self.primary(partition).await].client().await
            }
        }
    }

    /// The program's name and version.
    pub async fn version(&self) -> String {
        let mut client = self.client(0).await;
        let info: String = cmd("INFO").arg("server").query_async(&mut client).await.expect("INFO answers");
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).map(str::to_owned)
        };
        match field("valkey_version:") {
            Some(version) => format!("valkey {version}"),
            None => format!("redis {}", field("redis_version:").unwrap_or_default()),
        }
    }

    /// The servers' time: all run on one machine.
    pub async fn now_unix_ms(&self) -> u64 {
        let mut client = self.client(0).await;
        let (seconds, micros): (u64, u64) = cmd("TIME").query_async(&mut client).await.expect("TIME answers");
        seconds * 1_000 + micros / 1_000
    }

    /// How many partitions there are.
    pub async fn partitions(&self) -> u16 {
        let mut found = None;
        // `jc:partitions` has a slot of its own: whoever owns it answers, the others say MOVED.
        let asked = if let Self::Cluster(cluster) = self {
            let slot = cluster.slot_of("jc:partitions").await;
            cluster.nodes()[cluster.primary_of(slot).await].client().await
        } else {
            self.client(0).await
        };
        let answer: testkit::redis::RedisResult<Option<u16>> =
            cmd("GET").arg("jc:partitions").query_async(&mut asked.clone()).await;
        if let Ok(answer) = answer {
            found = answer;
        }
        found.unwrap_or(1)
    }
}

/// Reads logs from primaries, one connection for each partition.
pub struct Reader<'a> {
    redis: &'a Redis,
    connections: std::collections::HashMap<u16, MultiplexedConnection>,
}

impl<'a> Reader<'a> {
    /// Reads from the servers that are primaries at the first question of each partition.
    pub fn new(redis: &'a Redis) -> Self {
        Self { redis, connections: std::collections::HashMap::new() }
    }

    async fn connection(&mut self, partition: u16) -> &mut MultiplexedConnection {
        if !self.connections.contains_key(&partition) {
            self.connections.insert(partition, self.redis.client(partition).await);
        }
        self.connections.get_mut(&partition).expect("it was just put there")
    }

    /// How many members a sorted set has; `name` is the key without prefix and tag.
    pub async fn members(&mut self, partition: u16, name: &str) -> usize {
        let key = format!("jc:{{{}}}:{name}", tag_of(partition));
        cmd("ZCARD").arg(key).query_async(self.connection(partition).await).await.expect("ZCARD answers")
    }

    /// A list of log entries, oldest first; `name` is the key without prefix and tag.
    pub async fn log(&mut self, partition: u16, name: &str) -> Vec<LogEntry> {
        let key = format!("jc:{{{}}}:{name}", tag_of(partition));
        let connection = self.connection(partition).await;
        let entries: Vec<String> =
            cmd("LRANGE").arg(key).arg(0).arg(-1).query_async(connection).await.expect("LRANGE answers");
        let parse = |entry: &String| LogEntry::parse(entry).unwrap_or_else(|| panic!("no entry: {entry}"));
        entries.iter().map(parse).collect()
    }
}
