//! The list of jobs.

use clap::Args;
use client::{JobId, JobView, Status, TaskName, Timestamp};
use model::{Clock as _, SystemClock};

use crate::command::people::{Exit, Failure, Paging, Reach, Table, age, fit, width};

/// Which jobs.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Those that stand so: pending, processing, completed, failed or cancelled
    #[arg(long, value_name = "STATUS")]
    status: Option<Status>,
    /// Those of this task
    #[arg(long, value_name = "TASK")]
    task: Option<TaskName>,
    /// Those made before this one
    #[arg(long, value_name = "ID")]
    after: Option<JobId>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    reach: Reach,
}

impl List {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let client = self.reach.client()?.build()?;
        let page = async |after, limit| {
            let page = client.list(&self.query(after, limit)).await?;
            Ok((page.jobs, page.next))
        };
        self.paging.print(Columns::new(), self.after, page).await
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
struct Columns {
    width: usize,
    now: Timestamp,
}

impl Columns {
    fn new() -> Self {
        Self { width: width(), now: SystemClock.now() }
    }
}

impl Table<JobView> for Columns {
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
        assert_eq!(Columns { width: 200, now }.row(&job), format!("{start}two lines [2J of it"));
        assert_eq!(Columns { width: 80, now }.row(&job).chars().count(), 80);
        let heads = Columns { width: 200, now }.head();
        assert_eq!(heads.find("TASK"), start.find("report"), "{heads}");
    }
}
