//! HTTP/2 without TLS, beside HTTP/1.1 on the same port: the same promises, many streams on one connection.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::sse::check_history;
use whole::http2_frames::{Frames, Kind, frame, get};
use whole::{Behind, Http2, Http2Stream, ROOMY, Remote, SOON, System, Windows, frames};

/// What HTTP/2 has other means for.
const OF_HTTP_1: [&str; 5] = ["connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection"];

#[tokio::test]
async fn every_kind_of_answer() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let http2 = Http2::connect(client).await;
    let accepted = http2.post("/api/jobs", &json!({ "task": "remote", "payload": 1 })).await;
    assert_eq!(accepted.status, 202);
    let path = accepted.json()["statusUrl"].as_str().unwrap().to_owned();
    let id = accepted.json()["jobId"].as_str().unwrap().parse().unwrap();
    let job = http2.get(&path).await;
    assert_eq!((job.status, &job.json()["status"]), (200, &json!("pending")));

    let ask = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        http2.answer(http2.request(method, path, headers, "")).await
    };
    let etag = job.headers["etag"].to_str().unwrap();
    let unchanged = ask(Method::GET, &path, &[("if-none-match", etag)]).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let head = ask(Method::HEAD, &path, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], job.headers["content-length"]);
    let head = ask(Method::HEAD, &format!("{path}/events"), &[]).await;
    assert_eq!((head.status, &head.headers["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    assert_eq!(ask(Method::GET, "/api/jobs/x", &[]).await.problem(), (404, "not-found".into()));
    assert_eq!(ask(Method::PATCH, "/api/jobs", &[]).await.problem(), (405, "method-not-allowed".into()));
    let large = json!({ "task": "remote", "payload": "x".repeat(3_000_000) });
    assert_eq!(http2.post("/api/jobs", &large).await.problem(), (413, "too-large".into()));
    let text =
        http2.request(Method::POST, "/api/jobs", &[("content-type", "text/plain")], "x".repeat(1_000_000));
    assert_eq!(http2.answer(text).await.problem(), (415, "unsupported-media-type".into()));

    // A long poll, a submission that waits, a submission that streams, each until the job has ended.
    let wait = async |id: model::JobId| {
        let headers = [("if-none-match", etag), ("prefer", "wait=30")];
        ask(Method::GET, &format!("/api/jobs/{id}"), &headers).await
    };
    let submit = |headers: &[(&str, &str)]| {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        http2.request(Method::POST, "/api/jobs", &headers, r#"{"task":"remote"}"#)
    };
    let work = async {
        let largest = "x".repeat(1024 * 1024 - 2);
        for result in [json!(1), json!(2), json!(largest)] {
            let worker = Remote::claim(client, "remote").await;
            worker.complete(result).await;
        }
    };
    let (changed, waited, mut streamed, ()) = tokio::join!(
        wait(id),
        http2.answer(submit(&[("prefer", "wait=30")])),
        async {
            let response = http2.send(submit(&[("accept", "text/event-stream")])).await.unwrap();
            assert!(response.headers().contains_key("location"));
            Http2Stream::new(response, "")
        },
        work,
    );
    assert_eq!(changed.status, 200);
    assert_eq!((waited.status, &waited.json()["status"]), (200, &json!("completed")));
    let events = streamed.collect_to_end(SOON).await;
    check_history(&events).unwrap();
    assert_eq!(streamed.ended, Some(Ok(())));
    for headers in [&job.headers, &changed.headers, streamed.headers()] {
        assert!(OF_HTTP_1.iter().all(|name| !headers.contains_key(*name)), "{headers:?}");
    }
    let last = [("last-event-id", streamed.last_event_id())];
    let over = ask(
        Method::GET,
        &format!("/api/jobs/{}/events", whole::data(&events[0])["jobId"].as_str().unwrap()),
        &last,
    )
    .await;
    assert_eq!((over.status, over.body.len()), (204, 0));
    system.nothing_grows().await;
}

#[tokio::test]
async fn many_streams_on_one_connection_and_others_beside_it() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let http2 = Http2::connect(client).await;
    let (mut jobs, mut streams, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        let id = client.submit("remote", Value::Null).await;
        for _ in 0..5 {
            streams.push((id, http2.stream(id).await));
        }
        others.push(client.follow(id));
        jobs.push(Remote::claim(client, "remote").await);
    }
    testkit::eventually(SOON, "all are open", async || client.count("jobcast_open_streams").await == 60)
        .await;
    for n in 0..20 {
        for job in &jobs {
            job.output(json!([n, "x".repeat(1000)])).await;
        }
        // None waits for another one.
        for (_, stream) in &mut streams {
            while whole::data(&stream.next_within(SOON).await.unwrap())["output"][0] != n {}
        }
    }
    for job in &jobs {
        job.complete(Value::Null).await;
    }
    for (id, stream) in &mut streams {
        assert_eq!(stream.collect_to_end(SOON).await.last().unwrap().event, "completed");
        assert_eq!(stream.ended, Some(Ok(())));
        let mut again = http2.stream(*id).await;
        assert_eq!(frames(&again.collect_to_end(SOON).await), Behind::of(&system, *id).await.frames().await);
    }
    for other in others {
        check_history(&other.wait().await.events).unwrap();
    }
    testkit::eventually(SOON, "none is left", async || client.count("jobcast_open_streams").await == 0).await;
    // Who goes away in the middle is noticed.
    let id = client.submit("remote", Value::Null).await;
    let stream = http2.stream(id).await;
    assert_eq!(client.count("jobcast_open_streams").await, 1);
    drop(stream);
    testkit::eventually(SOON, "none is left", async || client.count("jobcast_open_streams").await == 0).await;
    client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    system.nothing_grows().await;
}

/// Longer than those who read stand still with the test on a busy machine.
const STALL: &str = "[stream]\nring_log = \"64 KiB\"\nstall = \"6s\"\n[tasks.long]\nlog_bytes = \"64 MiB\"";

#[tokio::test]
async fn who_takes_nothing_is_reset_alone_and_comes_back() {
    let system = System::builder().workers(0).settings(STALL).start().await;
    let client = system.client(0);
    let http2 = Http2::with(client, Windows { stream: 32 * 1024, ..ROOMY }).await;
    let id = client.submit("long", Value::Null).await;
    let worker = Remote::claim(client, "long").await;
    let (mut slow, mut quick) = (http2.stream(id).await, http2.stream(id).await);
    // One that has nothing to take is no slow one.
    let idle = client.submit("remote", Value::Null).await;
    let mut silent = http2.stream(idle).await;
    let write = async {
        for batch in 0..20 {
            worker.outputs((0..100).map(|n| json!([100 * batch + n, "x".repeat(1000)]))).await;
        }
        testkit::eventually(SOON, "it is cut and counted", async || {
            client.count("jobcast_streams_stalled_total").await == 1
        })
        .await;
        // The others of its connection go on.
        worker.complete(Value::Null).await;
    };
    let ((), all) = tokio::join!(write, quick.collect_to_end(2 * SOON));
    let truth = Behind::of(&system, id).await.frames().await;
    assert_eq!(frames(&all), truth, "the quick one isn't held up");
    testkit::eventually(SOON, "the idle one is left", async || {
        client.count("jobcast_open_streams").await == 1
    })
    .await;

    let mut events = slow.collect_to_end(SOON).await;
    assert!(slow.ended.as_ref().unwrap().is_err(), "it was reset");
    assert!(events.len() < 200, "{} frames went to one who reads none", events.len());
    let mut rest = http2.stream_after(id, slow.last_event_id()).await;
    events.extend(rest.collect_to_end(SOON).await);
    assert_eq!(frames(&events), truth, "the reconnect resumes");
    client.post(&format!("/api/jobs/{idle}/cancel"), &json!({})).await;
    assert_eq!(silent.collect_to_end(SOON).await.last().unwrap().event, "cancelled");
    assert_eq!(client.count("jobcast_streams_stalled_total").await, 1);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_window_that_is_never_opened_holds_nothing_for_long() {
    let settings = "[stream]\nstall = \"1s\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let long = client.submit("remote", Value::Null).await;
    assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
    let worker = Remote::claim(client, "remote").await;
    worker.complete("x".repeat(100_000)).await;
    let id = client.submit("remote", Value::Null).await;
    const INITIAL_WINDOW: u16 = 4;
    for window in [0, 1, 50] {
        let before = client.count("jobcast_streams_stalled_total").await;
        let mut wire = Frames::begin(client, &[(INITIAL_WINDOW, window)]).await;
        // A stream, and an answer that is long and has an end.
        for (stream, path) in [(1, format!("/api/jobs/{id}/events")), (3, format!("/api/jobs/{long}"))] {
            assert!(wire.send(&frame(Kind::Headers, 0x5, stream, &get(&path))).await);
        }
        let mut reset = vec![];
        while reset.len() < 2 {
            reset.push(wire.next_of(Kind::Reset).await.unwrap().stream);
        }
        reset.sort_unstable();
        assert_eq!(reset, [1, 3], "{window}");
        testkit::eventually(SOON, "both are counted, and none is left", async || {
            client.count("jobcast_streams_stalled_total").await == before + 2
                && client.count("jobcast_open_streams").await == 0
        })
        .await;
    }
    client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_gateway_that_stops_sends_its_clients_elsewhere_and_loses_nothing() {
    // What is spread over the drain must not be seen all at once by a test that stood still for a while.
    let settings = "[stream]\ndrain = \"8s\"\nheartbeat = \"1s\"\nheartbeat_jitter = \"0s\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let (a, b) = (system.client(0).clone(), system.client(1).clone());
    let id = a.submit("remote", Value::Null).await;
    let worker = Remote::claim(&b, "remote").await;
    let mut http2 = Http2::connect(&a).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(http2.stream(id).await);
    }
    let mut ends = tokio::task::JoinSet::new();
    let began = Instant::now();
    system.gateways[0].terminate();
    for mut stream in streams {
        ends.spawn(async move {
            let events = stream.collect_to_end(SOON).await;
            (began.elapsed(), events, stream)
        });
    }
    testkit::eventually(SOON, "GOAWAY", async || !http2.takes_more().await).await;
    let goaway = began.elapsed();
    // Who has nowhere else to go is served.
    let late = Http2::connect(&a).await;
    assert_eq!(late.get("/healthz").await.status, 200);
    assert_eq!(late.get("/readyz").await.status, 503);
    let writing = async {
        for n in 0..50 {
            worker.output(n).await;
        }
    };
    let (ends, ()) = tokio::join!(ends.join_all(), writing);
    let (first, last) =
        (ends.iter().map(|end| end.0).min().unwrap(), ends.iter().map(|end| end.0).max().unwrap());
    assert!(last > first + Duration::from_secs(1), "spread: {first:?} to {last:?}");
    assert!(goaway < last, "before its streams are closed: {goaway:?}");
    assert!(http2.ended_within(SOON).await.is_ok(), "in order");
    assert!(system.gateways[0].wait_exit(SOON).await.success());
    assert!(began.elapsed() < Duration::from_secs(18), "{:?}", began.elapsed());
    worker.complete(Value::Null).await;
    let truth = Behind::of(&system, id).await.frames().await;
    let http2 = Http2::connect(&b).await;
    for (_, mut events, stream) in ends {
        assert_eq!(stream.ended, Some(Ok(())));
        assert!((100..=1000).contains(&stream.retry().unwrap().as_millis()), "short: {:?}", stream.retry());
        let mut rest = http2.stream_after(id, stream.last_event_id()).await;
        events.extend(rest.collect_to_end(SOON).await);
        assert_eq!(frames(&events), truth);
    }
    system.nothing_grows().await;
}

/// As behind an Envoy whose route has its default timeout for whole responses, but quicker.
#[tokio::test]
async fn who_is_cut_again_and_again_misses_and_repeats_nothing() {
    let system = System::builder().gateways(2).start().await;
    let gateways = [Http2::connect(system.client(0)).await, Http2::connect(system.client(1)).await];
    let id = system.client(0).submit("count", json!({ "n": 60, "seconds": 6 })).await;
    let (mut events, mut cursor, mut cuts) = (Vec::new(), String::new(), 0);
    loop {
        let mut stream = gateways[cuts % 2].stream_after(id, &cursor).await;
        let reading = async {
            while let Some(event) = stream.next_within(SOON).await {
                events.push(event);
            }
        };
        if tokio::time::timeout(Duration::from_millis(250), reading).await.is_ok() {
            break;
        }
        cuts += 1;
        stream.last_event_id().clone_into(&mut cursor);
    }
    assert!(cuts >= 5, "{cuts}");
    assert_eq!(frames(&events), Behind::of(&system, id).await.frames().await);
    system.nothing_grows().await;
}

#[tokio::test]
async fn an_old_connection_is_left_and_what_is_under_way_on_it_goes_on() {
    let settings = "[stream]\nmax_age = \"14s\"\nheartbeat = \"500ms\"\nheartbeat_jitter = \"0s\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let mut http2 = Http2::connect(client).await;
    // The connection is left when it is 11 to 14 s old, and the stream is closed at the same age of its own. On a busy machine each
    // may be late by some seconds.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let mut stream = http2.stream(id).await;
    let submitted = Instant::now();
    testkit::eventually(SOON, "GOAWAY", async || !http2.takes_more().await).await;
    assert!(
        submitted.elapsed() < Duration::from_secs(11),
        "before the stream is old: {:?}",
        submitted.elapsed()
    );
    while stream.more().await {}
    assert_eq!(stream.ended, Some(Ok(())), "the stream had its own time");
    http2.ended_within(SOON).await.unwrap();
    client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_claim_whose_client_goes_is_released() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let http2 = Http2::connect(client).await;
    let json = [("content-type", "application/json")];
    let claim = http2.request(Method::POST, "/api/work/claim?wait=30", &json, r#"{"tasks":["remote"]}"#);
    let waiting = tokio::time::timeout(Duration::from_millis(500), http2.send(claim)).await;
    assert!(waiting.is_err(), "there is nothing to claim, and then the client goes");
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    assert_eq!(worker.job(), id);
    worker.complete(Value::Null).await;
    system.nothing_grows().await;
}
