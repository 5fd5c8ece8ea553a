//! Redis is away, comes back older, loses replies or is full while jobs run.

use std::sync::Arc;
use std::time::Duration;

use model::{Json, Status};
use testkit::eventually;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker::{Options, Outcome};

use crate::bench::{self, Bench, LONG, json, new_job, options};
use crate::handlers::{Act, check_counted, counter, endless};

#[tokio::test]
async fn redis_away_for_two_leases_loses_nothing() {
    let bench = Bench::start().await;
    let worker = bench.worker(options(), counter(600));
    let id = bench.submit(new_job()).await;
    bench.reaches(id, Status::Processing).await;
    bench.server.pause();
    sleep(2 * bench::LEASE).await;
    bench.server.resume();
    check_counted(&bench, id, 600).await;
    assert!(worker.metrics.append_retries.get() > 0);
}

#[tokio::test]
async fn a_worker_that_sees_nothing_of_redis_gives_up_in_the_end() {
    let bench = Bench::start().await;
    let (dropped, handler) = endless();
    let worker = bench.worker(Options { max_blind: Duration::from_secs(1), ..options() }, handler);
    let id = bench.submit(new_job()).await;
    bench.reaches(id, Status::Processing).await;
    bench.server.pause();
    dropped.cancelled().await;
    eventually(LONG, "it is counted", async || worker.outcomes(Outcome::Blind) == 1).await;
    bench.server.resume();
    eventually(LONG, "the sweep finds it lost", async || {
        bench.types(id).await.contains(&"retrying".to_owned())
    })
    .await;
}

#[tokio::test]
async fn redis_restarted_loses_nothing() {
    let bench = Bench::start().await;
    let _worker = bench.worker(options(), counter(200));
    let id = bench.submit(new_job()).await;
    eventually(LONG, "some outputs", async || bench.outputs(id).await.len() > 20).await;
    bench.server.kill();
    sleep(Duration::from_millis(500)).await;
    bench.server.restart().await;
    check_counted(&bench, id, 200).await;
}

#[tokio::test]
async fn lost_replies_double_nothing() {
    let bench = Bench::start().await;
    let proxy = testkit::proxy::Proxy::start(bench.server.addr()).await;
    proxy.close_every_nth_reply(5);
    let options = Options { text_interval: Duration::from_millis(5), ..options() };
    let _worker = bench::Worker::start(&proxy.url(), options, Arc::new(counter(100)));
    for _ in 0..3 {
        let id = bench.submit(new_job()).await;
        check_counted(&bench, id, 100).await;
        let types = bench.types(id).await;
        assert_eq!(types.iter().filter(|&kind| kind == "started").count(), 1, "no attempt is burned");
    }
    assert!(proxy.replies_swallowed() > 10);
}

