//! `Durability::Replicated`: what is acknowledged is on the replicas, and what isn't is said so and found again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::{JobId, Status};
use store::{
    CancelError, Claimed, Durability, End, Idempotency, NewJob, Options, Replication, Store, StoreError,
    SubmitError, Submitted, Swept, Target, WorkError,
};
use testkit::eventually_ok;
use testkit::proxy::Proxy;
use testkit::redis::{FromRedisValue, RedisServer, cmd};
use tokio::task::JoinSet;

use crate::bench::{LEASE, SWEEP, done, failed, new_job, owner, retry, task, token};

const LONG: Duration = Duration::from_mins(1);
/// How long is waited for a replica that will not have it.
const WITHIN: Duration = Duration::from_millis(400);
/// For one that will, on however busy a machine.
const PATIENT: Duration = Duration::from_secs(40);

/// A primary, its replica, and stores that acknowledge what both have.
struct Pair {
    primary: RedisServer,
    replica: RedisServer,
    /// Waits for the replica for as long as it takes.
    store: Store,
    /// Waits for [`WITHIN`]: for tests whose replica stands still.
    hurried: Store,
}

fn replicated(url: &str, replicas: u32, within: Duration) -> Store {
    Store::new(options(url, replicas, within))
}

fn options(url: &str, replicas: u32, within: Duration) -> Options {
    let mut options = Options::new(Target::parse(url).unwrap());
    options.durability = Durability::Replicated(Replication { replicas, within });
    options.patience = LONG;
    options.response_timeout = PATIENT;
    options
}

async fn replica_of(primary: &RedisServer) -> RedisServer {
    let follow = format!("127.0.0.1 {}", primary.port());
    let replica = RedisServer::builder().append_only(false).setting("replicaof", &follow).start().await;
    let mut redis = primary.client().await;
    // A replica counts from its first acknowledgement on, and has none before there is anything to acknowledge.
    let ours = format!("port={},state=online", replica.port());
    eventually_ok(LONG, "the replica follows", async || {
        cmd("PUBLISH").arg("any").arg("").exec_async(&mut redis).await.unwrap();
        let info: String = cmd("INFO").arg("replication").query_async(&mut redis).await.unwrap();
        let follows = info.lines().any(|line| line.contains(&ours) && !line.contains("offset=0,"));
        if follows { Ok(()) } else { Err(info) }
    })
    .await;
    replica
}

impl Pair {
    async fn start() -> Self {
        let primary =
            RedisServer::builder().append_only(false).setting("repl-diskless-sync", "no").start().await;
        let replica = replica_of(&primary).await;
        let (store, hurried) =
            (replicated(&primary.url(), 1, PATIENT), replicated(&primary.url(), 1, WITHIN));
        Self { primary, replica, store, hurried }
    }

    async fn submit(&self) -> JobId {
        match self.store.submit(&new_job()).await.unwrap() {
            Submitted::Created(id) => id,
            Submitted::Replayed(id) => panic!("{id} was there already"),
        }
    }

    async fn claim(&self) -> Claimed {
        self.store.claim(model::Partition(0), &[task().into()], token(), LEASE).await.unwrap().unwrap()
    }

    async fn running(&self) -> Claimed {
        self.submit().await;
        self.claim().await
    }
}

/// One field of a job on one server.
async fn field<T: FromRedisValue>(server: &RedisServer, id: JobId, name: &str) -> T {
    let key = format!("jc:{{0.325}}:job:{id}");
    cmd("HGET").arg(key).arg(name).query_async(&mut server.client().await).await.unwrap()
}

fn keyed(key: &str) -> NewJob {
    NewJob { idempotency: Some(Idempotency { key: key.into(), fingerprint: "f".into() }), ..new_job() }
}

#[track_caller]
fn assert_missing<T: std::fmt::Debug>(error: &StoreError, began: Instant, all: &T) {
    assert!(matches!(error, StoreError::NotReplicated { have: 0, want: 1 }), "{all:?}");
    let took = began.elapsed();
    assert!((WITHIN..PATIENT).contains(&took), "{took:?}: {all:?}");
}

