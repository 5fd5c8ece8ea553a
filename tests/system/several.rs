//! Several jobs on one stream: each job's events once and in order, resumable anywhere, over with the last job.

use std::collections::BTreeMap;
use std::time::Duration;

use model::JobId;
use serde_json::{Value, json};
use testkit::sse::{Event, FollowOptions, SseStream, follow};
use whole::{Client, Remote, SOON, System, data};

fn path(jobs: &[JobId]) -> String {
    let list: Vec<_> = jobs.iter().map(|job| format!("job={job}")).collect();
    format!("/api/events?{}", list.join("&"))
}

async fn system() -> System {
    System::builder().gateways(2).workers(0).store("partitions = 4").start().await
}

/// Jobs of the task `remote`, which the test works at itself.
async fn running(client: &Client, count: usize) -> Vec<Remote> {
    let mut workers = Vec::new();
    for _ in 0..count {
        client.submit("remote", Value::Null).await;
        workers.push(Remote::claim(client, "remote").await);
    }
    workers
}

fn jobs(workers: &[Remote]) -> Vec<JobId> {
    workers.iter().map(Remote::job).collect()
}

/// What was told of each job, ids left out: those of a stream of several jobs are its own.
fn by_job(events: &[Event]) -> BTreeMap<String, Vec<(String, String)>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for event in events {
        let job = data(event)["jobId"].as_str().unwrap().to_owned();
        all.entry(job).or_default().push((event.event.clone(), event.data.clone()));
    }
    all
}

/// The same, as each job's own stream tells it.
async fn each(client: &Client, jobs: &[JobId]) -> BTreeMap<String, Vec<(String, String)>> {
    let mut all = Vec::new();
    for &job in jobs {
        all.extend(client.events(job).await);
    }
    by_job(&all)
}

async fn after(client: &Client, path: &str, cursor: &str) -> (u16, Vec<Event>) {
    let mut stream = SseStream::builder(client.url(path)).last_event_id(cursor).open().await;
    (stream.status().as_u16(), stream.collect_to_end(SOON).await)
}

