//! One delivery in hand: from its claim until what came of it is handed over to be written.

use std::sync::Arc;
use std::time::Duration;

use model::webhook::Secret;
use model::wire::AttemptView;
use model::{Clock, SystemClock, Timestamp};
use store::{Due, Outcome, Settlement};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::attempt::Ready;
use crate::courier::Courier;
use crate::destinations::Destination;
use crate::host::Host;
use crate::http::{Answer, NoAnswer};
use crate::settler::Settler;
use crate::verdict::{self, Verdict};

/// A claimed delivery.
pub(crate) struct Delivery {
    pub(crate) courier: Arc<Courier>,
    /// Writes what comes of it.
    settler: Settler,
    /// The room that it takes up until then.
    permit: OwnedSemaphorePermit,
    pub(crate) due: Box<Due>,
    /// Until when it may be started: a request that begins later could outlive the lease.
    pub(crate) start_until: Instant,
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

    /// Where it goes, and what signs it; or what follows where it can't be sent.
    pub(crate) fn way(&self) -> Result<Way, Verdict> {
        let Courier { options, destinations, secrets, hosts, .. } = &*self.courier;
        let due = &self.due;
        let destination = destinations.of(&due.url).map_err(|error| verdict::refuse(&error))?;
        let secrets = secrets
            .of(&due.secret, &due.owner, &due.url)
            .map_err(|error| options.unsigned(&error, due.tries, rand::random()))?;
        let host = hosts.of(&destination).map_err(|error| {
            let broken = Err(NoAnswer::Broken(error.without_url().to_string()));
            options.judge(&broken, due.tries, rand::random())
        })?;
        Ok((destination, host, secrets))
    }

    /// What nobody will send here is for another courier, at once.
    pub(crate) fn give_back(self) {
        let verdict = Verdict { outcome: Outcome::Postponed(Duration::ZERO), error: None, failure: None };
        self.settle(verdict, now(), Duration::ZERO, None);
    }

    /// It comes again in so long, without an attempt; or never, where it is too old.
    pub(crate) fn put_off(self, delay: Duration) {
        let verdict = self.courier.options.put_off(now().since(self.due.since), delay);
        self.settle(verdict, now(), Duration::ZERO, None);
    }

    /// Has it written what came of it: of an attempt that began `at`, `took` so long and had this `answer`.
    pub(crate) fn settle(self, verdict: Verdict, at: Timestamp, took: Duration, answer: Option<Answer>) {
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
        self.settler.settle(settlement, self.permit);
    }
}

/// Where a delivery goes, and what signs it.
pub(crate) type Way = (Arc<Destination>, Arc<Host<Ready>>, Arc<[Secret]>);

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}
