//! The hands: they do what is planned, at its time, and write down what they did.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Act, Deed, Schedule, redis};
use crate::record::{FaultKind, FaultRecord, Role, Target};
use crate::world::World;

/// How long a gateway or worker may take to end after SIGTERM: its drain, or its grace, and what a busy machine takes.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// How many acts of a lane are done however slow the machine is: a slot's move and the kill after it.
const ALWAYS: usize = 2;

/// What was done so far.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    faults: Vec<FaultRecord>,
    notes: Vec<String>,
}

impl Faults {
    pub(crate) fn add(&self, fault: FaultRecord) {
        self.0.lock().faults.push(fault);
    }

    pub(crate) fn note(&self, note: String) {
        self.0.lock().notes.push(note);
    }

    /// Whether what was done to a primary, or a slot's move, explains `failover`, which was seen.
    pub(crate) fn explain(&self, failover: &FaultRecord) -> bool {
        let is_why = |fault: &FaultRecord| {
            let strikes = matches!(
                fault.kind,
                FaultKind::Kill | FaultKind::Pause | FaultKind::Cut | FaultKind::Failover
            );
            let overlaps = fault.from_ms <= failover.until_ms && failover.from_ms <= fault.until_ms;
            // A move loses nothing: what changes its primary by one must not pass for a failover.
            let moves = fault.kind == FaultKind::SlotMove
                && failover.partitions.iter().all(|partition| fault.partitions.contains(partition));
            (strikes || moves) && overlaps && fault.primary && fault.target == failover.target
        };
        self.0.lock().faults.iter().any(is_why)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().faults.len()
    }

    /// All, in the order of their beginnings, and what else was worth a line.
    pub fn take(&self) -> (Vec<FaultRecord>, Vec<String>) {
        let mut noted = self.0.lock();
        let mut faults = std::mem::take(&mut noted.faults);
        faults.sort_by_key(|fault| fault.from_ms);
        (faults, std::mem::take(&mut noted.notes))
    }
}

/// At work.
pub struct Nemesis {
    lanes: JoinSet<()>,
}

impl Nemesis {
    /// Begins with `schedule`; what would begin after `end_ms`, because what came before took too long, is left out, but for the
    /// first [`ALWAYS`] acts of each lane. `say` hears of each act.
    pub fn start(
        world: &Arc<World>,
        schedule: Schedule,
        faults: &Faults,
        end_ms: u64,
        say: impl Fn(&Act) + Clone + Send + Sync + 'static,
    ) -> Self {
        let mut lanes = JoinSet::new();
        for lane in schedule.lanes {
            let (world, faults, say) = (Arc::clone(world), faults.clone(), say.clone());
            lanes.spawn(async move {
                for (number, act) in lane.into_iter().enumerate() {
                    world.clock.until(act.at_ms).await;
                    if number >= ALWAYS && world.clock.now_ms() > end_ms {
                        break;
                    }
                    say(&act);
                    perform(&world, &act, &faults).await;
                }
            });
        }
        Self { lanes }
    }

    /// Waits until all is done and undone.
    pub async fn finish(mut self) {
        while let Some(ended) = self.lanes.join_next().await {
            ended.expect("the nemesis doesn't panic");
        }
    }
}

/// Does it, waits, and undoes it.
async fn perform(world: &World, act: &Act, faults: &Faults) {
    let from_ms = world.clock.now_ms();
    let lasts = Duration::from_millis(act.lasts_ms);
    let mut held = None;
    let (kind, target) = match &act.deed {
        Deed::Kill(target) => {
            let part = world.part(target.role, target.n);
            part.kill();
            sleep(lasts).await;
            part.launch();
            (FaultKind::Kill, target)
        }
        Deed::Stop(target) => {
            let part = world.part(target.role, target.n);
            if let Some(wrong) = part.stop(STOPS_WITHIN).await {
                faults.note(format!("WRONG: {} at {from_ms} ms: {wrong}", part.name()));
            }
            sleep(lasts).await;
            part.launch();
            (FaultKind::Stop, target)
        }
        Deed::Pause(target) => {
            let part = world.part(target.role, target.n);
            part.pause();
            sleep(lasts).await;
            part.resume();
            (FaultKind::Pause, target)
        }
        Deed::Refuse(target) => {
            world.proxy(target).refuse();
            sleep(lasts).await;
            world.proxy(target).pass();
            (FaultKind::Cut, target)
        }
        Deed::Blackhole(target) => {
            held = match world.cut_off(target) {
                Some(cut) => Some(cut.last(lasts).await),
                None => None,
            };
            (FaultKind::Cut, target)
        }
        Deed::CloseReplies(target, every) => {
            let proxy = world.proxy(target);
            proxy.close_every_nth_reply(usize::try_from(*every).unwrap_or(usize::MAX));
            sleep(lasts).await;
            proxy.close_every_nth_reply(0);
            (FaultKind::CloseReplies, target)
        }
        Deed::DropMessages(target, share, salt) => {
            let (proxy, share, salt) = (world.proxy(target), *share, *salt);
            proxy.drop_messages(move |channel, _| {
                channel.contains("live:") && hash(channel, salt) % 100 < share
            });
            sleep(lasts).await;
            proxy.drop_messages(|_, _| false);
            (FaultKind::DropMessages, target)
        }
        Deed::RedisKill(..)
        | Deed::RedisPause(_)
        | Deed::RedisCut(_)
        | Deed::ReplicaKill(_)
        | Deed::ReplicaPause(_)
        | Deed::SentinelKill(_)
        | Deed::SlotMove(_) => {
            return redis::suffer(world, act, faults).await;
        }
    };
    faults.add(FaultRecord {
        from_ms,
        until_ms: world.clock.now_ms(),
        kind,
        target: target.clone(),
        primary: target.role == Role::Redis,
        partitions: Vec::new(),
        note: Some(match held {
            Some(connections) => format!("{}, {connections} connections", act.deed),
            None => act.deed.to_string(),
        }),
    });
}

/// Chance that stays the same for one channel (FNV-1a).
fn hash(channel: &str, salt: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ salt;
    channel.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
        >> 7
}

impl Target {
    /// A Redis server by its number among the servers, from 1.
    pub(crate) fn redis(n: usize) -> Self {
        Self { role: Role::Redis, n: u16::try_from(n + 1).unwrap_or(u16::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_is_explained_by_a_strike_or_by_its_own_slots_move() {
        let fault = |kind, n, partitions: &[u16]| FaultRecord {
            from_ms: 10_000,
            until_ms: 14_000,
            kind,
            target: Target { role: Role::Redis, n },
            primary: true,
            partitions: partitions.to_vec(),
            note: None,
        };
        let seen = |partitions: &[u16]| fault(FaultKind::Failover, 1, partitions);
        let explains = |done: FaultRecord, seen: &FaultRecord| {
            let faults = Faults::default();
            faults.add(done);
            faults.explain(seen)
        };
        assert!(explains(fault(FaultKind::Kill, 1, &[3, 4]), &seen(&[3, 4])));
        assert!(!explains(fault(FaultKind::Kill, 2, &[3, 4]), &seen(&[3, 4])));
        assert!(explains(fault(FaultKind::SlotMove, 1, &[3]), &seen(&[3])));
        assert!(!explains(fault(FaultKind::SlotMove, 1, &[3]), &seen(&[3, 4])), "the others failed over");
    }
}
