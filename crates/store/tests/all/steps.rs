//! The steps against a real Redis: what each does, that a repeat answers as the first time, and what is left in the end. Every
//! test runs on a single server and on a one-node Cluster with 16 partitions.

use std::time::Duration;

use model::report::Percent;
use model::{ErrorCode, Json, Partition, Report, Status, Timestamp};
use store::{
    CancelError, Claimed, End, Idempotency, LastReports, Lease, NewJob, SubmitError, Submitted, Swept,
    WorkError,
};

use crate::bench::{Bench, LEASE, SWEEP, T0, done, failed, new_job, owner, retry, task, text, token};

on_both!(a_job_from_submission_to_its_end, bench, {
    let id = bench.submit(&new_job()).await;
    let claimed = bench.claim(id).await;
    assert_eq!((claimed.job(), claimed.attempt, claimed.max_attempts), (id, 1, 2));
    assert_eq!(claimed.payload.as_str(), r#"{"a":[],"b":1e400}"#);
    assert_eq!((claimed.owner, claimed.time_left), (owner(), Duration::from_hours(1)));
    bench.pass(1);
    let progress =
        Report::Progress { progress: Some(Percent::clamped(42.5)), message: Some("a\n\"b".into()) };
    let held = bench.at().append(&claimed.lease, Some(1), &[text("one"), progress]).await.unwrap();
    assert_eq!((held.expires_at.as_millis(), held.cancelled), (bench.now + 30_000, false));
    let job = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!((job.progress.map(Percent::get), job.message.as_deref()), (Some(42.5), Some("a\n\"b")));
    bench.pass(1);
    let ended = bench.at().end(&claimed.lease, &done(), Some(2), &[text("two")]).await.unwrap();
    assert_eq!(ended.status, Some(Status::Completed));

    assert_eq!(bench.types(id).await, ["queued", "started", "output", "progress", "output", "completed"]);
    let job = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!((job.status, job.progress.map(Percent::get)), (Status::Completed, Some(100.0)));
    assert_eq!(
        (job.result.unwrap().as_str(), job.metadata.unwrap().as_str()),
        ("{\"n\":1}", "{\"k\":\"v\"}")
    );
    assert_eq!(job.finished_at, Some(Timestamp::from_millis(bench.now)));
    assert_eq!(job.expires_at.as_millis(), bench.now + 600_000);
    assert_eq!(job.last_event.seq, 6);
    let log = bench.store.log(&id.into(), 0, 1 << 20).await.unwrap().unwrap().page;
    assert_eq!(log.last, job.last_event);
    let last = log.entries.last().unwrap().body.clone().unwrap();
    let event: serde_json::Value = serde_json::from_slice(&last.json).unwrap();
    assert_eq!(event["at"], "2026-11-24T10:00:02.000Z");
    assert_eq!((&event["jobId"], &event["result"]["n"]), (&id.to_string().into(), &1.into()));
});

on_both!(every_call_may_come_twice, bench, {
    let id = bench.submit(&new_job()).await;
    let token = token();
    let claim = async || bench.at().claim(id.partition(), &[task().into()], token, LEASE).await.unwrap();
    assert_eq!(claim().await, claim().await, "a claim is known by its token");
    let lease = Lease { job: id, token, duration: LEASE };
    for _ in 0..3 {
        bench.at().append(&lease, Some(1), &[text("once")]).await.unwrap();
    }
    bench.at().append(&lease, Some(2), &[text("twice")]).await.unwrap();
    bench.at().append(&lease, Some(1), &[text("once")]).await.unwrap();
    assert!(matches!(bench.at().append(&lease, Some(4), &[text("gap")]).await, Err(WorkError::BatchGap)));
    assert!(matches!(
        bench.at().end(&lease, &done(), Some(4), &[text("gap")]).await,
        Err(WorkError::BatchGap)
    ));
    for _ in 0..2 {
        assert!(
            !bench.at().end(&lease, &retry("again"), Some(3), &[text("last")]).await.unwrap().held.cancelled
        );
    }
    assert_eq!(bench.types(id).await, ["queued", "started", "output", "output", "output", "retrying"]);
    // The repeat of an end is known even when the next attempt runs.
    let second = bench.claim(id).await;
    assert_eq!(second.attempt, 2);
    bench.at().end(&lease, &retry("again"), Some(3), &[text("last")]).await.unwrap();
    assert!(matches!(bench.at().end(&second.lease, &done(), Some(2), &[]).await, Err(WorkError::BatchGap)));
    for _ in 0..2 {
        bench.at().release(&second.lease).await.unwrap();
    }
    // What an attempt did is told again; what it did not do is never told as done.
    assert!(matches!(bench.at().end(&second.lease, &done(), None, &[]).await, Err(WorkError::LeaseLost)));
    assert!(matches!(bench.at().release(&lease).await, Err(WorkError::LeaseLost)));
    let third = bench.claim(id).await;
    assert_eq!((third.attempt, third.max_attempts), (3, 2), "one given back isn't counted");
    let last = bench.at().end(&third.lease, &retry("no more"), None, &[]).await.unwrap();
    assert_eq!(last.status, Some(Status::Failed));
    assert!(matches!(bench.at().cancel(id, &owner(), "x").await, Err(CancelError::Terminal(Status::Failed))));
});

on_both!(a_claim_that_is_repeated_has_a_whole_lease, bench, {
    let id = bench.submit(&new_job()).await;
    let token = token();
    let claim = async |bench: &Bench| {
        bench.at().claim(id.partition(), &[task().into()], token, LEASE).await.unwrap().unwrap()
    };
    claim(&bench).await;
    // Whose answer was lost: the worker begins, and reckons with, what the repeat says.
    bench.sweep_for(id, 25).await;
    let claimed = claim(&bench).await;
    assert_eq!(claimed.expires_at.as_millis(), bench.now + 30_000);
    bench.sweep_for(id, 29).await;
    bench.at().renew(&claimed.lease).await.unwrap();
    assert_eq!(bench.types(id).await, ["queued", "started"]);
    bench.sweep_for(id, 31).await;
    assert_eq!(bench.types(id).await, ["queued", "started", "retrying"]);
    bench.at().cancel(id, &owner(), "enough").await.unwrap();
});

on_both!(an_end_takes_along_what_was_never_sent_and_what_may_be_written_only_once, bench, {
    for is_written in [false, true] {
        let id = bench.submit(&new_job()).await;
        let lease = bench.claim(id).await.lease;
        bench.at().append(&lease, Some(1), &[text("one")]).await.unwrap();
        let reports = ["two", "three", "four", "five"].map(text);
        if is_written {
            bench.at().append(&lease, Some(2), &reports[..2]).await.unwrap();
        }
        let last = LastReports { batch: Some(2), reports: &reports, sent: 2 };
        for _ in 0..2 {
            bench.at().end_with(&lease, &done(), last).await.unwrap();
        }
        // Late, on a connection that was given up.
        assert!(bench.at().append(&lease, Some(2), &reports[..2]).await.is_err());
        let told = bench.store.log(&id.into(), 0, 1 << 20).await.unwrap().unwrap().page;
        let bodies = told.entries.iter().map(|entry| entry.body.as_ref().unwrap());
        let outputs = bodies.filter(|body| &body.name[..] == b"output").map(|body| {
            let event: serde_json::Value = serde_json::from_slice(&body.json).unwrap();
            event["text"].as_str().unwrap().to_owned()
        });
        let outputs: Vec<_> = outputs.collect();
        assert_eq!(outputs, ["one", "two", "three", "four", "five"], "{is_written}");
    }
});

on_both!(a_dead_attempt_writes_nothing, bench, {
    let id = bench.submit(&new_job()).await;
    let dead = bench.claim(id).await.lease;
    bench.sweep(id).await;
    assert_eq!(bench.sweep_for(id, 31).await, 1, "its lease ran out");
    assert_eq!(bench.types(id).await, ["queued", "started", "retrying"]);
    let alive = bench.claim(id).await.lease;
    for lease in [dead, Lease { token: token(), ..dead }] {
        let lost = |outcome: Result<(), WorkError>| {
            assert!(matches!(outcome, Err(WorkError::LeaseLost)), "{outcome:?}");
        };
        lost(bench.at().append(&lease, Some(1), &[text("late")]).await.map(drop));
        lost(bench.at().renew(&lease).await.map(drop));
        lost(bench.at().end(&lease, &done(), None, &[]).await.map(drop));
        lost(bench.at().end(&lease, &retry("x"), None, &[]).await.map(drop));
        lost(bench.at().release(&lease).await.map(drop));
    }
    bench.at().end(&alive, &done(), None, &[]).await.unwrap();
    assert_eq!(bench.types(id).await, ["queued", "started", "retrying", "started", "completed"]);
});

on_both!(a_lease_lives_as_long_as_it_is_renewed, bench, {
    let id = bench.submit(&new_job()).await;
    let lease = bench.claim(id).await.lease;
    bench.sweep(id).await;
    for _ in 0..5 {
        assert_eq!(bench.sweep_for(id, 20).await, 0);
        bench.at().renew(&lease).await.unwrap();
    }
    // Until it is swept it can be renewed, even past its time.
    bench.pass(100);
    bench.at().renew(&lease).await.unwrap();
    // The sweeps stopped for so long: nobody is to blame for a missed heartbeat.
    assert_eq!(bench.sweep_for(id, 29).await, 0);
    bench.pass(60);
    assert_eq!(bench.sweep_for(id, 29).await, 0, "the same, though the lease has run out");
    assert_eq!(bench.sweep_for(id, 3).await, 1);
    let second = bench.claim(id).await.lease;
    assert_eq!(bench.sweep_for(id, 31).await, 1);
    assert_eq!(bench.status(id).await, Status::Failed, "no attempt is left");
    let job = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!(job.error_code, Some(ErrorCode::Lost));
    assert!(bench.at().renew(&second).await.is_err());
});

on_both!(time_limits_end_jobs, bench, {
    let short =
        NewJob { queue_timeout: Duration::from_secs(10), timeout: Duration::from_secs(20), ..new_job() };
    let unclaimed = bench.submit(&short).await;
    bench.pass(9);
    assert_eq!(bench.sweep(unclaimed).await, 0);
    bench.pass(1);
    assert_eq!(bench.sweep(unclaimed).await, 1);
    let store = bench.store.clone();
    let code = async |id| store.job(id).await.unwrap().unwrap().error_code;
    assert_eq!(code(unclaimed).await, Some(ErrorCode::Unclaimed));

    let slow = bench.submit(&short).await;
    let lease = bench.claim(slow).await.lease;
    bench.pass(20);
    assert_eq!(bench.sweep(slow).await, 1);
    assert_eq!(code(slow).await, Some(ErrorCode::Timeout));
    assert!(bench.at().end(&lease, &done(), None, &[]).await.is_err());

    let late = bench.submit(&NewJob { deadline: Duration::from_mins(1), ..new_job() }).await;
    let lease = bench.claim(late).await.lease;
    bench.at().end(&lease, &retry("x"), None, &[]).await.unwrap();
    bench.pass(60);
    assert!(bench.nothing_ready(late).await, "a claim doesn't start what is late");
    assert_eq!(code(late).await, Some(ErrorCode::Timeout));
});

on_both!(a_cancelled_job_has_ended_and_its_worker_hears_of_it, bench, {
    let queued = bench.submit(&new_job()).await;
    bench.at().cancel(queued, &owner(), "not wanted").await.unwrap();
    assert!(bench.nothing_ready(queued).await);
    assert_eq!(bench.types(queued).await, ["queued", "cancelled"]);

    let id = bench.submit(&new_job()).await;
    assert!(matches!(bench.at().cancel(id, &"other".parse().unwrap(), "x").await, Err(CancelError::Absent)));
    let lease = bench.claim(id).await.lease;
    bench.at().cancel(id, &owner(), "not \"wanted\"").await.unwrap();
    assert!(bench.at().renew(&lease).await.unwrap().cancelled);
    assert!(bench.at().append(&lease, Some(1), &[text("late")]).await.unwrap().cancelled);
    assert_eq!(
        bench.store.queue(id.partition(), &task()).await.unwrap().running,
        1,
        "its place is freed by its worker"
    );
    for _ in 0..2 {
        assert!(bench.at().end(&lease, &done(), None, &[]).await.unwrap().held.cancelled);
    }
    assert_eq!(bench.store.queue(id.partition(), &task()).await.unwrap().running, 0);
    assert_eq!(bench.types(id).await, ["queued", "started", "cancelled"]);
    let job = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!((job.error.as_deref(), job.error_code), (Some("not \"wanted\""), Some(ErrorCode::Cancelled)));
    // Where the worker has died the sweep frees the place.
    let id = bench.submit(&new_job()).await;
    bench.claim(id).await;
    bench.at().cancel(id, &owner(), "x").await.unwrap();
    bench.sweep_for(id, 31).await;
    assert_eq!(bench.store.queue(id.partition(), &task()).await.unwrap().running, 0);
});

on_both!(an_idempotency_key_makes_one_job, bench, {
    let with = |key: &str, print: &str| NewJob {
        idempotency: Some(Idempotency { key: key.into(), fingerprint: print.into() }),
        retention: Duration::from_millis(1),
        ..new_job()
    };
    let id = bench.submit(&with("k", "f")).await;
    assert_eq!(bench.at().submit(&with("k", "f")).await.unwrap(), Submitted::Replayed(id));
    assert!(
        matches!(bench.at().submit(&with("k", "g")).await, Err(SubmitError::Mismatch(first)) if first == id)
    );
    let other = bench.submit(&NewJob { owner: "other".parse().unwrap(), ..with("k", "f") }).await;
    assert_ne!(other, id, "each owner has its own keys");
    for job in [id, other] {
        let lease = bench.claim(job).await.lease;
        bench.at().end(&lease, &done(), None, &[]).await.unwrap();
    }
    testkit::eventually(Duration::from_mins(1), "the job has expired", async || {
        bench.store.job(id).await.unwrap().is_none()
    })
    .await;
    assert!(
        matches!(bench.at().submit(&with("k", "f")).await, Err(SubmitError::Expired(first)) if first == id)
    );
});

on_both!(owners_take_turns_and_one_owners_jobs_go_by_age, bench, {
    // All in one partition: those with the same key hash would be few, so this asks for one partition's jobs only.
    let mut first = Vec::new();
    for (owner, count) in [("a", 40), ("b", 40)] {
        for _ in 0..count {
            bench.pass(1);
            let id = bench.submit(&NewJob { owner: owner.parse().unwrap(), ..new_job() }).await;
            first.push((id, owner));
        }
    }
    let partition = first[0].0.partition();
    let mut claimed = Vec::new();
    while let Some(job) = bench.at().claim(partition, &[task().into()], token(), LEASE).await.unwrap() {
        claimed.push(job);
    }
    let here = first.iter().filter(|(id, _)| id.partition() == partition).count();
    assert_eq!(claimed.len(), here);
    for owner in ["a", "b"] {
        let ids = claimed.iter().filter(|job| job.owner.as_str() == owner).map(Claimed::job);
        let ages: Vec<_> = ids.map(|id| first.iter().position(|(other, _)| *other == id)).collect();
        assert!(ages.is_sorted(), "{owner} by age: {ages:?}");
    }
    let owners: Vec<_> = claimed.iter().map(|job| job.owner.as_str()).collect();
    let both =
        2 * owners.iter().filter(|o| **o == "a").count().min(owners.iter().filter(|o| **o == "b").count());
    assert!(owners[..both].windows(2).all(|pair| pair[0] != pair[1]), "{owners:?}");
    for (id, owner) in first {
        bench.at().cancel(id, &owner.parse().unwrap(), "enough").await.unwrap();
    }
    // The places of cancelled attempts are the sweep's to free.
    for n in 0..16 {
        for _ in 0..40 {
            bench.pass(1);
            let _ = bench.at().sweep(Partition(n), "test", &SWEEP).await.unwrap();
        }
    }
});

on_both!(logs_are_capped_by_count_and_by_bytes, bench, {
    let few = bench.submit(&NewJob { log_events: 5, ..new_job() }).await;
    let lease = bench.claim(few).await.lease;
    for batch in 1..=20 {
        bench.at().append(&lease, Some(batch), &[text("x")]).await.unwrap();
    }
    let page = bench.store.log(&few.into(), 0, 1 << 20).await.unwrap().unwrap().page;
    assert_eq!((page.entries.len(), page.first.unwrap().seq, page.last.seq), (5, 18, 22));
    bench.at().end(&lease, &done(), None, &[]).await.unwrap();
    let small = bench.submit(&NewJob { log_bytes: 2000, ..new_job() }).await;
    let lease = bench.claim(small).await.lease;
    for batch in 1..=20 {
        bench.at().append(&lease, Some(batch), &[text(&"y".repeat(300))]).await.unwrap();
    }
    let page = bench.store.log(&small.into(), 0, 1 << 20).await.unwrap().unwrap().page;
    assert!((2..=4).contains(&page.entries.len()), "{}", page.entries.len());
    // A page is bounded, gives at least one entry, and says the mark at the place asked for.
    let page = bench.store.log(&small.into(), 20, 1).await.unwrap().unwrap().page;
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.anchor, Some(page.entries[0].head.before));
    bench.at().end(&lease, &done(), None, &[]).await.unwrap();
});

