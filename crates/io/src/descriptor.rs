//! A socket of the system's as a [`Transport`]: its own, or lent by somebody who goes on using it.

use std::any::Any;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFd;

use crate::delivery;
use crate::error::Error;
use crate::socket;
use crate::transport::{Fault, Transport};
use crate::wait::{Bell, Interest, Interrupt, poll_until};

/// A connected stream socket. Calls on it never wait, whatever mode the descriptor is in.
#[derive(Debug)]
pub(crate) enum Descriptor {
    /// Closed when nobody uses it any more.
    Owned(OwnedFd),
    /// Left as it is: neither closed, nor shut down, nor made non-blocking. Who lends it keeps it open.
    Borrowed(BorrowedFd<'static>),
}

impl Descriptor {
    pub(crate) fn number(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }

    /// The descriptor itself, for its next user; another one for the same socket while some thread waits
    /// for this one. `None`: the transport is nothing that could be given.
    pub(crate) fn take(
        transport: Arc<dyn Transport>,
        blocking: bool,
    ) -> Result<Option<OwnedFd>, (Arc<dyn Transport>, Error)> {
        let Ok(descriptor) = Arc::clone(&transport).into_any().downcast::<Self>() else {
            return Ok(None);
        };
        drop(transport);
        let Self::Owned(owned) = &*descriptor else {
            return Ok(None);
        };
        if let Err(errno) = socket::set_blocking(owned, blocking) {
            return Err((descriptor, errno.into()));
        }
        match Arc::try_unwrap(descriptor) {
            Ok(Self::Owned(owned)) => Ok(Some(owned)),
            Ok(Self::Borrowed(_)) => Ok(None),
            Err(shared) => match shared.as_fd().try_clone_to_owned() {
                Ok(given) => Ok(Some(given)),
                Err(error) => Err((shared, error.into())),
            },
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Owned(owned) => owned.as_fd(),
            Self::Borrowed(borrowed) => *borrowed,
        }
    }
}

impl Transport for Descriptor {
    fn try_recv(&self, into: &mut [u8]) -> Result<usize, Fault> {
        Ok(socket::receive(self, into)?)
    }

    fn try_send(&self, from: &[u8]) -> Result<usize, Fault> {
        Ok(socket::send(self, from)?)
    }

    fn peek(&self) -> Result<usize, Fault> {
        Ok(socket::peek(self)?)
    }

    fn wait(
        &self,
        interest: Interest,
        bell: Option<&Bell>,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<bool, Error> {
        let own = PollFd::new(self, interest.flags());
        match bell {
            None => poll_until(&mut [own], until, interrupt),
            Some(bell) => {
                let bell = PollFd::new(bell, Interest::READ.flags());
                poll_until(&mut [own, bell], until, interrupt)
            }
        }
    }

    fn shutdown(&self, how: Shutdown) -> bool {
        if matches!(self, Self::Borrowed(_)) {
            return false;
        }
        match how {
            Shutdown::Read => socket::end_reading(self),
            // The system answers what comes after the end of both with a reset, which destroys what is on
            // its way.
            Shutdown::Write | Shutdown::Both => socket::end_writing(self),
        }
        true
    }

    fn close(&self, waited_for: bool) -> Result<(), Fault> {
        // This ends the connection for other processes that have the descriptor, too. Those who wait for it
        // hold it until they have woken.
        if waited_for && matches!(self, Self::Owned(_)) {
            socket::end(self);
        }
        Ok(())
    }

    fn unacknowledged(&self, after_fin: bool) -> Option<u64> {
        delivery::unacknowledged(self.as_fd(), after_fin)
    }

    fn fault(&self) -> Option<Fault> {
        socket::fault(self).map(Fault::from)
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
