//! A byte stream of Python's under a connection: what `polytls.streams.carrier` says of it, as a
//! [`Transport`] of the socket driver.
//!
//! - A stream that does not wait is called under the connection's lock ([`Selectable`]): the order is the
//!   lock, then the GIL. If its code uses the very connection that it carries, it gets an error.
//! - One whose calls wait is called in the driver's wait, without a lock ([`Waiting`]).
//! - An OSError of the stream is a fault of the transport: later calls raise a copy of it. Any other exception is raised by the call under way as it is, and once.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};
use std::{any, fmt};

use polytls_core::Cause;
use polytls_io::number::Number;
use polytls_io::{Address as Place, Bell, Blocking, Error, Fault, Interest, Interrupt, Transport};
use pyo3::PyTraverseError;
use pyo3::exceptions::{
    PyBaseException, PyBlockingIOError, PyBrokenPipeError, PyOSError, PyTimeoutError,
};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::addresses::place;
use crate::callbacks;
use crate::calls::{self, CallsOut as _, import};
use crate::descriptors;
use crate::errors::{WantReadError, WantWriteError};
use crate::foreign::Raised;

/// Given to a stream at a time.
const PIECE: usize = 64 * 1024;
/// How long a wait for a stream takes that nobody can wake.
const STEP: Duration = Duration::from_secs(1);

/// An object of the class `polytls.streams.carrier.Carrier`.
pub(crate) struct Carrier {
    object: Py<PyAny>,
    /// What can be polled in both directions; -1 if nothing can.
    descriptor: Number,
    keeps_time: bool,
    /// Whether the system ends receiving for whoever waits to receive.
    wakes_readers: bool,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier")
            .field("descriptor", &self.descriptor)
            .field("keeps_time", &self.keeps_time)
            .finish_non_exhaustive()
    }
}

impl Carrier {
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        Ok(Arc::new(Self {
            descriptor: object.attribute("descriptor")?.extract()?,
            keeps_time: object.attribute("keeps_time")?.extract()?,
            wakes_readers: object.attribute("wakes_readers")?.extract()?,
            object: object.clone().unbind(),
        }))
    }

    pub(crate) const fn descriptor(&self) -> Number {
        self.descriptor
    }

    pub(crate) fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)
    }

    /// The peer's address and the protocol's number, to be told again.
    pub(crate) fn known(&self, py: Python<'_>) -> PyResult<(Place, u32)> {
        let (host, port, family, protocol): (Option<String>, u16, u16, u32) =
            self.object.bind(py).attribute("known")?.extract()?;
        Ok((place(host.as_deref(), port, family), protocol))
    }

    pub(crate) fn transport(self: &Arc<Self>) -> Arc<dyn Transport> {
        if self.descriptor < 0 {
            Arc::new(polytls_io::BlockingTransport::new(Waiting {
                carrier: Arc::clone(self),
                closed: AtomicBool::new(false),
            }))
        } else {
            Arc::new(Selectable {
                carrier: Arc::clone(self),
                crossed: AtomicU8::new(0),
                torn: AtomicBool::new(false),
            })
        }
    }

    /// Calls the stream, on whatever thread.
    fn call<R>(&self, call: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<R>) -> Result<R, Refusal> {
        // TLS below has calls of its own.
        let called = calls::attached(|py| {
            callbacks::apart(|| call(self.object.bind(py)))
                .map_err(|raised| Refusal::new(py, &raised))
        });
        called.unwrap_or(Err(Refusal::Other))
    }

    fn end(&self, how: Shutdown) -> bool {
        let how: i32 = match how {
            Shutdown::Read => 0,
            Shutdown::Write => 1,
            Shutdown::Both => 2,
        };
        // It is `shutdown` of the stream, which must not fail for that; what else goes wrong is told.
        self.call(|carrier| carrier.method_out("end", (how,))?.extract())
            .unwrap_or(false)
    }

    fn close(&self, waited_for: bool) -> Result<(), Fault> {
        self.call(|carrier| carrier.method_out("close", (waited_for,)).map(drop))
            .map_err(Refusal::fault)
    }

    fn send(&self, bytes: &[u8]) -> Result<usize, Refusal> {
        self.call(|carrier| {
            let piece = PyBytes::new(carrier.py(), &bytes[..bytes.len().min(PIECE)]);
            let count: usize = carrier.method_out("send", (piece,))?.extract()?;
            // A channel that was closed says so.
            if count == 0 {
                let message = import(carrier.py(), "os")?.method_out("strerror", (EPIPE,))?;
                return Err(PyBrokenPipeError::new_err((EPIPE, message.unbind())));
            }
            Ok(count.min(bytes.len()))
        })
    }

    /// What one call receives.
    fn recv<R>(&self, most: usize, take: impl FnOnce(&[u8]) -> R) -> Result<R, Refusal> {
        self.call(|carrier| {
            let data = carrier.method_out("recv", (most,))?;
            let bytes: Bound<'_, PyBytes> = match data.cast_into() {
                Ok(bytes) => bytes,
                Err(other) => PyBytes::new(carrier.py(), &other.into_inner().extract::<Vec<u8>>()?),
            };
            Ok(take(bytes.as_bytes()))
        })
    }
}

