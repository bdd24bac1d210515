//! What is below a connection: a pair of `ssl.MemoryBIO`, or a socket that stays its owner's.

use std::time::{Duration, Instant};

use polytls_io::number::{BorrowedFd, Number};
use polytls_io::{Error, Interest, lent};
use pyo3::exceptions::PyTimeoutError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyWeakrefReference};

use super::faults::{self, Fault, Number as Reason};
use crate::calls::CallsOut as _;
use crate::descriptors;
use crate::imported::Imported;
use crate::waiting::{Signals, outcome};

static SOCKET: Imported = Imported::new("_socket", "socket");

pub(super) enum Wire {
    Memory {
        incoming: Py<PyAny>,
        outgoing: Py<PyAny>,
    },
    Socket(Py<PyWeakrefReference>),
}

/// How long a call may take.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    Endless,
    None,
    Until(Instant),
}

/// The socket as one call finds it.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) descriptor: Number,
    pub(super) patience: Patience,
}

impl Wire {
    /// The socket, its timeout begun; None for memory.
    ///
    /// Raises SSLError if it is gone.
    pub(super) fn line(&self, py: Python<'_>) -> PyResult<Option<Line>> {
        let Self::Socket(weak) = self else {
            return Ok(None);
        };
        let socket = weak.bind(py).upgrade().ok_or_else(|| gone(py))?;
        // The C class's own methods: eventlet's sockets have others of these names, which tell how long a
        // greenlet waits, and not how long the descriptor does.
        let class = SOCKET.get(py)?;
        let fileno = class.plain_method(intern!(py, "fileno"), Some(&socket))?;
        let descriptor: Number = fileno.extract()?;
        if descriptor < 0 {
            return Err(gone(py));
        }
        let timeout = class.plain_method(intern!(py, "gettimeout"), Some(&socket))?;
        let timeout: Option<f64> = timeout.extract()?;
        let patience = match timeout {
            None => Patience::Endless,
            Some(seconds) if seconds <= 0.0 => Patience::None,
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .ok()
                .and_then(|duration| Instant::now().checked_add(duration))
                .map_or(Patience::Endless, Patience::Until),
        };
        Ok(Some(Line {
            descriptor,
            patience,
        }))
    }

    /// The socket, for `shutdown` to return; None for memory.
    pub(super) fn socket<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Self::Memory { .. } => Ok(None),
            Self::Socket(weak) => weak.bind(py).upgrade().map(Some).ok_or_else(|| gone(py)),
        }
    }

    /// Of what has come into memory as many bytes as `most` says, which is told how many there are; None: nothing
    /// yet. Empty: the end.
    pub(super) fn memory<'py>(
        &self,
        py: Python<'py>,
        most: impl FnOnce(usize) -> usize,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let Self::Memory { incoming, .. } = self else {
            return Ok(None);
        };
        let incoming = incoming.bind(py);
        let waiting: usize = incoming
            .plain_attribute(intern!(py, "pending"))?
            .extract()?;
        if waiting == 0 {
            let ended = incoming.plain_attribute(intern!(py, "eof"))?.is_truthy()?;
            return Ok(ended.then(|| PyBytes::new(py, b"")));
        }
        let most = most(waiting).into_pyobject(py)?;
        let found = incoming.plain_method(intern!(py, "read"), Some(&most))?;
        Ok(Some(found.cast_into()?))
    }

    /// Whether what is put back into memory can be read again: not behind its end.
    pub(super) fn takes_back(&self, py: Python<'_>) -> PyResult<bool> {
        match self {
            Self::Memory { incoming, .. } => {
                let ended = incoming.bind(py).plain_attribute(intern!(py, "eof"))?;
                Ok(!ended.is_truthy()?)
            }
            Self::Socket(_) => Ok(false),
        }
    }

    pub(super) const fn line_is_memory(&self) -> bool {
        matches!(self, Self::Memory { .. })
    }

    /// Puts what was taken too much back into memory, which is empty.
    pub(super) fn put_back(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        if let Self::Memory { incoming, .. } = self {
            let data = PyBytes::new(py, data);
            incoming
                .bind(py)
                .plain_method(intern!(py, "write"), Some(&data))?;
        }
        Ok(())
    }

    pub(super) fn write(&self, py: Python<'_>, data: Bound<'_, PyBytes>) -> PyResult<()> {
        if let Self::Memory { outgoing, .. } = self {
            outgoing
                .bind(py)
                .plain_method(intern!(py, "write"), Some(&data))?;
        }
        Ok(())
    }
}

fn gone(py: Python<'_>) -> PyErr {
    Fault::new(Reason::NoSocket, None, "Underlying socket connection gone").exception(py)
}

/// What a call is about, for its timeout.
#[derive(Clone, Copy)]
pub(super) enum Doing {
    Handshake,
    Read,
    Write,
}

impl Line {
    /// Runs `call` on the descriptor.
    pub(super) fn at_once<R>(self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        descriptors::with_borrowed(self.descriptor, call)
    }

    /// Receives into `memory`, waiting for it in the call of the system if the descriptor is one that waits, and has
    /// `taken` what came, detached. `false`: it is not, and nothing has come.
    ///
    /// Raises OSError, and what a signal's handler raises.
    pub(super) fn receive_waiting(
        self,
        py: Python<'_>,
        memory: &mut [u8],
        taken: impl FnOnce(&[u8]) + Send,
    ) -> PyResult<bool> {
        let mut signals = Signals::new(py)?;
        let received = py.detach(|| {
            let received =
                self.at_once(|descriptor| lent::receive_waiting(descriptor, memory, &mut signals))?;
            if let Some(count) = received {
                taken(&memory[..count]);
            }
            Ok(received.is_some())
        });
        outcome(py, "ssl", received, signals)
    }

    /// Runs `call` on the descriptor, detached, until it gives something.
    ///
    /// Raises SSLWantReadError, SSLWantWriteError, TimeoutError, OSError, and what a signal's handler raises.
    pub(super) fn run<R: Send>(
        self,
        py: Python<'_>,
        doing: Doing,
        to_send: bool,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<Option<R>, Error> + Send,
    ) -> PyResult<R> {
        let first = py.detach(|| descriptors::with_borrowed(self.descriptor, &mut call));
        let ran = match first {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let mut signals = Signals::new(py)?;
        if let Some(error) = ran {
            return outcome(py, "ssl", Err(error), signals);
        }
        let until = match self.patience {
            Patience::None if to_send => return Err(faults::want_write(py)),
            Patience::None => return Err(faults::want_read(py)),
            Patience::Endless => None,
            Patience::Until(instant) => Some(instant),
        };
        let interest = if to_send {
            Interest::WRITE
        } else {
            Interest::READ
        };
        let done = py.detach(|| {
            descriptors::with_borrowed(self.descriptor, |descriptor| {
                while polytls_io::wait_for(descriptor, interest, None, until, &mut signals)? {
                    if let Some(done) = call(descriptor)? {
                        return Ok(Some(done));
                    }
                }
                Ok(None)
            })
        });
        match outcome(py, "ssl", done, signals)? {
            Some(done) => Ok(done),
            None => Err(PyTimeoutError::new_err(match doing {
                Doing::Handshake => "_ssl.c: The handshake operation timed out",
                Doing::Read => "The read operation timed out",
                Doing::Write => "The write operation timed out",
            })),
        }
    }
}
