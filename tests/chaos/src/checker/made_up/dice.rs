//! Chance that can be repeated.

/// `SplitMix64`.
pub(in crate::checker) struct Dice(u64);

impl Dice {
    pub(in crate::checker) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n` - 1.
    pub(in crate::checker) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(in crate::checker) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a mut [T]) -> Option<&'a mut T> {
        let index = self.index(of.len());
        of.get_mut(index)
    }

    /// Six hex digits, never `000000`.
    pub(super) fn mark(&mut self) -> String {
        format!("{:06x}", 1 + self.below(0xff_ffff))
    }
}
