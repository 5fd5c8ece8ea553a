//! Deliveries of webhooks, as they are told.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::job::Unknown;
use crate::webhook::DeliveryId;
use crate::{JobId, Timestamp};

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeliveryStatus {
    /// Waits for its first or next attempt, or is under way.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It is a dead letter: all attempts are used up, or the receiver wants no more.
    Dead,
}

impl DeliveryStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for DeliveryStatus {
    type Err = Unknown;
    fn from_str(text: &str) -> Result<Self, Unknown> {
        let all = [Self::Pending, Self::Delivered, Self::Dead];
        all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| Unknown(text.into()))
    }
}

/// One attempt of a delivery.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// The answer's HTTP status; `None` where there was no answer.
    pub status: Option<u16>,
    /// Why it failed; `None` where it didn't.
    pub error: Option<String>,
    /// The first kilobyte of the answer's body, what isn't UTF-8 replaced; `None` where there was no body.
    pub body: Option<String>,
}

/// A delivery. Its secret is never told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// Its name.
    pub id: DeliveryId,
    /// The job that is told of.
    pub job_id: JobId,
    /// What every attempt carries as `webhook-id`.
    pub webhook_id: String,
    /// Where it goes.
    pub url: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// When the job ended.
    pub created_at: Timestamp,
    /// When it is tried next; `None` unless pending.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was delivered, or became a dead letter.
    pub settled_at: Option<Timestamp>,
    /// The newest attempts (at most 20), the oldest first.
    pub attempts: Vec<AttemptView>,
}

/// Which of an owner's dead letters: those that pass all that is given. The body of `POST /api/dead-letters/replay`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// What their URL begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// They died at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// They died before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The answer of `POST /api/dead-letters/replay`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replayed {
    /// How many dead letters are to be delivered again.
    pub replayed: u64,
}

/// The answer of `GET /api/jobs/{id}/deliveries`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeliveryList {
    /// Those of the job, one for each target; none before it has ended.
    pub deliveries: Vec<DeliveryView>,
}

/// A page of an owner's dead letters, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterList {
    /// The dead letters.
    pub dead_letters: Vec<DeliveryView>,
    /// Where the next page begins: what to send as `after`. `None` when there are no more.
    pub next: Option<String>,
}
