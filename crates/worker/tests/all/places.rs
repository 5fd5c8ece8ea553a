//! How many attempts run at a time, in a worker and of a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{Json, Status};
use service::stop::Finished;
use store::NewJob;
use testkit::eventually;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker::Options;

use crate::bench::{self, Bench, LONG, new_job, options};
use crate::handlers::Act;

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
