//! Streams and their connections: a stream may be any answer of a connection and is its last one, whatever the client does to
//! it; and nothing of a connection is left when it is over.

use std::time::Duration;

use model::JobId;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use whole::{Behind, Client, HEARTBEAT, Http, RawStream, Remote, SOON, System, Wire, frames};

/// The same promises, kept over each version of HTTP.
macro_rules! kept {
    ($($name:ident,)*) => {
        mod http10 {
            $(#[tokio::test] async fn $name() { super::$name(whole::Http::V1_0).await; })*
        }
        mod http11 {
            $(#[tokio::test] async fn $name() { super::$name(whole::Http::V1_1).await; })*
        }
    };
}

kept! {
    a_stream_may_be_any_answer_of_a_connection_and_is_its_last,
    an_answer_before_it_that_is_taken_late_is_whole,
    who_shuts_or_resets_its_side_is_gone,
    who_reads_byte_by_byte_reads_all_of_it,
    a_gateway_that_stops_ends_it_in_order,
    who_gets_no_stream_may_ask_on,
}

/// No heartbeat within a test's time.
const SILENT: &str = "[stream]\nheartbeat = \"5m\"\nlinger = \"1s\"";

/// A request on a connection that is to be kept.
fn get(http: Http, path: &str) -> String {
    format!("GET {path} {}\r\nHost: here\r\nConnection: keep-alive\r\n\r\n", http.name())
}

async fn open(http: Http, client: &Client, id: JobId) -> RawStream {
    RawStream::asked(http, &client.events_url(id), &[], None).await
}

async fn started(system: &System) -> (JobId, Remote) {
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    (id, Remote::claim(client, "remote").await)
}

async fn is_open(stream: &mut RawStream) {
    shows(stream, "event: started").await;
}

async fn shows(stream: &mut RawStream, event: &str) {
    assert!(stream.until_frame(|body| body.contains(event)).await);
}

/// What a stream has told so far. In a long run a heartbeat may come in between, however seldom they are.
fn told(stream: &RawStream) -> String {
    stream.body().split_inclusive('\n').filter(|&line| line != HEARTBEAT).collect()
}

async fn none_is_open(client: &Client) {
    testkit::eventually(SOON, "none is open", async || client.count("jobcast_open_streams").await == 0).await;
}

async fn a_stream_may_be_any_answer_of_a_connection_and_is_its_last(http: Http) {
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    let (id, worker) = started(&system).await;
    let [poll, events] = ["", "/events"].map(|part| get(http, &format!("/api/jobs/{id}{part}")));

    let mut one_by_one = Wire::open(client).await;
    for _ in 0..2 {
        one_by_one.send(&poll).await;
        assert_eq!(one_by_one.answer().await.unwrap().status, 200);
    }
    one_by_one.send(&events).await;
    let mut third = one_by_one.stream().await;
    is_open(&mut third).await;

    // What comes after the stream's request has no answer, be it sent with it or later, or no request at all.
    let mut at_once = Wire::open(client).await;
    at_once.send(format!("{poll}{poll}{events}{poll}{events}")).await;
    for _ in 0..2 {
        assert_eq!(at_once.answer().await.unwrap().status, 200);
    }
    let mut pipelined = at_once.stream().await;
    is_open(&mut pipelined).await;
    let mut talkative = open(http, client, id).await;
    is_open(&mut talkative).await;
    for noise in [poll.as_bytes(), events.as_bytes(), &vec![0; 100_000]] {
        assert!(talkative.send(noise).await);
    }
    assert_eq!(client.count("jobcast_open_streams").await, 3);

    worker.output("after all that").await;
    worker.complete(Value::Null).await;
    let truth = Behind::of(&system, id).await.frames().await;
    for stream in [&mut third, &mut pipelined, &mut talkative] {
        assert!(stream.head().starts_with(http.name()), "{}", stream.head());
        assert_eq!(stream.header("connection"), ["close"]);
        stream.events_to_end().await;
        assert!(stream.ended() && told(stream).ends_with(&truth.concat()), "{}", stream.body());
        assert!(!stream.more().await, "the connection is over with it");
    }
    none_is_open(client).await;
    system.nothing_grows().await;
}

async fn an_answer_before_it_that_is_taken_late_is_whole(http: Http) {
    const RESULT: usize = 1_000_000;
    const LARGE: usize = 8;
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    let (large, worker) = started(&system).await;
    worker.complete(json!("x".repeat(RESULT))).await;
    let (id, worker) = started(&system).await;
    let mut wire = Wire::with_buffer(client, 4096).await;
    // More than the system takes for a client that reads nothing: the last of it waits in the gateway.
    let large = get(http, &format!("/api/jobs/{large}"));
    wire.send(large.repeat(LARGE) + &get(http, &format!("/api/jobs/{id}/events"))).await;
    for _ in 0..LARGE {
        let answer = wire.answer().await.unwrap();
        let job: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(job["result"].as_str().map(str::len), Some(RESULT));
    }
    worker.complete(Value::Null).await;
    let mut stream = wire.stream().await;
    let events = stream.events_to_end().await;
    assert!(stream.ended());
    assert_eq!(frames(&events), Behind::of(&system, id).await.frames().await);
    system.nothing_grows().await;
}

async fn who_shuts_or_resets_its_side_is_gone(http: Http) {
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    let (id, worker) = started(&system).await;
    for noise in [&b""[..], b"GET / HTTP/1.1\r\n"] {
        let mut shut = open(http, client, id).await;
        is_open(&mut shut).await;
        shut.send(noise).await;
        shut.shut().await;
        none_is_open(client).await;
        assert!(!shut.more().await);
        let mut reset = open(http, client, id).await;
        is_open(&mut reset).await;
        reset.send(noise).await;
        reset.reset();
        none_is_open(client).await;
    }
    worker.complete(Value::Null).await;
    system.nothing_grows().await;
}

async fn who_reads_byte_by_byte_reads_all_of_it(http: Http) {
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    let (id, worker) = started(&system).await;
    let mut stream = RawStream::asked(http, &client.events_url(id), &[], Some(2048)).await;
    is_open(&mut stream).await;
    worker.outputs((0..100).map(|n| json!([n, "y".repeat(500)]))).await;
    worker.complete(Value::Null).await;
    while !stream.ended() && stream.one_byte().await {}
    assert!(stream.ended());
    let truth = Behind::of(&system, id).await.frames().await;
    assert!(told(&stream).ends_with(&truth.concat()));
    system.nothing_grows().await;
}

async fn a_gateway_that_stops_ends_it_in_order(http: Http) {
    let settings = "[stream]\nheartbeat = \"5m\"\ndrain = \"1s\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = open(http, client, id).await;
        shows(&mut stream, "event: queued").await;
        streams.push(stream);
    }
    let truth = Behind::of(&system, id).await.frames().await;
    system.gateways[0].terminate();
    for stream in &mut streams {
        stream.events_to_end().await;
        assert!(stream.ended());
        let retry = stream.retry().unwrap();
        assert!(retry <= Duration::from_secs(1), "{retry:?} is short");
        // It goes at a beat of its clock, which is a comment too.
        let end = format!("retry: {}\n", retry.as_millis());
        assert!(stream.body().ends_with(&format!("{HEARTBEAT}{end}")), "{}", stream.body());
        assert!(told(stream).ends_with(&(truth.concat() + &end)), "{}", stream.body());
        assert!(!stream.more().await, "the connection is over with it");
    }
    assert_eq!(system.gateways[0].wait_exit(SOON).await.code(), Some(0));
}

async fn who_gets_no_stream_may_ask_on(http: Http) {
    let key = format!("[[auth.keys]]\nowner = \"acme\"\nsha256 = \"{:064}\"\nscopes = [\"read\"]\n", 0);
    let system = System::builder().workers(0).settings(&(key + SILENT)).start().await;
    let client = system.client(0);
    let (id, worker) = started(&system).await;
    let events = format!("/api/jobs/{id}/events");
    let mut wire = Wire::open(client).await;
    for (path, status, problem) in [
        (&*events, 401, "unauthenticated"),
        ("/api/jobs/019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000/events", 404, "not-found"),
    ] {
        let key = if status == 401 { "Authorization: Bearer wrong\r\n\r\n" } else { "\r\n" };
        wire.send(get(http, path).replace("\r\n\r\n", &format!("\r\n{key}"))).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.problem(), (status, problem.to_owned()));
        assert!(answer.head.starts_with(http.name()) && answer.header("transfer-encoding").is_none());
        assert_ne!(answer.header("connection"), Some("close"));
    }
    wire.send(get(http, &events).replace("GET", "HEAD")).await;
    let answer = wire.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    wire.send(get(http, &events)).await;
    let mut stream = wire.stream().await;
    is_open(&mut stream).await;
    worker.complete(Value::Null).await;
    assert_eq!(frames(&stream.events_to_end().await), Behind::of(&system, id).await.frames().await);
    assert!(stream.ended());
    system.nothing_grows().await;
}

