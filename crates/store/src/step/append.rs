//! append: a batch of reports.

use std::sync::LazyLock;

use model::Report;

use super::reply::{Reply, unreadable};
use super::{Batch, CLOCK, Held, LOG, Lease, batch_word, millis, random_word, with_reports};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, WorkError};

static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua"), &[CLOCK, LOG]));

impl Store {
    /// Writes `reports`, in order, as the attempt's write number `batch`, and renews the lease. A repeat of the last batch
    /// writes nothing and answers as the first time. `StoreError::Full` where Redis is full: wait, and send the same again.
    pub async fn append(&self, lease: &Lease, batch: Batch, reports: &[Report]) -> Result<Held, WorkError> {
        match self.append_once(lease, batch, reports).await {
            Err(WorkError::NotStarted) => {
                self.start(lease).await?;
                self.append_once(lease, batch, reports).await
            }
            done => done,
        }
    }

    async fn append_once(&self, lease: &Lease, batch: Batch, reports: &[Report]) -> Result<Held, WorkError> {
        let keys = keys_of(self.prefix(), lease.job.partition())?;
        let call = APPEND
            .call(vec![keys.job(lease.job), keys.log(lease.job)])
            .arg(self.now_word())
            .arg(random_word())
            .arg(lease.job)
            .arg(lease.token)
            .arg(millis(lease.duration))
            .arg(keys.live(&lease.job.into()))
            .arg(batch_word(batch));
        let call = with_reports(call, reports);
        held(Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?)
    }
}

/// The reply of append, renew, end and release as far as they are alike.
pub(super) fn held(mut reply: Reply) -> Result<Held, WorkError> {
    let word = reply.text()?;
    match word.as_str() {
        "lost" => Err(WorkError::LeaseLost),
        "gap" => Err(WorkError::BatchGap),
        "start" => Err(WorkError::NotStarted),
        "external" => Err(WorkError::External),
        "ok" | "cancelled" => Ok(Held { expires_at: reply.time()?, cancelled: word == "cancelled" }),
        _ => Err(unreadable(&word).into()),
    }
}
