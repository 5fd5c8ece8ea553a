//! How many jobs of a task may run at once, over all partitions.

use crate::Partition;

/// Limits of one task; `None` is no limit. Each is at least 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunLimits {
    /// Over the whole fleet.
    pub fleet: Option<u32>,
    /// For each owner.
    pub per_owner: Option<u32>,
}

impl RunLimits {
    /// In how many of `partitions`, from 1, the task's jobs live: no more than may run, so that the limit can be divided exactly.
    pub fn homes(self, partitions: u16) -> u16 {
        let most = self.fleet.unwrap_or(u32::MAX).min(self.per_owner.unwrap_or(u32::MAX));
        partitions.min(u16::try_from(most).unwrap_or(u16::MAX)).max(1)
    }

    /// The part of these limits that is `partition`'s, of `partitions`. Where the task has no home there may be jobs from before
    /// a limit was made smaller: they run one at a time, beyond the limits, rather than never.
    #[must_use]
    pub fn share(self, partition: Partition, partitions: u16) -> Self {
        let homes = self.homes(partitions);
        let part = |limit: u32| {
            let (whole, rest) = (limit / u32::from(homes), limit % u32::from(homes));
            if partition.0 < homes { whole + u32::from(u32::from(partition.0) < rest) } else { 1 }
        };
        Self { fleet: self.fleet.map(part), per_owner: self.per_owner.map(part) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_limit_and_none_is_empty() {
        for partitions in [1, 2, 3, 16, 64] {
            for limit in [1, 2, 5, 16, 17, 100] {
                for limits in [
                    RunLimits { fleet: Some(limit), per_owner: None },
                    RunLimits { fleet: None, per_owner: Some(limit) },
                ] {
                    let homes = limits.homes(partitions);
                    let shares: Vec<_> = (0..homes).map(|n| limits.share(Partition(n), partitions)).collect();
                    let parts = shares.iter().map(|share| share.fleet.or(share.per_owner).unwrap());
                    assert_eq!(parts.clone().sum::<u32>(), limit, "{partitions} {limits:?}");
                    assert!(parts.clone().all(|part| part > 0));
                }
            }
        }
        let both = RunLimits { fleet: Some(8), per_owner: Some(3) };
        assert_eq!(both.homes(16), 3);
        assert_eq!(both.share(Partition(0), 16), RunLimits { fleet: Some(3), per_owner: Some(1) });
        assert_eq!(
            both.share(Partition(3), 16),
            RunLimits { fleet: Some(1), per_owner: Some(1) },
            "from before"
        );
        assert_eq!(RunLimits::default().homes(16), 16);
        assert_eq!(RunLimits::default().share(Partition(15), 16), RunLimits::default());
    }
}
