//! Bad input: each has its problem document, nothing of it is stored, and the gateway lives on.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use whole::{Answer, Client, Remote, SOON, System, Wire, WireAnswer};

const UNKNOWN: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

/// A system with one job, and the check that a test left it as it was.
struct Bench {
    system: System,
    id: model::JobId,
    stored: Vec<String>,
    job: serde_json::Value,
}

impl Bench {
    async fn start(settings: &str) -> Self {
        let system = System::builder().workers(0).settings(settings).start().await;
        let id = system.client(0).submit("remote", json!(null)).await;
        let (stored, job) = (system.stored().await, system.client(0).job(id).await);
        Self { system, id, stored, job }
    }

    fn client(&self) -> &Client {
        self.system.client(0)
    }

    /// Nothing was stored or changed, and the gateway works.
    async fn unharmed(self) {
        assert_eq!(self.system.stored().await, self.stored);
        assert_eq!(self.client().job(self.id).await, self.job);
        Remote::claim(self.client(), "remote").await.complete(1).await;
        let log = self.system.gateways[0].stderr();
        assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let mut request = self.client().request(method, path).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    async fn submit(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.send(Method::POST, "/api/jobs", &[("content-type", "application/json")], body).await
    }

    /// One answer to these bytes on a connection of their own; `None` if it was closed without one.
    async fn wire(&self, bytes: impl AsRef<[u8]>) -> Option<WireAnswer> {
        let mut wire = Wire::open(self.client()).await;
        wire.send(bytes).await;
        wire.answer().await
    }
}

#[tokio::test]
async fn bodies() {
    let bench = Bench::start("").await;
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for (body, status, problem) in [
        (b"".to_vec(), 400, "malformed"),
        (b"{".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\"".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\"} {}".to_vec(), 400, "malformed"),
        (b"{'task':'remote'}".to_vec(), 400, "malformed"),
        (b"task=remote".to_vec(), 400, "malformed"),
        (b"null".to_vec(), 400, "malformed"),
        (b"[\"remote\"]".to_vec(), 400, "malformed"),
        (b"{\"task\":7}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\",\"task\":\"remote\"}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\",\"timeout\":\"60\"}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\",\"timeout\":1e400}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\",\"payload\":01}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\",\"payload\":NaN}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\",\"payload\":\"\t\"}".to_vec(), 400, "malformed"),
        (b"\xef\xbb\xbf{\"task\":\"remote\"}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\",\"payload\":\"\xff\"}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\",\"payload\":\"\xed\xa0\x80\"}".to_vec(), 400, "malformed"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), 400, "malformed"),
        (nested(10_000).into_bytes(), 400, "malformed"),
        (format!("{{\"task\":\"remote\",\"payload\":{}}}", nested(10_000)).into_bytes(), 400, "malformed"),
        (format!("{{\"task\":\"remote\",\"payload\":{}}}", nested(129)).into_bytes(), 400, "malformed"),
        (
            format!("{{\"task\":\"remote\",\"metadata\":{{\"a\":{}}}}}", nested(10_000)).into_bytes(),
            400,
            "malformed",
        ),
        (format!("{{\"task\":{}}}", nested(10_000)).into_bytes(), 400, "malformed"),
        ("{\"a\":".repeat(100_000).into_bytes(), 400, "malformed"),
        (format!("{{\"task\":\"{}\"}}", "x".repeat(65)).into_bytes(), 400, "malformed"),
        (b"{\"task\":\"\"}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"re mote\"}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote\\u0000\"}".to_vec(), 400, "malformed"),
        (b"{\"task\":\"remote}{\"}".to_vec(), 400, "malformed"),
        ("{\"task\":\"rémote\"}".into(), 400, "malformed"),
        (b"{\"task\":\"nosuch\"}".to_vec(), 422, "unknown-task"),
        (vec![b' '; 1024 * 1024 + 64 * 1024 + 1], 413, "too-large"),
        (vec![b'x'; 9 * 1024 * 1024], 413, "too-large"),
    ] {
        let answer = bench.submit(body.clone()).await;
        assert_eq!(answer.problem(), (status, problem), "{:.99}", String::from_utf8_lossy(&body));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    bench.unharmed().await;
}

#[tokio::test]
async fn what_is_odd_and_still_good() {
    let bench = Bench::start("").await;
    let deep = format!("{{\"task\":\"remote\",\"payload\":{}1{}}}", "[".repeat(128), "]".repeat(128));
    let key = [("content-type", "application/json"), ("idempotency-key", "k")];
    for (headers, body) in [
        (&[("content-type", "application/json; charset=utf-8")][..], r#"{"task":"remote"}"#),
        (&[("content-type", "APPLICATION/JSON")], "\r\n{\t\"task\" : \"remote\"}\n"),
        (
            &[("content-type", "application/vnd.example+json"), ("content-encoding", "identity")],
            r#"{"task":"remote"}"#,
        ),
        (&key[..1], &deep),
        (&key[..1], r#"{"task":"remote","payload":123456789012345678901234567890.5}"#),
        (&key[..1], r#"{"task":"remote","payload":"\ud800"}"#),
        // A number beyond every machine number is a JSON number all the same.
        (&key, r#"{"task":"remote","payload":1e999}"#),
        (&key, r#"{"task":"remote","payload":1e999}"#),
    ] {
        let answer = bench.send(Method::POST, "/api/jobs", headers, body).await;
        assert_eq!(answer.status, 202, "{body:.99}: {answer:?}");
    }
    assert_eq!(bench.system.jobs().await, 1 + 7);
    // What went in comes out, digit by digit.
    let mut payloads = Vec::new();
    for _ in 0..8 {
        let response = bench.client().post("/api/work/claim", &json!({ "tasks": ["remote"] })).await;
        payloads.push(response.text().await.unwrap());
    }
    assert!(payloads.iter().any(|body| body.contains("\"payload\":123456789012345678901234567890.5,")));
    assert!(payloads.iter().any(|body| body.contains("\"payload\":1e999,")));
}

#[tokio::test]
async fn headers() {
    let bench = Bench::start("").await;
    let good = r#"{"task":"remote"}"#;
    const JSON: (&str, &str) = ("content-type", "application/json");
    for (headers, status, problem) in [
        (&[][..], 415, "unsupported-media-type"),
        (&[("content-type", "")], 415, "unsupported-media-type"),
        (&[("content-type", "text/plain")], 415, "unsupported-media-type"),
        (&[("content-type", "application/x-www-form-urlencoded")], 415, "unsupported-media-type"),
        (&[("content-type", "text/application/json")], 415, "unsupported-media-type"),
        (&[JSON, ("content-encoding", "gzip")], 415, "unsupported-media-type"),
        (&[JSON, JSON], 400, "doubled-header"),
        (&[JSON, ("authorization", "Bearer a"), ("authorization", "Bearer a")], 400, "doubled-header"),
        (&[JSON, ("idempotency-key", "a"), ("idempotency-key", "b")], 400, "doubled-header"),
        (&[JSON, ("idempotency-key", "\"a")], 400, "malformed"),
        (&[JSON, ("authorization", "Bearer a")], 401, "unauthenticated"),
    ] {
        let answer = bench.send(Method::POST, "/api/jobs", headers, good).await;
        assert_eq!(answer.problem(), (status, problem), "{headers:?}");
    }
    let events = format!("/api/jobs/{}/events", bench.id);
    for (headers, query, problem) in [
        (&[("last-event-id", "1"), ("last-event-id", "1")][..], "", "doubled-header"),
        (&[("last-event-id", "x")], "", "bad-cursor"),
        (&[("last-event-id", "-1")], "", "bad-cursor"),
        (&[("last-event-id", "1-")], "", "bad-cursor"),
        (&[("last-event-id", "1-4f2a9")], "", "bad-cursor"),
        (&[("last-event-id", "1-4f2a9c0")], "", "bad-cursor"),
        (&[("last-event-id", "1-4F2A9G")], "", "bad-cursor"),
        (&[("last-event-id", "1 -4f2a9c")], "", "bad-cursor"),
        (&[("last-event-id", "99999999999999999999999")], "", "bad-cursor"),
        (&[("last-event-id", "ä")], "", "bad-cursor"),
        (&[], "?lastEventId=x", "bad-cursor"),
        (&[], "?lastEventId=%ff", "bad-cursor"),
        (&[], "?lastEventId=%00", "bad-cursor"),
        (&[], "?lastEventId=1&lastEventId=1", "malformed"),
        (&[], "?from=then", "malformed"),
        (&[], "?from=now&from=now", "malformed"),
    ] {
        let answer = bench.send(Method::GET, &format!("{events}{query}"), headers, "").await;
        assert_eq!(answer.problem(), (400, problem), "{headers:?} {query}");
    }
    // Bytes that no client library sends.
    let request = |line: &[u8]| {
        let mut bytes = b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n".to_vec();
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\nContent-Type: application/json\r\n\r\n{\"task\":\"remote\"}");
        bytes
    };
    for line in [&b"Authorization: Bearer \xff"[..], b"Idempotency-Key: \xff\xfe", b"Content-Encoding: \xff"]
    {
        let answer = bench.wire(request(line)).await.unwrap();
        assert_eq!(answer.problem(), (400, "malformed".into()), "{}", String::from_utf8_lossy(line));
    }
    bench.unharmed().await;
}

#[tokio::test]
async fn ids_and_paths() {
    let bench = Bench::start("").await;
    let id = bench.id;
    let upper = id.to_string().to_uppercase();
    let bare = id.to_string().replace('-', "");
    let long = "x".repeat(8000);
    // Of a partition that there isn't: in a system of one, and in any.
    let [five, most] = ["005", "3ff"].map(|end| format!("{}{end}", &id.to_string()[..33]));
    for id in [
        UNKNOWN,
        "00000000-0000-0000-0000-000000000000",
        "x",
        "1",
        "-",
        "*",
        &upper,
        &bare,
        &five,
        &most,
        &format!("{{{id}}}"),
        &format!("{id}%20"),
        &format!("{id}%00"),
        &format!("{id}%0a"),
        &format!("{id};x=1"),
        "%ff",
        "%ff%fe",
        "a%2fb",
        "%2e%2e%2f%2e%2e",
        "%zz",
        "%",
        &long,
    ] {
        for (method, suffix) in [
            (Method::GET, ""),
            (Method::GET, "/events"),
            (Method::POST, "/cancel"),
            (Method::GET, "?wait=5"),
            (Method::POST, "/retry"),
            (Method::DELETE, ""),
        ] {
            let answer = bench.send(method, &format!("/api/jobs/{id}{suffix}"), &[], "").await;
            assert_eq!(answer.problem(), (404, "not-found"), "{id:.99}{suffix}");
        }
        let body = json!({ "leaseToken": "0".repeat(32) }).to_string();
        let headers = [("content-type", "application/json")];
        let answer = bench.send(Method::POST, &format!("/api/work/{id}/heartbeat"), &headers, body).await;
        assert_eq!(answer.problem(), (404, "not-found"), "{id:.99}");
    }
    for path in [
        "/nothing".to_owned(),
        "/api".to_owned(),
        "/api/".to_owned(),
        "//api/jobs".to_owned(),
        "/api/jobs/".to_owned(),
        "/API/JOBS".to_owned(),
        "/api/jobs%2f".to_owned(),
        "/%ff".to_owned(),
        format!("/api/jobs/{id}/"),
        format!("/api/jobs/{id}//events"),
        format!("/api/jobs/{id}/events/"),
        format!("/api/jobs/{id}/%65vents%00"),
        format!("/api/work/{id}/nothing"),
        format!("/{long}"),
        format!("/api/jobs/{id}/{long}"),
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = bench.send(method.clone(), &path, &[], "").await;
            assert_eq!(answer.problem(), (404, "not-found"), "{method} {path:.99}");
        }
    }
    // Request lines that no client library sends: refused or not found, and never our fault.
    for line in [
        "GET *",
        "OPTIONS *",
        "GET api/jobs",
        "GET ?x",
        "GET http://elsewhere/nothing",
        "CONNECT elsewhere:443",
        "GET /api/jobs/\u{e4}",
        "GET /../../etc/passwd",
        "GET /api/jobs/%",
        "TRACE /healthz",
        "G\u{0}T /healthz",
        "X-Y_Z /healthz",
    ] {
        if let Some(answer) = bench.wire(format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n")).await {
            assert!((400..500).contains(&answer.status), "{line}: {answer:?}");
        }
    }
    bench.unharmed().await;
}

#[tokio::test]
async fn methods() {
    let bench = Bench::start("").await;
    let id = bench.id;
    for (path, allowed) in [
        ("/api/jobs".to_owned(), "GET,HEAD,POST"),
        (format!("/api/jobs/{id}"), "DELETE,GET,HEAD"),
        (format!("/api/jobs/{id}/events"), "GET,HEAD"),
        (format!("/api/jobs/{id}/cancel"), "POST"),
        (format!("/api/jobs/{id}/retry"), "POST"),
        ("/api/work/claim".to_owned(), "POST"),
        (format!("/api/work/{id}/heartbeat"), "POST"),
        (format!("/api/work/{id}/complete"), "POST"),
        ("/healthz".to_owned(), "GET,HEAD"),
        ("/readyz".to_owned(), "GET,HEAD"),
        ("/metrics".to_owned(), "GET,HEAD"),
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS]
        {
            if allowed.contains(method.as_str()) {
                continue;
            }
            let answer = bench.send(method.clone(), &path, &[], "").await;
            assert_eq!(answer.problem(), (405, "method-not-allowed"), "{method} {path}");
            let mut told: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
            told.sort_unstable();
            assert_eq!(told.join(","), allowed, "{method} {path}");
        }
    }
    for path in
        ["/healthz", "/readyz", "/metrics", &format!("/api/jobs/{id}"), &format!("/api/jobs/{id}/events")]
    {
        let [get, head] = [Method::GET, Method::HEAD].map(|method| bench.client().request(method, path));
        let (get, head) = (get.send().await.unwrap(), head.send().await.unwrap());
        assert_eq!(
            (head.status(), head.headers().get("content-type")),
            (get.status(), get.headers().get("content-type"))
        );
        assert_eq!(head.text().await.unwrap(), "", "{path}");
    }
    let head = bench.client().request(Method::HEAD, &format!("/api/jobs/{UNKNOWN}")).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-type"]),
        (404, &"application/problem+json".parse().unwrap())
    );
    testkit::eventually(SOON, "no stream is left open", async || {
        bench.client().count("jobcast_open_streams").await == 0
    })
    .await;
    bench.unharmed().await;
}

#[tokio::test]
async fn heads_that_are_none_or_too_much() {
    let bench = Bench::start("").await;
    let job = format!("GET /api/jobs/{} HTTP/1.1\r\nHost: x\r\n", bench.id);
    for (name, bytes, status) in [
        ("a long header", format!("{job}X: {}\r\n\r\n", "x".repeat(17 * 1024)), 431),
        ("many headers", format!("{job}{}\r\n", "X: y\r\n".repeat(2000)), 431),
        ("many short ones", format!("{job}{}\r\n", "X: y\r\n".repeat(150)), 431),
        ("a long path", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70_000)), 414),
        ("garbage", "GARBAGE\r\n\r\n".to_owned(), 400),
        ("a later HTTP", "GET /healthz HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("no name", format!("{job}: x\r\n\r\n"), 400),
        ("a bad name", format!("{job}a b: x\r\n\r\n"), 400),
        ("a NUL", format!("{job}X: a\0b\r\n\r\n"), 400),
        ("two lengths", format!("{job}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400),
        ("no length", format!("{job}Content-Length: -1\r\n\r\n"), 400),
        ("not chunked", format!("{job}Transfer-Encoding: gzip\r\n\r\n"), 400),
    ] {
        let answer = bench.wire(bytes).await.unwrap_or_else(|| panic!("{name}: an answer"));
        // A path that is longer than a whole head may be is told as either.
        let told = if status == 414 { [414, 431].as_slice() } else { &[status] };
        assert!(told.contains(&answer.status), "{name}: {answer:?}");
        assert_eq!(answer.body, b"", "{name}: it is bare");
    }
    // What speaks another language gets an answer or not, and is cut off.
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut wire = Wire::open(bench.client()).await;
        wire.send(bytes).await;
        if let Some(answer) = wire.answer().await {
            assert_eq!(answer.status, 400);
            assert!(wire.closes_within(SOON).await);
        }
    }
    let old = bench.wire("GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!((old.status, old.body), (200, br#"{"status":"ok"}"#.to_vec()));
    bench.unharmed().await;
}

#[tokio::test]
async fn what_comes_too_slowly() {
    // Long enough for those who aren't slow, on a busy machine too; and so all at once.
    let bench = Bench::start("[gateway]\nheader_timeout = \"4s\"").await;
    let limit = Duration::from_secs(4);

    // Nothing at all; a head byte by byte; a second head that stops in its middle.
    let nothing = async {
        let began = Instant::now();
        assert!(Wire::open(bench.client()).await.closes_within(SOON).await);
        assert!(began.elapsed() >= limit);
    };
    let byte_by_byte = async {
        let began = Instant::now();
        let mut drip = Wire::open(bench.client()).await;
        let cut = async {
            while drip.send("G").await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(SOON, cut).await.expect("it is cut");
        assert!(began.elapsed() >= limit);
    };
    let second_head = async {
        let mut wire = Wire::open(bench.client()).await;
        let whole = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        wire.send(whole).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
        // Between requests a connection may rest for longer.
        assert!(!wire.closes_within(limit * 3 / 2).await, "an idle connection stays");
        let began = Instant::now();
        wire.send(&whole[..20]).await;
        assert!(wire.closes_within(SOON).await);
        assert!(began.elapsed() + Duration::from_millis(50) >= limit);
    };
    let body_that_stops = async {
        let mut wire = Wire::open(bench.client()).await;
        wire.send("POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"task\"").await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.problem(), (408, "slow-body".into()));
        assert!(wire.closes_within(SOON).await);
    };
    // One that is slow and comes: none of its pauses is too long, and all of them together are.
    let slow_body = async {
        let mut wire = Wire::open(bench.client()).await;
        let body = r#"{"task":"nosuch"}"#;
        wire.send(format!(
            "POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))
        .await;
        for byte in body.bytes() {
            wire.send([byte]).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        assert_eq!(wire.answer().await.unwrap().problem(), (422, "unknown-task".into()));
    };
    tokio::join!(nothing, byte_by_byte, second_head, body_that_stops, slow_body);
    bench.unharmed().await;
}

#[tokio::test]
async fn lengths_that_lie() {
    // Nothing here is to be too slow, however busy the machine is.
    let bench = Bench::start("[gateway]\nheader_timeout = \"5s\"").await;
    let head = "POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let good = r#"{"task":"remote"}"#;

    // Shorter than it says, and nothing more to come.
    let mut wire = Wire::open(bench.client()).await;
    wire.send(format!("{head}Content-Length: 100\r\n\r\n{good}")).await;
    wire.shut().await;
    if let Some(answer) = wire.answer().await {
        assert_eq!(answer.problem(), (400, "malformed".into()));
    }
    // Longer than it says: what follows is another request, and none.
    let mut wire = Wire::open(bench.client()).await;
    wire.send(format!("{head}Content-Length: 3\r\n\r\n{good}\r\n\r\n")).await;
    assert_eq!(wire.answer().await.unwrap().problem(), (400, "malformed".into()));
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(400));
    assert!(wire.closes_within(SOON).await);

    // In chunks: too many; none that are chunks; one cut off.
    let mut wire = Wire::open(bench.client()).await;
    wire.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut sent = 0;
    while sent < 40 && wire.send(&chunk).await {
        sent += 1;
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.answer().await.unwrap().problem(), (413, "too-large".into()));
    for chunks in ["xyz\r\n", "5\r\n{\"tas\r\n-1\r\n", "ffffffffffffffffff\r\n"] {
        let answer = bench.wire(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}")).await.unwrap();
        assert_eq!(answer.status, 400, "{chunks}: {answer:?}");
    }
    let mut wire = Wire::open(bench.client()).await;
    wire.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n11\r\n{good}\r\n")).await;
    wire.shut().await;
    if let Some(answer) = wire.answer().await {
        assert_eq!(answer.status, 400);
    }
    bench.unharmed().await;
}

#[tokio::test]
async fn who_asks_first_is_told_before_sending() {
    let bench = Bench::start("").await;
    let head = |length: usize, more: &str| {
        format!(
            "POST /api/jobs HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n{more}\r\n\r\n"
        )
    };
    for (length, more, status, problem) in [
        (5_000_000, "Content-Type: application/json", 413, "too-large"),
        (5_000_000_000, "Content-Type: application/json", 413, "too-large"),
        (17, "Content-Type: text/plain", 415, "unsupported-media-type"),
        (17, "Content-Type: application/json\r\nAuthorization: Bearer wrong", 401, "unauthenticated"),
    ] {
        let answer = bench.wire(head(length, more)).await.unwrap();
        assert_eq!(answer.problem(), (status, problem.into()), "no 100 Continue before it");
    }
    // So is who doesn't ask, where reading on makes no sense.
    let huge = "POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000000000\r\n\r\n";
    assert_eq!(bench.wire(huge).await.unwrap().problem(), (413, "too-large".into()));

    let body = r#"{"task":"nosuch"}"#;
    let mut wire = Wire::open(bench.client()).await;
    wire.send(head(body.len(), "Content-Type: application/json")).await;
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.send(body).await;
    assert_eq!(wire.answer().await.unwrap().problem(), (422, "unknown-task".into()));
    bench.unharmed().await;
}

#[tokio::test]
async fn a_refusal_reaches_who_is_still_sending() {
    let bench = Bench::start("").await;
    const JSON: (&str, &str) = ("content-type", "application/json");
    let body = json!({ "task": "remote", "payload": "x".repeat(1_000_000) }).to_string();
    let unknown = format!("/api/jobs/{UNKNOWN}/cancel");
    for _ in 0..20 {
        for (path, headers, status, problem) in [
            ("/api/jobs", &[JSON, ("authorization", "Bearer wrong")][..], 401, "unauthenticated"),
            ("/api/jobs", &[("content-type", "text/plain")], 415, "unsupported-media-type"),
            ("/api/nothing", &[JSON], 404, "not-found"),
            ("/healthz", &[JSON], 405, "method-not-allowed"),
            (&unknown, &[JSON], 404, "not-found"),
        ] {
            let answer = bench.send(Method::POST, path, headers, body.clone()).await;
            assert_eq!(answer.problem(), (status, problem), "{path} {headers:?}");
        }
    }
    bench.unharmed().await;
}
