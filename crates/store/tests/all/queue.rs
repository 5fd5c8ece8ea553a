//! The queue on a real Redis: who is next, when a job may start, and how many may run at once.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ErrorCode, JobId, Owner, Partition, Priority, RunLimits, Status};
use store::{Claimable, Claimed, NewJob, Retry, Swept};
use tokio::task::JoinSet;

use crate::bench::{self, Bench, LEASE, SWEEP, done, new_job, owner, retry, task, token};

fn of(owner: &str) -> NewJob {
    NewJob { owner: owner.parse().unwrap(), ..new_job() }
}

/// Submits jobs of `owner` until so many are in each partition that may run any: which one a job comes to is chance.
async fn fill(bench: &Bench, owner: &str, job: &NewJob, enough: usize) {
    let all = bench.store.partitions().await.unwrap().collect::<Vec<_>>();
    let count = job.limits.homes(all.len().try_into().unwrap());
    let homes = all.iter().filter(|home| home.0 < count);
    let mut lacking: BTreeMap<_, _> = homes.map(|&home| (home, enough)).collect();
    while !lacking.is_empty() {
        let id = bench.submit(&NewJob { owner: owner.parse().unwrap(), ..job.clone() }).await;
        lacking.entry(id.partition()).and_modify(|lacks| *lacks -= 1);
        lacking.retain(|_, lacks| *lacks > 0);
    }
}

/// A job that lives in partition 0 of a Cluster too: what is compared must be in one line.
fn here(job: NewJob) -> NewJob {
    NewJob { limits: RunLimits { fleet: Some(1), per_owner: None }, ..job }
}

/// What a claim of the test's task takes, with `limits`.
fn claimable(fleet: Option<u32>, per_owner: Option<u32>) -> Claimable {
    Claimable { task: task(), limits: RunLimits { fleet, per_owner } }
}

async fn claim_in(bench: &Bench, partition: Partition, what: &Claimable) -> Option<Claimed> {
    bench.at().claim(partition, std::slice::from_ref(what), token(), LEASE).await.unwrap()
}

/// Claims in partition 0.
async fn next(bench: &Bench, what: &Claimable) -> Option<Claimed> {
    claim_in(bench, Partition(0), what).await
}

/// Claims without limits until nothing is ready, ends what it got, and says the owners, or the jobs, in order.
async fn drain(bench: &Bench) -> Vec<(JobId, Owner)> {
    let mut all = Vec::new();
    while let Some(claimed) = next(bench, &claimable(None, None)).await {
        bench.at().end(&claimed.lease, &done(), None, &[]).await.unwrap();
        all.push((claimed.job(), claimed.owner));
    }
    all
}

on_both!(an_owners_jobs_go_by_priority_then_age, bench, {
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for (at, priority) in [
        (0, Priority::Low),
        (1, Priority::Normal),
        (2, Priority::High),
        (3, Priority::Low),
        (4, Priority::High),
        (5, Priority::Normal),
    ] {
        bench.pass(u64::from(at > 0));
        let id = bench.submit(&here(NewJob { priority, ..new_job() })).await;
        let rank = [Priority::High, Priority::Normal, Priority::Low].iter().position(|p| *p == priority);
        expected[rank.unwrap()].push(id);
    }
    let order: Vec<_> = drain(&bench).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, expected.concat());
});

on_both!(owners_take_turns_whatever_they_submitted_first, bench, {
    for _ in 0..50 {
        // Not even by priority.
        bench.submit(&here(NewJob { priority: Priority::High, ..of("many") })).await;
    }
    bench.submit(&here(NewJob { priority: Priority::Low, ..of("one") })).await;
    bench.submit(&here(of("two"))).await;
    bench.submit(&here(of("two"))).await;
    let order: Vec<_> = drain(&bench).await.into_iter().map(|(_, owner)| owner.to_string()).collect();
    assert_eq!(order[..6], ["many", "one", "two", "many", "two", "many"]);
    assert_eq!(order.len(), 53);
});

on_both!(a_delayed_job_starts_no_sooner_and_soon_after, bench, {
    let job = NewJob { delay: Duration::from_secs(30), queue_timeout: Duration::from_secs(10), ..new_job() };
    let id = bench.submit(&job).await;
    bench.sweep_for(id, 29).await;
    assert!(bench.nothing_ready(id).await);
    assert!(!bench.rings(id.partition()).await);
    bench.sweep_for(id, 1).await;
    assert!(bench.rings(id.partition()).await, "who waits is woken");
    let claimed = bench.claim(id).await;
    assert_eq!(claimed.job(), id);
    bench.at().end(&claimed.lease, &done(), None, &[]).await.unwrap();

    // How long it may wait for a worker counts from when it could start.
    let id = bench.submit(&job).await;
    bench.sweep_for(id, 39).await;
    assert_eq!(bench.status(id).await, Status::Pending);
    bench.sweep_for(id, 1).await;
    let job = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!((job.status, job.error_code), (Status::Failed, Some(ErrorCode::Unclaimed)));
    assert!(bench.nothing_ready(id).await);
});

