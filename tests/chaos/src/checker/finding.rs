//! What is wrong, and where.

use serde::{Deserialize, Serialize};

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The record, or a frame, can't be read.
    Malformed,
    /// A frame says one thing in two places, and they differ.
    Disagrees,
    /// A reconnect didn't send the last id seen.
    WrongCursor,
    /// Events were left out.
    Hole,
    /// An event came again, or came late.
    Repeat,
    /// A handler's counter didn't go up by one.
    Counter,
    /// An event that can't follow the ones before.
    IllegalLife,
    /// Something followed an end.
    AfterEnd,
    /// An event that isn't the log's, or isn't what another client was shown.
    Forged,
    /// A snapshot that nobody asked for.
    UnaskedSnapshot,
    /// `rewound`, and nothing was lost.
    UnexplainedRewind,
    /// `trimmed`, and nothing was trimmed.
    UnexplainedTrim,
    /// A client holds a history that isn't Redis', and wasn't told.
    NotTold,
    /// A client that stayed never saw the end.
    Unfinished,
    /// A stream was said to be over before its end.
    EndedEarly,
    /// A stream was refused that should have been served.
    Denied,
    /// A job is said to be gone, and is there.
    FalselyGone,
    /// A log in Redis is broken.
    BrokenLog,
    /// An accepted job has no end.
    NoEnd,
    /// A job ended long after its deadline, though it could have been ended.
    LateEnd,
    /// The poll and the log differ.
    PollDisagrees,
    /// An accepted job is gone, and no failover explains it.
    JobLost,
    /// An end that was seen or acknowledged is gone, and no failover explains it.
    EndLost,
    /// One submission made two jobs, or a job that nobody submitted.
    MadeTwice,
    /// A job isn't listed.
    Unlisted,
    /// The feed lacks an event of a job.
    FeedLacks,
    /// The feed has an event that it shouldn't have.
    FeedExtra,
    /// The end of a job was never told by its webhook.
    Untold,
    /// A webhook that tells what isn't so, or isn't signed.
    FalselyTold,
}

impl Kind {
    /// Its name, as in JSON.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// Which.
    pub kind: Kind,
    /// The number of the client that it was broken to.
    pub client: Option<u32>,
    /// The job, or the feed (`<owner>/<partition>`), that it was about.
    pub about: Option<String>,
    /// When, if it was at a time.
    pub at_ms: Option<u64>,
    /// The evidence, as a sentence.
    pub sentence: String,
}

/// Violations as they are found.
#[derive(Default)]
pub(super) struct Findings(Vec<Violation>);

impl Findings {
    /// About the run or an owner.
    pub(super) fn general(&mut self, kind: Kind, sentence: String) {
        self.0.push(Violation { kind, client: None, about: None, at_ms: None, sentence });
    }

    /// About a job or a feed, as Redis holds it.
    pub(super) fn about(&mut self, kind: Kind, about: String, sentence: String) {
        self.0.push(Violation { kind, client: None, about: Some(about), at_ms: None, sentence });
    }

    /// Seen by a client.
    pub(super) fn seen(
        &mut self,
        kind: Kind,
        client: u32,
        about: Option<String>,
        at_ms: u64,
        sentence: String,
    ) {
        self.0.push(Violation { kind, client: Some(client), about, at_ms: Some(at_ms), sentence });
    }

    pub(super) fn all(self) -> Vec<Violation> {
        self.0
    }
}
