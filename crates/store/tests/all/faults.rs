//! The steps where things go wrong: clocks that jump, keys that are gone, a full Redis, calls that come late.

use std::time::Duration;

use model::{Entry, ErrorCode, Partition, RunLimits, Status, Timestamp};
use store::{
    Claimable, EndLabels, External, Idempotency, Lease, NewJob, Options, Store, StoreError, SubmitError,
    SweepOptions, Swept, Target, WorkError, sweep_until,
};
use testkit::redis::cmd;
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, LEASE, SWEEP, done, failed, new_job, owner, retry, task, text, token};

const DAY: u64 = 24 * 3600;

/// What is told of a job, as JSON, by the events from `seq` on.
async fn events(bench: &Bench, id: model::JobId, after: u64) -> Vec<serde_json::Value> {
    let log = bench.store.log(&id.into(), after, 1 << 20).await.unwrap().unwrap();
    let json = |entry: Entry| serde_json::from_slice(&entry.body.unwrap().json).unwrap();
    log.page.entries.into_iter().map(json).collect()
}

/// The one key of that name in any partition.
async fn key(bench: &Bench, name: &str) -> String {
    let keys: Vec<String> =
        cmd("KEYS").arg(format!("*:{name}")).query_async(&mut bench.server.client().await).await.unwrap();
    let [key] = &keys[..] else { panic!("{name}: {keys:?}") };
    key.clone()
}

on_both!(a_clock_that_went_back_keeps_no_dead_attempt_alive, bench, {
    let id = bench.submit(&new_job()).await;
    let silent = bench.claim(id).await.lease;
    bench.sweep(id).await;
    bench.now -= DAY * 1000;
    assert_eq!(bench.sweep_for(id, 29).await, 0, "one lease length to come back");
    assert_eq!(bench.sweep_for(id, 3).await, 1);
    assert!(matches!(bench.at().renew(&silent).await, Err(WorkError::LeaseLost)));

    // The same for one who came back and fell silent then: the score in `running` is from before the jump.
    bench.now += DAY * 1000;
    let lease = bench.claim(id).await.lease;
    bench.sweep(id).await;
    bench.now -= DAY * 1000;
    bench.sweep(id).await;
    bench.at().renew(&lease).await.unwrap();
    bench.sweep_for(id, 32).await;
    assert_eq!(bench.status(id).await, Status::Failed);
    // Time within the log doesn't go back.
    let events = events(&bench, id, 0).await;
    let times: Vec<_> = events.iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
});

on_both!(many_longer_leases_hide_no_dead_attempt_from_a_clock_that_went_back, bench, {
    // All in one partition; more of them than a sweep touches.
    let limits = RunLimits { fleet: Some(1), per_owner: None };
    let long = External { token: token(), lease: Duration::from_mins(2) };
    let external = NewJob { external: Some(long), limits, ..new_job() };
    let mut reported = Vec::new();
    for _ in 0..120 {
        let id = bench.submit(&external).await;
        reported.push(Lease { job: id, token: long.token, duration: LEASE });
        bench.at().renew(reported.last().unwrap()).await.unwrap();
    }
    let id = bench.submit(&NewJob { limits, ..new_job() }).await;
    let silent = bench.claim(id).await.lease;
    bench.sweep(id).await;
    bench.now -= 80 * 1000;
    bench.sweep(id).await;
    for lease in &reported {
        bench.at().renew(lease).await.unwrap();
    }
    assert_eq!(bench.sweep_for(id, 29).await, 0, "one lease length to come back");
    assert_eq!(bench.sweep_for(id, 3).await, 1);
    assert!(matches!(bench.at().renew(&silent).await, Err(WorkError::LeaseLost)));
    // The others have their own leases, to the second.
    assert_eq!(bench.sweep_for(id, 120 - 32 - 1).await, 0);
    assert_eq!(bench.sweep_for(id, 2).await, 120);
    bench.at().end(&bench.claim(id).await.lease, &done(), None, &[]).await.unwrap();
});

on_both!(after_redis_was_away_each_lease_has_its_own_length_to_come_back, bench, {
    let id = bench.submit(&new_job()).await;
    let long = Duration::from_mins(2);
    let lease =
        bench.at().claim(id.partition(), &[task().into()], token(), long).await.unwrap().unwrap().lease;
    bench.sweep(id).await;
    bench.pass(300);
    assert_eq!(bench.sweep_for(id, 119).await, 0, "its heartbeats may be that far apart");
    bench.at().renew(&lease).await.unwrap();
    assert_eq!(bench.sweep_for(id, 119).await, 0);
    assert_eq!(bench.sweep_for(id, 3).await, 1);
    let lease = bench.claim(id).await.lease;
    bench.at().end(&lease, &done(), None, &[]).await.unwrap();
});

