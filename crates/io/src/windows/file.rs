//! Files that are sent.

use std::fs::File;
use std::io::Result;
use std::os::windows::fs::FileExt as _;

/// Reads from that position, and moves the file's; 0 is the end of the file.
pub(crate) fn read_at(file: &File, into: &mut [u8], position: u64) -> Result<usize> {
    file.seek_read(into, position)
}
