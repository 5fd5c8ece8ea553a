//! The schedule: lanes of acts, one after the other in each. The same seed, topology and length give the same one.

use std::fmt;

use super::{Act, Deed, Profile};
use crate::dice::Dice;
use crate::record::{Durability, Role, Target, Topology};
use crate::world::{COURIERS, EACH};

/// All that is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What is done by one hand, in order.
    pub lanes: Vec<Vec<Act>>,
}

/// How many servers there are.
fn servers(topology: Topology, durability: Durability) -> u16 {
    match (topology, durability) {
        (Topology::Single, _) => 1,
        (Topology::Sentinel, Durability::Replicated) => 2,
        (Topology::Sentinel, Durability::Local) => 3,
        (Topology::Cluster, _) => 6,
    }
}

/// How many partitions there are.
fn partitions(topology: Topology) -> u64 {
    if topology == Topology::Cluster { 16 } else { 1 }
}

impl Schedule {
    /// Plans `seconds` of faults.
    pub fn new(
        seed: u64,
        topology: Topology,
        durability: Durability,
        seconds: u64,
        profile: Profile,
    ) -> Self {
        let servers = servers(topology, durability);
        let planner = Planner { seed, topology, servers, end_ms: seconds * 1_000 };
        let mut lanes = Vec::new();
        match profile {
            Profile::All => {
                for n in 1..=EACH {
                    lanes.push(planner.process(Role::Gateway, n));
                    lanes.push(planner.process(Role::Worker, n));
                }
                lanes.extend((1..=COURIERS).map(|n| planner.process(Role::Courier, n)));
                lanes.push(planner.redis());
                if topology.fails_over() {
                    lanes.push(planner.ways());
                }
            }
            Profile::LostMessages => lanes.extend(planner.lost_messages()),
            Profile::SleepyWorkers => lanes.extend((1..=EACH).map(|n| planner.sleepy(n))),
            Profile::Lag => lanes.push(planner.lag()),
            Profile::Calm => {}
        }
        lanes.retain(|lane| !lane.is_empty());
        Self { lanes }
    }

    /// All acts, in the order of time.
    pub fn acts(&self) -> Vec<&Act> {
        let mut acts: Vec<_> = self.lanes.iter().flatten().collect();
        acts.sort_by_key(|act| act.at_ms);
        acts
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.acts().into_iter().try_for_each(|act| writeln!(f, "{act}"))
    }
}

/// The pause between two acts of a lane, in ms: from, to.
type Gap = (u64, u64);

struct Planner {
    seed: u64,
    topology: Topology,
    servers: u16,
    end_ms: u64,
}

impl Planner {
    /// Fills a lane: `plan` gives a deed and how long it lasts. An act that would go on beyond the end is left out.
    fn lane(&self, purpose: &str, gap: Gap, plan: impl FnMut(&mut Dice) -> (Deed, u64)) -> Vec<Act> {
        self.lane_from(purpose, (1_500, 1_500 + gap.1 / 2), gap, plan)
    }

    /// The same, with the first act in the time `begin`.
    fn lane_from(
        &self,
        purpose: &str,
        begin: Gap,
        gap: Gap,
        mut plan: impl FnMut(&mut Dice) -> (Deed, u64),
    ) -> Vec<Act> {
        let mut dice = Dice::new(self.seed, &format!("{} {purpose}", self.topology.name()));
        let (mut at_ms, mut acts) = (dice.between(begin.0, begin.1), Vec::new());
        loop {
            let (deed, lasts_ms) = plan(&mut dice);
            if at_ms + lasts_ms > self.end_ms {
                return acts;
            }
            acts.push(Act { at_ms, lasts_ms, deed });
            at_ms += lasts_ms + dice.between(gap.0, gap.1);
        }
    }

