//! cancel: the end of a job at somebody's word.

use std::sync::LazyLock;

use model::{ErrorCode, JobId, Owner, Status, Token};

use super::end::sentence;
use super::reply::{Reply, unreadable};
use super::{ALL, random_word};
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static CANCEL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("cancel.lua"), ALL));

/// Why nothing was cancelled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CancelError {
    /// There is no such job of this owner.
    #[error("no such job")]
    Absent,
    /// It had ended already.
    #[error("the job has ended already: {}", .0.as_str())]
    Terminal(Status),
    /// Redis had no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Cancels `job` of `owner` with the sentence `error`: a fact once this returns.
    pub async fn cancel(&self, job: JobId, owner: &Owner, error: &str) -> Result<(), CancelError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Err(CancelError::Absent) };
        let token = Token::from_random(rand::random());
        let call = CANCEL
            .call(keys.still())
            .arg(self.now_word())
            .arg(random_word())
            .arg(job)
            .arg(owner)
            .arg(token)
            .arg(sentence(error));
        // Also that it had ended already is a word to rely on: somebody may repeat a call that was told `NotReplicated`.
        let answer = self.router().acknowledge(keys.slot, &call, &["ok", "terminal"]).await?;
        let mut reply = Reply::new(answer.value)?;
        let word = reply.text()?;
        match word.as_str() {
            "ok" => {
                if !reply.text()?.is_empty() {
                    self.count_end(Status::Cancelled, Some(ErrorCode::Cancelled));
                }
                answer.lasts?;
                Ok(())
            }
            "absent" => Err(CancelError::Absent),
            "terminal" => {
                answer.lasts?;
                Err(CancelError::Terminal(reply.parse()?))
            }
            _ => Err(unreadable(&word).into()),
        }
    }
}
