//! The Rust client's reporter: whatever breaks between it and the gateways, each report is recorded once, and in order.

use std::time::Duration;

use client::{
    Client, ClientBuilder, JobId, Json, Output, Over, Percent, ReportError, Reporter, Status, Submit,
    Submitted, Token,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use whole::{Manner, Middleman, Remote, SOON, System, data, turns};

const SETTINGS: &str = "[jobs]\nsweep = \"100ms\"\nlease = \"10s\"\nheartbeat = \"200ms\"";

fn builder(url: impl Into<String>) -> ClientBuilder {
    Client::builder(url).connect_timeout(Duration::from_secs(2))
}

async fn submit(client: &Client, lease: u64) -> (JobId, Token) {
    let submit = Submit::new("remote".parse().unwrap(), &json!(null)).unwrap();
    let Submitted { id, status, lease_token, .. } =
        client.submit(&submit.external_lease(Duration::from_secs(lease))).await.unwrap();
    assert_eq!(status, Status::Pending);
    (id, lease_token.expect("an external job's token"))
}

fn json_of(value: Value) -> Json {
    Json::of(&value).unwrap()
}

async fn start() -> System {
    System::builder().gateways(2).workers(0).settings(SETTINGS).start().await
}

/// Reports of a started external job, which all go through what stands between. Its own heartbeats are out of the way.
async fn through_a_middleman(system: &System) -> (Middleman, Reporter) {
    let middleman = Middleman::start(&system.client(0).url(""), Manner::Pass).await;
    let client = builder(middleman.url()).retry_for(Duration::ZERO).build().unwrap();
    let (id, token) = submit(&client, 60).await;
    let report = client.report(id, token).heartbeat_every(Duration::from_mins(10));
    report.heartbeat().await.unwrap();
    (middleman, report)
}

#[tokio::test]
async fn a_job_of_another_queue_is_reported_from_start_to_end() {
    let system = start().await;
    let client = builder(system.client(0).url("")).build().unwrap();
    let (id, token) = submit(&client, 60).await;
    let report = client.report(id, token);
    assert_eq!((report.job(), report.is_over()), (id, None));
    report.progress(Some(Percent::clamped(10.0)), Some("on it")).await.unwrap();
    report.text("ä\n").await.unwrap();
    report.output(&json_of(json!(null))).await.unwrap();
    report.outputs(&[Output::Text("b".into()), Output::Json(json_of(json!([1])))]).await.unwrap();
    report.heartbeat().await.unwrap();
    report.progress(None, None).await.unwrap();
    report.complete(&json_of(json!({ "n": 1 }))).await.unwrap();
    // Sent again it is known, and a report of what has ended is not recorded.
    report.complete(&json_of(json!({ "n": 1 }))).await.unwrap();
    assert!(matches!(report.text("late").await, Err(ReportError::Lost(_))));
    assert_eq!((report.over().await, report.is_over()), (Over::Reported, Some(Over::Reported)));

    let events = system.client(1).events(id).await;
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    let outputs = ["output"; 4];
    assert_eq!(names[..3], ["queued", "started", "progress"]);
    assert_eq!(names[3..7], outputs);
    assert_eq!(names[7..], ["progress", "completed"]);
    let put = events[3..7].iter().map(data);
    let put = put.map(|event| event.get("text").or(event.get("output")).cloned().unwrap());
    let put: Vec<_> = put.collect();
    assert_eq!(json!(put), json!(["ä\n", null, "b", [1]]));
    assert_eq!(system.client(0).job(id).await["result"], json!({ "n": 1 }));
    system.nothing_grows().await;
}

#[tokio::test]
async fn lost_answers_write_nothing_twice_and_lose_nothing() {
    let system = start().await;
    let (middleman, report) = through_a_middleman(&system).await;
    for n in 1..=6_u32 {
        middleman.set(Manner::LoseAnswers);
        let before = middleman.requests();
        if n % 2 == 0 {
            // The caller lost patience: the report may have arrived, or not.
            let sent = async {
                testkit::eventually(SOON, "it was sent", async || middleman.requests() > before).await;
            };
            let text = n.to_string();
            tokio::select! {
                done = report.text(&text) => panic!("{done:?}"),
                () = sent => {}
            }
            middleman.set(Manner::Pass);
        } else {
            // It has patience: sent again until answered.
            let text = n.to_string();
            let (told, ()) = tokio::join!(report.text(&text), async {
                testkit::eventually(SOON, "it was sent", async || middleman.requests() > before).await;
                middleman.set(Manner::Pass);
            });
            told.unwrap();
        }
    }
    middleman.set(Manner::LoseAnswers);
    let before = middleman.requests();
    let result = json_of(json!("all"));
    let (told, ()) = tokio::join!(report.complete(&result), async {
        testkit::eventually(SOON, "it was sent", async || middleman.requests() > before + 1).await;
        middleman.set(Manner::Pass);
    });
    told.unwrap();
    let events = system.client(1).events(report.job()).await;
    let texts: Vec<_> = events.iter().map(data).filter_map(|event| event.get("text").cloned()).collect();
    assert_eq!(json!(texts), json!(["1", "2", "3", "4", "5", "6"]));
    assert_eq!(turns(&events), ["queued", "started", "completed"]);
}

#[tokio::test]
async fn what_may_be_recorded_keeps_its_number_whatever_is_refused() {
    let system = start().await;
    let (middleman, report) = through_a_middleman(&system).await;
    let id = report.job();
    let texts = async || {
        let page = system.client(1).request(Method::GET, &format!("/api/jobs/{id}/events"));
        let page = page.header("accept", "application/json").send().await.unwrap();
        let page: Value = page.json().await.unwrap();
        let events = page["events"].as_array().unwrap();
        json!(events.iter().filter_map(|event| event.get("text")).collect::<Vec<_>>())
    };
    // Recorded, but the caller lost patience with the answer.
    let unheard = async |text: &str, so_far: Value| {
        middleman.set(Manner::LoseAnswers);
        tokio::select! {
            done = report.text(text) => panic!("{done:?}"),
            () = testkit::eventually(SOON, "it is recorded", async || texts().await == so_far) => {}
        }
        middleman.set(Manner::Pass);
    };
    unheard("1", json!(["1"])).await;
    // An external job can't be given back.
    assert!(matches!(report.release().await, Err(ReportError::Failed(_))));
    report.text("2").await.unwrap();
    assert_eq!(texts().await, json!(["1", "2"]));

    unheard("3", json!(["1", "2", "3"])).await;
    // What stands before the gateways knows of none.
    middleman.set(Manner::RefuseAll("404 Not Found"));
    assert!(matches!(report.text("never sent").await, Err(ReportError::Failed(_))));
    middleman.set(Manner::Pass);
    report.text("4").await.unwrap();
    assert_eq!(texts().await, json!(["1", "2", "3", "4"]));
    report.complete(&json_of(json!(null))).await.unwrap();
    system.nothing_grows().await;
}

#[tokio::test]
async fn heartbeats_start_it_keep_it_and_hear_of_a_cancellation() {
    let system = start().await;
    let client = builder(system.client(0).url("")).build().unwrap();
    // Longer than the reporter stands still with this test on a busy machine.
    let (id, token) = submit(&client, 5).await;
    let report = client.report(id, token).heartbeat_every(Duration::from_millis(200));
    let status = async |id: JobId| system.client(1).job(id).await["status"].as_str().unwrap().to_owned();
    testkit::eventually(SOON, "it has started without a word", async || status(id).await == "processing")
        .await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(status(id).await, "processing", "two leases later");
    client.cancel(id).await.unwrap();
    assert_eq!(timeout(SOON, report.over()).await.unwrap(), Over::Cancelled);
    let refused = report.text("late").await.unwrap_err();
    assert!(matches!(refused, ReportError::Cancelled) && refused.is_over());
    assert!(matches!(report.complete(&json_of(json!(1))).await, Err(ReportError::Cancelled)));
    report.release().await.unwrap();
    assert_eq!(turns(&system.client(1).events(id).await), ["queued", "started", "cancelled"]);

    // Dropped without an end, it leaves the job to its lease; and whoever comes back too late is told.
    let (id, token) = submit(&client, 5).await;
    let report = client.report(id, token).heartbeat_every(Duration::from_millis(200));
    report.text("then nothing").await.unwrap();
    drop(report);
    let ended = system.client(1).ended(id).await;
    assert_eq!(ended["errorCode"], "lost", "{ended}");
    let report = client.report(id, token).heartbeat_every(Duration::from_millis(200));
    assert_eq!(timeout(SOON, report.over()).await.unwrap(), Over::Lost);
    let report = client.report(id, token);
    assert!(matches!(report.fail("x").await, Err(ReportError::Lost(_))));
    assert_eq!(report.is_over(), Some(Over::Lost));
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_refusal_is_told_and_the_next_report_is_recorded() {
    let system = start().await;
    let client = builder(system.client(0).url("")).build().unwrap();
    let (id, token) = submit(&client, 60).await;
    let report = client.report(id, token);
    for _ in 0..2 {
        let refused = report.text(&"x".repeat(70_000)).await.unwrap_err();
        assert!(!refused.is_over());
        let ReportError::Failed(error) = refused else { panic!("{refused:?}") };
        assert_eq!(error.problem().unwrap().name(), "too-large");
        report.text("ok").await.unwrap();
    }
    let ReportError::Failed(error) = report.complete(&json_of(json!("x".repeat(2 << 20)))).await.unwrap_err()
    else {
        panic!("a refusal")
    };
    assert_eq!(error.problem().unwrap().name(), "too-large");
    let ReportError::Failed(error) = report.release().await.unwrap_err() else { panic!("a refusal") };
    assert!(error.to_string().contains("can't be given back"), "{error}");
    assert_eq!(report.is_over(), None, "it goes on");
    report.fail_attempt("too much").await.unwrap();
    let job = system.client(1).job(id).await;
    assert_eq!((&job["status"], &job["error"]), (&json!("failed"), &json!("too much")), "{job}");
    assert_eq!(turns(&system.client(1).events(id).await), ["queued", "started", "failed"]);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_worker_over_http_may_use_it_too() {
    let system = start().await;
    let client = builder(system.client(0).url("")).build().unwrap();
    let id = system.client(1).submit("remote", json!(null)).await;
    for attempt in 1..=3_u32 {
        let claimed = Remote::claim(system.client(1), "remote").await;
        let report = client.report(claimed.job(), claimed.token().parse().unwrap());
        let report = report.heartbeat_every(Duration::from_millis(200));
        report.text(&format!("attempt {attempt}")).await.unwrap();
        match attempt {
            1 => report.fail_attempt("busy").await.unwrap(),
            2 => report.release().await.unwrap(),
            _ => report.complete(&json_of(json!(null))).await.unwrap(),
        }
        assert_eq!(report.over().await, Over::Reported);
    }
    let events = system.client(0).events(id).await;
    assert_eq!(
        turns(&events),
        ["queued", "started", "retrying", "started", "retrying", "started", "completed"]
    );
    system.nothing_grows().await;
}
