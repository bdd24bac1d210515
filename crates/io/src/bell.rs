//! What wakes a thread out of a wait.

use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::PollFd;
use rustix::fd::AsFd as _;

use crate::error::Error;
use crate::system::channel::{Reader, Writer, channel};
use crate::wait::{Interest, Interrupt, poll_until};

/// Wakes a thread out of poll(2). At most one byte is ever in the channel, so ringing never blocks.
#[derive(Debug)]
pub struct Bell {
    reader: Reader,
    writer: Writer,
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = channel()?;
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

    /// Waits until it is rung; `false`: `until` has come before that.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`], and what poll(2) gives.
    pub(crate) fn wait(
        &self,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<bool, Error> {
        poll_until(&mut [self.watched()], until, interrupt)
    }

    /// It, among what one poll(2) waits for.
    pub(crate) fn watched(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.reader.as_fd(), Interest::READ.flags())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_is_heard_until_it_is_hushed() {
        let bell = Bell::new().unwrap();
        let heard = || bell.wait(Some(Instant::now()), &mut || false).unwrap();
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
