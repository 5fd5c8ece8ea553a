//! `jobcast submit`.

mod webhook;

use std::fs;
use std::io::{self, Read as _};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use client::{Json, Priority, Submitted, TaskName};

use self::webhook::Target;
use super::people::{Exit, Failure, Reach, line, time};
use super::watch::{self, Show};

const EXAMPLES: &str = r#"Examples:
  jobcast submit narrate --watch                            and shows how it goes
  jobcast submit wordcount '{"path": "examples/data/book.txt", "slow": 5}' --wait 1m
  jobcast submit report @report.json --timeout 10m --max-attempts 5
  make-payload | jobcast submit report - --idempotency-key report-2026-11
  jobcast submit report --webhook https://example.com/hooks --webhook-secret-env HOOK_SECRET
  JOB=$(jobcast submit narrate) && jobcast watch $JOB
  read JOB TOKEN < <(jobcast submit report @report.json --external)

Exit codes: 0: accepted, and with --watch or --wait completed; 1: failed, cancelled or refused;
2: a wrong command line; 3: nobody answers; 4: not ended in the time of --wait."#;

/// The job.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Submit {
    /// The kind of work
    #[arg(value_name = "TASK")]
    task: TaskName,
    /// What the handler gets: JSON; @ and a file's name; or - for standard input [default: null]
    #[arg(value_name = "PAYLOAD", allow_hyphen_values = true)]
    payload: Option<String>,
    /// Shows how it goes until it ends, as `jobcast watch` does
    #[arg(long)]
    watch: bool,
    /// Waits so long for the end, and prints the result
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "watch")]
    wait: Option<Duration>,
    /// The answer as JSON, in place of the id alone; with --watch the events
    #[arg(long)]
    json: bool,
    /// The longest that one attempt may run, such as 90s or 1h30m; a bare number is seconds
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Limits")]
    timeout: Option<Duration>,
    /// The longest from submission to end
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Limits")]
    deadline: Option<Duration>,
    /// The longest from submission to the first start
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Limits")]
    queue_timeout: Option<Duration>,
    /// How long no attempt may start yet
    #[arg(long, value_name = "TIME", value_parser = time)]
    delay: Option<Duration>,
    /// Which of the owner's jobs of this task go first
    #[arg(long, value_name = "PRIORITY", value_parser = priority())]
    priority: Option<Priority>,
    /// How long the ended job is kept
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Limits")]
    retention: Option<Duration>,
    /// Cancels it when nobody has followed it, or asked how it stands, for so long; from 5s
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Limits")]
    cancel_on_disconnect: Option<Duration>,
    /// How many attempts there may be
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_attempts: Option<u32>,
    /// No worker takes it: prints also the lease token, with which something else reports of it
    #[arg(long)]
    external: bool,
    /// How long may pass between two reports before the external job is lost; 1s to 1h [default: the gateway's, 2m]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "external", help_heading = "Limits")]
    lease: Option<Duration>,
    /// A JSON object that is kept and shown with the job; @ and a file's name
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// The same key and the same job again: the first one is found, no second one is made
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    reach: Reach,
}

impl Submit {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let submit = self.submission()?;
        let client = self.reach.client()?;
        if self.watch || self.wait.is_some() {
            let show = Show::new(self.json);
            let client = show.on(client).build()?;
            let submitted = client.submit(&submit).await?;
            return match self.wait {
                None => {
                    // Among events as JSON the id is told anyway; a lease token never is again.
                    if submitted.lease_token.is_some() || !show.json() {
                        self.print(&submitted)?;
                    }
                    watch::all(&client, &[submitted.id], client::Start::BEGINNING, show).await
                }
                Some(wait) => {
                    self.print(&submitted)?;
                    watch::end(&client, submitted.id, wait, self.json).await
                }
            };
        }
        self.print(&client.build()?.submit(&submit).await?)?;
        Ok(Exit::Done)
    }

    fn print(&self, submitted: &Submitted) -> Result<(), Failure> {
        if !self.json {
            return self.reach.accepted(submitted);
        }
        let mut json = serde_json::json!({
            "jobId": submitted.id, "status": submitted.status, "statusUrl": submitted.status_url,
            "eventsUrl": submitted.events_url, "replayed": submitted.replayed,
        });
        if let Some(token) = submitted.lease_token {
            json["leaseToken"] = token.to_string().into();
        }
        line(&json.to_string())
    }

    fn submission(&self) -> Result<client::Submit, Failure> {
        let payload = json("the payload", self.payload.as_deref().unwrap_or("null"))?;
        let broken = |error: serde_json::Error| Failure::Usage(error.to_string());
        let mut submit = client::Submit::new(self.task.clone(), &payload).map_err(broken)?;
        for (time, set) in [
            (self.timeout, client::Submit::timeout as fn(_, _) -> _),
            (self.deadline, client::Submit::deadline),
            (self.queue_timeout, client::Submit::queue_timeout),
            (self.delay, client::Submit::delay),
            (self.retention, client::Submit::retention),
            (self.cancel_on_disconnect, client::Submit::cancel_on_disconnect),
        ] {
            if let Some(time) = time {
                submit = set(submit, time);
            }
        }
        if let Some(priority) = self.priority {
            submit = submit.priority(priority);
        }
        if let Some(attempts) = self.max_attempts {
            submit = submit.max_attempts(attempts);
        }
        if self.external {
            submit = match self.lease {
                Some(lease) => submit.external_lease(lease),
                None => submit.external(),
            };
        }
        if let Some(text) = &self.metadata {
            submit = submit.metadata(json("--metadata", text)?);
        }
        if let Some(key) = &self.idempotency_key {
            submit = submit.idempotency_key(key);
        }
        self.target.on(submit)
    }
}

/// The priorities by their names.
fn priority() -> impl TypedValueParser<Value = Priority> {
    PossibleValuesParser::new(Priority::ALL.map(Priority::as_str)).try_map(|name| name.parse())
}

/// Reads JSON as it is given on the command line.
fn json(what: &str, given: &str) -> Result<Json, Failure> {
    let usage = |says: String| Failure::Usage(format!("{what}: {says}"));
    let text = match given.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).map_err(|error| usage(format!("{file}: {error}")))?,
        None if given == "-" => {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| usage(format!("standard input: {error}")))?;
            text
        }
        None => given.to_owned(),
    };
    Json::parse(&text).map_err(|error| {
        // Whoever means text often forgets that JSON has it in quotes, which shells take away.
        let bare = !given.starts_with(['{', '[', '"', '@', '-']);
        let hint = if bare { ". Text is JSON in double quotes, such as '\"hello\"'" } else { "" };
        usage(format!("this is no JSON: {error}{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_given_as_itself_or_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("payload.json");
        fs::write(&file, "{\"a\": 1}\n").unwrap();
        let read =
            |given: &str| json("the payload", given).map(|json| json.to_string()).map_err(|e| e.to_string());
        assert_eq!(read("[1, 2]"), Ok("[1,2]".into()));
        assert_eq!(read(&format!("@{}", file.display())), Ok("{\"a\":1}".into()));
        assert!(read("hello").unwrap_err().starts_with("the payload: this is no JSON: expected value"));
        assert!(read("@/nowhere.json").unwrap_err().starts_with("the payload: /nowhere.json: No such file"));
        assert!(read("").is_err());
    }
}
