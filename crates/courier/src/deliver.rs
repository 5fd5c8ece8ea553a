//! One delivery in hand: from its claim until what came of it is written.

use std::sync::Arc;
use std::time::Duration;

use model::webhook::Secret;
use model::wire::AttemptView;
use model::{Clock, Job, SystemClock, Timestamp};
use store::{Due, Outcome, Settlement, StoreError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::courier::Courier;
use crate::destinations::Destination;
use crate::gate::Ended;
use crate::host::{Admission, Host, Place, Waiting};
use crate::http::{Answer, NoAnswer};
use crate::memory::Taken;
use crate::message::message;
use crate::metrics::Counted;
use crate::settler::Settler;
use crate::verdict::{self, Verdict};

/// How a request ended, and what is to be said of it.
type Went = Result<Answer, NoAnswer>;

/// A claimed delivery.
pub(crate) struct Delivery {
    courier: Arc<Courier>,
    /// Writes what comes of it.
    settler: Settler,
    /// The room that it takes up until then.
    permit: OwnedSemaphorePermit,
    due: Box<Due>,
    /// Until when it may be started: a request that begins later could outlive the lease.
    start_until: Instant,
}

/// What is to be done with a delivery.
pub(crate) enum Plan {
    /// Nothing is sent.
    Settle(Verdict),
    /// Come again in so long.
    Later(Duration),
    /// To be sent now.
    Send(Place, Way),
    /// To be sent as soon as there is a place.
    Wait(Waiting, Way),
}

/// Where a delivery goes, and what signs it.
pub(crate) struct Way {
    destination: Arc<Destination>,
    secrets: Arc<[Secret]>,
}

impl Delivery {
    pub(crate) fn new(
        courier: Arc<Courier>,
        settler: Settler,
        permit: OwnedSemaphorePermit,
        due: Due,
        start_until: Instant,
    ) -> Self {
        Self { courier, settler, permit, due: Box::new(due), start_until }
    }

    /// What is to be done, and the host that it goes to.
    pub(crate) fn plan(&self) -> (Plan, Option<Arc<Host>>) {
        let Courier { options, destinations, secrets, hosts, .. } = &*self.courier;
        let due = &self.due;
        let destination = match destinations.of(&due.url) {
            Ok(destination) => destination,
            Err(error) => return (Plan::Settle(verdict::refuse(&error)), None),
        };
        let secrets = match secrets.of(&due.secret, &due.owner, &due.url) {
            Ok(secrets) => secrets,
            Err(error) => return (Plan::Settle(options.unsigned(&error, due.tries, rand::random())), None),
        };
        let host = match hosts.of(&destination.target) {
            Ok(host) => host,
            Err(error) => {
                let broken = Err(NoAnswer::Broken(error.without_url().to_string()));
                return (Plan::Settle(options.judge(&broken, due.tries, rand::random())), None);
            }
        };
        let way = Way { destination, secrets };
        let plan = match host.enter() {
            Admission::Go(place) => Plan::Send(place, way),
            Admission::Wait(waiting) => Plan::Wait(waiting, way),
            Admission::Later(delay) => Plan::Later(delay),
        };
        (plan, Some(host))
    }

    /// Does it.
    pub(crate) async fn carry_out(self, plan: Plan) {
        match plan {
            Plan::Settle(verdict) => self.settle(verdict, now(), Duration::ZERO, None).await,
            Plan::Later(delay) => self.put_off(delay).await,
            Plan::Send(place, way) => self.send(place, way).await,
            Plan::Wait(waiting, way) => {
                let soft = self.courier.soft.clone();
                match soft.run_until_cancelled(waiting.place()).await {
                    Some(Ok(place)) => self.send(place, way).await,
                    Some(Err(delay)) => self.put_off(delay).await,
                    None => self.give_back().await,
                }
            }
        }
    }

    /// What nobody will send here is for another courier, at once.
    pub(crate) async fn give_back(self) {
        let verdict = Verdict { outcome: Outcome::Postponed(Duration::ZERO), error: None, failure: None };
        self.settle(verdict, now(), Duration::ZERO, None).await;
    }

    async fn put_off(self, delay: Duration) {
        let verdict = self.courier.options.put_off(now().since(self.due.since), delay);
        self.settle(verdict, now(), Duration::ZERO, None).await;
    }

    async fn send(mut self, place: Place, way: Way) {
        let memory = match self.memory(&place).await {
            Ok(memory) => memory,
            Err(delay) => {
                drop(place);
                return self.put_off(delay).await;
            }
        };
        let job = match self.job().await {
            Ok(Some(job)) => job,
            Ok(None) => {
                drop(place);
                return self.settle(verdict::without_body(), now(), Duration::ZERO, None).await;
            }
            // Its lease ends, and it comes again.
            Err(error) => return tracing::debug!(delivery = %self.due.id, %error, "not read, so not sent"),
        };
        let began = Instant::now();
        if began > self.start_until {
            return tracing::debug!(delivery = %self.due.id, "not sent: its lease could end before the request");
        }
        let at = now();
        let running = Counted::new(&self.courier.metrics.running);
        let options = &self.courier.options;
        let message = message(&self.due.webhook_id, job, &options.base_url, &way.secrets, at, memory);
        let host = Arc::clone(place.host());
        let post = host.http().post(&way.destination.url, message, options.timeout);
        let Some(went) = self.courier.cut.run_until_cancelled(post).await else {
            drop((place, running));
            return self.give_back().await;
        };
        drop(running);
        let took = began.elapsed();
        place.leave(leaving(&went, took));
        let verdict = self.courier.options.judge(&went, self.due.tries, rand::random());
        self.settle(verdict, at, took, went.ok()).await;
    }

    /// The memory that its body needs, where that is still to be read; or in how long to come again: at once, at a stop.
    async fn memory(&self, place: &Place) -> Result<Option<Taken>, Duration> {
        if self.due.job.is_some() {
            return Ok(None);
        }
        match self.courier.soft.run_until_cancelled(place.memory(self.due.length)).await {
            Some(taken) => taken.map(Some),
            None => Err(Duration::ZERO),
        }
    }

    /// The job that it tells of; `None` if that has expired.
    async fn job(&mut self) -> Result<Option<Job>, StoreError> {
        match self.due.job.take() {
            Some(job) => Ok(Some(job)),
            None => self.courier.store.delivery_body(self.due.id).await,
        }
    }

    async fn settle(self, verdict: Verdict, at: Timestamp, took: Duration, answer: Option<Answer>) {
        let Verdict { outcome, error, failure } = verdict;
        let metrics = &self.courier.metrics;
        metrics.became(outcome);
        if let Some(failure) = failure {
            metrics.failed(failure);
        }
        match outcome {
            Outcome::Delivered => metrics.took(now().since(self.due.since)),
            Outcome::Dead => {
                let (error, owner) = (error.as_deref().unwrap_or_default(), &self.due.owner);
                tracing::info!(delivery = %self.due.id, %owner, error, "a delivery is a dead letter");
            }
            Outcome::Retry(_) | Outcome::Postponed(_) => {}
        }
        let attempt = if matches!(outcome, Outcome::Postponed(_)) {
            None
        } else {
            let (status, body) = answer.map_or((None, None), |answer| (Some(answer.status), answer.body));
            let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            Some(AttemptView { at, duration_ms, status, error, body })
        };
        let settlement = Settlement { id: self.due.id, token: self.due.token, outcome, attempt };
        self.settler.settle(settlement, self.permit).await;
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// What an attempt says of its host. One that finds fault with a message (a redirect, 404, 410 …) is well: many owners may have
/// receivers there, and one's mistake must not hold up the others. One that may not be gone to isn't known.
fn leaving(went: &Went, took: Duration) -> Ended {
    match went {
        Ok(Answer { status: 408 | 429 | 500.., .. }) | Err(NoAnswer::Timeout | NoAnswer::Broken(_)) => {
            Ended::Failed(took)
        }
        Ok(_) => Ended::Took(took),
        Err(NoAnswer::Refused(_)) => Ended::Abandoned,
    }
}
