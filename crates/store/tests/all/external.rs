//! External jobs: nobody claims them, the first report starts the one attempt, and whatever ends it is the end.

use std::time::Duration;

use model::{ErrorCode, JobId, RunLimits, Status, Timestamp};
use store::{
    CancelError, Claimable, EndLabels, External, Idempotency, Lease, NewJob, SubmitError, Submitted,
    WorkError,
};

use crate::bench::{Bench, LEASE, done, failed, new_job, owner, retry, task, text, token};

/// Longer than a worker's, so that it shows which of them holds.
const OWN: Duration = Duration::from_mins(2);

fn external_job() -> NewJob {
    NewJob { external: Some(External { token: token(), lease: OWN }), ..new_job() }
}

/// What a gateway makes of a call with the job's token: it knows a worker's lease, and not the job's own.
fn lease(id: JobId, job: &NewJob) -> Lease {
    Lease { job: id, token: job.external.unwrap().token, duration: LEASE }
}

/// In which of the three sets a living job is; it must be exactly one.
async fn place(bench: &Bench, id: JobId) -> String {
    let mut redis = bench.server.client().await;
    let mut found = Vec::new();
    for info in testkit::redis::dump(&mut redis).await {
        let Some((_, name)) = info.key.rsplit_once("}:") else { continue };
        let kind = name.split(':').next().unwrap();
        if !["readyof", "later", "running"].contains(&kind) {
            continue;
        }
        let score: Option<f64> = testkit::redis::cmd("ZSCORE")
            .arg(&info.key)
            .arg(id.to_string())
            .query_async(&mut redis)
            .await
            .unwrap();
        if score.is_some() {
            found.push(kind.to_owned());
        }
    }
    assert!(found.len() <= 1, "{id} is in {found:?}");
    found.pop().unwrap_or_default()
}

async fn code(bench: &Bench, id: JobId) -> Option<ErrorCode> {
    bench.store.job(id).await.unwrap().unwrap().error_code
}

fn lost(outcome: Result<(), WorkError>) {
    assert!(matches!(outcome, Err(WorkError::LeaseLost)), "{outcome:?}");
}

on_both!(it_waits_for_its_first_report_and_no_worker_takes_it, bench, {
    let job = external_job();
    let id = bench.submit(&job).await;
    assert_eq!(bench.store.external_token(id).await.unwrap(), Some(lease(id, &job).token));
    assert!(bench.nothing_ready(id).await);
    // However often its time in `later` may come, it stays there.
    assert_eq!(bench.sweep_for(id, 300).await, 0);
    assert!(bench.nothing_ready(id).await);
    assert_eq!((bench.status(id).await, place(&bench, id).await.as_str()), (Status::Pending, "later"));
    let queue = bench.store.queue(id.partition(), &task()).await.unwrap();
    assert_eq!((queue.ready, queue.running), (0, 0));

    let held = bench.at().append(&lease(id, &job), Some(1), &[text("one")]).await.unwrap();
    assert_eq!((held.expires_at.as_millis(), held.cancelled), (bench.now + 120_000, false));
    assert_eq!(place(&bench, id).await, "running");
    let told = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!((told.status, told.attempt, told.max_attempts), (Status::Processing, 1, 1));
    assert_eq!(told.started_at, Some(Timestamp::from_millis(bench.now)));
    assert!(bench.nothing_ready(id).await);
    let ended = bench.at().end(&lease(id, &job), &done(), Some(2), &[]).await.unwrap();
    assert_eq!(ended.status, Some(Status::Completed));
    assert_eq!(place(&bench, id).await, "");
    assert_eq!(bench.types(id).await, ["queued", "started", "output", "completed"]);
});

