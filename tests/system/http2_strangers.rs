//! What strangers may send to a port that speaks HTTP/2 costs little, ends, and harms nobody.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use whole::http2_frames::{Frames, Kind, PREFACE, frame, get};
use whole::{Client, Http2, SOON, System};

/// The gateway is well, and nothing of a stranger is left.
async fn unharmed(system: &System) {
    assert_eq!(Http2::connect(system.client(0)).await.get("/readyz").await.status, 200);
    testkit::eventually(SOON, "no stream is left", async || {
        system.client(0).count("jobcast_open_streams").await == 0
    })
    .await;
    assert!(system.gateways[0].exited().is_none());
    assert!(!system.gateways[0].stderr().contains("panicked"), "{}", system.gateways[0].stderr());
}

#[tokio::test]
async fn garbage() {
    // Long enough for those who mean well, on a busy machine too.
    let system = System::builder().workers(0).settings("[gateway]\nheader_timeout = \"4s\"").start().await;
    let client = system.client(0).clone();
    let mut strangers = JoinSet::new();
    let settings = frame(Kind::Settings, 0, 0, &[]);
    let with = |frames: &[Vec<u8>]| [PREFACE, &settings, &frames.concat()].concat();
    for (name, bytes) in [
        ("half a preface", PREFACE[..10].to_vec()),
        ("one byte of it", PREFACE[..1].to_vec()),
        ("another end of it", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        ("a later HTTP", b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("the preface alone", PREFACE.to_vec()),
        ("no settings", [PREFACE, b"GET / HTTP/1.1\r\n\r\n"].concat()),
        ("zeros", [PREFACE, &[0; 1000]].concat()),
        ("ones", [PREFACE, &[0xff; 1000]].concat()),
        ("settings alone", with(&[])),
        ("bad settings", with(&[frame(Kind::Settings, 0, 0, &[0; 5])])),
        ("data of no stream", with(&[frame(Kind::Data, 0, 1, b"x")])),
        ("data of the connection", with(&[frame(Kind::Data, 0, 0, b"x")])),
        ("an even stream", with(&[frame(Kind::Headers, 0x5, 2, &get("/healthz"))])),
        ("bad HPACK", with(&[frame(Kind::Headers, 0x5, 1, &[0xff; 50])])),
        ("a lone continuation", with(&[frame(Kind::Continuation, 0x4, 1, &get("/healthz"))])),
        ("a head without an end", with(&[frame(Kind::Headers, 0x1, 1, &get("/healthz"))])),
        ("a large frame", [PREFACE, &settings, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat()),
        ("a window of nothing", with(&[frame(Kind::WindowUpdate, 0, 0, &[0; 4])])),
        ("a window too wide", with(&[frame(Kind::WindowUpdate, 0, 0, &[0x7f, 0xff, 0xff, 0xff])])),
        (
            "a kind that there isn't",
            with(&[[&frame(Kind::Data, 0, 1, b"x")[..3], &[99, 0, 0, 0, 0, 0], b"x"].concat()]),
        ),
    ] {
        let client = client.clone();
        strangers.spawn(async move {
            let mut wire = Frames::open(&client).await;
            wire.send(&bytes).await;
            assert!(wire.ends_within(SOON).await, "{name}");
        });
    }
    strangers.join_all().await;
    unharmed(&system).await;
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0).clone();
    let http2 = Http2::connect(&client).await;
    let long = "x".repeat(17 * 1024);
    let answer = http2.answer(http2.request(Method::GET, "/healthz", &[("x", &long)], "")).await;
    assert_eq!(answer.status, 431);
    assert_eq!(http2.get("/healthz").await.status, 200, "its connection goes on");
    // A head that never ends.
    let mut wire = Frames::begin(&client, &[]).await;
    assert!(wire.send(&frame(Kind::Headers, 0x1, 1, &get("/healthz"))).await);
    let mut block = vec![0x00, 1, b'x', 0x7f, 0x80 + 1, 0x7d]; // a header of 16,000 bytes, not indexed
    block.extend([b'x'; 16_000]);
    let mut sent = 0;
    while sent < 1000 && wire.send(&frame(Kind::Continuation, 0, 1, &block)).await {
        sent += 1;
    }
    assert!(sent < 1000, "it is cut");
    // One of nothing, without an end.
    let mut wire = Frames::begin(&client, &[]).await;
    assert!(wire.send(&frame(Kind::Headers, 0x1, 1, &get("/healthz"))).await);
    let mut sent = 0;
    while sent < 100_000 && wire.send(&frame(Kind::Continuation, 0, 1, &[])).await {
        sent += 1;
    }
    assert!(sent < 100_000, "it is cut");
    unharmed(&system).await;
}

/// Opens streams and resets each at once, until it is cut; how many.
async fn flood(client: &Client, path: &str, most: u32) -> u32 {
    let mut wire = Frames::begin(client, &[]).await;
    let block = get(path);
    for n in 0..most {
        let stream = 2 * n + 1;
        let pair =
            [frame(Kind::Headers, 0x5, stream, &block), frame(Kind::Reset, 0, stream, &8u32.to_be_bytes())];
        if !wire.send(&pair.concat()).await {
            return n;
        }
    }
    assert!(wire.ends_within(SOON).await, "it is cut");
    most
}

#[tokio::test]
async fn a_flood_of_resets_is_cut() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0).clone();
    let id = client.submit("remote", Value::Null).await;
    for path in [
        "/healthz".to_owned(),
        format!("/api/jobs/{id}"),
        format!("/api/jobs/{id}?wait=30"),
        format!("/api/jobs/{id}/events"),
    ] {
        let resets = flood(&client, &path, 200_000).await;
        assert!(resets < 200_000, "{path}: {resets}");
    }
    // Slower, so that each is looked at before it is reset.
    let mut wire = Frames::begin(&client, &[]).await;
    let block = get(&format!("/api/jobs/{id}?wait=30"));
    let mut cut = false;
    for n in 0..2000 {
        let stream = 2 * n + 1;
        cut |= !wire.send(&frame(Kind::Headers, 0x5, stream, &block)).await;
        if n % 20 == 19 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            for stream in (stream - 38..=stream).step_by(2) {
                cut |= !wire.send(&frame(Kind::Reset, 0, stream, &8u32.to_be_bytes())).await;
            }
        }
        if cut {
            break;
        }
    }
    assert!(cut || wire.ends_within(SOON).await, "it is cut");
    client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    unharmed(&system).await;
}

