//! A client that comes back with a cursor gets exactly the rest, from any gateway.

use model::JobId;
use serde_json::{Value, json};
use testkit::sse::{Event, SseStream};
use whole::{Behind, Client, Remote, SOON, System, frames, held};

/// A finished job of few events, and the frames of its log.
async fn finished(system: &System) -> (JobId, Vec<String>) {
    let client = system.client(0);
    client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    worker.outputs(1..=5).await;
    worker.must("progress", json!({ "progress": 50, "message": null })).await;
    worker.must("output", json!({ "text": "line\nline \u{1f600}" })).await;
    worker.complete(json!({ "n": 5 })).await;
    let truth = Behind::of(system, worker.job()).await.frames().await;
    (worker.job(), truth)
}

fn cursor(frame: &str) -> &str {
    frame.trim_end().lines().last().unwrap().strip_prefix("id: ").unwrap()
}

async fn after(client: &Client, id: JobId, query: &str, header: Option<&str>) -> (u16, Vec<Event>) {
    let mut request = SseStream::builder(client.url(&format!("/api/jobs/{id}/events{query}")));
    if let Some(cursor) = header {
        request = request.header("Last-Event-ID", cursor);
    }
    let mut stream = request.open().await;
    (stream.status().as_u16(), stream.collect_to_end(SOON).await)
}

#[tokio::test]
async fn every_cursor_of_a_finished_job_gives_the_rest() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let (id, truth) = finished(&system).await;
    let b = system.client(1);
    let (end, terminal) = (truth.len(), cursor(truth.last().unwrap()));
    for (seq, frame) in (1..).zip(&truth) {
        let marked = cursor(frame);
        assert_eq!(marked.split('-').next(), Some(seq.to_string().as_str()));
        for cursor in [marked, &seq.to_string()] {
            let by_header = after(b, id, "", Some(cursor)).await;
            let by_query = after(b, id, &format!("?lastEventId={cursor}"), None).await;
            let status = if seq == end { 204 } else { 200 };
            for (name, seen) in [("header", by_header), ("query", by_query)] {
                assert_eq!((seen.0, frames(&seen.1)), (status, truth[seq..].to_vec()), "{name} {cursor}");
            }
        }
    }
    for start in ["0", "0-000000"] {
        assert_eq!(frames(&after(b, id, "", Some(start)).await.1), truth, "{start} is the start");
    }
    // Both ways at once, as some clients do: what the header says is newer.
    let second = cursor(&truth[1]);
    for query in [format!("?lastEventId={terminal}"), "?from=now".into(), "?lastEventId=7&from=now".into()] {
        let (status, events) = after(b, id, &query, Some(second)).await;
        assert_eq!((status, frames(&events)), (200, truth[2..].to_vec()), "the header beats {query}");
    }
    let (_, events) = after(b, id, &format!("?lastEventId={second}&from=now"), None).await;
    assert_eq!(frames(&events), truth[2..], "a cursor beats from");
    for (query, header) in [("", Some("")), ("?lastEventId=", None), ("?lastEventId=&from=", Some(""))] {
        let (_, events) = after(b, id, query, header).await;
        assert_eq!(frames(&events), truth, "an empty cursor is none: {query} {header:?}");
    }
    let (_, events) = after(b, id, &format!("?lastEventId={second}"), Some("")).await;
    assert_eq!(frames(&events), truth[2..], "an empty header beats nothing");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_cursor_of_another_history_is_told_so() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let (id, truth) = finished(&system).await;
    let job = system.client(0).job(id).await;
    let end = truth.len();
    let wrong = |seq: usize| {
        format!("{seq}-{}", if truth[seq - 1].ends_with("-abcdef\n\n") { "fedcba" } else { "abcdef" })
    };
    let past = [format!("{}", end + 1), format!("{}-123456", end + 1), "18446744073709551615".into()];
    for cursor in (1..=end).map(wrong).chain(past).chain(["0-123456".into()]) {
        for client in &system.clients {
            let (status, events) = after(client, id, "", Some(&cursor)).await;
            assert_eq!(status, 200, "{cursor}");
            assert_eq!(events[0].event, "snapshot", "{cursor}");
            let want = json!({ "jobId": id, "type": "snapshot", "reason": "rewound", "job": job });
            assert_eq!(serde_json::from_str::<Value>(&events[0].data).unwrap(), want, "{cursor}");
            assert_eq!(events[0].id.as_deref(), Some("0-000000"), "{cursor}");
            assert_eq!(held(&events), truth, "{cursor}");
            assert_eq!(events.len(), end + 1, "{cursor}: told once");
        }
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_running_job_is_resumed_in_the_middle() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("remote", Value::Null).await;
    let worker = Remote::claim(a, "remote").await;
    let behind = Behind::of(&system, id).await;
    let mut seen = Vec::new();
    let mut last = String::new();
    // Each round on the other gateway, with some of the events there and some to come.
    for round in 0..10 {
        worker.output(2 * round).await;
        let mut stream = system.client(round % 2).stream_after(id, &last).await;
        worker.output(2 * round + 1).await;
        let wanted = behind.entries().await.len() - seen.len();
        for _ in 0..wanted {
            seen.push(stream.next_within(SOON).await.unwrap());
        }
        stream.last_event_id().clone_into(&mut last);
    }
    worker.complete(Value::Null).await;
    seen.extend(b.stream_after(id, &last).await.collect_to_end(SOON).await);
    assert_eq!(frames(&seen), behind.frames().await);
    system.nothing_grows().await;
}
