//! The Rust client: whatever breaks between it and the gateways, it tells each event once and in order, and makes no job twice.

use std::time::Duration;

use client::{
    Client, ClientBuilder, Connection, Event, FeedNews, FeedStart, Follow, FollowError, FollowFeed, JobId,
    List, Output, SnapshotReason, Start, Status, Submit,
};
use serde_json::{Value, json};
use testkit::proxy::Proxy;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use whole::{Behind, Manner, Middleman, Remote, SOON, System};

/// A client that loses no time: connections are on this machine, and heartbeats come every second.
fn quick(url: impl Into<String>) -> ClientBuilder {
    let s = Duration::from_secs;
    Client::builder(url)
        .heartbeat(s(2))
        .connect_timeout(s(2))
        .first_byte(s(2))
        .poll_wait(s(3))
        .poll_pause(Duration::from_millis(100))
        .stream_again(s(2))
}

/// One that waits for whatever a busy machine holds up: where polls must tell nothing.
fn patient(url: impl Into<String>) -> ClientBuilder {
    quick(url).heartbeat(SOON).connect_timeout(SOON).first_byte(SOON)
}

const HEARTBEAT: &str = "[stream]\nheartbeat = \"1s\"\nheartbeat_jitter = \"100ms\"\nretry = \"200ms\"\n";

fn submit(task: &str, payload: &Value) -> Submit {
    Submit::new(task.parse().unwrap(), payload).unwrap()
}

async fn next(follow: &mut Follow) -> Event {
    timeout(SOON, follow.next())
        .await
        .expect("something to tell in time")
        .expect("something to tell")
        .unwrap()
}

/// All that is told until the end.
async fn rest(follow: &mut Follow) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = timeout(2 * SOON, follow.next()).await.expect("an end in time") {
        events.push(event.unwrap());
    }
    events
}

/// Checks that these are all events of a job's log, each once, and that the outputs of its one attempt count to `n`.
#[track_caller]
fn assert_counted(events: &[Event], n: u64) {
    let heads = events.iter().filter_map(Event::head);
    let numbers: Vec<_> = heads.map(|head| head.cursor.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(matches!(events.last(), Some(Event::Completed { .. })), "{:?}", events.last());
    assert_eq!(counts(events), (1..=n).collect::<Vec<_>>());
}

fn counts(events: &[Event]) -> Vec<u64> {
    let outputs = events.iter().filter_map(|event| match event {
        Event::Output { output: Output::Json(json), .. } => Some(json.as_str()),
        _ => None,
    });
    let count = |json: &str| {
        let value: Value = serde_json::from_str(json).unwrap();
        value.get("count").unwrap_or(&value).as_u64().unwrap()
    };
    outputs.map(count).collect()
}

#[tokio::test]
async fn a_gateway_that_is_killed_and_restarted_is_not_noticed() {
    let mut system = System::builder().gateways(2).workers(0).settings(HEARTBEAT).start().await;
    let client = quick(system.client(0).url("")).build().unwrap();
    let job = client.submit(&submit("remote", &json!(null))).await.unwrap();
    let mut follow = client.follow(job.id, Start::BEGINNING);
    let remote = Remote::claim(system.client(1), "remote").await;
    remote.outputs(1..=3).await;
    let mut events = Vec::new();
    while counts(&events).len() < 3 {
        events.push(next(&mut follow).await);
    }
    system.gateways[0].kill();
    remote.outputs(4..=6).await;
    // What the client does meanwhile is its own affair; it is polled, as a task of the caller would.
    let (told, ()) = tokio::join!(rest(&mut follow), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        system.restart_gateway(0);
        system.wait_gateway(0).await;
        remote.outputs(7..=9).await;
        remote.complete(9).await;
    });
    events.extend(told);
    assert_counted(&events, 9);
    system.nothing_grows().await;
}

