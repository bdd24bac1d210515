//! The connections a listener has in hand: handshakes in progress, those that are finished, and
//! failed ones that are still told why.
//!
//! Under one lock, with no waiting. Who moves what:
//!
//! ```text
//!  accept(2) -> ready -> (a worker, without the lock) -> finished -> returned by accept
//!                 ^                |          |
//!                 +--- waiting <---+          +-> leaving -> dropped
//! ```
//!
//! Only the leader, the one thread that polls, takes from `waiting` and `leaving`; others put in at
//! the end. So what the leader polled is found again by its index.
//!
//! Two things keep slow clients from stopping others. A handshake has a limit of time, whatever the
//! client does meanwhile. And at the limit of handshakes the oldest one that waits for its client
//! gives way to a connection that comes in, once it has had [`GRACE`]: whoever stalls on purpose
//! costs a place for that long, and a client that is merely slow is dropped only under attack.

use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polytls_core::Connection;
use rustix::event::PollFlags;

use crate::address::Address;
use crate::bell::Bell;
use crate::close::LINGER;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::stream::Stream;
use crate::transport::Transport;
use crate::wait::Interest;

/// How long a handshake is safe from having to give way.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// How long no connection is accepted after there was no descriptor or memory for one.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A connection that waits for its peer.
#[derive(Debug)]
pub(crate) struct Pending {
    stream: Stream,
    interest: Interest,
    began: Instant,
    deadline: Instant,
    /// What [`Pool::still`] was when work on it began.
    still: Duration,
}

/// What a worker made of a handshake.
pub(crate) enum Step {
    Finished,
    Pending(Interest),
    Failed(Error),
}

impl Pending {
    pub(crate) fn new(stream: Stream, time: Duration) -> Self {
        Self {
            stream,
            interest: Interest::READ,
            began: Instant::now(),
            deadline: later(time),
            still: Duration::ZERO,
        }
    }

    /// Goes on with the handshake, without waiting.
    pub(crate) fn step(&self) -> Step {
        match self.stream.handshake(Deadline::NonBlocking, &mut || false) {
            Ok(()) => Step::Finished,
            Err(Error::WantRead) => Step::Pending(Interest::READ),
            Err(Error::WantWrite) => Step::Pending(Interest::WRITE),
            Err(error) => {
                // Nobody will ask: what a callback raised must not stay with a connection that is
                // only told why it was refused.
                drop(self.stream.glance(Connection::take_cause));
                Step::Failed(error)
            }
        }
    }

    pub(crate) const fn peer(&self) -> Address {
        self.stream.peer_address()
    }

    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }
}

/// As late as the clock can tell, if need be.
fn later(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time)
        .unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600))
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The listening socket; `None` once closed.
    pub(crate) socket: Option<Arc<OwnedFd>>,
    /// Wakes the leader, and at closing whoever polls; gone afterwards.
    bell: Option<Arc<Bell>>,
    pub(crate) finished: VecDeque<Stream>,
    pub(crate) ready: VecDeque<Pending>,
    waiting: Vec<Pending>,
    leaving: Vec<Pending>,
    /// Handshakes some thread works on, or is about to begin, without the lock.
    pub(crate) working: usize,
    /// Threads that do nothing but work on handshakes, and how many of them are free to.
    pub(crate) workers: usize,
    pub(crate) idle: usize,
    /// Whether some thread polls.
    pub(crate) led: bool,
    /// Whether it does so without the listening socket, because of the limit.
    full: bool,
    /// Acceptors that have nothing to do while another one polls.
    pub(crate) followers: VecDeque<Arc<Bell>>,
    acceptors: usize,
    /// Since when nobody accepts.
    unattended: Option<Instant>,
    /// How long nobody accepted, up to the last acceptor that came.
    still: Duration,
    /// Until when no connection is accepted, for want of descriptors or memory.
    paused: Option<Instant>,
}