on_both!(a_delayed_job_can_be_cancelled_and_ends_at_its_deadline, bench, {
    let delayed = NewJob { delay: Duration::from_mins(1), deadline: Duration::from_secs(20), ..new_job() };
    let cancelled = bench.submit(&delayed).await;
    bench.at().cancel(cancelled, &owner(), "no longer wanted").await.unwrap();
    assert_eq!(bench.status(cancelled).await, Status::Cancelled);
    let late = bench.submit(&delayed).await;
    bench.sweep_for(late, 19).await;
    assert_eq!(bench.status(late).await, Status::Pending);
    bench.sweep_for(late, 1).await;
    let job = bench.store.job(late).await.unwrap().unwrap();
    assert_eq!((job.status, job.error_code), (Status::Failed, Some(ErrorCode::Timeout)));
    for id in [cancelled, late] {
        bench.sweep_for(id, 60).await;
        assert!(bench.nothing_ready(id).await);
    }
});

on_both!(each_retry_waits_about_twice_as_long_and_starts_when_it_said, bench, {
    let job = NewJob {
        max_attempts: 6,
        retry: Retry { first: Duration::from_secs(10), longest: Duration::from_mins(1) },
        ..new_job()
    };
    let mut waits = vec![Vec::new(); 5];
    for _ in 0..12 {
        let id = bench.submit(&job).await;
        for waited in &mut waits {
            let lease = bench.claim(id).await.lease;
            bench.at().end(&lease, &retry("not now"), None, &[]).await.unwrap();
            let at = retry_at(&bench, id).await;
            waited.push(at - bench.now);
            // Not a moment before it said, and not later either.
            bench.now = at - 1;
            bench.sweep(id).await;
            assert!(bench.nothing_ready(id).await);
            bench.now = at;
            bench.sweep(id).await;
        }
        let lease = bench.claim(id).await.lease;
        let ended = bench.at().end(&lease, &retry("never"), None, &[]).await.unwrap();
        assert_eq!(ended.status, Some(Status::Failed));
    }
    for (waited, whole) in waits.iter().zip([10_000, 20_000, 40_000, 60_000, 60_000]) {
        assert!(waited.iter().all(|wait| (whole / 2..=whole).contains(wait)), "{waited:?} of {whole}");
        assert!(waited.iter().any(|wait| wait != &waited[0]), "each at random: {waited:?}");
    }
});

on_both!(an_attempt_given_back_may_start_at_once_and_counts_for_nothing, bench, {
    let job = NewJob {
        max_attempts: 2,
        retry: Retry { first: Duration::from_secs(10), longest: Duration::from_mins(1) },
        ..new_job()
    };
    let id = bench.submit(&job).await;
    for _ in 0..5 {
        let lease = bench.claim(id).await.lease;
        bench.at().release(&lease).await.unwrap();
        assert_eq!(retry_at(&bench, id).await, bench.now);
    }
    // The first failure after that waits as the first one does.
    let lease = bench.claim(id).await.lease;
    bench.at().end(&lease, &retry("x"), None, &[]).await.unwrap();
    assert!((5_000..=10_000).contains(&(retry_at(&bench, id).await - bench.now)));
    assert!(bench.nothing_ready(id).await);
    bench.at().cancel(id, &owner(), "enough").await.unwrap();
});

/// What the newest event says of the next attempt, in ms.
async fn retry_at(bench: &Bench, id: JobId) -> u64 {
    let log = bench.store.log(&id.into(), 0, 1 << 20).await.unwrap().unwrap().page;
    let json = &log.entries.last().unwrap().body.as_ref().unwrap().json;
    let event: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(event["type"], "retrying", "{event}");
    let at: model::Timestamp = serde_json::from_value(event["retryAt"].clone()).unwrap();
    at.as_millis()
}

/// Ends whatever runs or waits: nobody renews its lease or takes it.
async fn end_all(bench: &mut Bench) {
    bench.pass(10_000);
    for n in 0..16 {
        for _ in 0..100 {
            bench.pass(1);
            let swept = bench.at().sweep(Partition(n), "test", &SWEEP).await.unwrap();
            if swept == Swept::Changed(0) {
                break;
            }
        }
    }
    for n in 0..16 {
        for _ in 0..40 {
            bench.pass(1);
            bench.at().sweep(Partition(n), "test", &SWEEP).await.unwrap();
        }
    }
}

