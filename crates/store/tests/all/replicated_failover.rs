//! `Durability::Replicated` where others take over, Sentinel and Cluster: nothing that was acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::{JobId, Partition, Status};
use parking_lot::Mutex;
use store::{
    Durability, Idempotency, NewJob, Options, Replication, Store, StoreError, SubmitError, Submitted, Target,
    WorkError,
};
use testkit::redis::{RedisCluster, SentinelSet, cmd};
use testkit::{eventually, eventually_ok};
use tokio::task::JoinSet;

use crate::bench::{LEASE, done, new_job, task, token};

const LONG: Duration = Duration::from_mins(1);

fn options(url: &str, within: Duration) -> Options {
    let mut options = Options::new(Target::parse(url).unwrap());
    options.durability = Durability::Replicated(Replication { replicas: 1, within });
    options
}

fn keyed(key: &str) -> NewJob {
    NewJob { idempotency: Some(Idempotency { key: key.into(), fingerprint: "f".into() }), ..new_job() }
}

/// Submitters that also work off what there is, each with one call at a time, repeated until it is acknowledged.
struct Load {
    told: Arc<Told>,
    tasks: JoinSet<()>,
}

/// What was acknowledged.
#[derive(Default)]
struct Told {
    is_over: AtomicBool,
    /// The Idempotency-Key of each job.
    made: Mutex<BTreeMap<JobId, String>>,
    ended: Mutex<BTreeSet<JobId>>,
}

impl Load {
    fn start(store: &Store) -> Self {
        let told = Arc::new(Told::default());
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let (store, told) = (store.clone(), Arc::clone(&told));
            tasks.spawn(async move {
                for number in 0.. {
                    let Some(id) = told.submit(&store, format!("{n}/{number}")).await else { return };
                    told.work(&store, id.partition()).await;
                }
            });
        }
        Self { told, tasks }
    }

    /// Waits for so many more jobs, and ends, in each of so many partitions.
    async fn more(&self, jobs: usize, partitions: usize) {
        let (before, ends) = (self.told.made.lock().clone(), self.told.ended.lock().clone());
        eventually_ok(LONG, "more is acknowledged", async || {
            let made: Vec<_> =
                self.told.made.lock().keys().copied().filter(|id| !before.contains_key(id)).collect();
            let where_made: BTreeSet<_> = made.iter().map(|id| id.partition().0).collect();
            let ended = self.told.ended.lock().difference(&ends).count();
            let is_enough = made.len() >= jobs && ended >= jobs / 2 && where_made.len() >= partitions;
            let seen = || format!("{} made in {where_made:?}, {ended} ended", made.len());
            if is_enough { Ok(()) } else { Err(seen()) }
        })
        .await;
    }

    /// Ends it, and looks for all that was acknowledged.
    async fn check(self, url: &str) {
        self.told.is_over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        let store = Store::new(Options::new(Target::parse(url).unwrap()));
        let ended = self.told.ended.lock().clone();
        let made = self.told.made.lock().clone();
        for (id, key) in made {
            let job = store.job(id).await.unwrap();
            let job = job.unwrap_or_else(|| panic!("{id} ({key}) was acknowledged and is lost"));
            let is_ended = job.status == Status::Completed;
            assert!(is_ended || !ended.contains(&id), "{id} ({key}) was ended and is {:?}", job.status);
            let again = store.submit(&keyed(&key)).await.unwrap();
            assert_eq!(again, Submitted::Replayed(id), "{key}");
        }
    }
}

impl Told {
    async fn submit(&self, store: &Store, key: String) -> Option<JobId> {
        while !self.is_over.load(Ordering::Relaxed) {
            match store.submit(&keyed(&key)).await {
                Ok(Submitted::Created(id) | Submitted::Replayed(id)) => {
                    self.made.lock().insert(id, key);
                    return Some(id);
                }
                Err(SubmitError::Store(StoreError::Unavailable(_) | StoreError::NotReplicated { .. })) => {}
                Err(error) => panic!("{key}: {error:?}"),
            }
        }
        None
    }

    /// Works off one job.
    async fn work(&self, store: &Store, partition: Partition) {
        let Ok(Some(claimed)) = store.claim(partition, &[task().into()], token(), LEASE).await else {
            return;
        };
        while !self.is_over.load(Ordering::Relaxed) {
            match store.end(&claimed.lease, &done(), None, &[]).await {
                Ok(_) => {
                    self.ended.lock().insert(claimed.job());
                    return;
                }
                // A claim isn't acknowledged to anybody, and may be lost.
                Err(WorkError::LeaseLost) => return,
                Err(WorkError::Store(StoreError::Unavailable(_) | StoreError::NotReplicated { .. })) => {}
                Err(error) => panic!("{:?}: {error:?}", claimed.job()),
            }
        }
    }
}

#[tokio::test]
async fn behind_sentinels() {
    let set = SentinelSet::builder().append_only(false).start().await;
    let store = Store::new(options(&set.url(), Duration::from_secs(2)));
    assert_eq!(
        store.check_policy().await.unwrap().iter().filter(|said| said.contains("replicas")).count(),
        0
    );
    let load = Load::start(&store);
    load.more(100, 1).await;
    let first = set.primary().await;
    set.kill(first);
    set.wait_other_primary(first).await;
    // Two replicas are one more than needed: all goes on with the one that is left.
    load.more(100, 1).await;
    load.check(&set.url()).await;
}

#[tokio::test]
async fn in_a_cluster_each_primary_waits_for_its_own_replicas() {
    let cluster = RedisCluster::builder().append_only(false).start().await;
    let store = Store::new(options(&cluster.url(), Duration::from_millis(500)));
    let all: Vec<_> = store.partitions().await.unwrap().collect();
    assert_eq!(all.len(), 16);

    let lonely = cluster.primaries().await[0];
    let replica = cluster.replicas_of(lonely).await[0];
    let mut redis = cluster.nodes()[lonely].client().await;
    cluster.pause(replica);
    let mut missing = 0;
    for _ in 0..40 {
        match store.submit(&new_job()).await {
            Ok(Submitted::Created(id)) => {
                let there: Vec<String> =
                    cmd("KEYS").arg(format!("*:job:{id}")).query_async(&mut redis).await.unwrap();
                assert!(there.is_empty(), "{there:?} has no replica");
            }
            Err(SubmitError::Store(StoreError::NotReplicated { have: 0, want: 1 })) => missing += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..40).contains(&missing), "{missing} of 40");
    cluster.resume(replica);
    cluster.wait_healthy().await;

    let load = Load::start(&store);
    load.more(100, 12).await;
    cluster.kill(lonely);
    // Not before another one has its place: it comes back empty, and would have its replica throw all away.
    eventually(LONG, "the replica takes over", async || !cluster.primaries().await.contains(&lonely)).await;
    // Its partitions have a primary again, but nothing there is acknowledged until that has a replica: each submitter comes to
    // one of them, and waits.
    cluster.restart(lonely).await;
    load.more(200, 16).await;
    load.check(&cluster.url()).await;
}
