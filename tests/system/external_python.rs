//! The example with RQ, as a user runs it: RQ's own worker, on the Redis server that Jobcast uses too. RQ comes from the Python package index.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::JobId;
use serde_json::{Value, json};
use testkit::process::{Jobcast, JobcastBuilder};
use testkit::sse::check_history;
use whole::{Client, Manner, Middleman, SOON, System, data, repository, turns};

const SETTINGS: &str = "[jobs]\nlease = \"1s\"\nheartbeat = \"200ms\"\nsweep = \"200ms\"\n[tasks.census]";
const BOOK: &str = "examples/data/book.txt";

fn folder() -> PathBuf {
    repository().join("examples/external")
}

/// A Python with what the example requires; made once, and again when its list changes.
fn python() -> PathBuf {
    let wanted = std::fs::read_to_string(folder().join("requirements.txt")).unwrap();
    let home = testkit::process::binary().parent().unwrap().join("external-python");
    std::fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let (venv, installed) = (home.join("venv"), home.join("installed.txt"));
    if std::fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        drop(std::fs::remove_dir_all(&venv));
        run(
            Command::new("python3").args(["-m", "venv"]).arg(&venv),
            "Debian packs venv apart: scripts/setup python3-venv",
        );
        run(
            Command::new(venv.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check", "--retries", "2", "-r"])
                .arg(folder().join("requirements.txt")),
            "is PyPI reachable? pip's own settings (index-url, proxy, cert) are honoured",
        );
        // Last, so that a try that was cut off is begun anew.
        std::fs::write(&installed, wanted).unwrap();
    }
    venv.join("bin/python")
}

#[track_caller]
fn run(command: &mut Command, hint: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {hint}"));
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {says}\n{hint}");
}

