//! The servers of a system.

use std::ops::Deref;

use testkit::redis::{KeyInfo, RedisCluster, RedisServer, SentinelSet, dump};

/// What a system keeps its jobs in.
///
/// In most systems that is one server, so it can be used as that; where there are several, [`Self::cluster`] or
/// [`Self::sentinel`] has them.
#[derive(Debug)]
pub enum Redis {
    /// One server.
    Single(RedisServer),
    /// A Cluster.
    Cluster(RedisCluster),
    /// A primary with replicas, behind Sentinels.
    Sentinel(SentinelSet),
}

impl Redis {
    /// The address that the processes are told.
    pub fn url(&self) -> String {
        match self {
            Self::Single(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(),
            Self::Sentinel(set) => set.url(),
        }
    }

    /// The Cluster, in a system that has one.
    pub fn cluster(&self) -> &RedisCluster {
        match self {
            Self::Cluster(cluster) => cluster,
            other => panic!("no Cluster: {other:?}"),
        }
    }

    /// The servers behind Sentinels, in a system that has them.
    pub fn sentinel(&self) -> &SentinelSet {
        match self {
            Self::Sentinel(set) => set,
            other => panic!("no Sentinels: {other:?}"),
        }
    }

    /// All keys of all primaries.
    pub async fn keys(&self) -> Vec<KeyInfo> {
        let mut connections = match self {
            Self::Single(server) => vec![server.client().await],
            Self::Sentinel(set) => vec![set.nodes()[set.primary().await].client().await],
            Self::Cluster(cluster) => {
                let mut connections = Vec::new();
                for n in cluster.primaries().await {
                    connections.push(cluster.nodes()[n].client().await);
                }
                connections
            }
        };
        let mut keys = Vec::new();
        for connection in &mut connections {
            keys.extend(dump(connection).await);
        }
        keys
    }
}

/// The one server; panics where there are several.
impl Deref for Redis {
    type Target = RedisServer;

    fn deref(&self) -> &RedisServer {
        match self {
            Self::Single(server) => server,
            other => panic!("no single server: {other:?}"),
        }
    }
}
