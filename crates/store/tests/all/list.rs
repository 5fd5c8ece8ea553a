//! An owner's jobs as a list, against a real Redis: newest first, page by page, whatever partition they live in.

use model::{JobId, Json, Owner, Status};
use store::{End, ListQuery, Listed, NewJob};
use testkit::redis::cmd;

use crate::bench::{Bench, done, failed, new_job, owner};

fn all(limit: usize) -> ListQuery {
    ListQuery { owner: owner(), status: None, task: None, after: None, limit }
}

fn of(status: Status, limit: usize) -> ListQuery {
    ListQuery { status: Some(status), ..all(limit) }
}

fn ids(listed: &Listed) -> Vec<JobId> {
    listed.jobs.iter().map(|job| job.id).collect()
}

/// All pages of `query`, one after the other.
async fn pages(bench: &Bench, query: &ListQuery) -> Vec<Vec<JobId>> {
    let (mut pages, mut query) = (Vec::new(), query.clone());
    loop {
        let listed = bench.store.list(&query).await.unwrap();
        pages.push(ids(&listed));
        let Some(next) = listed.next else { return pages };
        assert!(query.after.is_none_or(|before| next < before), "it goes on");
        query.after = Some(next);
    }
}

/// So many jobs like `job`, the newest first.
async fn submit(bench: &Bench, count: usize, job: &NewJob) -> Vec<JobId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(bench.submit(job).await);
    }
    ids.sort_unstable();
    ids.reverse();
    ids
}

/// Ends the next job of the partition of `id`, which is `id` where it is the only one.
async fn end(bench: &Bench, id: JobId, end: &End) -> JobId {
    let claimed = bench.claim(id).await;
    bench.at().end(&claimed.lease, end, None, &[]).await.unwrap();
    claimed.job()
}

on_both!(every_page_goes_on_where_the_one_before_ended, bench, {
    let made = submit(&bench, 250, &new_job()).await;
    for (limit, sizes) in [
        (1000, vec![250]),
        (250, vec![250]),
        (249, vec![249, 1]),
        (100, vec![100, 100, 50]),
        (125, vec![125, 125]),
    ] {
        let pages = pages(&bench, &all(limit)).await;
        assert_eq!(pages.concat(), made, "{limit}");
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{limit}");
    }
    assert_eq!(pages(&bench, &all(1)).await.len(), 250);
    // A place in the list is one also when its job is gone, or never was.
    let after = ListQuery { after: Some(made[99]), ..all(1000) };
    bench.store.cancel(made[99], &owner(), "x").await.unwrap();
    bench.store.delete(made[99], &owner()).await.unwrap();
    assert_eq!(pages(&bench, &after).await.concat(), made[100..]);
    let nobody = ListQuery { owner: "nobody".parse().unwrap(), ..all(10) };
    assert_eq!(bench.store.list(&nobody).await.unwrap(), Listed { jobs: vec![], next: None });
    for &id in made.iter().filter(|&&id| id != made[99]) {
        bench.store.cancel(id, &owner(), "x").await.unwrap();
    }
});

on_both!(filters_pass_what_they_name, bench, {
    let other = NewJob { task: "other".parse().unwrap(), ..new_job() };
    let stranger: Owner = "stranger".parse().unwrap();
    submit(&bench, 5, &NewJob { owner: stranger.clone(), ..new_job() }).await;
    let others = submit(&bench, 20, &other).await;
    let made = submit(&bench, 60, &new_job()).await;
    let (mut failures, mut completions) = (Vec::new(), Vec::new());
    for (n, &id) in made[..30].iter().enumerate() {
        if n % 3 == 0 {
            failures.push(end(&bench, id, &failed("x")).await);
        } else {
            completions.push(end(&bench, id, &done()).await);
        }
    }
    let mine = |mut ids: Vec<JobId>| {
        ids.sort_unstable();
        ids.reverse();
        ids
    };
    // Claims take owners in turn, so some of the stranger's may have ended in place of ours.
    let of_ours = async |ids: Vec<JobId>| {
        let mut ours = Vec::new();
        for id in ids {
            if bench.store.job(id).await.unwrap().unwrap().owner == owner() {
                ours.push(id);
            }
        }
        mine(ours)
    };
    let (failures, completions) = (of_ours(failures).await, of_ours(completions).await);
    for limit in [1, 7, 1000] {
        assert_eq!(pages(&bench, &of(Status::Failed, limit)).await.concat(), failures);
        assert_eq!(pages(&bench, &of(Status::Completed, limit)).await.concat(), completions);
        assert!(pages(&bench, &of(Status::Cancelled, limit)).await.concat().is_empty());
        let task = ListQuery { task: Some("other".parse().unwrap()), ..all(limit) };
        assert_eq!(pages(&bench, &task).await.concat(), others);
        let both = ListQuery { status: Some(Status::Failed), ..task };
        assert!(pages(&bench, &both).await.concat().is_empty());
    }
    for query in [all(1000), ListQuery { owner: stranger.clone(), ..all(1000) }] {
        for id in pages(&bench, &query).await.concat() {
            let _ = bench.store.cancel(id, &query.owner, "x").await;
        }
    }
});

on_both!(a_page_looks_at_a_thousand_jobs_and_no_more, bench, {
    let made = submit(&bench, 1050, &new_job()).await;
    let oldest = *made.last().unwrap();
    bench.store.cancel(oldest, &owner(), "x").await.unwrap();
    let first = bench.store.list(&of(Status::Cancelled, 1)).await.unwrap();
    assert_eq!(first, Listed { jobs: vec![], next: Some(made[999]) });
    let second =
        bench.store.list(&ListQuery { after: first.next, ..of(Status::Cancelled, 1) }).await.unwrap();
    assert_eq!((ids(&second), second.next), (vec![oldest], None));
    // What Redis has forgotten and no sweep has shed yet is passed over.
    let keys = testkit::redis::dump(&mut bench.server.client().await).await;
    let key = |id: JobId| {
        let key = keys.iter().find(|info| info.key.ends_with(&format!("}}:job:{id}"))).unwrap();
        key.key.clone()
    };
    for &id in &made[..1049] {
        bench.store.cancel(id, &owner(), "x").await.unwrap();
    }
    for &id in &made[..3] {
        let mut redis = bench.server.client().await;
        cmd("DEL").arg(key(id)).exec_async(&mut redis).await.unwrap();
    }
    assert_eq!(ids(&bench.store.list(&all(2)).await.unwrap()), made[3..5]);
    assert_eq!(pages(&bench, &of(Status::Cancelled, 500)).await.concat(), made[3..]);
});

on_both!(large_results_make_a_page_short, bench, {
    let large = End::Completed(Json::of(&"x".repeat(3 << 20)).unwrap());
    let mut made = submit(&bench, 6, &new_job()).await;
    for &id in &made {
        end(&bench, id, &large).await;
    }
    let sizes: Vec<_> = pages(&bench, &all(100)).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2, 2]);
    made.truncate(3);
    let huge = End::Completed(Json::of(&"x".repeat(9 << 20)).unwrap());
    let newest = submit(&bench, 1, &new_job()).await[0];
    end(&bench, newest, &huge).await;
    let first = bench.store.list(&all(100)).await.unwrap();
    assert_eq!((ids(&first), first.next), (vec![newest], Some(newest)), "one is in every page");
});
