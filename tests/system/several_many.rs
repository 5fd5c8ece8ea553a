//! As many jobs on one stream as there may be: what it takes fits where it must, whoever's they are; and cursors of feeds with more
//! partitions than are known.

use std::collections::BTreeMap;

use model::several::{ListHash, Seen, decode};
use model::stream_token::MAX_JOBS;
use model::{JobId, Partition, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::redis::cmd;
use testkit::sse::{Event, SseStream};
use whole::{Client, Http2, Http2Stream, SOON, System, data, take};

/// The longest first line of a request that nginx takes as it is configured by default.
const NGINX_LINE: usize = 8192;

fn path(jobs: &[JobId]) -> String {
    let list: Vec<_> = jobs.iter().map(|job| format!("job={job}")).collect();
    format!("/api/events?{}", list.join("&"))
}

async fn submitted(client: &Client, count: usize) -> Vec<JobId> {
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(client.submit("remote", Value::Null).await);
    }
    jobs
}

async fn cancel(client: &Client, jobs: &[JobId]) {
    for job in jobs {
        assert_eq!(client.tell(&format!("/api/jobs/{job}/cancel"), &json!({})).await.status, 202);
    }
}

/// The names of what was told of each job.
fn told(events: &[Event]) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for event in events {
        all.entry(data(event)["jobId"].as_str().unwrap().to_owned()).or_default().push(event.event.clone());
    }
    all
}

fn each(jobs: &[JobId], names: &[&str]) -> BTreeMap<String, Vec<String>> {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    jobs.iter().map(|job| (job.to_string(), names.clone())).collect()
}

#[tokio::test]
async fn a_hundred_jobs_whosever_they_are() {
    let mut keys = format!("token_keys = [\"{}\"]\n", "11".repeat(32));
    for owner in ["acme", "other"] {
        let hash = model::fingerprint::sha256(format!("{owner}-key").as_bytes());
        keys += &format!(
            "[[auth.keys]]\nowner = \"{owner}\"\nsha256 = \"{hash}\"\nscopes = [\"submit\", \"read\"]\n"
        );
    }
    let system = System::builder().workers(0).store("partitions = 4").keys(&keys).start().await;
    let client = system.client(0);
    let (acme, other) = (client.with_key("acme-key"), client.with_key("other-key"));
    let mine = submitted(&acme, 60).await;
    let theirs = submitted(&other, 20).await;
    // In partitions that exist, that don't, and that can't.
    let unknown =
        |n: u8| JobId::new(Timestamp::from_millis(1_795_514_400_000), [n; 10], Partition(u16::from(n) * 50));
    let nobodys: Vec<_> = (0..20).map(unknown).collect();
    let jobs = [theirs.as_slice(), &mine, &nobodys].concat();
    assert_eq!(jobs.len(), MAX_JOBS);

    // A browser has nothing but the URL, which must pass a proxy.
    let answer = acme.tell("/api/tokens", &json!({ "jobs": jobs })).await;
    let path = format!("{}&token={}", path(&jobs), answer.body["token"].as_str().unwrap());
    let line = format!("GET {path} HTTP/1.1\r\n").len();
    let mut stream = SseStream::open(&client.url(&path)).await;
    let first = take(&mut stream, MAX_JOBS).await;
    let id = first.last().unwrap().id.clone().unwrap();
    println!("a first line of {line} bytes, an id of {}", id.len());
    assert!(line + "&lastEventId=".len() + id.len() < NGINX_LINE, "{line} and {}", id.len());
    let gone = [theirs.as_slice(), &nobodys].concat();
    let all = each(&mine, &["queued"]).into_iter().chain(each(&gone, &["gone"])).collect();
    assert_eq!(told(&first), all);
    for event in first.iter().filter(|event| event.event == "gone") {
        let job = data(event)["jobId"].clone();
        assert_eq!(
            data(event),
            json!({ "jobId": job, "type": "gone" }),
            "nothing tells a foreign one from none"
        );
    }

    // From any id, by header or query, on HTTP/2 too, it goes on exactly there.
    cancel(&acme, &mine[..10]).await;
    let more = take(&mut stream, 10).await;
    let whole = [first.as_slice(), &more].concat();
    for n in [1, 21, 50, 99, 105] {
        let id = whole[n - 1].id.as_deref().unwrap();
        let mut resumed = SseStream::builder(client.url(&path)).last_event_id(id).open().await;
        let by_query = format!("{path}&lastEventId={id}");
        let mut asked = SseStream::open(&client.url(&by_query)).await;
        for stream in [&mut resumed, &mut asked] {
            let rest = take(stream, whole.len() - n).await;
            assert_eq!(told(&[&whole[..n], &rest].concat()), told(&whole), "after {n}");
        }
    }
    let http2 = Http2::connect(client).await;
    let response = http2.send(http2.request(Method::GET, &path, &[("last-event-id", id.as_str())], "")).await;
    let mut stream2 = Http2Stream::new(response.unwrap(), &id);
    for _ in 0..10 {
        assert_eq!(stream2.next_within(SOON).await.unwrap().event, "cancelled");
    }
    for path in [path.as_str(), "/api/feed"] {
        let head = acme.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        assert_eq!(head.text().await.unwrap(), "");
    }

    // Only foreign ones are as good as none.
    for gone in [&theirs, &nobodys] {
        for query in ["", "&from=now"] {
            let answer = acme.ask(&format!("{}{query}", self::path(gone))).await;
            assert_eq!(answer.problem(), (404, "not-found"));
        }
    }
    // A snapshot of each that is known; the others are gone; each once.
    let mut now = SseStream::open(&client.url(&format!("{path}&from=now"))).await;
    let snapshots = take(&mut now, MAX_JOBS).await;
    let all = each(&mine, &["snapshot"]).into_iter().chain(each(&gone, &["gone"])).collect();
    assert_eq!(told(&snapshots), all);

    cancel(&acme, &mine[10..]).await;
    let rest = stream.collect_to_end(SOON).await;
    assert_eq!(told(&rest), each(&mine[10..], &["cancelled"]));
    assert_eq!(told(&now.collect_to_end(SOON).await), each(&mine[10..], &["cancelled"]));
    let over = acme.request(Method::GET, &path).header("last-event-id", stream.last_event_id());
    assert_eq!(over.send().await.unwrap().status(), 204);
    cancel(&other, &theirs).await;
    drop((now, stream2, http2));
    system.nothing_grows().await;
}

