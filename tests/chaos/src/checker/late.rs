//! No end comes late: at most [`MOST_MS`] after the job's deadline, not counting time in which its partition could not be
//! written. When that was is known from the record alone: what was done to Redis' servers, and until when.

use serde_json::Value;

use super::event::{Event, is_terminal, unix_ms};
use super::finding::{Findings, Kind};
use super::loss::Losses;
use super::truth::{Log, Truth};
use super::verdict::Counts;
use crate::record::{FaultKind, FaultRecord, JobRecord, Role, Run, Topology};

/// The longest that an end may take after the deadline, while its partition can be written.
const MOST_MS: u64 = 5_000;

/// Judges the ends of all jobs that have a deadline of their own.
pub(super) fn check(truth: &Truth<'_>, losses: &Losses, findings: &mut Findings, counts: &mut Counts) {
    let outages = Outages::of(truth.run);
    for job in &truth.run.jobs {
        let Some(times) = Times::of(job, truth.run.started_at_unix_ms) else { continue };
        if times.end < times.deadline {
            continue;
        }
        counts.deadlines_passed += 1;
        counts.lateness.push(times.end - times.deadline);
        let partition = Log::of_job(job).partition;
        if let Some(due) = missed(times, partition, &outages, losses) {
            let Times { deadline, end } = times;
            let sentence = format!(
                "its deadline was at {deadline} ms, so it had to end by {due} ms, and it ended at {end} ms"
            );
            findings.about(Kind::LateEnd, job.id.clone(), sentence);
        }
    }
}

/// A job's deadline and its end, in ms since the run's start.
#[derive(Clone, Copy)]
struct Times {
    deadline: u64,
    end: u64,
}

impl Times {
    /// `None` where there is no deadline, no end, or no time to be read (which others judge).
    fn of(job: &JobRecord, started_at_unix_ms: u64) -> Option<Self> {
        let last = job.final_log.last().filter(|last| is_terminal(&last.kind))?;
        let polled: Value = serde_json::from_str(&job.final_poll.body).ok()?;
        let created = unix_ms(polled["createdAt"].as_str()?)?.saturating_sub(started_at_unix_ms);
        // Whatever the poll says, it was made before somebody was told so.
        let deadline = created.min(job.answered_at_ms) + job.deadline_ms?;
        let end = Event::parse(&last.json)?.at_unix_ms()?.saturating_sub(started_at_unix_ms);
        Some(Self { deadline, end })
    }
}

/// By when it should have ended, if it ended later. Where Redis can have lost an end that came in time, the time begins anew
/// once that fault is over: a lost end is counted elsewhere, and the job has to end once more.
fn missed(times: Times, partition: u16, outages: &Outages, losses: &Losses) -> Option<u64> {
    let mut begin = times.deadline;
    loop {
        let due = outages.writable_for(MOST_MS, partition, begin);
        if times.end <= due {
            return None;
        }
        match losses.next_over(partition, begin, due) {
            Some(over) => begin = over,
            None => return Some(due),
        }
    }
}

/// When partitions could not be written, in order of their beginnings.
struct Outages(Vec<Outage>);

struct Outage {
    from: u64,
    until: u64,
    /// Empty is all.
    partitions: Vec<u16>,
}

impl Outages {
    fn of(run: &Run) -> Self {
        let mut all: Vec<_> = run.faults.iter().filter_map(|fault| outage(fault, run)).collect();
        all.sort_by_key(|outage| outage.from);
        Self(all)
    }

    /// When `partition` will have been writable for `ms` since `begin`.
    fn writable_for(&self, ms: u64, partition: u16, begin: u64) -> u64 {
        let (mut at, mut left) = (begin, ms);
        for outage in &self.0 {
            let touches = outage.partitions.is_empty() || outage.partitions.contains(&partition);
            if !touches || outage.until <= at {
                continue;
            }
            let writable = outage.from.saturating_sub(at);
            if writable >= left {
                break;
            }
            left -= writable;
            at = outage.until;
        }
        at + left
    }
}