on_both!(a_claim_is_known_as_long_as_its_lease_may_live, bench, {
    let lease = Duration::from_millis(50);
    let first = bench.submit(&new_job()).await;
    let token = token();
    let claim = async |bench: &Bench| {
        bench.at().claim(first.partition(), &[task().into()], token, lease).await.unwrap()
    };
    let claimed = claim(&bench).await.unwrap();
    // The answer is lost; Redis is away for many lease lengths, and the claim is repeated then.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = bench.submit(&new_job()).await;
    assert_eq!(claim(&bench).await.map(|again| again.job()), Some(claimed.job()));
    for id in [first, second] {
        bench.at().cancel(id, &owner(), "enough").await.unwrap();
    }
    bench.at().release(&claimed.lease).await.unwrap();
});

on_both!(an_end_is_remembered_after_other_ends, bench, {
    let id = bench.submit(&NewJob { max_attempts: 5, ..new_job() }).await;
    let first = bench.claim(id).await.lease;
    bench.at().end(&first, &retry("again"), Some(1), &[]).await.unwrap();
    let second = bench.claim(id).await.lease;
    bench.at().release(&second).await.unwrap();
    let third = bench.claim(id).await.lease;
    bench.sweep(id).await;
    bench.sweep_for(id, 32).await;
    assert!(bench.at().renew(&third).await.is_err(), "swept");
    let fourth = bench.claim(id).await.lease;
    bench.at().end(&fourth, &done(), None, &[]).await.unwrap();
    let events = bench.types(id).await;
    for _ in 0..2 {
        bench.at().end(&first, &retry("again"), Some(1), &[]).await.unwrap();
        bench.at().release(&second).await.unwrap();
        assert!(matches!(bench.at().release(&third).await, Err(WorkError::LeaseLost)));
        bench.at().end(&fourth, &done(), None, &[]).await.unwrap();
        assert!(matches!(bench.at().end(&fourth, &failed("x"), None, &[]).await, Err(WorkError::LeaseLost)));
    }
    assert_eq!(bench.types(id).await, events);
});

on_both!(durations_of_any_length_are_served, bench, {
    let huge = NewJob {
        timeout: Duration::MAX,
        deadline: Duration::MAX,
        queue_timeout: Duration::MAX,
        retention: Duration::MAX,
        ..new_job()
    };
    let id = bench.submit(&huge).await;
    let claimed =
        bench.at().claim(id.partition(), &[task().into()], token(), Duration::MAX).await.unwrap().unwrap();
    assert!(claimed.time_left > Duration::from_hours(24 * 365));
    bench.sweep(id).await;
    bench.at().append(&claimed.lease, Some(1), &[text("x")]).await.unwrap();
    bench.at().end(&claimed.lease, &done(), None, &[]).await.unwrap();
    let job = bench.store.job(id).await.unwrap().unwrap();
    assert!(job.expires_at > Timestamp::from_millis(bench.now));

    let tiny = Duration::from_nanos(1);
    let small = NewJob { timeout: tiny, deadline: tiny, queue_timeout: tiny, retention: tiny, ..new_job() };
    let id = bench.submit(&small).await;
    let claimed = bench.at().claim(id.partition(), &[task().into()], token(), tiny).await.unwrap().unwrap();
    bench.pass(1);
    assert_eq!(bench.sweep(id).await, 1);
    assert!(bench.at().renew(&claimed.lease).await.is_err());
});

on_both!(sentences_say_whole_seconds, bench, {
    let month = Duration::from_hours(30 * 24);
    let id = bench.submit(&NewJob { deadline: month, queue_timeout: month, ..new_job() }).await;
    bench.pass(30 * DAY);
    bench.sweep(id).await;
    let error = bench.store.job(id).await.unwrap().unwrap().error.unwrap();
    assert_eq!(error, "no worker took the job within 2592000 s (queueTimeout)");
    let short = NewJob { timeout: Duration::from_millis(1_234_567), ..new_job() };
    let id = bench.submit(&short).await;
    bench.claim(id).await;
    bench.pass(1235);
    bench.sweep(id).await;
    let error = bench.store.job(id).await.unwrap().unwrap().error.unwrap();
    assert_eq!(error, "attempt 1 ran longer than 1234.567 s (timeout)");
});