#[tokio::test]
async fn who_does_nothing_is_sent_away_and_who_is_gone_is_found() {
    // Longer than whoever is there stands still with this test on a busy machine.
    let settings = "[gateway]\nheader_timeout = \"3s\"\nidle_timeout = \"7s\"\n[stream]\nstall = \"5s\"\nheartbeat = \"500ms\"\nheartbeat_jitter = \"0s\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0).clone();
    let asks_nothing = async {
        let began = Instant::now();
        let mut idle = Http2::connect(&client).await;
        idle.ended_within(SOON).await.unwrap();
        assert!(began.elapsed() >= Duration::from_secs(3));
    };
    let asks_once = async {
        let mut idle = Http2::connect(&client).await;
        // From before it asks: what comes after the answer may be noticed late.
        let began = Instant::now();
        assert_eq!(idle.get("/healthz").await.status, 200);
        idle.ended_within(SOON).await.unwrap();
        assert!(began.elapsed() > Duration::from_secs(6), "{:?}", began.elapsed());
    };
    tokio::join!(asks_nothing, asks_once);
    // A stream keeps it, for as long as its client answers pings.
    let id = client.submit("remote", Value::Null).await;
    let mut stays = Http2::connect(&client).await;
    let mut stream = stays.stream(id).await;
    let mut gone = Frames::begin(&client, &[]).await;
    assert!(gone.send(&frame(Kind::Headers, 0x5, 1, &get(&format!("/api/jobs/{id}/events")))).await);
    assert!(gone.next_of(Kind::Ping).await.is_some(), "it is asked");
    assert!(gone.ends_within(SOON).await, "and cut, as it doesn't answer");
    for _ in 0..10 {
        assert!(stream.more().await);
    }
    assert!(stays.takes_more().await);
    client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    stream.collect_to_end(SOON).await;
    stays.ended_within(SOON).await.unwrap();
    unharmed(&system).await;
}

#[tokio::test]
async fn more_streams_than_there_may_be_wait() {
    let settings = "[gateway]\nmax_streams = 3";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0).clone();
    let id = client.submit("remote", Value::Null).await;
    let http2 = Http2::connect(&client).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(http2.stream(id).await);
    }
    let poll = http2.send(http2.request(Method::GET, "/healthz", &[], ""));
    assert!(tokio::time::timeout(Duration::from_millis(300), poll).await.is_err(), "it waits");
    drop(streams.pop());
    assert_eq!(http2.get("/healthz").await.status, 200);
    // Who doesn't heed it is refused.
    const REFUSED: [u8; 4] = 7u32.to_be_bytes();
    let mut wire = Frames::begin(&client, &[]).await;
    for stream in [1, 3, 5, 7] {
        assert!(
            wire.send(&frame(Kind::Headers, 0x5, stream, &get(&format!("/api/jobs/{id}?wait=30")))).await
        );
    }
    let reset = wire.next_of(Kind::Reset).await.unwrap();
    assert_eq!((reset.stream, &reset.payload[..]), (7, &REFUSED[..]));
    client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    drop((streams, wire));
    unharmed(&system).await;
}
