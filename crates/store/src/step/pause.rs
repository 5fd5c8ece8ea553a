//! pause, resume: whether jobs of a task start, in all partitions.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use futures_util::future::try_join_all;
use model::{Partition, TaskName};

use super::QUEUE;
use super::reply::Reply;
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{PartitionCounts, Store, StoreError};

static PAUSE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("pause.lua"), &[QUEUE]));
static PAUSED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("paused.lua"), &[]));

impl Store {
    /// From now on no job of `task` starts, on any worker; what runs goes on, and submissions are accepted. Harmless if it is
    /// paused already. If this fails, it may be paused in some partitions: to be tried again.
    pub async fn pause_task(&self, task: &TaskName) -> Result<(), StoreError> {
        self.in_all_partitions("pause", task).await
    }

    /// Ends a pause. Harmless if there is none. If this fails, it may be paused in some partitions still: to be tried again.
    pub async fn resume_task(&self, task: &TaskName) -> Result<(), StoreError> {
        self.in_all_partitions("resume", task).await
    }

    async fn in_all_partitions(&self, word: &str, task: &TaskName) -> Result<(), StoreError> {
        // Also where a growth has just begun.
        let all = self.partition_counts().await?.all;
        try_join_all((0..all).map(|n| self.pause_in(Partition(n), word, task))).await.map(drop)
    }

    async fn pause_in(&self, partition: Partition, word: &str, task: &TaskName) -> Result<(), StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let call = PAUSE.call(keys.still()).arg(word).arg(task);
        self.router().call(keys.slot, &Request::Script(&call)).await.map(drop)
    }

    /// The partitions that a growth adds take over what is paused in the others, before anything is submitted to them.
    pub(crate) async fn inherit_pauses(&self, counts: PartitionCounts) -> Result<(), StoreError> {
        let mut known = None;
        // Until it stands still: somebody may pause or resume at the same time.
        loop {
            let paused = self.paused_in(Partition(0)).await?;
            let Some(before) = known.replace(paused.clone()) else {
                self.inherit(counts, &BTreeSet::new(), &paused).await?;
                continue;
            };
            if before == paused {
                return Ok(());
            }
            self.inherit(counts, &before, &paused).await?;
        }
    }

    async fn inherit(
        &self,
        counts: PartitionCounts,
        before: &BTreeSet<TaskName>,
        now: &BTreeSet<TaskName>,
    ) -> Result<(), StoreError> {
        let changes = now.difference(before).map(|task| ("pause", task));
        let changes: Vec<_> = changes.chain(before.difference(now).map(|task| ("resume", task))).collect();
        for partition in (counts.open..counts.all).map(Partition) {
            for (word, task) in &changes {
                self.pause_in(partition, word, task).await?;
            }
        }
        Ok(())
    }

    async fn paused_in(&self, partition: Partition) -> Result<BTreeSet<TaskName>, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let call = PAUSED.call(keys.still());
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        let mut tasks = BTreeSet::new();
        while !reply.is_empty() {
            tasks.insert(reply.parse()?);
        }
        Ok(tasks)
    }
}
