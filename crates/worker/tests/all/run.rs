//! A worker on a real Redis: what becomes of jobs, whatever their handlers do.

use std::sync::Arc;
use std::time::Duration;

use model::{ErrorCode, Json, Status};
use service::stop::Finished;
use store::NewJob;
use testkit::eventually;
use tokio::time::sleep;
use worker::Failure;

use crate::bench::{self, Bench, LONG, json, new_job, options, owner};
use crate::handlers::{Act, check_counted, counter};

#[tokio::test]
async fn a_job_runs_and_its_reports_are_told_in_order() {
    let bench = Bench::start().await;
    let worker = bench.worker(
        options(),
        Act(async |ctx: worker::Context, payload: Json| {
            assert_eq!((ctx.attempt(), ctx.max_attempts(), ctx.owner()), (1, 3, &owner()));
            for percent in 0..1000 {
                ctx.progress(f64::from(percent) / 10.0, "counting");
            }
            ctx.output(&json([1])).await?;
            ctx.text("to").await?;
            ctx.text("ken").await?;
            ctx.output(&json([2])).await?;
            ctx.progress(99.5, "nearly there");
            Ok(payload)
        }),
    );
    let id = bench.submit(NewJob { payload: json("in"), ..new_job() }).await;
    let job = bench.ended(id).await;
    assert_eq!((job.status, job.result), (Status::Completed, Some(json("in"))));
    let told: Vec<_> = bench
        .events(id)
        .await
        .iter()
        .map(|event| match event["type"].as_str().unwrap() {
            "progress" => format!("progress {} {}", event["progress"], event["message"]),
            "output" => format!("output {}{}", event["output"], event["text"]),
            other => other.to_owned(),
        })
        .collect();
    let without_coalesced: Vec<_> = told.iter().filter(|told| !told.contains("counting")).collect();
    assert_eq!(
        without_coalesced,
        [
            "queued",
            "started",
            "output [1]null",
            "output null\"token\"",
            "output [2]null",
            "progress 99.5 \"nearly there\"",
            "completed"
        ]
    );
    assert!(told.len() < 12, "progress is coalesced: {told:?}");
    eventually(LONG, "the attempt is over", async || worker.metrics.running.get() == 0).await;
    assert_eq!(worker.stop().await, Finished::Drained);
}

#[tokio::test]
async fn what_handlers_do_wrong_fails_their_job_alone() {
    let bench = Bench::start().await;
    let _worker = bench.worker(
        options(),
        Act(async |ctx: worker::Context, payload: Json| match payload.as_str() {
            "\"panic\"" => panic!("in {}", 7),
            "\"fatal\"" => Err(Failure::fatal("it can't be done")),
            "\"over\"" => Err(Failure::Over),
            "\"result\"" => Ok(json("x".repeat(1024 * 1024))),
            "\"output\"" => ctx.output(&json("x".repeat(64 * 1024))).await.map(|()| Json::null()),
            _ => Ok(Json::null()),
        }),
    );
    for (payload, sentence) in [
        ("panic", "the handler panicked: in 7"),
        ("fatal", "it can't be done"),
        ("over", "the handler gave up as if its attempt were over, which it wasn't"),
        (
            "result",
            "the result is too large: 1048578 bytes where at most 1048576 are kept; store it elsewhere and return a link",
        ),
        (
            "output",
            "the output is too large: 65730 bytes where an event holds at most 65536; store it elsewhere and return a link",
        ),
    ] {
        let id = bench.submit(NewJob { payload: json(payload), ..new_job() }).await;
        let job = bench.ended(id).await;
        assert_eq!(
            (job.status, job.error_code, job.error.as_deref()),
            (Status::Failed, Some(ErrorCode::Handler), Some(sentence)),
            "{payload}"
        );
    }
    let id = bench.submit(new_job()).await;
    assert_eq!(bench.ended(id).await.status, Status::Completed, "the worker goes on");
}

#[tokio::test]
async fn a_retry_is_tried_up_to_max_attempts() {
    let bench = Bench::start().await;
    let _worker = bench.worker(
        options(),
        Act(async |ctx: worker::Context, _| Err(Failure::retry(format!("busy {}", ctx.attempt())))),
    );
    let id = bench.submit(new_job()).await;
    let job = bench.ended(id).await;
    assert_eq!((job.error.as_deref(), job.attempt), (Some("busy 3"), 3));
    let types = bench.types(id).await;
    assert_eq!(types, ["queued", "started", "retrying", "started", "retrying", "started", "failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_of_a_cluster_is_worked() {
    let bench = Bench::on(testkit::redis::RedisServer::builder().cluster(true).start().await);
    let _worker = bench.worker(options(), counter(3));
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(bench.submit(new_job()).await);
    }
    let partitions: std::collections::HashSet<_> = ids.iter().map(|id| id.partition()).collect();
    assert!(partitions.len() > 8, "{partitions:?}");
    for id in ids {
        check_counted(&bench, id, 3).await;
    }
}

#[tokio::test]
async fn an_idle_worker_asks_nothing() {
    let bench = Bench::start().await;
    let quiet = bench::store(&bench.server.url());
    let parts = worker::Parts {
        store: quiet.clone(),
        options: options(),
        handlers: [(bench::task(), Arc::new(counter(1)) as Arc<dyn worker::AnyHandler>)].into(),
        metrics: worker::WorkerMetrics::default(),
    };
    let stop = service::stop::Shutdown::manual();
    let other = stop.clone();
    stop.tasks().spawn(async move { worker::run(parts, &other).await });
    // A job wakes it at once, not only at the next look.
    for _ in 0..3 {
        // Once it has begun, and ended what came before.
        eventually(LONG, "no polling", async || {
            let before = quiet.counters().round_trips.get();
            sleep(Duration::from_millis(700)).await;
            quiet.counters().round_trips.get() == before
        })
        .await;
        let id = bench.submit(new_job()).await;
        bench.ended(id).await;
    }
    assert_eq!(stop.finish(LONG).await, Finished::Drained);
}
