//! One request of a delivery, in a place at its host.

use std::sync::Arc;
use std::time::Duration;

use model::webhook::{DeliveryId, Secret};
use model::{Job, Timestamp};
use store::StoreError;
use tokio::time::Instant;

use crate::courier::Courier;
use crate::deliver::{Delivery, now};
use crate::destinations::Destination;
use crate::gate::Ended;
use crate::host::{Place, Turn};
use crate::http::{Answer, NoAnswer};
use crate::memory::Taken;
use crate::message::message;
use crate::metrics::Counted;
use crate::verdict;

/// How a request ended, and what is to be said of it.
type Went = Result<Answer, NoAnswer>;

/// A delivery that needs nothing more than a place.
pub(crate) struct Ready {
    pub(crate) delivery: Delivery,
    pub(crate) destination: Arc<Destination>,
    /// What signs it.
    pub(crate) secrets: Arc<[Secret]>,
}

/// What came of a turn.
enum Came {
    /// The request was made.
    Went { went: Went, at: Timestamp, took: Duration },
    /// None was made; it is to come again in so long.
    Later(Duration),
    /// None was made, and none will be: nothing is left to send.
    Gone,
    /// None was made, and nothing is written: it comes again when its lease ends.
    Left,
    /// The courier stops.
    Cut,
}

impl Ready {
    /// Makes the request. Who waits no longer, now that its place is free.
    pub(crate) async fn send(mut self, place: Place<Self>) -> Turn<Self> {
        let came = self.attempt(&place).await;
        let turn = place.leave(leaving(&came));
        self.end(came);
        turn
    }

    async fn attempt(&mut self, place: &Place<Self>) -> Came {
        let memory = match self.memory(place).await {
            Ok(memory) => memory,
            Err(delay) => return Came::Later(delay),
        };
        let Delivery { courier, due, start_until, .. } = &mut self.delivery;
        let job = match job(courier, due.job.take(), due.id).await {
            Ok(Some(job)) => job,
            Ok(None) => return Came::Gone,
            Err(error) => {
                tracing::debug!(delivery = %due.id, %error, "not read, so not sent");
                return Came::Left;
            }
        };
        let began = Instant::now();
        if began > *start_until {
            tracing::debug!(delivery = %due.id, "not sent: its lease could end before the request");
            return Came::Left;
        }
        let at = now();
        let _running = Counted::new(&courier.metrics.running);
        let options = &courier.options;
        let message = message(&due.webhook_id, job, &options.base_url, &self.secrets, at, memory);
        let post = place.host().http().post(&self.destination.url, message, options.timeout);
        match courier.cut.run_until_cancelled(post).await {
            Some(went) => Came::Went { went, at, took: began.elapsed() },
            None => Came::Cut,
        }
    }

    /// The memory that its body needs, where that is still to be read; or in how long to come again: at once, at a stop.
    async fn memory(&self, place: &Place<Self>) -> Result<Option<Taken>, Duration> {
        let Delivery { courier, due, .. } = &self.delivery;
        if due.job.is_some() {
            return Ok(None);
        }
        match courier.soft.run_until_cancelled(place.memory(due.length)).await {
            Some(taken) => taken.map(Some),
            None => Err(Duration::ZERO),
        }
    }

    fn end(self, came: Came) {
        let Self { delivery, .. } = self;
        match came {
            Came::Went { went, at, took } => {
                let verdict = delivery.courier.options.judge(&went, delivery.due.tries, rand::random());
                delivery.settle(verdict, at, took, went.ok());
            }
            Came::Later(delay) => delivery.put_off(delay),
            Came::Gone => delivery.settle(verdict::without_body(), now(), Duration::ZERO, None),
            Came::Left => {}
            Came::Cut => delivery.give_back(),
        }
    }
}

/// The job that a delivery tells of, which came with it or is still to be read; `None` if that has expired.
async fn job(courier: &Courier, known: Option<Job>, id: DeliveryId) -> Result<Option<Job>, StoreError> {
    match known {
        Some(job) => Ok(Some(job)),
        None => courier.store.delivery_body(id).await,
    }
}

/// What a turn says of its host. One that finds fault with a message (a redirect, 404, 410 …) is well: many owners may have
/// receivers there, and one's mistake must not hold up the others. One that may not be gone to isn't known.
fn leaving(came: &Came) -> Ended {
    let Came::Went { went, took, .. } = came else { return Ended::Abandoned };
    match went {
        Ok(Answer { status: 408 | 429 | 500.., .. }) | Err(NoAnswer::Timeout | NoAnswer::Broken(_)) => {
            Ended::Failed(*took)
        }
        Ok(_) => Ended::Took(*took),
        Err(NoAnswer::Refused(_)) => Ended::Abandoned,
    }
}
