//! Jobs that are cancelled when nobody follows them, against a real Redis, in stepped time.

use std::time::Duration;

use model::{ErrorCode, JobId, RunLimits, Status};
use store::NewJob;

use crate::bench::{self, Bench, done, new_job, owner, retry};

const WITHIN: Duration = Duration::from_secs(10);

/// All in one partition, whose sweep has gone on for long enough that nobody needs time to come back.
fn job() -> NewJob {
    let limits = RunLimits { fleet: Some(1), per_owner: None };
    NewJob { cancel_on_disconnect: Some(WITHIN), limits, ..new_job() }
}

/// A partition that has been swept for a while.
async fn swept(bench: &mut Bench) {
    let other = bench.submit(&NewJob { cancel_on_disconnect: None, ..job() }).await;
    bench.store.cancel(other, &owner(), "x").await.unwrap();
    bench.sweep_for(other, 31).await;
}

async fn why(bench: &Bench, id: JobId) -> (Status, Option<ErrorCode>, String) {
    let job = bench.store.job(id).await.unwrap().unwrap();
    (job.status, job.error_code, job.error.unwrap_or_default())
}

on_both!(it_is_cancelled_when_nobody_has_followed_it_for_so_long, bench, {
    swept(&mut bench).await;
    let id = bench.submit(&job()).await;
    assert_eq!(bench.store.job(id).await.unwrap().unwrap().cancel_on_disconnect, Some(WITHIN));
    assert_eq!(bench.store.peek(id).await.unwrap().unwrap().cancel_on_disconnect, Some(WITHIN));
    assert_eq!(bench.sweep_for(id, 9).await, 0);
    // Somebody asks; then somebody follows, and goes on for 3 s at least.
    assert!(bench.at().followed(id, Duration::ZERO).await.unwrap());
    assert_eq!(bench.sweep_for(id, 9).await, 0);
    assert!(bench.at().followed(id, Duration::from_secs(3)).await.unwrap());
    assert!(bench.at().followed(id, Duration::ZERO).await.unwrap(), "another one, for less long");
    let claimed =
        bench.at().claim(id.partition(), &[bench::task().into()], bench::token(), bench::LEASE).await;
    let claimed = claimed.unwrap().unwrap();
    assert!(claimed.time_left > Duration::from_mins(50), "it bounds no attempt: {:?}", claimed.time_left);
    assert_eq!(bench.sweep_for(id, 12).await, 0);
    assert_eq!(bench.sweep_for(id, 1).await, 1);
    let says = "nobody followed the job for 10 s (cancelOnDisconnect)".to_owned();
    assert_eq!(why(&bench, id).await, (Status::Cancelled, Some(ErrorCode::Cancelled), says));
    assert_eq!(bench.types(id).await, ["queued", "started", "cancelled"]);
    assert!(bench.at().renew(&claimed.lease).await.unwrap().cancelled, "the attempt hears of it");
    bench.at().end(&claimed.lease, &done(), None, &[]).await.unwrap();
    assert_eq!(bench.sweep_for(id, 30).await, 0);
    assert!(!bench.at().followed(id, Duration::ZERO).await.unwrap());
});

on_both!(it_ends_in_any_other_way_too, bench, {
    swept(&mut bench).await;
    let id = bench.submit(&job()).await;
    let first = bench.claim(id).await;
    bench.at().end(&first.lease, &retry("x"), None, &[]).await.unwrap();
    let second = bench.claim(id).await;
    bench.at().end(&second.lease, &done(), None, &[]).await.unwrap();
    assert_eq!(bench.sweep_for(id, 30).await, 0);
    assert_eq!(bench.types(id).await, ["queued", "started", "retrying", "started", "completed"]);

    let without = bench.submit(&NewJob { cancel_on_disconnect: None, ..job() }).await;
    assert!(!bench.at().followed(without, Duration::ZERO).await.unwrap(), "makes no difference");
    assert_eq!(bench.sweep_for(without, 60).await, 0);
    let late = bench.submit(&NewJob { delay: Duration::from_mins(1), ..job() }).await;
    bench.sweep_for(late, 10).await;
    assert_eq!(why(&bench, late).await.0, Status::Cancelled, "delayed or not");
    bench.store.cancel(without, &owner(), "x").await.unwrap();
    bench.store.delete(late, &owner()).await.unwrap();
    assert!(!bench.at().followed(late, Duration::ZERO).await.unwrap());
});

on_both!(after_a_break_its_followers_have_time_to_come_back, bench, {
    swept(&mut bench).await;
    let id = bench.submit(&job()).await;
    bench.sweep_for(id, 5).await;
    // Nobody could say anything for a minute.
    bench.pass(60);
    assert_eq!(bench.sweep(id).await, 0);
    assert_eq!(bench.sweep_for(id, 9).await, 0);
    assert!(bench.at().followed(id, Duration::ZERO).await.unwrap());
    assert_eq!(bench.sweep_for(id, 9).await, 0);
    assert_eq!(bench.sweep_for(id, 1).await, 1);
    assert_eq!(bench.status(id).await, Status::Cancelled);
});
