//! So many clients at once: one that has seen its end writes that down and follows something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::follower::{Choice, Seen, Surroundings, follow};
use super::jobs::Work;
use crate::dice::Dice;
use crate::record::{ClientRecord, Follows};
use crate::world::{KEYS, World};

/// Who follows what.
#[derive(Clone, Copy, Debug)]
pub struct CrowdPlan {
    /// How many clients there are at once.
    pub clients: u32,
    /// How many of a hundred follow several jobs on one stream.
    pub several: u32,
    /// How many of a hundred follow their owner's feed.
    pub feeds: u32,
}

/// All clients.
pub struct Crowd {
    clients: JoinSet<()>,
    records: Arc<Mutex<Vec<ClientRecord>>>,
    /// From then on who has finished follows nothing else.
    last_orders: CancellationToken,
    around: Surroundings,
    /// How many follow a job now, or several.
    following: Arc<AtomicUsize>,
}

impl Crowd {
    /// Begins to follow what is, and will be, in `work`.
    pub fn start(world: &World, plan: CrowdPlan, seed: u64, work: &Arc<Work>) -> Self {
        let around = Surroundings {
            address: world.address().to_owned(),
            clock: world.clock,
            work: Arc::clone(work),
            seen: Arc::default(),
            over: CancellationToken::new(),
        };
        let (records, last_orders) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let (numbers, following) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        let (feeds, several) = (plan.clients * plan.feeds / 100, plan.clients * plan.several / 100);
        for place in 0..plan.clients {
            let kind = match place {
                place if place < feeds => Kind::Feed,
                place if place < feeds + several => Kind::Several,
                _ => Kind::One,
            };
            let seat = Seat {
                kind,
                tenant: place as usize % KEYS.len(),
                around: around.clone(),
                records: Arc::clone(&records),
                numbers: Arc::clone(&numbers),
                following: Arc::clone(&following),
                last_orders: last_orders.clone(),
                dice: Dice::new(seed, &format!("client {place}")),
            };
            clients.spawn(seat.run());
        }
        Self { clients, records, last_orders, around, following }
    }

    /// What they have seen so far.
    pub fn seen(&self) -> &Seen {
        &self.around.seen
    }

    /// How many still follow a job, or several.
    pub fn following(&self) -> usize {
        self.following.load(Ordering::SeqCst)
    }

    /// From now on nobody begins anew.
    pub fn last_orders(&self) {
        self.last_orders.cancel();
    }

    /// Ends all that still follow, and gives everything that was seen.
    pub async fn finish(mut self) -> Vec<ClientRecord> {
        self.last_orders.cancel();
        self.around.over.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client doesn't panic");
        }
        let mut records = std::mem::take(&mut *self.records.lock());
        records.sort_by_key(|record| record.n);
        records
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Several,
    Feed,
}

/// A place in the crowd, with one client after the other.
struct Seat {
    kind: Kind,
    tenant: usize,
    around: Surroundings,
    records: Arc<Mutex<Vec<ClientRecord>>>,
    numbers: Arc<AtomicU32>,
    following: Arc<AtomicUsize>,
    last_orders: CancellationToken,
    dice: Dice,
}

impl Seat {
    async fn run(mut self) {
        // Not all at once.
        sleep(Duration::from_millis(self.dice.between(0, 2_000))).await;
        while !self.last_orders.is_cancelled() {
            let Some(choice) = self.choose() else {
                sleep(Duration::from_millis(self.dice.between(100, 300))).await;
                continue;
            };
            let n = self.numbers.fetch_add(1, Ordering::SeqCst);
            let is_feed = choice.follows == Follows::Feed;
            if !is_feed {
                self.following.fetch_add(1, Ordering::SeqCst);
            }
            let record = follow(n, choice, &self.around, &mut self.dice).await;
            if !is_feed {
                self.following.fetch_sub(1, Ordering::SeqCst);
            }
            self.records.lock().push(record);
        }
    }

    fn choose(&mut self) -> Option<Choice> {
        let leaves = self.dice.percent(4).then(|| Duration::from_millis(self.dice.between(1_000, 8_000)));
        let ids = |jobs: &[super::Known]| jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
        let (tenant, follows) = match self.kind {
            Kind::Feed => (self.tenant, Follows::Feed),
            Kind::One => {
                // Some come late.
                let late = self.dice.percent(5).then(|| self.around.work.any(&mut self.dice)).flatten();
                let job = late.or_else(|| self.around.work.choose(&mut self.dice, 1).pop())?;
                (job.tenant, Follows::Job(job.id))
            }
            Kind::Several => {
                let count = usize::try_from(self.dice.between(2, 4)).unwrap_or(2);
                let jobs = self.around.work.choose(&mut self.dice, count);
                (jobs.first()?.tenant, Follows::Jobs(ids(&jobs)))
            }
        };
        Some(Choice { tenant, follows, leaves_after: leaves })
    }
}
