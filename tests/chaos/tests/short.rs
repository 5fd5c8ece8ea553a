//! A few seconds of chaos in each topology, and two planted faults: `make chaos` has the long ones.

use std::path::Path;
use std::time::Duration;

use chaos::outcome::Outcome;
use chaos::record::{Durability, FaultKind, FaultRecord, Role, Run, Topology};
use chaos::{Orders, drive, outcome};

/// Some seconds with a seed whose schedule holds what is worth the time.
fn orders(topology: Topology, seed: u64, seconds: u64) -> Orders {
    Orders {
        topology,
        seed,
        seconds,
        durability: Durability::Local,
        clients: 150,
        jobs_a_minute: 240,
        planted: None,
        deadline: Duration::from_mins(2),
        logs: folder(topology.name()),
    }
}

/// What is left of a run lies in the build's own temporary folder.
fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{name}"))
}

async fn run(orders: &Orders) -> (Run, Outcome) {
    let run = drive(orders).await;
    let outcome = outcome::judge(&run, &orders.logs, false).expect("the record can be written");
    assert!(outcome.is_as_it_should_be(), "see above, and {}", orders.logs.display());
    (run, outcome)
}

/// All was well, and it was no empty run: clients saw a lot, and workers heard that their ends are written.
async fn survives(orders: Orders) -> Run {
    let (run, outcome) = run(&orders).await;
    let counts = outcome.counts();
    assert!(counts.events > 500, "{} events", counts.events);
    assert!(counts.jobs >= 10 && counts.clients >= 100, "{} jobs, {} clients", counts.jobs, counts.clients);
    assert!(counts.ends_acknowledged * 2 > counts.jobs, "{} ends", counts.ends_acknowledged);
    run
}

fn struck(run: &Run, role: Role, kind: FaultKind) -> impl Iterator<Item = &FaultRecord> {
    run.faults.iter().filter(move |fault| fault.target.role == role && fault.kind == kind)
}

fn primary_killed(run: &Run) -> &FaultRecord {
    let mut kills = struck(run, Role::Redis, FaultKind::Kill).filter(|kill| kill.primary);
    kills.next().unwrap_or_else(|| panic!("no primary was killed: {:#?}", run.faults))
}

/// A part was cut off from Redis, and had something to be cut off from.
fn cut_off(run: &Run) {
    let roles = [Role::Gateway, Role::Worker, Role::Courier];
    let mut cuts = roles.iter().flat_map(|role| struck(run, *role, FaultKind::Cut));
    let held = |cut: &FaultRecord| cut.note.as_ref().is_some_and(|note| !note.ends_with(", 0 connections"));
    assert!(cuts.any(held), "nobody was cut off: {:#?}", run.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redis_killed() {
    let run = survives(orders(Topology::Single, 5, 12)).await;
    primary_killed(&run);
    cut_off(&run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinels_primary_killed() {
    let run = survives(Orders { jobs_a_minute: 360, ..orders(Topology::Sentinel, 78, 14) }).await;
    let kill = primary_killed(&run);
    let before = run.jobs.iter().filter(|job| job.answered_at_ms < kill.from_ms).count();
    assert!(before >= 6, "only {before} jobs were there when the primary died");
    assert!(run.faults.iter().any(|fault| fault.kind == FaultKind::Failover), "{:#?}", run.faults);
    cut_off(&run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clusters_slot_moved_and_a_primary_killed() {
    let run = survives(Orders { jobs_a_minute: 360, ..orders(Topology::Cluster, 24, 20) }).await;
    let moved = struck(&run, Role::Redis, FaultKind::SlotMove).next().and_then(|fault| fault.note.clone());
    let note = moved.expect("a slot was moved");
    assert!(note.ends_with(" 0 failures") && keys(&note) >= 5, "no job lay there: {note}");
    primary_killed(&run);
    cut_off(&run);
}

/// Of `slot 3077 to server 2: 23 keys, 0 failures`.
fn keys(note: &str) -> u32 {
    let after = note.split_once(": ").and_then(|(_, after)| after.split_once(" keys"));
    after.and_then(|(keys, _)| keys.parse().ok()).unwrap_or(0)
}

/// The checker finds what is planted for what it is; see `chaos::plant`.
async fn is_found(planted: &str) {
    let plain = orders(Topology::Single, 1, 8);
    let orders = Orders {
        planted: Some(planted.to_owned()),
        deadline: Duration::from_secs(6),
        logs: folder(planted),
        ..plain
    };
    run(&orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_that_are_not_filled_are_found() {
    is_found("gap-fill-off").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_that_nobody_tells_are_found() {
    is_found("last-message-dropped").await;
}
