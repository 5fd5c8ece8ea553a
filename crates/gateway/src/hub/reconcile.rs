//! Reconciling: silent logs are compared with Redis, so that no lost live message stays lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};
use model::{Cursor, Partition};

use super::Hub;
use super::core::Wake;
use super::node::Node;

/// How many logs one pipeline asks for.
const BATCH: usize = 500;
/// How many partitions are asked at once, so that one that doesn't answer holds up no other.
const PARTITIONS: usize = 16;

/// Whether a log is compared at the next tick, if it doesn't go on until then. There are two ticks in each `reconcile`.
///
/// A silent log is compared at every other tick, so it costs Redis one question each `reconcile`. One that fell silent is compared
/// at the first tick that comes after a whole silent turn, so at most one `reconcile` after what it last went on by.
#[derive(Debug, Default)]
pub(super) struct Due(AtomicBool);

impl Due {
    /// The log went on.
    pub(super) fn went_on(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Nobody answered when it was compared: it is due again.
    fn unanswered(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is compared at this tick. If it isn't, it is at the next one.
    fn tick(&self) -> bool {
        self.0.fetch_not(Ordering::Relaxed)
    }
}

impl Hub {
    /// Reconciles twice in each `reconcile`, forever; each time what is [`Due`].
    pub(super) async fn reconcile_often(&self) {
        let mut ticks = tokio::time::interval(self.0.options.reconcile / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.reconcile().await;
        }
    }

    async fn reconcile(&self) {
        let mut due = BTreeMap::<Partition, Vec<Arc<Node>>>::new();
        for node in self.0.logs.lock().all() {
            if node.due.tick() {
                due.entry(node.log.partition()).or_default().push(Arc::clone(node));
            }
        }
        let of_partition = async |(partition, nodes): (Partition, Vec<Arc<Node>>)| {
            // A primary that was cut off calls itself one still: the others say who it is.
            self.0.store.confirm_primary(partition).await;
            let mut batches = nodes.chunks(BATCH);
            // Who doesn't answer for some doesn't for the others, and the next tick waits for all.
            while let Some(batch) = batches.next()
                && self.compare(batch).await
            {}
            batches.flatten().for_each(|node| node.due.unanswered());
        };
        stream::iter(due).for_each_concurrent(PARTITIONS, of_partition).await;
    }

    /// Says whether any of them could be compared.
    async fn compare(&self, nodes: &[Arc<Node>]) -> bool {
        let mut any = false;
        let heads: Vec<_> = nodes.iter().map(|node| node.head()).collect();
        let logs: Vec<_> = nodes.iter().map(|node| node.log.clone()).collect();
        let found = self.0.store.tips(&logs).await;
        for ((node, head), found) in nodes.iter().zip(heads).zip(found) {
            // An error means "not known", never "gone".
            match found {
                Ok(found) => {
                    any = true;
                    self.settle(node, head, found).await;
                }
                Err(_) => node.due.unanswered(),
            }
        }
        any
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

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of the ticks a log is compared, if before each of them it went on or not.
    fn compared(went_on: &[bool]) -> Vec<bool> {
        let due = Due::default();
        let tick = |&went_on: &bool| {
            if went_on {
                due.went_on();
            }
            due.tick()
        };
        went_on.iter().map(tick).collect()
    }

    #[test]
    fn a_silent_log_is_compared_at_every_other_tick() {
        assert_eq!(compared(&[false; 6]), [false, true, false, true, false, true]);
    }

    #[test]
    fn one_that_fell_silent_is_compared_at_its_first_silent_tick_and_a_busy_one_never() {
        assert_eq!(compared(&[true; 4]), [false; 4]);
        // Whatever was before, and wherever its silence begins.
        for before in 0..8_u8 {
            let before: Vec<_> = (0..3).map(|bit| before & (1 << bit) != 0).collect();
            let all = [&before[..], &[true, false, false, false]].concat();
            assert_eq!(compared(&all)[3..], [false, true, false, true], "{all:?}");
        }
    }

    #[test]
    fn one_that_nobody_answered_for_is_compared_at_the_next_tick() {
        let due = Due::default();
        assert!(!due.tick() && due.tick());
        due.unanswered();
        assert!(due.tick() && !due.tick() && due.tick());
    }

    #[test]
    fn no_log_is_compared_twice_within_one_reconcile_unless_it_went_on() {
        for ticks in 0..256_u16 {
            let went_on: Vec<_> = (0..8).map(|bit| ticks & (1 << bit) != 0).collect();
            let compared = compared(&went_on);
            assert!(went_on.iter().zip(&compared).all(|(on, compared)| !(*on && *compared)), "{went_on:?}");
            assert!(!compared.windows(2).any(|two| two == [true, true]), "{went_on:?}");
        }
    }
}
