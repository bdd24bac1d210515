//! What wakes a thread out of poll(2): a pipe.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::PollFd;

use crate::error::Error;
use crate::wait::{Interest, Interrupt, poll_until};

/// Wakes a thread out of poll(2). At most one byte is ever in the pipe, so ringing never blocks.
#[derive(Debug)]
pub struct Bell {
    reader: io::PipeReader,
    writer: io::PipeWriter,
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self {
            reader,
            writer,
            rung: AtomicBool::new(false),
        })
    }

    /// Makes the bell readable until [`Self::hush`].
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Both ends are ours and open, and there is room for a byte.
            let _ = (&self.writer).write_all(&[0]);
        }
    }

    pub(crate) fn hush(&self) {
        if self.rung.swap(false, Ordering::AcqRel) {
            // If the byte is not there yet, it is about to be.
            let _ = (&self.reader).read_exact(&mut [0]);
        }
    }
}

impl Bell {
    /// Waits until it is rung; `false`: `until` has come before that.
    ///
    /// # Errors
    ///
    /// Like [`poll_until`].
    pub(crate) fn wait(
        &self,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<bool, Error> {
        let mut fds = [PollFd::new(self, Interest::READ.flags())];
        poll_until(&mut fds, until, interrupt)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::PollFlags;

    use super::*;

    #[test]
    fn a_bell_is_heard_until_it_is_hushed() {
        let bell = Bell::new().unwrap();
        let heard = || {
            poll_until(
                &mut [PollFd::new(&bell, PollFlags::IN)],
                Some(Instant::now()),
                &mut || false,
            )
            .unwrap()
        };
        assert!(!heard());
        bell.ring();
        bell.ring();
        assert!(heard() && heard());
        bell.hush();
        assert!(!heard());
        bell.hush();
        bell.ring();
        assert!(heard());
    }
}