#[tokio::test]
async fn all_jobs_are_told_to_their_ends_and_every_id_resumes() {
    let system = system().await;
    let (a, b) = (system.client(0), system.client(1));
    let workers = running(a, 3).await;
    let jobs = jobs(&workers);
    let mut stream = SseStream::open(&b.url(&path(&jobs))).await;
    for n in 1..=4 {
        for worker in &workers {
            worker.output(n).await;
        }
    }
    workers[1].must("fail", json!({ "error": "no more" })).await;
    workers[0].output(5).await;
    workers[2].must("complete", json!({ "result": 2 })).await;
    workers[0].complete(1).await;
    let seen = stream.collect_to_end(SOON).await;
    let truth = each(a, &jobs).await;
    assert_eq!(by_job(&seen), truth);

    let path = path(&jobs);
    for (n, event) in (1..).zip(&seen) {
        let id = event.id.as_deref().unwrap();
        let (status, rest) = after(if n % 2 == 0 { a } else { b }, &path, id).await;
        let whole: Vec<_> = seen[..n].iter().cloned().chain(rest).collect();
        assert_eq!(by_job(&whole), truth, "after {n} of {}", seen.len());
        assert_eq!(status, if n == seen.len() { 204 } else { 200 });
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn who_reconnects_all_the_time_loses_and_repeats_nothing() {
    let settings =
        "[stream]\nmax_age = \"1s\"\nheartbeat = \"100ms\"\nheartbeat_jitter = \"20ms\"\nretry = \"100ms\"";
    let system =
        System::builder().gateways(2).workers(2).store("partitions = 4").settings(settings).start().await;
    let client = system.client(0);
    let mut jobs = Vec::new();
    for _ in 0..6 {
        // Long enough for many visits, though a busy machine may stand still in some of them.
        jobs.push(client.submit("count", json!({ "n": 40, "seconds": 14 })).await);
    }
    let options = FollowOptions {
        also: vec![system.client(1).url(&path(&jobs))],
        max_retry: Duration::from_millis(100),
        deadline: 2 * SOON,
        ..Default::default()
    };
    let follower = follow(client.url(&path(&jobs)), options);
    for &job in &jobs {
        client.ended(job).await;
    }
    let log = follower.wait().await;
    assert!(log.connects > 5, "{} connects", log.connects);
    assert_eq!(by_job(&log.events), each(client, &jobs).await);
    system.nothing_grows().await;
}

#[tokio::test]
async fn an_unknown_job_of_several_is_told_as_gone_once() {
    let system = system().await;
    let client = system.client(0);
    let workers = running(client, 1).await;
    let known = workers[0].job();
    let unknown: JobId = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000".parse().unwrap();
    let path = path(&[unknown, known]);
    let mut stream = SseStream::open(&client.url(&path)).await;
    let first = stream.next_within(SOON).await.unwrap();
    assert_eq!((first.event.as_str(), data(&first)), ("gone", json!({ "jobId": unknown, "type": "gone" })));
    let mut again =
        SseStream::builder(client.url(&path)).last_event_id(first.id.as_deref().unwrap()).open().await;
    workers[0].complete(Value::Null).await;
    for stream in [&mut stream, &mut again] {
        let told = by_job(&stream.collect_to_end(SOON).await);
        assert_eq!(told, each(client, &[known]).await, "told once");
    }
    for jobs in [vec![unknown], vec![unknown, "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6001".parse().unwrap()]] {
        assert_eq!(client.get(&self::path(&jobs)).await.status(), 404, "none is known");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_job_that_expires_under_a_stream_is_told_as_gone() {
    let settings = "[stream]\nreconcile = \"300ms\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let workers = running(client, 2).await;
    let jobs = jobs(&workers);
    let mut stream = SseStream::open(&client.url(&path(&jobs))).await;
    for _ in 0..4 {
        stream.next_within(SOON).await.unwrap();
    }
    whole::Behind::of(&system, jobs[0]).await.delete().await;
    let gone = stream.next_within(SOON).await.unwrap();
    assert_eq!(data(&gone), json!({ "jobId": jobs[0], "type": "gone" }));
    workers[1].complete(Value::Null).await;
    let rest = stream.collect_to_end(SOON).await;
    assert_eq!(rest.iter().map(|event| event.event.as_str()).collect::<Vec<_>>(), ["completed"]);
}

#[tokio::test]
async fn a_snapshot_of_each_then_live() {
    let system = system().await;
    let client = system.client(0);
    let workers = running(client, 2).await;
    let jobs = jobs(&workers);
    workers[0].output(1).await;
    let mut stream = SseStream::open(&client.url(&format!("{}&from=now", path(&jobs)))).await;
    for &job in &jobs {
        let snapshot = stream.next_within(SOON).await.unwrap();
        let want = json!({ "jobId": job, "type": "snapshot", "reason": "now", "job": client.job(job).await });
        assert_eq!((snapshot.event.as_str(), data(&snapshot)), ("snapshot", want));
    }
    let resumed = stream.last_event_id().to_owned();
    workers[1].output(7).await;
    workers[0].complete(Value::Null).await;
    workers[1].complete(Value::Null).await;
    let rest = stream.collect_to_end(SOON).await;
    assert_eq!(rest.len(), 3);
    let (_, again) = after(client, &path(&jobs), &resumed).await;
    assert_eq!(by_job(&again), by_job(&rest), "the last snapshot's id is the place after all of them");
    system.nothing_grows().await;
}

#[tokio::test]
async fn one_jobs_rewind_is_told_of_that_job_alone() {
    let settings = "[stream]\nreconcile = \"300ms\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let workers = running(client, 2).await;
    let jobs = jobs(&workers);
    let behind = whole::Behind::of(&system, jobs[0]).await;
    let saved = behind.save().await;
    workers[0].output(1).await;
    let mut stream = SseStream::open(&client.url(&path(&jobs))).await;
    for _ in 0..5 {
        stream.next_within(SOON).await.unwrap();
    }
    behind.rewind(&saved).await;
    let told = stream.next_within(SOON).await.unwrap();
    assert_eq!(data(&told)["reason"], "rewound");
    assert_eq!(data(&told)["jobId"], json!(jobs[0]));
    let again = [stream.next_within(SOON).await.unwrap(), stream.next_within(SOON).await.unwrap()];
    assert!(again.iter().all(|event| data(event)["jobId"] == json!(jobs[0])), "its log from the first entry");
    let mut resumed =
        SseStream::builder(client.url(&path(&jobs))).last_event_id(stream.last_event_id()).open().await;
    workers[1].complete(Value::Null).await;
    for stream in [&mut stream, &mut resumed] {
        let next = stream.next_within(SOON).await.unwrap();
        assert_eq!((next.event.as_str(), &data(&next)["jobId"]), ("completed", &json!(jobs[1])));
    }
}

#[tokio::test]
async fn bad_lists_and_foreign_cursors_are_refused() {
    let system = system().await;
    let client = system.client(0);
    let workers = running(client, 2).await;
    let ids = jobs(&workers);
    let mut stream = SseStream::open(&client.url(&path(&ids))).await;
    let id = stream.next_within(SOON).await.unwrap().id.unwrap();
    let many: Vec<_> = (0..101).map(|n| format!("job=019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6{n:03}")).collect();
    let turned = path(&[ids[1], ids[0]]);
    for (path, cursor, status) in [
        ("/api/events", None, 400),
        ("/api/events?job=", None, 404),
        ("/api/events?job=nonsense", None, 404),
        (format!("/api/events?{}", many.join("&")).as_str(), None, 400),
        (path(&ids).as_str(), Some("17-4f2a9c"), 400),
        (path(&ids).as_str(), Some("17"), 400),
        (path(&ids[..1]).as_str(), Some(id.as_str()), 400),
        (turned.as_str(), Some(id.as_str()), 400),
        (path(&ids).as_str(), Some(&id[..id.len() - 2]), 400),
        ("/api/feed", Some(id.as_str()), 400),
        (format!("{}&from=then", path(&ids)).as_str(), None, 400),
    ] {
        let mut request = client.request(reqwest::Method::GET, path);
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{path} {cursor:?}");
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind, "application/problem+json", "{path}");
    }
    // The same job twice is that job once.
    let twice = format!("{}&job={}", path(&ids), ids[0]);
    let mut stream = SseStream::builder(client.url(&twice)).last_event_id(&id).open().await;
    for worker in &workers {
        worker.complete(Value::Null).await;
    }
    let told = by_job(&stream.collect_to_end(SOON).await);
    assert_eq!(told.len(), 2);
}
