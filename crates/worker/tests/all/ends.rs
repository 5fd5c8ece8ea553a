//! An attempt is ended from outside: by its time, a cancel, another attempt, or its worker's stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{ErrorCode, Json, Status};
use service::stop::Finished;
use store::NewJob;
use testkit::eventually;
use testkit::proxy::Proxy;
use tokio::sync::Notify;
use tokio::time::sleep;
use worker::{Exec, Options, Outcome};

use crate::bench::{self, Bench, LONG, json, new_job, options, owner};
use crate::handlers::{Act, endless};

#[tokio::test]
async fn a_job_past_its_time_fails_and_its_handler_is_dropped() {
    let bench = Bench::start().await;
    let (dropped, handler) = endless();
    let worker = bench.worker(options(), handler);
    // Its report comes before, though the machine may stand still for a while.
    let id = bench.submit(NewJob { timeout: Duration::from_secs(5), ..new_job() }).await;
    let job = bench.ended(id).await;
    assert_eq!((job.status, job.error_code), (Status::Failed, Some(ErrorCode::Timeout)));
    assert_eq!(bench.types(id).await, ["queued", "started", "progress", "failed"]);
    dropped.cancelled().await;
    eventually(LONG, "the slot is free", async || worker.metrics.running.get() == 0).await;
}

#[tokio::test]
async fn a_cancelled_job_is_stopped_at_once() {
    let bench = Bench::start().await;
    let (dropped, handler) = endless();
    // By the live channel: no heartbeat is due for long.
    let worker = bench.worker(Options { heartbeat: LONG, lease: 3 * LONG, ..options() }, handler);
    let id = bench.submit(new_job()).await;
    bench.reaches(id, Status::Processing).await;
    // The subscription may still be on its way.
    eventually(LONG, "the worker reports", async || bench.types(id).await.len() > 2).await;
    bench.store.cancel(id, &owner(), "no longer wanted").await.unwrap();
    let asked = Instant::now();
    dropped.cancelled().await;
    assert!(asked.elapsed() < LONG / 2, "long before a heartbeat: {:?}", asked.elapsed());
    eventually(LONG, "it is counted", async || worker.outcomes(Outcome::Cancelled) == 1).await;
    assert_eq!(bench.types(id).await.last().unwrap(), "cancelled");
    let queue = bench.store.queue(id.partition(), &bench::task()).await.unwrap();
    assert_eq!(queue.running, 0, "its place is free");
}

#[tokio::test]
async fn an_attempt_that_was_replaced_stops() {
    let bench = Bench::start().await;
    let (dropped, handler) = endless();
    let worker = bench.worker(options(), handler);
    let id = bench.submit(NewJob { max_attempts: 1, ..new_job() }).await;
    bench.reaches(id, Status::Processing).await;
    // The sweep of another clock finds the lease run out, after the grace that a jumping clock brings.
    let options = store::SweepOptions { interval: Duration::from_secs(1), lease: bench::LEASE };
    let later = bench.store.job(id).await.unwrap().unwrap().created_at.plus(Duration::from_mins(10));
    eventually(LONG, "the lease is taken", async || {
        // Each second of a lease, unless the bench's own sweep comes in between.
        for second in 0..=bench::LEASE.as_secs() {
            let now = later.plus(Duration::from_secs(second));
            bench.store.at(now).sweep(id.partition(), "test", &options).await.unwrap();
        }
        bench.job(id).await.status.is_terminal()
    })
    .await;
    assert_eq!(bench.job(id).await.error_code, Some(ErrorCode::Lost));
    dropped.cancelled().await;
    eventually(LONG, "it is counted", async || worker.outcomes(Outcome::Lost) == 1).await;
}

#[tokio::test]
async fn a_program_is_a_task_and_dies_with_its_job() {
    let bench = Bench::start().await;
    let script = "trap '' TERM; echo $$; cat >/dev/null; while :; do sleep 0.05; done";
    let exec = Exec::new("/bin/sh", vec!["-c".into(), script.into()], std::env::temp_dir());
    let exec = Exec { kill_after: Duration::from_millis(200), ..exec };
    let worker = bench.worker(options(), exec);
    let id = bench.submit(new_job()).await;
    eventually(LONG, "it speaks", async || bench.types(id).await.len() > 2).await;
    let events = bench.events(id).await;
    let pid = events[2]["text"].as_str().unwrap().trim().to_owned();
    bench.store.cancel(id, &owner(), "no longer wanted").await.unwrap();
    eventually(LONG, "the slot is free", async || worker.metrics.running.get() == 0).await;
    assert!(!std::fs::exists(format!("/proc/{pid}")).unwrap(), "not before the program is gone");
}

#[tokio::test]
async fn a_stop_lets_attempts_end_and_gives_back_what_does_not() {
    let bench = Bench::start().await;
    let first = bench.worker(
        // Far longer than the short one needs, on a machine that stands still in between.
        Options { grace: Duration::from_secs(5), ..options() },
        Act(async |ctx: worker::Context, payload: Json| {
            ctx.progress(1.0, "begun");
            match payload.as_str() {
                "\"short\"" => {
                    sleep(Duration::from_millis(200)).await;
                    Ok(Json::null())
                }
                _ => std::future::pending().await,
            }
        }),
    );
    let short = bench.submit(NewJob { payload: json("short"), ..new_job() }).await;
    let long = bench.submit(NewJob { payload: json("long"), max_attempts: 1, ..new_job() }).await;
    bench.reaches(short, Status::Processing).await;
    bench.reaches(long, Status::Processing).await;
    let begun = Instant::now();
    assert_eq!(first.stop().await, Finished::Drained);
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    assert_eq!(bench.job(short).await.status, Status::Completed);
    let events = bench.events(long).await;
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["errorCode"]), (&"retrying".into(), &serde_json::Value::Null));

    let _second = bench.worker(options(), Act(async |ctx: worker::Context, _| Ok(json(ctx.attempt()))));
    assert_eq!(bench.ended(long).await.result, Some(json(2)), "it didn't count");
}

#[tokio::test]
async fn a_hard_stop_waits_for_nothing() {
    let bench = Bench::start().await;
    let (dropped, handler) = endless();
    let worker = bench.worker(Options { grace: LONG, ..options() }, handler);
    let id = bench.submit(new_job()).await;
    bench.reaches(id, Status::Processing).await;
    worker.shutdown.stop_hard();
    dropped.cancelled().await;
    bench.reaches(id, Status::Pending).await;
    assert_eq!(worker.shutdown.tasks().len(), 0);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_claim_gives_back_what_it_claimed() {
    let bench = Bench::start().await;
    let proxy = Proxy::start(bench.server.addr()).await;
    let gate = Arc::new(Notify::new());
    let opener = Arc::clone(&gate);
    let handler = Act(move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(Json::null())
        }
    });
    let options = Options { task_concurrency: [(bench::task(), 1)].into(), ..options() };
    let worker = bench::Worker::start(&proxy.url(), options, Arc::new(handler));
    let first = bench.submit(new_job()).await;
    bench.reaches(first, Status::Processing).await;
    let second = bench.submit(NewJob { max_attempts: 1, ..new_job() }).await;
    // It waits for a place of the task by now.
    sleep(Duration::from_millis(300)).await;
    proxy.delay_replies(Duration::from_millis(500));
    opener.notify_one();
    // The claim was made, and the worker doesn't know yet.
    bench.reaches(second, Status::Processing).await;
    assert_eq!(worker.stop().await, Finished::Drained);
    assert_eq!(bench.types(second).await, ["queued", "started", "retrying"], "long before its lease ends");
}