fn outage(fault: &FaultRecord, run: &Run) -> Option<Outage> {
    let strikes =
        |kind| matches!(kind, FaultKind::Kill | FaultKind::Stop | FaultKind::Pause | FaultKind::Cut);
    let overlaps = |other: &FaultRecord| other.from_ms <= fault.until_ms && fault.from_ms <= other.until_ms;
    let same = |other: &&FaultRecord| other.target == fault.target && overlaps(other);
    // A Cluster without one of its primaries serves nothing: cluster-require-full-coverage, as is its default.
    let partitions = match run.topology {
        Topology::Cluster if fault.kind != FaultKind::SlotMove => Vec::new(),
        _ => fault.partitions.clone(),
    };
    let until = match fault.kind {
        // Steps are held from the first moved key to the last.
        FaultKind::SlotMove => fault.until_ms,
        // The one that was struck, until it is back or another one serves.
        kind if strikes(kind) && fault.target.role == Role::Redis && fault.primary => {
            let mut failovers =
                run.faults.iter().filter(|other| other.kind == FaultKind::Failover).filter(same);
            failovers.next().map_or(fault.until_ms, |failover| failover.until_ms)
        }
        // Nobody struck it, and it was silent.
        FaultKind::Failover if !run.faults.iter().filter(same).any(|other| strikes(other.kind)) => {
            fault.until_ms
        }
        _ => return None,
    };
    Some(Outage { from: fault.from_ms, until, partitions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::made_up;
    use crate::record::Target;

    fn fault(kind: FaultKind, from: u64, until: u64, partitions: &[u16]) -> FaultRecord {
        FaultRecord {
            from_ms: from,
            until_ms: until,
            kind,
            target: Target { role: Role::Redis, n: 1 },
            primary: true,
            partitions: partitions.to_vec(),
            note: None,
        }
    }

    /// By when a job of partition 3 whose deadline is at 10,000 ms must have ended.
    #[track_caller]
    fn due(topology: Topology, faults: &[FaultRecord], want: u64) {
        let mut run = made_up::empty(topology);
        run.faults = faults.to_vec();
        let (outages, losses) = (Outages::of(&run), Losses::of(&run));
        let judge = |end| missed(Times { deadline: 10_000, end }, 3, &outages, &losses);
        assert_eq!(judge(want), None, "{faults:?}");
        assert_eq!(judge(want + 1), Some(want), "{faults:?}");
    }

    #[test]
    fn time_in_which_the_partition_could_not_be_written_is_added() {
        use FaultKind::{CloseReplies, DropMessages, Kill, Pause, SlotMove};
        use Topology::{Cluster, Single};
        due(Single, &[], 15_000);
        due(Single, &[fault(Kill, 11_000, 14_000, &[])], 18_000);
        due(Single, &[fault(Kill, 8_000, 9_999, &[])], 15_000);
        due(Single, &[fault(Kill, 15_000, 19_000, &[])], 15_000);
        due(Single, &[fault(Pause, 9_000, 12_000, &[])], 17_000);
        due(Single, &[fault(Kill, 11_000, 13_000, &[]), fault(Pause, 12_000, 14_000, &[])], 18_000);
        due(Single, &[fault(Kill, 11_000, 12_000, &[]), fault(Pause, 15_500, 17_000, &[])], 17_500);
        due(Single, &[fault(CloseReplies, 10_000, 20_000, &[])], 15_000);
        due(Single, &[fault(DropMessages, 10_000, 20_000, &[])], 15_000);
        due(Cluster, &[fault(SlotMove, 9_000, 29_000, &[3])], 34_000);
        due(Cluster, &[fault(SlotMove, 9_000, 29_000, &[2])], 15_000);
    }

    #[test]
    fn a_strike_lasts_until_another_one_serves_and_what_it_lost_is_written_once_more() {
        use FaultKind::{Failover, Kill, Pause};
        use Topology::{Cluster, Sentinel};
        let replica = FaultRecord { primary: false, ..fault(Pause, 10_000, 20_000, &[]) };
        due(Sentinel, &[replica], 15_000);
        // The strike ends when the other one serves. An end of before can have been lost, also when the old one came back.
        let struck = [fault(Failover, 30_000, 32_500, &[]), fault(Kill, 31_000, 36_000, &[])];
        due(Sentinel, &struck, 15_000);
        let struck = [fault(Failover, 11_000, 13_000, &[]), fault(Kill, 12_000, 14_000, &[])];
        due(Sentinel, &struck, 19_000);
        due(Cluster, &[fault(Pause, 9_000, 12_000, &[7])], 17_000);
        // Nobody struck it.
        due(Cluster, &[fault(Failover, 9_000, 12_000, &[3])], 17_000);
    }
}
