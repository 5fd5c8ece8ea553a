//! A stream gives the same events whenever and wherever it is opened.

use serde_json::{Value, json};
use testkit::sse::{SseStream, check_history};
use whole::{Behind, Remote, SOON, System, frames};

#[tokio::test]
async fn opened_before_within_and_after_the_job_on_any_gateway() {
    let mut system = System::builder().gateways(2).workers(0).start().await;
    let (a, b) = (system.client(0).clone(), system.client(1).clone());
    let id = a.submit("count", json!({ "n": 40, "seconds": 1 })).await;

    let mut before = b.stream(id).await;
    let first = before.next_within(SOON).await.unwrap();
    assert_eq!((first.event.as_str(), a.job(id).await["status"].as_str()), ("queued", Some("pending")));
    system.start_worker();

    // A follower's tenth event: the middle.
    let mut middle = Vec::new();
    for _ in 0..10 {
        middle.push(before.next_within(SOON).await.unwrap());
    }
    let (mut on_a, mut on_b) = (a.stream(id).await, b.stream(id).await);
    let (rest, on_a, on_b) =
        tokio::join!(before.collect_to_end(SOON), on_a.collect_to_end(SOON), on_b.collect_to_end(SOON));
    let whole: Vec<_> = [vec![first], middle, rest].concat();

    check_history(&whole).unwrap();
    let truth = Behind::of(&system, id).await.frames().await;
    assert_eq!(frames(&whole), truth, "opened before the start");
    assert_eq!(frames(&on_a), truth, "opened in the middle, on the gateway that took the job");
    assert_eq!(frames(&on_b), truth, "opened in the middle, on another");
    assert_eq!(frames(&a.events(id).await), truth, "opened after the end");
    assert_eq!(frames(&b.events(id).await), truth, "opened after the end, on another");
    system.nothing_grows().await;
}

#[tokio::test]
async fn from_now_is_a_snapshot_and_what_follows_it() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("remote", Value::Null).await;
    let worker = Remote::claim(a, "remote").await;
    worker.must("progress", json!({ "progress": 12.5, "message": "so far" })).await;

    let mut stream = SseStream::open(b.url(&format!("/api/jobs/{id}/events?from=now"))).await;
    let snapshot = stream.next_within(SOON).await.unwrap();
    let job = a.job(id).await;
    let want = json!({ "jobId": id, "type": "snapshot", "reason": "now", "job": job });
    assert_eq!(serde_json::from_str::<Value>(&snapshot.data).unwrap(), want);
    assert_eq!(snapshot.event, "snapshot");
    assert_eq!(snapshot.id.as_deref(), job["lastEventId"].as_str());

    worker.outputs(1..=3).await;
    worker.complete(7).await;
    let truth = Behind::of(&system, id).await.frames().await;
    let rest = stream.collect_to_end(SOON).await;
    assert_eq!(frames(&rest), truth[3..], "what follows the snapshot, once");
    assert_eq!(b.stream_after(id, &rest.last().unwrap().last_event_id).await.status(), 204);

    let mut late = SseStream::open(b.url(&format!("/api/jobs/{id}/events?from=now"))).await;
    let all = late.collect_to_end(SOON).await;
    let job = a.job(id).await;
    let want = json!({ "jobId": id, "type": "snapshot", "reason": "now", "job": job });
    assert_eq!(all.len(), 1, "nothing follows the snapshot of an end");
    assert_eq!(serde_json::from_str::<Value>(&all[0].data).unwrap(), want);
    assert_eq!(a.stream_after(id, all[0].id.as_deref().unwrap()).await.status(), 204);
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_does_not_exist_or_is_no_start_is_a_problem() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let other = "0192d7a0-0000-7000-8000-000000000000";
    for (path, headers, status, kind) in [
        (format!("{other}/events"), vec![], 404, "not-found"),
        (format!("{id}/events?lastEventId=x"), vec![], 400, "bad-cursor"),
        (format!("{id}/events?lastEventId=1-2"), vec![], 400, "bad-cursor"),
        (format!("{id}/events?lastEventId=1-4F2A9C"), vec![], 400, "bad-cursor"),
        (format!("{id}/events?lastEventId=-1"), vec![], 400, "bad-cursor"),
        (format!("{id}/events"), vec![("Last-Event-ID", "one")], 400, "bad-cursor"),
        (format!("{id}/events"), vec![("Last-Event-ID", "1"), ("Last-Event-ID", "2")], 400, "doubled-header"),
        (format!("{id}/events?from=then"), vec![], 400, "malformed"),
        (format!("{id}/events?lastEventId=1&lastEventId=2"), vec![], 400, "malformed"),
    ] {
        let url = client.url(&format!("/api/jobs/{path}"));
        let stream = headers
            .iter()
            .fold(SseStream::builder(&url), |request, (name, value)| request.header(name, value))
            .open()
            .await;
        let (seen, content) = (stream.status(), stream.headers()["content-type"].clone());
        let body = stream.body().await;
        assert_eq!(
            (seen.as_u16(), &content),
            (status, &"application/problem+json".parse().unwrap()),
            "{body}"
        );
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["type"], format!("urn:jobcast:{kind}"), "{path} {headers:?}");
    }
    assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
    system.nothing_grows().await;
}
