//! `jobcast tasks`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use clap::{Args, Subcommand};
use client::{TaskName, TaskView};

use super::people::{Exit, Failure, Reach, line, plain};

const EXAMPLES: &str = "\
Examples:
  jobcast tasks                        how all tasks stand: a table at a terminal, else JSON, a task a line
  jobcast tasks pause transcode        no job of it starts from now on; what runs goes on
  jobcast tasks resume transcode

The key needs the scope `admin`: it is about the jobs of all owners.";

/// Which task, and what about it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Tasks {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Args)]
struct List {
    /// JSON at a terminal too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Subcommand)]
enum What {
    /// No job of the task starts from now on; what runs goes on
    Pause(One),
    /// Jobs of the task start again
    Resume(One),
}

#[derive(Debug, Args)]
struct One {
    /// The task
    #[arg(value_name = "TASK")]
    task: TaskName,
    #[command(flatten)]
    reach: Reach,
}

impl Tasks {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        match &self.what {
            Some(What::Pause(One { task, reach })) => {
                let task = reach.client()?.build()?.pause_task(task).await?;
                line(&format!("{} paused: {} running, {} ready", task.task, task.running, task.ready))?;
            }
            Some(What::Resume(One { task, reach })) => {
                let task = reach.client()?.build()?.resume_task(task).await?;
                line(&format!("{} resumed: {} running, {} ready", task.task, task.running, task.ready))?;
            }
            None => {
                let List { json, reach } = &self.list;
                let tasks = reach.client()?.build()?.tasks().await?;
                if !*json && io::stdout().is_terminal() {
                    line(&plain(table(&tasks).trim_end()))?;
                } else {
                    for task in &tasks {
                        line(&serde_json::to_string(task).unwrap_or_default())?;
                    }
                }
            }
        }
        Ok(Exit::Done)
    }
}

/// The tasks for people, one a line.
fn table(tasks: &[TaskView]) -> String {
    let width = tasks.iter().map(|task| task.task.as_str().len()).max().unwrap_or(0).max(4);
    let mut text =
        format!("{:width$}  {:>8}  {:>8}  {:24}  limits\n", "task", "ready", "running", "oldest ready");
    for task in tasks {
        let oldest = task.oldest.map_or_else(|| "-".to_owned(), |oldest| oldest.to_string());
        let limits = [
            ("a worker", task.concurrency),
            ("in all", task.max_running),
            ("an owner", task.max_running_per_owner),
        ];
        let limits = limits.into_iter().filter_map(|(of, limit)| Some(format!("{} {of}", limit?)));
        let said: Vec<_> = task.paused.then(|| "paused".to_owned()).into_iter().chain(limits).collect();
        let (ready, running) = (task.ready, task.running);
        let _ = writeln!(
            text,
            "{:width$}  {ready:>8}  {running:>8}  {oldest:24}  {}",
            task.task.as_str(),
            said.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_holds_a_task_up() {
        let task = TaskView {
            task: "transcode".parse().unwrap(),
            paused: true,
            ready: 12,
            oldest: None,
            running: 3,
            concurrency: Some(2),
            max_running: None,
            max_running_per_owner: Some(1),
        };
        let text = table(&[task]);
        let row = text.lines().last().unwrap();
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>().join(" "),
            "transcode 12 3 - paused, 2 a worker, 1 an owner"
        );
    }
}
