//! Streams that are opened while Redis is away: whatever they are of, they are accepted and wait, since an EventSource gives up for
//! good on any status but 200. What there is to say is said when Redis is back, on the stream or to the reconnect.

use model::JobId;
use serde_json::{Value, json};
use testkit::sse::{End, Event, SseStream};
use tokio::task::JoinSet;
use whole::{Client, Remote, SOON, System, take};

const UNKNOWN: [&str; 2] = ["019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000", "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6400"];

/// What is opened, and what becomes of it.
struct Case {
    path: String,
    cursor: String,
    /// The types of the events that come.
    told: &'static [&'static str],
    /// It ends with this comment.
    comment: Option<&'static str>,
    /// What the reconnect is answered; `None` where the stream has no end.
    then: Option<u16>,
    /// All that it is of has ended before.
    is_over: bool,
}

impl Case {
    fn new(path: String, told: &'static [&'static str], then: u16) -> Self {
        Self { path, cursor: String::new(), told, comment: None, then: Some(then), is_over: false }
    }

    /// What never ends.
    fn endless(path: &str, told: &'static [&'static str]) -> Self {
        Self { then: None, ..Self::new(path.into(), told, 0) }
    }

    fn over(self) -> Self {
        Self { is_over: true, ..self }
    }

    fn after(self, event: &Event) -> Self {
        Self { cursor: event.last_event_id.clone(), ..self }
    }

    fn absent(path: String) -> Self {
        Self { comment: Some("there is no such job"), ..Self::new(path, &[], 404) }
    }

    async fn open(&self, client: &Client) -> SseStream {
        let stream = SseStream::builder(client.url(&self.path)).last_event_id(&self.cursor).open().await;
        assert_eq!(stream.status(), 200, "{}", self.path);
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        stream
    }

    /// What is told as soon as Redis is back: all but the running job's end.
    async fn hear(&self, stream: &mut SseStream) -> Vec<Event> {
        let at_once = self.told.len() - usize::from(self.waits());
        take(stream, at_once).await
    }

    /// Whether it goes on until the running job ends.
    fn waits(&self) -> bool {
        self.told.last() == Some(&"cancelled") && !self.is_over
    }

    async fn check(&self, client: &Client, mut stream: SseStream, mut events: Vec<Event>) {
        match self.then {
            Some(_) => events.extend(stream.collect_to_end(SOON).await),
            None => events.extend(stream.next_within(SOON).await),
        }
        let told: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
        assert_eq!(told, self.told, "{}", self.path);
        let Some(then) = self.then else { return };
        assert_eq!(stream.end(), Some(&End::Closed), "{}", self.path);
        let mut comments = stream.comments().iter().map(String::as_str);
        assert_eq!(comments.rfind(|comment| !comment.is_empty()), self.comment, "{}", self.path);
        let again = SseStream::builder(client.url(&self.path)).last_event_id(stream.last_event_id());
        assert_eq!(again.open().await.status(), then, "{}", self.path);
    }
}

/// The cases, for a job that runs and one that has ended.
async fn cases(client: &Client, running: JobId, ended: JobId) -> Vec<Case> {
    let single = |job: &dyn std::fmt::Display| format!("/api/jobs/{job}/events");
    let several = |jobs: &[&dyn std::fmt::Display]| {
        let list: Vec<_> = jobs.iter().map(|job| format!("job={job}")).collect();
        format!("/api/events?{}", list.join("&"))
    };
    let of_ended = client.events(ended).await;
    let ended_alone = several(&[&ended]);
    let mut last = SseStream::open(client.url(&ended_alone)).await.collect_to_end(SOON).await;
    let last = last.pop().unwrap();
    let [unknown, other] = UNKNOWN;
    vec![
        Case::new(single(&running), &["queued", "started", "cancelled"], 204),
        Case::new(single(&running) + "?from=now", &["snapshot", "cancelled"], 204),
        Case::new(single(&ended), &["queued", "cancelled"], 204).over(),
        Case::new(single(&ended), &["cancelled"], 204).over().after(&of_ended[0]),
        Case::new(single(&ended), &[], 204).over().after(&of_ended[1]),
        Case::absent(single(&unknown)),
        Case::absent(single(&unknown) + "?from=now"),
        Case::new(several(&[&unknown, &running]), &["gone", "queued", "started", "cancelled"], 204),
        Case::new(ended_alone, &[], 204).after(&last),
        Case::absent(several(&[&unknown, &other])),
        Case::endless("/api/feed", &["queued", "queued", "cancelled", "started", "cancelled"]),
        Case::endless("/api/feed?from=now", &["snapshot", "cancelled"]),
    ]
}

#[tokio::test]
async fn they_wait_and_are_told_what_there_is_to_say() {
    let system = System::builder().workers(0).store("patience = \"3s\"").start().await;
    let client = system.client(0);
    let running = client.submit("remote", Value::Null).await;
    let ended = client.submit("remote", Value::Null).await;
    // The feed's last `cancelled` must be the running job's.
    assert_eq!(client.post(&format!("/api/jobs/{ended}/cancel"), &json!({})).await.status(), 202);
    let worker = Remote::claim(client, "remote").await;
    assert_eq!(worker.job(), running);
    let cases = cases(client, running, ended).await;

    system.redis.kill();
    let mut opening = JoinSet::new();
    for case in cases {
        let client = client.clone();
        opening.spawn(async move { (case.open(&client).await, case) });
    }
    let opened = opening.join_all().await;
    system.redis.restart().await;
    let mut hearing = JoinSet::new();
    for (mut stream, case) in opened {
        hearing.spawn(async move { (case.hear(&mut stream).await, stream, case) });
    }
    let heard = hearing.join_all().await;
    assert_eq!(client.post(&format!("/api/jobs/{running}/cancel"), &json!({})).await.status(), 202);
    for (events, stream, case) in heard {
        case.check(client, stream, events).await;
    }
    // It frees its place.
    worker.complete(Value::Null).await;
    system.nothing_grows().await;
}
