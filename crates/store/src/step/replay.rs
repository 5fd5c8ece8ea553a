//! replay: a dead letter is to be delivered after all.

use std::sync::LazyLock;

use model::Owner;
use model::webhook::DeliveryId;

use super::reply::unreadable;
use super::{CLOCK, DELIVER, QUEUE, SETTLED};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static REPLAY: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("replay.lua"), &[CLOCK, QUEUE, DELIVER, SETTLED]));

/// Why nothing was replayed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such delivery of this owner, or what it sent has expired.
    #[error("no such dead letter")]
    Absent,
    /// The receiver took it.
    #[error("it was delivered")]
    Delivered,
    /// Redis had no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes the dead letter `id` of `owner` pending again, due at once, with as many attempts as a new delivery, and takes it off
    /// the list. What is pending already stays so.
    pub async fn replay(&self, id: DeliveryId, owner: &Owner) -> Result<(), ReplayError> {
        let Ok(keys) = keys_of(self.prefix(), id.job.partition()) else { return Err(ReplayError::Absent) };
        let call = REPLAY.call(keys.still()).arg(self.now_word()).arg(id).arg(owner);
        match self.router().call(keys.slot, &Request::Script(&call)).await? {
            redis::Value::BulkString(word) if word == b"replayed" => Ok(()),
            redis::Value::BulkString(word) if word == b"absent" => Err(ReplayError::Absent),
            redis::Value::BulkString(word) if word == b"delivered" => Err(ReplayError::Delivered),
            other => Err(unreadable(&other).into()),
        }
    }
}