/// What a leader polls.
pub(crate) struct Watch {
    pub(crate) listener: Option<Arc<OwnedFd>>,
    pub(crate) sockets: Vec<(Arc<dyn Transport>, PollFlags)>,
    /// How many of them, from the first, are handshakes.
    waiting: usize,
    /// When something expires.
    pub(crate) soonest: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(socket: OwnedFd, bell: Bell) -> Self {
        Self {
            socket: Some(Arc::new(socket)),
            bell: Some(Arc::new(bell)),
            finished: VecDeque::new(),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            leaving: Vec::new(),
            working: 0,
            workers: 0,
            idle: 0,
            led: false,
            full: false,
            followers: VecDeque::new(),
            acceptors: 0,
            unattended: None,
            still: Duration::ZERO,
            paused: None,
        }
    }

    pub(crate) fn bell(&self) -> Result<Arc<Bell>, Error> {
        self.bell.clone().ok_or(Error::Closed)
    }

    pub(crate) fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }

    /// A bell of this process's own: the pipe of the other is the parent's, too.
    pub(crate) fn replace_bell(&mut self, bell: Bell) {
        self.bell = Some(Arc::new(bell));
    }

    // --- acceptors ---

    /// An acceptor comes. The clock of a handshake stands still while nobody accepts: the peer may
    /// have answered long ago, and it is not its fault that nobody looked.
    pub(crate) fn enter(&mut self) {
        self.acceptors += 1;
        if let Some(since) = self.unattended.take() {
            let gap = since.elapsed();
            self.still += gap;
            for pending in self.waiting.iter_mut().chain(&mut self.ready) {
                pending.began += gap;
                pending.deadline += gap;
            }
        }
    }

    /// An acceptor leaves; another one goes on with what it leaves behind.
    pub(crate) fn leave(&mut self) {
        self.acceptors -= 1;
        if self.acceptors == 0 {
            self.unattended = Some(Instant::now());
        }
        self.pass_on();
    }

    /// Wakes one follower, if there is something to do for it.
    pub(crate) fn pass_on(&mut self) {
        if (!self.led || !self.ready.is_empty() || !self.finished.is_empty())
            && let Some(follower) = self.followers.pop_front()
        {
            follower.ring();
        }
    }

    // --- handshakes ---

    /// How many connections count against the limit.
    fn in_hand(&self) -> usize {
        self.finished.len() + self.ready.len() + self.waiting.len() + self.working
    }

    pub(crate) fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.in_hand())
    }

    /// Whether a connection may be accepted.
    pub(crate) fn has_place(&self, limit: usize) -> bool {
        self.room(limit) > 0 || self.oldest_past_grace(Instant::now()).is_some()
    }

    /// Makes sure that there is room for a connection that was accepted: gives the handshake that
    /// has to give way, if one has to.
    pub(crate) fn make_room(&mut self, limit: usize) -> Option<Pending> {
        if self.room(limit) > 0 {
            return None;
        }
        let index = self.oldest_past_grace(Instant::now())?;
        Some(self.waiting.remove(index))
    }

    fn oldest(&self) -> Option<(usize, &Pending)> {
        let waiting = self.waiting.iter().enumerate();
        waiting.min_by_key(|(_, pending)| pending.began)
    }

    fn oldest_past_grace(&self, now: Instant) -> Option<usize> {
        let (index, oldest) = self.oldest()?;
        (now >= oldest.began + GRACE).then_some(index)
    }

    // --- shortage ---

    /// There was no descriptor or no memory for a connection: none is accepted for a moment, as the
    /// listening socket goes on being readable. `true`: nothing else is going on that could mend it.
    pub(crate) fn pause(&mut self) -> bool {
        self.paused = Some(Instant::now() + SHORTAGE_PAUSE);
        self.in_hand() == 0
    }

    /// Until when no connection may be accepted; `None`: now.
    pub(crate) fn paused_until(&mut self) -> Option<Instant> {
        self.paused = self.paused.filter(|until| Instant::now() < *until);
        self.paused
    }

    /// The handshake to work on next; [`Self::done`] takes the outcome.
    pub(crate) fn begin_work(&mut self) -> Option<Pending> {
        let mut pending = self.ready.pop_front()?;
        pending.still = self.still;
        self.working += 1;
        self.pass_on();
        Some(pending)
    }

    /// What a step came to in view of the time, which has stood still for the handshake while nobody
    /// accepted. `strict`: what is finished too late has failed; a step that waits for nothing but
    /// the processor is not held to that.
    pub(crate) fn in_time(&self, pending: &mut Pending, step: Step, strict: bool) -> Step {
        let gap = self.still - pending.still;
        pending.began += gap;
        pending.deadline += gap;
        let now = self.unattended.unwrap_or_else(Instant::now);
        match step {
            Step::Failed(_) => step,
            Step::Finished if !strict => step,
            _ if now < pending.deadline => step,
            _ => Step::Failed(Error::TimedOut),
        }
    }

    /// Puts a handshake where its outcome belongs. `true`: the leader has to look again.
    pub(crate) fn done(&mut self, mut pending: Pending, step: &Step, limit: usize) -> bool {
        self.working -= 1;
        match step {
            Step::Finished => self.finished.push_back(pending.stream),
            Step::Pending(interest) => {
                pending.interest = *interest;
                self.waiting.push(pending);
                return self.led;
            }
            Step::Failed(_) => {
                if self.leaving.len() < limit
                    && let Some(interest) = pending.stream.farewell()
                {
                    pending.interest = interest;
                    pending.deadline = later(LINGER);
                    self.leaving.push(pending);
                    return self.led;
                }
            }
        }
        self.has_room()
    }

    /// Says whether a leader that does not poll the listening socket should do so now.
    pub(crate) fn has_room(&mut self) -> bool {
        self.led && std::mem::take(&mut self.full)
    }

    /// One of the handshakes, at whatever stage, for a caller that drives it itself.
    pub(crate) fn take_unfinished(&mut self) -> Option<Stream> {
        self.finished
            .pop_front()
            .or_else(|| self.ready.pop_front().map(Pending::into_stream))
            .or_else(|| {
                let free = !self.led && !self.waiting.is_empty();
                free.then(|| self.waiting.remove(0).into_stream())
            })
    }

    // --- the leader ---

    pub(crate) fn watch(&mut self, limit: usize) -> Watch {
        self.full = !self.has_place(limit);
        let paused = self.paused_until();
        let gives_way = self.oldest().map(|(_, oldest)| oldest.began + GRACE);
        let all = || self.waiting.iter().chain(&self.leaving);
        Watch {
            listener: if self.full || paused.is_some() {
                None
            } else {
                self.socket.clone()
            },
            // Nobody outside has these streams, so none is closed, and the order is kept.
            sockets: all()
                .filter_map(|pending| Some((pending.stream.transport()?, pending.interest.flags())))
                .collect(),
            waiting: self.waiting.len(),
            soonest: all()
                .map(|pending| pending.deadline)
                .chain(paused)
                .chain(gives_way.filter(|_| self.full))
                .min(),
        }
    }

    /// Moves on what was found ready; gives back the handshakes that are out of time.
    pub(crate) fn sort(&mut self, watch: &Watch, ready: &[bool]) -> Vec<Pending> {
        let now = Instant::now();
        let mut expired = Vec::new();
        let mut ready = ready.iter();
        let waiting = self.waiting.drain(..watch.waiting);
        let mut still = Vec::new();
        for (pending, &ready) in waiting.zip(&mut ready) {
            if ready {
                self.ready.push_back(pending);
            } else if now >= pending.deadline {
                expired.push(pending);
            } else {
                still.push(pending);
            }
        }
        self.waiting.splice(..0, still);
        self.leaving.retain_mut(|pending| {
            // Those that came meanwhile were not polled.
            let done = ready.next().is_some_and(|&ready| {
                ready
                    && match pending.stream.farewell() {
                        Some(interest) => {
                            pending.interest = interest;
                            false
                        }
                        None => true,
                    }
            });
            !done && now < pending.deadline
        });
        expired
    }

    /// Drops what a child inherited. No bell rings: its pipe is the parent's, too.
    pub(crate) fn forget(&mut self) {
        self.clear();
        self.followers.clear();
        self.bell = None;
    }

    fn clear(&mut self) {
        self.finished.clear();
        self.ready.clear();
        self.waiting.clear();
        self.leaving.clear();
    }

    /// Drops everything, wakes everybody, and gives the listening socket.
    pub(crate) fn close(&mut self) -> Option<Arc<OwnedFd>> {
        let socket = self.socket.take();
        self.clear();
        for follower in self.followers.drain(..) {
            follower.ring();
        }
        // It goes on ringing, for whoever polls.
        if let Some(bell) = self.bell.take() {
            bell.ring();
        }
        socket
    }
}