/// The number of Linux, macOS and Windows alike.
const EPIPE: i32 = 32;

/// What a stream has raised.
enum Refusal {
    /// It would have to wait, until it can be read or written, as it says, or as was asked for.
    WouldBlock(Option<Interest>),
    /// It waited as long as it was told to.
    TimedOut(Fault),
    Fault(Fault),
    /// No fault of a transport; the call under way raises it.
    Other,
}

impl Refusal {
    fn new(py: Python<'_>, raised: &PyErr) -> Self {
        let value = raised.value(py);
        // WantReadError and WantWriteError are classes below it, and say more.
        if value.is_exact_instance_of::<PyBlockingIOError>() {
            return Self::WouldBlock(None);
        }
        match wanted(value) {
            Ok(None) if value.is_instance_of::<PyBlockingIOError>() => {
                return Self::WouldBlock(None);
            }
            Ok(None) => {}
            Ok(wanted) => return Self::WouldBlock(wanted),
            Err(failed) => {
                drop(callbacks::interrupted(failed.value(py)));
                return Self::Other;
            }
        }
        if !value.is_instance_of::<PyOSError>() {
            drop(callbacks::interrupted(value));
            return Self::Other;
        }
        // It would hold the frames of this call, and with them the connection.
        raised.set_traceback(py, None);
        let fault = Fault::Foreign {
            cause: Cause(Raised::lasting(value)),
            broken_pipe: value.is_instance_of::<PyBrokenPipeError>(),
        };
        if value.is_instance_of::<PyTimeoutError>() {
            Self::TimedOut(fault)
        } else {
            Self::Fault(fault)
        }
    }

    fn fault(self) -> Fault {
        match self {
            Self::WouldBlock(_) => Fault::WouldBlock,
            Self::TimedOut(fault) | Self::Fault(fault) => fault,
            Self::Other => Fault::Interrupted,
        }
    }
}

/// What TLS below this one says that it waits for.
fn wanted(value: &Bound<'_, PyBaseException>) -> PyResult<Option<Interest>> {
    let py = value.py();
    let is = |class: &Bound<'_, PyAny>| value.is_instance(class);
    if is(WantReadError.get(py)?)? {
        return Ok(Some(Interest::READ));
    }
    if is(WantWriteError.get(py)?)? {
        return Ok(Some(Interest::WRITE));
    }
    let modules = import(py, "sys")?
        .attribute("modules")?
        .cast_into::<PyDict>()?;
    let Some(ssl) = modules.get_item("ssl")? else {
        return Ok(None);
    };
    if is(&ssl.attribute("SSLWantReadError")?)? {
        return Ok(Some(Interest::READ));
    }
    if is(&ssl.attribute("SSLWantWriteError")?)? {
        return Ok(Some(Interest::WRITE));
    }
    Ok(None)
}

/// A stream with a descriptor, whose calls do not wait.
#[derive(Debug)]
struct Selectable {
    carrier: Arc<Carrier>,
    /// What the last refused call of each direction waits for, where that is not its own: TLS below.
    crossed: AtomicU8,
    /// Something was interrupted that may have taken or given data.
    torn: AtomicBool,
}

/// Receiving waits until something can be sent.
const READ_WANTS_WRITE: u8 = 1;
/// Sending waits until something can be received.
const WRITE_WANTS_READ: u8 = 2;

impl Selectable {
    fn run<R>(
        &self,
        direction: u8,
        call: impl FnOnce(&Carrier) -> Result<R, Refusal>,
    ) -> Result<R, Fault> {
        if self.torn.load(Ordering::Relaxed) {
            let torn = PyOSError::new_err(
                "the underlying stream was interrupted during a call: data may be missing",
            );
            return Err(
                calls::attached(|py| Refusal::new(py, &torn).fault()).unwrap_or(Fault::Interrupted)
            );
        }
        call(&self.carrier).map_err(|raised| {
            match &raised {
                Refusal::WouldBlock(wanted) => {
                    let own = if direction == READ_WANTS_WRITE {
                        Interest::READ
                    } else {
                        Interest::WRITE
                    };
                    if wanted.is_none_or(|wanted| wanted == own) {
                        self.crossed.fetch_and(!direction, Ordering::Relaxed);
                    } else {
                        self.crossed.fetch_or(direction, Ordering::Relaxed);
                    }
                }
                Refusal::Other => self.torn.store(true, Ordering::Relaxed),
                Refusal::TimedOut(_) | Refusal::Fault(_) => {}
            }
            raised.fault()
        })
    }

    fn count(&self, method: &str) -> usize {
        self.carrier
            .call(|carrier| carrier.method_out(method, ())?.extract())
            .unwrap_or(0)
    }
}

