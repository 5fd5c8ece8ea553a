//! Deliveries of webhooks: to whom, and what became of them.

use std::time::Duration;

use model::webhook::{DeliveryId, MAX_TARGETS, Sealed};
use model::wire::{AttemptView, DeliveryStatus};
use model::{Job, JobId, Owner, Timestamp};
use redis::Value;

use super::read::read_told;
use super::reply::{Reply, unreadable};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::{Store, StoreError};

/// Who is told of a job's end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// The receiver's URL, as the `url` standard writes it: without spaces.
    pub url: String,
    /// By what deliveries are signed.
    pub secret: WebhookSecret,
}

/// By what deliveries to one target are signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WebhookSecret {
    /// A secret that came with the submission.
    Own(Sealed),
    /// What configuration has for the owner when it is delivered.
    Owner,
    /// None: the plain signature alone, by the empty key.
    None,
}

impl WebhookSecret {
    fn word(&self) -> String {
        match self {
            Self::Own(sealed) => format!("own:{sealed}"),
            Self::Owner => "owner".into(),
            Self::None => "none".into(),
        }
    }

    pub(super) fn read(word: &str) -> Result<Self, StoreError> {
        match word.strip_prefix("own:") {
            Some(sealed) => sealed.parse().map(Self::Own).map_err(|error| unreadable(&error)),
            None if word == "owner" => Ok(Self::Owner),
            None if word == "none" => Ok(Self::None),
            None => Err(unreadable(&"a webhook's secret")),
        }
    }
}

/// The targets of a job as its hash holds them.
pub(super) fn targets(webhooks: &[Webhook]) -> String {
    let lines = webhooks.iter().map(|webhook| format!("{} {}", webhook.url, webhook.secret.word()));
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn read_targets(text: &str) -> Result<Vec<Webhook>, StoreError> {
    let read = |line: &str| {
        let (url, word) = line.split_once(' ').ok_or_else(|| unreadable(&"a webhook's target"))?;
        Ok(Webhook { url: url.to_owned(), secret: WebhookSecret::read(word)? })
    };
    text.lines().map(read).collect()
}

/// A delivery as it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Its name.
    pub id: DeliveryId,
    /// Whose job it tells of.
    pub owner: Owner,
    /// What every attempt carries as `webhook-id`.
    pub webhook_id: String,
    /// Where it goes.
    pub url: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// When the job ended.
    pub created_at: Timestamp,
    /// When it is tried next; `None` unless pending.
    pub due_at: Option<Timestamp>,
    /// When it was delivered, or became a dead letter.
    pub settled_at: Option<Timestamp>,
    /// The newest attempts, the oldest first.
    pub attempts: Vec<AttemptView>,
}

const FIELDS: &[&str] =
    &["owner", "webhookId", "url", "status", "createdAt", "dueAt", "settledAt", "history"];

impl Store {
    /// The deliveries of `job`, in the order of its targets. None before it has ended, and none where it had no target. They may
    /// outlive the job.
    pub async fn deliveries(&self, job: JobId) -> Result<Vec<Delivery>, StoreError> {
        let ids = (1..=MAX_TARGETS).map(|number| DeliveryId { job, number });
        let mut found = Vec::new();
        for delivery in futures_util::future::join_all(ids.map(|id| self.delivery(id))).await {
            found.extend(delivery?);
        }
        Ok(found)
    }

    /// The delivery `id`; `None` if there is no such delivery, or it has expired.
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), id.job.partition()) else { return Ok(None) };
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(keys.delivery(id)).arg(FIELDS);
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Command(&cmd)).await?)?;
        let Some(owner) = reply.text_if_any()? else { return Ok(None) };
        let time = |time: Option<Duration>| time.map(|ms| Timestamp::default().plus(ms));
        let (webhook_id, url, status) = (reply.text()?, reply.text()?, reply.parse()?);
        Ok(Some(Delivery {
            id,
            owner: owner.parse().map_err(|_| unreadable(&owner))?,
            webhook_id,
            url,
            status,
            created_at: reply.time()?,
            due_at: time(reply.millis_if_any()?).filter(|_| status == DeliveryStatus::Pending),
            settled_at: time(reply.millis_if_any()?),
            attempts: read_history(&reply.text_if_any()?.unwrap_or_default())?,
        }))
    }

    /// What the delivery `id` sends: its job as it ended, without the payload. `None` if it has expired.
    pub async fn delivery_body(&self, id: DeliveryId) -> Result<Option<Job>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), id.job.partition()) else { return Ok(None) };
        let mut cmd = redis::cmd("GET");
        cmd.arg(keys.body(id.job));
        match self.router().call(keys.slot, &Request::Command(&cmd)).await? {
            Value::Nil => Ok(None),
            Value::BulkString(told) => read_told(id.job, &told).map(Some),
            other => Err(unreadable(&other)),
        }
    }
}

fn read_history(text: &str) -> Result<Vec<AttemptView>, StoreError> {
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|error| unreadable(&error.to_string())))
        .collect()
}
