//! How many partitions there are, and how they become more while everything runs.
//!
//! `<prefix>:partitions` is `16`; or, between the two phases of a growth, `32 16`: there are 32, which all read, sweep, claim
//! from and follow; and new jobs go to the first 16 still. It lies in a slot of its own and is one string, so one write
//! changes it. Numbers only grow: a process that knows of more than it reads, since a failover lost the growth, puts it right.
//!
//! Whether a job exists its own key alone says. No read asks how many partitions there are, so a process that hasn't heard of
//! a growth finds every job all the same; it only begins to sweep, claim and follow there when it hears.

use std::convert::Infallible;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use model::Partition;
use model::id::MAX_PARTITIONS;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::connect::Request;
use crate::connect::backoff::Backoff;
use crate::partition::slot_of_key;
use crate::script::Script;
use crate::{Store, StoreError};

/// How often the number is read anew by who has something to do in each partition, should nobody else in the process do it: it
/// may have grown.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_secs(13);

static GROW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("step/grow.lua"), &[]));

/// How many partitions there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionCounts {
    /// Those that exist, 1 to 64: they are read, swept, claimed from and followed.
    pub all: u16,
    /// Those that new jobs go to, the first ones; fewer than `all` between the two phases of a growth.
    pub open: u16,
}

impl PartitionCounts {
    /// Whether a growth has begun and isn't over.
    pub fn grows(self) -> bool {
        self.open < self.all
    }

    /// Whether a growth to `all` may begin, or go on.
    pub fn may_grow_to(self, all: u16) -> Result<(), GrowError> {
        if all > MAX_PARTITIONS {
            Err(GrowError::TooMany)
        } else if self.grows() && self.all != all {
            Err(GrowError::Growing(self))
        } else if !self.grows() && self.all >= all {
            Err(GrowError::NotMore(self.all))
        } else {
            Ok(())
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (all, open) = text.split_once(' ').unwrap_or((text, text));
        let (all, open) = (all.parse().ok()?, open.parse().ok()?);
        (1 <= open && open <= all && all <= MAX_PARTITIONS).then_some(Self { all, open })
    }

    fn at_least(self, other: Self) -> Self {
        Self { all: self.all.max(other.all), open: self.open.max(other.open) }
    }
}

/// As Redis holds it.
impl fmt::Display for PartitionCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all, open } = self;
        if self.grows() { write!(f, "{all} {open}") } else { write!(f, "{all}") }
    }
}

/// Why partitions can't become so many.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GrowError {
    /// More than there can be.
    #[error("there can be at most {MAX_PARTITIONS} partitions")]
    TooMany,
    /// There are as many already, or more.
    #[error("there are {0} partitions already, and they can only become more")]
    NotMore(u16),
    /// A growth to another number has begun and must be ended first.
    #[error("they are growing to {} already: end that first", .0.all)]
    Growing(PartitionCounts),
    /// The growth to this number hasn't begun.
    #[error("a growth to so many has not begun: there are {0}")]
    NotAnnounced(PartitionCounts),
    /// Redis had no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What this process knows of the counts. They never fall.
pub(crate) struct Known {
    /// 0 until Redis was asked.
    all: watch::Sender<u16>,
    /// 0 until Redis was asked; never more than `all`.
    open: AtomicU16,
    /// When Redis was asked last.
    asked: Mutex<Option<Instant>>,
}

impl Known {
    pub(crate) fn nothing() -> Self {
        Self { all: watch::Sender::new(0), open: AtomicU16::new(0), asked: Mutex::new(None) }
    }

    fn counts(&self) -> Option<PartitionCounts> {
        // In this order: the other number may grow in between.
        let open = self.open.load(Ordering::Acquire);
        let all = *self.all.borrow();
        (open > 0).then_some(PartitionCounts { all, open })
    }

    /// Whether Redis was asked in the last `age`.
    pub(crate) fn is_younger_than(&self, age: Duration) -> bool {
        self.asked.lock().is_some_and(|asked| asked.elapsed() < age)
    }