#[tokio::test]
async fn reports_that_redis_has_lost_bring_another_attempt() {
    let bench = Bench::start().await;
    // The first attempt doesn't end by itself.
    let endless = Act(async |ctx: worker::Context, _| {
        for n in 1.. {
            ctx.output(&json(n)).await?;
            if ctx.attempt() > 1 && n == 20 {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Json::null())
    });
    let _worker = bench.worker(options(), endless);
    let id = bench.submit(new_job()).await;
    eventually(LONG, "some outputs", async || bench.outputs(id).await.len() > 10).await;
    set_batch(&bench, id, 1).await;
    let job = bench.ended(id).await;
    assert_eq!((job.status, job.attempt), (Status::Completed, 2));
    let events = bench.events(id).await;
    let retrying = events.iter().find(|event| event["type"] == "retrying").unwrap();
    assert_eq!(retrying["errorCode"], "lost");
}

#[tokio::test]
async fn reports_that_redis_has_lost_are_missed_by_an_end_without_reports() {
    let bench = Bench::start().await;
    let gate = Arc::new(Notify::new());
    let opener = Arc::clone(&gate);
    let _worker = bench.worker(
        options(),
        Act(move |ctx: worker::Context, _| {
            let gate = Arc::clone(&gate);
            async move {
                ctx.output(&json(1)).await?;
                if ctx.attempt() == 1 {
                    gate.notified().await;
                }
                Ok(Json::null())
            }
        }),
    );
    let id = bench.submit(new_job()).await;
    eventually(LONG, "the output", async || bench.outputs(id).await.len() == 1).await;
    set_batch(&bench, id, 0).await;
    opener.notify_one();
    let job = bench.ended(id).await;
    assert_eq!((job.status, job.attempt), (Status::Completed, 2));
}

/// As if a failover had brought back an older state.
async fn set_batch(bench: &Bench, id: model::JobId, batch: u64) {
    let mut redis = bench.server.client().await;
    let keys = testkit::redis::dump(&mut redis).await;
    let key = keys.iter().find(|info| info.key.ends_with(&format!("job:{id}"))).unwrap();
    let mut cmd = testkit::redis::cmd("HSET");
    cmd.arg(&key.key).arg("batch").arg(batch).exec_async(&mut redis).await.unwrap();
}

#[tokio::test]
async fn a_full_redis_makes_outputs_wait_and_lets_jobs_end() {
    let bench = Bench::start().await;
    let (is_full, is_refused) = (CancellationToken::new(), CancellationToken::new());
    let gates = (is_full.clone(), is_refused.clone());
    let handler = Act(move |ctx: worker::Context, _| {
        let (is_full, is_refused) = gates.clone();
        async move {
            for n in 1..=100 {
                match n {
                    50 => is_full.cancelled().await,
                    75 => is_refused.cancelled().await,
                    _ => sleep(Duration::from_millis(20)).await,
                }
                ctx.output(&json(n)).await?;
            }
            Ok(json(100))
        }
    });
    let worker = bench.worker(options(), handler);
    let id = bench.submit(new_job()).await;
    eventually(LONG, "some outputs", async || bench.outputs(id).await.len() > 20).await;
    let mut redis = bench.server.client().await;
    limit_memory(&mut redis, "1").await;
    is_full.cancel();
    let retries = || worker.metrics.append_retries.get();
    eventually(LONG, "writes are refused", async || retries() > 0).await;
    is_refused.cancel();
    // The end is accepted, and takes along what had to wait.
    check_counted(&bench, id, 100).await;
    limit_memory(&mut redis, "0").await;
}

#[tokio::test]
async fn an_end_on_a_full_redis_takes_along_a_write_in_doubt_and_what_follows_it() {
    let bench = Bench::start().await;
    let proxy = testkit::proxy::Proxy::start(bench.server.addr()).await;
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gates = (Arc::clone(&begun), Arc::clone(&go));
    let handler = Act(move |ctx: worker::Context, payload: Json| {
        let (begun, go) = gates.clone();
        async move {
            ctx.output(&json([1])).await?;
            begun.notify_one();
            go.notified().await;
            ctx.output(&json([2])).await?;
            // It is sent, and there is no answer.
            sleep(Duration::from_millis(100)).await;
            ctx.output(&json([3])).await?;
            ctx.output(&json([4])).await?;
            Ok(payload)
        }
    });
    let _worker = bench::Worker::start(&proxy.url(), options(), Arc::new(handler));
    let id = bench.submit(new_job()).await;
    begun.notified().await;
    eventually(LONG, "the first output", async || bench.outputs(id).await.len() == 1).await;
    proxy.blackhole();
    go.notify_one();
    sleep(Duration::from_millis(300)).await;
    let mut redis = bench.server.client().await;
    limit_memory(&mut redis, "1").await;
    proxy.pass();
    assert_eq!(bench.ended(id).await.status, Status::Completed);
    assert_eq!(bench.outputs(id).await, [[1], [2], [3], [4]].map(|n| serde_json::json!(n)));
    limit_memory(&mut redis, "0").await;
}

async fn limit_memory(redis: &mut testkit::redis::MultiplexedConnection, bytes: &str) {
    let mut cmd = testkit::redis::cmd("CONFIG");
    cmd.arg("SET").arg("maxmemory").arg(bytes).exec_async(redis).await.unwrap();
}
