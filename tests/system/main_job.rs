//! The main job: submit on one gateway, stream on another, poll anywhere.

use serde_json::{Value, json};
use testkit::sse::check_history;
use whole::System;

#[tokio::test]
async fn submitted_on_a_streamed_on_b_polled_on_either() {
    let system = System::builder().gateways(2).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("count", json!({ "n": 20, "seconds": 0.5 })).await;
    let (on_a, on_b) = tokio::join!(a.events(id), b.events(id));
    check_history(&on_b).unwrap();
    let raw =
        |events: &[testkit::sse::Event]| events.iter().map(|event| event.raw.clone()).collect::<Vec<_>>();
    assert_eq!(raw(&on_a), raw(&on_b), "byte-identical");
    let names: Vec<_> = on_b.iter().map(|event| event.event.as_str()).collect();
    assert_eq!((names[0], names[1], *names.last().unwrap()), ("queued", "started", "completed"));
    let counts: Vec<_> = on_b
        .iter()
        .filter(|event| event.event == "output")
        .map(|event| serde_json::from_str::<Value>(&event.data).unwrap()["output"]["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    for client in [a, b] {
        let job = client.job(id).await;
        assert_eq!((&job["status"], &job["result"]), (&json!("completed"), &json!({ "count": 20 })));
        assert_eq!(job["lastEventId"], on_b.last().unwrap().last_event_id.as_str());
    }
    system.nothing_grows().await;
}
