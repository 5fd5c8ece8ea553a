//! From the feed to the receiver: each job that ended, in the feed's order, one after the other.

use std::fmt;
use std::time::Duration;

use clap::Args;
use client::{
    Client, Connection, Error, FeedCursor, FeedEvent, FeedNews, FeedStart, FollowError, JobId, JobView,
    SnapshotReason, Status, TaskName,
};
use model::webhook;
use tokio::time::sleep;
use tokio_stream::StreamExt as _;

use super::cursor::CursorFile;
use super::pause;
use super::receiver::Receiver;
use super::sent::Sent;
use crate::command::people::{Exit, Failure, complain, line};

/// The longest pause before the gateway is asked again for a job.
const MOST: Duration = Duration::from_secs(10);

/// Which jobs.
#[derive(Clone, Debug, Args)]
pub(super) struct Choice {
    /// Jobs of this task alone; may be repeated
    #[arg(long, value_name = "TASK")]
    pub(super) task: Vec<TaskName>,
    /// Jobs that ended so alone: completed, failed or cancelled; may be repeated
    #[arg(long, value_name = "STATUS", value_parser = ended)]
    pub(super) status: Vec<Status>,
}

/// Reads a status that a job may end with.
fn ended(text: &str) -> Result<Status, String> {
    let status = text.parse().ok().filter(|status: &Status| status.is_terminal());
    status.ok_or_else(|| "a job ends as completed, failed or cancelled".to_owned())
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<_> = self.task.iter().map(|task| format!("task {task}")).collect();
        words.extend(self.status.iter().map(|status| format!("status {}", status.as_str())));
        words.sort();
        f.write_str(&words.join(", "))
    }
}

/// What relays.
pub(super) struct Relay {
    client: Client,
    receiver: Option<Receiver>,
    print: bool,
    choice: Choice,
    kept: CursorFile,
    sent: Sent,
    /// It was told that the feed is lost.
    lost: bool,
}

impl Relay {
    /// A relay that has sent nothing yet.
    pub(super) fn new(
        client: Client,
        receiver: Option<Receiver>,
        print: bool,
        choice: Choice,
        kept: CursorFile,
    ) -> Self {
        Self { client, receiver, print, choice, kept, sent: Sent::default(), lost: false }
    }

    /// Relays what the feed tells from `start` on. Ends by a failure alone. Dropped in the middle, it sends again when it is
    /// started again what wasn't answered yet.
    pub(super) async fn run(mut self, start: FeedStart) -> Result<Exit, Failure> {
        let mut feed = self.client.follow_feed(start.clone());
        while let Some(news) = feed.next().await {
            match news.map_err(|error| self.failure(error, &start))? {
                FeedNews::Connection(connection) => self.connection(&connection),
                FeedNews::Snapshot { reason, cursor } => {
                    Self::snapshot(reason, &start);
                    self.kept.write(&cursor)?;
                }
                FeedNews::Event(event) => self.event(&event).await?,
                _ => {}
            }
        }
        Ok(Exit::Done)
    }

    fn connection(&mut self, connection: &Connection) {
        match connection {
            // Empty is a planned end, as there is one every half an hour.
            Connection::Waiting { why } if !why.is_empty() => {
                self.lost = true;
                complain(&format_args!("the feed is lost: {why}; trying on"));
            }
            Connection::Streaming if std::mem::take(&mut self.lost) => {
                complain(&"the feed is back, and goes on where it was");
            }
            _ => {}
        }
    }

    fn snapshot(reason: SnapshotReason, start: &FeedStart) {
        match (reason, start) {
            (SnapshotReason::Now, _) => complain(&"listening"),
            (SnapshotReason::Trimmed, FeedStart::Beginning) => {
                complain(&"the feed no longer holds its beginning; from the oldest that it holds");
            }
            (SnapshotReason::Trimmed, _) => complain(
                &"the feed no longer reaches back to where this was: what ended in between is not sent; `jobcast jobs` lists it. \
                  Going on",
            ),
            (SnapshotReason::Rewound, _) => complain(
                &"Redis lost events, and the feed begins anew: what was sent before may be sent again, by the same webhook-id. \
                  Going on",
            ),
        }
    }

    async fn event(&mut self, event: &FeedEvent) -> Result<(), Failure> {
        if let Some(status) = event.end() {
            if self.choice.wants_status(status) {
                self.end(event.job_id).await?;
            }
            self.keep(&event.cursor)?;
        }
        Ok(())
    }

    fn keep(&self, cursor: &FeedCursor) -> Result<(), Failure> {
        self.kept.write(cursor)
    }

    /// Sends the end of the job `id`.
    async fn end(&mut self, id: JobId) -> Result<(), Failure> {
        let Some(job) = self.poll(id).await? else {
            complain(&format_args!("{id}: the job is no longer kept, so there is nothing to send"));
            return Ok(());
        };
        if !job.status.is_terminal() {
            complain(&format_args!("{id}: Redis lost the job's end; the next one will be sent"));
            return Ok(());
        }
        let name = format!("{id}.{}", job.last_event_id);
        if !self.choice.wants_task(&job.task) || self.sent.has(&name) {
            return Ok(());
        }
        let body = webhook::body(&job);
        if self.print {
            line(&body)?;
        }
        if let Some(receiver) = &self.receiver {
            let what = format!("{:<9} {id} {}", job.status.as_str(), job.task);
            receiver.deliver(&name, &body, |says| self.say(&format!("{what}: {says}"))).await?;
        }
        self.sent.add(name);
        Ok(())
    }

    /// What becomes of a webhook: on stdout, unless bodies are printed there.
    fn say(&self, says: &str) -> Result<(), Failure> {
        if self.print {
            complain(&says);
            return Ok(());
        }
        line(says)
    }

    /// The job, as soon as a gateway answers; `None` if there is none.
    async fn poll(&self, id: JobId) -> Result<Option<JobView>, Failure> {
        let mut failures = 0;
        loop {
            match self.client.get(id).await {
                Ok(job) => return Ok(Some(job)),
                Err(Error::Refused(problem)) if matches!(problem.status, 404 | 410) => return Ok(None),
                Err(error) if error.is_retryable() => {
                    failures += 1;
                    if failures == 1 {
                        complain(&format_args!("{id}: {error}; trying on"));
                    }
                    sleep(pause(failures, MOST)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn failure(&self, error: FollowError, start: &FeedStart) -> Failure {
        let refused = error.problem().is_some_and(|problem| problem.status == 400);
        if refused && matches!(start, FeedStart::After(_)) {
            return Failure::Usage(format!(
                "{error}\nWhat is kept in {} is no place in this feed; begin anew by --from-now or --from-start.",
                self.kept.path().display()
            ));
        }
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_in_three_ways() {
        for (text, status) in [
            ("completed", Some(Status::Completed)),
            ("failed", Some(Status::Failed)),
            ("cancelled", Some(Status::Cancelled)),
            ("pending", None),
            ("gone", None),
        ] {
            assert_eq!(ended(text).ok(), status, "{text}");
        }
    }
}
