//! How many reads of logs are in flight: no more than Redis should bear at once, and of one partition no more than its share, so
//! that one that doesn't answer holds up the reads of no other.

use model::Partition;
use model::id::MAX_PARTITIONS;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The permits of one node.
pub(super) struct ReadPermits {
    most: u32,
    all: Semaphore,
    /// By partition; of each as many permits as there are in all, of which a read takes more the more partitions there are.
    shares: Box<[Semaphore]>,
}

/// As long as it lives a read is in flight.
pub(super) struct ReadPermit<'a> {
    _share: Option<SemaphorePermit<'a>>,
    _one: Option<SemaphorePermit<'a>>,
}

impl ReadPermits {
    /// So many at once, at least one.
    pub(super) fn new(most: u32) -> Self {
        let most = most.max(1);
        let permits = || Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS));
        Self { most, all: permits(), shares: (0..MAX_PARTITIONS).map(|_| permits()).collect() }
    }

    /// Waits until a log of `partition`, one of `partitions`, may be read.
    pub(super) async fn get(&self, partition: Partition, partitions: u16) -> ReadPermit<'_> {
        let weight = u32::from(partitions).clamp(1, self.most);
        // None of them is ever closed; without a permit there would only be one read more.
        let share = match self.shares.get(usize::from(partition.0)) {
            Some(share) => share.acquire_many(weight).await.ok(),
            None => None,
        };
        ReadPermit { _share: share, _one: self.all.acquire().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// All permits that there are at once for logs of `partition`.
    fn all(reads: &ReadPermits, partition: u16, partitions: u16) -> Vec<ReadPermit<'_>> {
        let next = || reads.get(Partition(partition), partitions).now_or_never();
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn of_many_partitions_each_has_its_share() {
        let reads = ReadPermits::new(64);
        let dead: Vec<_> = (0..6).map(|partition| all(&reads, partition, 16)).collect();
        assert!(dead.iter().all(|permits| permits.len() == 4));
        assert_eq!(all(&reads, 7, 16).len(), 4, "one that answers");
        drop(dead);
        assert_eq!(all(&reads, 0, 16).len(), 4, "as before");
    }

    #[test]
    fn a_single_one_has_all_and_each_of_many_has_one() {
        assert_eq!(all(&ReadPermits::new(64), 0, 1).len(), 64);
        let few = ReadPermits::new(2);
        let one = all(&few, 3, 16);
        let other = all(&few, 4, 16);
        assert_eq!(
            (one.len(), other.len(), all(&few, 5, 16).len()),
            (1, 1, 0),
            "no more than there are in all"
        );
        assert_eq!(all(&ReadPermits::new(0), 0, 64).len(), 1);
    }

    #[test]
    fn while_partitions_are_added_a_share_becomes_smaller_as_reads_end() {
        let reads = ReadPermits::new(8);
        let mut before = all(&reads, 0, 2);
        assert_eq!((before.len(), all(&reads, 0, 4).len()), (4, 0));
        before.pop();
        assert_eq!(all(&reads, 0, 4).len(), 0);
        before.pop();
        assert_eq!(all(&reads, 0, 4).len(), 1);
    }
}
