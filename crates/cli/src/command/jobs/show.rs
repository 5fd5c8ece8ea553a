//! `jobcast jobs show`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use clap::Args;
use client::{JobId, JobView};

use crate::command::people::{Exit, Failure, Reach, line, plain};

const EXAMPLES: &str = "\
Examples:
  jobcast jobs show 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000
  jobcast jobs show $JOB | jq .result";

/// Which job.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Show {
    /// The job
    #[arg(value_name = "ID")]
    id: JobId,
    /// JSON at a terminal too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Show {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let job = self.reach.client()?.build()?.get(self.id).await?;
        if self.json || !io::stdout().is_terminal() {
            line(&serde_json::to_string(&job).unwrap_or_default())?;
        } else {
            line(&plain(text(&job).trim_end()))?;
        }
        Ok(Exit::Done)
    }
}

/// A job for people: what there is of it, a field a line.
fn text(job: &JobView) -> String {
    let progress = job.progress.map(|progress| format!("{} %", progress.get()));
    let time = |time: Option<client::Timestamp>| time.map(|time| time.to_string());
    let code = job.error_code.map(|code| format!(" ({})", code.as_str())).unwrap_or_default();
    let mut text = String::new();
    for (name, value) in [
        ("id", Some(job.id.to_string())),
        ("task", Some(job.task.to_string())),
        ("status", Some(job.status.as_str().to_owned())),
        ("progress", progress),
        ("message", job.message.clone()),
        ("error", job.error.as_ref().map(|error| format!("{error}{code}"))),
        ("attempt", Some(format!("{} of {}", job.attempt, job.max_attempts))),
        ("created", Some(job.created_at.to_string())),
        ("started", time(job.started_at)),
        ("finished", time(job.finished_at)),
        ("kept until", Some(job.expires_at.to_string())),
        ("metadata", job.metadata.as_ref().map(ToString::to_string)),
        ("result", job.result.as_ref().map(ToString::to_string)),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<11}{value}");
        }
    }
    text
}
