//! due: how a courier gets deliveries whose time has come.

use std::sync::LazyLock;
use std::time::Duration;

use model::webhook::DeliveryId;
use model::{Job, Owner, Partition, Timestamp, Token};
use redis::Value;

use super::deliveries::WebhookSecret;
use super::read::read_told;
use super::reply::{Reply, unreadable};
use super::{CLOCK, DELIVER, QUEUE, SETTLED, millis};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static DUE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("due.lua"), &[CLOCK, QUEUE, DELIVER, SETTLED]));

/// How deliveries are claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DueOptions {
    /// The most of them, from 1; at most 100, since a script holds up everybody else.
    pub most: usize,
    /// Until when nobody else gets them: longer than an attempt may take.
    pub lease: Duration,
    /// The longest body, in bytes, that comes with them at once.
    pub longest_body: usize,
}

/// A claimed delivery.
#[derive(Clone, PartialEq, Debug)]
pub struct Due {
    /// Its name.
    pub id: DeliveryId,
    /// The fence of this claim.
    pub token: Token,
    /// Whose job it tells of.
    pub owner: Owner,
    /// Where it goes.
    pub url: String,
    /// By what it is signed.
    pub secret: WebhookSecret,
    /// What every attempt carries as `webhook-id`.
    pub webhook_id: String,
    /// When it was first to be delivered: at the end, or when it was replayed.
    pub since: Timestamp,
    /// How many attempts there were since then.
    pub tries: u32,
    /// How long that which is told of the job is, in bytes; 0 if it has expired.
    pub length: u64,
    /// The job as it ended, without its payload. `None` where that is longer than was asked for: see [`Store::delivery_body`].
    pub job: Option<Job>,
}

/// What was claimed.
#[derive(Clone, PartialEq, Debug)]
pub struct DueDeliveries {
    /// The deliveries, those that waited longest first.
    pub deliveries: Vec<Due>,
    /// In how long the next one is due; `None` if there is none.
    pub next: Option<Duration>,
}

impl Store {
    /// Claims deliveries of `partition` whose time has come, with the caller's `token`. A repeat with the same token answers
    /// with the same ones. What isn't settled before the lease ends is claimed anew.
    pub async fn due(
        &self,
        partition: Partition,
        token: Token,
        options: &DueOptions,
    ) -> Result<DueDeliveries, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let call = DUE
            .call(keys.still())
            .arg(self.now_word())
            .arg(token)
            .arg(millis(options.lease))
            .arg(options.most.clamp(1, 100))
            .arg(options.longest_body);
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        let next: i64 = reply.parse()?;
        let mut deliveries = Vec::new();
        while !reply.is_empty() {
            deliveries.push(read_due(&reply.text()?, &reply.bytes()?, token)?);
        }
        Ok(DueDeliveries { deliveries, next: u64::try_from(next).ok().map(Duration::from_millis) })
    }

    /// How many deliveries `partition` has that aren't settled, and when the first of them is, or was, due: by Redis' clock, or at
    /// the end of the lease where a courier has it.
    pub async fn due_depth(&self, partition: Partition) -> Result<(u64, Option<Timestamp>), StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let (mut count, mut first) = (redis::cmd("ZCARD"), redis::cmd("ZRANGE"));
        count.arg(keys.due());
        first.arg(keys.due()).arg(&["0", "0", "WITHSCORES"]);
        let count = match self.router().call(keys.slot, &Request::Command(&count)).await? {
            Value::Int(count) => u64::try_from(count).unwrap_or_default(),
            other => return Err(unreadable(&other)),
        };
        let mut first = Reply::new(self.router().call(keys.slot, &Request::Command(&first)).await?)?;
        if first.is_empty() {
            return Ok((count, None));
        }
        let (_, at): (DeliveryId, _) = first.scored()?;
        Ok((count, Some(at)))
    }
}

/// A delivery's own words and its body, as the script gives them.
fn read_due(words: &str, told: &[u8], token: Token) -> Result<Due, StoreError> {
    let bad = || unreadable(&"a delivery that is due");
    let mut words = words.split(' ');
    let mut next = || words.next().ok_or_else(bad);
    let id: DeliveryId = next()?.parse().map_err(|_| bad())?;
    let owner = next()?.parse().map_err(|_| bad())?;
    let url = next()?.to_owned();
    let secret = WebhookSecret::read(next()?)?;
    let webhook_id = next()?.to_owned();
    let since = next()?.parse().map(Timestamp::from_millis).map_err(|_| bad())?;
    let tries = next()?.parse().map_err(|_| bad())?;
    let length = next()?.parse().map_err(|_| bad())?;
    let job = if told.is_empty() { None } else { Some(read_told(id.job, told)?) };
    Ok(Due { id, token, owner, url, secret, webhook_id, since, tries, length, job })
}
