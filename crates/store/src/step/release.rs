//! release: an attempt given back.

use std::sync::LazyLock;

use super::append::held;
use super::reply::Reply;
use super::{ALL, Held, Lease, random_word};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, WorkError};

static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua"), ALL));

impl Store {
    /// Gives the attempt back, uncounted; another worker may start the next one at once.
    pub async fn release(&self, lease: &Lease) -> Result<Held, WorkError> {
        let keys = keys_of(self.prefix(), lease.job.partition())?;
        let call = RELEASE
            .call(keys.still())
            .arg(self.now_word())
            .arg(random_word())
            .arg(lease.job)
            .arg(lease.token);
        held(Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?)
    }
}
