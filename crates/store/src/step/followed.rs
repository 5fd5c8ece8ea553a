//! followed: what keeps a job that is cancelled when nobody follows it.

use std::sync::LazyLock;
use std::time::Duration;

use model::JobId;
use redis::Value;

use super::reply::unreadable;
use super::{CLOCK, JOB};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static FOLLOWED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("followed.lua"), &[CLOCK, JOB]));

impl Store {
    /// Somebody follows `job`, and goes on for at least `still`. False if that makes no difference, now and later: the job
    /// has ended, or isn't cancelled when nobody follows it.
    pub async fn followed(&self, job: JobId, still: Duration) -> Result<bool, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Ok(false) };
        let call = FOLLOWED.call(vec![keys.job(job)]).arg(self.now_word()).arg(still.as_millis());
        match self.router().call(keys.slot, &Request::Script(&call)).await? {
            Value::Int(answer) => Ok(answer == 1),
            other => Err(unreadable(&other)),
        }
    }
}
