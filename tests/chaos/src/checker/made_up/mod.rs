//! Made-up runs of a system that does everything right: a model of Redis, its failovers, and clients that are served perfectly.

mod dice;
mod logs;
mod served;

pub(super) use dice::Dice;

use self::logs::Logs;
use self::served::Served;
use crate::record::{
    Arrival, Durability, FaultKind, FaultRecord, JobRecord, OwnerRecord, Polled, Role, Run, Target, Topology,
};

/// When made-up runs began, in ms since 1970.
pub(super) const STARTED: u64 = 1_795_000_000_000;
pub(super) const PARTITIONS: u16 = 3;
const OWNERS: [&str; 2] = ["acme", "globex"];
const JOBS: usize = 12;
const CLIENTS: u32 = 14;

/// A run in which nothing happened.
pub(crate) fn empty(topology: Topology) -> Run {
    Run {
        topology,
        seed: 1,
        seconds: 60,
        durability: Durability::Local,
        server: "made-up 1.0".to_owned(),
        planted: None,
        started_at_unix_ms: STARTED,
        partitions: PARTITIONS,
        jobs: Vec::new(),
        owners: OWNERS
            .iter()
            .map(|owner| OwnerRecord {
                owner: (*owner).to_owned(),
                unanswered: Vec::new(),
                listed: Some(Vec::new()),
                feeds: vec![Vec::new(); usize::from(PARTITIONS)],
            })
            .collect(),
        clients: Vec::new(),
        arrivals: Vec::new(),
        faults: Vec::new(),
        notes: Vec::new(),
    }
}

/// A run that keeps every promise, another one for each `seed`.
pub(crate) fn run(topology: Topology, seed: u64) -> Run {
    let mut dice = Dice::new(seed);
    let mut run = empty(topology);
    let mut logs = Logs::new();
    let mut clients: Vec<Served> = Vec::new();
    let mut now = 100;
    let mut saved = logs.clone();
    let failovers = topology.fails_over();

    for step in 0..900 {
        now += dice.below(40);
        match dice.below(100) {
            0..4 if run.jobs.len() < JOBS => submit(&mut run, &mut logs, &mut dice, now),
            4..8 if clients.len() < CLIENTS as usize && run.jobs.len() > 3 => {
                clients.push(Served::new(clients.len(), &run, &mut dice));
            }
            8..45 => logs.advance(&run, &mut dice, now),
            45..97 => {
                if let Some(client) = dice.pick(&mut clients) {
                    client.step(&run, &logs, &mut dice, now);
                }
            }
            _ => {}
        }
        // What is saved here is what a replica has when its primary dies a little later.
        if failovers && step % 150 == 100 {
            saved = logs.clone();
        }
        if failovers && step % 150 == 140 {
            let spared = u16::try_from(dice.below(u64::from(PARTITIONS))).unwrap();
            for partition in (0..PARTITIONS).filter(|partition| *partition != spared) {
                logs.fall_back(&run, partition, &saved);
                run.faults.push(failover(partition, now));
            }
        }
    }
    while logs.any_open(&run) {
        now += 20;
        logs.advance(&run, &mut dice, now);
    }
    for client in &mut clients {
        while !client.is_done(&logs) {
            now += 5;
            client.step(&run, &logs, &mut dice, now);
        }
    }
    conclude(&mut run, &logs, &mut dice);
    run.clients = clients.into_iter().map(Served::record).collect();
    run
}

fn submit(run: &mut Run, logs: &mut Logs, dice: &mut Dice, now: u64) {
    let index = run.jobs.len();
    let partition = dice.below(u64::from(PARTITIONS));
    run.jobs.push(JobRecord {
        id: format!("019ab3c4-5d6e-7f80-9a1b-{:08x}{partition:04x}", index + 1),
        owner: OWNERS[index % OWNERS.len()].to_owned(),
        key: format!("key-{index}"),
        submitted_at_ms: now - 3,
        answered_at_ms: now,
        tries: 1,
        log_cap: dice.one_in(3).then_some(12),
        outputs: Some(3 + dice.below(12)),
        webhook: index.is_multiple_of(2),
        deadline_ms: None,
        acknowledged_ends: Vec::new(),
        final_poll: Polled { status: 0, body: String::new() },
        final_log: Vec::new(),
    });
    logs.submit(run, index, dice, now);
}

/// The end of a job, taken at the second time.
fn told(job: &JobRecord) -> Vec<Arrival> {
    let Some(end) = job.final_log.last() else { return Vec::new() };
    let arrival = |answered| Arrival {
        at_ms: 60_000,
        webhook_id: format!("{}.{}-{}", job.id, end.seq, end.mark),
        job_id: job.id.clone(),
        kind: format!("job.{}", end.kind),
        is_signed: true,
        answered,
    };
    vec![arrival(503), arrival(204)]
}

fn failover(partition: u16, now: u64) -> FaultRecord {
    FaultRecord {
        from_ms: now.saturating_sub(200),
        until_ms: now + 1_000,
        kind: FaultKind::Kill,
        target: Target { role: Role::Redis, n: partition + 1 },
        primary: true,
        partitions: vec![partition],
        note: None,
    }
}

/// Writes down what Redis holds.
fn conclude(run: &mut Run, logs: &Logs, dice: &mut Dice) {
    for index in 0..run.jobs.len() {
        let log = logs.of_job(index).to_vec();
        run.jobs[index].final_poll = logs.poll(run, index);
        run.jobs[index].final_log = log;
        run.jobs[index].acknowledged_ends = logs.acknowledged_ends(index);
        // A right one: nobody has ended later than 5 s after it.
        let life = logs.ended_ms(index).map(|ended| ended - run.jobs[index].answered_at_ms);
        run.jobs[index].deadline_ms = life.map(|life| life.saturating_sub(dice.below(5_001)).max(1));
    }
    run.arrivals = run.jobs.iter().filter(|job| job.webhook).flat_map(told).collect();
    for (number, owner) in run.owners.iter_mut().enumerate() {
        owner.feeds = (0..PARTITIONS).map(|partition| logs.of_feed(number, partition).to_vec()).collect();
        let there = run.jobs.iter().filter(|job| job.owner == owner.owner && job.final_poll.status == 200);
        owner.listed = Some(there.map(|job| job.id.clone()).collect());
    }
}
