//! renew: a heartbeat.

use std::sync::LazyLock;

use super::append::held;
use super::reply::Reply;
use super::{CLOCK, Held, Lease, millis};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, WorkError};

static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua"), &[CLOCK]));

impl Store {
    /// Renews the lease: it lasts its duration from now. Also works past its time, as long as no sweep took it.
    pub async fn renew(&self, lease: &Lease) -> Result<Held, WorkError> {
        match self.renew_once(lease).await {
            Err(WorkError::NotStarted) => {
                self.start(lease).await?;
                self.renew_once(lease).await
            }
            done => done,
        }
    }

    async fn renew_once(&self, lease: &Lease) -> Result<Held, WorkError> {
        let keys = keys_of(self.prefix(), lease.job.partition())?;
        let call = RENEW
            .call(vec![keys.job(lease.job)])
            .arg(self.now_word())
            .arg(lease.token)
            .arg(millis(lease.duration));
        held(Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?)
    }
}
