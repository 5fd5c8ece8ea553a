//! A worker on a real Redis: what becomes of jobs, whatever their handlers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::{ErrorCode, Json, Status};
use service::stop::Finished;
use store::NewJob;
use testkit::eventually;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker::{Exec, Failure, Options, Outcome, OutcomeLabels};

use crate::bench::{self, Act, Bench, LONG, json, new_job, options, owner};

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

/// Tells when it is dropped.
struct OnDrop(CancellationToken);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A handler that never ends by itself, and a token that is cancelled when it is dropped.
fn endless() -> (CancellationToken, impl worker::Handler) {
    let dropped = CancellationToken::new();
    let told = dropped.clone();
    let handler = Act(move |ctx: worker::Context, _| {
        let told = OnDrop(told.clone());
        async move {
            let _told = told;
            ctx.progress(1.0, "never ending");
            std::future::pending().await
        }
    });
    (dropped, handler)
}

#[tokio::test]
async fn a_job_past_its_time_fails_and_its_handler_is_dropped() {
    let bench = Bench::start().await;
    let (dropped, handler) = endless();
    let worker = bench.worker(options(), handler);
    let id = bench.submit(NewJob { timeout: Duration::from_secs(1), ..new_job() }).await;
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
    eventually(LONG, "it is counted", async || outcomes(&worker, Outcome::Cancelled) == 1).await;
    assert_eq!(bench.types(id).await.last().unwrap(), "cancelled");
    let queue = bench.store.queue(id.partition(), &bench::task()).await.unwrap();
    assert_eq!(queue.running, 0, "its place is free");
}

fn outcomes(worker: &bench::Worker, outcome: Outcome) -> u64 {
    worker.metrics.ended.get_or_create(&OutcomeLabels { outcome }).get()
}

/// A handler that counts up to `end` in outputs, one each 20 ms.
fn counter(end: u32) -> impl worker::Handler {
    Act(move |ctx: worker::Context, _| async move {
        for n in 1..=end {
            ctx.output(&json(n)).await?;
            ctx.progress(f64::from(n * 100 / end), "counting");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(json(end))
    })
}

async fn check_counted(bench: &Bench, id: model::JobId, end: u32) {
    let job = bench.ended(id).await;
    assert_eq!((job.status, job.attempt, job.error), (Status::Completed, 1, None));
    let expected: Vec<_> = (1..=end).map(serde_json::Value::from).collect();
    assert_eq!(bench.outputs(id).await, expected, "each once, in order");
}

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
    eventually(LONG, "it is counted", async || outcomes(&worker, Outcome::Blind) == 1).await;
    bench.server.resume();
    eventually(LONG, "the sweep finds it lost", async || {
        bench.types(id).await.contains(&"retrying".to_owned())
    })
    .await;
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

#[tokio::test]
async fn a_stop_lets_attempts_end_and_gives_back_what_does_not() {
    let bench = Bench::start().await;
    let first = bench.worker(
        // Far longer than the short one needs, on a machine that stands still in between.
        Options { grace: Duration::from_secs(3), ..options() },
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
    eventually(LONG, "it is counted", async || outcomes(&worker, Outcome::Lost) == 1).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn no_more_attempts_run_than_may() {
    let bench = Bench::start().await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (r, m) = (Arc::clone(&running), Arc::clone(&most));
    let three_run = CancellationToken::new();
    let gate = three_run.clone();
    let _worker = bench.worker(
        Options { concurrency: 3, ..options() },
        Act(move |_, _| {
            let (running, most, gate) = (Arc::clone(&r), Arc::clone(&m), gate.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.cancelled().await;
                sleep(Duration::from_millis(50)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(Json::null())
            }
        }),
    );
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(bench.submit(new_job()).await);
    }
    eventually(LONG, "three run", async || running.load(Ordering::SeqCst) >= 3).await;
    three_run.cancel();
    for id in ids {
        bench.ended(id).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

/// Two tasks, one of which may run once at a time here: it leaves the other one its places, each of its jobs runs as soon as the
/// one before has ended, in whatever partition it is, and nothing is asked in vain meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_a_limit_of_its_own_keeps_to_it_and_holds_up_no_other() {
    let bench = Bench::on(testkit::redis::RedisServer::builder().cluster(true).start().await);
    let (gate, quick): (Arc<tokio::sync::Semaphore>, model::TaskName) =
        (Arc::new(tokio::sync::Semaphore::new(0)), "quick".parse().unwrap());
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (r, m, g) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&gate));
    let slow = Act(move |_, _| {
        let (running, most, gate) = (Arc::clone(&r), Arc::clone(&m), Arc::clone(&g));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Json::null())
        }
    });
    let store = bench::store(&bench.server.url());
    let parts = worker::Parts {
        store: store.clone(),
        options: Options { task_concurrency: [(bench::task(), 1)].into(), ..options() },
        handlers: [
            (bench::task(), Arc::new(slow) as Arc<dyn worker::AnyHandler>),
            (quick.clone(), Arc::new(Act(async |_, _| Ok(Json::null())))),
        ]
        .into(),
        metrics: worker::WorkerMetrics::default(),
    };
    let stop = service::stop::Shutdown::manual();
    let other = stop.clone();
    stop.tasks().spawn(async move { worker::run(parts, &other).await });

    let mut slow = Vec::new();
    for _ in 0..10 {
        slow.push(bench.submit(new_job()).await);
    }
    eventually(LONG, "one runs", async || running.load(Ordering::SeqCst) == 1).await;
    for _ in 0..20 {
        let id = bench.submit(NewJob { task: quick.clone(), ..new_job() }).await;
        assert_eq!(bench.ended(id).await.status, Status::Completed, "the other task goes on");
    }
    // The sweep rings for what is ready five times a second; nobody here listens.
    eventually(LONG, "no busy loop", async || {
        let before = store.counters().round_trips.get();
        sleep(Duration::from_millis(700)).await;
        store.counters().round_trips.get() <= before + 2
    })
    .await;
    gate.add_permits(slow.len());
    for id in slow {
        bench.ended(id).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    let id = bench.submit(new_job()).await;
    gate.add_permits(1);
    bench.ended(id).await;
    eventually(LONG, "and none when all is done", async || {
        let before = store.counters().round_trips.get();
        sleep(Duration::from_millis(700)).await;
        store.counters().round_trips.get() <= before + 2
    })
    .await;
    assert_eq!(stop.finish(LONG).await, Finished::Drained);
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