#[tokio::test]
async fn connections_that_break_or_go_dead_are_not_noticed() {
    let system = System::builder().settings(HEARTBEAT).start().await;
    let address = system.client(0).url("");
    let proxy = Proxy::start(address.strip_prefix("http://").unwrap()).await;
    let client = quick(format!("http://{}", proxy.addr())).build().unwrap();
    let job = client.submit(&submit("count", &json!({ "n": 200, "seconds": 20 }))).await.unwrap();
    let mut follow = client.follow(job.id, Start::BEGINNING);
    let (events, ()) = tokio::join!(rest(&mut follow), async {
        let again = async |before: usize| {
            testkit::eventually(SOON, "it connects again", async || proxy.connections() > before).await;
        };
        for _ in 0..5 {
            let before = proxy.connections();
            proxy.cut();
            again(before).await;
        }
        // Nothing passes, not even an end: only the client's own clock can tell.
        let before = proxy.connections();
        proxy.blackhole();
        again(before).await;
        proxy.refuse();
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.pass();
    });
    assert_counted(&events, 200);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_stream_that_is_held_back_is_replaced_by_polls_and_comes_back() {
    let system = System::builder().workers(0).settings(HEARTBEAT).start().await;
    let middleman = Middleman::start(&system.client(0).url(""), Manner::Hold).await;
    let client = quick(middleman.url()).build().unwrap();
    let job = client.submit(&submit("remote", &json!(null))).await.unwrap();
    let mut follow = client.follow(job.id, Start::BEGINNING);
    let remote = Remote::claim(system.client(0), "remote").await;
    remote.outputs(1..=3).await;
    let polled = next(&mut follow).await;
    assert!(matches!(&polled, Event::Polled(job) if job.status == Status::Processing), "{polled:?}");
    assert_eq!(polled.cursor(), None);

    middleman.set(Manner::Pass);
    let mut events = Vec::new();
    while counts(&events).len() < 3 {
        events.push(next(&mut follow).await);
    }
    remote.outputs(4..=6).await;
    remote.complete(6).await;
    events.extend(rest(&mut follow).await);
    events.retain(|event| !matches!(event, Event::Polled(_)));
    assert_counted(&events, 6);
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_a_buffer_held_back_is_told_at_the_end() {
    let system = System::builder().settings(HEARTBEAT).start().await;
    let middleman = Middleman::start(&system.client(0).url(""), Manner::Hold).await;
    let client = quick(middleman.url()).build().unwrap();
    let job = client.submit(&submit("count", &json!({ "n": 50, "seconds": 8 }))).await.unwrap();
    let mut events = rest(&mut client.follow(job.id, Start::BEGINNING)).await;
    let polls = events.iter().filter(|event| matches!(event, Event::Polled(_))).count();
    assert!(polls > 0, "polls told how it stood");
    events.retain(|event| !matches!(event, Event::Polled(_)));
    assert_counted(&events, 50);
}

#[tokio::test]
async fn where_there_are_no_streams_polls_tell_the_end() {
    let system = System::builder().start().await;
    for refusal in ["501 Not Implemented", "406 Not Acceptable", "200 OK\r\nContent-Type: text/html"] {
        let middleman = Middleman::start(&system.client(0).url(""), Manner::Refuse(refusal)).await;
        let client = quick(middleman.url()).build().unwrap();
        let job = client.submit(&submit("count", &json!({ "n": 20, "seconds": 2 }))).await.unwrap();
        let events = rest(&mut client.follow(job.id, Start::BEGINNING)).await;
        assert!(events.iter().all(|event| matches!(event, Event::Polled(_))), "{refusal}: {events:?}");
        let Some(Event::Polled(last)) = events.last() else { panic!("{refusal}: nothing was told") };
        assert_eq!(last.status, Status::Completed, "{refusal}");
        let mut states: Vec<_> = events.iter().map(|event| event.json().to_string()).collect();
        states.dedup();
        assert_eq!(states.len(), events.len(), "{refusal}: each differs from the one before");
    }
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_job() {
    let system = System::builder().workers(0).start().await;
    let middleman = Middleman::start(&system.client(0).url(""), Manner::LoseAnswers).await;
    let client = quick(middleman.url()).retry_for(SOON).build().unwrap();
    let asked = submit("remote", &json!(null));
    let (submitted, ()) = tokio::join!(client.submit(&asked), async {
        testkit::eventually(SOON, "the answer was lost twice", async || middleman.requests() >= 2).await;
        middleman.set(Manner::Pass);
    });
    let submitted = submitted.unwrap();
    assert!(submitted.replayed);
    assert_eq!(system.jobs().await, 1);
    // Two submissions of one request are two jobs; two with one key are one.
    let again = client.submit(&asked).await.unwrap();
    assert!(!again.replayed);
    let keyed = asked.clone().idempotency_key("a \"key\" \\");
    let (first, second) = (client.submit(&keyed).await.unwrap(), client.submit(&keyed).await.unwrap());
    assert_eq!((first.id, first.replayed, second.replayed), (second.id, false, true));
    assert_eq!(system.jobs().await, 3);

    middleman.set(Manner::LoseAnswers);
    let before = middleman.requests();
    let (cancelled, ()) = tokio::join!(client.cancel(submitted.id), async {
        testkit::eventually(SOON, "the answer was lost", async || middleman.requests() > before).await;
        middleman.set(Manner::Pass);
    });
    assert_eq!(cancelled.unwrap().status, Status::Cancelled);
    for id in [again.id, first.id] {
        client.cancel(id).await.unwrap();
    }
    let late = client.cancel(first.id).await.unwrap_err();
    assert_eq!(late.problem().unwrap().name(), "job-ended");
    system.nothing_grows().await;
}

#[tokio::test]
async fn ended_jobs_are_listed_and_lost_answers_retry_and_delete_them_once() {
    let system = System::builder().workers(0).start().await;
    let middleman = Middleman::start(&system.client(0).url(""), Manner::Pass).await;
    let client = quick(middleman.url()).retry_for(SOON).build().unwrap();
    let job = client.submit(&submit("remote", &json!(null))).await.unwrap().id;
    let name = |error: client::Error| error.problem().unwrap().name().to_owned();
    assert_eq!(name(client.retry(job).await.unwrap_err()), "job-living");
    assert_eq!(name(client.delete(job).await.unwrap_err()), "job-living");
    client.cancel(job).await.unwrap();

    // The first answers are lost, each with its connection.
    let lose = async || {
        middleman.set(Manner::LoseAnswers);
        let before = middleman.requests();
        testkit::eventually(SOON, "an answer was lost", async || middleman.requests() >= before + 2).await;
        middleman.set(Manner::Pass);
    };
    let (again, ()) = tokio::join!(client.retry(job), lose());
    let again = again.unwrap();
    assert!(again.replayed);
    assert_eq!(system.jobs().await, 2);

    let all = client.list(&List::new()).await.unwrap();
    assert_eq!(
        (all.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), all.next),
        (vec![again.id, job], None)
    );
    let newest = client.list(&List::new().limit(1)).await.unwrap();
    assert_eq!((&newest.jobs[..], newest.next), (&all.jobs[..1], Some(again.id)));
    let rest = List::new().limit(1).after(again.id).status(Status::Cancelled).task("remote".parse().unwrap());
    assert_eq!(client.list(&rest).await.unwrap().jobs, all.jobs[1..]);
    assert_eq!(name(client.list(&List::new().limit(1001)).await.unwrap_err()), "out-of-range");

    let (deleted, ()) = tokio::join!(client.delete(job), lose());
    deleted.unwrap();
    assert_eq!(name(client.delete(job).await.unwrap_err()), "not-found");
    client.cancel(again.id).await.unwrap();
    assert_eq!(system.jobs().await, 1);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_submission_waits_for_the_end_if_asked() {
    let system = System::builder().start().await;
    let client = quick(system.client(0).url("")).build().unwrap();
    let ended = client.submit(&submit("count", &json!({ "n": 1 })).wait(SOON)).await.unwrap();
    let job = ended.job.unwrap();
    assert_eq!((job.id, job.status), (ended.id, Status::Completed));
    let known = job.last_event_id;
    assert_eq!(client.changed(job.id, known, Duration::ZERO).await.unwrap(), None);
    assert_eq!(client.get(job.id).await.unwrap(), *job);
}

#[tokio::test]
async fn a_following_begins_where_it_is_told() {
    let system = System::builder().start().await;
    let client = patient(system.client(0).url("")).build().unwrap();
    let job = client.submit(&submit("count", &json!({ "n": 5 })).wait(SOON)).await.unwrap().job.unwrap();
    let all = rest(&mut client.follow(job.id, Start::BEGINNING)).await;
    assert_counted(&all, 5);
    for (index, event) in all.iter().enumerate() {
        let told = rest(&mut client.follow(job.id, event.cursor().unwrap())).await;
        assert_eq!(told, all[index + 1..], "after {:?}", event.cursor());
    }
    let now = rest(&mut client.follow(job.id, Start::Now)).await;
    assert!(
        matches!(&now[..], [Event::Snapshot(snapshot)] if snapshot.reason == SnapshotReason::Now && *snapshot.job == *job),
        "{now:?}"
    );
}

#[tokio::test]
async fn lost_history_is_told() {
    let system = System::builder().start().await;
    let client = patient(system.client(0).url("")).build().unwrap();
    let job = client.submit(&submit("count", &json!({ "n": 5 })).wait(SOON)).await.unwrap().job.unwrap();
    let all = rest(&mut client.follow(job.id, Start::BEGINNING)).await;
    Behind::of(&system, job.id).await.trim(4).await;
    let told = rest(&mut client.follow(job.id, all[1].cursor().unwrap())).await;
    let Some((Event::Snapshot(snapshot), after)) = told.split_first() else { panic!("{told:?}") };
    assert_eq!((snapshot.reason, snapshot.cursor), (SnapshotReason::Trimmed, all[3].cursor().unwrap()));
    assert_eq!(after, &all[4..]);

    let foreign = client::Cursor::new(3, "ffffff".parse().unwrap());
    let told = rest(&mut client.follow(job.id, foreign)).await;
    assert!(
        matches!(&told[0], Event::Snapshot(snapshot) if snapshot.reason == SnapshotReason::Trimmed),
        "{told:?}"
    );
    let foreign = client::Cursor::new(5, "ffffff".parse().unwrap());
    let told = rest(&mut client.follow(job.id, foreign)).await;
    assert!(
        matches!(&told[0], Event::Snapshot(snapshot) if snapshot.reason == SnapshotReason::Rewound),
        "{told:?}"
    );
    assert_eq!(told[1..], all[4..]);
}

#[tokio::test]
async fn what_is_refused_is_told_at_once_and_once() {
    let system = System::builder().start().await;
    let client = quick(system.client(0).url("")).retry_for(SOON).build().unwrap();
    let nowhere: JobId = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000".parse().unwrap();
    let error = client.get(nowhere).await.unwrap_err();
    assert_eq!(error.problem().unwrap().name(), "not-found");
    assert!(!error.is_retryable());
    let mut follow = client.follow(nowhere, Start::BEGINNING);
    let error = follow.next().await.unwrap().unwrap_err();
    assert_eq!(error.problem().unwrap().status, 404);
    assert!(follow.next().await.is_none());
    let error = client.submit(&submit("nope", &json!(1))).await.unwrap_err();
    assert_eq!(error.problem().unwrap().name(), "unknown-task");
    let error = client.submit(&submit("count", &json!(1)).idempotency_key("line\nbreak")).await.unwrap_err();
    assert_eq!(error.problem().unwrap().name(), "malformed");
}

#[tokio::test]
async fn who_may_not_is_told_so_and_a_token_opens_one_stream() {
    let system = System::builder().start().await;
    let port = testkit::free_port();
    let hash = model::fingerprint::sha256(b"sesame");
    let config = format!(
        "[store]\nurl = {:?}\n[auth]\nanonymous = false\ntoken_keys = [\"{}\"]\n\
         [[auth.keys]]\nowner = \"acme\"\nsha256 = \"{hash}\"\nscopes = [\"submit\", \"read\"]\n[tasks.count]\n",
        system.redis.url(),
        "a5".repeat(32),
    );
    let gateway = testkit::process::Jobcast::builder()
        .args(["gateway", "--listen", &format!("127.0.0.1:{port}")])
        .config(config)
        .start();
    let url = format!("http://127.0.0.1:{port}");
    testkit::wait_http_ok(&format!("{url}/readyz"), SOON).await;

    let stranger = quick(&url).retry_for(SOON).build().unwrap();
    let error = stranger.submit(&submit("count", &json!({ "n": 3 }))).await.unwrap_err();
    assert_eq!(error.problem().unwrap().name(), "unauthenticated");
    let owner = quick(&url).key("sesame").build().unwrap();
    let job = owner.submit(&submit("count", &json!({ "n": 3 }))).await.unwrap();
    assert_counted(&rest(&mut owner.follow(job.id, Start::BEGINNING)).await, 3);
    let error = stranger.follow(job.id, Start::BEGINNING).next().await.unwrap().unwrap_err();
    assert_eq!(error.problem().unwrap().status, 401);

    let http = testkit::http().build().unwrap();
    let answer = http.post(format!("{url}/api/tokens")).bearer_auth("sesame").json(&json!({ "job": job.id }));
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", gateway.stderr());
    let token = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let holder = quick(&url).token(token).build().unwrap();
    assert_counted(&rest(&mut holder.follow(job.id, Start::BEGINNING)).await, 3);
    assert_eq!(holder.get(job.id).await.unwrap_err().problem().unwrap().status, 401);
}

#[tokio::test]
async fn who_gives_up_says_so() {
    let port = testkit::free_port();
    let url = format!("http://127.0.0.1:{port}");
    let client = quick(&url).retry_for(Duration::ZERO).give_up_after(Duration::from_secs(3)).build().unwrap();
    let nowhere: JobId = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000".parse().unwrap();
    let error = client.get(nowhere).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().starts_with(&format!("{url} doesn't answer: Connection refused")), "{error}");
    let mut follow = client.follow(nowhere, Start::BEGINNING);
    let error = timeout(SOON, follow.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, FollowError::Unreachable { .. }) && error.is_retryable(), "{error}");
}

/// A feed's news until `ends` jobs have ended: its events' JSON, and what was told of the connection.
async fn until_ended(feed: &mut FollowFeed, ends: usize) -> (Vec<Value>, Vec<Connection>, Vec<FeedStart>) {
    let (mut events, mut connections, mut cursors, mut ended) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while ended < ends {
        let news = timeout(2 * SOON, feed.next()).await.expect("news in time").expect("a feed doesn't end");
        match news.unwrap() {
            FeedNews::Event(event) => {
                ended += usize::from(event.end().is_some());
                events.push(serde_json::from_str(event.json().as_str()).unwrap());
                cursors.push(FeedStart::After(event.cursor));
            }
            FeedNews::Connection(connection) => connections.push(connection),
            other => panic!("{other:?}"),
        }
    }
    (events, connections, cursors)
}

/// Each job's events as they were told.
fn by_job(events: &[Value]) -> std::collections::BTreeMap<String, Vec<Value>> {
    let mut jobs = std::collections::BTreeMap::<_, Vec<_>>::new();
    for event in events {
        jobs.entry(event["jobId"].as_str().unwrap().to_owned()).or_default().push(event.clone());
    }
    jobs
}

#[tokio::test]
async fn a_feed_is_told_once_whatever_breaks_and_goes_on_from_any_cursor() {
    let system = System::builder().workers(2).store("partitions = 4").settings(HEARTBEAT).start().await;
    let address = system.client(0).url("");
    let proxy = Proxy::start(address.strip_prefix("http://").unwrap()).await;
    let client = quick(format!("http://{}", proxy.addr())).build().unwrap();
    let mut feed = client.follow_feed(FeedStart::Beginning);
    let count = 40;
    let ((events, connections, cursors), ()) = tokio::join!(until_ended(&mut feed, count), async {
        for n in 0..count {
            system.client(0).submit("count", json!({ "n": 1, "seconds": 0.1 })).await;
            if n % 8 == 3 {
                // While jobs run: what they tell meanwhile comes afterwards.
                let before = proxy.connections();
                proxy.cut();
                testkit::eventually(SOON, "it connects again", async || proxy.connections() > before).await;
            }
        }
        proxy.blackhole();
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.refuse();
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.pass();
    });
    let (truth, ..) =
        until_ended(&mut quick(&address).build().unwrap().follow_feed(FeedStart::Beginning), count).await;
    assert_eq!(by_job(&events), by_job(&truth));
    let waits =
        |connection: &&Connection| matches!(connection, Connection::Waiting { why } if !why.is_empty());
    assert!(connections.iter().filter(waits).count() >= 5, "each break is told: {connections:?}");
    assert!(connections.contains(&Connection::Streaming));

    for n in [0, events.len() / 2, events.len() - 2] {
        let left = events[n + 1..].iter().filter(|event| event["type"] == "completed").count();
        let (rest, ..) = until_ended(&mut client.follow_feed(cursors[n].clone()), left).await;
        let whole: Vec<_> = events[..=n].iter().cloned().chain(rest).collect();
        assert_eq!(by_job(&whole), by_job(&truth), "after {n}");
    }

    let mut now = patient(&address).build().unwrap().follow_feed(FeedStart::Now);
    loop {
        match timeout(SOON, now.next()).await.unwrap().unwrap().unwrap() {
            FeedNews::Connection(Connection::Streaming) => {}
            FeedNews::Snapshot { reason: SnapshotReason::Now, .. } => break,
            other => panic!("{other:?}"),
        }
    }
    let job = system.client(0).submit("count", json!({ "n": 1 })).await;
    let (events, ..) = until_ended(&mut now, 1).await;
    assert_eq!(by_job(&events).into_keys().collect::<Vec<_>>(), [job.to_string()]);

    let mut bad = client.follow_feed(FeedStart::After("AAAA".parse().unwrap()));
    let error = timeout(SOON, bad.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.problem().unwrap().status, 400);
    assert!(bad.next().await.is_none());
}
