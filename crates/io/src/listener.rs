//! A listening socket whose `accept` returns connections that are ready for data.
//!
//! A blocking [`Listener::accept`] drives all handshakes in progress and returns the first
//! connection that completes: a client that stalls, fails or sends garbage does not delay the
//! others. Handshakes belong to the listener, not to the call that started them; the next call, or
//! another thread's, continues them.
//!
//! Several threads can accept at once. One of them leads: it polls the listening socket and all
//! handshakes. Any free thread works on a handshake that can proceed, without the lock; the others
//! wait, each for its own bell, until there is work or no thread leads. If a handshake may block,
//! the listener's own threads work on it (`workers.rs`), and the accepting threads only poll.
//!
//! If there is no descriptor or no memory for a connection (EMFILE and similar), the connection
//! stays in the kernel's queue, and the listening socket is ignored for a moment, so that no thread
//! spins. Handshakes in progress continue. Only if there are none, the caller gets the error, and
//! can close something. After that moment, accepting works again.

use rustix::fd::{AsFd as _, OwnedFd};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polytls_core::{Connection, Error as TlsError, Role, Session};
use rustix::event::PollFd;

use crate::address::Address;
use crate::bell::Bell;
use crate::deadline::{Deadline, Timeout, TimeoutCell};
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::fork::{self, OwningProcess};
use crate::pool::{Pending, Pool};
use crate::settings::ListenerSettings;
use crate::socket;
use crate::stream::Stream;
use crate::system::number::{AtomicNumber, Number, number};
use crate::system::socket::is_shortage;
use crate::wait::{Interest, Interrupt, poll_until};
use crate::workers::{Keep, Shared};

/// Taken from the kernel's queue at a time.
const ACCEPT_BATCH: usize = 16;

/// How long a thread that cannot be woken, for lack of a descriptor, sleeps at a time.
const NAP: Duration = Duration::from_millis(50);
/// How often a child tries to take a lock that its parent's threads only hold briefly.
const ADOPTION_TRIES: usize = 1000;

type MakeSession = dyn Fn() -> Result<Box<dyn Session>, TlsError> + Send + Sync;

/// A listening socket. Every method can be called from every thread at any time. Dropping it closes
/// it.
///
/// After fork(2) it works in both processes if it has not accepted before. Otherwise it belongs to
/// the parent, like the handshakes in progress; [`Self::close`] in the child closes the child's
/// descriptor.
pub struct Listener {
    shared: Arc<Shared>,
    born: OwningProcess,
    /// Whether it has accepted.
    used: AtomicBool,
    descriptor: AtomicNumber,
    timeout: TimeoutCell,
    family: u16,
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
    /// Listens on the first of `addresses` that is available. `make` creates the session of each
    /// connection. An IPv6 address, including `::`, is for IPv6 only. `accept` waits indefinitely
    /// until [`Self::set_timeout`] says otherwise.
    ///
    /// # Errors
    ///
    /// The last address's; [`TlsError::Misuse`] without any.
    pub fn bind(
        addresses: &[SocketAddr],
        settings: ListenerSettings,
        make: impl Fn() -> Result<Box<dyn Session>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        fork::watch_forks()?;
        let mut outcome = Err(Error::Tls(TlsError::Misuse("no address to listen on")));
        for address in addresses {
            outcome = socket::listen_at(address, &settings)
                .map(|socket| (socket, Address::Ip(*address).family()))
                .map_err(Error::from);
            if outcome.is_ok() {
                break;
            }
        }
        let (socket, family) = outcome?;
        let settings = ListenerSettings {
            handshake_limit: settings.handshake_limit.max(1),
            ..settings
        };
        Ok(Self {
            family,
            descriptor: AtomicNumber::new(number(socket.as_fd())),
            shared: Arc::new(Shared::new(Pool::new(socket, Bell::new()?), settings)),
            born: OwningProcess::here(),
            used: AtomicBool::new(false),
            timeout: TimeoutCell::new(Timeout::Forever),
            settings,
            make: Box::new(make),
        })
    }

