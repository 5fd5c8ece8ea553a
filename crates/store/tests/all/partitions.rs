//! How many partitions there are, and how they become more, against a real Redis.

use std::collections::HashSet;
use std::time::Duration;

use model::Partition;
use store::{
    GrowError, Idempotency, NewJob, Options, PartitionCounts, Store, StoreError, Submitted, SweepOptions,
    Target, sweep_until,
};
use testkit::redis::{RedisServer, cmd};
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, new_job, owner};

const SOON: Duration = Duration::from_mins(1);

fn store_on(server: &RedisServer, partitions: Option<u16>) -> Store {
    let mut options = Options::new(Target::parse(&server.url()).unwrap());
    options.partitions = partitions;
    Store::new(options)
}

fn counts(all: u16, open: u16) -> PartitionCounts {
    PartitionCounts { all, open }
}

async fn held(server: &RedisServer) -> String {
    cmd("GET").arg("jc:partitions").query_async(&mut server.client().await).await.unwrap()
}

async fn hold(server: &RedisServer, value: &str) {
    cmd("SET").arg(&["jc:partitions", value]).exec_async(&mut server.client().await).await.unwrap();
}

/// The partition that `job` goes to; it is cancelled there.
async fn partition_of(store: &Store, job: &NewJob) -> u16 {
    let Submitted::Created(id) = store.submit(job).await.unwrap() else { panic!("it was there already") };
    store.cancel(id, &owner(), "enough").await.unwrap();
    id.partition().0
}

/// The partitions that `jobs` jobs go to.
async fn spread(store: &Store, jobs: usize) -> HashSet<u16> {
    let mut seen = HashSet::new();
    for _ in 0..jobs {
        seen.insert(partition_of(store, &new_job()).await);
    }
    seen
}

/// The same for jobs with Idempotency-Keys.
async fn spread_by_key(store: &Store, keys: std::ops::Range<usize>) -> HashSet<u16> {
    let mut seen = HashSet::new();
    for key in keys {
        let idempotency = Some(Idempotency { key: key.to_string(), fingerprint: String::new() });
        seen.insert(partition_of(store, &NewJob { idempotency, ..new_job() }).await);
    }
    seen
}

on_both!(new_jobs_go_to_new_partitions_from_the_second_phase_on, bench, {
    let server = &bench.server;
    let (one, other) = (store_on(server, None), store_on(server, Some(3)));
    assert_eq!(one.known_partitions(), 0, "nobody was asked");
    let before = one.partition_counts().await.unwrap().all;
    let old: HashSet<_> = (0..before).collect();
    assert_eq!(held(server).await, before.to_string());
    let mut changed = other.partitions_changed();
    assert_eq!(
        other.partition_counts().await.unwrap(),
        counts(before, before),
        "Redis beats the configuration"
    );

    assert_eq!(one.announce_partitions(32).await.unwrap(), counts(32, before));
    assert_eq!(held(server).await, format!("32 {before}"));
    assert_eq!(one.announce_partitions(32).await.unwrap(), counts(32, before), "harmless again");
    // The other hasn't heard of it, and finds the partition all the same.
    assert_eq!(other.known_partitions(), before);
    assert!(other.has_partition(Partition(31)).await.unwrap());
    assert!(!other.has_partition(Partition(32)).await.unwrap());
    assert!(!other.has_partition(Partition(64)).await.unwrap());
    assert_eq!((other.known_partitions(), *changed.wait_for(|&all| all > before).await.unwrap()), (32, 32));
    for store in [&one, &other] {
        assert_eq!(store.partitions().await.unwrap().count(), 32);
        assert!(spread(store, 100).await.is_subset(&old), "none goes there yet");
    }
    assert!(spread_by_key(&one, 0..100).await.is_subset(&old));

    assert_eq!(one.open_partitions(32).await.unwrap(), counts(32, 32));
    assert_eq!(one.open_partitions(32).await.unwrap(), counts(32, 32), "harmless again");
    assert_eq!(held(server).await, "32");
    other.reach().await.unwrap();
    let all: HashSet<_> = (0..32).collect();
    for store in [&one, &other] {
        assert_eq!(spread(store, 800).await, all);
    }
    assert_eq!(spread_by_key(&one, 100..900).await, all);
});

#[tokio::test]
async fn what_can_not_grow_is_refused_and_changes_nothing() {
    let server = RedisServer::start().await;
    let store = store_on(&server, Some(16));
    for few in [0, 1, 15, 16] {
        assert!(matches!(store.announce_partitions(few).await, Err(GrowError::NotMore(16))), "{few}");
    }
    assert!(matches!(store.announce_partitions(65).await, Err(GrowError::TooMany)));
    let early = store.open_partitions(32).await;
    assert!(matches!(early, Err(GrowError::NotAnnounced(now)) if now == counts(16, 16)), "{early:?}");
    assert_eq!(held(&server).await, "16");

    store.announce_partitions(32).await.unwrap();
    for other in [16, 17, 31, 33, 64] {
        let refused = store.announce_partitions(other).await;
        assert!(matches!(refused, Err(GrowError::Growing(now)) if now == counts(32, 16)), "{refused:?}");
        assert!(matches!(store.open_partitions(other).await, Err(GrowError::NotAnnounced(_))));
    }
    assert_eq!(held(&server).await, "32 16");
    // Somebody else ends it.
    store_on(&server, None).open_partitions(32).await.unwrap();
    assert!(matches!(store.announce_partitions(32).await, Err(GrowError::NotMore(32))));
}

