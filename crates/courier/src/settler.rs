//! How what came of deliveries is written: those of one partition that end while others are being written go together with the next
//! step, so that many cost Redis little, and a lone one doesn't wait.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use model::Partition;
use store::{Backoff, MAX_SETTLEMENTS, Outcome, Settled, Settlement, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep};

use crate::alarm::Alarm;
use crate::courier::Courier;

/// How long what came of deliveries is told once the courier stops. Shorter than the time that a hard stop leaves.
const FAREWELL: Duration = Duration::from_secs(4);

/// The way to what writes one partition's. No more wait to be written than there are permits.
#[derive(Clone)]
pub(crate) struct Settler(mpsc::UnboundedSender<Unwritten>);

/// What came of a delivery, and the room that it takes up until that is written.
struct Unwritten {
    settlement: Settlement,
    permit: OwnedSemaphorePermit,
}

impl Settler {
    /// One for `partition`, which sets `alarm` when something is due again. Its task is one of the courier's deliveries, and ends
    /// after the last of them.
    pub(crate) fn start(courier: &Arc<Courier>, partition: Partition, alarm: Arc<Alarm>) -> Self {
        let (sender, unwritten) = mpsc::unbounded_channel();
        let writer = Writer { courier: Arc::clone(courier), partition, alarm };
        courier.deliveries.spawn(writer.write_all(unwritten));
        Self(sender)
    }

    /// Hands `settlement` over. What can't be written until the courier has stopped comes again when its lease ends.
    pub(crate) fn settle(&self, settlement: Settlement, permit: OwnedSemaphorePermit) {
        drop(self.0.send(Unwritten { settlement, permit }));
    }
}

#[derive(Clone)]
struct Writer {
    courier: Arc<Courier>,
    partition: Partition,
    alarm: Arc<Alarm>,
}

impl Writer {
    async fn write_all(self, mut unwritten: mpsc::UnboundedReceiver<Unwritten>) {
        let mut together = Vec::new();
        let writing = async {
            while unwritten.recv_many(&mut together, MAX_SETTLEMENTS).await > 0 {
                self.write(together.drain(..)).await;
            }
        };
        self.unless_stopped(writing).await;
    }

    /// Does `writing` for as long as there is time.
    async fn unless_stopped(&self, writing: impl Future<Output = ()>) {
        let stop = async {
            self.courier.cut.cancelled().await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            biased;
            () = writing => {}
            () = stop => {}
        }
    }

    /// Writes them. Where Redis refuses, each goes on alone: one must not hold up the others.
    async fn write(&self, together: impl Iterator<Item = Unwritten>) {
        let (settlements, permits): (Vec<_>, Vec<_>) =
            together.map(|Unwritten { settlement, permit }| (settlement, permit)).unzip();
        if self.is_written(&settlements).await {
            return;
        }
        for (settlement, permit) in settlements.into_iter().zip(permits) {
            let alone = self.clone();
            self.courier.deliveries.spawn(async move {
                let mut backoff = Backoff::of_repeats();
                let writing = async {
                    while !alone.is_written(slice::from_ref(&settlement)).await {
                        sleep(backoff.next()).await;
                    }
                };
                alone.unless_stopped(writing).await;
                drop(permit);
            });
        }
    }

    /// Writes them, however long Redis is away; false where it refuses.
    async fn is_written(&self, settlements: &[Settlement]) -> bool {
        let Courier { store, options, .. } = &*self.courier;
        let mut backoff = Backoff::of_repeats();
        loop {
            match store.settle(self.partition, settlements, options.dead_letter_limits()).await {
                Ok(settled) => {
                    self.tell(settlements, &settled);
                    return true;
                }
                Err(error) => {
                    tracing::debug!(partition = %self.partition, %error, "to be written again");
                    if !matches!(error, StoreError::Unavailable(_)) {
                        return false;
                    }
                }
            }
            sleep(backoff.next()).await;
        }
    }

    fn tell(&self, settlements: &[Settlement], settled: &[Settled]) {
        let now = Instant::now();
        for (Settlement { id, outcome, .. }, settled) in settlements.iter().zip(settled) {
            match (settled, outcome) {
                (Settled::Yes, Outcome::Retry(after) | Outcome::Postponed(after)) => {
                    self.alarm.set(now + *after);
                }
                (Settled::Yes, _) => {}
                (Settled::Lost, _) => tracing::debug!(delivery = %id, "another courier has it meanwhile"),
            }
        }
    }
}
