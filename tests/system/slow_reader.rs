//! A client that doesn't read holds up nobody, costs little, and loses nothing as long as it reads in the end.

use model::JobId;
use serde_json::{Value, json};
use testkit::sse::{Event, SseStream, check_history};
use whole::{Behind, Client, Http, RawStream, Remote, SOON, System, frames};

const OUTPUTS: usize = 5000;

/// A stream that has read its job's first events, and from there on reads nothing by itself.
async fn lazy(http: Http, client: &Client, id: JobId) -> (RawStream, Vec<Event>) {
    lazy_at(http, &client.events_url(id)).await
}

async fn lazy_at(http: Http, url: &str) -> (RawStream, Vec<Event>) {
    let mut stream = RawStream::asked(http, url, &[], Some(4096)).await;
    assert!(stream.until_frame(|body| body.contains("event: started")).await);
    let events = stream.events();
    (stream, events)
}

/// Outputs of 2 KB each, in batches: together more than twice of what a system holds for who doesn't read (on Linux 4 MB).
async fn write(worker: &Remote) {
    for batch in 0..OUTPUTS / 100 {
        worker.outputs((0..100).map(|n| json!([100 * batch + n, "x".repeat(2000)]))).await;
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything_in_order_and_others_are_not_held_up() {
    let settings = "[stream]\nring_log = \"64 KiB\"\n[tasks.long]\nlog_bytes = \"64 MiB\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("long", Value::Null).await;
    let worker = Remote::claim(client, "long").await;
    let (mut one, mut of_one) = lazy(Http::V1_0, client, id).await;
    let (mut two, mut of_two) = lazy(Http::V1_1, client, id).await;
    let mut quick = client.stream(id).await;
    let ((), quick) = tokio::join!(
        async {
            write(&worker).await;
            worker.complete(Value::Null).await;
        },
        quick.collect_to_end(2 * SOON)
    );
    let truth = Behind::of(&system, id).await.frames().await;
    assert_eq!(frames(&quick), truth, "the quick one has it all while the slow ones read nothing");
    let sent = client.count("jobcast_events_sent_total").await;
    assert!(sent < 2 * truth.len(), "the slow ones have fallen behind: {sent} frames in all");
    testkit::eventually(SOON, "the quick one is over", async || {
        client.count("jobcast_open_streams").await == 2
    })
    .await;

    let (rest_of_one, rest_of_two) = tokio::join!(one.events_to_end(), two.events_to_end());
    of_one.extend(rest_of_one);
    of_two.extend(rest_of_two);
    assert!(one.ended() && two.ended());
    assert_eq!(frames(&of_one), truth);
    assert_eq!(frames(&of_two), truth);
    assert_eq!(client.count("jobcast_streams_stalled_total").await, 0);
    system.nothing_grows().await;
}

#[tokio::test]
async fn who_takes_nothing_is_cut_and_comes_back() {
    // Longer than those who read stand still with this test on a busy machine.
    let settings = "[stream]\nring_log = \"64 KiB\"\nstall = \"6s\"\n[tasks.long]\nlog_bytes = \"64 MiB\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("long", Value::Null).await;
    let worker = Remote::claim(client, "long").await;
    let mut streams = [lazy(Http::V1_0, client, id).await, lazy(Http::V1_1, client, id).await];
    // One that has nothing to take is no slow one.
    let idle = client.submit("long", Value::Null).await;
    let (mut silent, _) = {
        let mut stream = RawStream::open(&client.events_url(idle), &[]).await;
        assert!(stream.until_frame(|_| true).await);
        let events = stream.events();
        (stream, events)
    };
    write(&worker).await;
    testkit::eventually(SOON, "both are cut and counted", async || {
        client.count("jobcast_streams_stalled_total").await == 2
    })
    .await;
    testkit::eventually(SOON, "they are closed", async || client.count("jobcast_open_streams").await == 1)
        .await;
    worker.complete(Value::Null).await;

    let truth = Behind::of(&system, id).await.frames().await;
    for (stream, events) in &mut streams {
        events.extend(stream.events_to_end().await);
        // Where only the connection's end is the body's, nobody can tell.
        let chunked = stream.head().starts_with(Http::V1_1.name());
        assert!(!chunked || !stream.ended(), "it was cut, not ended");
        assert_eq!(frames(&*events), truth[..events.len()], "what it got is no less in order");
        assert!(events.len() < truth.len());
        let last = &events.last().unwrap().last_event_id;
        events.extend(system.client(1).stream_after(id, last).await.collect_to_end(2 * SOON).await);
        assert_eq!(frames(&*events), truth, "the reconnect resumes");
        check_history(events).unwrap();
    }

    assert_eq!(client.post(&format!("/api/jobs/{idle}/cancel"), &json!({})).await.status(), 202);
    let rest = silent.events_to_end().await;
    assert_eq!(rest.last().map(|event| event.event.as_str()), Some("cancelled"));
    assert_eq!(client.count("jobcast_streams_stalled_total").await, 2);
    system.nothing_grows().await;
}

#[cfg(target_os = "linux")] // it takes TCP_USER_TIMEOUT
#[tokio::test]
async fn who_takes_nothing_is_cut_and_counted_though_the_system_would_hold_it_all() {
    let settings = "[stream]\nstall = \"1s\"\nheartbeat = \"500ms\"\nheartbeat_jitter = \"0s\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    let (mut stream, mut events) = lazy(Http::V1_1, client, id).await;
    // One that might be of several jobs is no other.
    let several = client.url(&format!("/api/events?job={id}"));
    let (mut of_several, mut events_of_several) = lazy_at(Http::V1_1, &several).await;
    // More than the client's system takes for it, less than ours does.
    worker.outputs((0..100).map(|n| json!([n, "x".repeat(1000)]))).await;
    testkit::eventually(SOON, "both are cut and counted", async || {
        client.count("jobcast_streams_stalled_total").await == 2
            && client.count("jobcast_open_streams").await == 0
    })
    .await;
    worker.complete(Value::Null).await;
    for (stream, events, url) in [
        (&mut stream, &mut events, client.events_url(id)),
        (&mut of_several, &mut events_of_several, several),
    ] {
        events.extend(stream.events_to_end().await);
        assert!(!stream.ended(), "it was cut, not ended");
        let again = SseStream::builder(url).last_event_id(&events.last().unwrap().last_event_id);
        events.extend(again.open().await.collect_to_end(SOON).await);
    }
    assert_eq!(frames(&events), Behind::of(&system, id).await.frames().await);
    let data = |events: &[Event]| events.iter().map(|event| event.data.clone()).collect::<Vec<_>>();
    assert_eq!(data(&events_of_several), data(&events));
    system.nothing_grows().await;
}
