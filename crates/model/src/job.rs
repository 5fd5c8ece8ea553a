//! A job's state: what it may become, and what is known of it.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::Percent;
use crate::{Cursor, JobId, Json, Owner, TaskName, Timestamp};

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Processing,
    /// Ended well. Terminal.
    Completed,
    /// Ended badly. Terminal.
    Failed,
    /// Was cancelled. Terminal.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether a job may go from this status to `next` in one step. A retry goes from processing back to pending.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Processing | Self::Failed | Self::Cancelled),
            Self::Processing => !matches!(next, Self::Processing),
            Self::Completed | Self::Failed | Self::Cancelled => false,
        }
    }
}

/// Text that names no member of a fixed list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown value {0:?}")]
pub struct Unknown(pub String);

impl FromStr for Status {
    type Err = Unknown;
    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| Unknown(text.into()))
    }
}

/// Why a job failed or was cancelled, or an attempt is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// The handler said so, or broke.
    Handler,
    /// The attempt's run limit or the job's deadline passed.
    Timeout,
    /// Workers died.
    Lost,
    /// No worker took it within its queue limit.
    Unclaimed,
    /// Somebody cancelled it.
    Cancelled,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 5] = [Self::Handler, Self::Timeout, Self::Lost, Self::Unclaimed, Self::Cancelled];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Unclaimed => "unclaimed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for ErrorCode {
    type Err = Unknown;
    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|code| code.as_str() == text).ok_or_else(|| Unknown(text.into()))
    }
}

/// How urgent a job is among its owner's jobs of one task: owners take turns, whatever their jobs' priorities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Priority {
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Its place in the queue, from 0, the most urgent.
    pub const fn rank(self) -> u8 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// The priority of a [`rank`](Self::rank).
    pub fn of_rank(rank: u8) -> Option<Self> {
        Self::ALL.get(usize::from(rank)).copied()
    }
}

impl FromStr for Priority {
    type Err = Unknown;
    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text).ok_or_else(|| Unknown(text.into()))
    }
}

/// Everything that is told of a job. It is the fold of the job's events.
#[derive(Clone, PartialEq, Debug)]
pub struct Job {
    /// The job's id.
    pub id: JobId,
    /// Whose it is.
    pub owner: Owner,
    /// The kind of work.
    pub task: TaskName,
    /// Where it stands.
    pub status: Status,
    /// How far the attempt is; 100 once completed.
    pub progress: Option<Percent>,
    /// What the attempt is engaged in.
    pub message: Option<String>,
    /// The result, once completed.
    pub result: Option<Json>,
    /// Why it failed, was cancelled, or is tried again: a sentence.
    pub error: Option<String>,
    /// The same for programs.
    pub error_code: Option<ErrorCode>,
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// How many attempts there may be, those given back not counted.
    pub max_attempts: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// What the submitter attached.
    pub metadata: Option<Json>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its newest event happened.
    pub updated_at: Timestamp,
    /// When its newest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When Redis forgets it.
    pub expires_at: Timestamp,
    /// The cursor of its newest event.
    pub last_event: Cursor,
    /// It is cancelled when nobody has followed it for so long.
    pub cancel_on_disconnect: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_an_end() {
        for from in Status::ALL {
            for to in Status::ALL {
                if from.is_terminal() {
                    assert!(!from.may_become(to), "{from:?} {to:?}");
                }
            }
            assert_eq!(from.as_str().parse(), Ok(from));
        }
        assert!(Status::Processing.may_become(Status::Pending));
        assert!(!Status::Pending.may_become(Status::Completed), "only an attempt completes");
    }
}
