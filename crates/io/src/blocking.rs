//! A byte stream whose calls wait as they please, as a [`Transport`]: they are made in the wait, without a
//! lock, by the thread that waits. What they brought is there for the call that follows.

use std::any::Any;
use std::fmt;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::bell::Bell;
use crate::error::Error;
use crate::transport::{Fault, Transport};
use crate::wait::{Interest, Interrupt};

/// Handed to the stream at a time.
const PIECE: usize = 64 * 1024;
/// How long the stream may wait at a time, where it keeps to a time at all.
const STEP: Duration = Duration::from_secs(1);
/// How long a thread waits for one direction before it looks at the other.
const TURN: Duration = Duration::from_millis(50);
/// The shortest time: none at all means something else, and not every stream has that.
const MOMENT: Duration = Duration::from_millis(1);

/// A byte stream of the caller's. One thread may be in `recv` while another is in `send`.
pub trait Blocking: fmt::Debug + Send + Sync + 'static {
    /// Receives up to `most` bytes, waiting for the first, `time` at most if one is given; nothing is the
    /// end.
    ///
    /// # Errors
    ///
    /// [`Fault::WouldBlock`]: the time is over.
    fn recv(&self, most: usize, time: Option<Duration>) -> Result<Vec<u8>, Fault>;

    /// Sends some of `bytes` and says how much.
    ///
    /// # Errors
    ///
    /// Like [`Self::recv`].
    fn send(&self, bytes: &[u8], time: Option<Duration>) -> Result<usize, Fault>;

    /// How many bytes are known to be there for `recv`.
    fn pending(&self) -> usize;

    /// Whether a time can be given.
    fn keeps_time(&self) -> bool;

    /// Ends a direction, if that can be done.
    fn shutdown(&self, how: Shutdown);

    /// Closes it, which wakes the threads that are inside.
    ///
    /// # Errors
    ///
    /// Its own.
    fn close(&self) -> Result<(), Fault>;
}

