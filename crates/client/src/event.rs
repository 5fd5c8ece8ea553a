//! What a followed job tells.

use model::report::Percent;
use model::wire::{JobView, SnapshotReason};
use model::{Cursor, ErrorCode, EventType, JobId, Json, Position, TaskName, Timestamp};
use serde::{Deserialize, Deserializer};

/// One thing that a followed job told.
///
/// Types and fields that this version doesn't know are passed on: a type as [`Event::Other`], a field in [`Event::json`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The job was accepted.
    Queued {
        /// Where in its life.
        head: Head,
        /// The kind of work.
        task: TaskName,
    },
    /// A worker began an attempt. With attempt 2 or more the outputs of earlier attempts are void.
    Started {
        /// Where in its life.
        head: Head,
    },
    /// How far the attempt is.
    Progress {
        /// Where in its life.
        head: Head,
        /// 0 to 100, if known.
        progress: Option<Percent>,
        /// A short sentence for people.
        message: Option<String>,
    },
    /// Something that the handler put out. None is ever dropped.
    Output {
        /// Where in its life.
        head: Head,
        /// What.
        output: Output,
    },
    /// The attempt is over, and another one will follow.
    Retrying {
        /// Where in its life.
        head: Head,
        /// What went wrong, if something did.
        error: Option<String>,
        /// The same for programs; `None` also for a code that this version doesn't know.
        error_code: Option<ErrorCode>,
        /// When the next attempt may begin.
        retry_at: Timestamp,
    },
    /// The job ended well. Nothing follows.
    Completed {
        /// Where in its life.
        head: Head,
        /// The result; `None` where it is too large for an event: [`Client::get`](crate::Client::get) has it.
        result: Option<Json>,
    },
    /// The job ended badly. Nothing follows.
    Failed {
        /// Where in its life.
        head: Head,
        /// What went wrong: a sentence.
        error: String,
        /// The same for programs; `None` for a code that this version doesn't know.
        error_code: Option<ErrorCode>,
    },
    /// The job was cancelled. Nothing follows.
    Cancelled {
        /// Where in its life.
        head: Head,
        /// By whom or why: a sentence.
        error: String,
        /// The same for programs; `None` for a code that this version doesn't know.
        error_code: Option<ErrorCode>,
    },
    /// The job's whole state. Drop what you had of this job, take it, then what follows.
    Snapshot(Snapshot),
    /// How the job stands, told by a poll because the stream can't be had now. It holds no outputs. If the stream comes back,
    /// the events that this is ahead of still come, each once. If the job has ended and the stream still can't be had, this is
    /// the last that comes.
    Polled(Box<JobView>),
    /// Of a type that this version doesn't know, or with fields that it can't read.
    Other(Other),
}

/// What all events of a job's log have.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Head {
    /// Whose event it is.
    pub job_id: JobId,
    /// Its place: follow from here to get what comes after it. Its `seq` counts the job's events from 1, without holes.
    pub cursor: Cursor,
    /// When it happened, by Redis' clock.
    pub at: Timestamp,
    /// The number of the attempt; 0 before the first start.
    pub attempt: u32,
    json: Json,
}

/// What a handler put out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A piece of text, such as a few words of a language model's answer.
    Text(String),
    /// Anything else.
    Json(Json),
}

/// A job's whole state, and why it was sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Why.
    pub reason: SnapshotReason,
    /// The state.
    pub job: Box<JobView>,
    /// Follow from here to get what comes after it. (With [`SnapshotReason::Trimmed`] and [`SnapshotReason::Rewound`] the
    /// state may be ahead of this.)
    pub cursor: Cursor,
    json: Json,
}

/// An event that was passed on as it came.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Other {
    /// Its type.
    pub name: String,
    /// The job that was followed.
    pub job_id: JobId,
    /// Its place, if it is of the job's log.
    pub cursor: Option<Cursor>,
    json: Json,
}

