//! sweep: what time alone brings.

use std::sync::LazyLock;
use std::time::Duration;

use model::{Partition, Status, Timestamp};

use super::reply::{Reply, unreadable};
use super::{ALL, millis, random_word};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError, SweepOptions};

static SWEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("sweep.lua"), ALL));

/// The most changes that one sweep makes: a script holds up everybody else.
pub(crate) const MOST_CHANGES: u64 = 100;

/// What a sweep came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swept {
    /// Another process sweeps this partition until then.
    Held(Timestamp),
    /// So many changes; there may be more if it is the most that a sweep makes.
    Changed(u64),
}

impl Store {
    /// Sweeps `partition` once as `holder`.
    pub async fn sweep(
        &self,
        partition: Partition,
        holder: &str,
        options: &SweepOptions,
    ) -> Result<Swept, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let stale = options.interval.saturating_mul(5).max(Duration::from_secs(5));
        let call = SWEEP
            .call(keys.still())
            .arg(self.now_word())
            .arg(random_word())
            .arg(holder)
            .arg(millis(options.interval.saturating_mul(3)))
            .arg(millis(options.lease))
            .arg(millis(stale))
            .arg(MOST_CHANGES);
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        let word = reply.text()?;
        match word.as_str() {
            "held" => Ok(Swept::Held(reply.time()?)),
            "swept" => {
                let changes = reply.parse()?;
                let mut ended = reply.array()?;
                while !ended.is_empty() {
                    let (status, code) = (ended.text()?, ended.text()?);
                    if let Some(status) = status.parse().ok().filter(|status: &Status| status.is_terminal()) {
                        self.count_end(status, code.parse().ok());
                    }
                }
                Ok(Swept::Changed(changes))
            }
            _ => Err(unreadable(&word)),
        }
    }
}
