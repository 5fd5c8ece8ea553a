//! start: an external job's first report.

use std::sync::LazyLock;

use super::append::held;
use super::reply::Reply;
use super::{ALL, Held, Lease, random_word};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, WorkError};

static START: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("start.lua"), ALL));

impl Store {
    /// Starts the one attempt of an external job; every call of an attempt does so where it was [`WorkError::NotStarted`].
    pub(super) async fn start(&self, lease: &Lease) -> Result<Held, WorkError> {
        let keys = keys_of(self.prefix(), lease.job.partition())?;
        let call =
            START.call(keys.still()).arg(self.now_word()).arg(random_word()).arg(lease.job).arg(lease.token);
        held(Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?)
    }
}