    /// Returns the next connection; its calls may wait for `stream_timeout` each. Threads started
    /// for handshakes that may block hold a reference to `keep`.
    ///
    /// Blocking: the connection whose handshake completes first, unless
    /// [`ListenerSettings::handshake_on_accept`] is off. Non-blocking, or with that off: the next
    /// connection, before its handshake; `recv`, `send` or `do_handshake` drive it.
    ///
    /// # Errors
    ///
    /// Never for a client's fault: [`Self::failed_handshakes`] counts those, and they are logged at
    /// level debug. [`Error::WantRead`] (non-blocking), [`Error::TimedOut`],
    /// [`Error::Interrupted`], [`Error::Closed`]; the operating system's if the process or the
    /// machine lacks something (EMFILE) and no handshake is in progress; those of `make`. After
    /// each of them handshakes in progress are unchanged, and the next call continues.
    /// [`Error::Inherited`].
    pub fn accept(
        &self,
        stream_timeout: Timeout,
        keep: Option<&Keep>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Stream, Error> {
        self.check_process()?;
        self.used.store(true, Ordering::Release);
        let deadline = Deadline::after(self.timeout());
        let stream = if self.settings.handshake_on_accept && deadline != Deadline::NonBlocking {
            self.lock()?.enter();
            let outcome = self.accept_finished(deadline, keep, interrupt);
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
        keep: Option<&Keep>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Stream, Error> {
        let mut pool = self.lock()?;
        loop {
            if let Some(stream) = pool.finished.pop_front() {
                if pool.has_room() {
                    pool.ring();
                }
                return Ok(stream);
            }
            let others_work =
                self.settings.handshake_may_block && self.shared.hire(&mut pool, keep);
            let work = if others_work { None } else { pool.begin_work() };
            pool = if let Some(pending) = work {
                drop(pool);
                drop(self.work(pending)?);
                // A callback may have been interrupted: a connection that is finished is for the next call.
                if interrupt.should_stop() {
                    return Err(Error::Interrupted);
                }
                self.lock()?
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
            let mut pool = self.lock()?;
            if let Some(stream) = pool.take_unfinished() {
                if pool.has_room() {
                    pool.ring();
                }
                return Ok(stream);
            }
            let listener = pool.socket.clone().ok_or(Error::Closed)?;
            let bell = pool.bell()?;
            let paused = pool.paused_until();
            drop(pool);
            // A call that must not wait gives the error again.
            if paused.is_none() || deadline == Deadline::NonBlocking {
                match socket::accept(&listener) {
                    Ok(Some((socket, peer))) => return self.begin(socket, peer),
                    Ok(None) if deadline == Deadline::NonBlocking => return Err(Error::WantRead),
                    Ok(None) => {}
                    Err(errno) => {
                        if is_shortage(errno) {
                            self.lock()?.pause();
                        }
                        return Err(errno.into());
                    }
                }
            }
            let flags = Interest::READ.flags();
            let mut fds = [bell.watched(), PollFd::new(&*listener, flags)];
            let fds = if paused.is_some() {
                &mut fds[..1]
            } else {
                &mut fds[..]
            };
            let until = [deadline.instant(), paused].into_iter().flatten().min();
            if !poll_until(fds, until, interrupt)? && deadline.has_passed() {
                return Err(Error::TimedOut);
            }
        }
    }

    fn begin(&self, socket: OwnedFd, peer: SocketAddr) -> Result<Stream, Error> {
        let connection = Connection::new((self.make)()?, Role::Server);
        let socket = Descriptor::owned(socket, peer.into());
        let stream = Stream::new(socket, connection, peer.into(), Timeout::NonBlocking);
        if self.settings.accept_truncated_end {
            stream.accept_truncated_end()?;
        }
        Ok(stream)
    }

    /// One step of one handshake, without the lock.
    fn work(&self, pending: Pending) -> Result<MutexGuard<'_, Pool>, Error> {
        drop(self.shared.work(pending));
        self.lock()
    }

    /// Waits until there is work, or the leader has gone.
    fn follow<'a>(
        &'a self,
        mut pool: MutexGuard<'a, Pool>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<MutexGuard<'a, Pool>, Error> {
        let Ok(bell) = Bell::new().map(Arc::new) else {
            // No descriptor for one.
            drop(pool);
            let nap = Instant::now() + NAP;
            let until = deadline.instant().map_or(nap, |at| at.min(nap));
            poll_until(&mut [], Some(until), interrupt)?;
            return self.lock();
        };
        pool.followers.push_back(Arc::clone(&bell));
        drop(pool);
        let mut fds = [bell.watched()];
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
        let bell = pool.bell()?;
        pool.led = true;
        let watch = pool.watch(self.settings.handshake_limit);
        drop(pool);

        let mut fds = Vec::with_capacity(watch.sockets.len() + 2);
        for (transport, flags) in &watch.sockets {
            if let Some(socket) = transport.socket() {
                fds.push(PollFd::from_borrowed_fd(socket, *flags));
            }
        }
        fds.push(bell.watched());
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
            self.shared.note_failure(&pending, &Error::TimedOut);
        }
        if let Some(listener) = &watch.listener
            && ready.last() == Some(&true)
        {
            pool = self.accept_batch(pool, listener)?;
        }
        Ok(pool)
    }

    /// Takes what waits in the kernel's queue, as far as there is room.
    fn accept_batch<'a>(
        &'a self,
        mut pool: MutexGuard<'a, Pool>,
        listener: &OwnedFd,
    ) -> Result<MutexGuard<'a, Pool>, Error> {
        let limit = self.settings.handshake_limit;
        let mut accepted = Vec::new();
        let mut fault = None;
        while accepted.len() < ACCEPT_BATCH && pool.has_place(limit) {
            match socket::accept(listener) {
                Ok(Some(client)) => {
                    if let Some(pending) = pool.make_room(limit) {
                        self.shared
                            .note_failure(&pending, &"dropped: handshake_limit reached");
                    }
                    pool.working += 1;
                    accepted.push(client);
                }
                Ok(None) => break,
                Err(errno) => {
                    let shortage = is_shortage(errno);
                    let alone = if shortage {
                        pool.pause()
                    } else {
                        // Otherwise there is something to do first.
                        accepted.is_empty() && pool.ready.is_empty() && pool.finished.is_empty()
                    };
                    fault = alone.then_some(errno);
                    break;
                }
            }
        }
        // Not under the lock: to make a session may run the application's code.
        drop(pool);
        let count = accepted.len();
        let begun: Result<Vec<Stream>, Error> = accepted
            .into_iter()
            .map(|(socket, peer)| self.begin(socket, peer))
            .collect();
        let mut pool = self.lock_anyway();
        pool.working -= count;
        if pool.socket.is_none() {
            drop(pool);
            return Err(Error::Closed);
        }
        for stream in begun? {
            let pending = Pending::new(stream, self.settings.handshake_timeout);
            pool.ready.push_back(pending);
        }
        fault.map_or(Ok(pool), |errno| Err(errno.into()))
    }

