//! Numbers that look random and are the same in every run, so that a failure can be repeated.

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, and good enough to cut streams by.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        // The remainder is below a usize; the bias is of no matter here.
        (self.bits() % bound as u64) as usize
    }

    /// A size from 1 to `most`, small ones as likely as large ones: each power of two has the same
    /// chance.
    pub const fn size(&mut self, most: usize) -> usize {
        let scale = 1 + self.below(most.ilog2() as usize + 1);
        let size = 1 + self.below(1 << scale);
        if size < most { size } else { most }
    }

    /// `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8))
            .flat_map(|_| self.bits().to_le_bytes())
            .take(length)
            .collect()
    }
}