/// A growth was lost with the primary that had it, and a gateway that never heard of it serves a client who did.
#[tokio::test]
async fn a_feeds_cursor_may_know_of_more_partitions_than_the_gateway() {
    let mut system = System::builder().workers(0).store("partitions = 4").start().await;
    let client = system.client(0).clone();
    let mut redis = system.redis.client().await;
    let fill = async || {
        let mut jobs = Vec::new();
        while (0..4).any(|n| !jobs.iter().any(|job: &JobId| job.partition() == Partition(n))) {
            jobs.extend(submitted(&client, 1).await);
        }
        jobs
    };
    let before = fill().await;
    let mut stream = SseStream::open(&client.url("/api/feed")).await;
    assert_eq!(told(&take(&mut stream, before.len()).await), each(&before, &["queued"]));
    let id = stream.last_event_id().to_owned();
    drop(stream);

    let set = async |redis: &mut _, count: u16| {
        let _: () = cmd("SET").arg("jc:partitions").arg(count).query_async(redis).await.unwrap();
    };
    set(&mut redis, 1).await;
    system.gateways[0].kill();
    system.restart_gateway(0);
    system.wait_gateway(0).await;
    let mut stream = SseStream::builder(client.url("/api/feed")).last_event_id(&id).open().await;
    let first = submitted(&client, 1).await;
    let event = stream.next_within(SOON).await.unwrap();
    assert_eq!(told(std::slice::from_ref(&event)), each(&first, &["queued"]));
    let id = event.id.unwrap();
    let seen = decode(&id, |count| Some(ListHash::of_feed(count))).unwrap();
    assert_eq!(seen.len(), 4, "what it was told of the others isn't forgotten");
    assert!(!seen.contains(&Seen::NOTHING));

    set(&mut redis, 4).await;
    let mut later = SseStream::builder(client.url("/api/feed")).last_event_id(&id).open().await;
    let after = fill().await;
    for stream in [&mut stream, &mut later] {
        assert_eq!(told(&take(stream, after.len()).await), each(&after, &["queued"]), "once, and all");
    }
}
