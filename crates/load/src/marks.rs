//! Whether all who were told an event of a log were told the same one, by its mark.

/// How many of a log's newest marks are kept.
const KEPT: usize = 64;

/// The newest marks of one log, as its streams have told them: each in the low bits of its seq, which stays below 2^40.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    /// Whether `mark`, of 24 bits, is what others said of `seq`; true too where nobody has, or it was too long ago.
    pub(crate) fn agrees(&mut self, seq: u64, mark: u32) -> bool {
        if self.0.is_empty() {
            self.0 = vec![0; KEPT];
        }
        #[expect(clippy::cast_possible_truncation, reason = "less than 64")]
        let kept = &mut self.0[(seq % KEPT as u64) as usize];
        let told = seq << 24 | u64::from(mark);
        if *kept >> 24 == seq && seq > 0 {
            return *kept == told;
        }
        *kept = told.max(*kept);
        true
    }

    /// Forgets all, as when a stream says that history was changed.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_mark_at_a_known_place_is_another_history() {
        let mut marks = Marks::default();
        assert!(marks.agrees(1, 7) && marks.agrees(2, 8) && marks.agrees(1, 7));
        assert!(!marks.agrees(2, 9));
        assert!(marks.agrees(66, 1) && marks.agrees(2, 9), "too long ago");
        assert!(!marks.agrees(66, 2));
        marks.forget();
        assert!(marks.agrees(66, 2));
    }
}
