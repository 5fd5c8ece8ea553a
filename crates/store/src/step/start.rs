//! start: an external job's first report.

use std::sync::LazyLock;

use model::Status;

use super::reply::Reply;
use super::{ALL, Lease, random_word};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static START: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("start.lua"), ALL));

impl Store {
    /// Starts the one attempt of an external job; every call of an attempt does so where it was [`WorkError::NotStarted`],
    /// and is then made again. That one says how the attempt stands: it may have ended meanwhile, by a repeat of the same call.
    pub(super) async fn start(&self, lease: &Lease) -> Result<(), StoreError> {
        let keys = keys_of(self.prefix(), lease.job.partition())?;
        let call =
            START.call(keys.still()).arg(self.now_word()).arg(random_word()).arg(lease.job).arg(lease.token);
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        if reply.text()? == "late" {
            self.count_end(Status::Failed, Some(reply.parse()?));
        }
        Ok(())
    }
}
