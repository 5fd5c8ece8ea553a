//! Very many limits that pass in one moment: what they bring is done in small pieces, and others come in between.

use std::time::Duration;

use measure::floor::{Floor, Part};
use measure::scene::{LEASE, new_job, reports};
use model::{Clock, Partition, SystemClock, Timestamp};
use store::{Options, Store, SweepOptions, Swept, Target};
use testkit::redis::{MultiplexedConnection, RedisServer, cmd};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const JOBS: usize = 100_000;
const SWEEPS: SweepOptions = SweepOptions { interval: Duration::from_secs(1), lease: LEASE };

/// The longest that Redis may be kept from everybody else.
const LONGEST: Duration = Duration::from_millis(50);

/// The processor time that Redis' one thread has taken: unlike the time that passes, no load of the machine adds to it.
async fn cpu(redis: &mut MultiplexedConnection) -> Duration {
    let info: String = cmd("INFO").arg("cpu").query_async(redis).await.expect("an answer");
    let of_thread =
        info.lines().filter_map(|line| line.split_once("_main_thread:")?.1.trim().parse::<f64>().ok());
    Duration::from_secs_f64(of_thread.sum())
}

/// How long others wait meanwhile, until `stop`.
async fn wait_times(mut redis: MultiplexedConnection, stop: CancellationToken) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !stop.is_cancelled() {
        let asked = Instant::now();
        cmd("PING").exec_async(&mut redis).await.expect("an answer");
        waits.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    waits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_deadlines_in_one_moment_stall_nobody() {
    let server = RedisServer::builder().append_only(false).start().await;
    let store = Store::new(Options::new(Target::parse(&server.url()).expect("an address")));
    let job = new_job();
    let floor = Floor::learn(&server, &store, &job, LEASE, &reports()).await.expect("a job's life");
    floor.take(JOBS, Part::Submission).await.expect("all is well");

    let mut redis = server.client().await;
    let stop = CancellationToken::new();
    let mut asking = JoinSet::new();
    asking.spawn(wait_times(server.client().await, stop.clone()));
    let passed = u64::try_from(2 * job.deadline.as_millis()).expect("some hours");
    let later = store.at(Timestamp::from_millis(SystemClock.now().as_millis() + passed));
    let (before, mut calls, mut ended, mut longest) = (cpu(&mut redis).await, 0, 0, Duration::ZERO);
    loop {
        let used = cpu(&mut redis).await;
        let swept = later.sweep(Partition(0), "test", &SWEEPS).await.expect("an answer");
        longest = longest.max(cpu(&mut redis).await.saturating_sub(used));
        calls += 1;
        match swept {
            Swept::More(changes) => {
                assert!(changes <= 100, "{changes} at once");
                ended += changes;
            }
            Swept::Changed(changes) => {
                ended += changes;
                break;
            }
            Swept::Held(_) => panic!("nobody else sweeps"),
        }
    }
    let each = cpu(&mut redis).await.saturating_sub(before) / calls;
    stop.cancel();
    let mut waits = asking.join_all().await.remove(0);
    waits.sort_unstable();
    println!(
        "{ended} ended by {calls} calls of {each:?} each, the longest {longest:?}; {} others waited {:?}, 99 of 100 {:?}, at most {:?}",
        waits.len(),
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
        waits[waits.len() - 1]
    );
    assert!(ended >= JOBS as u64, "{ended}");
    assert!(each < LONGEST && longest < LONGEST, "{each:?}, {longest:?}");
    assert!(waits.len() > 100, "others come in between: {}", waits.len());
}
