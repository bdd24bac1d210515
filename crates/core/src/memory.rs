//! Memory of a caller's that a connection has for longer than a call.

use std::any::Any;

/// Bytes that have one owner, and do not change but through it.
pub trait Memory: Any + Send {
    /// All of them.
    fn bytes(&self) -> &[u8];

    /// To be filled, before anybody looks at them. Of no length where they cannot be written to.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl Memory for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Memory whose front is used up.
pub(crate) struct HeldMemory {
    memory: Box<dyn Memory>,
    used: usize,
}

impl HeldMemory {
    pub(crate) fn new(memory: Box<dyn Memory>) -> Self {
        Self { memory, used: 0 }
    }

    pub(crate) fn left(&self) -> &[u8] {
        &self.memory.bytes()[self.used..]
    }

    pub(crate) fn consume(&mut self, used: usize) {
        self.used += used;
    }

    /// `None` if nothing is left.
    pub(crate) fn with_left(mut self, left: usize) -> Option<Self> {
        self.used = self.memory.bytes().len() - left;
        (left > 0).then_some(self)
    }

    /// Whether nothing of it is used up.
    pub(crate) const fn is_whole(&self) -> bool {
        self.used == 0
    }

    pub(crate) fn into_memory(self) -> Box<dyn Memory> {
        self.memory
    }
}
