//! What a person sees of one job: events in, changes of the picture out.

use client::{Event, JobId, JobView, Output, SnapshotReason, Status, Timestamp};

use super::lines::Lines;
use crate::command::people::plain;

/// What stands beside an error in a bar's line: the job's name and status.
const ROOM: usize = 40;

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
    /// How long its lines may be.
    width: usize,
}

impl View {
    pub(super) fn new(id: JobId) -> Self {
        Self { id, started: None, text: Lines::default(), width: usize::MAX }
    }

    /// A name for the job while its task isn't known: the end of its id, where ids of one time differ.
    pub(super) fn name(&self, task: Option<&str>) -> String {
        let id = self.id.to_string();
        let tail = id.get(id.len() - 8..).unwrap_or(&id);
        task.map_or_else(|| tail.to_owned(), |task| format!("{task} {tail}"))
    }

    /// Takes an event; lines may be `width` characters long.
    pub(super) fn take(&mut self, event: &Event, width: usize) -> Vec<Change> {
        self.width = width;
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
            let error = says.unwrap_or_default();
            let first = error.lines().next().unwrap_or_default();
            // The bar's line holds no more than one line of it.
            if first.len() < error.len() || error.chars().count().saturating_add(ROOM) > self.width {
                changes.push(Change::Print(error.clone()));
            }
            let says = if first.is_empty() { String::new() } else { format!(": {first}") };
            changes.push(Change::Ended { well: false, says: format!("{}{says}", status.as_str()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

    /// The changes of these events, each a name and its fields.
    fn view(events: &[(&str, &str)]) -> Vec<Change> {
        let id: JobId = ID.parse().unwrap();
        let mut view = View::new(id);
        let mut changes = Vec::new();
        let mut attempt = 0;
        for (seq, (name, fields)) in (1..).zip(events) {
            attempt += u32::from(*name == "started");
            let data = format!(
                r#"{{"jobId":"{ID}","seq":{seq},"type":"{name}","at":"2026-11-23T10:00:0{seq}.000Z","attempt":{attempt}{fields}}}"#
            );
            let event = Event::from_parts(id, name, Some(&format!("{seq}-4f2a9c")), &data).unwrap();
            changes = view.take(&event, 60);
            assert!(!matches!(event, Event::Other(_)), "{event:?}");
        }
        changes
    }

    fn print(text: &str) -> Change {
        Change::Print(text.into())
    }

    fn rest(text: &str) -> Change {
        Change::Rest(text.into())
    }

    fn ended(well: bool, says: &str) -> Change {
        Change::Ended { well, says: says.into() }
    }

    #[test]
    fn the_last_event_changes_the_picture_so() {
        let text = ("output", r#","text":"one\ntwo""#);
        for (events, changes) in [
            (
                &[("queued", r#","task":"a""#)][..],
                vec![Change::Name("a 4e5f6000".into()), Change::Message("queued".into())],
            ),
            (
                &[("progress", r#","progress":42.5,"message":"a\u001b[2Jb""#)],
                vec![Change::Progress(Some(42.5)), Change::Message("a[2Jb".into())],
            ),
            (&[text], vec![print("one"), rest("two")]),
            (&[text, ("output", r#","text":"\u0007!\n""#)], vec![print("two!"), rest("")]),
            (&[text, ("output", r#","output":{"a":1}"#)], vec![print("two"), rest(""), print(r#"{"a":1}"#)]),
            (&[("started", ""), ("completed", r#","result":null"#)], vec![ended(true, "completed in 1.0 s")]),
            (
                &[text, ("completed", r#","result":[1]"#)],
                vec![print("two"), rest(""), print("[1]"), ended(true, "completed")],
            ),
            (&[("failed", r#","error":"no","errorCode":"handler""#)], vec![ended(false, "failed: no")]),
            (
                &[("failed", r#","error":"no\nway","errorCode":"handler""#)],
                vec![print("no\nway"), ended(false, "failed: no")],
            ),
            (
                &[("started", ""), text, ("started", "")],
                vec![
                    print("two"),
                    rest(""),
                    print("attempt 2: what was put out before is void"),
                    Change::Begun,
                    Change::Progress(None),
                    Change::Message("started".into()),
                ],
            ),
        ] {
            assert_eq!(view(events), changes, "{events:?}");
        }
    }
}
