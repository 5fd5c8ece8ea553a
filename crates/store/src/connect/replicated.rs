//! Acknowledged calls: what is told of them may be relied on as far as [`Durability`] says.
//!
//! `Replicated` is the script and then WAIT on one dedicated connection to the slot's primary. WAIT covers what that connection
//! wrote; so a script whose answer tells what another call wrote must write as well (`touch` in `step/common/job.lua`):
//! for a connection that only read Redis 7.2 and Valkey answer at once, whatever the replicas have.

use redis::{RedisError, RedisResult, Value};
use tokio::time::timeout_at;

use super::dedicated::{Own, Place};
use super::node::Node;
use super::tries::{Route, Tries};
use super::verdict::Verdict;
use super::{Request, Router};
use crate::options::Durability;
use crate::partition::Slot;
use crate::script::ScriptCall;
use crate::{Replication, StoreError};

/// A script's answer, and whether what it tells lasts.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    /// The reply.
    pub(crate) value: Value,
    /// `NotReplicated` if too few replicas have it in time. It is done all the same, on the primary.
    pub(crate) lasts: Result<(), StoreError>,
}

impl Router {
    /// As [`Self::call`]; and where the reply's first word is one of `told`, it is waited for until enough replicas have what
    /// it tells.
    pub(crate) async fn acknowledge(
        &self,
        slot: Slot,
        call: &ScriptCall,
        told: &[&str],
    ) -> Result<Acknowledged, StoreError> {
        match self.acknowledge_until_answered(slot, call, told, false).await? {
            Some(answer) => Ok(answer),
            None => Err(StoreError::Unavailable("the slot is moving".into())),
        }
    }

    /// As [`Self::acknowledge`], but `None` at once if the slot is moving and holds the call up, and it surely did not happen.
    pub(crate) async fn acknowledge_or_moving(
        &self,
        slot: Slot,
        call: &ScriptCall,
        told: &[&str],
    ) -> Result<Option<Acknowledged>, StoreError> {
        self.acknowledge_until_answered(slot, call, told, true).await
    }

    async fn acknowledge_until_answered(
        &self,
        slot: Slot,
        call: &ScriptCall,
        told: &[&str],
        is_moving_enough: bool,
    ) -> Result<Option<Acknowledged>, StoreError> {
        let Durability::Replicated(replication) = self.shared.durability else {
            let value = self.call_until_answered(slot, &Request::Script(call), is_moving_enough).await?;
            return Ok(value.map(|value| Acknowledged { value, lasts: Ok(()) }));
        };
        // Boxed: it is large, and most installations never do it.
        Box::pin(self.replicate(Tries::new(self, slot, is_moving_enough), slot, call, told, replication))
            .await
    }

    async fn replicate(
        &self,
        mut tries: Tries<'_>,
        slot: Slot,
        call: &ScriptCall,
        told: &[&str],
        replication: Replication,
    ) -> Result<Option<Acknowledged>, StoreError> {
        let mut route = Route::Slot;
        loop {
            let error = match self.try_replicated(&mut tries, slot, call, told, replication, route).await? {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => error,
            };
            match tries.after(error).await? {
                Some(next) => route = next,
                None => return Ok(None),
            }
        }
    }

    /// One try. WAIT has a limit of its own: patience is for an answer.
    async fn try_replicated(
        &self,
        tries: &mut Tries<'_>,
        slot: Slot,
        call: &ScriptCall,
        told: &[&str],
        replication: Replication,
        route: Route,
    ) -> Result<RedisResult<Acknowledged>, StoreError> {
        let (node, is_ahead) = match tries.run(self.node_on(slot, route)).await? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let Ok(Ok(place)) = timeout_at(tries.deadline(), node.dedicated().place()).await else {
            // Redis isn't away, and isn't said to be.
            let why = format!("every connection to {} waits for replicas", node.address);
            return Err(StoreError::Unavailable(why));
        };
        let asked = tries.run(self.noting(&node, ask_apart(&node, place, call, is_ahead))).await?;
        let (mut own, value) = match asked {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        if !tells(&value, told) {
            own.give_back();
            return Ok(Ok(Acknowledged { value, lasts: Ok(()) }));
        }
        tries.happened();
        let have = match self.noting(&node, wait(&mut own, &node, replication)).await {
            Ok(have) => have,
            Err(error) => return Ok(Err(error)),
        };
        own.give_back();
        let want = u64::from(replication.replicas);
        let what = format_args!("replication by Redis at {}", node.address);
        let lasts = if have < want {
            let error = StoreError::NotReplicated { have, want };
            node.lacks_replicas.began(what, &error);
            Err(error)
        } else {
            node.lacks_replicas.over(what);
            Ok(())
        };
        Ok(Ok(Acknowledged { value, lasts }))
    }

    /// Takes in what an answer of `node` says of it and of the topology.
    async fn noting<T>(&self, node: &Node, asked: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        let answer = asked.await;
        match &answer {
            Ok(_) => {
                node.counters().round_trips.inc();
                self.answered(node);
            }
            Err(error) => {
                if is_broken(error) {
                    node.dedicated().close_idle();
                }
                self.failed(node, error).await;
            }
        }
        answer
    }
}

/// Runs the script on a dedicated connection.
async fn ask_apart(
    node: &Node,
    place: Place,
    call: &ScriptCall,
    is_ahead: bool,
) -> RedisResult<(Own, Value)> {
    let limit = node.response_timeout();
    let mut own = node.own(place).await?;
    let answer = match own.ask(&call.by_hash(), is_ahead, limit).await {
        Err(error) if Verdict::of(&error) == Verdict::NoScript => {
            own.ask(&call.by_text(), is_ahead, limit).await
        }
        answer => answer,
    };
    match answer {
        Ok(value) => Ok((own, value)),
        Err(error) => {
            if !is_broken(&error) {
                own.give_back();
            }
            Err(error)
        }
    }
}

/// How many replicas have what `own` wrote: enough, or those that have it when the time is over.
async fn wait(own: &mut Own, node: &Node, replication: Replication) -> RedisResult<u64> {
    // To Redis no wait at all is one without end.
    let limit_ms = replication.within.as_millis().max(1);
    let mut cmd = redis::cmd("WAIT");
    cmd.arg(replication.replicas).arg(u64::try_from(limit_ms).unwrap_or(u64::MAX));
    let answer = own.ask(&cmd, false, replication.within + node.response_timeout()).await?;
    Ok(redis::from_redis_value(answer)?)
}

/// The connection can't be used again, and others to the same node hardly.
fn is_broken(error: &RedisError) -> bool {
    matches!(Verdict::of(error), Verdict::Lost | Verdict::Demoted)
}

/// Is the first word of `reply` one of `told`?
fn tells(reply: &Value, told: &[&str]) -> bool {
    let Value::Array(words) = reply else { return false };
    match words.first() {
        Some(Value::BulkString(word)) => told.iter().any(|told| told.as_bytes() == word),
        Some(Value::SimpleString(word)) => told.contains(&word.as_str()),
        _ => false,
    }
}