on_both!(times_are_written_as_the_model_writes_them, bench, {
    let mut times = vec![0, 1, 951_827_696_007, 4_107_542_399_999, 253_402_200_000_000];
    times.extend((0..100).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 253_402_200_000_000));
    for now in times {
        bench.now = now;
        let id = bench.submit(&new_job()).await;
        let told = events(&bench, id, 0).await[0]["at"].as_str().unwrap().to_owned();
        assert_eq!(told, Timestamp::from_millis(now).to_string());
        assert_eq!(bench.store.job(id).await.unwrap().unwrap().created_at.as_millis(), now);
        bench.at().cancel(id, &owner(), "enough").await.unwrap();
    }
});

on_both!(a_log_that_was_lost_is_capped_as_before, bench, {
    let id = bench.submit(&NewJob { log_bytes: 20_000, ..new_job() }).await;
    let lease = bench.claim(id).await.lease;
    bench.at().append(&lease, Some(1), &vec![text(&"y".repeat(3000)); 6]).await.unwrap();
    let log = key(&bench, &format!("log:{id}")).await;
    cmd("DEL").arg(log).exec_async(&mut bench.server.client().await).await.unwrap();
    bench.at().append(&lease, Some(2), &vec![text("z"); 50]).await.unwrap();
    let page = bench.store.log(&id.into(), 0, 1 << 20).await.unwrap().unwrap().page;
    assert_eq!((page.first.unwrap().seq, page.entries.len()), (9, 50));
    bench.at().end(&lease, &done(), None, &[]).await.unwrap();
});

/// Every key that a job has, deleted at each stage of its life: all calls are answered, and the job ends or is gone.
#[tokio::test]
async fn no_key_is_missed_so_much_that_a_call_breaks() {
    let mut bench = Bench::start(false).await;
    let mut redis = bench.server.client().await;
    for stage in 0..4 {
        for n in 0.. {
            bench.now += 60_000;
            cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
            let id = bench.submit(&new_job()).await;
            let before = async || bench.claim(id).await.lease;
            let lease = match stage {
                0 => Lease { job: id, token: token(), duration: LEASE },
                1 => before().await,
                2 => {
                    let lease = before().await;
                    bench.at().append(&lease, Some(1), &[text("a")]).await.unwrap();
                    bench.at().end(&lease, &retry("again"), None, &[]).await.unwrap();
                    lease
                }
                _ => {
                    let lease = before().await;
                    bench.at().end(&lease, &failed("x"), None, &[]).await.unwrap();
                    lease
                }
            };
            bench.sweep(id).await;
            let mut keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
            keys.sort_unstable();
            let Some(gone) = keys.get(n) else { break };
            cmd("DEL").arg(gone).exec_async(&mut redis).await.unwrap();
            let what = format!("stage {stage}, without {gone}");
            let work = |answer: Result<(), WorkError>| {
                assert!(!matches!(answer, Err(WorkError::Store(_))), "{what}: {answer:?}");
            };
            bench.store.job(id).await.unwrap();
            bench.store.log(&id.into(), 0, 1 << 20).await.unwrap();
            bench.store.queue(id.partition(), &task()).await.unwrap();
            work(bench.at().renew(&lease).await.map(drop));
            work(bench.at().append(&lease, None, &[text("b")]).await.map(drop));
            bench.at().claim(id.partition(), &[task().into()], token(), LEASE).await.unwrap();
            work(bench.at().release(&lease).await.map(drop));
            work(bench.at().end(&lease, &done(), None, &[]).await.map(drop));
            drop(bench.at().cancel(id, &owner(), "enough").await);
            for _ in 0..3 {
                bench.now += 7_300_000;
                bench.sweep(id).await;
            }
            if let Some(job) = bench.store.job(id).await.unwrap() {
                assert!(job.status.is_terminal(), "{what}: {job:?}");
            }
            bench.submit(&new_job()).await;
            bench.sweep_for(id, 40).await;
            bench.nothing_grows_but(&["ready", "readyof", "deadlines", "runningof"]).await;
        }
    }
}