    /// A gateway, a worker or a courier, and what it has of ways to Redis: one of its own, or a share of those that all go.
    fn process(&self, role: Role, n: u16) -> Vec<Act> {
        let has_way = u64::from(self.topology == Topology::Single);
        // A worker lives long enough to end some jobs.
        let gap = if role == Role::Worker { (5_000, 15_000) } else { (3_000, 12_000) };
        self.lane(&format!("{} {n}", role.name()), gap, |dice| {
            let target = Target { role, n };
            let kinds =
                [(3, 0), (3, 1), (2, 2), (2 * has_way, 3), (2, 4), (2 * has_way, 5), (2 * has_way, 6)];
            match dice.choose(&kinds) {
                0 => (Deed::Kill(target), dice.between(200, 2_500)),
                // Longer than a lease, at times.
                1 if role == Role::Worker => (Deed::Pause(target), dice.between(1_000, 8_000)),
                1 => (Deed::Pause(target), dice.between(500, 5_000)),
                2 => (Deed::Stop(target), dice.between(200, 1_000)),
                3 => (Deed::Refuse(target), dice.between(300, 3_000)),
                4 => (Deed::Blackhole(target), dice.between(500, 5_000)),
                5 => (Deed::CloseReplies(target, dice.between(15, 60)), dice.between(2_000, 5_000)),
                // A worker's live messages are cancellations.
                _ => (
                    Deed::DropMessages(target, dice.between(20, 100), dice.between(0, 9_999)),
                    dice.between(2_000, 6_000),
                ),
            }
        })
    }

    /// The servers, one fault at a time.
    fn redis(&self) -> Vec<Act> {
        let partitions = partitions(self.topology);
        let partition = move |dice: &mut Dice| u16::try_from(dice.between(0, partitions - 1)).unwrap_or(0);
        match self.topology {
            Topology::Single => {
                self.lane("redis", (5_000, 10_000), |dice| match dice.choose(&[(3, 0), (2, 1)]) {
                    0 => (Deed::RedisKill(0, 0), dice.between(200, 2_500)),
                    _ => (Deed::RedisPause(0), dice.between(500, 4_000)),
                })
            }
            Topology::Sentinel | Topology::Cluster => {
                // Once, and first: a move under load. Then a kill, and then what chance brings.
                let mut first = vec![0];
                first.extend((self.topology == Topology::Cluster).then_some(4));
                let sentinel = u64::from(self.topology == Topology::Sentinel);
                let kinds = [(4, 0), (4, 1), (4, 2), (3, 3), (1, 5), (1, 6), (sentinel, 7)];
                let is_cluster = self.topology == Topology::Cluster;
                // In a few seconds there is no time to rest between the two.
                let (hold, gap) = if is_cluster && self.end_ms < 30_000 {
                    (3_000, (1_000, 2_000))
                } else {
                    ((self.end_ms / 3).min(20_000), (6_000, 9_000))
                };
                // A slot in which no job lies yet is no test.
                let settled = (self.end_ms / 6).max(3_000);
                let begin = if is_cluster { (settled, settled + 1_500) } else { (1_500, 6_000) };
                self.lane_from("redis", begin, gap, move |dice| {
                    let partition = partition(dice);
                    let kind = first.pop().unwrap_or_else(|| dice.choose(&kinds));
                    match kind {
                        4 => (Deed::SlotMove(partition), hold),
                        1 => (Deed::RedisKill(partition, 0), dice.between(3_000, 6_000)),
                        0 => {
                            (Deed::RedisKill(partition, dice.between(300, 2_000)), dice.between(3_000, 6_000))
                        }
                        5 => (Deed::ReplicaKill(partition), dice.between(500, 4_000)),
                        6 => (Deed::ReplicaPause(partition), dice.between(500, 5_000)),
                        7 => (
                            Deed::SentinelKill(u16::try_from(dice.between(1, 3)).unwrap_or(1)),
                            dice.between(500, 4_000),
                        ),
                        2 => (Deed::RedisPause(partition), dice.between(1_000, 6_000)),
                        _ => (Deed::RedisCut(partition), dice.between(1_000, 4_000)),
                    }
                })
            }
        }
    }

    /// The ways to the servers, where all processes share them.
    fn ways(&self) -> Vec<Act> {
        let servers = self.servers;
        self.lane("ways", (2_000, 6_000), |dice| {
            let n = u16::try_from(dice.between(1, u64::from(servers))).unwrap_or(1);
            let target = Target { role: Role::Redis, n };
            match dice.choose(&[(1, 0), (1, 1)]) {
                0 => (Deed::CloseReplies(target, dice.between(30, 120)), dice.between(1_000, 4_000)),
                _ => (
                    Deed::DropMessages(target, dice.between(20, 100), dice.between(0, 9_999)),
                    dice.between(2_000, 5_000),
                ),
            }
        })
    }

