//! Reconciling: silent logs are compared with Redis, so that no lost live message stays lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Hub;
use super::core::Wake;
use super::node::Node;
use model::{Cursor, Partition};

/// How many logs one pipeline asks for.
const BATCH: usize = 500;

impl Hub {
    /// Reconciles every `reconcile`, forever.
    pub(super) async fn reconcile_often(&self) {
        let mut ticks = tokio::time::interval(self.0.options.reconcile);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.reconcile().await;
        }
    }

    async fn reconcile(&self) {
        let mut silent = BTreeMap::<Partition, Vec<Arc<Node>>>::new();
        for node in self.0.logs.lock().all() {
            if !node.heard.swap(false, Ordering::Relaxed) {
                silent.entry(node.log.partition()).or_default().push(Arc::clone(node));
            }
        }
        for (partition, nodes) in &silent {
            // A primary that was cut off calls itself one still: the others say who it is.
            self.0.store.confirm_primary(*partition).await;
            for batch in nodes.chunks(BATCH) {
                self.compare(batch).await;
            }
        }
    }

    async fn compare(&self, nodes: &[Arc<Node>]) {
        let heads: Vec<_> = nodes.iter().map(|node| node.head()).collect();
        let logs: Vec<_> = nodes.iter().map(|node| node.log.clone()).collect();
        let found = self.0.store.tips(&logs).await;
        for ((node, head), found) in nodes.iter().zip(heads).zip(found) {
            // An error means "not known", never "gone".
            if let Ok(found) = found {
                self.settle(node, head, found).await;
            }
        }
    }

    async fn settle(&self, node: &Node, head: Option<Cursor>, found: Option<Cursor>) {
        if head.is_none() {
            node.insist();
            return;
        }
        // A job that is gone has no newest event; the read that follows finds that out.
        let tip = found.unwrap_or(Cursor::START);
        if !node.core.lock().differs(head, tip) {
            // Where that is in doubt, a read tells.
            node.read_what_is_wanted();
            return;
        }
        // It may only be on its way: what was published before the barrier has arrived after it.
        let heard_all = self.0.store.live().barrier(&node.log).await.is_ok();
        if !node.core.lock().differs(head, tip) {
            return;
        }
        if heard_all && found.is_some() {
            self.0.store.counters().reconciled_losses.inc();
            tracing::warn!(log = %node.log, "live messages were lost; the log is read, the subscription made anew");
            self.0.store.live().rebuild(&node.log);
        }
        let wake = node.core.lock().unsettle();
        node.wake(Wake { read: true, ..wake });
    }
}
