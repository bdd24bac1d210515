//! A listening socket whose `accept` returns connections that are ready for data.
//!
//! A blocking [`Listener::accept`] keeps all the handshakes in progress going and returns the
//! first that finishes: a client that stalls, fails or talks nonsense costs the others nothing.
//! Handshakes belong to the listener, not to the call that began them; the next call, or another
//! thread's, goes on with them.
//!
//! Several threads may accept at once. One of them leads: it polls the listening socket and all
//! handshakes. Handshakes that can go on are worked on by whichever thread is free, each without
//! the lock; the others wait, each for a bell of its own, until there is work or nobody leads.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polytls_core::{Connection, Error as TlsError, Role, Session};
use rustix::event::PollFd;

use crate::deadline::{Deadline, Timeout, TimeoutCell};
use crate::error::Error;
use crate::pool::{Pending, Pool, Step};
use crate::socket;
use crate::stream::Stream;
use crate::wait::{Bell, Interest, Interrupt, poll_until};

/// Taken from the kernel's queue at a time.
const ACCEPT_BATCH: usize = 16;

/// How a [`Listener`] is to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerSettings {
    /// How many connections the kernel keeps until they are accepted.
    pub backlog: i32,
    /// How many connections may be in hand: in their handshakes, or finished and not returned yet.
    /// At this limit further ones stay with the kernel. At least 1.
    pub handshake_limit: usize,
    /// How long one handshake may take. Time in which no thread accepts does not count.
    pub handshake_timeout: Duration,
    /// Whether a blocking `accept` completes handshakes. A non-blocking one never does.
    pub handshake_on_accept: bool,
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            backlog: 128,
            handshake_limit: 128,
            handshake_timeout: Duration::from_secs(10),
            handshake_on_accept: true,
        }
    }
}

type MakeSession = dyn Fn() -> Result<Box<dyn Session>, TlsError> + Send + Sync;

/// A listening socket. Every method may be called from every thread at any time. Dropping it
/// closes it.
pub struct Listener {
    pool: Mutex<Pool>,
    /// Wakes the leader, and at closing whoever polls; gone afterwards.
    bell: Mutex<Option<Arc<Bell>>>,
    descriptor: AtomicI32,
    timeout: TimeoutCell,
    failed: AtomicU64,
    settings: ListenerSettings,
    make: Box<MakeSession>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("descriptor", &self.descriptor())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens at the first of `addresses` that can be had. `make` makes the session of each
    /// connection. An IPv6 address, `::` included, means IPv6 alone. `accept` waits for ever until
    /// [`Self::set_timeout`] says otherwise.
    ///
    /// # Errors
    ///
    /// The last address's; [`TlsError::Misuse`] without any.
    pub fn bind(
        addresses: &[SocketAddr],
        settings: ListenerSettings,
        make: impl Fn() -> Result<Box<dyn Session>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut outcome = Err(Error::Tls(TlsError::Misuse("no address to listen at")));
        for address in addresses {
            outcome = socket::listen_at(address, settings.backlog).map_err(Error::from);
            if outcome.is_ok() {
                break;
            }
        }
        let socket = outcome?;
        Ok(Self {
            descriptor: AtomicI32::new(socket.as_raw_fd()),
            pool: Mutex::new(Pool::new(socket)),
            bell: Mutex::new(Some(Arc::new(Bell::new()?))),
            timeout: TimeoutCell::new(Timeout::Forever),
            failed: AtomicU64::new(0),
            settings: ListenerSettings {
                handshake_limit: settings.handshake_limit.max(1),
                ..settings
            },
            make: Box::new(make),
        })
    }

