//! An owner's feed: the life-cycle events of all of its jobs, in order in each partition, once, resumable, without end.

use std::collections::BTreeMap;
use std::time::Duration;

use model::JobId;
use serde_json::{Value, json};
use testkit::redis::cmd;
use testkit::sse::{Event, FollowOptions, SseStream, follow};
use whole::{Client, SOON, System, data};

const LIFE: [&str; 6] = ["queued", "started", "retrying", "completed", "failed", "cancelled"];

/// The life-cycle events of each job, as its own stream tells them, less what a feed leaves out.
async fn truth(client: &Client, jobs: &[JobId]) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::new();
    for &job in jobs {
        let events = client.events(job).await;
        let life = events.iter().filter(|event| LIFE.contains(&event.event.as_str())).map(|event| {
            let mut event = data(event);
            event.as_object_mut().unwrap().remove("result");
            event
        });
        all.insert(job.to_string(), life.collect());
    }
    all
}

fn by_job(events: &[Event]) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for event in events {
        let event = data(event);
        all.entry(event["jobId"].as_str().unwrap().to_owned()).or_default().push(event);
    }
    all
}

fn ends(events: &[Event]) -> usize {
    events.iter().filter(|event| LIFE[3..].contains(&event.event.as_str())).count()
}

/// The stream's events until `count` jobs have ended.
async fn until_ended(stream: &mut SseStream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while ends(&events) < count {
        events.push(stream.next_within(SOON).await.expect("a feed doesn't end"));
    }
    events
}

