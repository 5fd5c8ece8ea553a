//! `examples/python/worker.py` before a scripted gateway that loses every third answer. (Whole-system tests run it before a
//! real one.)

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod gateway;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gateway::Gateway;
use serde_json::json;
use testkit::eventually_ok;

const PATIENCE: Duration = Duration::from_mins(1);

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../python/worker.py")
}

fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    python
}

/// The worker as a child process, killed when the test is over.
struct Worker(Child);

impl Worker {
    fn start(gateway: &Gateway) -> Self {
        let child = python().arg(script()).arg(gateway.url()).env("JOBCAST_KEY", gateway::KEY).spawn();
        Self(child.expect("python3 runs; install it where it is missing"))
    }

    fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_is_short_and_compiles() {
    let source = std::fs::read_to_string(script()).unwrap();
    assert!(source.lines().count() < 80, "{} lines", source.lines().count());
    let mut compile = python();
    compile.args(["-c", "import sys; compile(open(sys.argv[1]).read(), 'worker.py', 'exec')"]).arg(script());
    assert!(compile.status().expect("python3 runs; install it where it is missing").success());
}

#[tokio::test]
async fn every_job_ends_once_though_answers_are_lost() {
    let gateway = Gateway::start(3);
    let long = "word ".repeat(20);
    for (job, payload) in [
        ("plain", json!({"text": "so  quiet\nüber all"})),
        ("empty", json!({"text": ""})),
        ("bad", json!({"txt": 1})),
        ("none", json!(null)),
        ("cancelled", json!({"text": long})),
        ("lost", json!({"text": long})),
        ("unknown", json!({"text": long})),
        ("too-large", json!({"text": "a"})),
        ("busy", json!({"text": "a b"})),
        ("long", json!({"text": long})),
    ] {
        gateway.offer(job, payload);
    }
    let _worker = Worker::start(&gateway);
    let no = json!({"error": r#"ValueError: the payload must be like {"text": "so quiet"}"#, "retry": false});
    for (job, text, end) in [
        (
            "plain",
            "SO QUIET ÜBER ALL",
            ("complete", json!({"result": {"text": "SO QUIET ÜBER ALL", "words": 4}})),
        ),
        ("empty", "", ("complete", json!({"result": {"text": "", "words": 0}}))),
        ("bad", "", ("fail", no.clone())),
        ("none", "", ("fail", no)),
        ("cancelled", "WORD WORD WORD", ("release", json!({}))),
        ("lost", "", ("release", json!({}))),
        ("unknown", "", ("release", json!({}))),
        (
            "too-large",
            "A",
            (
                "fail",
                json!({"error": "ValueError: /api/work/too-large/complete answered 413 \"no\"", "retry": false}),
            ),
        ),
        ("busy", "A B", ("complete", json!({"result": {"text": "A B", "words": 2}}))),
        (
            "long",
            long.trim_end().to_uppercase().as_str(),
            ("complete", json!({"result": {"text": long.trim_end().to_uppercase(), "words": 20}})),
        ),
    ] {
        let what = format!("the end of {job}");
        let ended =
            eventually_ok(PATIENCE, &what, async || gateway.end(job).ok_or_else(|| gateway.seen(job)));
        assert_eq!(ended.await, (end.0.to_owned(), end.1), "{job}");
        assert_eq!(gateway.text(job), text, "{job}");
    }
    assert_eq!(gateway.violations(), Vec::<String>::new());
    assert!(gateway.repeats() > 10, "answers were lost, so calls were repeated");
}

#[tokio::test]
async fn it_outlives_the_gateway_and_gives_its_job_back_when_stopped() {
    let gateway = Gateway::start(1_000_000);
    let mut worker = Worker::start(&gateway);
    gateway.away(true);
    gateway.offer("held", json!({"text": "word ".repeat(100_000)}));
    eventually_ok(PATIENCE, "a worker that asks again", async || gateway.refused(3)).await;
    gateway.away(false);
    eventually_ok(PATIENCE, "outputs and heartbeats", async || gateway.beats("held", 1)).await;
    worker.terminate();
    let status = eventually_ok(PATIENCE, "the worker's end", async || {
        worker.0.try_wait().map_err(|error| error.to_string())?.ok_or_else(|| "it runs".to_owned())
    });
    assert!(status.await.success());
    assert_eq!(gateway.end("held").unwrap().0, "release");
    assert_eq!(gateway.violations(), Vec::<String>::new());
}