impl Event {
    /// Reads an event of the job `job_id` from its parts, as a stream's frame has them: for events that came another way, and
    /// for tests.
    ///
    /// ```
    /// let id = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";
    /// let data = format!(
    ///     r#"{{"jobId":"{id}","seq":1,"type":"queued","at":"2026-11-23T10:00:00.123Z","attempt":0,"task":"report"}}"#
    /// );
    /// let event = client::Event::from_parts(id.parse()?, "queued", Some("1-4f2a9c"), &data)?;
    /// assert!(matches!(event, client::Event::Queued { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_parts(job_id: JobId, name: &str, id: Option<&str>, data: &str) -> Result<Self, NotAnEvent> {
        let cursor = id.map(|id| cursor(id).ok_or_else(|| NotAnEvent(id.to_owned()))).transpose()?;
        read(job_id, name, cursor, data)
    }

    /// The type's name on the wire; `polled` for what a poll told.
    pub fn name(&self) -> &str {
        match self {
            Self::Queued { .. } => EventType::Queued.as_str(),
            Self::Started { .. } => EventType::Started.as_str(),
            Self::Progress { .. } => EventType::Progress.as_str(),
            Self::Output { .. } => EventType::Output.as_str(),
            Self::Retrying { .. } => EventType::Retrying.as_str(),
            Self::Completed { .. } => EventType::Completed.as_str(),
            Self::Failed { .. } => EventType::Failed.as_str(),
            Self::Cancelled { .. } => EventType::Cancelled.as_str(),
            Self::Snapshot(_) => "snapshot",
            Self::Polled(_) => "polled",
            Self::Other(other) => &other.name,
        }
    }

    /// What all events of a log have; `None` for those that are in no log, and for unknown ones.
    pub fn head(&self) -> Option<&Head> {
        match self {
            Self::Queued { head, .. }
            | Self::Started { head }
            | Self::Progress { head, .. }
            | Self::Output { head, .. }
            | Self::Retrying { head, .. }
            | Self::Completed { head, .. }
            | Self::Failed { head, .. }
            | Self::Cancelled { head, .. } => Some(head),
            Self::Snapshot(_) | Self::Polled(_) | Self::Other(_) => None,
        }
    }

    /// The job.
    pub fn job_id(&self) -> JobId {
        match self {
            Self::Queued { head, .. }
            | Self::Started { head }
            | Self::Progress { head, .. }
            | Self::Output { head, .. }
            | Self::Retrying { head, .. }
            | Self::Completed { head, .. }
            | Self::Failed { head, .. }
            | Self::Cancelled { head, .. } => head.job_id,
            Self::Snapshot(snapshot) => snapshot.job.id,
            Self::Polled(job) => job.id,
            Self::Other(other) => other.job_id,
        }
    }

    /// Where to follow from to get what comes after this; `None` where it changes nothing of that.
    pub fn cursor(&self) -> Option<Cursor> {
        match self {
            Self::Snapshot(snapshot) => Some(snapshot.cursor),
            Self::Other(other) => other.cursor,
            event => event.head().map(|head| head.cursor),
        }
    }

    /// The event's JSON as it came: all of its fields. For what a poll told: `{"jobId","type":"polled","job":{as polled}}`.
    pub fn json(&self) -> Json {
        match self {
            Self::Snapshot(snapshot) => snapshot.json.clone(),
            Self::Other(other) => other.json.clone(),
            Self::Polled(job) => {
                let json = serde_json::json!({ "jobId": job.id, "type": "polled", "job": job });
                Json::of(&json).unwrap_or_else(|_| Json::null())
            }
            event => event.head().map_or_else(Json::null, |head| head.json.clone()),
        }
    }
}

/// What can't be an event: it is no JSON, its id is no cursor, or its number isn't the one of its id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event can't hold this: {0:?}")]
pub struct NotAnEvent(String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    job_id: JobId,
    seq: u64,
    at: Timestamp,
    attempt: u32,
    task: Option<TaskName>,
    progress: Option<Percent>,
    message: Option<String>,
    #[serde(default, deserialize_with = "present")]
    output: Option<Json>,
    text: Option<String>,
    error: Option<String>,
    #[serde(default, deserialize_with = "known")]
    error_code: Option<ErrorCode>,
    retry_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Json>,
}

#[derive(Deserialize)]
struct WireSnapshot {
    reason: SnapshotReason,
    job: Box<JobView>,
}

/// The cursor that an event's id is.
pub(crate) fn cursor(id: &str) -> Option<Cursor> {
    match id.parse() {
        Ok(Position { seq, mark: Some(mark) }) => Some(Cursor::new(seq, mark)),
        _ => None,
    }
}

/// Reads an event whose id is `cursor`.
pub(crate) fn read(
    job_id: JobId,
    name: &str,
    cursor: Option<Cursor>,
    data: &str,
) -> Result<Event, NotAnEvent> {
    match cursor {
        Some(cursor) if name == "snapshot" => snapshot(job_id, name, cursor, data),
        cursor => event(job_id, name, cursor, data),
    }
}

fn snapshot(job_id: JobId, name: &str, cursor: Cursor, data: &str) -> Result<Event, NotAnEvent> {
    let json = Json::parse(data).map_err(|_| NotAnEvent(data.to_owned()))?;
    Ok(match serde_json::from_str(data) {
        Ok(WireSnapshot { reason, job }) => Event::Snapshot(Snapshot { reason, job, cursor, json }),
        Err(_) => Event::Other(Other { name: name.to_owned(), job_id, cursor: Some(cursor), json }),
    })
}

