//! settle: what came of deliveries.

use std::sync::LazyLock;
use std::time::Duration;

use model::webhook::DeliveryId;
use model::wire::AttemptView;
use model::{Partition, Token};

use super::reply::{Reply, unreadable};
use super::{CLOCK, DELIVER, QUEUE, SETTLED, millis};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::{Script, ScriptCall};
use crate::{Store, StoreError};

static SETTLE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("settle.lua"), &[CLOCK, QUEUE, DELIVER, SETTLED]));

/// What came of a delivery that was claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The receiver took it.
    Delivered,
    /// The attempt failed; the next one is due after so long.
    Retry(Duration),
    /// No attempt was made; it is due again after so long.
    Postponed(Duration),
    /// It is a dead letter.
    Dead,
}

/// What is written of one delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// The delivery.
    pub id: DeliveryId,
    /// The fence of its claim.
    pub token: Token,
    /// What came of it.
    pub outcome: Outcome,
    /// What there is to say of the attempt; `None` where none was made.
    pub attempt: Option<AttemptView>,
}

/// How dead letters are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeadLetterLimits {
    /// The most of one owner, over all partitions; the oldest beyond it are forgotten.
    pub most: u32,
    /// How long each is kept.
    pub retention: Duration,
}

/// Whether the outcome was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It was, by this call or by one before that this one repeats.
    Yes,
    /// The claim was too old: another courier has the delivery, or it is gone.
    Lost,
}

/// The most settlements that are written together: a script holds up everybody else.
pub const MAX_SETTLEMENTS: usize = 100;

impl Store {
    /// Writes what came of deliveries of `partition`, none of them twice, in one step; of each whether it was written, in their order.
    /// Those beyond [`MAX_SETTLEMENTS`] take another step. Works when Redis is full. After an error some of them may be
    /// written; a repeat answers for those as the first time.
    pub async fn settle(
        &self,
        partition: Partition,
        settlements: &[Settlement],
        dead_letters: DeadLetterLimits,
    ) -> Result<Vec<Settled>, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let most = if settlements.iter().any(|settlement| settlement.outcome == Outcome::Dead) {
            let partitions = u32::try_from(self.partitions().await?.count()).unwrap_or(1).max(1);
            dead_letters.most.div_ceil(partitions)
        } else {
            0
        };
        let mut settled = Vec::with_capacity(settlements.len());
        for settlements in settlements.chunks(MAX_SETTLEMENTS) {
            let call =
                SETTLE.call(keys.still()).arg(self.now_word()).arg(most).arg(millis(dead_letters.retention));
            let call = settlements.iter().fold(call, with_settlement);
            let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
            for _ in settlements {
                settled.push(read_settled(&mut reply)?);
            }
        }
        Ok(settled)
    }
}

fn with_settlement(call: ScriptCall, settlement: &Settlement) -> ScriptCall {
    let Settlement { id, token, outcome, attempt } = settlement;
    let (how, after) = match outcome {
        Outcome::Delivered => ("delivered", Duration::ZERO),
        Outcome::Retry(after) => ("retry", *after),
        Outcome::Postponed(after) => ("postponed", *after),
        Outcome::Dead => ("dead", Duration::ZERO),
    };
    // An attempt always has a JSON form.
    let attempt = attempt.as_ref().map(|attempt| serde_json::to_string(attempt).unwrap_or_default());
    call.arg(id).arg(token).arg(how).arg(after.as_millis()).arg(attempt.unwrap_or_default())
}

fn read_settled(reply: &mut Reply) -> Result<Settled, StoreError> {
    match &*reply.bytes()? {
        b"settled" => Ok(Settled::Yes),
        b"lost" => Ok(Settled::Lost),
        other => Err(unreadable(&String::from_utf8_lossy(other))),
    }
}