/// How many streams the next test opens and closes; a longer one by hand: `JOBCAST_TEST_OPENS=100000 cargo test …`.
fn opens() -> usize {
    std::env::var("JOBCAST_TEST_OPENS").map_or(3000, |opens| opens.parse().unwrap())
}

/// Opens and closes that many streams, 50 at a time, in every manner.
async fn open_and_close(client: &Client, id: JobId, count: usize) {
    let mut closing = JoinSet::new();
    for n in 0..count {
        while closing.len() >= 50 {
            closing.join_next().await.unwrap().unwrap();
        }
        let url = client.events_url(id);
        closing.spawn(async move {
            let mut stream = RawStream::asked(Http::ALL[n / 4 % 2], &url, &[], None).await;
            match n % 4 {
                0 => shows(&mut stream, "event: queued").await,
                1 => stream.reset(),
                2 => stream.shut().await,
                _ => {}
            }
        });
    }
    closing.join_all().await;
    none_is_open(client).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_is_left_of_streams_that_are_over() {
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    // Nobody works on it: a lease would run out in a long run.
    let id = client.submit("remote", Value::Null).await;
    let process = format!("/proc/{}", system.gateways[0].pid());
    let files = || std::fs::read_dir(format!("{process}/fd")).unwrap().count();
    let memory = || {
        let pages = std::fs::read_to_string(format!("{process}/statm")).unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    open_and_close(client, id, 500).await;
    let (files_before, memory_before) = (files(), memory());
    open_and_close(client, id, opens()).await;
    let settled = async || files() <= files_before + 10;
    testkit::eventually(SOON, "the files are closed", settled).await;
    let grown = memory().saturating_sub(memory_before);
    // A leak of but a stream's place in its log, some 100 bytes, shows in the long run; one of a connection in this one.
    assert!(grown < 4_000_000 + 20 * opens(), "{grown} bytes more after {} streams", opens());
    assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
    tokio::time::timeout(Duration::from_mins(1), system.nothing_grows()).await.unwrap();
}

/// Stops Redis and the gateway in turn, each for longer than a reply of Redis may take.
async fn stop_in_turn(system: &System) -> std::convert::Infallible {
    let (redis, gateway) = (&*system.redis, &system.gateways[0]);
    loop {
        for (pause, moment) in [(true, 300), (false, 250), (true, 900), (false, 400)] {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if pause {
                redis.pause();
            } else {
                gateway.pause();
            }
            tokio::time::sleep(Duration::from_millis(moment)).await;
            redis.resume();
            gateway.resume();
        }
    }
}

#[tokio::test]
async fn whoever_comes_while_redis_and_the_gateway_stop_and_go_on_is_served() {
    let impatient = "response_timeout = \"200ms\"\npatience = \"600ms\"";
    let system = System::builder().workers(0).settings(SILENT).store(impatient).start().await;
    let client = system.client(0);
    // Such a gateway refuses a call wherever a busy machine stands still for a moment.
    let id: JobId = testkit::eventually_some(SOON, "a job is accepted", async || {
        let accepted = client.post("/api/jobs", &json!({ "task": "remote" })).await;
        accepted.json::<Value>().await.unwrap()["jobId"].as_str()?.parse().ok()
    })
    .await;
    tokio::select! {
        () = open_and_close(client, id, opens()) => {}
        never = stop_in_turn(&system) => match never {},
    }
    system.redis.resume();
    system.gateways[0].resume();
    testkit::eventually(SOON, "it is cancelled", async || {
        client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
        client.ask(&format!("/api/jobs/{id}")).await.body["status"] == "cancelled"
    })
    .await;
}
