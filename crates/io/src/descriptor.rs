//! A socket of the system's as a [`Transport`]: its own, or lent by somebody who goes on using it.

use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::any::Any;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFd;

use crate::address::Address;
use crate::bell::Bell;
use crate::error::Error;
use crate::socket;
use crate::system;
use crate::system::lent;
use crate::system::number::{Number, number};
use crate::system::socket::WAKES_READERS;
use crate::transport::{Fault, Transport};
use crate::wait::{Interest, Interrupt, is_writable, poll_until};

/// [`Transport::wait`] of a transport that has a descriptor to poll.
///
/// # Errors
///
/// As there.
pub fn wait_for(
    descriptor: BorrowedFd<'_>,
    interest: Interest,
    bell: Option<&Bell>,
    until: Option<Instant>,
    interrupt: &mut dyn Interrupt,
) -> Result<bool, Error> {
    let own = PollFd::from_borrowed_fd(descriptor, interest.flags());
    match bell {
        None => poll_until(&mut [own], until, interrupt),
        Some(bell) => poll_until(&mut [own, bell.watched()], until, interrupt),
    }
}

/// How long a wait takes at most that ending the reading side cannot wake.
const STEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Owner {
    /// Closed when nobody uses it any more.
    Us(OwnedFd),
    /// Left as it is: neither closed, nor shut down, nor made non-blocking. Who lends it keeps it open.
    Lender(BorrowedFd<'static>),
}

/// A connected stream socket. Calls on it never wait, whatever mode the descriptor is in.
#[derive(Debug)]
pub(crate) struct Descriptor {
    owner: Owner,
    /// Whether the system ends receiving for whoever waits, and the peer knows nothing of it: of TCP only.
    wakes_readers: bool,
}

impl Descriptor {
    /// Of our own, to this peer.
    pub(crate) fn owned(descriptor: OwnedFd, peer: Address) -> Self {
        Self {
            owner: Owner::Us(descriptor),
            wakes_readers: WAKES_READERS && matches!(peer, Address::Ip(_)),
        }
    }

    pub(crate) const fn lent(descriptor: BorrowedFd<'static>) -> Self {
        Self {
            owner: Owner::Lender(descriptor),
            wakes_readers: false,
        }
    }

    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self.owner, Owner::Us(_))
    }

    pub(crate) fn number(&self) -> Number {
        number(self.as_fd())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.owner {
            Owner::Us(owned) => owned.as_fd(),
            Owner::Lender(borrowed) => *borrowed,
        }
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
        let Owner::Us(owned) = &descriptor.owner else {
            return Ok(None);
        };
        if let Err(errno) = socket::set_blocking(owned, blocking) {
            return Err((descriptor, errno.into()));
        }
        let shared = match Arc::try_unwrap(descriptor).map(|descriptor| descriptor.owner) {
            Ok(Owner::Us(owned)) => return Ok(Some(owned)),
            Ok(Owner::Lender(_)) => return Ok(None),
            Err(shared) => shared,
        };
        match shared.as_fd().try_clone_to_owned() {
            Ok(given) => Ok(Some(given)),
            Err(error) => Err((shared, error.into())),
        }
    }
}

impl Transport for Descriptor {
    fn try_recv(&self, into: &mut [u8]) -> Result<usize, Fault> {
        Ok(match &self.owner {
            Owner::Us(owned) => socket::receive(owned.as_fd(), into),
            Owner::Lender(lent) => lent::receive(*lent, into),
        }?)
    }

    fn try_send(&self, from: &[u8]) -> Result<usize, Fault> {
        Ok(match &self.owner {
            Owner::Us(owned) => socket::send(owned.as_fd(), from),
            Owner::Lender(lent) => lent::send(*lent, from),
        }?)
    }

    fn peek(&self) -> Result<usize, Fault> {
        Ok(match &self.owner {
            Owner::Us(owned) => socket::peek(owned.as_fd()),
            Owner::Lender(lent) => lent::peek(*lent),
        }?)
    }

    fn wait(
        &self,
        interest: Interest,
        bell: Option<&Bell>,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<bool, Error> {
        if self.wakes_readers {
            return wait_for(self.as_fd(), interest, bell, until, interrupt);
        }
        let step = Instant::now() + STEP;
        let limit = until.map_or(step, |until| until.min(step));
        let ready = wait_for(self.as_fd(), interest, bell, Some(limit), interrupt)?;
        Ok(ready || until.is_none_or(|until| limit < until))
    }

    fn shutdown(&self, how: Shutdown) -> bool {
        if !self.is_ours() {
            return false;
        }
        match how {
            // Elsewhere the peer could not send any more.
            Shutdown::Read if !self.wakes_readers => return false,
            Shutdown::Read => socket::end_reading(self.as_fd()),
            // The system answers what comes after the end of both with a reset, which destroys what is on
            // its way.
            Shutdown::Write | Shutdown::Both => socket::end_writing(self.as_fd()),
        }
        true
    }

    fn close(&self, waited_for: bool) -> Result<(), Fault> {
        // This ends the connection for other processes that have the descriptor, too. Those who wait for it
        // hold it until they have woken.
        if waited_for && self.is_ours() {
            socket::end(self.as_fd());
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        is_writable(self.as_fd())
    }

    fn unacknowledged(&self, after_fin: bool) -> Option<u64> {
        system::unacknowledged(self.as_fd(), after_fin)
    }

    fn fault(&self) -> Option<Fault> {
        socket::fault(self.as_fd()).map(Fault::from)
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