on_both!(any_report_may_be_the_first_and_a_repeat_is_harmless, bench, {
    let mut jobs = Vec::new();
    for _ in 0..5 {
        let job = external_job();
        jobs.push(lease(bench.submit(&job).await, &job));
    }
    let [heartbeat, output, complete, fail, retried] = jobs[..] else { unreachable!() };
    for _ in 0..2 {
        let held = bench.at().renew(&heartbeat).await.unwrap();
        assert_eq!((held.expires_at.as_millis(), held.cancelled), (bench.now + 120_000, false));
        bench.at().append(&output, Some(1), &[text("one")]).await.unwrap();
        bench.at().end(&complete, &done(), Some(1), &[text("last")]).await.unwrap();
        bench.at().end(&fail, &failed("no"), Some(1), &[]).await.unwrap();
        bench.at().end(&retried, &retry("no"), None, &[]).await.unwrap();
    }
    // Batches count from 1, as in an attempt that was claimed.
    assert!(matches!(bench.at().append(&heartbeat, Some(2), &[text("x")]).await, Err(WorkError::BatchGap)));
    bench.at().append(&heartbeat, Some(1), &[text("x")]).await.unwrap();
    bench.at().end(&heartbeat, &done(), None, &[]).await.unwrap();
    bench.at().end(&output, &done(), Some(2), &[]).await.unwrap();
    for (id, types) in [
        (heartbeat.job, &["queued", "started", "output", "completed"][..]),
        (output.job, &["queued", "started", "output", "completed"]),
        (complete.job, &["queued", "started", "output", "completed"]),
        (fail.job, &["queued", "started", "failed"]),
        // Nobody here could start another attempt.
        (retried.job, &["queued", "started", "failed"]),
    ] {
        assert_eq!(bench.types(id).await, types);
        assert_eq!(bench.store.job(id).await.unwrap().unwrap().attempt, 1);
    }
    assert_eq!(code(&bench, retried.job).await, Some(ErrorCode::Handler));
});

on_both!(two_first_reports_start_one_attempt, bench, {
    for _ in 0..10 {
        let job = external_job();
        let id = bench.submit(&job).await;
        let lease = lease(id, &job);
        let store = bench.at();
        let reports = [text("once")];
        let (a, b, c) =
            tokio::join!(store.renew(&lease), store.append(&lease, Some(1), &reports), store.renew(&lease));
        assert!(!(a.unwrap().cancelled || b.unwrap().cancelled || c.unwrap().cancelled));
        assert_eq!(bench.types(id).await, ["queued", "started", "output"]);
        assert_eq!(place(&bench, id).await, "running");
        store.end(&lease, &done(), None, &[]).await.unwrap();
        assert_eq!(bench.store.queue(id.partition(), &task()).await.unwrap().running, 0);
    }
});

on_both!(no_report_in_time_is_the_end, bench, {
    let job = NewJob { queue_timeout: Duration::from_secs(10), ..external_job() };
    let (swept, late) = (bench.submit(&job).await, {
        let other = NewJob { external: external_job().external, ..job.clone() };
        (bench.submit(&other).await, other)
    });
    assert_eq!(bench.sweep_for(swept, 9).await, 0);
    bench.pass(1);
    // Whoever comes first finds it: the report itself, or the sweep.
    lost(bench.at().renew(&lease(late.0, &late.1)).await.map(drop));
    bench.sweep(swept).await;
    for id in [swept, late.0] {
        assert_eq!(bench.types(id).await, ["queued", "failed"]);
        assert_eq!(code(&bench, id).await, Some(ErrorCode::Unclaimed));
        let error = bench.store.job(id).await.unwrap().unwrap().error.unwrap();
        assert_eq!(error, "nothing was reported of the job within 10 s (queueTimeout)");
        assert_eq!(place(&bench, id).await, "");
    }
    let labels = EndLabels { status: Status::Failed.as_str(), code: ErrorCode::Unclaimed.as_str() };
    assert_eq!(bench.store.counters().ends.get_or_create(&labels).get(), 2, "each is counted");
    lost(bench.at().append(&lease(swept, &job), Some(1), &[text("late")]).await.map(drop));
    lost(bench.at().end(&lease(swept, &job), &done(), None, &[]).await.map(drop));
});

