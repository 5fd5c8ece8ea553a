//! A history that Redis lost, behind the gateways' backs: whoever knew it is told so, and holds Redis' history in the end.

use model::JobId;
use serde_json::{Value, json};
use testkit::sse::{Event, SseStream};
use whole::{Behind, Client, RawStream, Remote, SOON, Saved, System, frames, held, take};

const SOON_RECONCILED: &str = "[stream]\nreconcile = \"1s\"";

/// How often these events say that the history was rewound. Nothing else may be said.
#[track_caller]
fn rewinds(events: &[Event]) -> usize {
    let snapshots = events.iter().filter(|event| event.event == "snapshot");
    let reasons: Vec<Value> = snapshots.map(|event| serde_json::from_str(&event.data).unwrap()).collect();
    assert!(reasons.iter().all(|data| data["reason"] == "rewound"), "{reasons:?}");
    reasons.len()
}

/// A job whose history so far will be lost from event 4 on.
struct Rewinding {
    client: Client,
    worker: Remote,
    behind: Behind,
    saved: Saved,
    /// The cursors of the history to be lost, oldest first.
    void: Vec<String>,
}

impl Rewinding {
    /// Events 1 and 2, an output that stays, then `lost` outputs that are to be lost.
    async fn start(system: &System, lost: usize) -> Self {
        let client = system.client(0).clone();
        let id = client.submit("remote", Value::Null).await;
        let worker = Remote::claim(&client, "remote").await;
        let behind = Behind::of(system, id).await;
        worker.output("stays").await;
        let saved = behind.save().await;
        worker.outputs((0..lost).map(|n| json!({ "lost": n }))).await;
        let entries = behind.entries().await;
        let void =
            entries.iter().map(|entry| entry.split(' ').take(2).collect::<Vec<_>>().join("-")).collect();
        Self { client, worker, behind, saved, void }
    }

    fn id(&self) -> JobId {
        self.worker.job()
    }

    async fn rewind(&self) {
        self.behind.rewind(&self.saved).await;
    }

    /// Streams on each gateway, from the start and from the middle, and what they have seen of the history to be lost.
    async fn waiting(&self, system: &System) -> Vec<(SseStream, Vec<Event>)> {
        let mut streams = Vec::new();
        for client in &system.clients {
            for after in [0, 1, self.void.len() - 1, self.void.len()] {
                let cursor = after.checked_sub(1).map_or("", |at| &self.void[at]);
                let mut stream = client.stream_after(self.id(), cursor).await;
                let seen = take(&mut stream, self.void.len() - after).await;
                streams.push((stream, seen));
            }
        }
        streams
    }

    /// All of these streams, to their end, were told once and hold Redis' history.
    async fn check(&self, streams: Vec<(SseStream, Vec<Event>)>) {
        let truth = self.behind.frames().await;
        for (at, (mut stream, mut events)) in streams.into_iter().enumerate() {
            events.extend(stream.collect_to_end(SOON).await);
            assert_eq!(rewinds(&events), 1, "stream {at}: {events:?}");
            let snapshot = events.iter().find(|event| event.event == "snapshot").unwrap();
            assert_eq!(snapshot.id.as_deref(), Some("0-000000"), "stream {at}");
            assert_eq!(held(&events), truth, "stream {at}");
        }
    }
}

/// Waiting streams of histories of which some events are lost, and some written anew: they are told, and go on.
async fn lost_and_anew(system: &System, lost: usize, anew: usize) {
    let job = Rewinding::start(system, lost).await;
    let mut streams = job.waiting(system).await;
    job.rewind().await;
    for n in 0..anew {
        job.worker.output(json!({ "anew": n })).await;
    }
    if anew > 0 {
        let now = job.behind.frames().await;
        for (stream, events) in &mut streams {
            while held(events).len() < now.len() || rewinds(events) == 0 {
                events.extend(take(stream, 1).await);
            }
            assert_eq!(held(events), now, "{lost} lost, {anew} anew: told before the end");
        }
    }
    job.worker.complete("anew").await;
    job.check(streams).await;
}

