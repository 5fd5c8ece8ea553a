//! The logs that a node follows, how many streams each has, and since when those have none that nobody needs.

use std::collections::{BTreeSet, HashMap};

use model::LogId;
use tokio::time::Instant;

/// Followed logs, each with what the hub has of it. To look for those that nobody needs any more costs nothing for the others.
pub(super) struct Logs<N> {
    followed: HashMap<LogId, Followed<N>>,
    /// Those without a stream, by since when.
    idle: BTreeSet<(Instant, LogId)>,
}

struct Followed<N> {
    node: N,
    streams: usize,
    /// Since when it has none.
    idle: Option<Instant>,
}

impl<N> Default for Logs<N> {
    fn default() -> Self {
        Self { followed: HashMap::new(), idle: BTreeSet::new() }
    }
}

impl<N: Clone> Logs<N> {
    /// One stream more of `log`; what there is of the log, or else what `open` makes.
    pub(super) fn join(&mut self, log: LogId, open: impl FnOnce(LogId) -> N) -> N {
        let new = || Followed { node: open(log.clone()), streams: 0, idle: None };
        let followed = self.followed.entry(log.clone()).or_insert_with(new);
        followed.streams += 1;
        if let Some(since) = followed.idle.take() {
            self.idle.remove(&(since, log));
        }
        followed.node.clone()
    }

    /// One stream less of `log`, at the time `now`.
    pub(super) fn leave(&mut self, log: &LogId, now: Instant) {
        let Some(followed) = self.followed.get_mut(log) else { return };
        followed.streams -= 1;
        if followed.streams == 0 {
            followed.idle = Some(now);
            self.idle.insert((now, log.clone()));
        }
    }

    /// Takes the logs out that have had no stream since `until` or longer.
    pub(super) fn take_idle(&mut self, until: Instant) -> Vec<N> {
        let mut taken = Vec::new();
        while self.idle.first().is_some_and(|(since, _)| *since <= until)
            && let Some((_, log)) = self.idle.pop_first()
        {
            taken.extend(self.followed.remove(&log).map(|followed| followed.node));
        }
        taken
    }

    /// What there is of `log`, if somebody follows it or did a moment ago.
    pub(super) fn get(&self, log: &LogId) -> Option<&N> {
        self.followed.get(log).map(|followed| &followed.node)
    }

    /// Whether `log` has a stream.
    pub(super) fn has_streams(&self, log: &LogId) -> bool {
        self.followed.get(log).is_some_and(|followed| followed.streams > 0)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &N> {
        self.followed.values().map(|followed| &followed.node)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.followed.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{JobId, Partition, Timestamp};

    use super::*;

    fn log(index: u8) -> LogId {
        JobId::new(Timestamp::from_millis(1), [index; 10], Partition(0)).into()
    }

    #[test]
    fn a_log_is_taken_once_it_has_had_no_stream_for_so_long() {
        let (mut logs, start) = (Logs::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let mut made = 0..;
        for index in [1, 2, 1] {
            logs.join(log(index), |_| made.next());
        }
        assert_eq!((logs.len(), logs.get(&log(1)), logs.get(&log(2))), (2, Some(&Some(0)), Some(&Some(1))));
        logs.leave(&log(1), at(1));
        assert!(logs.take_idle(at(9)).is_empty() && logs.has_streams(&log(1)), "one stream is left");
        logs.leave(&log(1), at(2));
        logs.leave(&log(2), at(3));
        assert!(!logs.has_streams(&log(1)));
        assert!(logs.take_idle(at(1)).is_empty());
        // It comes again, and goes again: what counts is the last time.
        assert_eq!(logs.join(log(1), |_| made.next()), Some(0));
        assert_eq!(logs.take_idle(at(3)), [Some(1)]);
        logs.leave(&log(1), at(4));
        assert!(logs.take_idle(at(3)).is_empty());
        assert_eq!(logs.all().collect::<Vec<_>>(), [&Some(0)]);
        assert_eq!(logs.take_idle(at(4)), [Some(0)]);
        assert_eq!((logs.len(), logs.idle.len()), (0, 0));
        logs.leave(&log(1), at(5));
        assert_eq!(logs.join(log(1), |_| made.next()), Some(2), "it is another one");
    }
}
