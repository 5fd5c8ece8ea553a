//! How jobs are claimed: no polling, no herd, no attempt burned.
//!
//! Each partition has its own loop: wait until an attempt may start, claim, start it, and claim several at once where many are
//! ready; where nothing is, wait at the bell. Only tasks with a free place are claimed and listened for; a place that is freed
//! wakes one loop that wants it, which looks for a job, and the next one if it finds none. A claim without an answer is repeated
//! with the same token, so that what it may have claimed is found again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use model::{Partition, TaskName, Token};
use store::{Backoff, Claimed, Store, StoreError, WorkError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::attempt::FAREWELL;
use crate::pace::Pace;
use crate::places::{Offer, Place};
use crate::workshop::{Room, Workshop};

/// The longest wait at a bell. Nobody needs to look after it: for whatever is ready the sweep rings each second.
const AT_THE_BELL: Duration = Duration::from_mins(30);

/// One partition's loop.
pub(crate) struct Claimer {
    shop: Arc<Workshop>,
    partition: Partition,
    /// In the order of the next claim's preference.
    tasks: Vec<TaskName>,
    /// Tasks of which there was nothing when it was looked last: whatever comes rings. The others may have jobs here.
    looked: HashSet<TaskName>,
    has_complained: bool,
}

impl Claimer {
    pub(crate) fn new(shop: Arc<Workshop>, partition: Partition) -> Self {
        let tasks = shop.handlers.keys().cloned().collect();
        Self { shop, partition, tasks, looked: HashSet::new(), has_complained: false }
    }

    /// Claims and starts attempts until the soft stop.
    pub(crate) async fn run(mut self) {
        let soft = self.shop.soft.clone();
        let mut backoff = Backoff::of_repeats();
        let (mut kept, mut pace) = (None, Pace::default());
        while let Some(permit) = self.permit(&soft).await {
            let (offer, full) = self.offer(kept.take());
            if offer.tasks.is_empty() {
                drop(permit);
            } else {
                let rooms = self.rooms((permit, offer), pace.at_once());
                let asked = rooms.len();
                let got = self.claim(rooms).await;
                pace.came_to(got, asked);
                if got > 0 {
                    continue;
                }
            }
            // Boxed: so long as it waits, which is most of the time, it should be as small as can be.
            match Box::pin(self.wait_for_work(full)).await {
                Ok(place) => {
                    kept = place;
                    backoff = Backoff::of_repeats();
                }
                Err(error) => {
                    self.complain(&error);
                    soft.run_until_cancelled(sleep(backoff.next())).await;
                }
            }
        }
    }

    async fn permit(&self, soft: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        if soft.is_cancelled() {
            return None;
        }
        soft.run_until_cancelled(Arc::clone(&self.shop.permits).acquire_owned()).await?.ok()
    }

    /// The tasks with a free place, and those without one. In turn, so that no task starves behind a busy one.
    fn offer(&mut self, kept: Option<Place>) -> (Offer, Vec<TaskName>) {
        self.tasks.rotate_left(1);
        self.shop.places.offer(&self.tasks, kept)
    }

    /// `first`, and what more there is at once for `most` claims in all.
    fn rooms(&mut self, first: Asking, most: usize) -> Vec<Asking> {
        let mut rooms = vec![first];
        while rooms.len() < most
            && let Ok(permit) = Arc::clone(&self.shop.permits).try_acquire_owned()
        {
            let (offer, _) = self.offer(None);
            if offer.tasks.is_empty() {
                break;
            }
            rooms.push((permit, offer));
        }
        rooms
    }

    /// Claims once for each of `rooms`, all at once, and starts what it got; says how many jobs that were. No claim is given up
    /// half-way: what was claimed without anybody knowing would be lost for a lease's length.
    async fn claim(&mut self, rooms: Vec<Asking>) -> usize {
        let (shop, partition) = (Arc::clone(&self.shop), self.partition);
        let claims = rooms.into_iter().map(async |(permit, offer)| {
            let token = Token::from_random(rand::random());
            (token, shop.claim(partition, token, &offer.tasks).await, permit, offer)
        });
        let mut claims: FuturesUnordered<_> = claims.collect();
        let (mut got, mut unwanted, mut unanswered) = (0, Vec::new(), Vec::new());
        // Nothing else is waited for in between: a claim that isn't polled may hold what others need.
        while let Some((token, answer, permit, offer)) = claims.next().await {
            match answer {
                Ok(Some(claimed)) => {
                    got += 1;
                    let place = offer.place_of(&claimed.task);
                    unwanted.extend(self.take(claimed, Some((permit, place))));
                }
                Ok(None) => self.looked.extend(offer.tasks),
                Err(error) => {
                    self.complain(&error);
                    // Without the permit and the places, which partitions that answer can use.
                    unanswered.push((token, offer.tasks));
                }
            }
        }
        self.release(&unwanted).await;
        got + self.claim_again(unanswered).await
    }

    /// Repeats claims that had no answer; says how many jobs they got.
    async fn claim_again(&mut self, unanswered: Vec<(Token, Vec<TaskName>)>) -> usize {
        let (shop, partition) = (Arc::clone(&self.shop), self.partition);
        let repeats = unanswered.into_iter().map(async |(token, tasks)| {
            let farewell = async {
                shop.soft.cancelled().await;
                sleep(FAREWELL).await;
            };
            (or_else_at(farewell, shop.claim_until_answered(partition, token, &tasks)).await, tasks)
        });
        let mut repeats: FuturesUnordered<_> = repeats.collect();
        let (mut got, mut unwanted) = (0, Vec::new());
        while let Some((claimed, tasks)) = repeats.next().await {
            let Some(claimed) = claimed else {
                self.looked.extend(tasks);
                continue;
            };
            got += 1;
            self.has_complained = false;
            let room = self.shop.room_for(&claimed.task);
            unwanted.extend(self.take(claimed, room));
        }
        self.release(&unwanted).await;
        got
    }

    /// Starts an attempt at what was claimed; or says what is to be given back: at a stop, or where there is no room for it.
    fn take(&mut self, claimed: Claimed, room: Option<Room>) -> Option<Claimed> {
        self.looked.remove(&claimed.task);
        let handler = self.shop.handlers.get(&claimed.task).cloned();
        match (room, handler) {
            (Some(room), Some(handler)) if !self.shop.soft.is_cancelled() => {
                self.shop.start(claimed, handler, room);
                None
            }
            _ => Some(claimed),
        }
    }

    async fn release(&self, unwanted: &[Claimed]) {
        let give_back = async |claimed: &Claimed| {
            let mut backoff = Backoff::of_repeats();
            while let Err(WorkError::Store(_)) = self.shop.store.release(&claimed.lease).await {
                sleep(backoff.next()).await;
            }
        };
        // If nobody answers, the leases end by themselves.
        or_else_at(sleep(FAREWELL), join_all(unwanted.iter().map(give_back))).await;
    }

    /// Waits until a claim may find something: at the bells of the tasks that were looked for, and for a place of one of those
    /// that are `full` and weren't; or until the soft stop. A place that is to be offered next is kept. A ring that can't be used
    /// now is given to somebody else. Not to be dropped half-way: it may be in the middle of a claim.
    async fn wait_for_work(&mut self, full: Vec<TaskName>) -> Result<Option<Place>, StoreError> {
        let shop = Arc::clone(&self.shop);
        let heard: Vec<_> = self.looked.iter().cloned().collect();
        let wanted: Vec<_> = full.into_iter().filter(|task| !self.looked.contains(task)).collect();
        let mut bell = Box::pin(hear(&shop.store, self.partition, &heard));
        loop {
            tokio::select! {
                // In this order: what a claim of the stop's moment gives back frees a place, and would be claimed once more.
                biased;
                () = shop.soft.cancelled() => return Ok(None),
                rang = &mut bell => {
                    let task = rang?;
                    self.looked.remove(&task);
                    if shop.is_full_of(&task) {
                        shop.store.ring(self.partition, &task).await?;
                    }
                    return Ok(None);
                }
                // The bell is heard meanwhile: it would cost a new connection to come back to it.
                place = shop.places.freed(&wanted) => {
                    let Ok(permit) = Arc::clone(&shop.permits).try_acquire_owned() else {
                        return Ok(Some(place));
                    };
                    if self.claim(vec![(permit, place.into())]).await == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The store itself logs that Redis is away; anything else is logged here, once until a claim is answered.
    fn complain(&mut self, error: &StoreError) {
        let partition = self.partition;
        let is_known = matches!(error, StoreError::Unavailable(_)) || self.has_complained;
        if is_known {
            tracing::debug!(%partition, %error, "no claim for now");
        } else {
            self.has_complained = true;
            tracing::warn!(%partition, %error, "jobs can't be claimed; trying again");
        }
    }
}

/// The next of `tasks` that rings in `partition`; never, where there are none.
async fn hear(store: &Store, partition: Partition, tasks: &[TaskName]) -> Result<TaskName, StoreError> {
    if tasks.is_empty() {
        return std::future::pending().await;
    }
    loop {
        let wait = AT_THE_BELL.mul_f64(rand::random_range(0.8..=1.0));
        if let Some(task) = store.wait_for_bell(partition, tasks, wait).await? {
            return Ok(task);
        }
    }
}

/// What a claim takes up: one of the worker's permits, and a place of each task that it may get a job of.
type Asking = (OwnedSemaphorePermit, Offer);

/// What `work` comes to, or the default once `limit` is over.
async fn or_else_at<T: Default>(limit: impl Future<Output = ()>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        () = limit => T::default(),
    }
}