#[tokio::test]
async fn waiting_streams_are_told_by_the_live_event_at_the_lost_end() {
    // Nothing is reconciled within the test's time: only what is published can tell.
    let system =
        System::builder().gateways(2).workers(0).settings("[stream]\nreconcile = \"5m\"").start().await;
    for (lost, anew) in [(1, 0), (1, 1), (2, 2), (2, 5)] {
        lost_and_anew(&system, lost, anew).await;
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn waiting_streams_are_told_by_the_reconcile_of_a_history_that_is_shorter_now() {
    let system = System::builder().gateways(2).workers(0).settings(SOON_RECONCILED).start().await;
    for (lost, anew) in [(5, 0), (4, 1), (9, 3)] {
        lost_and_anew(&system, lost, anew).await;
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_shorter_history_is_found_out_though_the_job_never_falls_silent() {
    let system = System::builder().gateways(2).workers(0).settings(SOON_RECONCILED).start().await;
    let job = Rewinding::start(&system, 900).await;
    let mut streams = job.waiting(&system).await;
    job.rewind().await;
    let mut told = tokio::task::JoinSet::new();
    for (mut stream, mut events) in streams.drain(..) {
        told.spawn(async move {
            while rewinds(&events) == 0 {
                events.extend(take(&mut stream, 1).await);
            }
            (stream, events)
        });
    }
    // An event now and then, long before the new history is as long as the lost one.
    let mut written = 0;
    while streams.len() < 8 {
        let pause = std::time::Duration::from_millis(100);
        if let Ok(stream) = tokio::time::timeout(pause, told.join_next()).await {
            streams.push(stream.unwrap().unwrap());
        } else {
            job.worker.output(json!({ "anew": written })).await;
            written += 1;
            assert!(written < 800, "told only where the lost history ended");
        }
    }
    job.worker.complete("anew").await;
    job.check(streams).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn waiting_streams_are_told_by_the_reconcile_where_nothing_is_published() {
    let system = System::builder().gateways(2).workers(0).settings(SOON_RECONCILED).start().await;
    let job = Rewinding::start(&system, 3).await;
    let mut streams = job.waiting(&system).await;
    job.rewind().await;
    let (now, polled) = (job.behind.frames().await, job.client.job(job.id()).await);
    for (stream, events) in &mut streams {
        let told = take(stream, 1 + now.len()).await;
        let want = json!({ "jobId": job.id(), "type": "snapshot", "reason": "rewound", "job": polled });
        assert_eq!(serde_json::from_str::<Value>(&told[0].data).unwrap(), want);
        assert_eq!(frames(&told[1..]), now);
        events.extend(told);
    }
    job.worker.output("anew").await;
    job.worker.complete(Value::Null).await;
    job.check(streams).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn reconnects_with_void_cursors_are_told() {
    let system = System::builder().gateways(3).workers(0).settings(SOON_RECONCILED).start().await;
    let job = Rewinding::start(&system, 4).await;
    // Gateway 0 has followers of the lost history, gateway 1 too until they leave; gateway 2 has never heard of the job.
    let on_a = job.client.stream(job.id()).await;
    let mut on_b = system.client(1).stream(job.id()).await;
    take(&mut on_b, job.void.len()).await;
    drop(on_b);
    job.rewind().await;
    job.worker.outputs(["anew 1", "anew 2"]).await;
    let now = job.behind.frames().await;
    let mut open = Vec::new();
    for (seq, cursor) in (1..).zip(&job.void) {
        for client in &system.clients {
            let mut stream = client.stream_after(job.id(), cursor).await;
            // What the lost history and Redis' have in common is no reason to begin anew.
            let (anew, rest) = if seq <= 3 { (0, &now[seq..]) } else { (1, &now[..]) };
            let events = take(&mut stream, anew + rest.len()).await;
            assert_eq!((rewinds(&events), frames(&events[anew..])), (anew, rest.to_vec()), "after {cursor}");
            open.push((stream, events, now.len() - rest.len()));
        }
    }
    job.worker.complete(Value::Null).await;
    let truth = job.behind.frames().await;
    for (mut stream, mut events, had) in open {
        events.extend(stream.collect_to_end(SOON).await);
        assert_eq!(held(&events), truth[had..]);
    }
    for cursor in &job.void[3..] {
        for client in &system.clients {
            let events = client.stream_after(job.id(), cursor).await.collect_to_end(SOON).await;
            assert_eq!(
                (rewinds(&events), held(&events)),
                (1, truth.clone()),
                "after the end, after {cursor}"
            );
        }
    }
    drop(on_a);
    system.nothing_grows().await;
}

#[tokio::test]
async fn an_end_that_was_lost_is_no_end() {
    let system = System::builder().gateways(2).workers(0).settings(SOON_RECONCILED).start().await;
    let job = Rewinding::start(&system, 1).await;
    let mut seen = job.client.stream(job.id()).await;
    job.worker.complete("lost").await;
    let before = seen.collect_to_end(SOON).await;
    let end = before.last().unwrap().last_event_id.clone();
    for client in &system.clients {
        assert_eq!(client.stream_after(job.id(), &end).await.status(), 204);
    }
    job.rewind().await;
    // A client that comes back once more, as one whose connection broke with the end does.
    let mut streams = Vec::new();
    for client in &system.clients {
        streams.push((client.stream_after(job.id(), &end).await, before.clone()));
    }
    let now = job.behind.frames().await;
    for (stream, events) in &mut streams {
        assert_eq!(stream.status(), 200, "the job goes on");
        events.extend(take(stream, 1 + now.len()).await);
        assert_eq!(held(events), now);
    }
    job.worker.outputs(["anew", "anew"]).await;
    job.worker.complete("kept").await;
    job.check(streams).await;
    assert_eq!(job.client.job(job.id()).await["result"], "kept");
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_was_lost_and_trimmed_too_is_told_once() {
    let system = System::builder().gateways(2).workers(0).settings(SOON_RECONCILED).start().await;
    let job = Rewinding::start(&system, 6).await;
    job.behind.trim(5).await;
    let mut streams = Vec::new();
    for client in &system.clients {
        let mut stream = client.stream_after(job.id(), &job.void[5]).await;
        let seen = take(&mut stream, 3).await;
        streams.push((stream, seen));
    }
    // Back to the three first events, which the lost history had no more; then on, and trimmed again.
    job.rewind().await;
    for (stream, events) in &mut streams {
        events.extend(take(stream, 4).await);
        assert_eq!(held(events), job.behind.frames().await);
    }
    job.worker.outputs(1..=9).await;
    for (stream, events) in &mut streams {
        events.extend(take(stream, 9).await);
    }
    job.behind.trim(8).await;
    let start = job.behind.start().await;
    for (cursor, reason) in [(&job.void[3], "trimmed"), (&job.void[6], "trimmed"), (&job.void[8], "rewound")]
    {
        for client in &system.clients {
            let mut stream = client.stream_after(job.id(), cursor).await;
            let events = take(&mut stream, 1 + 4).await;
            let data: Value = serde_json::from_str(&events[0].data).unwrap();
            assert_eq!(
                (&data["reason"], events[0].id.as_deref()),
                (&json!(reason), Some(&*start)),
                "{cursor}"
            );
            assert_eq!(held(&events), job.behind.frames().await);
        }
    }
    job.worker.complete(Value::Null).await;
    let truth = job.behind.frames().await;
    for (mut stream, mut events) in streams {
        events.extend(stream.collect_to_end(SOON).await);
        assert_eq!((rewinds(&events), &held(&events)[8..]), (1, &truth[..]));
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn rewound_again_and_again() {
    let system = System::builder().gateways(2).workers(0).settings(SOON_RECONCILED).start().await;
    let job = Rewinding::start(&system, 2).await;
    let followers = [
        job.client.follow(job.id()),
        system.client(1).follow(job.id()),
        job.client.follow_also(job.id(), &[system.client(1)]),
    ];
    let hold = async |what: &str| {
        let truth = job.behind.frames().await;
        testkit::eventually(SOON, what, async || {
            followers.iter().all(|follower| held(&follower.log().events) == truth)
        })
        .await;
    };
    hold("all have seen what is to be lost").await;
    for round in 0..6 {
        job.rewind().await;
        for n in 0..round {
            job.worker.output(json!([round, n])).await;
        }
        // Now and then they have seen what is lost next, now and then they haven't.
        if round % 2 == 0 {
            hold("all were told").await;
        }
    }
    job.worker.complete(Value::Null).await;
    let truth = job.behind.frames().await;
    for follower in followers {
        let log = follower.wait().await;
        assert_eq!((log.ended, log.breaks), (Some(204), 0));
        assert_eq!(held(&log.events), truth);
        assert!(rewinds(&log.events) >= 3, "what they had seen was lost three times");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn streams_of_a_job_that_is_gone_end() {
    let system = System::builder().gateways(2).workers(0).settings(SOON_RECONCILED).start().await;
    let job = Rewinding::start(&system, 2).await;
    let mut streams = Vec::new();
    for client in &system.clients {
        let mut stream = RawStream::open(&client.events_url(job.id()), &[]).await;
        assert!(stream.until(|body| body.matches("\n\n").count() == job.void.len()).await);
        streams.push(stream);
    }
    let follower = job.client.follow_also(job.id(), &[system.client(1)]);
    testkit::eventually(SOON, "it follows", async || follower.count() == job.void.len()).await;
    job.behind.delete().await;
    for mut stream in streams {
        let events = stream.events_to_end().await;
        assert!(stream.ended(), "ended in order");
        assert_eq!(frames(&events).len(), job.void.len(), "nothing is fired");
        assert!(stream.body().ends_with("\n: the job is gone\n"), "{:?}", stream.body());
    }
    let log = follower.wait().await;
    assert_eq!((log.ended, log.breaks, log.events.len()), (Some(404), 0, job.void.len()));
    assert_eq!(job.client.stream_after(job.id(), &job.void[1]).await.status(), 404);
}