// As many as may run of each task over the whole fleet: however many claim at once, no more start; each way to end an attempt
// gives its place to one other.
on_both!(no_more_run_than_the_fleet_may_and_every_end_frees_a_place, bench, {
    let limits = RunLimits { fleet: Some(5), per_owner: None };
    for owner in ["a", "b", "c"] {
        // More than all places that are freed below: they may all be in one partition.
        fill(&bench, owner, &NewJob { limits, max_attempts: 9, ..new_job() }, 4).await;
    }
    let mut running = claim_at_once(&bench, limits).await;
    assert_eq!(running.len(), 5);
    assert!(claim_at_once(&bench, limits).await.is_empty());
    for how in ["done", "failed", "retry", "release", "cancel", "lost"] {
        let claimed = running.pop().unwrap();
        let (lease, id) = (claimed.lease, claimed.job());
        match how {
            "done" => drop(bench.at().end(&lease, &done(), None, &[]).await.unwrap()),
            "failed" => drop(bench.at().end(&lease, &bench::failed("x"), None, &[]).await.unwrap()),
            "retry" => drop(bench.at().end(&lease, &retry("x"), None, &[]).await.unwrap()),
            "release" => drop(bench.at().release(&lease).await.unwrap()),
            "cancel" => {
                bench.at().cancel(id, &claimed.owner, "x").await.unwrap();
                assert!(claim_at_once(&bench, limits).await.is_empty(), "its worker hasn't stopped yet");
                assert!(bench.at().end(&lease, &done(), None, &[]).await.unwrap().held.cancelled);
            }
            _ => {
                bench.sweep(id).await;
                for _ in 0..31 {
                    bench.pass(1);
                    for held in &running {
                        bench.at().renew(&held.lease).await.unwrap();
                    }
                    for n in 0..5 {
                        let swept = bench.at().sweep(Partition(n), "test", &SWEEP).await.unwrap();
                        assert!(!matches!(swept, Swept::Held(_)));
                    }
                }
            }
        }
        let next = claim_at_once(&bench, limits).await;
        assert_eq!(next.len(), 1, "after {how}");
        running.extend(next);
    }
    end_all(&mut bench).await;
});

on_both!(no_more_run_than_an_owner_may_and_no_other_waits_for_it, bench, {
    let limits = RunLimits { fleet: None, per_owner: Some(3) };
    for owner in ["a", "b"] {
        // A partition has a part of an owner's places.
        fill(&bench, owner, &NewJob { limits, ..new_job() }, 10).await;
    }
    let count = |claimed: &[Claimed]| {
        let mut owners = BTreeMap::<String, usize>::new();
        for claimed in claimed {
            *owners.entry(claimed.owner.to_string()).or_default() += 1;
        }
        owners
    };
    let mut running = claim_at_once(&bench, limits).await;
    assert_eq!(count(&running), [("a".into(), 3), ("b".into(), 3)].into());
    for n in 0..3 {
        assert!(!rings_twice(&bench, Partition(n)).await, "nobody is woken for what can't start");
    }
    // A place that is given back is for the same owner, and somebody is woken for it.
    let at = running.iter().position(|claimed| claimed.owner.as_str() == "a").unwrap();
    let claimed = running.swap_remove(at);
    bench.at().end(&claimed.lease, &done(), None, &[]).await.unwrap();
    assert!(bench.rings(claimed.job().partition()).await);
    let next = claim_at_once(&bench, limits).await;
    assert_eq!(count(&next), [("a".into(), 1)].into());
    running.extend(next);
    // Who sets no limit passes over none.
    let unlimited = claim_at_once(&bench, RunLimits::default()).await;
    assert_eq!(count(&unlimited).get("a").copied(), None, "owners at their limit have no turn");
    // Though a place was taken without a limit, its end gives the turn back that others took.
    end_all(&mut bench).await;
});

/// Takes a ring that may be there already, sweeps, and says whether it rings.
async fn rings_twice(bench: &Bench, partition: Partition) -> bool {
    bench.rings(partition).await;
    claim_in(bench, partition, &claimable(None, Some(3))).await.inspect(|claimed| panic!("{claimed:?}"));
    bench.at().sweep(partition, "test", &SWEEP).await.unwrap();
    bench.rings(partition).await
}

