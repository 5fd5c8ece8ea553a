//! What ended jobs leave behind goes away: after 50,000 of them Redis holds what it held before.

use std::time::Duration;

use measure::floor::{Floor, Part};
use measure::memory::used;
use measure::scene::{new_job, reports};
use store::{NewJob, Options, Store, SweepOptions, Target};
use testkit::redis::{MultiplexedConnection, RedisServer, cmd};
use tokio_util::sync::CancellationToken;

const JOBS: usize = 50_000;

/// So many fill the feed of their owner, which keeps its newest 10,000 events for a week: it is there before and after.
const BEFORE: usize = 4_000;

/// What the server's own tables may have grown by; 50,000 jobs take 150 MB.
const SLACK: f64 = 4e6;

async fn keys(redis: &mut MultiplexedConnection) -> u64 {
    cmd("DBSIZE").query_async(redis).await.expect("an answer")
}

/// How many keys the server has dropped since their time was over.
async fn expired(redis: &mut MultiplexedConnection) -> usize {
    let info: String = cmd("INFO").arg("stats").query_async(redis).await.expect("an answer");
    let line = info.lines().find_map(|line| line.strip_prefix("expired_keys:")).expect("a line");
    line.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_short_jobs_leave_nothing_behind() {
    let server = RedisServer::builder().append_only(false).start().await;
    let store = Store::new(Options::new(Target::parse(&server.url()).expect("an address")));
    let job = NewJob { retention: Duration::from_secs(2), ..new_job() };
    // Longer than a busy machine may stand still between a claim and its end.
    let lease = Duration::from_secs(15);
    let floor = Floor::learn(&server, &store, &job, lease, &reports()).await.expect("a job's life");
    let stop = CancellationToken::new();
    let sweeps = SweepOptions { interval: Duration::from_millis(200), lease };
    let mut sweeper = tokio::task::JoinSet::new();
    sweeper.spawn(store::sweep_until(store.clone(), sweeps, stop.clone()));

    let (mut redis, asking) = (server.client().await, server.client().await);
    floor.take(BEFORE, Part::All).await.expect("all is well");
    // The feed, the tasks, the sweeper, how many partitions there are; a bell for a minute.
    let is_shed = async || keys(&mut asking.clone()).await <= 5;
    testkit::eventually(whole::SOON, "the first jobs are forgotten", is_shed).await;
    let before = used(&mut redis).await.expect("an answer");
    let expired_before = expired(&mut redis).await;

    floor.take(JOBS, Part::All).await.expect("all is well");
    testkit::eventually(whole::SOON, "all jobs are forgotten", is_shed).await;
    testkit::eventually_ok(whole::SOON, "the memory comes back", async || {
        let now = used(&mut asking.clone()).await.expect("an answer");
        if now < before + SLACK { Ok(()) } else { Err(format!("{now} bytes, {before} before")) }
    })
    .await;
    let expired = expired(&mut redis).await - expired_before;
    assert!(expired >= JOBS, "each was kept for a while: {expired} keys have expired");
    stop.cancel();
    sweeper.join_all().await;
}
