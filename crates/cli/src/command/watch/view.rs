//! What a person sees of one job: events in, changes of the picture out.

use client::{Event, JobId, JobView, Output, SnapshotReason, Status, Timestamp};

use super::lines::Lines;
use crate::command::people::plain;

/// A change of the picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// The job's name beside its bar.
    Name(String),
    /// How far it is, 0 to 100; `None` if nobody knows.
    Progress(Option<f64>),
    /// What it is engaged in.
    Message(String),
    /// The clock starts anew.
    Begun,
    /// A line above the bars.
    Print(String),
    /// The line above the bars that isn't whole yet.
    Rest(String),
    /// Nothing follows.
    Ended {
        /// It completed.
        well: bool,
        /// How.
        says: String,
    },
}

/// One job, as far as it was told.
#[derive(Debug)]
pub(super) struct View {
    id: JobId,
    started: Option<Timestamp>,
    text: Lines,
}

impl View {
    pub(super) fn new(id: JobId) -> Self {
        Self { id, started: None, text: Lines::default() }
    }

    /// A name for the job while its task isn't known: the end of its id, where ids of one time differ.
    pub(super) fn name(&self, task: Option<&str>) -> String {
        let id = self.id.to_string();
        let tail = id.get(id.len() - 6..).unwrap_or(&id);
        task.map_or_else(|| tail.to_owned(), |task| format!("{task} {tail}"))
    }

    /// Takes an event; lines may be `width` characters long.
    pub(super) fn take(&mut self, event: &Event, width: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        match event {
            Event::Queued { task, .. } => {
                changes.push(Change::Name(self.name(Some(task.as_str()))));
                changes.push(Change::Message("queued".into()));
            }
            Event::Started { head } => {
                self.started = Some(head.at);
                if head.attempt > 1 {
                    self.flush(&mut changes);
                    let says = format!("attempt {}: what was put out before is void", head.attempt);
                    changes.push(Change::Print(says));
                }
                changes.extend([Change::Begun, Change::Progress(None), Change::Message("started".into())]);
            }
            Event::Progress { progress, message, .. } => {
                changes.push(Change::Progress(progress.map(client::Percent::get)));
                changes.push(Change::Message(message.as_deref().map(plain).unwrap_or_default()));
            }
            Event::Output { output: Output::Text(text), .. } => {
                changes.extend(self.text.push(&plain(text), width).into_iter().map(Change::Print));
                changes.push(Change::Rest(self.text.rest().to_owned()));
            }
            Event::Output { output: Output::Json(json), .. } => {
                self.flush(&mut changes);
                changes.push(Change::Print(plain(json.as_str())));
            }
            Event::Retrying { error, .. } => {
                self.flush(&mut changes);
                let error = error.as_deref().unwrap_or("the attempt was given back");
                changes.push(Change::Progress(None));
                changes.push(Change::Message(format!("to be tried again: {}", plain(error))));
            }
            Event::Completed { head, result } => {
                let result = result.as_ref().map(client::Json::as_str);
                self.ended(Status::Completed, Some(head.at), result, &mut changes);
            }
            Event::Failed { head, error, .. } => {
                self.ended(Status::Failed, Some(head.at), Some(error), &mut changes);
            }
            Event::Cancelled { head, error, .. } => {
                self.ended(Status::Cancelled, Some(head.at), Some(error), &mut changes);
            }
            Event::Snapshot(snapshot) => {
                self.flush(&mut changes);
                let says = match snapshot.reason {
                    SnapshotReason::Now => None,
                    SnapshotReason::Trimmed => Some("the beginning is no longer kept"),
                    SnapshotReason::Rewound => Some("Redis lost events: what was shown before is void"),
                };
                changes.extend(says.map(|says| Change::Print(says.into())));
                // One that is ahead of the stream will be ended by the stream.
                let last = snapshot.cursor == snapshot.job.last_event_id;
                self.state(&snapshot.job, last, &mut changes);
            }
            Event::Polled(job) => self.state(job, true, &mut changes),
            _ => {}
        }
        changes
    }

    /// Prints the line that isn't whole.
    fn flush(&mut self, changes: &mut Vec<Change>) {
        if let Some(rest) = self.text.end() {
            changes.extend([Change::Print(rest), Change::Rest(String::new())]);
        }
    }

    fn state(&mut self, job: &JobView, last: bool, changes: &mut Vec<Change>) {
        self.started = job.started_at.or(self.started);
        changes.push(Change::Name(self.name(Some(job.task.as_str()))));
        if job.status.is_terminal() && last {
            let says = job.result.as_ref().map(client::Json::as_str).or(job.error.as_deref());
            return self.ended(job.status, job.finished_at, says, changes);
        }
        changes.push(Change::Progress(job.progress.map(client::Percent::get)));
        let message = job.message.as_deref().map(plain);
        changes.push(Change::Message(message.unwrap_or_else(|| job.status.as_str().to_owned())));
    }

    fn ended(
        &mut self,
        status: Status,
        at: Option<Timestamp>,
        says: Option<&str>,
        changes: &mut Vec<Change>,
    ) {
        self.flush(changes);
        let says = says.map(plain);
        let took = self.started.zip(at).map(|(started, at)| at.since(started));
        let took = took.map(|took| format!(" in {:.1} s", took.as_secs_f64())).unwrap_or_default();
        if status == Status::Completed {
            changes.extend(says.filter(|result| result != "null").map(Change::Print));
            changes.push(Change::Ended { well: true, says: format!("completed{took}") });
        } else {
            let says = says.map(|error| format!(": {error}")).unwrap_or_default();
            changes.push(Change::Ended { well: false, says: format!("{}{says}", status.as_str()) });
        }
    }
}
