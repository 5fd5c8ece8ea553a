//! Deleting what is kept of an ended job, against a real Redis.

use model::{RunLimits, Status};
use store::{DeleteError, Idempotency, NewJob, SubmitError, WorkError};

use crate::bench::{self, Bench, done, failed, new_job, owner, text};

/// The keys that name `what`, without their prefix.
async fn naming(bench: &Bench, what: &str) -> Vec<String> {
    let keys = testkit::redis::dump(&mut bench.server.client().await).await;
    let names = keys.iter().filter(|info| info.key.contains(what) || format!("{info:?}").contains(what));
    names.map(|info| info.key.rsplit_once("}:").unwrap().1.to_owned()).collect()
}

on_both!(nothing_is_left_but_what_says_that_it_is_gone, bench, {
    let idempotency = Some(Idempotency { key: "k".into(), fingerprint: "f".into() });
    let keyed = NewJob { idempotency, ..new_job() };
    let id = bench.submit(&keyed).await;
    let living = async |status| match bench.store.delete(id, &owner()).await {
        Err(DeleteError::Living(found)) => assert_eq!(found, status),
        other => panic!("{other:?}"),
    };
    living(Status::Pending).await;
    let claimed = bench.claim(id).await;
    living(Status::Processing).await;
    bench.at().append(&claimed.lease, Some(1), &[text("one")]).await.unwrap();
    bench.at().end(&claimed.lease, &failed("x"), None, &[]).await.unwrap();
    let stranger = "stranger".parse().unwrap();
    assert!(matches!(bench.store.delete(id, &stranger).await, Err(DeleteError::Absent)));
    assert_eq!(bench.status(id).await, Status::Failed);

    bench.store.delete(id, &owner()).await.unwrap();
    assert!(bench.store.job(id).await.unwrap().is_none());
    assert!(bench.store.log(&id.into(), 0, 1 << 20).await.unwrap().is_none());
    assert!(matches!(bench.store.delete(id, &owner()).await, Err(DeleteError::Absent)), "told once");
    let left = naming(&bench, &id.to_string()).await;
    assert!(
        left.iter().all(|key| ["deleted:", "claim:"].iter().any(|name| key.starts_with(name))),
        "{left:?}"
    );
    // The sweep has nothing to shed.
    assert_eq!(bench.sweep(id).await, 0);
    assert!(matches!(bench.at().submit(&keyed).await, Err(SubmitError::Expired(gone)) if gone == id));
    assert!(matches!(bench.at().end(&claimed.lease, &done(), None, &[]).await, Err(WorkError::LeaseLost)));
});

on_both!(a_cancelled_attempt_that_still_runs_gives_its_place_back, bench, {
    let limits = RunLimits { fleet: Some(1), per_owner: Some(1) };
    let limited = store::Claimable { task: bench::task(), limits };
    let job = NewJob { limits, ..new_job() };
    let (id, next) = (bench.submit(&job).await, bench.submit(&job).await);
    let claim = async || {
        let lease = bench::LEASE;
        bench.at().claim(id.partition(), std::slice::from_ref(&limited), bench::token(), lease).await.unwrap()
    };
    let first = claim().await.unwrap();
    let (first_id, other) = if first.job() == id { (id, next) } else { (next, id) };
    bench.store.cancel(first_id, &owner(), "x").await.unwrap();
    assert!(claim().await.is_none(), "it may run on");
    bench.store.delete(first_id, &owner()).await.unwrap();
    let second = claim().await.unwrap();
    assert_eq!(second.job(), other);
    assert!(matches!(bench.at().renew(&first.lease).await, Err(WorkError::LeaseLost)));
    bench.at().end(&second.lease, &done(), None, &[]).await.unwrap();
});