on_both!(a_result_too_large_for_an_event_is_only_polled, bench, {
    let id = bench.submit(&new_job()).await;
    let lease = bench.claim(id).await.lease;
    let large = Json::of(&"r".repeat(70 * 1024)).unwrap();
    bench.at().end(&lease, &End::Completed(large.clone()), None, &[]).await.unwrap();
    let log = bench.store.log(&id.into(), 2, 1 << 20).await.unwrap().unwrap();
    let event = String::from_utf8(log.page.entries[0].body.clone().unwrap().json.to_vec()).unwrap();
    assert!(event.ends_with(",\"resultOmitted\":true}"), "{event}");
    assert_eq!(bench.store.job(id).await.unwrap().unwrap().result, Some(large));
});

on_both!(indexes_forget_what_has_expired, bench, {
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = bench.submit(&NewJob { retention: Duration::from_millis(1), ..new_job() }).await;
        let claimed = bench.claim(id).await;
        bench.at().end(&claimed.lease, &failed("x"), None, &[]).await.unwrap();
        ids.push(id);
    }
    for id in ids {
        testkit::eventually(Duration::from_mins(1), "it has expired", async || {
            bench.store.job(id).await.unwrap().is_none()
        })
        .await;
        bench.pass(1);
        bench.sweep(id).await;
    }
    let mut redis = bench.server.client().await;
    let left: Vec<_> = testkit::redis::dump(&mut redis).await.into_iter().map(|key| key.key).collect();
    let shed = |key: &String| {
        !["jobsof", "failedof", "expiry", "deadlines", "ready", "running", "job:"]
            .iter()
            .any(|name| key.contains(&format!("}}:{name}")))
    };
    assert!(left.iter().all(shed), "{left:?}");
});

#[tokio::test]
async fn only_one_sweeps_and_another_takes_over() {
    let bench = Bench::start(false).await;
    let partition = Partition(0);
    let sweep = async |now: u64, holder: &str| {
        bench.store.at(Timestamp::from_millis(now)).sweep(partition, holder, &SWEEP).await.unwrap()
    };
    assert_eq!(sweep(T0, "a").await, Swept::Changed(0));
    assert!(matches!(sweep(T0 + 1000, "b").await, Swept::Held(_)));
    assert_eq!(sweep(T0 + 3001, "b").await, Swept::Changed(0));
    assert!(matches!(sweep(T0 + 3002, "a").await, Swept::Held(_)));
    // A clock that jumped back holds nobody up for long.
    assert_eq!(sweep(T0 - 60_000, "a").await, Swept::Changed(0));
}