#[tokio::test]
async fn a_full_redis_lets_processes_start_and_jobs_end() {
    let bench = Bench::start(false).await;
    let ids = [
        bench.submit(&new_job()).await,
        bench.submit(&new_job()).await,
        bench.submit(&new_job()).await,
        bench.submit(&new_job()).await,
    ];
    let mut redis = bench.server.client().await;
    cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec_async(&mut redis).await.unwrap();
    cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
    // A process that starts now.
    let store = Store::new(Options::new(Target::parse(&bench.server.url()).unwrap()));
    assert_eq!(store.partitions().await.unwrap().count(), 1);
    store.reach().await.unwrap();
    let store = store.at(Timestamp::from_millis(bench.now));
    let claim =
        async || store.claim(Partition(0), &[task().into()], token(), LEASE).await.unwrap().unwrap().lease;
    let (one, two) = (claim().await, claim().await);
    assert!(matches!(store.submit(&new_job()).await, Err(SubmitError::Store(StoreError::Full))));
    let appended = store.append(&one, Some(1), &[text("a")]).await;
    assert!(matches!(appended, Err(WorkError::Store(StoreError::Full))), "{appended:?}");
    store.renew(&one).await.unwrap();
    store.end(&one, &done(), Some(1), &[text("a")]).await.unwrap();
    store.release(&two).await.unwrap();
    store.cancel(ids[3], &owner(), "enough").await.unwrap();
    store.sweep(Partition(0), "test", &SWEEP).await.unwrap();
    store.queue(Partition(0), &task()).await.unwrap();
    assert_eq!(bench.types(one.job).await, ["queued", "started", "output", "completed"]);
}

#[tokio::test]
async fn a_partition_that_cannot_be_swept_holds_up_no_other() {
    let bench = Bench::start(false).await;
    let mut options = Options::new(Target::parse(&bench.server.url()).unwrap());
    options.partitions = Some(4);
    let store = Store::new(options);
    store.reach().await.unwrap();
    let mut redis = bench.server.client().await;
    // A sweep of the first partition fails.
    cmd("SET").arg(&["jc:{0.325}:sweeper", "no hash"]).exec_async(&mut redis).await.unwrap();
    let stop = CancellationToken::new();
    let options = SweepOptions { interval: Duration::from_millis(50), lease: LEASE };
    let sweeping = sweep_until(store, options, stop.clone());
    let looking = async {
        for partition in ["1.38", "2.671", "3.951"] {
            let key = format!("jc:{{{partition}}}:sweeper");
            testkit::eventually(Duration::from_mins(1), "it is swept", async || {
                let swept: bool = cmd("EXISTS").arg(&key).query_async(&mut redis.clone()).await.unwrap();
                swept
            })
            .await;
        }
        stop.cancel();
    };
    tokio::join!(sweeping, looking);
}

#[tokio::test]
async fn one_dead_attempt_is_found_among_many_that_live() {
    let mut bench = Bench::start(false).await;
    let mut leases = Vec::new();
    for _ in 0..250 {
        let id = bench.submit(&new_job()).await;
        leases.push(bench.claim(id).await.lease);
    }
    let dead = leases.pop().unwrap();
    bench.sweep(dead.job).await;
    for _ in 0..14 {
        bench.pass(2);
        bench.sweep(dead.job).await;
    }
    for lease in &leases {
        bench.at().renew(lease).await.unwrap();
    }
    bench.pass(3);
    // One round, as the sweeper makes it.
    while let Swept::More(_) = bench.at().sweep(dead.job.partition(), "test", &SWEEP).await.unwrap() {}
    assert_eq!(bench.status(dead.job).await, Status::Pending);
}

#[tokio::test]
async fn the_number_of_partitions_survives_the_loss_of_its_key() {
    let bench = Bench::start(false).await;
    let mut redis = bench.server.client().await;
    cmd("SET").arg(&["jc:partitions", "8"]).exec_async(&mut redis).await.unwrap();
    bench.store.reach().await.unwrap();
    cmd("DEL").arg("jc:partitions").exec_async(&mut redis).await.unwrap();
    bench.store.reach().await.unwrap();
    let count: u16 = cmd("GET").arg("jc:partitions").query_async(&mut redis).await.unwrap();
    assert_eq!(count, 8, "jobs may live in all of them");
}

#[tokio::test]
async fn every_end_by_a_claim_is_counted_by_its_code() {
    let mut bench = Bench::start(false).await;
    let tried = bench.submit(&NewJob { deadline: Duration::from_secs(5), ..new_job() }).await;
    let lease = bench.claim(tried).await.lease;
    bench.at().end(&lease, &retry("x"), None, &[]).await.unwrap();
    bench.submit(&NewJob { queue_timeout: Duration::from_secs(1), ..new_job() }).await;
    bench.pass(10);
    assert!(bench.nothing_ready(tried).await);
    let ended = |code: ErrorCode| {
        let labels = EndLabels { status: Status::Failed.as_str(), code: code.as_str() };
        bench.store.counters().ends.get_or_create(&labels).get()
    };
    assert_eq!((ended(ErrorCode::Unclaimed), ended(ErrorCode::Timeout)), (1, 1));
}