on_both!(a_lost_lease_is_the_end, bench, {
    let job = external_job();
    let id = bench.submit(&job).await;
    bench.at().renew(&lease(id, &job)).await.unwrap();
    bench.sweep(id).await;
    // Its own lease holds, also after a call that knew only of a worker's.
    assert_eq!(bench.sweep_for(id, 100).await, 0);
    bench.at().append(&lease(id, &job), Some(1), &[text("one")]).await.unwrap();
    assert_eq!(bench.sweep_for(id, 119).await, 0);
    assert_eq!(bench.sweep_for(id, 2).await, 1);
    assert_eq!(bench.types(id).await, ["queued", "started", "output", "failed"]);
    assert_eq!(code(&bench, id).await, Some(ErrorCode::Lost));
    assert_eq!(place(&bench, id).await, "");
    assert!(bench.nothing_ready(id).await);
    lost(bench.at().renew(&lease(id, &job)).await.map(drop));
    lost(bench.at().end(&lease(id, &job), &done(), None, &[]).await.map(drop));
});

on_both!(the_token_is_good_until_the_deadline, bench, {
    let job = NewJob {
        deadline: Duration::from_mins(30),
        queue_timeout: Duration::from_mins(30),
        ..external_job()
    };
    let id = bench.submit(&job).await;
    assert_eq!(bench.sweep_for(id, 1000).await, 0);
    bench.at().renew(&lease(id, &job)).await.unwrap();
    for _ in 0..7 {
        assert_eq!(bench.sweep_for(id, 100).await, 0);
        bench.at().renew(&lease(id, &job)).await.unwrap();
    }
    assert_eq!(bench.sweep_for(id, 99).await, 0);
    assert_eq!(bench.sweep_for(id, 1).await, 1);
    assert_eq!(code(&bench, id).await, Some(ErrorCode::Timeout));
    lost(bench.at().renew(&lease(id, &job)).await.map(drop));
    // A limit on the attempt counts from the first report on.
    let job = NewJob { timeout: Duration::from_secs(20), ..external_job() };
    let id = bench.submit(&job).await;
    assert_eq!(bench.sweep_for(id, 30).await, 0);
    bench.at().renew(&lease(id, &job)).await.unwrap();
    assert_eq!(bench.sweep_for(id, 19).await, 0);
    assert_eq!(bench.sweep_for(id, 1).await, 1);
    assert_eq!(code(&bench, id).await, Some(ErrorCode::Timeout));
});

on_both!(a_cancelled_one_tells_its_reporter, bench, {
    for reports in [0, 1] {
        let job = external_job();
        let id = bench.submit(&job).await;
        let lease = lease(id, &job);
        for _ in 0..reports {
            bench.at().renew(&lease).await.unwrap();
        }
        bench.at().cancel(id, &owner(), "not wanted").await.unwrap();
        assert!(matches!(bench.at().cancel(id, &owner(), "x").await, Err(CancelError::Terminal(_))));
        // Its running place, if it has one, is freed by whoever stops working.
        assert_eq!(place(&bench, id).await, if reports == 0 { "" } else { "running" });
        let held = bench.at().renew(&lease).await.unwrap();
        assert!(held.cancelled);
        assert!(held.expires_at.as_millis() > bench.now, "{held:?}");
        assert!(bench.at().append(&lease, Some(1), &[text("late")]).await.unwrap().cancelled);
        for _ in 0..2 {
            assert!(bench.at().end(&lease, &done(), None, &[]).await.unwrap().held.cancelled);
            assert!(bench.at().release(&lease).await.unwrap().cancelled);
        }
        assert_eq!(place(&bench, id).await, "");
        let started = ["queued", "started", "cancelled"];
        let expected = if reports == 0 { &["queued", "cancelled"][..] } else { &started };
        assert_eq!(bench.types(id).await, expected);
    }
});

on_both!(it_can_not_be_given_back, bench, {
    let job = external_job();
    let id = bench.submit(&job).await;
    let lease = lease(id, &job);
    let refused = async |bench: &Bench| {
        let outcome = bench.at().release(&lease).await;
        assert!(matches!(outcome, Err(WorkError::External)), "{outcome:?}");
    };
    refused(&bench).await;
    assert_eq!((bench.status(id).await, place(&bench, id).await.as_str()), (Status::Pending, "later"));
    bench.at().renew(&lease).await.unwrap();
    refused(&bench).await;
    lost(bench.at().release(&Lease { token: token(), ..lease }).await.map(drop));
    bench.at().end(&lease, &done(), None, &[]).await.unwrap();
    assert_eq!(bench.types(id).await, ["queued", "started", "completed"]);
});

