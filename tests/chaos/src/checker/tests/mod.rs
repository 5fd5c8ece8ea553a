//! A right run passes; one in which anything is wrong doesn't.

mod edit;
mod in_redis;
mod to_clients;

use std::collections::HashMap;

use proptest::prelude::*;

use super::made_up::{self, Dice};
use super::*;
use crate::record::Topology;

fn topologies() -> impl Strategy<Value = Topology> {
    prop_oneof![Just(Topology::Single), Just(Topology::Sentinel), Just(Topology::Cluster)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_run_that_keeps_every_promise_passes(topology in topologies(), seed in any::<u64>()) {
        let run = made_up::run(topology, seed);
        let verdict = check(&run);
        prop_assert!(verdict.passed(), "{:#?}", &verdict.violations[..verdict.violations.len().min(5)]);
    }
}

#[test]
fn made_up_runs_have_everything_that_there_is_to_judge() {
    let all: Vec<_> = (0..60).map(|seed| check(&made_up::run(Topology::Cluster, seed)).counts).collect();
    let sum = |count: fn(&Counts) -> u64| all.iter().map(count).sum::<u64>();
    for (name, count) in [
        ("events", sum(|counts| counts.events)),
        ("reconnects", sum(|counts| counts.reconnects)),
        ("rewinds", sum(|counts| counts.rewinds)),
        ("trims", sum(|counts| counts.trims)),
        ("gone", sum(|counts| counts.gone)),
        ("voided", sum(|counts| counts.voided)),
        ("ends lost", sum(|counts| counts.ends_lost)),
        ("ends acknowledged", sum(|counts| counts.ends_acknowledged)),
        ("acknowledged ends lost", sum(|counts| counts.acknowledged_ends_lost)),
        ("jobs lost", sum(|counts| counts.jobs_lost)),
        ("deadlines passed", sum(|counts| counts.deadlines_passed)),
        ("clients that had left", sum(|counts| counts.had_left)),
    ] {
        assert!(count > 0, "no {name}");
    }
}

/// Something wrong that is done to a right run. `None` if this run has no place for it.
type Wrong = fn(&mut Run, &mut Dice) -> Option<()>;

/// One wrong a row: its name, where it is done, what does it, and what it must be found as (one of).
type Row = (&'static str, Topology, Wrong, &'static [Kind]);

/// In how many runs each wrong is tried.
const ENOUGH: u32 = 10;

/// Of how many it is tried in at most, as not each has a place for it.
const RUNS: u64 = 40;

/// Does each wrong to many right runs. Each must be found in each run that had a place for it, and many must have.
fn all_are_found(rows: &[Row]) {
    let mut runs: HashMap<Topology, Vec<Run>> = HashMap::new();
    for (name, topology, wrong, kinds) in rows {
        let mut places = 0;
        let right = runs.entry(*topology).or_default();
        for (at, seed) in (0..RUNS).enumerate() {
            if places == ENOUGH {
                break;
            }
            if at == right.len() {
                right.push(made_up::run(*topology, seed));
            }
            let mut run = right[at].clone();
            if wrong(&mut run, &mut Dice::new(seed)).is_none() {
                continue;
            }
            places += 1;
            let found = check(&run).violations;
            let as_it_should = found.iter().any(|violation| kinds.contains(&violation.kind));
            assert!(as_it_should, "{name}, seed {seed}: {kinds:?} isn't among {found:#?}");
        }
        assert!(places >= ENOUGH / 2, "{name}: only {places} runs of {RUNS} had a place for it");
    }
}