/// Forty workers claim in all partitions until they find nothing.
async fn claim_at_once(bench: &Bench, limits: RunLimits) -> Vec<Claimed> {
    let mut workers = JoinSet::new();
    let all = bench.store.partitions().await.unwrap().collect::<Vec<_>>();
    for n in 0..40 {
        let (store, mut all) = (bench.at(), all.clone());
        let start = n % all.len();
        all.rotate_left(start);
        workers.spawn(async move {
            let mut claimed = Vec::new();
            for partition in all {
                let what = [Claimable { task: task(), limits }];
                while let Some(one) = store.claim(partition, &what, token(), LEASE).await.unwrap() {
                    claimed.push(one);
                }
            }
            claimed
        });
    }
    workers.join_all().await.concat()
}

on_both!(a_task_at_its_limit_wakes_nobody_until_a_place_is_free, bench, {
    let one = claimable(Some(1), None);
    for _ in 0..3 {
        bench.submit(&here(new_job())).await;
    }
    let first = next(&bench, &one).await.unwrap();
    bench.rings(Partition(0)).await;
    assert!(next(&bench, &one).await.is_none());
    for _ in 0..3 {
        bench.sweep_for(first.job(), 1).await;
        assert!(!bench.rings(Partition(0)).await, "the sweep knows that it is full");
    }
    bench.at().end(&first.lease, &done(), None, &[]).await.unwrap();
    assert!(bench.rings(Partition(0)).await, "the end wakes one");
    bench.sweep_for(first.job(), 1).await;
    assert!(bench.rings(Partition(0)).await, "and should that ring be lost, the sweep does");
    // A limit that was lifted since counts for nobody who knows that.
    let second = next(&bench, &one).await.unwrap();
    assert!(next(&bench, &one).await.is_none());
    let third = next(&bench, &claimable(None, None)).await.unwrap();
    for claimed in [second, third] {
        bench.at().end(&claimed.lease, &done(), None, &[]).await.unwrap();
    }
    bench.sweep_for(first.job(), 1).await;
});

on_both!(nothing_of_a_paused_task_starts_until_it_is_resumed, bench, {
    bench.store.pause_task(&task()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(bench.submit(&new_job()).await);
    }
    let all: Vec<_> = bench.store.partitions().await.unwrap().collect();
    for &partition in &all {
        assert!(claim_in(&bench, partition, &claimable(None, None)).await.is_none());
        assert!(bench.store.queue(partition, &task()).await.unwrap().paused);
        while bench.rings(partition).await {}
        bench.at().sweep(partition, "test", &SWEEP).await.unwrap();
        assert!(!bench.rings(partition).await, "nobody is woken for it");
    }
    bench.store.pause_task(&task()).await.unwrap();
    bench.store.resume_task(&task()).await.unwrap();
    bench.store.resume_task(&task()).await.unwrap();
    let mut found = 0;
    for &partition in &all {
        let has_jobs = ids.iter().any(|id| id.partition() == partition);
        assert_eq!(bench.rings(partition).await, has_jobs, "a resume wakes who waits");
        while let Some(claimed) = claim_in(&bench, partition, &claimable(None, None)).await {
            bench.at().end(&claimed.lease, &done(), None, &[]).await.unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 20);
});

#[tokio::test]
async fn added_partitions_take_over_what_is_paused() {
    let bench = Bench::start(false).await;
    bench.store.pause_task(&task()).await.unwrap();
    bench.store.announce_partitions(4).await.unwrap();
    let paused = async || {
        let mut paused = Vec::new();
        for n in 0..4 {
            paused.push(bench.store.queue(Partition(n), &task()).await.unwrap().paused);
        }
        paused
    };
    bench.store.open_partitions(4).await.unwrap();
    assert_eq!(paused().await, [true; 4]);
    bench.store.resume_task(&task()).await.unwrap();
    assert_eq!(paused().await, [false; 4]);
}

#[tokio::test]
async fn what_waits_where_a_smaller_limit_has_no_home_runs_one_at_a_time() {
    let bench = Bench::start(true).await;
    let limits = RunLimits { fleet: Some(2), per_owner: None };
    let mut far = Vec::new();
    while far.len() < 2 {
        let id = bench.submit(&new_job()).await;
        if id.partition() == Partition(9) {
            far.push(id);
        }
    }
    let claim = async || {
        let claimable = Claimable { task: task(), limits };
        let claimed = bench.at().claim(Partition(9), &[claimable], token(), LEASE).await.unwrap();
        claimed.map(|claimed| claimed.lease)
    };
    let first = claim().await.expect("it is not left to wait for ever");
    assert_eq!((first.job, claim().await), (far[0], None));
    bench.at().end(&first, &done(), None, &[]).await.unwrap();
    assert_eq!(claim().await.map(|lease| lease.job), Some(far[1]));
}
