//! How deliveries are claimed: as many as there is room for, as soon as they are due.
//!
//! Each partition has its own loop: wait for room, claim, begin; where nothing more is due, wait at the bell until the next one is.
//! A claim without an answer is repeated with the same token, so that what it may have claimed is found again.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::{Partition, Token};
use store::{Backoff, DueDeliveries, DueOptions, StoreError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use crate::alarm::Alarm;
use crate::attempt::Ready;
use crate::courier::Courier;
use crate::deliver::Delivery;
use crate::host::Host;
use crate::settler::Settler;
use crate::turn;

/// The most that one claim brings.
const MOST: usize = 100;
/// The shortest time that is reckoned with for what a request waits for, and to write what came of it.
const LEAST: Duration = Duration::from_secs(2);
/// The longest body that comes with a claim at once; a longer one is read when it is sent.
const LONGEST_BODY: usize = 16 * 1024;
/// The least time between a claim that found all there was and the next one, so that what becomes due within it comes together.
const BREATH: Duration = Duration::from_millis(5);
/// The longest wait at the bell.
const AT_THE_BELL: Duration = Duration::from_mins(1);

/// One partition's loop.
pub(crate) struct Claimer {
    courier: Arc<Courier>,
    partition: Partition,
    /// Set when something that was claimed here is due again.
    alarm: Arc<Alarm>,
    settler: Settler,
    /// The wait at the bell, which goes on while there are claims: it would cost a new connection to come back to it.
    bell: Option<Bell>,
    has_complained: bool,
}

type Bell = Pin<Box<dyn Future<Output = Result<bool, StoreError>> + Send>>;

/// What a claim brought.
struct Claim {
    due: DueDeliveries,
    /// Whether there may be more at once.
    is_full: bool,
    start_until: Instant,
    permits: OwnedSemaphorePermit,
}

impl Claimer {
    pub(crate) fn new(courier: Arc<Courier>, partition: Partition) -> Self {
        let alarm = Arc::<Alarm>::default();
        let settler = Settler::start(&courier, partition, Arc::clone(&alarm));
        Self { courier, partition, alarm, settler, bell: None, has_complained: false }
    }

    /// Claims and begins deliveries until the soft stop.
    pub(crate) async fn run(mut self) {
        let soft = self.courier.soft.clone();
        let mut backoff = Backoff::of_repeats();
        while let Some(permits) = room(&self.courier, 1..=MOST).await {
            self.alarm.clear();
            let Some(claim) = self.claim(permits).await else { return };
            let (is_full, next) = (claim.is_full, claim.due.next);
            let busiest = self.begin(claim);
            if is_full {
                if let Some(host) = busiest {
                    soft.run_until_cancelled(host.relieved()).await;
                }
                continue;
            }
            match soft.run_until_cancelled(self.wait(next)).await {
                None => return,
                Some(Ok(())) => backoff = Backoff::of_repeats(),
                Some(Err(error)) => {
                    self.complain(&error);
                    soft.run_until_cancelled(sleep(backoff.next())).await;
                }
            }
        }
    }

    /// Claims until it is answered, or until there is a stop: what was claimed without anybody knowing comes again when its lease ends.
    async fn claim(&mut self, permits: OwnedSemaphorePermit) -> Option<Claim> {
        let (most, timeout) = (permits.num_permits(), self.courier.options.timeout);
        // Up to two such times until a request begins, its own, and one to write what came of it.
        let unit = timeout.max(LEAST);
        let (lease, useful) = (timeout + 3 * unit, 2 * unit);
        let options = DueOptions { most, lease, longest_body: LONGEST_BODY };
        let (mut token, mut began) = (new_token(), Instant::now());
        let mut backoff = Backoff::of_repeats();
        let mut held = Some(permits);
        loop {
            match self.courier.store.due(self.partition, token, &options).await {
                Ok(due) => {
                    self.has_complained = false;
                    let count = due.deliveries.len();
                    let permits = match held {
                        Some(permits) => permits,
                        None => room(&self.courier, count..=count).await?,
                    };
                    return Some(Claim { due, is_full: count >= most, start_until: began + useful, permits });
                }
                Err(error) => self.complain(&error),
            }
            // Others, whose partitions answer, can use them.
            held = None;
            self.courier.soft.run_until_cancelled(sleep(backoff.next())).await?;
            if began.elapsed() >= useful {
                // What that token got is no longer ours to begin.
                (token, began) = (new_token(), Instant::now());
            }
        }
    }

    /// Begins what was claimed. The host for whose sake it is best to claim no more for a moment.
    fn begin(&self, claim: Claim) -> Option<Arc<Host<Ready>>> {
        let Claim { due, start_until, mut permits, .. } = claim;
        let (mut longest, mut busiest) = (Duration::ZERO, None);
        for due in due.deliveries {
            let Some(permit) = permits.split(1) else { break };
            let (courier, settler) = (Arc::clone(&self.courier), self.settler.clone());
            let delivery = Delivery::new(courier, settler, permit, due, start_until);
            if self.courier.soft.is_cancelled() {
                delivery.give_back();
                continue;
            }
            let host = turn::begin(&self.courier, delivery);
            let relief = host.as_ref().map_or(Duration::ZERO, |host| host.relief());
            if relief > longest {
                (longest, busiest) = (relief, host);
            }
        }
        busiest
    }

    /// Waits until something is due: what rings, the one that is `next`, or one that was claimed here and is due again.
    async fn wait(&mut self, next: Option<Duration>) -> Result<(), StoreError> {
        if let Some(next) = next {
            self.alarm.set(Instant::now() + next);
        }
        let bell = self.bell.get_or_insert_with(|| {
            let (courier, partition) = (Arc::clone(&self.courier), self.partition);
            let longest = AT_THE_BELL.mul_f64(rand::random_range(0.8..=1.0));
            Box::pin(async move { courier.store.wait_for_due(partition, longest).await })
        });
        // What becomes due meanwhile is claimed together.
        sleep(BREATH).await;
        tokio::select! {
            rang = bell => {
                self.bell = None;
                rang.map(drop)
            }
            () = self.alarm.rings() => Ok(()),
        }
    }

    /// The store itself logs that Redis is away; anything else is logged here, once until a claim is answered.
    fn complain(&mut self, error: &StoreError) {
        let partition = self.partition;
        let is_known = matches!(error, StoreError::Unavailable(_)) || self.has_complained;
        if is_known {
            tracing::debug!(%partition, %error, "no deliveries for now");
        } else {
            self.has_complained = true;
            tracing::warn!(%partition, %error, "deliveries can't be claimed; trying again");
        }
    }
}

/// Waits for room for the least of `wanted` deliveries; what more there is, up to the most of them, comes along. `None` at a stop.
async fn room(courier: &Courier, wanted: RangeInclusive<usize>) -> Option<OwnedSemaphorePermit> {
    let Courier { permits, soft, .. } = courier;
    let count = |count: usize| u32::try_from(count).unwrap_or_default();
    let (least, most) = wanted.into_inner();
    let first = soft.run_until_cancelled(Arc::clone(permits).acquire_many_owned(count(least))).await?;
    let mut room = first.ok().filter(|_| !soft.is_cancelled())?;
    let more = permits.available_permits().min(most - least);
    if let Ok(more) = Arc::clone(permits).try_acquire_many_owned(count(more)) {
        room.merge(more);
    }
    Some(room)
}

fn new_token() -> Token {
    Token::from_random(rand::random())
}