#[tokio::test]
async fn of_many_commands_at_once_one_growth_comes() {
    let server = RedisServer::start().await;
    store_on(&server, None).reach().await.unwrap();
    let growths = (2..=64).map(|number| {
        let store = store_on(&server, None);
        async move { (number, store.announce_partitions(number).await) }
    });
    let ended = futures_util::future::join_all(growths).await;
    let won: Vec<_> = ended.iter().filter(|(_, ended)| ended.is_ok()).collect();
    let [(number, Ok(now))] = &won[..] else { panic!("one: {won:?}") };
    assert_eq!((*now, held(&server).await), (counts(*number, 1), format!("{number} 1")));
    for (_, ended) in &ended {
        assert!(matches!(ended, Ok(_) | Err(GrowError::Growing(_))), "{ended:?}");
    }
    // The same one, by many.
    let same = (0..20).map(|_| {
        let store = store_on(&server, None);
        async move { store.open_partitions(*number).await.unwrap() }
    });
    let ended = futures_util::future::join_all(same).await;
    assert!(ended.iter().all(|&now| now == counts(*number, *number)), "{ended:?}");
}

#[tokio::test]
async fn a_growth_that_redis_lost_is_put_right() {
    let server = RedisServer::start().await;
    let (knows, new) = (store_on(&server, Some(4)), store_on(&server, None));
    knows.reach().await.unwrap();
    knows.announce_partitions(8).await.unwrap();
    let lost = async |to: &str| {
        hold(&server, to).await;
        knows.reach().await.unwrap();
        held(&server).await
    };
    for (to, then) in [("4", "8 4"), ("2", "8 4"), ("4 2", "8 4"), ("6 5", "8 5"), ("16 5", "16 5")] {
        assert_eq!(lost(to).await, then, "{to}");
    }
    knows.open_partitions(16).await.unwrap();
    for to in ["16 5", "1", "16"] {
        assert_eq!(lost(to).await, "16", "{to}");
    }
    assert_eq!(new.partition_counts().await.unwrap(), counts(16, 16));
    // A Redis that came back empty.
    cmd("FLUSHALL").exec_async(&mut server.client().await).await.unwrap();
    new.reach().await.unwrap();
    assert_eq!(held(&server).await, "16");
}

#[tokio::test]
async fn what_is_no_number_of_partitions_says_what_to_do() {
    let server = RedisServer::start().await;
    let store = store_on(&server, None);
    for bad in ["", "0", "65", "many", "8 16", "16 8 4"] {
        hold(&server, bad).await;
        let error = store.reach().await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
        let told = error.to_string();
        assert!(told.contains(&format!("jc:partitions is {bad:?}; set it to")), "{told}");
        assert!(matches!(
            store.announce_partitions(32).await,
            Err(GrowError::Store(StoreError::Unreadable(_)))
        ));
        assert_eq!(held(&server).await, bad, "left as it is");
    }
    hold(&server, "16").await;
    store.reach().await.unwrap();
}

#[tokio::test]
async fn a_full_redis_grows_nothing_and_is_still_there() {
    let server = RedisServer::start().await;
    let store = store_on(&server, Some(2));
    store.reach().await.unwrap();
    cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec_async(&mut server.client().await).await.unwrap();
    assert!(matches!(store.announce_partitions(4).await, Err(GrowError::Store(StoreError::Full))));
    assert_eq!(held(&server).await, "2");
    store.reach().await.unwrap();
}

#[tokio::test]
async fn new_partitions_are_swept_as_soon_as_they_are_heard_of() {
    let server = RedisServer::start().await;
    let store = store_on(&server, Some(1));
    let stop = CancellationToken::new();
    let options = SweepOptions { interval: Duration::from_millis(50), lease: Duration::from_secs(5) };
    let sweeping = sweep_until(store.clone(), options, stop.clone());
    let growing = async {
        let swept = async |partition: &str| -> bool {
            let key = format!("jc:{{{partition}}}:sweeper");
            cmd("EXISTS").arg(&key).query_async(&mut server.client().await).await.unwrap()
        };
        testkit::eventually(SOON, "the first one is swept", async || swept("0.325").await).await;
        assert!(!swept("3.951").await);
        // The count is known without a further look at Redis: `announce` itself told this process.
        store.announce_partitions(4).await.unwrap();
        for partition in ["1.38", "2.671", "3.951"] {
            testkit::eventually(SOON, "a new one is swept", async || swept(partition).await).await;
        }
        stop.cancel();
    };
    tokio::join!(sweeping, growing);
}
