//! The reader and the follower, before a server that answers from a script, one connection after another.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use testkit::proxy::Proxy;
use testkit::sse::{End, FollowOptions, SseStream, check_history, follow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(10);

/// A whole response with an event stream that the server ends in order (after which the connection closes).
fn stream(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{body}")
}

/// A stream that breaks off: it promises more than it has.
fn broken(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10000\r\n\r\n{body}")
}

fn event(seq: u64, name: &str) -> String {
    format!(
        "event: {name}\ndata: {{\"jobId\":\"j\",\"seq\":{seq},\"type\":\"{name}\"}}\nid: {seq}-4f2a9c\n\n"
    )
}

/// A server that gives each connection the next of `answers`, then closes it; it remembers the requests.
struct Script {
    addr: String,
    requests: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Script {
    async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut task = JoinSet::new();
        task.spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    assert!(socket.read_buf(&mut head).await.unwrap() > 0, "a whole request");
                }
                seen.lock().push(String::from_utf8(head).unwrap().to_lowercase());
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { addr, requests, _task: task }
    }

    fn url(&self) -> String {
        format!("http://{}/events", self.addr)
    }

    /// The `Last-Event-ID` of each request.
    fn cursors(&self) -> Vec<Option<String>> {
        let requests = self.requests.lock();
        let cursor = |request: &String| {
            request.lines().find_map(|line| Some(line.strip_prefix("last-event-id: ")?.into()))
        };
        requests.iter().map(cursor).collect()
    }
}

#[tokio::test]
async fn reads_a_stream_to_its_end() {
    let body = format!("retry: 1500\n: hello\n{}{}", event(1, "queued"), event(2, "completed"));
    let server = Script::start(vec![stream(&body)]).await;
    let mut stream =
        SseStream::builder(server.url()).bearer("key").last_event_id("7-abc").header("X-A", "b").open().await;
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first = stream.next_within(LONG).await.unwrap();
    assert_eq!((first.event.as_str(), first.id.as_deref()), ("queued", Some("1-4f2a9c")));
    assert_eq!(first.raw, event(1, "queued").into_bytes());
    assert_eq!(stream.collect_to_end(LONG).await.len(), 1);
    assert_eq!(stream.end(), Some(&End::Closed));
    assert_eq!(
        (stream.retry(), stream.comments()),
        (Some(Duration::from_millis(1500)), &["hello".to_owned()][..])
    );
    assert_eq!(stream.last_event_id(), "2-4f2a9c");
    let request = server.requests.lock()[0].clone();
    for line in ["get /events ", "authorization: bearer key\r\n", "last-event-id: 7-abc\r\n", "x-a: b\r\n"] {
        assert!(request.contains(line), "{request}");
    }
}

#[tokio::test]
async fn says_how_a_stream_ended() {
    let problem =
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n{}";
    let server = Script::start(vec![broken(&event(1, "queued")), problem.into()]).await;
    let mut stream = SseStream::open(server.url()).await;
    assert_eq!(stream.collect_to_end(LONG).await.len(), 1);
    assert!(matches!(stream.end(), Some(End::Broken(_))), "{:?}", stream.end());
    let mut stream = SseStream::open(server.url()).await;
    assert_eq!(stream.status(), 404);
    assert_eq!(stream.next_within(LONG).await, None);
    assert_eq!(stream.end(), Some(&End::NoStream));
    assert_eq!(stream.body().await, "{}");
}

#[tokio::test]
async fn follows_like_a_browser() {
    let server = Script::start(vec![
        broken(&format!(
            "retry: 20\n{}{}event: progress\ndata: cut",
            event(1, "queued"),
            event(2, "started")
        )),
        String::new(), // no answer at all
        stream(": nothing new\n"),
        stream(&event(3, "completed")),
        "HTTP/1.1 204 No Content\r\n\r\n".into(),
    ])
    .await;
    let log = follow(server.url(), FollowOptions::default()).wait().await;
    assert_eq!(check_history(&log.events), Ok(()));
    assert_eq!((log.connects, log.failures, log.breaks, log.comments), (5, 1, 1, 1));
    assert_eq!(log.ended, Some(204));
    let after = |cursor: &str| Some(format!("{cursor}-4f2a9c"));
    assert_eq!(server.cursors(), [None, after("2"), after("2"), after("2"), after("3")]);
}

#[tokio::test]
async fn goes_on_at_another_gateway() {
    let first = Script::start(vec![stream(&format!("retry: 5\n{}", event(1, "queued")))]).await;
    let second =
        Script::start(vec![stream(&event(2, "failed")), "HTTP/1.1 204 No Content\r\n\r\n".into()]).await;
    let options = FollowOptions { also: vec![second.url(), second.url()], ..FollowOptions::bearer("key") };
    let log = follow(first.url(), options).wait().await;
    assert_eq!(check_history(&log.events), Ok(()));
    assert_eq!(second.cursors(), [Some("1-4f2a9c".into()), Some("2-4f2a9c".into())]);
    assert!(second.requests.lock().iter().all(|request| request.contains("authorization: bearer key")));
}

#[tokio::test]
async fn gives_up_for_good_on_any_other_status() {
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    for (answer, ended) in [("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503), (html, 200)] {
        let server = Script::start(vec![answer.into()]).await;
        let log = follow(server.url(), FollowOptions::default()).wait().await;
        assert_eq!((log.connects, log.ended), (1, Some(ended)));
    }
}

#[tokio::test]
async fn stops_at_its_deadline() {
    let server = Script::start(vec![stream(&event(1, "queued"))]).await;
    let proxy = Proxy::start(&server.addr).await;
    let retry = Duration::from_millis(10);
    // Not before the first event has come, on a busy machine too.
    let options = FollowOptions { retry, deadline: Duration::from_secs(4), ..FollowOptions::default() };
    let follower = follow(format!("http://{}/", proxy.addr()), options);
    testkit::eventually(LONG, "the first event", async || follower.count() == 1).await;
    proxy.refuse();
    let log = follower.wait().await;
    assert_eq!(log.ended, None);
    assert!(log.failures > 1 && log.events.len() == 1, "{log:?}");
}
