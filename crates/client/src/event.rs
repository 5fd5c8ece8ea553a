//! What a followed job tells.

mod read;

use model::report::Percent;
use model::wire::{JobView, SnapshotReason};
use model::{Cursor, ErrorCode, EventType, JobId, Json, TaskName, Timestamp};

pub(crate) use self::read::{cursor, read};

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
pub struct NotAnEvent(pub(crate) String);