/// A program of the example, beside what it may import.
fn program(python: &Path, jobcast: &str, redis: &str) -> JobcastBuilder {
    Jobcast::builder()
        .program(python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", folder())
        .env("JOBCAST_URL", jobcast)
        .env("REDIS_URL", redis)
}

/// Gateways, an RQ worker on their Redis, and the application.
struct Rq {
    system: System,
    python: PathBuf,
}

impl Rq {
    async fn start() -> Self {
        let python = python();
        Self { system: System::builder().gateways(2).workers(0).settings(SETTINGS).start().await, python }
    }

    fn worker(&self, options: &[&str]) -> Jobcast {
        let (jobcast, redis) = (self.system.client(1).url(""), self.system.redis.url());
        let worker =
            program(&self.python, &jobcast, &redis).args(["-m", "rq.cli", "worker", "--url", &redis]);
        worker.args(options).arg("census").start()
    }

    /// The application, and the id of the job that it submitted.
    async fn app(&self, path: &str, pause: &str) -> (Jobcast, JobId) {
        let app = program(&self.python, &self.system.client(0).url(""), &self.system.redis.url());
        let app =
            app.arg(folder().join("app.py")).arg(repository().join(path)).args(["--pause", pause]).start();
        let id = testkit::eventually_some(SOON, "it says the job's id", async || {
            assert!(app.exited().is_none_or(|status| status.success()), "{}", app.stderr());
            app.stdout().lines().next()?.parse().ok()
        })
        .await;
        (app, id)
    }

    /// Waits until the worker has reported some of it.
    async fn begun(&self, id: JobId) {
        let client = self.system.client(1);
        testkit::eventually(SOON, "the work has begun", async || !client.job(id).await["progress"].is_null())
            .await;
    }
}

/// What the application printed of each event: its number and its type.
fn shown(app: &Jobcast) -> Vec<String> {
    let lines = app.stdout();
    lines.lines().skip(1).map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// What it must have printed.
async fn truth(client: &Client, id: JobId) -> Vec<String> {
    let events = client.events(id).await;
    check_history(&events).unwrap();
    events.iter().map(|event| format!("{} {}", data(event)["seq"], event.event)).collect()
}

#[test]
fn the_helper_is_short() {
    let source = std::fs::read_to_string(folder().join("jobcast.py")).unwrap();
    assert!(source.lines().count() < 80, "{} lines", source.lines().count());
}

#[tokio::test]
async fn rq_does_the_work_and_jobcast_tells_how_it_goes() {
    let rq = Rq::start().await;
    let (a, b) = (rq.system.client(0), rq.system.client(1));
    let (app, id) = rq.app(BOOK, "0").await;
    let browser = b.follow(id);
    assert_eq!(a.job(id).await["status"], "pending", "nobody works yet");
    let _worker = rq.worker(&[]);

    let log = browser.wait().await;
    check_history(&log.events).unwrap();
    let names: Vec<_> = log.events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names[..4], ["queued", "started", "output", "progress"]);
    assert_eq!(names.last(), Some(&"completed"));
    let book = std::fs::read_to_string(repository().join(BOOK)).unwrap();
    let words = book.split_ascii_whitespace().count();
    assert_eq!(a.job(id).await["result"], json!({ "words": words }));
    assert!(app.wait_exit(SOON).await.success(), "{}", app.stderr());
    assert_eq!(shown(&app), truth(a, id).await);

    // Bad work fails, in both.
    let (app, id) = rq.app("no/such/file", "0").await;
    let job = b.ended(id).await;
    assert_eq!((&job["status"], &job["errorCode"]), (&json!("failed"), &json!("handler")), "{job}");
    assert!(job["error"].as_str().unwrap().starts_with("FileNotFoundError: "), "{job}");
    assert!(app.wait_exit(SOON).await.success(), "{}", app.stderr());
    assert_eq!(turns(&a.events(id).await), ["queued", "started", "failed"]);
}

#[tokio::test]
async fn a_worker_that_is_killed_loses_its_job() {
    let rq = Rq::start().await;
    // One that works in its own process, so that nothing of it goes on.
    let worker = rq.worker(&["--worker-class", "rq.worker.SimpleWorker"]);
    let (app, id) = rq.app(BOOK, "5").await;
    rq.begun(id).await;
    worker.kill_group();
    let job = rq.system.client(0).ended(id).await;
    assert_eq!((&job["status"], &job["errorCode"]), (&json!("failed"), &json!("lost")), "{job}");
    assert!(app.wait_exit(SOON).await.success(), "{}", app.stderr());
    assert_eq!(shown(&app), truth(rq.system.client(1), id).await);
    assert_eq!(turns(&rq.system.client(1).events(id).await), ["queued", "started", "failed"]);
}

#[tokio::test]
async fn a_cancelled_job_is_left_and_the_next_one_done() {
    let rq = Rq::start().await;
    let worker = rq.worker(&[]);
    let (app, id) = rq.app(BOOK, "1").await;
    rq.begun(id).await;
    let cancel = rq.system.client(1).tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(cancel.status, 202);
    let (next, next_id) = rq.app(BOOK, "0").await;
    assert_eq!(rq.system.client(0).ended(next_id).await["status"], "completed");
    for (app, id) in [(app, id), (next, next_id)] {
        assert!(app.wait_exit(SOON).await.success(), "{}", app.stderr());
        assert_eq!(shown(&app), truth(rq.system.client(1), id).await);
    }
    assert_eq!(turns(&rq.system.client(0).events(id).await), ["queued", "started", "cancelled"]);
    assert!(!worker.stderr().contains("Traceback"), "for RQ it went well: {}", worker.stderr());
}

#[tokio::test]
async fn gateways_that_die_and_come_back_are_not_noticed() {
    let mut rq = Rq::start().await;
    let worker = rq.worker(&[]);
    let (app, id) = rq.app(BOOK, "0.5").await;
    rq.begun(id).await;
    // One of them takes the reports, the other one streams.
    for index in [1, 0] {
        rq.system.gateways[index].kill();
        rq.system.restart_gateway(index);
        rq.system.wait_gateway(index).await;
    }
    let client = rq.system.client(0);
    let job = client.ended(id).await;
    assert_eq!(job["status"], "completed", "{job} {}", worker.stderr());
    assert!(app.wait_exit(SOON).await.success(), "{}", app.stderr());
    assert_eq!(shown(&app), truth(client, id).await);
    let outputs = client.events(id).await.iter().map(data).filter(|event| event["type"] == "output").count();
    let lines = std::fs::read_to_string(repository().join(BOOK)).unwrap().lines().count();
    assert_eq!(outputs, lines / 1000, "none twice, none lost");
}

#[tokio::test]
async fn where_streams_are_held_back_polls_tell_the_same() {
    let rq = Rq::start().await;
    let client = rq.system.client(0);
    let answer = client.tell("/api/jobs", &json!({ "task": "census", "external": { "lease": 600 } })).await;
    let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    let (id, token): (JobId, _) = (text("jobId").parse().unwrap(), text("leaseToken"));
    let report = async |name: &str, mut fields: Value| {
        fields["leaseToken"] = json!(token);
        assert_eq!(client.tell(&format!("/api/work/{id}/{name}"), &fields).await.status, 200, "{name}");
    };
    report("output", json!({ "output": 1 })).await;
    let middleman = Middleman::start(&rq.system.client(1).url(""), Manner::Hold).await;
    let script = "import sys, jobcast\nprint(sys.argv[1])\n\
                  for event in jobcast.follow(sys.argv[1]): print(event['seq'], event['type'], flush=True)";
    let follower = program(&rq.python, middleman.url(), "");
    let follower = follower.args(["-c", script, &id.to_string()]).start();
    testkit::eventually(SOON, "a poll tells what the stream doesn't", async || shown(&follower).len() == 3)
        .await;
    report("output", json!({ "output": 2 })).await;
    report("complete", json!({ "result": 3 })).await;
    assert!(follower.wait_exit(2 * SOON).await.success(), "{}", follower.stderr());
    assert_eq!(shown(&follower), truth(client, id).await);
}
