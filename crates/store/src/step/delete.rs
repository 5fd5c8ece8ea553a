//! delete: the end of what is kept of an ended job.

use std::sync::LazyLock;

use model::{JobId, Owner, Status, Token};

use super::ALL;
use super::reply::{Reply, unreadable};
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static DELETE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("delete.lua"), ALL));

/// Why nothing was deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is no such job of this owner.
    #[error("no such job")]
    Absent,
    /// It hasn't ended.
    #[error("the job has not ended: {}", .0.as_str())]
    Living(Status),
    /// Redis had no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Forgets `job` of `owner`, which has ended, and its log: it is gone once this returns. An attempt that was cancelled and
    /// still runs has lost its lease then.
    pub async fn delete(&self, job: JobId, owner: &Owner) -> Result<(), DeleteError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Err(DeleteError::Absent) };
        let token = Token::from_random(rand::random());
        let call = DELETE.call(keys.still()).arg(job).arg(owner).arg(token);
        let answer = self.router().acknowledge(keys.slot, &call, &["ok"]).await?;
        let mut reply = Reply::new(answer.value)?;
        let word = reply.text()?;
        match word.as_str() {
            "ok" => Ok(answer.lasts?),
            "absent" => Err(DeleteError::Absent),
            "living" => Err(DeleteError::Living(reply.parse()?)),
            _ => Err(unreadable(&word).into()),
        }
    }
}
