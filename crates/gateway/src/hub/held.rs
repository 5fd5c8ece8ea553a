//! What all logs of a hub hold in memory, known without a look at any of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that the rings and pages of a hub hold together. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held(Arc<AtomicUsize>);

impl Held {
    /// How many they are: the sum of all shares.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The share of a log that holds nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { all: self.clone(), bytes: 0 }
    }
}

/// What one log holds of them. Dropped, it holds nothing.
#[derive(Debug)]
pub(crate) struct Share {
    all: Held,
    bytes: usize,
}

impl Share {
    /// From now on the log holds so many bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        // A log's share is only ever changed by who has the log to itself, so what is taken away was added before.
        match bytes.checked_sub(self.bytes) {
            Some(0) => return,
            Some(more) => self.all.0.fetch_add(more, Ordering::Relaxed),
            None => self.all.0.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_the_shares_that_there_are() {
        let held = Held::default();
        let (mut one, mut other) = (held.share(), held.share());
        for (share, bytes, sum) in [(0, 10, 10), (1, 5, 15), (0, 7, 12), (1, 5, 12), (0, 0, 5), (0, 3, 8)] {
            [&mut one, &mut other][share].set(bytes);
            assert_eq!(held.bytes(), sum);
        }
        drop(other);
        assert_eq!(held.bytes(), 3);
    }
}
