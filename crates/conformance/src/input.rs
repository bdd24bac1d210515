//! Arbitrary bytes, read as what to do: by fuzz targets and by the property tests that run the same operations.

/// What is left of an input. Every reader gives `None` at its end.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The whole input.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A number of two bytes.
    pub fn number(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) << 8 | usize::from(self.byte()?))
    }

    /// Up to 255 bytes, from the input itself, behind their count.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes)
    }

    /// All that is left.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Changes `bytes` at a place that the input names: a byte of it, a deletion, or an insertion.
    pub fn edit(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let kind = self.byte()?;
        let at = self.number()?.min(bytes.len());
        match kind % 3 {
            0 => {
                let mask = self.byte()?;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= mask;
                }
            }
            1 => {
                let end = at
                    .saturating_add(usize::from(self.byte()?))
                    .min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let inserted = self.bytes()?;
                bytes.splice(at..at, inserted.iter().copied());
            }
        }
        Some(())
    }
}