async fn assert_submission_missing(store: &Store, job: &NewJob) {
    let began = Instant::now();
    let answer = store.submit(job).await;
    let Err(SubmitError::Store(error)) = &answer else { panic!("{answer:?}") };
    assert_missing(error, began, &answer);
}

async fn assert_end_missing(store: &Store, claimed: &Claimed, end: &End) {
    let began = Instant::now();
    let answer = store.end(&claimed.lease, end, None, &[]).await;
    let Err(WorkError::Store(error)) = &answer else { panic!("{answer:?}") };
    assert_missing(error, began, &answer);
}

async fn assert_cancel_missing(store: &Store, id: JobId) {
    let began = Instant::now();
    let answer = store.cancel(id, &owner(), "no").await;
    let Err(CancelError::Store(error)) = &answer else { panic!("{answer:?}") };
    assert_missing(error, began, &answer);
}

#[tokio::test]
async fn what_is_acknowledged_is_on_the_replica() {
    let pair = Pair::start().await;
    for n in 0..20 {
        let id = if n % 2 == 0 {
            pair.submit().await
        } else {
            match pair.store.submit(&keyed(&n.to_string())).await.unwrap() {
                Submitted::Created(id) => id,
                replayed @ Submitted::Replayed(_) => panic!("{replayed:?}"),
            }
        };
        assert_eq!(field::<String>(&pair.replica, id, "status").await, "pending");
        let claimed = pair.claim().await;
        let (end, status) = match n % 4 {
            0 => (done(), "completed"),
            1 => (failed("no"), "failed"),
            2 => (retry("again"), "pending"),
            _ => (done(), "cancelled"),
        };
        if status == "cancelled" {
            pair.store.cancel(id, &owner(), "no").await.unwrap();
        } else {
            let ended = pair.store.end(&claimed.lease, &end, None, &[]).await.unwrap();
            assert!(ended.status.is_some());
        }
        assert_eq!(field::<String>(&pair.replica, id, "status").await, status);
        if status == "pending" {
            let claimed = pair.claim().await;
            pair.store.end(&claimed.lease, &done(), None, &[]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_submission_that_no_replica_has_is_not_acknowledged_and_neither_is_its_repeat() {
    let pair = Pair::start().await;
    pair.submit().await;
    pair.replica.pause();
    let job = keyed("k");
    assert_submission_missing(&pair.hurried, &job).await;
    assert!(pair.hurried.is_up(), "Redis itself isn't away");
    // A repeat finds the job, and writes nothing of its own: it waits for what the first wrote all the same. A store of its own
    // has connections that wrote nothing before.
    for store in [&pair.hurried, &replicated(&pair.primary.url(), 1, WITHIN)] {
        assert_submission_missing(store, &job).await;
    }
    pair.replica.resume();
    for store in [&pair.hurried, &replicated(&pair.primary.url(), 1, WITHIN)] {
        let answer =
            eventually_ok(LONG, "the replica has caught up", async || store.submit(&job).await).await;
        let Submitted::Replayed(id) = answer else { panic!("{answer:?}") };
        assert_eq!(field::<String>(&pair.replica, id, "status").await, "pending");
    }
    let jobs: u64 = cmd("ZCARD")
        .arg("jc:{0.325}:jobsof:acme")
        .query_async(&mut pair.replica.client().await)
        .await
        .unwrap();
    assert_eq!(jobs, 2, "each was made once");
}

#[tokio::test]
async fn an_end_that_no_replica_has_is_not_acknowledged_and_neither_is_its_repeat() {
    let pair = Pair::start().await;
    let attempts =
        [(done(), Status::Completed), (failed("no"), Status::Failed), (retry("later"), Status::Pending)];
    let mut running = Vec::new();
    for (end, status) in attempts {
        running.push((pair.running().await, end, status));
    }
    pair.replica.pause();
    for (claimed, end, status) in &running {
        assert_end_missing(&pair.hurried, claimed, end).await;
        // On the primary it has happened.
        assert_eq!(pair.store.job(claimed.job()).await.unwrap().unwrap().status, *status);
        assert_end_missing(&replicated(&pair.primary.url(), 1, WITHIN), claimed, end).await;
    }
    // A call that is refused needs no replica.
    let other = pair.hurried.end(&running[0].0.lease, &failed("other"), None, &[]).await;
    assert!(matches!(other, Err(WorkError::LeaseLost)), "{other:?}");
    pair.replica.resume();
    for (claimed, end, status) in &running {
        let ended = eventually_ok(LONG, "the replica has caught up", async || {
            pair.hurried.end(&claimed.lease, end, None, &[]).await
        })
        .await;
        assert_eq!(ended.status, None, "a repeat");
        assert_eq!(field::<String>(&pair.replica, claimed.job(), "status").await, status.as_str());
    }
    // Each end was counted, and once.
    let ends = &pair.hurried.counters().ends;
    for (status, code) in [("completed", ""), ("failed", "handler")] {
        assert_eq!(ends.get_or_create(&store::EndLabels { status, code }).get(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_cancellation_that_no_replica_has_is_not_acknowledged_and_neither_is_that_the_job_has_ended() {
    let pair = Pair::start().await;
    let id = pair.submit().await;
    pair.replica.pause();
    assert_cancel_missing(&pair.hurried, id).await;
    assert_cancel_missing(&replicated(&pair.primary.url(), 1, WITHIN), id).await;
    let absent = pair.hurried.cancel(id, &"other".parse().unwrap(), "no").await;
    assert!(matches!(absent, Err(CancelError::Absent)), "{absent:?}");
    pair.replica.resume();
    eventually_ok(LONG, "the replica has caught up", async || {
        match pair.hurried.cancel(id, &owner(), "no").await {
            Err(CancelError::Terminal(Status::Cancelled)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(field::<String>(&pair.replica, id, "status").await, "cancelled");
}

#[tokio::test]
async fn a_repeat_writes_as_well_for_wait_covers_nothing_but_writes() {
    let pair = Pair::start().await;
    let job = keyed("k");
    let made = pair.store.submit(&job).await.unwrap();
    let claimed = pair.claim().await;
    pair.store.end(&claimed.lease, &done(), None, &[]).await.unwrap();
    let mut redis = pair.primary.client().await;
    let mut changes = async || {
        let info: String = cmd("INFO").arg("persistence").query_async(&mut redis).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
        line.unwrap().parse::<u64>().unwrap()
    };
    let mut before = changes().await;
    for name in ["submit", "end", "cancel"] {
        match name {
            "submit" => {
                assert_eq!(pair.store.submit(&job).await.unwrap(), Submitted::Replayed(claimed.job()));
            }
            "end" => _ = pair.store.end(&claimed.lease, &done(), None, &[]).await.unwrap(),
            _ => _ = pair.store.cancel(claimed.job(), &owner(), "no").await.unwrap_err(),
        }
        let after = changes().await;
        assert!(after > before, "{name}");
        before = after;
    }
    assert_eq!(made, Submitted::Created(claimed.job()));
}

#[tokio::test]
async fn as_many_replicas_as_asked_for() {
    let pair = Pair::start().await;
    pair.submit().await;
    // Time for the one that there is, on a busy machine too.
    let two = replicated(&pair.primary.url(), 2, Duration::from_secs(5));
    let answer = two.submit(&keyed("k")).await;
    assert!(
        matches!(answer, Err(SubmitError::Store(StoreError::NotReplicated { have: 1, want: 2 }))),
        "{answer:?}"
    );
    let sentences = two.check_policy().await.unwrap();
    assert!(sentences.iter().any(|said| said.contains("has 1 replicas of the 2")), "{sentences:?}");
    let _second = replica_of(&pair.primary).await;
    let answer =
        eventually_ok(LONG, "the second replica counts", async || two.submit(&keyed("k")).await).await;
    assert!(matches!(answer, Submitted::Replayed(_)), "{answer:?}");
    let sentences = two.check_policy().await.unwrap();
    assert!(!sentences.iter().any(|said| said.contains("store.replicas")), "{sentences:?}");
}

#[tokio::test]
async fn whoever_waits_for_replicas_holds_up_nobody_else() {
    let pair = Pair::start().await;
    let claimed = pair.running().await;
    pair.replica.pause();
    // More than there are connections.
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let store = pair.store.clone();
        calls.spawn(async move { store.submit(&new_job()).await });
    }
    let mut redis = pair.primary.client().await;
    eventually_ok(LONG, "as many as may wait", async || {
        let info: String = cmd("INFO").arg("clients").query_async(&mut redis).await.unwrap();
        if info.contains("blocked_clients:128\r") { Ok(()) } else { Err(info) }
    })
    .await;
    // What isn't acknowledged goes by the shared connection.
    pair.store.renew(&claimed.lease).await.unwrap();
    pair.store.job(claimed.job()).await.unwrap().unwrap();
    assert!(matches!(pair.store.sweep(model::Partition(0), "test", &SWEEP).await, Ok(Swept::Changed(_))));
    assert!(calls.try_join_next().is_none(), "all still wait");
    calls.shutdown().await;

    // Within the patience all have their turn.
    for _ in 0..200 {
        let store = pair.hurried.clone();
        calls.spawn(async move { store.submit(&new_job()).await });
    }
    for answer in calls.join_all().await {
        assert!(matches!(answer, Err(SubmitError::Store(StoreError::NotReplicated { .. }))), "{answer:?}");
    }
    assert!(pair.hurried.is_up());
    eventually_ok(LONG, "no more connections than that", async || {
        let clients: String = cmd("CLIENT").arg("LIST").query_async(&mut redis).await.unwrap();
        match clients.lines().count() {
            ..140 => Ok(()),
            many => Err(many),
        }
    })
    .await;
}

#[tokio::test]
async fn lost_replies_and_cut_connections_are_made_up_for() {
    let pair = Pair::start().await;
    let proxy = Proxy::start(pair.primary.addr()).await;
    let store = replicated(&proxy.url(), 1, PATIENT);
    store.reach().await.unwrap();
    for nth in [3, 5, 7] {
        proxy.close_every_nth_reply(nth);
        for n in 0..10 {
            let answer = store.submit(&keyed(&format!("{nth}/{n}"))).await.unwrap();
            let Submitted::Created(id) = answer else { panic!("{answer:?}") };
            assert_eq!(field::<String>(&pair.replica, id, "status").await, "pending");
        }
        assert!(proxy.replies_swallowed() > 0);
        proxy.pass();
    }
    proxy.cut();
    store.submit(&new_job()).await.unwrap();
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_primary_dies_and_the_replica_takes_over() {
    for round in 0..4 {
        let pair = Pair::start().await;
        let mut options = options(&pair.primary.url(), 1, PATIENT);
        options.patience = Duration::from_secs(1);
        let store = Store::new(options);
        let told = Arc::new(AtomicUsize::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut submitters = JoinSet::new();
        for n in 0..8 {
            let (store, is_over, told) = (store.clone(), Arc::clone(&is_over), Arc::clone(&told));
            submitters.spawn(async move {
                let mut acknowledged = Vec::new();
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    let job = if number % 2 == 0 { new_job() } else { keyed(&format!("{n}/{number}")) };
                    let Ok(Submitted::Created(id)) = store.submit(&job).await else { continue };
                    acknowledged.push((id, "pending"));
                    told.fetch_add(1, Ordering::Relaxed);
                    if number % 4 == 0 {
                        let Ok(()) = store.cancel(id, &owner(), "no").await else { continue };
                        acknowledged.push((id, "cancelled"));
                    }
                }
                acknowledged
            });
        }
        eventually_ok(LONG, "200 acknowledged submissions", async || match told.load(Ordering::Relaxed) {
            200.. => Ok(()),
            few => Err(few),
        })
        .await;
        pair.primary.kill();
        is_over.store(true, Ordering::Relaxed);
        cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut pair.replica.client().await).await.unwrap();
        let survivor = Store::new(Options::new(Target::parse(&pair.replica.url()).unwrap()));
        let mut count = 0;
        for (id, status) in submitters.join_all().await.into_iter().flatten() {
            let job = survivor.job(id).await.unwrap();
            let job = job.unwrap_or_else(|| panic!("round {round}: {id} was acknowledged and is lost"));
            assert!(
                status == "pending" || job.status.as_str() == status,
                "round {round}: {id} is {status} no more"
            );
            count += 1;
        }
        assert!(count >= 200, "{count} acknowledged");
    }
}
