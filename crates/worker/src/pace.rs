//! How many claims go together: one by one they would take a job in each round trip, however many are ready.

/// The most claims under way in one partition.
const MOST: usize = 8;

/// One partition's pace.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How many rounds in a row got all that they asked for.
    full: u32,
}

impl Pace {
    /// How many claims the next round may have. A single job that is ready is no sign of more, so that the first one of a lone
    /// job's worker is followed by one that finds nothing.
    pub(crate) fn at_once(&self) -> usize {
        1_usize.checked_shl(self.full.saturating_sub(1)).map_or(MOST, |claims| claims.min(MOST))
    }

    /// A round that `asked` so often got so many jobs.
    pub(crate) fn came_to(&mut self, got: usize, asked: usize) {
        self.full = if got < asked { 0 } else { self.full.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_all_that_was_asked_for_was_there() {
        let mut pace = Pace::default();
        let mut round = |missing: usize| {
            let asked = pace.at_once();
            pace.came_to(asked - missing, asked);
            asked
        };
        assert_eq!([0, 0, 0, 0, 0, 1, 0].map(&mut round), [1, 1, 2, 4, 8, 8, 1]);
        assert!((0..100).map(|_| round(0)).all(|asked| asked <= MOST));
    }
}