on_both!(another_token_writes_nothing, bench, {
    let job = external_job();
    let id = bench.submit(&job).await;
    for _ in 0..2 {
        let stranger = Lease { token: token(), ..lease(id, &job) };
        lost(bench.at().renew(&stranger).await.map(drop));
        lost(bench.at().append(&stranger, Some(1), &[text("x")]).await.map(drop));
        lost(bench.at().end(&stranger, &done(), None, &[]).await.map(drop));
        bench.at().renew(&lease(id, &job)).await.unwrap();
    }
    bench.at().end(&lease(id, &job), &done(), None, &[]).await.unwrap();
    assert_eq!(bench.types(id).await, ["queued", "started", "completed"]);
});

on_both!(the_same_key_finds_the_same_token, bench, {
    let with = |print: &str| NewJob {
        idempotency: Some(Idempotency { key: "k".into(), fingerprint: print.into() }),
        ..external_job()
    };
    let first = with("f");
    let id = bench.submit(&first).await;
    let again = with("f");
    assert_ne!(first.external, again.external, "each submission brings a token of its own");
    assert_eq!(bench.at().submit(&again).await.unwrap(), Submitted::Replayed(id));
    let token = first.external.map(|external| external.token);
    assert_eq!(bench.store.external_token(id).await.unwrap(), token);
    lost(bench.at().renew(&lease(id, &again)).await.map(drop));
    assert!(matches!(bench.at().submit(&with("g")).await, Err(SubmitError::Mismatch(_))));
    // Also when it runs, and when it has ended.
    bench.at().renew(&lease(id, &first)).await.unwrap();
    assert_eq!(bench.store.external_token(id).await.unwrap(), token);
    bench.at().end(&lease(id, &first), &done(), None, &[]).await.unwrap();
    assert_eq!(bench.at().submit(&with("f")).await.unwrap(), Submitted::Replayed(id));
    assert_eq!(bench.store.external_token(id).await.unwrap(), token);

    let usual = bench.submit(&new_job()).await;
    assert_eq!(bench.store.external_token(usual).await.unwrap(), None);
    bench.at().cancel(usual, &owner(), "enough").await.unwrap();
});

on_both!(a_running_one_takes_a_place_and_frees_it, bench, {
    let limits = RunLimits { per_owner: Some(1), ..RunLimits::default() };
    let job = NewJob { limits, ..external_job() };
    let id = bench.submit(&job).await;
    bench.at().renew(&lease(id, &job)).await.unwrap();
    let queue = bench.store.queue(id.partition(), &task()).await.unwrap();
    assert_eq!((queue.ready, queue.running), (0, 1));
    bench.at().end(&lease(id, &job), &done(), None, &[]).await.unwrap();
    let queue = bench.store.queue(id.partition(), &task()).await.unwrap();
    assert_eq!((queue.ready, queue.running), (0, 0));
});

on_both!(whoever_waits_for_its_place_is_woken, bench, {
    let limits = RunLimits { fleet: Some(1), per_owner: None };
    let claimable = [Claimable { task: task(), limits }];
    let job = NewJob { limits, ..external_job() };
    for how in ["it ends", "it was cancelled and its reporter hears of it"] {
        let id = bench.submit(&NewJob { external: external_job().external, ..job.clone() }).await;
        let held =
            Lease { job: id, token: bench.store.external_token(id).await.unwrap().unwrap(), duration: LEASE };
        bench.at().renew(&held).await.unwrap();
        bench.submit(&NewJob { limits, ..new_job() }).await;
        let claim = async || bench.at().claim(id.partition(), &claimable, token(), LEASE).await.unwrap();
        assert!(claim().await.is_none(), "the only place is taken");
        while bench.rings(id.partition()).await {}
        if how == "it ends" {
            bench.at().end(&held, &done(), None, &[]).await.unwrap();
        } else {
            bench.at().cancel(id, &owner(), "enough").await.unwrap();
            assert!(!bench.rings(id.partition()).await, "until then it has its place");
            bench.at().end(&held, &done(), None, &[]).await.unwrap();
        }
        assert!(bench.rings(id.partition()).await, "{how}: without a sweep");
        let next = claim().await.unwrap();
        bench.at().end(&next.lease, &done(), None, &[]).await.unwrap();
    }
});
