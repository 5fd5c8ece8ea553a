//! The list of jobs.

use std::io::{self, IsTerminal as _};

use clap::Args;
use client::{JobId, JobView, Status, TaskName, Timestamp};
use model::{Clock as _, SystemClock};

use crate::command::people::{Exit, Failure, Reach, age, complain, fit, line, width};

/// The most jobs that one answer has.
const PAGE: usize = 1000;

/// Which jobs.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Those that stand so: pending, processing, completed, failed or cancelled
    #[arg(long, value_name = "STATUS")]
    status: Option<Status>,
    /// Those of this task
    #[arg(long, value_name = "TASK")]
    task: Option<TaskName>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Those made before this one
    #[arg(long, value_name = "ID")]
    after: Option<JobId>,
    /// JSON at a terminal too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl List {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let client = self.reach.client()?.build()?;
        let table = (!self.json && io::stdout().is_terminal()).then(Table::new);
        let mut left = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let (mut after, mut shown) = (self.after, 0_usize);
        while left > 0 {
            let page = client.list(&self.query(after, left.min(PAGE))).await?;
            left = left.saturating_sub(page.jobs.len());
            for job in &page.jobs {
                match &table {
                    None => line(&serde_json::to_string(job).unwrap_or_default())?,
                    Some(table) => {
                        if shown == 0 {
                            line(&table.head())?;
                        }
                        line(&table.row(job))?;
                    }
                }
                shown += 1;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if let (Some(_), Some(next)) = (table, after) {
            complain(&format_args!("there may be more: --after {next}"));
        }
        Ok(Exit::Done)
    }

    fn query(&self, after: Option<JobId>, limit: usize) -> client::List {
        let mut list = client::List::new().limit(limit);
        if let Some(status) = self.status {
            list = list.status(status);
        }
        if let Some(task) = &self.task {
            list = list.task(task.clone());
        }
        if let Some(after) = after {
            list = list.after(after);
        }
        list
    }
}

/// Jobs in columns, for people. The last one ends where the terminal does.
struct Table {
    width: usize,
    now: Timestamp,
}

impl Table {
    fn new() -> Self {
        Self { width: width(), now: SystemClock.now() }
    }

    fn head(&self) -> String {
        fit(&columns("ID", "AGE", "STATUS", "TASK", ""), self.width)
    }

    fn row(&self, job: &JobView) -> String {
        let status = match (job.status, job.progress) {
            (Status::Processing, Some(progress)) => format!("at {:.0} %", progress.get()),
            (status, _) => status.as_str().to_owned(),
        };
        let says = match job.status {
            Status::Completed => job.result.as_ref().map(ToString::to_string),
            Status::Processing => job.message.clone(),
            _ => job.error.clone(),
        };
        let (id, age) = (job.id.to_string(), age(self.now.since(job.created_at)));
        let says = says.unwrap_or_default();
        fit(&columns(&id, &age, &status, job.task.as_str(), &says), self.width)
    }
}

fn columns(id: &str, age: &str, status: &str, task: &str, says: &str) -> String {
    format!("{id:<36} {age:>4}  {status:<10}  {task:<12}  {says}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_row_is_one_line_as_wide_as_the_terminal() {
        let job: JobView = serde_json::from_value(serde_json::json!({
            "id": "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000", "task": "report", "status": "failed",
            "progress": null, "message": null, "result": null, "error": "two\nlines \u{1b}[2J of it",
            "errorCode": "handler", "attempt": 1, "maxAttempts": 3, "priority": "normal", "metadata": null,
            "createdAt": "2026-11-23T10:00:00.123Z", "updatedAt": "2026-11-23T10:00:00.123Z",
            "startedAt": null, "finishedAt": null, "expiresAt": "2026-11-24T10:00:00.123Z",
            "statusUrl": "", "eventsUrl": "", "lastEventId": "3-4f2a9c",
        }))
        .unwrap();
        let now = job.created_at.plus(Duration::from_mins(59));
        let start = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000  59m  failed      report        ";
        assert_eq!(Table { width: 200, now }.row(&job), format!("{start}two lines [2J of it"));
        assert_eq!(Table { width: 80, now }.row(&job).chars().count(), 80);
        let heads = Table { width: 200, now }.head();
        assert_eq!(heads.find("TASK"), start.find("report"), "{heads}");
    }
}
