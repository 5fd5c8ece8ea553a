//! What `Durability::Replicated` costs: submissions a second and how long each takes, with and without it, in one run against
//! the same servers. Prints, and judges nothing but that all were acknowledged.
//!
//! ```sh
//! cargo nextest run --release -p jobcast-store --test all replicated_cost:: --no-capture
//! ```

use std::time::Duration;

use store::{Durability, Options, Replication, Store, Submitted, Target};
use testkit::eventually;
use testkit::redis::{RedisServer, cmd};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::new_job;

/// Long enough to be seen, short enough to be run with all other tests.
const SUBMISSIONS: usize = 2000;
const LONG: Duration = Duration::from_mins(1);

/// What one way to submit took.
struct Cost {
    a_second: f64,
    median: Duration,
    p99: Duration,
}

/// Submits from so many callers at once, each with one call at a time.
async fn measure(store: &Store, callers: usize) -> Cost {
    let each = SUBMISSIONS / callers;
    let mut running = JoinSet::new();
    let began = Instant::now();
    for _ in 0..callers {
        let store = store.clone();
        running.spawn(async move {
            let mut took = Vec::with_capacity(each);
            for _ in 0..each {
                let began = Instant::now();
                let made = store.submit(&new_job()).await.unwrap();
                assert!(matches!(made, Submitted::Created(_)), "{made:?}");
                took.push(began.elapsed());
            }
            took
        });
    }
    let mut took: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    let all = began.elapsed();
    took.sort_unstable();
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let a_second = took.len() as f64 / all.as_secs_f64();
    Cost { a_second, median: took[took.len() / 2], p99: took[took.len() * 99 / 100] }
}

fn store(server: &RedisServer, durability: Durability) -> Store {
    let mut options = Options::new(Target::parse(&server.url()).unwrap());
    options.durability = durability;
    Store::new(options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_against_replicated() {
    let primary = RedisServer::builder().append_only(false).setting("repl-diskless-sync", "no").start().await;
    let follow = format!("127.0.0.1 {}", primary.port());
    let _replica = RedisServer::builder().append_only(false).setting("replicaof", &follow).start().await;
    let mut redis = primary.client().await;
    eventually(LONG, "the replica follows", async || {
        cmd("PUBLISH").arg("any").arg("").exec_async(&mut redis).await.unwrap();
        cmd("WAIT").arg(1).arg(100).query_async::<u64>(&mut redis).await.unwrap() == 1
    })
    .await;
    let local = store(&primary, Durability::Local);
    let within = Duration::from_secs(30);
    let replicated = store(&primary, Durability::Replicated(Replication { replicas: 1, within }));
    for store in [&local, &replicated] {
        measure(store, 100).await;
    }
    println!("callers | local: a second, median, p99 | replicated: a second, median, p99 | ratio of median");
    for callers in [1, 10, 100] {
        // Twice in turn, so that neither has the better half of the run.
        let runs = [
            measure(&local, callers).await,
            measure(&replicated, callers).await,
            measure(&replicated, callers).await,
            measure(&local, callers).await,
        ];
        let show = |a: &Cost, b: &Cost| {
            let (median, p99) = ((a.median + b.median) / 2, a.p99.max(b.p99));
            (format!("{:.0}, {median:.2?}, {p99:.2?}", f64::midpoint(a.a_second, b.a_second)), median)
        };
        let (local_said, local_median) = show(&runs[0], &runs[3]);
        let (replicated_said, replicated_median) = show(&runs[1], &runs[2]);
        let ratio = replicated_median.as_secs_f64() / local_median.as_secs_f64();
        println!("{callers} | {local_said} | {replicated_said} | {ratio:.1}");
    }
}
