//! How much memory long bodies take at once. Short ones come with their claim, and are bounded by how many deliveries are in hand; a
//! long one takes its memory before it is read, and gives it back when its last byte is freed.
//!
//! Nobody gets all of it: receivers that haven't shown that they take anything have a half together, and each host an eighth. So
//! the long bodies of slow receivers hold up no others, or only those of the same host.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted, in bytes: a length that a semaphore can count.
const UNIT: u64 = 1024;
/// How much a body takes for each byte of what it tells: the text that is sent has the result twice, and what was read is there beside
/// it while it is made.
const TIMES: u64 = 3;

/// All of it.
pub(crate) struct Memory {
    all: Purse,
    strangers: Purse,
    of_host: u32,
}

/// What one host may take.
pub(crate) struct Share {
    all: Purse,
    strangers: Purse,
    own: Purse,
}

/// Memory that is taken, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Taken {
    _all: OwnedSemaphorePermit,
    _strangers: Option<OwnedSemaphorePermit>,
    _own: OwnedSemaphorePermit,
}

impl Memory {
    /// So many bytes.
    pub(crate) fn of(bytes: usize) -> Self {
        let units = u32::try_from(bytes as u64 / UNIT).unwrap_or(u32::MAX).max(1);
        Self { all: Purse::of(units), strangers: Purse::of(units / 2), of_host: units / 8 }
    }

    /// The share of one host.
    pub(crate) fn share(&self) -> Share {
        let own = Purse::of(self.of_host);
        Share { all: self.all.clone(), strangers: self.strangers.clone(), own }
    }
}

impl Share {
    /// Takes what a body needs that tells so many `bytes`, as soon as it is there; who came first has it first. `is_known` says that the
    /// host takes what it gets.
    pub(crate) async fn take(&self, bytes: u64, is_known: bool) -> Option<Taken> {
        let units = u32::try_from(bytes.saturating_mul(TIMES).div_ceil(UNIT)).unwrap_or(u32::MAX);
        // From the narrowest to the widest, so that nobody keeps from others what he can't use yet.
        let own = self.own.take(units).await?;
        let strangers = if is_known { None } else { Some(self.strangers.take(units).await?) };
        let all = self.all.take(units).await?;
        Some(Taken { _all: all, _strangers: strangers, _own: own })
    }
}

#[derive(Clone)]
struct Purse {
    left: Arc<Semaphore>,
    most: u32,
}

impl Purse {
    fn of(units: u32) -> Self {
        let most = units.max(1);
        Self { left: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS))), most }
    }

    /// So much, or all there is for what would need more: alone it may go.
    async fn take(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.left).acquire_many_owned(units.clamp(1, self.most)).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Whether it gets it at once.
    async fn at_once(share: &Share, bytes: u64, is_known: bool) -> Option<Taken> {
        timeout(Duration::ZERO, share.take(bytes, is_known)).await.ok().flatten()
    }

    #[tokio::test]
    async fn a_host_has_an_eighth_strangers_a_half_and_what_is_freed_is_there_again() {
        let memory = Memory::of(48 << 20);
        let hosts: Vec<_> = (0..9).map(|_| memory.share()).collect();
        let mut taken = Vec::new();
        for host in &hosts[..4] {
            taken
                .extend([at_once(host, MIB, false).await.unwrap(), at_once(host, MIB, false).await.unwrap()]);
            assert!(at_once(host, MIB, false).await.is_none(), "an eighth of 48 MiB is two of 3 MiB");
        }
        assert!(at_once(&hosts[4], 1, false).await.is_none(), "strangers have their half");
        for host in &hosts[4..8] {
            taken.extend([at_once(host, MIB, true).await.unwrap(), at_once(host, MIB, true).await.unwrap()]);
        }
        assert!(at_once(&hosts[8], 1, true).await.is_none(), "all is taken");
        taken.remove(0);
        assert!(at_once(&hosts[8], MIB, true).await.is_some());
    }

    #[tokio::test]
    async fn what_is_larger_than_all_of_it_goes_alone() {
        let memory = Memory::of(1);
        let (one, other) = (memory.share(), memory.share());
        let taken = at_once(&one, 1 << 40, false).await.unwrap();
        assert!(at_once(&other, 1, true).await.is_none());
        drop(taken);
        assert!(at_once(&other, 1, true).await.is_some());
    }
}
