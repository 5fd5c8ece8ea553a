//! settle: what came of a delivery.

use std::sync::LazyLock;
use std::time::Duration;

use model::Token;
use model::webhook::DeliveryId;
use model::wire::AttemptView;

use super::reply::unreadable;
use super::{CLOCK, DELIVER, QUEUE, SETTLED};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static SETTLE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("settle.lua"), &[CLOCK, QUEUE, DELIVER, SETTLED]));

/// What came of a delivery that was claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The receiver took it.
    Delivered,
    /// The attempt failed; the next one is due after so long.
    Retry(Duration),
    /// No attempt was made; it is due again after so long.
    Postponed(Duration),
    /// It is a dead letter: one of at most `most` of its owner, for `retention`.
    Dead {
        /// The most dead letters that an owner has, over all partitions.
        most: u32,
        /// How long it is kept.
        retention: Duration,
    },
}

/// Whether the outcome was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It was, by this call or by one before that this one repeats.
    Yes,
    /// The claim was too old: another courier has the delivery, or it is gone.
    Lost,
}

impl Store {
    /// Writes what came of the delivery `id`, and what there is to say of the attempt. Works when Redis is full.
    pub async fn settle(
        &self,
        id: DeliveryId,
        token: Token,
        outcome: Outcome,
        attempt: Option<&AttemptView>,
    ) -> Result<Settled, StoreError> {
        let keys = keys_of(self.prefix(), id.job.partition())?;
        let (how, after, most, retention) = match outcome {
            Outcome::Delivered => ("delivered", Duration::ZERO, 0, Duration::ZERO),
            Outcome::Retry(after) => ("retry", after, 0, Duration::ZERO),
            Outcome::Postponed(after) => ("postponed", after, 0, Duration::ZERO),
            Outcome::Dead { most, retention } => {
                let partitions = u32::try_from(self.partitions().await?.count()).unwrap_or(1).max(1);
                ("dead", Duration::ZERO, most.div_ceil(partitions), retention)
            }
        };
        // An attempt always has a JSON form.
        let attempt = attempt.map(|attempt| serde_json::to_string(attempt).unwrap_or_default());
        let call = SETTLE
            .call(keys.still())
            .arg(self.now_word())
            .arg(id)
            .arg(token)
            .arg(how)
            .arg(after.as_millis())
            .arg(attempt.unwrap_or_default())
            .arg(most)
            .arg(retention.as_millis());
        match self.router().call(keys.slot, &Request::Script(&call)).await? {
            redis::Value::BulkString(word) if word == b"settled" => Ok(Settled::Yes),
            redis::Value::BulkString(word) if word == b"lost" => Ok(Settled::Lost),
            other => Err(unreadable(&other)),
        }
    }
}