on_both!(a_break_longer_than_half_a_lease_costs_no_attempt, bench, {
    // Heartbeats come each half lease at the latest, so a longer break may end a lease whose worker is well.
    let short = Duration::from_secs(6);
    let options = SweepOptions { interval: Duration::from_secs(1), lease: short };
    let id = bench.submit(&new_job()).await;
    let lease =
        bench.at().claim(id.partition(), &[task().into()], token(), short).await.unwrap().unwrap().lease;
    for _ in 0..3 {
        assert_eq!(bench.at().sweep(id.partition(), "test", &options).await.unwrap(), Swept::Changed(0));
        bench.pass(1);
    }
    bench.now += 3_500;
    assert_eq!(bench.at().sweep(id.partition(), "test", &options).await.unwrap(), Swept::Changed(0));
    bench.at().renew(&lease).await.unwrap();
    // The same where sweeps are rare.
    let options = SweepOptions { interval: short, lease: short };
    bench.at().sweep(id.partition(), "test", &options).await.unwrap();
    bench.pass(12);
    assert_eq!(bench.at().sweep(id.partition(), "test", &options).await.unwrap(), Swept::Changed(0));
    bench.at().end(&lease, &done(), None, &[]).await.unwrap();
});

on_both!(an_idempotency_record_lives_a_day_or_as_long_as_its_job, bench, {
    let life = async |bench: &Bench| -> u64 {
        let name = key(bench, "idem:acme:*").await;
        let ms: u64 = cmd("PTTL").arg(name).query_async(&mut bench.server.client().await).await.unwrap();
        ms.div_ceil(60_000)
    };
    for (retention, after) in [(60, 23 * 60), (3 * DAY / 60, 3 * DAY / 60)] {
        let job = NewJob {
            idempotency: Some(Idempotency { key: "k".into(), fingerprint: "f".into() }),
            retention: Duration::from_mins(retention),
            ..new_job()
        };
        let id = bench.submit(&job).await;
        assert_eq!(life(&bench).await, 2 * 60 + 7 * DAY / 60, "as long as a living job may");
        let lease = bench.claim(id).await.lease;
        bench.pass(3600);
        bench.at().end(&lease, &done(), None, &[]).await.unwrap();
        assert_eq!(life(&bench).await, after);
        cmd("FLUSHALL").exec_async(&mut bench.server.client().await).await.unwrap();
    }
});

#[tokio::test]
async fn a_write_without_a_number_whose_answer_is_lost_is_written_once() {
    let bench = Bench::start(false).await;
    let id = bench.submit(&new_job()).await;
    let lease = bench.claim(id).await.lease;
    let proxy = testkit::proxy::Proxy::start(bench.server.addr()).await;
    proxy.close_every_nth_reply(3);
    let store =
        Store::new(Options::new(Target::parse(&proxy.url()).unwrap())).at(Timestamp::from_millis(bench.now));
    let words: Vec<_> = (0..30).map(|n| n.to_string()).collect();
    for word in &words {
        store.append(&lease, None, &[text(word)]).await.unwrap();
    }
    assert!(proxy.replies_swallowed() > 5);
    let events = events(&bench, id, 2).await;
    let told: Vec<_> = events.iter().map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!(told, words, "each once");
}

on_both!(a_cancelled_attempt_gives_its_place_back_though_its_job_is_soon_forgotten, bench, {
    let limits = RunLimits { fleet: None, per_owner: Some(1) };
    let of = |owner: &str| NewJob { owner: owner.parse().unwrap(), limits, ..new_job() };
    let claim = async |bench: &Bench, id: model::JobId, lease: Duration| {
        let claimable = Claimable { task: task(), limits };
        let claimed = bench.at().claim(id.partition(), &[claimable], token(), lease).await.unwrap();
        claimed.map(|claimed| claimed.lease)
    };
    // While another one runs on, the places of owners aren't counted anew.
    let other = bench.submit(&of("other")).await;
    let long = claim(&bench, other, Duration::from_hours(1)).await.unwrap();
    let short = bench.submit(&NewJob { retention: Duration::from_millis(1), ..of("acme") }).await;
    assert_eq!(claim(&bench, short, LEASE).await.unwrap().job, short);
    bench.at().cancel(short, &owner(), "no longer wanted").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let next = bench.submit(&of("acme")).await;
    assert_eq!(claim(&bench, next, LEASE).await, None, "its worker hasn't left it");
    bench.sweep_for(short, LEASE.as_secs() + 2).await;
    let lease = claim(&bench, next, LEASE).await.expect("there is a place again");
    for lease in [long, lease] {
        bench.at().end(&lease, &done(), None, &[]).await.unwrap();
    }
});
