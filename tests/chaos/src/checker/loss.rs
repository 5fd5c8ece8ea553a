//! What Redis itself can have lost: writes around a time when a primary was struck.
//!
//! Without this, "Redis lost it" would be an excuse for everything. A loss is believed only of what was written between a
//! little before a primary was struck (what replicas didn't have yet) and a little after it was undone (what an old
//! primary took that didn't know that it was one no more), in a partition that the fault touched.

use crate::record::{FaultKind, FaultRecord, Role, Run};

/// How far a healthy replica can lag.
const LAG_MS: u64 = 5_000;
/// How long an old primary may take writes after it is back.
const UNAWARE_MS: u64 = 15_000;
/// How long after that the gateways may take to find out, and to tell.
pub(super) const FOUND_OUT_MS: u64 = 30_000;

/// When writes can have been lost.
pub(super) struct Losses(Vec<Window>);

struct Window {
    from: u64,
    until: u64,
    /// When the fault was over.
    over: u64,
    /// Empty is all.
    partitions: Vec<u16>,
}

impl Window {
    fn touches(&self, partition: u16, from: u64, until: u64) -> bool {
        (self.partitions.is_empty() || self.partitions.contains(&partition))
            && self.from <= until
            && from <= self.until
    }
}

impl Losses {
    pub(super) fn of(run: &Run) -> Self {
        if !run.topology.fails_over() {
            return Self(Vec::new());
        }
        let window = |fault: &FaultRecord| Window {
            from: reaches_back(fault, &run.faults),
            until: fault.until_ms.saturating_add(UNAWARE_MS),
            over: fault.until_ms,
            partitions: fault.partitions.clone(),
        };
        Self(run.faults.iter().filter(|fault| loses(fault)).map(window).collect())
    }

    /// Whether what was written in `partition` between `from` and `until` can have been lost.
    pub(super) fn of_writes(&self, partition: u16, from: u64, until: u64) -> bool {
        self.last_end(partition, from, until).is_some()
    }

    /// Until when it can have been lost, at the latest.
    pub(super) fn last_end(&self, partition: u16, from: u64, until: u64) -> Option<u64> {
        self.touching(partition, from, until).map(|window| window.until).max()
    }

    /// When the first fault after `from` was over by which it can have been lost.
    pub(super) fn next_over(&self, partition: u16, from: u64, until: u64) -> Option<u64> {
        self.touching(partition, from, until).map(|window| window.over).filter(|&over| over > from).min()
    }

    fn touching(&self, partition: u16, from: u64, until: u64) -> impl Iterator<Item = &Window> {
        self.0.iter().filter(move |window| window.touches(partition, from, until))
    }
}

fn loses(fault: &FaultRecord) -> bool {
    match fault.kind {
        FaultKind::Failover => true,
        FaultKind::Kill | FaultKind::Stop | FaultKind::Pause | FaultKind::Cut => {
            fault.target.role == Role::Redis && fault.primary
        }
        FaultKind::CloseReplies | FaultKind::DropMessages | FaultKind::SlotMove | FaultKind::Rollover => {
            false
        }
    }
}

/// From when writes can be missing on the replica that took over: longer, if a Redis server was struck just before, since that
/// may have been the replica.
fn reaches_back(fault: &FaultRecord, all: &[FaultRecord]) -> u64 {
    let mut from = fault.from_ms.saturating_sub(LAG_MS);
    let struck = |kind| matches!(kind, FaultKind::Kill | FaultKind::Stop | FaultKind::Pause | FaultKind::Cut);
    while let Some(earlier) = all
        .iter()
        .filter(|other| other.target.role == Role::Redis && struck(other.kind))
        .filter(|other| other.from_ms.saturating_sub(LAG_MS) < from && from <= other.until_ms)
        .map(|other| other.from_ms.saturating_sub(LAG_MS))
        .min()
    {
        from = earlier;
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::made_up;
    use crate::record::{Target, Topology};

    fn fault(
        kind: FaultKind,
        role: Role,
        primary: bool,
        from: u64,
        until: u64,
        partitions: &[u16],
    ) -> FaultRecord {
        FaultRecord {
            from_ms: from,
            until_ms: until,
            kind,
            target: Target { role, n: 1 },
            primary,
            partitions: partitions.to_vec(),
            note: None,
        }
    }

    #[test]
    fn only_what_a_struck_primary_can_have_lost_is_believed_lost() {
        use FaultKind::{CloseReplies, Cut, Failover, Kill, Pause};
        let kill = || fault(Kill, Role::Redis, true, 20_000, 30_000, &[3]);
        let replica = || fault(Pause, Role::Redis, false, 8_000, 16_000, &[3]);
        for (topology, faults, partition, written, want) in [
            (Topology::Cluster, vec![kill()], 3, 15_000, true),
            (Topology::Cluster, vec![kill()], 3, 14_999, false),
            (Topology::Cluster, vec![kill()], 3, 45_000, true),
            (Topology::Cluster, vec![kill()], 3, 45_001, false),
            (Topology::Cluster, vec![kill()], 4, 20_000, false),
            (Topology::Single, vec![kill()], 3, 20_000, false),
            (Topology::Cluster, vec![replica()], 3, 9_000, false),
            (Topology::Cluster, vec![replica(), kill()], 3, 3_000, true),
            (Topology::Cluster, vec![replica(), kill()], 3, 2_999, false),
            (
                Topology::Sentinel,
                vec![fault(Failover, Role::Redis, false, 5_000, 6_000, &[])],
                0,
                5_500,
                true,
            ),
            (Topology::Sentinel, vec![fault(Cut, Role::Gateway, false, 5_000, 6_000, &[])], 0, 5_500, false),
            (
                Topology::Sentinel,
                vec![fault(CloseReplies, Role::Redis, true, 5_000, 6_000, &[])],
                0,
                5_500,
                false,
            ),
        ] {
            let mut run = made_up::empty(topology);
            run.faults = faults;
            let can = Losses::of(&run).of_writes(partition, written, written);
            assert_eq!(can, want, "{topology:?} {partition} {written} {:?}", run.faults);
        }
    }
}