    fn learn(&self, counts: PartitionCounts) {
        *self.asked.lock() = Some(Instant::now());
        self.all.send_if_modified(|all| {
            let grows = counts.all > *all;
            *all = counts.all.max(*all);
            grows
        });
        self.open.fetch_max(counts.open, Ordering::AcqRel);
    }
}

/// The value as it was read, to be replaced.
struct Found {
    text: String,
    counts: PartitionCounts,
}

impl Store {
    /// All partitions that there are.
    pub async fn partitions(&self) -> Result<impl Iterator<Item = Partition> + use<>, StoreError> {
        Ok((0..self.known_or_read().await?.all).map(Partition))
    }

    /// Calls `begin` once for each partition, also for those that are added later. Never returns; Redis being away is waited out.
    pub async fn for_each_partition(&self, mut begin: impl FnMut(Partition)) -> Infallible {
        let mut begun: u16 = 0;
        let mut backoff = Backoff::of_repeats();
        let mut number = self.partitions_changed();
        loop {
            // To reach it is to read the number anew; usually whoever watches Redis in this process has.
            let found = match self.reach_unless_within(LOOK_FOR_PARTITIONS).await {
                Ok(()) => self.known_or_read().await,
                Err(error) => Err(error),
            };
            match found {
                Ok(counts) => {
                    (begun..counts.all).map(Partition).for_each(&mut begin);
                    begun = begun.max(counts.all);
                    backoff.reset();
                    let pause = LOOK_FOR_PARTITIONS.mul_f64(rand::random_range(0.9..=1.0));
                    let more = number.wait_for(|&number| number > begun);
                    // The store that would close the channel is held here.
                    drop(timeout(pause, more).await);
                }
                Err(error) => {
                    tracing::debug!(%error, "the number of partitions is not known");
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    /// How many partitions this process knows of, without asking; 0 until Redis was reached.
    pub fn known_partitions(&self) -> u16 {
        *self.known().all.borrow()
    }

    /// How many partitions this process knows of (0 until Redis was reached), to wait for more. It hears of them by every
    /// [`Self::reach`], and whatever else reads the number.
    pub fn partitions_changed(&self) -> watch::Receiver<u16> {
        self.known().all.subscribe()
    }

    /// Whether there is such a partition. Reads the number anew before it says no, since it may have grown.
    pub async fn has_partition(&self, partition: Partition) -> Result<bool, StoreError> {
        let is_known = partition.0 < self.known_or_read().await?.all;
        Ok(is_known || partition.0 < MAX_PARTITIONS && partition.0 < self.partition_counts().await?.all)
    }

    /// How many partitions there are, by Redis.
    pub async fn partition_counts(&self) -> Result<PartitionCounts, StoreError> {
        self.find_counts().await.map(|found| found.counts)
    }

    /// The first phase of a growth to `all` partitions: from now on, as soon as every process has read the number anew, all of
    /// them are read, swept and claimed from; none gets new jobs yet. Harmless if that growth is in this phase already.
    pub async fn announce_partitions(&self, all: u16) -> Result<PartitionCounts, GrowError> {
        loop {
            let found = self.find_counts().await?;
            let counts = found.counts;
            counts.may_grow_to(all)?;
            if counts.grows() {
                return Ok(counts);
            }
            // If somebody else was faster, what he wrote is judged anew.
            self.replace(&found, PartitionCounts { all, open: counts.open }).await?;
        }
    }

    /// The second phase: new jobs go to all of the `all` partitions. To be called when every process has had the time to read
    /// what the first one wrote. Harmless if that was done already.
    pub async fn open_partitions(&self, all: u16) -> Result<PartitionCounts, GrowError> {
        loop {
            let found = self.find_counts().await?;
            if found.counts.all != all {
                return Err(GrowError::NotAnnounced(found.counts));
            } else if !found.counts.grows() {
                return Ok(found.counts);
            }
            self.inherit_pauses(found.counts).await?;
            self.replace(&found, PartitionCounts { all, open: all }).await?;
        }
    }

    /// How many partitions get new jobs.
    pub(crate) async fn open_partition_count(&self) -> Result<u16, StoreError> {
        Ok(self.known_or_read().await?.open)
    }

    async fn known_or_read(&self) -> Result<PartitionCounts, StoreError> {
        match self.known().counts() {
            Some(counts) => Ok(counts),
            // Boxed: it is done once in a process' life, and every call would carry it.
            None => self.partition_counts().boxed().await,
        }
    }

    fn partitions_key(&self) -> String {
        format!("{}:partitions", self.prefix())
    }

    /// Reads the counts. They are Redis' own; configuration only seeds them. Written only where there is need: a full Redis
    /// takes no writes, and must not seem to be away for that.
    async fn find_counts(&self) -> Result<Found, StoreError> {
        let get = redis::Cmd::get(self.partitions_key());
        let found = match self.ask_for_counts(&Request::Command(&get)).await? {
            Some(found) => found,
            None => self.sow().await?,
        };
        match self.known().counts() {
            Some(known) if found.counts.at_least(known) != found.counts => self.put_right(found, known).await,
            _ => {
                self.known().learn(found.counts);
                Ok(found)
            }
        }
    }

    /// Writes the first counts, unless somebody else did.
    async fn sow(&self) -> Result<Found, StoreError> {
        // Should the key have been lost, jobs may still live in all partitions that there were.
        let counts = self.known().counts().unwrap_or(PartitionCounts { all: self.seed(), open: self.seed() });
        let text = counts.to_string();
        let mut set = redis::cmd("SET");
        set.arg(self.partitions_key()).arg(&text).arg("NX").arg("GET");
        let others = self.ask_for_counts(&Request::Command(&set)).await?;
        Ok(others.unwrap_or(Found { text, counts }))
    }

    /// A growth that this process knows of was lost. Jobs may live in all partitions, so the others must hear of them again.
    async fn put_right(&self, found: Found, known: PartitionCounts) -> Result<Found, StoreError> {
        let counts = found.counts.at_least(known);
        match self.replace(&found, counts).await {
            Ok(now) if now.counts == counts => {
                tracing::warn!(held = %found.counts, now = %counts, "Redis held too few partitions; it was put right");
                Ok(now)
            }
            Ok(now) => Ok(Found { counts: now.counts.at_least(known), ..now }),
            Err(error) => {
                tracing::debug!(%error, "Redis holds too few partitions");
                Ok(Found { counts, ..found })
            }
        }
    }

    /// Puts `counts` in the place of `found`, unless it has changed; whatever is there now.
    async fn replace(&self, found: &Found, counts: PartitionCounts) -> Result<Found, StoreError> {
        let call = GROW.call(vec![self.partitions_key()]).arg(&found.text).arg(counts);
        let now = match self.ask_for_counts(&Request::Script(&call)).await? {
            Some(now) => now,
            // Lost since it was read.
            None => self.sow().await?,
        };
        self.known().learn(now.counts);
        Ok(now)
    }

    async fn ask_for_counts(&self, request: &Request<'_>) -> Result<Option<Found>, StoreError> {
        let slot = slot_of_key(&self.partitions_key());
        let value = self.router().call(slot, request).await?;
        let text = redis::from_redis_value::<Option<String>>(value)
            .map_err(|error| StoreError::Unreadable(error.to_string()))?;
        text.map(|text| self.understand(text)).transpose()
    }

    fn understand(&self, text: String) -> Result<Found, StoreError> {
        match PartitionCounts::parse(&text) {
            Some(counts) => Ok(Found { text, counts }),
            None => Err(StoreError::Unreadable(format!(
                "{} is {text:?}; set it to how many partitions there are, 1 to {MAX_PARTITIONS}: one more than the largest n \
                 in keys that begin with `{}:{{n.`",
                self.partitions_key(),
                self.prefix()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_says_both_numbers_or_one() {
        for (text, all, open) in [("1", 1, 1), ("16", 16, 16), ("32 16", 32, 16), ("64 63", 64, 63)] {
            let counts = PartitionCounts { all, open };
            assert_eq!((PartitionCounts::parse(text), counts.to_string().as_str()), (Some(counts), text));
        }
        for bad in ["", "0", "65", "x", "16 32", "16 0", "32 16 8", "32  16", " 16", "16 ", "-1", "1.5"] {
            assert_eq!(PartitionCounts::parse(bad), None, "{bad:?}");
        }
    }
}
