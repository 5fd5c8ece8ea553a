//! Commands for people, as they and their scripts run them.

use serde_json::Value;
use testkit::process::{self, Jobcast, JobcastBuilder};

use crate::{SOON, repository};

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ended {
    /// The lines of its output, each of which must be JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// `jobcast` with these arguments before the gateway at `url`, without a key.
pub fn command(url: &str, args: &[&str]) -> JobcastBuilder {
    Jobcast::builder().args(args).env("JOBCAST_URL", url).env("JOBCAST_KEY", "")
}

/// Runs it to its end.
pub async fn end(builder: JobcastBuilder) -> Ended {
    let running = builder.start();
    let status = running.wait_exit(2 * SOON).await;
    Ended { code: status.code(), stdout: running.stdout(), stderr: running.stderr() }
}

/// Runs `jobcast` with these arguments before the gateway at `url`.
pub async fn run(url: &str, args: &[&str]) -> Ended {
    end(command(url, args)).await
}

/// What was seen in a terminal of 80 columns, where `after` is a text that is waited for and the keys that are pressed then: the
/// exit code, the screen at the end, and all that was written.
pub async fn in_terminal(
    url: &str,
    after: Option<[&str; 2]>,
    args: &[&str],
) -> (Option<i32>, Vec<String>, String) {
    let program = repository().join("tests/programs/terminal.py");
    let mut builder = command(url, &[]).program("python3").arg(program).arg("80");
    if let Some([text, keys]) = after {
        builder = builder.args(["--after", text, keys]);
    }
    let ended = end(builder.arg(process::binary()).args(args)).await;
    assert_eq!(ended.stderr, "", "{ended:?}");
    let seen: Value = serde_json::from_str(&ended.stdout).unwrap();
    let lines = seen["screen"].as_array().unwrap().iter();
    let mut lines: Vec<_> = lines.map(|line| line.as_str().unwrap().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    (ended.code, lines, seen["written"].as_str().unwrap().to_owned())
}