impl Transport for Selectable {
    fn try_recv(&self, into: &mut [u8]) -> Result<usize, Fault> {
        self.run(READ_WANTS_WRITE, |carrier| {
            carrier.recv(into.len(), |data| {
                let count = data.len().min(into.len());
                into[..count].copy_from_slice(&data[..count]);
                count
            })
        })
    }

    fn try_send(&self, from: &[u8]) -> Result<usize, Fault> {
        self.run(WRITE_WANTS_READ, |carrier| carrier.send(from))
    }

    fn peek(&self) -> Result<usize, Fault> {
        // It is of no use to anybody afterwards: the connection ends with what is found.
        self.run(READ_WANTS_WRITE, |carrier| carrier.recv(1, <[u8]>::len))
    }

    fn wait(
        &self,
        interest: Interest,
        bell: Option<&Bell>,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<bool, Error> {
        let crossed = self.crossed.load(Ordering::Relaxed);
        let read_crosses = crossed & READ_WANTS_WRITE != 0;
        let write_crosses = crossed & WRITE_WANTS_READ != 0;
        let interest = Interest {
            read: (interest.read && !read_crosses) || (interest.write && write_crosses),
            write: (interest.write && !write_crosses) || (interest.read && read_crosses),
        };
        let step = Instant::now() + STEP;
        let limit = if self.carrier.wakes_readers {
            until
        } else {
            Some(until.map_or(step, |until| until.min(step)))
        };
        let ready = descriptors::wait(self.carrier.descriptor, interest, bell, limit, interrupt)?;
        Ok(ready || until.is_none_or(|until| Instant::now() < until))
    }

    fn shutdown(&self, how: Shutdown) -> bool {
        self.carrier.end(how)
    }

    fn close(&self, waited_for: bool) -> Result<(), Fault> {
        self.carrier.close(waited_for)
    }

    fn has_room(&self) -> bool {
        descriptors::is_writable(self.carrier.descriptor) && self.unsent() == 0
    }

    fn unsent(&self) -> usize {
        self.count("unsent")
    }

    fn flush(&self) -> Result<(), Fault> {
        self.run(WRITE_WANTS_READ, |carrier| {
            carrier.call(|carrier| carrier.method_out("flush", ()).map(drop))
        })
    }

    fn unacknowledged(&self, after_fin: bool) -> Option<u64> {
        let below = descriptors::unacknowledged(self.carrier.descriptor, after_fin)?;
        Some(below.saturating_add(self.unsent() as u64))
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn any::Any + Send + Sync> {
        self
    }
}

/// A stream whose calls wait as they please, or for as long as `settimeout` lets them.
#[derive(Debug)]
struct Waiting {
    carrier: Arc<Carrier>,
    closed: AtomicBool,
}

impl Waiting {
    fn run<R>(
        &self,
        time: Option<Duration>,
        call: impl FnOnce(&Carrier) -> Result<R, Refusal>,
    ) -> Result<R, Fault> {
        let set = time.map_or(Ok(()), |time| {
            self.carrier.call(|carrier| {
                carrier
                    .method_out("settimeout", (time.as_secs_f64(),))
                    .map(drop)
            })
        });
        let done = set.and_then(|()| call(&self.carrier));
        done.map_err(|raised| match raised {
            // Its end has woken it.
            Refusal::Other if self.closed.load(Ordering::Acquire) => {
                drop(callbacks::take_interrupted());
                Fault::WouldBlock
            }
            Refusal::TimedOut(_) | Refusal::WouldBlock(_) if time.is_some() => Fault::WouldBlock,
            Refusal::WouldBlock(_) => {
                calls::attached(|py| Refusal::Fault(would_not_wait(py)).fault())
                    .unwrap_or(Fault::Interrupted)
            }
            raised => raised.fault(),
        })
    }
}

/// What comes of a stream that is said to wait, and does not.
fn would_not_wait(py: Python<'_>) -> Fault {
    let raised = PyBlockingIOError::new_err(
        "the underlying stream would block, and has neither settimeout nor a socket descriptor",
    );
    Fault::Foreign {
        cause: Cause(Raised::lasting(raised.value(py))),
        broken_pipe: false,
    }
}

impl Blocking for Waiting {
    fn recv(&self, most: usize, time: Option<Duration>) -> Result<Vec<u8>, Fault> {
        self.run(time, |carrier| carrier.recv(most, <[u8]>::to_vec))
    }

    fn send(&self, bytes: &[u8], time: Option<Duration>) -> Result<usize, Fault> {
        self.run(time, |carrier| carrier.send(bytes))
    }

    fn pending(&self) -> usize {
        self.carrier
            .call(|carrier| carrier.method_out("pending", ())?.extract())
            .unwrap_or(0)
    }

    fn keeps_time(&self) -> bool {
        self.carrier.keeps_time
    }

    fn shutdown(&self, how: Shutdown) {
        self.carrier.end(how);
    }

    fn close(&self) -> Result<(), Fault> {
        self.closed.store(true, Ordering::Release);
        self.carrier.close(false)
    }
}
