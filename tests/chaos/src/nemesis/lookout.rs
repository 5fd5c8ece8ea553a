//! The lookout: primaries that change without having been struck. On a busy machine a server may be silent for so long that the
//! others replace it. What it had taken and its replicas hadn't is lost then, as in any failover, so the record must have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Faults;
use crate::record::{FaultKind, FaultRecord, Target};
use crate::world::World;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long before a change is seen the primary may have been silent: until it was thought dead, and another one chosen.
const SILENT_MS: u64 = 8_000;

/// Looks on until it is finished.
pub struct Lookout {
    task: JoinSet<Vec<FaultRecord>>,
    stop: oneshot::Sender<()>,
}

impl Lookout {
    /// Begins to look at the primaries of `partitions` partitions of `world`.
    pub fn start(world: &Arc<World>, partitions: u16) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (world, mut task) = (Arc::clone(world), JoinSet::new());
        task.spawn(async move {
            let mut seen = Vec::new();
            let mut primaries = look(&world, partitions).await;
            while stopped.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty) {
                sleep(LOOK).await;
                let now = look(&world, partitions).await;
                let mut lost = BTreeMap::<_, Vec<_>>::new();
                for ((partition, &was), &is) in (0..).zip(&primaries).zip(&now) {
                    if was != is {
                        lost.entry(was).or_default().push(partition);
                    }
                }
                let now_ms = world.clock.now_ms();
                seen.extend(lost.into_iter().map(|(was, partitions)| failover(now_ms, was, partitions)));
                primaries = now;
            }
            seen
        });
        Self { task, stop }
    }

    /// Adds to `faults` the failovers that none of them explains.
    pub async fn finish(mut self, faults: &Faults) {
        drop(self.stop);
        while let Some(seen) = self.task.join_next().await {
            for failover in seen.expect("the lookout doesn't panic") {
                if !faults.explain(&failover) {
                    faults.add(failover);
                }
            }
        }
    }
}

async fn look(world: &World, partitions: u16) -> Vec<usize> {
    let mut primaries = Vec::new();
    for partition in 0..partitions {
        primaries.push(world.redis.primary(partition).await);
    }
    primaries
}

fn failover(now_ms: u64, was: usize, partitions: Vec<u16>) -> FaultRecord {
    FaultRecord {
        from_ms: now_ms.saturating_sub(SILENT_MS),
        until_ms: now_ms,
        kind: FaultKind::Failover,
        target: Target::redis(was),
        primary: true,
        partitions,
        note: Some("nobody struck it: it was silent for too long by itself".into()),
    }
}