    /// Only changes the backlog.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn listen(&self, backlog: i32) -> Result<(), Error> {
        let pool = self.lock()?;
        let socket = pool.socket.as_ref().ok_or(Error::Closed)?;
        Ok(socket::listen(socket, backlog)?)
    }

    /// Stops listening and drops the handshakes in progress. Accepting threads get
    /// [`Error::Closed`]. Returned connections continue. Closing again does nothing.
    pub fn close(&self) {
        if self.check_process().is_err() {
            fork::close_inherited(&self.descriptor);
            return;
        }
        self.descriptor.store(-1, Ordering::Release);
        drop(self.shared.close());
    }

    /// Returns the descriptor; the listener is then closed. The descriptor's own calls block if the
    /// timeout is [`Timeout::Forever`].
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn detach(&self) -> Result<OwnedFd, Error> {
        let mut pool = self.lock()?;
        if let Some(socket) = &pool.socket {
            socket::set_blocking(socket, self.timeout() == Timeout::Forever)?;
        }
        let socket = pool.close().ok_or(Error::Closed)?;
        self.shared.dismiss();
        // Another one for the same socket while some thread waits for this one.
        match Arc::try_unwrap(socket)
            .or_else(|shared| shared.try_clone().map_err(|error| (shared, error)))
        {
            Ok(given) => {
                self.descriptor.store(-1, Ordering::Release);
                Ok(given)
            }
            Err((socket, error)) => {
                pool.socket = Some(socket);
                Err(error.into())
            }
        }
    }

    /// Fails: there is no direction to end.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`] (ENOTCONN): always one of them.
    pub fn shutdown(&self) -> Result<(), Error> {
        drop(self.lock()?);
        Err(rustix::io::Errno::NOTCONN.into())
    }

    /// Another descriptor of the same socket, for socket options and similar calls.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn duplicate(&self) -> Result<OwnedFd, Error> {
        let socket = self.lock()?.socket.clone().ok_or(Error::Closed)?;
        Ok(socket.try_clone()?)
    }

    /// How many handshakes failed, including timeouts.
    #[must_use]
    pub fn failed_handshakes(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        let socket = self.lock()?.socket.clone().ok_or(Error::Closed)?;
        match socket::local_address(socket.as_fd())? {
            Address::Ip(address) => Ok(address),
            Address::Other(_) => Err(rustix::io::Errno::AFNOSUPPORT.into()),
        }
    }

    /// The numbers of its address family and protocol; available after closing, too.
    #[must_use]
    pub const fn family_and_protocol(&self) -> (u16, u32) {
        (self.family, socket::TCP)
    }

    /// The descriptor, for selectors; -1 after closing. Readable when a connection is waiting.
    #[must_use]
    pub fn descriptor(&self) -> Number {
        self.descriptor.load(Ordering::Acquire)
    }

    /// How long `accept` may wait.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout.get()
    }

    /// Applies to later calls.
    pub fn set_timeout(&self, timeout: Timeout) {
        self.timeout.set(timeout);
    }

    /// A child takes over a listener that has not accepted; other threads of the parent may have
    /// held the lock at the fork, but not for long.
    ///
    /// # Errors
    ///
    /// [`Error::Inherited`].
    pub fn check_process(&self) -> Result<(), Error> {
        for _ in 0..ADOPTION_TRIES {
            if !self.born.is_elsewhere() {
                return Ok(());
            }
            if self.used.load(Ordering::Acquire) {
                break;
            }
            let Ok(mut pool) = self.shared.pool.try_lock() else {
                std::thread::yield_now();
                continue;
            };
            if self.born.is_elsewhere() {
                pool.replace_bell(Bell::new()?);
                self.born.adopt();
            }
            return Ok(());
        }
        Err(Error::Inherited)
    }

    fn lock(&self) -> Result<MutexGuard<'_, Pool>, Error> {
        self.check_process()?;
        let pool = self.shared.pool.lock().map_err(|_| Error::poisoned())?;
        if pool.socket.is_none() {
            return Err(Error::Closed);
        }
        Ok(pool)
    }

    /// For what has to be done even after closing or a panic.
    fn lock_anyway(&self) -> MutexGuard<'_, Pool> {
        self.shared
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.born.is_elsewhere() {
            drop(self.shared.close());
            return;
        }
        fork::close_inherited(&self.descriptor);
        // A thread of the parent may have had the lock: then nothing here is safe to touch, and what
        // would be freed has a descriptor that is closed by now.
        let Ok(mut pool) = self.shared.pool.try_lock() else {
            std::mem::forget(Arc::clone(&self.shared));
            return;
        };
        std::mem::forget(pool.socket.take());
        pool.forget();
    }
}
