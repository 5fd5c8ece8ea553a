//! A Cluster: the map of slots, as a majority of its primaries sees it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::{Cmd, ErrorKind, RedisResult};

use super::address::Address;
use super::node::Nodes;
use super::slot_map::{SlotMap, agreed, vote};
use super::turn::Turns;
use crate::partition::Slot;

/// How old an answer may be that a failing call is content with.
const FRESH: Duration = Duration::from_millis(100);

/// What is known of a Cluster.
pub(crate) struct Cluster {
    seeds: Vec<Address>,
    nodes: Arc<Nodes>,
    map: Mutex<SlotMap>,
    asking: Turns,
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<Address>, nodes: Arc<Nodes>) -> Self {
        Self { seeds, nodes, map: Mutex::default(), asking: Turns::default() }
    }

    pub(crate) async fn primary_of(&self, slot: Slot) -> RedisResult<Address> {
        if let Some(primary) = self.known(slot) {
            return Ok(primary);
        }
        self.refresh().await;
        self.known(slot).ok_or_else(|| {
            (
                ErrorKind::ClusterConnectionNotFound,
                "no node of the Cluster that answers knows the slot's primary",
            )
                .into()
        })
    }

    pub(crate) fn known(&self, slot: Slot) -> Option<Address> {
        self.map.lock().primary_of(slot.0).cloned()
    }

    pub(crate) fn moved(&self, slot: Slot, to: &Address) {
        self.map.lock().set(slot.0, to.clone());
    }

    pub(crate) async fn refresh(&self) {
        self.asking.within(FRESH, self.ask_all()).await;
    }

    pub(crate) async fn confirm(&self) -> bool {
        self.asking.anew(self.ask_all()).await
    }

    /// Asks the primaries (to begin with, the seeds) for their maps, and takes for each slot what most of them say. A
    /// primary that is cut off still names itself, but the others, who have elected another, outvote it.
    /// True if more than half of the primaries agree on every slot.
    async fn ask_all(&self) -> bool {
        let mut asked: BTreeSet<String> = BTreeSet::new();
        let mut maps: HashMap<Address, SlotMap> = HashMap::new();
        let mut next: Vec<Address> = self.map.lock().primaries();
        next.extend(self.seeds.iter().cloned());
        // The next round asks the primaries that the ones before named; nobody is asked twice.
        loop {
            next.retain(|address| asked.insert(address.to_string()));
            if next.is_empty() {
                break;
            }
            let mut questions: FuturesUnordered<_> = next.iter().map(|address| self.ask(address)).collect();
            while let Some(answer) = questions.next().await {
                if let Some((address, map)) = answer {
                    maps.insert(address, map);
                }
                if let Some(agreed) = agreed(&maps) {
                    self.take(agreed);
                    return true;
                }
            }
            drop(questions);
            next = maps.values().flat_map(SlotMap::primaries).collect();
        }
        let Some((map, is_majority)) = vote(&maps) else { return false };
        self.take(map);
        is_majority
    }

    fn take(&self, new: SlotMap) {
        let mut wanted = new.primaries();
        wanted.extend(self.seeds.iter().cloned());
        self.nodes.keep(&wanted);
        let mut map = self.map.lock();
        if *map != new {
            if !map.is_empty() {
                tracing::info!(primaries = new.primaries().len(), "the Cluster's slots have changed hands");
            }
            *map = new;
        }
    }

    async fn ask(&self, address: &Address) -> Option<(Address, SlotMap)> {
        let node = self.nodes.get(address);
        let limit = self.nodes.dialer().connect_timeout;
        let value = tokio::time::timeout(limit, node.ask(&slots())).await.ok()?.ok()?;
        Some((address.clone(), SlotMap::read(address, &value)))
    }
}

fn slots() -> Cmd {
    let mut cmd = redis::cmd("CLUSTER");
    cmd.arg("SLOTS");
    cmd
}