#[tokio::test]
async fn a_feed_tells_every_jobs_life_and_resumes_anywhere() {
    let system = System::builder().gateways(2).store("partitions = 4").start().await;
    let (a, b) = (system.client(0), system.client(1));
    // Before the first job of the owner there is no feed in Redis yet.
    let mut early = SseStream::open(&b.url("/api/feed")).await;
    let mut jobs = Vec::new();
    for n in 0..12 {
        // Some fail: the program can't run without its payload.
        let payload = if n % 4 == 3 { Value::Null } else { json!({ "n": 3 }) };
        jobs.push(a.submit("count", payload).await);
    }
    let seen = until_ended(&mut early, jobs.len()).await;
    let truth = truth(a, &jobs).await;
    assert_eq!(by_job(&seen), truth);
    assert!(
        seen.iter().all(|event| LIFE.contains(&event.event.as_str()) && !event.data.contains("\"result\""))
    );
    let mut late = SseStream::open(&a.url("/api/feed")).await;
    assert_eq!(by_job(&until_ended(&mut late, jobs.len()).await), truth, "from the beginning");

    for n in (1..seen.len()).step_by(5) {
        let id = seen[n - 1].id.as_deref().unwrap();
        let mut stream = SseStream::builder(a.url("/api/feed")).last_event_id(id).open().await;
        let rest = until_ended(&mut stream, jobs.len() - ends(&seen[..n])).await;
        let whole: Vec<_> = seen[..n].iter().cloned().chain(rest).collect();
        assert_eq!(by_job(&whole), truth, "after {n}");
    }

    // Now, from nothing, and from a feed's end: only what follows.
    let mut now = SseStream::open(&b.url("/api/feed?from=now")).await;
    let snapshot = now.next_within(SOON).await.unwrap();
    assert_eq!(
        (snapshot.event.as_str(), data(&snapshot)),
        ("snapshot", json!({ "type": "snapshot", "reason": "now" }))
    );
    let mut resumed =
        SseStream::builder(a.url("/api/feed")).last_event_id(snapshot.id.as_deref().unwrap()).open().await;
    let job = b.submit("count", json!({ "n": 1 })).await;
    let truth = self::truth(a, &[job]).await;
    for stream in [&mut now, &mut resumed, &mut early] {
        assert_eq!(by_job(&until_ended(stream, 1).await), truth);
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn who_reconnects_all_the_time_loses_and_repeats_nothing() {
    let settings =
        "[stream]\nmax_age = \"1s\"\nheartbeat = \"100ms\"\nheartbeat_jitter = \"20ms\"\nretry = \"100ms\"";
    let system =
        System::builder().gateways(2).workers(2).store("partitions = 4").settings(settings).start().await;
    let client = system.client(0);
    let options = FollowOptions {
        also: vec![system.client(1).url("/api/feed")],
        max_retry: Duration::from_millis(100),
        deadline: 2 * SOON,
        ..Default::default()
    };
    let follower = follow(client.url("/api/feed"), options);
    let mut jobs = Vec::new();
    // Until it has come back some times, however long the machine stood still meanwhile.
    while jobs.len() < 80 || (follower.log().connects <= 4 && jobs.len() < 500) {
        jobs.push(client.submit("count", json!({ "n": 2, "seconds": 0.05 })).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    testkit::eventually(SOON, "every end is told", async || ends(&follower.log().events) >= jobs.len()).await;
    let log = follower.log();
    assert!(log.connects > 4, "{} connects", log.connects);
    assert_eq!(by_job(&log.events), truth(client, &jobs).await);
}

#[tokio::test]
async fn a_feed_is_its_owners_alone() {
    let key = |owner: &str, key: &str| {
        let hash = model::fingerprint::sha256(key.as_bytes());
        format!("[[auth.keys]]\nowner = \"{owner}\"\nsha256 = \"{hash}\"\nscopes = [\"submit\", \"read\"]\n")
    };
    let system = System::builder().keys(&(key("one", "key-1") + &key("two", "key-2"))).start().await;
    let [one, two] = ["key-1", "key-2"].map(|key| system.client(0).with_key(key));
    let open = async |key: &str| {
        let url = system.client(0).url("/api/feed");
        SseStream::builder(url).header("Authorization", &format!("Bearer {key}")).open().await
    };
    let (mut of_one, mut of_two) = (open("key-1").await, open("key-2").await);
    let mine = one.submit("count", json!({ "n": 1 })).await;
    let theirs = two.submit("count", json!({ "n": 1 })).await;
    let told = |events: Vec<Event>| by_job(&events).into_keys().collect::<Vec<_>>();
    assert_eq!(told(until_ended(&mut of_one, 1).await), [mine.to_string()]);
    assert_eq!(told(until_ended(&mut of_two, 1).await), [theirs.to_string()]);
    assert_eq!(system.client(0).get("/api/feed").await.status(), 401);
}

#[tokio::test]
async fn a_trimmed_a_rewound_and_an_expired_feed_say_so() {
    let settings = "[stream]\nreconcile = \"300ms\"";
    let system = System::builder().settings(settings).start().await;
    let client = system.client(0);
    let mut redis = system.redis.client().await;
    let key = "jc:{0.325}:feedof:anonymous";
    let job = async || {
        let id = client.submit("count", json!({ "n": 1 })).await;
        client.ended(id).await;
        id
    };
    let first = job().await;
    let mut stream = SseStream::open(&client.url("/api/feed")).await;
    let seen = until_ended(&mut stream, 1).await;
    let early = seen[0].id.clone().unwrap();
    let saved: Vec<u8> = cmd("DUMP").arg(key).query_async(&mut redis).await.unwrap();
    let second = job().await;
    until_ended(&mut stream, 1).await;
    let reason = |event: &Event| {
        assert_eq!(event.event, "snapshot");
        let data = data(event);
        assert!(data.get("jobId").is_none(), "a feed is of no one job");
        data["reason"].as_str().unwrap().to_owned()
    };

    // Trimmed: who stood before what was cut off is told; who starts anew too.
    let _: Vec<String> = cmd("LPOP").arg(key).arg(2).query_async(&mut redis).await.unwrap();
    for cursor in ["", early.as_str()] {
        let mut stream = SseStream::builder(client.url("/api/feed")).last_event_id(cursor).open().await;
        assert_eq!(reason(&stream.next_within(SOON).await.unwrap()), "trimmed", "{cursor:?}");
        let rest = until_ended(&mut stream, 2).await;
        assert_eq!(rest.first().map(|event| event.event.as_str()), Some("completed"));
        assert_eq!(by_job(&rest).into_keys().max(), Some(first.max(second).to_string()));
    }

    // Rewound: an open stream is told by the reconcile.
    let _: () = cmd("RESTORE")
        .arg(key)
        .arg(1_000_000)
        .arg(&saved)
        .arg("REPLACE")
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(reason(&stream.next_within(SOON).await.unwrap()), "rewound");
    assert_eq!(
        by_job(&until_ended(&mut stream, 1).await).into_keys().collect::<Vec<_>>(),
        [first.to_string()]
    );

    // Expired, and come back with a seq far ahead.
    let _: i64 = cmd("DEL").arg(key).query_async(&mut redis).await.unwrap();
    assert_eq!(reason(&stream.next_within(SOON).await.unwrap()), "trimmed");
    let third = job().await;
    let told = until_ended(&mut stream, 1).await;
    assert_eq!(by_job(&told), truth(client, &[third]).await, "nothing more is told before what follows");
}

#[tokio::test]
async fn bad_cursors_are_refused() {
    let system = System::builder().start().await;
    let client = system.client(0);
    let mut stream = SseStream::open(&client.url("/api/feed")).await;
    client.submit("count", json!({ "n": 1 })).await;
    let id = stream.next_within(SOON).await.unwrap().id.unwrap();
    for cursor in ["x", "0", "17-4f2a9c", &id[..id.len() - 3], &format!("{id}AAAA"), "====", "AAAA"] {
        let response = client
            .request(reqwest::Method::GET, "/api/feed")
            .header("last-event-id", cursor)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400, "{cursor}");
    }
}
