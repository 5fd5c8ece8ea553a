//! Whether a stream tells every event once and in order, by the numbers alone.

/// How many holes of one stream are told apart; the events of further ones count as lost for good.
const HOLES: usize = 64;

/// What one event is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The one after the last.
    Next,
    /// One that was told before.
    Repeat,
    /// One that was missing until now: told out of order.
    Late,
    /// So many before it are missing.
    Hole(u64),
}

/// What one stream has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Check {
    last: u64,
    /// Ranges that are missing, both ends included.
    holes: Vec<(u64, u64)>,
    lost_for_good: u64,
}

impl Check {
    /// Takes the event `seq`.
    pub(crate) fn take(&mut self, seq: u64) -> Verdict {
        if seq == self.last + 1 {
            self.last = seq;
            return Verdict::Next;
        }
        if seq > self.last {
            let hole = (self.last + 1, seq - 1);
            self.last = seq;
            self.open(hole);
            return Verdict::Hole(hole.1 - hole.0 + 1);
        }
        let Some(at) = self.holes.iter().position(|hole| (hole.0..=hole.1).contains(&seq)) else {
            return Verdict::Repeat;
        };
        let (first, last) = self.holes.swap_remove(at);
        for left in [(first, seq.wrapping_sub(1)), (seq + 1, last)] {
            if seq > 0 && left.0 <= left.1 {
                self.open(left);
            }
        }
        Verdict::Late
    }

    /// The stream has said itself that it goes on after `seq`: what isn't there before is no loss from now on.
    pub(crate) fn go_on_after(&mut self, seq: u64) {
        *self = Self { last: seq, ..Self::default() };
    }

    /// The greatest event so far; 0 for none.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// How many events are missing of a log whose last one is `end`.
    pub(crate) fn missing(&self, end: u64) -> u64 {
        let holes: u64 = self.holes.iter().map(|hole| hole.1 - hole.0 + 1).sum();
        holes + self.lost_for_good + end.saturating_sub(self.last)
    }

    fn open(&mut self, hole: (u64, u64)) {
        if self.holes.len() < HOLES {
            self.holes.push(hole);
        } else {
            self.lost_for_good += hole.1 - hole.0 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn verdicts(seqs: &[u64]) -> (Vec<Verdict>, Check) {
        let mut check = Check::default();
        (seqs.iter().map(|&seq| check.take(seq)).collect(), check)
    }

    #[test]
    fn loss_repeats_and_reorders_are_told_apart() {
        use Verdict::{Hole, Late, Next, Repeat};
        let (told, check) = verdicts(&[1, 2, 5, 3, 6, 6, 4, 4, 9]);
        assert_eq!(told, [Next, Next, Hole(2), Late, Next, Repeat, Late, Repeat, Hole(2)]);
        assert_eq!((check.missing(9), check.missing(12), check.last()), (2, 5, 9));
    }

    #[test]
    fn after_a_snapshot_it_goes_on() {
        let (_, mut check) = verdicts(&[1, 4]);
        check.go_on_after(10);
        assert_eq!((check.take(11), check.missing(11)), (Verdict::Next, 0));
        check.go_on_after(0);
        assert_eq!((check.take(1), check.missing(1)), (Verdict::Next, 0));
    }

    #[test]
    fn more_holes_than_are_told_apart_stay_lost() {
        let seqs: Vec<_> = (1..=200).map(|at| at * 2).collect();
        let (_, check) = verdicts(&seqs);
        assert_eq!(check.missing(400), 200);
    }

    proptest! {
        #[test]
        fn it_counts_as_a_set_would(seqs in proptest::collection::vec(1_u64..40, 0..60)) {
            let (mut seen, mut check) = (BTreeSet::new(), Check::default());
            for seq in seqs {
                let (greatest, is_new) = (seen.last().copied().unwrap_or(0), seen.insert(seq));
                let expected = match () {
                    () if !is_new => Verdict::Repeat,
                    () if seq == greatest + 1 => Verdict::Next,
                    () if seq > greatest => Verdict::Hole(seq - greatest - 1),
                    () => Verdict::Late,
                };
                prop_assert_eq!(check.take(seq), expected);
                prop_assert_eq!(check.missing(40), 40 - seen.len() as u64);
            }
        }
    }
}