#[derive(Debug, Default)]
struct State {
    /// How much the next call may bring: it must not take what is not ours.
    wanted: usize,
    /// What it brought; empty at the end.
    arrived: Option<Vec<u8>>,
    receive_fault: Option<Fault>,
    /// What is to be sent next, and how much of that has been.
    offered: Arc<[u8]>,
    taken: usize,
    send_fault: Option<Fault>,
    /// Our side is to be ended, which may take time.
    ends_sending: bool,
    closed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct BlockingTransport<S> {
    stream: S,
    state: Mutex<State>,
}

impl<S: Blocking> BlockingTransport<S> {
    /// Over `stream`.
    pub fn new(stream: S) -> Self {
        let state = State {
            wanted: 1,
            ..State::default()
        };
        Self {
            stream,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time(&self, until: Option<Instant>) -> Option<Duration> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        self.stream
            .keeps_time()
            .then(|| left.map_or(STEP, |left| left.clamp(MOMENT, STEP)))
    }

    /// Makes one call of the stream's after the other until it has come to something; `false`: out of time.
    fn repeat(
        &self,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
        mut call: impl FnMut(Option<Duration>) -> Option<Result<(), Fault>>,
    ) -> Result<bool, Error> {
        while let Some(outcome) = call(self.time(until)) {
            match outcome {
                Ok(()) => {}
                Err(Fault::WouldBlock) if has_passed(until) => return Ok(false),
                Err(Fault::WouldBlock) => {}
                Err(fault) => return Err(fault.into()),
            }
            if interrupt.should_stop() {
                return Err(Error::Interrupted);
            }
        }
        Ok(true)
    }

    fn receive(
        &self,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<bool, Error> {
        self.repeat(until, interrupt, |time| {
            let state = self.state();
            if state.arrived.is_some() || state.receive_fault.is_some() || state.closed {
                return None;
            }
            let wanted = state.wanted;
            drop(state);
            let received = self.stream.recv(wanted, time);
            let mut state = self.state();
            match received {
                Ok(data) => state.arrived = Some(data),
                Err(fault @ (Fault::WouldBlock | Fault::Interrupted)) => return Some(Err(fault)),
                Err(fault) => state.receive_fault = Some(fault),
            }
            Some(Ok(()))
        })
    }

    fn send(&self, until: Option<Instant>, interrupt: &mut dyn Interrupt) -> Result<bool, Error> {
        self.repeat(until, interrupt, |time| {
            let state = self.state();
            if state.offered.is_empty()
                || state.taken > 0
                || state.send_fault.is_some()
                || state.closed
            {
                return None;
            }
            let offered = Arc::clone(&state.offered);
            drop(state);
            let sent = self.stream.send(&offered, time);
            let mut state = self.state();
            match sent {
                Ok(count) => state.taken = count.min(offered.len()),
                Err(fault @ (Fault::WouldBlock | Fault::Interrupted)) => return Some(Err(fault)),
                Err(fault) => state.send_fault = Some(fault),
            }
            Some(Ok(()))
        })
    }
}

fn has_passed(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

fn within_turn(until: Option<Instant>) -> Option<Instant> {
    let turn = Instant::now() + TURN;
    Some(until.map_or(turn, |until| until.min(turn)))
}

impl<S: Blocking> Transport for BlockingTransport<S> {
    fn try_recv(&self, into: &mut [u8]) -> Result<usize, Fault> {
        let mut state = self.state();
        state.wanted = into.len();
        let Some(mut data) = state.arrived.take() else {
            return Err(state.receive_fault.clone().unwrap_or(Fault::WouldBlock));
        };
        let count = data.len().min(into.len());
        into[..count].copy_from_slice(&data[..count]);
        if count < data.len() {
            data.drain(..count);
            state.arrived = Some(data);
        }
        Ok(count)
    }

    fn try_send(&self, from: &[u8]) -> Result<usize, Fault> {
        let mut state = self.state();
        if state.taken > 0 {
            state.offered = Arc::default();
            return Ok(std::mem::take(&mut state.taken));
        }
        if let Some(fault) = &state.send_fault {
            return Err(fault.clone());
        }
        if state.offered.is_empty() {
            state.offered = from[..from.len().min(PIECE)].into();
        }
        Err(Fault::WouldBlock)
    }

    fn peek(&self) -> Result<usize, Fault> {
        match &self.state().arrived {
            Some(data) => return Ok(data.len()),
            None => match self.stream.pending() {
                0 => {}
                count => return Ok(count),
            },
        }
        Err(Fault::WouldBlock)
    }

    fn wait(
        &self,
        interest: Interest,
        _bell: Option<&Bell>,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<bool, Error> {
        if std::mem::take(&mut self.state().ends_sending) {
            self.stream.shutdown(Shutdown::Write);
        }
        if interest.is_none() {
            if let Some(until) = until {
                thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            return Ok(false);
        }
        if !interest.read {
            return self.send(until, interrupt);
        }
        if !interest.write || self.state().offered.is_empty() {
            return self.receive(until, interrupt);
        }
        // The answer may depend on what is to be sent.
        if !self.stream.keeps_time() {
            return self.send(until, interrupt);
        }
        // One after the other, as one thread cannot wait for both.
        Ok(self.send(within_turn(until), interrupt)?
            || self.receive(within_turn(until), interrupt)?
            || !has_passed(until))
    }

    fn shutdown(&self, how: Shutdown) -> bool {
        if how == Shutdown::Write {
            self.state().ends_sending = true;
        } else {
            self.stream.shutdown(how);
        }
        false
    }

    fn close(&self, waited_for: bool) -> Result<(), Fault> {
        // Only its end may wake those who are inside.
        if std::mem::replace(&mut self.state().closed, true) {
            return Ok(());
        }
        if waited_for {
            self.stream.shutdown(Shutdown::Both);
        }
        self.stream.close()
    }

    fn unread(&self) -> Vec<u8> {
        self.state().arrived.clone().unwrap_or_default()
    }

    fn keeps_time(&self) -> bool {
        self.stream.keeps_time()
    }

    fn is_selectable(&self) -> bool {
        false
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