fn event(job_id: JobId, name: &str, cursor: Option<Cursor>, data: &str) -> Result<Event, NotAnEvent> {
    let json = Json::parse(data).map_err(|_| NotAnEvent(data.to_owned()))?;
    let wire = serde_json::from_str::<Wire>(data).ok();
    if let (Some(wire), Some(cursor)) = (&wire, cursor)
        && wire.seq != cursor.seq
    {
        return Err(NotAnEvent(data.to_owned()));
    }
    let known = wire.zip(cursor).and_then(|(wire, cursor)| typed(name, wire, cursor, &json));
    Ok(known.unwrap_or_else(|| Event::Other(Other { name: name.to_owned(), job_id, cursor, json })))
}

fn typed(name: &str, wire: Wire, cursor: Cursor, json: &Json) -> Option<Event> {
    let head = Head { job_id: wire.job_id, cursor, at: wire.at, attempt: wire.attempt, json: json.clone() };
    let Wire { task, progress, message, output, text, error, error_code, retry_at, result, .. } = wire;
    Some(match name.parse().ok()? {
        EventType::Queued => Event::Queued { head, task: task? },
        EventType::Started => Event::Started { head },
        EventType::Progress => Event::Progress { head, progress, message },
        EventType::Output => {
            Event::Output { head, output: text.map(Output::Text).or(output.map(Output::Json))? }
        }
        EventType::Retrying => Event::Retrying { head, error, error_code, retry_at: retry_at? },
        EventType::Completed => Event::Completed { head, result },
        EventType::Failed => Event::Failed { head, error: error.unwrap_or_default(), error_code },
        EventType::Cancelled => Event::Cancelled { head, error: error.unwrap_or_default(), error_code },
    })
}

/// A present `null` is a value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ErrorCode>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|code| code.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

    fn read(name: &str, seq: u64, fields: &str) -> Result<Event, NotAnEvent> {
        let at = "2026-11-23T10:00:00.123Z";
        let data =
            format!(r#"{{"jobId":"{ID}","seq":{seq},"type":"{name}","at":"{at}","attempt":1{fields}}}"#);
        Event::from_parts(ID.parse().unwrap(), name, Some("2-4f2a9c"), &data)
    }

    #[track_caller]
    fn check(name: &str, fields: &str, expected: impl Fn(&Event) -> bool) {
        let event = read(name, 2, fields).unwrap();
        assert!(expected(&event), "{event:?}");
        assert_eq!(event.name(), name);
        assert_eq!(event.job_id().to_string(), ID);
        assert_eq!(event.cursor().unwrap().to_string(), "2-4f2a9c");
        assert!(event.json().as_str().ends_with(&format!("{fields}}}")));
    }

    #[test]
    fn every_type_is_typed() {
        let text = |text: &str| Output::Text(text.to_owned());
        let json = |text: &str| Output::Json(Json::parse(text).unwrap());
        check(
            "queued",
            r#","task":"a""#,
            |e| matches!(e, Event::Queued { task, .. } if task.as_str() == "a"),
        );
        check("started", "", |e| matches!(e, Event::Started { head } if head.attempt == 1));
        check(
            "progress",
            r#","progress":42.5,"message":null"#,
            |e| matches!(e, Event::Progress { progress: Some(p), message: None, .. } if *p == Percent::clamped(42.5)),
        );
        check(
            "output",
            r#","text":"a""#,
            |e| matches!(e, Event::Output { output, .. } if *output == text("a")),
        );
        check(
            "output",
            r#","output":null"#,
            |e| matches!(e, Event::Output { output, .. } if *output == json("null")),
        );
        check("retrying", r#","error":null,"errorCode":null,"retryAt":"2026-11-23T10:00:00.123Z""#, |e| {
            matches!(e, Event::Retrying { error: None, error_code: None, .. })
        });
        check(
            "completed",
            r#","result":null"#,
            |e| matches!(e, Event::Completed { result: Some(json), .. } if json.is_null()),
        );
        check("completed", r#","resultOmitted":true"#, |e| {
            matches!(e, Event::Completed { result: None, .. })
        });
        check(
            "failed",
            r#","error":"a","errorCode":"lost""#,
            |e| matches!(e, Event::Failed { error, error_code: Some(ErrorCode::Lost), .. } if error == "a"),
        );
        check("cancelled", r#","error":"a","errorCode":"cancelled""#, |e| {
            matches!(e, Event::Cancelled { .. })
        });
    }

    #[test]
    fn what_is_unknown_is_passed_on() {
        check("paused", r#","by":"a""#, |e| matches!(e, Event::Other(_)));
        check("progress", r#","progress":"half""#, |e| matches!(e, Event::Other(_)));
        check("failed", r#","error":"a","errorCode":"melted","more":1"#, |e| {
            matches!(e, Event::Failed { error_code: None, .. })
        });
    }

    #[test]
    fn what_can_be_no_event_is_refused() {
        assert!(read("progress", 3, "").is_err());
        assert!(read("progress", 2, ",").is_err());
    }
}
