//! Waiting.
#![allow(unsafe_code)]

use std::time::Duration;

use rustix::event::{FdSetElement, PollFd, Timespec, fd_set_insert, fd_set_num_elements, select};
use rustix::fd::{AsFd as _, AsRawFd as _};
use rustix::io::Result;

/// No single wait takes longer, as nothing interrupts one: at its end the caller is asked whether to stop.
pub(crate) const LONGEST_POLL: Duration = Duration::from_millis(500);
/// One without an end is done in such steps, too.
pub(crate) const ENDLESS_POLL: Option<Duration> = Some(LONGEST_POLL);

/// Like poll, for a connect that is under way. Before Windows 10 2004, WSAPoll says nothing of one that fails;
/// select does, among exceptions.
pub(crate) fn poll_connecting(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    let mut writable = vec![FdSetElement::default(); fd_set_num_elements(fds.len(), 0)];
    for fd in &*fds {
        fd_set_insert(&mut writable, fd.as_fd().as_raw_fd());
    }
    let mut failed = writable.clone();
    // SAFETY: `fds` borrows the sockets, so that they are open.
    let ready = unsafe { select(0, None, Some(&mut writable), Some(&mut failed), timeout) }?;
    Ok(usize::try_from(ready).unwrap_or(0))
}
