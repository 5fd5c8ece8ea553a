//! A job's log as JSON: the events of its stream, a page at a time.

use reqwest::Method;
use serde_json::{Value, json};
use whole::{Behind, Client, Remote, System, data};

/// The page after `cursor`.
async fn page(client: &Client, job: model::JobId, query: &str) -> (u16, Value) {
    let path = format!("/api/jobs/{job}/events{query}");
    let response =
        client.request(Method::GET, &path).header("accept", "application/json").send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// All events from `query` on, page by page, until `next` is null or doesn't move.
async fn pages(client: &Client, job: model::JobId) -> (Vec<Value>, usize, Value) {
    let (mut all, mut count, mut query) = (Vec::new(), 0, String::new());
    loop {
        let (status, page) = page(client, job, &query).await;
        assert_eq!(status, 200, "{page}");
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            return (all, count, page["next"].clone());
        }
        count += 1;
        all.extend(events.clone());
        let Some(next) = page["next"].as_str() else { return (all, count, Value::Null) };
        query = format!("?lastEventId={next}");
    }
}

#[tokio::test]
async fn the_pages_are_the_stream() {
    let system = System::builder().gateways(2).workers(0).settings("[stream]\npage = \"4KiB\"").start().await;
    let (a, b) = (system.client(0), system.client(1));
    a.submit("remote", Value::Null).await;
    let worker = Remote::claim(a, "remote").await;
    let job = worker.job();
    for n in 0..20 {
        worker.output(format!("{n} {}", "x".repeat(500))).await;
    }
    // Larger than a page, and than what is published.
    worker.output("y".repeat(10_000)).await;
    let (_, _, next) = pages(b, job).await;
    assert_eq!(next, a.job(job).await["lastEventId"], "it goes on");
    worker.complete(json!({ "n": 20 })).await;

    let (events, count, next) = pages(b, job).await;
    let truth: Vec<_> = a.events(job).await.iter().map(data).collect();
    assert_eq!((events, next), (truth.clone(), Value::Null));
    assert!(count > 3, "{count} pages");
    let end = a.job(job).await["lastEventId"].as_str().unwrap().to_owned();
    assert_eq!(
        page(a, job, &format!("?lastEventId={end}")).await,
        (200, json!({ "events": [], "next": null }))
    );
    let now = page(a, job, "?from=now").await.1;
    let want = json!({ "jobId": job, "type": "snapshot", "reason": "now", "job": a.job(job).await });
    assert_eq!(now, json!({ "events": [want], "next": null }));

    // What accepts both, or anything, is given the stream.
    for accept in ["application/json, text/event-stream", "*/*", "text/event-stream"] {
        let path = format!("/api/jobs/{job}/events");
        let response = a.request(Method::GET, &path).header("accept", accept).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{accept}");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_lost_place_and_a_bad_one_are_told() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    let job = worker.job();
    worker.outputs(1..=5).await;
    let (_, rewound) = page(client, job, "?lastEventId=3-123456").await;
    assert_eq!(rewound["events"][0]["reason"], "rewound");
    assert_eq!(rewound["events"].as_array().unwrap().len(), 1 + 7);
    Behind::of(&system, job).await.trim(3).await;
    let (_, trimmed) = page(client, job, "").await;
    assert_eq!(trimmed["events"][0]["reason"], "trimmed");
    assert_eq!(trimmed["events"][1]["seq"], 4);
    assert_eq!(page(client, job, "?lastEventId=x").await.0, 400);
    let unknown = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000".parse().unwrap();
    assert_eq!(page(client, unknown, "").await.0, 404);
    worker.complete(Value::Null).await;
}
