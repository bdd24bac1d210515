//! Files that are sent.

use std::fs::File;
use std::io::Result;

use rustix::io::{pread, retry_on_intr};

/// Reads from that position; 0 is the end of the file.
pub(crate) fn read_at(file: &File, into: &mut [u8], position: u64) -> Result<usize> {
    Ok(retry_on_intr(|| pread(file, &mut *into, position))?)
}
