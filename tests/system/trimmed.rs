//! A log that no longer reaches back to a client: it is told so, and goes on from the first entry that is left.

use model::JobId;
use serde_json::{Value, json};
use testkit::sse::Event;
use whole::{Behind, Client, RawStream, Remote, SOON, System, frames, held, take};

/// The job's cursor now.
async fn head(client: &Client, id: JobId) -> String {
    client.job(id).await["lastEventId"].as_str().unwrap().to_owned()
}

/// Whether `event` is the snapshot that says `reason`: with the id `start`, and the job as polled.
#[track_caller]
fn check_snapshot(event: &Event, reason: &str, start: &str, job: &Value) {
    let want = json!({ "jobId": job["id"], "type": "snapshot", "reason": reason, "job": job });
    assert_eq!(serde_json::from_str::<Value>(&event.data).unwrap(), want);
    assert_eq!((event.event.as_str(), event.id.as_deref()), ("snapshot", Some(start)));
}

/// The cursors of all events so far, oldest first.
async fn cursors(behind: &Behind) -> Vec<String> {
    let entries = behind.entries().await;
    let cursor = |entry: &String| entry.split(' ').take(2).collect::<Vec<_>>().join("-");
    entries.iter().map(cursor).collect()
}

#[tokio::test]
async fn who_has_seen_it_all_notices_nothing() {
    let system =
        System::builder().gateways(2).workers(0).settings("[stream]\nreconcile = \"1s\"").start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    worker.outputs(1..=5).await;
    let behind = Behind::of(&system, id).await;
    let mut truth = behind.frames().await;
    let mut streams = [system.client(0).stream(id).await, system.client(1).stream(id).await];
    for stream in &mut streams {
        assert_eq!(frames(&take(stream, 7).await), truth);
    }
    // First a part of the log, then all of it.
    for trimmed in [4, 4] {
        behind.trim(trimmed).await;
        worker.output(json!({ "left after": trimmed })).await;
        let next = behind.frames().await.pop().unwrap();
        for stream in &mut streams {
            assert_eq!(frames(&take(stream, 1).await), std::slice::from_ref(&next));
        }
        truth.push(next);
    }
    let left = behind.entries().await.len();
    assert_eq!(left, 1, "the last one written is all that is left");
    behind.trim(1).await;
    let at_end = client.stream_after(id, &head(client, id).await).await;
    worker.complete(Value::Null).await;
    for mut stream in streams.into_iter().chain([at_end]) {
        let rest = stream.collect_to_end(SOON).await;
        assert_eq!(frames(&rest), behind.frames().await);
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn every_cursor_before_the_log_begins_is_told() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    worker.outputs(1..=8).await;
    let behind = Behind::of(&system, id).await;
    let all = cursors(&behind).await;
    behind.trim(5).await;
    let (start, job) = (behind.start().await, client.job(id).await);
    assert_eq!(start, all[4]);

    // While the job runs: on a gateway that knows nothing, and on one whose streams have seen it all.
    let mut waiting = system.client(1).stream(id).await;
    check_snapshot(&take(&mut waiting, 1).await[0], "trimmed", &start, &job);
    take(&mut waiting, 5).await;
    let unknown =
        ["0".to_owned(), "1".into(), "4".into(), "2-abcdef".into(), "4-abcdef".into(), String::new()];
    let before: Vec<_> = all[..4].iter().cloned().chain(unknown).collect();
    for cursor in &before {
        for client in &system.clients {
            let mut stream = client.stream_after(id, cursor).await;
            let events = take(&mut stream, 6).await;
            check_snapshot(&events[0], "trimmed", &start, &job);
            assert_eq!(frames(&events[1..]), behind.frames().await, "after {cursor:?}");
        }
    }
    worker.complete(Value::Null).await;
    let (job, truth) = (client.job(id).await, behind.frames().await);
    assert_eq!(frames(&waiting.collect_to_end(SOON).await), truth[5..]);

    // After the end.
    for client in &system.clients {
        for cursor in &before {
            let events = client.stream_after(id, cursor).await.collect_to_end(SOON).await;
            check_snapshot(&events[0], "trimmed", &start, &job);
            assert_eq!(frames(&events[1..]), truth, "after {cursor:?}");
        }
        for (at, cursor) in all[4..].iter().enumerate() {
            let events = client.stream_after(id, cursor).await.collect_to_end(SOON).await;
            assert_eq!(frames(&events), truth[at..], "{cursor} is reached");
        }
        let wrong = if start.ends_with("abcdef") { "5-fedcba" } else { "5-abcdef" };
        let events = client.stream_after(id, wrong).await.collect_to_end(SOON).await;
        check_snapshot(&events[0], "rewound", &start, &job);
        assert_eq!(frames(&events[1..]), truth, "the one just before the first entry is checked");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn where_nothing_is_left_and_nothing_follows_the_stream_ends() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    let behind = Behind::of(&system, id).await;
    behind.trim(2).await;
    let (job, at) = (client.job(id).await, head(client, id).await);
    let mut early = client.stream(id).await;
    check_snapshot(&take(&mut early, 1).await[0], "trimmed", &at, &job);
    worker.complete("the end").await;
    assert_eq!(frames(&early.collect_to_end(SOON).await), behind.frames().await);

    behind.trim(1).await;
    let (job, end) = (client.job(id).await, head(client, id).await);
    for client in &system.clients {
        for cursor in ["", "1", "2"] {
            let events = client.stream_after(id, cursor).await.collect_to_end(SOON).await;
            assert_eq!(events.len(), 1, "after {cursor:?}");
            check_snapshot(&events[0], "trimmed", &end, &job);
        }
        assert_eq!(client.stream_after(id, &end).await.status(), 204);
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_log_at_its_cap_goes_on_for_who_follows_and_is_told_to_who_comes_late() {
    let settings = "[tasks.short]\nlog_events = 10\n[tasks.small]\nlog_bytes = \"64 KiB\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let (a, b) = (system.client(0), system.client(1));
    for (task, outputs, size) in [("short", 100, 1), ("small", 300, 1000)] {
        let id = a.submit(task, Value::Null).await;
        let worker = Remote::claim(a, task).await;
        let mut live = b.stream(id).await;
        take(&mut live, 2).await;
        // All in one step: the log never has more than its last ones, the live channel has them all.
        worker.outputs((1..=outputs).map(|n| json!([n, "x".repeat(size)]))).await;
        let seen = take(&mut live, outputs).await;
        for (n, event) in (1..).zip(&seen) {
            assert_eq!(serde_json::from_str::<Value>(&event.data).unwrap()["output"][0], n, "{task}");
        }
        let behind = Behind::of(&system, id).await;
        assert!(behind.entries().await.len() <= 64, "{task}: capped");
        let start = behind.start().await;
        let mut late = [a.stream(id).await, b.stream_after(id, "3").await];
        for stream in &mut late {
            check_snapshot(&take(stream, 1).await[0], "trimmed", &start, &a.job(id).await);
        }
        worker.complete(Value::Null).await;
        assert_eq!(live.collect_to_end(SOON).await.len(), 1);
        let last = frames(&seen).split_off(outputs - 5);
        for mut stream in late {
            let events = stream.collect_to_end(SOON).await;
            assert_eq!(frames(&events[events.len() - 6..events.len() - 1]), last, "{task}");
        }
        let events = a.events(id).await;
        check_snapshot(&events[0], "trimmed", &behind.start().await, &a.job(id).await);
        assert_eq!(held(&events), behind.frames().await);
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_stream_that_fell_behind_is_told_in_its_middle() {
    let settings = "[stream]\nring_log = \"16 KiB\"\n[tasks.long]\nlog_bytes = \"256 MiB\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("long", Value::Null).await;
    let worker = Remote::claim(client, "long").await;
    let mut slow = RawStream::with_buffer(&client.events_url(id), &[], Some(4096)).await;
    assert!(slow.until(|body| body.contains("event: started")).await);
    // From here on it doesn't read. More than the ring and the sockets' buffers hold:
    for n in 0..60 {
        worker.outputs((0..5).map(|m| json!([5 * n + m, "x".repeat(60_000)]))).await;
    }
    let behind = Behind::of(&system, id).await;
    let whole = behind.frames().await;
    worker.complete(Value::Null).await;
    behind.trim(whole.len() - 10).await;
    let (start, job) = (behind.start().await, client.job(id).await);

    let events = slow.events_to_end().await;
    let told = events.iter().position(|event| event.event == "snapshot").expect("it was told");
    assert_eq!(frames(&events[..told]), whole[..told], "all there was, until it was told");
    assert!(told < whole.len() - 10, "{told}: it fell behind");
    check_snapshot(&events[told], "trimmed", &start, &job);
    assert_eq!(frames(&events[told + 1..]), behind.frames().await);
    system.nothing_grows().await;
}