    /// Returns the next connection; its calls may wait for `stream_timeout` each.
    ///
    /// With a timeout or without, the connection whose handshake finishes first, unless
    /// [`ListenerSettings::handshake_on_accept`] is off. Non-blocking, or with that off: the next
    /// connection, its handshake not done; `recv`, `send` or `do_handshake` drive it.
    ///
    /// # Errors
    ///
    /// Never for a client's fault: [`Self::failed_handshakes`] counts those, and the log has them
    /// at level debug. [`Error::WantRead`] (non-blocking), [`Error::TimedOut`],
    /// [`Error::Interrupted`], [`Error::Closed`]; the operating system's where it is the process
    /// or the machine that lacks something (EMFILE); those of `make`. After each of them handshakes
    /// in progress are where they were, and accepting goes on with the next call.
    pub fn accept(
        &self,
        stream_timeout: Timeout,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Stream, Error> {
        let deadline = Deadline::after(self.timeout());
        let stream = if self.settings.handshake_on_accept && deadline != Deadline::NonBlocking {
            self.lock()?.enter();
            let outcome = self.accept_finished(deadline, interrupt);
            self.lock_anyway().leave();
            outcome?
        } else {
            self.accept_unfinished(deadline, interrupt)?
        };
        stream.set_timeout(stream_timeout);
        Ok(stream)
    }

    fn accept_finished(
        &self,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Stream, Error> {
        let mut pool = self.lock()?;
        loop {
            if let Some(stream) = pool.finished.pop_front() {
                if pool.has_room() {
                    self.ring();
                }
                return Ok(stream);
            }
            pool = if let Some(pending) = pool.begin_work() {
                drop(pool);
                self.work(pending)?
            } else if pool.led {
                self.follow(pool, deadline, interrupt)?
            } else {
                self.lead(pool, deadline, interrupt)?
            };
            if deadline.has_passed() && pool.finished.is_empty() {
                return Err(Error::TimedOut);
            }
        }
    }

    fn accept_unfinished(
        &self,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Stream, Error> {
        loop {
            let listener = {
                let mut pool = self.lock()?;
                if let Some(stream) = pool.take_unfinished() {
                    if pool.has_room() {
                        self.ring();
                    }
                    return Ok(stream);
                }
                pool.socket.clone().ok_or(Error::Closed)?
            };
            if let Some((socket, peer)) = socket::accept(&listener)? {
                return self.begin(socket, peer);
            }
            if deadline == Deadline::NonBlocking {
                return Err(Error::WantRead);
            }
            let flags = Interest::READ.flags();
            let bell = self.bell()?;
            let mut fds = [PollFd::new(&*listener, flags), PollFd::new(&*bell, flags)];
            if !poll_until(&mut fds, deadline.instant(), interrupt)? {
                return Err(Error::TimedOut);
            }
        }
    }

    fn begin(&self, socket: OwnedFd, peer: SocketAddr) -> Result<Stream, Error> {
        let connection = Connection::new((self.make)()?, Role::Server);
        Ok(Stream::new(socket, connection, peer, Timeout::NonBlocking))
    }

    /// One step of one handshake, without the lock.
    fn work(&self, pending: Pending) -> Result<MutexGuard<'_, Pool>, Error> {
        let step = pending.step();
        if let Step::Failed(error) = &step {
            self.note_failure(&pending, error);
        }
        let mut pool = self.lock()?;
        if pool.done(pending, &step, self.settings.handshake_limit) {
            self.ring();
        }
        Ok(pool)
    }

    fn note_failure(&self, pending: &Pending, error: &Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        log::debug!("a handshake with {} failed: {error}", pending.peer());
    }

    /// Waits until there is work, or the leader has gone.
    fn follow<'a>(
        &'a self,
        mut pool: MutexGuard<'a, Pool>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<MutexGuard<'a, Pool>, Error> {
        let bell = Arc::new(Bell::new()?);
        pool.followers.push_back(Arc::clone(&bell));
        drop(pool);
        let mut fds = [PollFd::new(&*bell, Interest::READ.flags())];
        let outcome = poll_until(&mut fds, deadline.instant(), interrupt);
        self.lock_anyway()
            .followers
            .retain(|other| !Arc::ptr_eq(other, &bell));
        outcome?;
        self.lock()
    }

    /// Waits for the network, for everybody, once.
    fn lead<'a>(
        &'a self,
        mut pool: MutexGuard<'a, Pool>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<MutexGuard<'a, Pool>, Error> {
        let bell = self.bell()?;
        pool.led = true;
        let watch = pool.watch(self.settings.handshake_limit);
        drop(pool);

        let mut fds = Vec::with_capacity(watch.sockets.len() + 2);
        for (socket, flags) in &watch.sockets {
            fds.push(PollFd::new(&**socket, *flags));
        }
        fds.push(PollFd::new(&*bell, Interest::READ.flags()));
        if let Some(listener) = watch.listener.as_deref() {
            fds.push(PollFd::new(listener, Interest::READ.flags()));
        }
        let until = [deadline.instant(), watch.soonest]
            .into_iter()
            .flatten()
            .min();
        let outcome = poll_until(&mut fds, until, interrupt);
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();

        let mut pool = self.lock_anyway();
        pool.led = false;
        if pool.socket.is_none() {
            // The bell goes on ringing, for the next.
            return Err(Error::Closed);
        }
        bell.hush();
        outcome?;
        for pending in pool.sort(&watch, &ready[..watch.sockets.len()]) {
            self.note_failure(&pending, &Error::TimedOut);
        }
        if let Some(listener) = &watch.listener
            && ready.last() == Some(&true)
        {
            let room = pool.room(self.settings.handshake_limit);
            let mut accepted = 0;
            while accepted < room.min(ACCEPT_BATCH) {
                match socket::accept(listener) {
                    Ok(Some((socket, peer))) => {
                        let stream = self.begin(socket, peer)?;
                        let pending = Pending::new(stream, self.settings.handshake_timeout);
                        pool.ready.push_back(pending);
                        accepted += 1;
                    }
                    Ok(None) => break,
                    // There is something to do that may well mend it.
                    Err(_) if !pool.ready.is_empty() || !pool.finished.is_empty() => break,
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(pool)
    }

    /// Changes the backlog, and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn listen(&self, backlog: i32) -> Result<(), Error> {
        let pool = self.lock()?;
        let socket = pool.socket.as_ref().ok_or(Error::Closed)?;
        Ok(socket::listen(socket, backlog)?)
    }

    /// Stops listening and drops the handshakes in progress. Threads that accept get
    /// [`Error::Closed`]. Connections that were returned go on. Closing again does nothing.
    pub fn close(&self) {
        let mut pool = self.lock_anyway();
        self.descriptor.store(-1, Ordering::Release);
        pool.close();
        drop(pool);
        let bell = self
            .bell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(bell) = bell {
            bell.ring();
        }
    }

    fn ring(&self) {
        if let Ok(bell) = self.bell() {
            bell.ring();
        }
    }

    fn bell(&self) -> Result<Arc<Bell>, Error> {
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        bell.clone().ok_or(Error::Closed)
    }

    /// How many handshakes did not succeed, those out of time included.
    #[must_use]
    pub fn failed_handshakes(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        let socket = self.lock()?.socket.clone().ok_or(Error::Closed)?;
        Ok(socket::local_address(&socket)?)
    }

    /// The descriptor, for selectors; -1 once closed. Readable when a connection is there.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.descriptor.load(Ordering::Acquire)
    }

    /// How long `accept` may wait.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout.get()
    }

    /// For calls that begin later.
    pub fn set_timeout(&self, timeout: Timeout) {
        self.timeout.set(timeout);
    }

    fn lock(&self) -> Result<MutexGuard<'_, Pool>, Error> {
        let pool = self.pool.lock().map_err(|_| Error::poisoned())?;
        if pool.socket.is_none() {
            return Err(Error::Closed);
        }
        Ok(pool)
    }

    /// For what has to be done even after closing or a panic.
    fn lock_anyway(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
