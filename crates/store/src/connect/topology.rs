//! Who is the primary of a slot.

use std::sync::Arc;

use redis::RedisResult;

use super::address::Address;
use super::cluster::Cluster;
use super::node::Nodes;
use super::sentinel::Sentinels;
use super::single::Single;
use super::target::{Kind, Target};
use crate::partition::Slot;

/// How the servers belong together, and what is known of them.
pub(crate) enum Topology {
    Single(Single),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

impl Topology {
    pub(crate) fn new(target: &Target, nodes: &Arc<Nodes>) -> Self {
        let servers = target.servers.clone();
        match &target.kind {
            Kind::Single => Self::Single(Single::new(servers)),
            Kind::Sentinel { master } => {
                Self::Sentinel(Sentinels::new(servers, master.clone(), Arc::clone(nodes)))
            }
            Kind::Cluster => Self::Cluster(Cluster::new(servers, Arc::clone(nodes))),
        }
    }

    /// The primary of `slot` as last heard; asks if nothing was heard yet.
    pub(crate) async fn primary_of(&self, slot: Slot) -> RedisResult<Address> {
        match self {
            Self::Single(single) => single.primary(),
            Self::Sentinel(sentinels) => sentinels.primary().await,
            Self::Cluster(cluster) => cluster.primary_of(slot).await,
        }
    }

    /// The same, asking nobody.
    pub(crate) fn known_primary_of(&self, slot: Slot) -> Option<Address> {
        match self {
            Self::Single(single) => single.primary().ok(),
            Self::Sentinel(sentinels) => sentinels.known_primary(),
            Self::Cluster(cluster) => cluster.known(slot),
        }
    }

    /// A node said that `slot` lives at `to`.
    pub(crate) fn moved(&self, slot: Slot, to: &Address) {
        if let Self::Cluster(cluster) = self {
            cluster.moved(slot, to);
        }
    }

    /// Something doesn't answer as a primary does: asks anew, unless somebody did just now.
    pub(crate) async fn refresh(&self) {
        match self {
            Self::Single(_) => {}
            Self::Sentinel(sentinels) => sentinels.refresh().await,
            Self::Cluster(cluster) => cluster.refresh().await,
        }
    }

    /// The primary of `slot` is as last heard, and failed then. One that comes back may not know that it was replaced, so
    /// Sentinels are asked before it is; a Cluster's node finds that out before it answers.
    pub(crate) async fn doubt(&self) {
        if let Self::Sentinel(sentinels) = self {
            sentinels.refresh().await;
        }
    }

    /// Asks anew, by questions that are sent after this call: all Sentinels, or all primaries of the Cluster. True if those
    /// answered whose word counts.
    pub(crate) async fn confirm(&self) -> bool {
        match self {
            Self::Single(_) => true,
            Self::Sentinel(sentinels) => sentinels.confirm().await,
            Self::Cluster(cluster) => cluster.confirm().await,
        }
    }
}
