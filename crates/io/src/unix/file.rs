//! Files that are sent.

use std::os::fd::AsFd;

use rustix::io::{Result, pread, retry_on_intr};

/// Reads from that position; 0 is the end of the file.
pub(crate) fn read_at(file: impl AsFd, into: &mut [u8], position: u64) -> Result<usize> {
    retry_on_intr(|| pread(&file, &mut *into, position))
}