    /// All ways lose messages, in turns with connections. Where a gateway has a way of its own, that is closed as well: it then
    /// reads all its logs anew, while live tells it some of the same.
    fn lost_messages(&self) -> Vec<Vec<Act>> {
        let is_own = self.topology == Topology::Single;
        let ways: Vec<_> = match self.topology {
            Topology::Single => (1..=EACH).map(|n| Target { role: Role::Gateway, n }).collect(),
            _ => (1..=self.servers).map(|n| Target { role: Role::Redis, n }).collect(),
        };
        let lanes = ways.into_iter().map(|target| {
            let mut turn = 0;
            self.lane(&format!("losses {}", target.n), (300, 900), move |dice| {
                turn += 1;
                if is_own && turn % 3 == 1 {
                    return (Deed::Refuse(target.clone()), 50);
                }
                if turn % 3 == 0 {
                    return (Deed::CloseReplies(target.clone(), dice.between(40, 80)), 1_500);
                }
                (Deed::DropMessages(target.clone(), dice.between(30, 70), dice.between(0, 9_999)), 1_200)
            })
        });
        lanes.collect()
    }

    fn sleepy(&self, n: u16) -> Vec<Act> {
        let target = Target { role: Role::Worker, n };
        self.lane(&format!("sleep {n}"), (1_000, 3_000), |dice| {
            (Deed::Pause(target.clone()), dice.between(6_500, 8_000))
        })
    }

    fn lag(&self) -> Vec<Act> {
        let partitions = partitions(self.topology);
        self.lane("lag", (5_000, 6_000), |dice| {
            let partition = u16::try_from(dice.between(0, partitions - 1)).unwrap_or(0);
            (Deed::RedisKill(partition, 2_000), 3_000)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Topology; 3] = [Topology::Single, Topology::Sentinel, Topology::Cluster];

    #[test]
    fn a_seed_is_one_schedule() {
        for topology in ALL {
            let plan = |seed| Schedule::new(seed, topology, Durability::Local, 60, Profile::All);
            assert_eq!(plan(3), plan(3));
            assert_ne!(plan(3), plan(4));
            assert!(plan(3).acts().len() > 20, "{}", plan(3));
        }
    }

    #[test]
    fn all_is_over_in_time_and_a_lane_does_one_thing_at_a_time() {
        for (seed, topology) in (0..50).flat_map(|seed| ALL.map(|topology| (seed, topology))) {
            for lane in Schedule::new(seed, topology, Durability::Local, 60, Profile::All).lanes {
                assert!(lane.windows(2).all(|two| two[0].at_ms + two[0].lasts_ms < two[1].at_ms));
                assert!(lane.iter().all(|act| act.at_ms + act.lasts_ms <= 60_000));
            }
        }
    }

    #[test]
    fn each_minute_has_what_the_suite_promises() {
        for seed in 0..50 {
            let has = |topology, wanted: fn(&Act) -> bool| {
                Schedule::new(seed, topology, Durability::Local, 60, Profile::All)
                    .acts()
                    .into_iter()
                    .any(wanted)
            };
            assert!(
                has(Topology::Cluster, |act| matches!(act.deed, Deed::SlotMove(_)) && act.lasts_ms == 20_000)
            );
            for topology in ALL {
                assert!(
                    has(topology, |act| matches!(act.deed, Deed::RedisKill(..) | Deed::RedisPause(_))),
                    "{seed}"
                );
            }
        }
    }

    #[test]
    fn processes_are_cut_off_from_redis_in_each_topology() {
        for topology in ALL {
            let cuts_of = |seed, role| {
                let schedule = Schedule::new(seed, topology, Durability::Local, 60, Profile::All);
                let acts = schedule.acts();
                let is_cut = |act: &&&Act| match &act.deed {
                    Deed::Blackhole(target) | Deed::Refuse(target) => target.role == role,
                    _ => false,
                };
                acts.iter().filter(is_cut).count()
            };
            let roles = [Role::Gateway, Role::Worker, Role::Courier];
            let each: Vec<usize> =
                (1..=10).map(|seed| roles.iter().map(|role| cuts_of(seed, *role)).sum()).collect();
            assert!(each.iter().all(|cuts| *cuts >= 3), "{topology:?}: {each:?}");
            for role in roles {
                assert!((1..=10).map(|seed| cuts_of(seed, role)).sum::<usize>() >= 10, "{role:?}");
            }
        }
    }
}
