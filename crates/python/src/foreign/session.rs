//! One connection on somebody else's `TLSBuffer`.
//!
//! What was written is sealed exactly once, even where a call is cut short: the buffer gets no more than one
//! record at a time, and has nothing else to send then, so whether it has sealed that shows in what it has
//! to send.

use std::any::Any;
use std::sync::Arc;

use polytls_core::config::Version;
use polytls_core::{
    Alert, Connection, Error, Facts, Inbound, MAX_FRAGMENT, Outbound, Progress, Role, Session, Sink,
};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::engine::NAME;
use super::object::{ForeignBuffer, Trouble};
use super::raised::Raised;
use crate::buffer::Buffer;
use crate::bytes::{SharedBytes, WHOLE_FROM};
use crate::callbacks::{self, ENDING};
use crate::calls::CallsOut as _;
use crate::errors::is_misuse;
use crate::imported::Imported;

static VERSIONS: Imported = Imported::new("polytls.constants", "TLSVersion");

/// How often a call of ours asks again where something that is no `Exception` was raised.
const PATIENCE: u8 = 16;

/// Header, content type and the shortest tag there is (CCM_8).
const LEAST_OVERHEAD: usize = 5 + 1 + 8;

/// See the module.
pub(crate) struct ForeignSession {
    buffer: Arc<ForeignBuffer>,
    /// Whether it carries early data, as far as it tells.
    has_early_data: bool,
    is_server: bool,
    /// There once the handshake is done.
    version: Option<Version>,
    /// What came of the records that are shown next: a call that was cut short has taken them already.
    taken: Option<Progress>,
    /// Plaintext that was taken over and could not be sealed yet.
    unsealed: Vec<u8>,
    /// How much it was shown, and how much plaintext it has given.
    shown: u64,
    given: u64,
}

/// A connection in memory over anybody's `TLSBuffer`, which is at its beginning; one of ours is returned as it
/// is.
///
/// The connection keeps the rules for all implementations: limits, errors that are told again, close in each
/// direction, the end of the transport. It is the buffer's only caller from now on.
#[pyfunction]
pub(crate) fn connection_of<'py>(buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = buffer.py();
    if Buffer::is_one(buffer) {
        return Ok(buffer.clone());
    }
    let foreign = Arc::new(ForeignBuffer::new(buffer)?);
    let session = ForeignSession::new(py, Arc::clone(&foreign))?;
    let connection = Connection::new(Box::new(session), foreign.role(py)?);
    let context = foreign.context(py)?.unbind();
    Buffer::new(connection, context, NAME).object(py, foreign.is_extended(py)?)
}

impl ForeignSession {
    pub(crate) fn new(py: Python<'_>, buffer: Arc<ForeignBuffer>) -> PyResult<Self> {
        let is_server = buffer.role(py)? == Role::Server;
        // It raises ConfigurationError where early data was not asked for.
        let has_early_data = if is_server {
            match buffer.ask(py, "read_early_data", (0,)) {
                Ok(_) => true,
                Err(error) if error.is_instance_of::<PyException>(py) => false,
                Err(error) => return Err(error),
            }
        } else {
            buffer.has(py, "write_early_data")?
        };
        Ok(Self {
            buffer,
            has_early_data,
            is_server,
            version: None,
            taken: None,
            unsealed: Vec::new(),
            shown: 0,
            given: 0,
        })
    }

    /// Makes calls of the buffer, attached. Whatever they come to, what it has to send goes out. What has
    /// cut one of them short is raised by the caller's call.
    fn with<R>(
        &mut self,
        out: &mut Outbound,
        go: impl FnOnce(&mut Calls<'_, '_>) -> Result<R, Trouble>,
    ) -> Result<R, Error> {
        let called = callbacks::attached(|py| {
            callbacks::apart(|| {
                let mut calls = Calls {
                    py,
                    session: self,
                    out,
                    cut_short: None,
                    patience: PATIENCE,
                };
                let result = go(&mut calls);
                let result = result.map_err(|trouble| calls.error(trouble));
                if let Some(error) = calls.cut_short {
                    drop(callbacks::cause(py, error.value(py)));
                }
                result
            })
        });
        called.ok_or_else(|| Error::Internal(ENDING.to_owned()))?
    }

    /// Goes on with the handshake. What cuts it short is raised by the caller's call, whatever comes of it.
    fn handshake(
        &mut self,
        record: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        self.with(out, |calls| {
            if !record.is_empty() {
                calls.show(record)?;
            }
            let done = calls.handshake()?;
            let answerable = calls.read_early(plaintext)?;
            if done {
                calls.session.version = Some(calls.version()?);
            }
            Ok(Progress {
                consumed: record.len(),
                answerable,
                ..Progress::default()
            })
        })
    }

    /// Takes the plaintext of a record. What cuts that short ends the caller's read, and not the connection:
    /// the plaintext is for the next one.
    fn open(
        &mut self,
        record: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        if let Some(taken) = self.taken.take() {
            return Ok(taken);
        }
        // The handshake, in the same call of the caller's.
        let is_over = callbacks::is_interrupted();
        let mut cut_short = None;
        let progress = self.with(out, |calls| {
            calls.show(record)?;
            let mut pieces = Vec::new();
            let read = calls.read(&mut pieces);
            cut_short = calls.cut_short_here();
            for piece in pieces {
                if is_over || cut_short.is_some() {
                    plaintext.put_later(piece.as_bytes());
                } else {
                    plaintext.put(piece.as_bytes());
                }
            }
            let peer_closed = read?;
            calls.seal_rest()?;
            Ok(Progress {
                consumed: record.len(),
                peer_closed,
                answerable: false,
            })
        })?;
        if let Some(raised) = cut_short {
            self.taken = Some(progress);
            return Err(raised.error(false));
        }
        Ok(progress)
    }
}

/// Calls of the buffer that belong together.
struct Calls<'a, 'py> {
    py: Python<'py>,
    session: &'a mut ForeignSession,
    out: &'a mut Outbound,
    /// What has cut one of them short.
    cut_short: Option<PyErr>,
    patience: u8,
}

impl<'py> Calls<'_, 'py> {
    fn buffer(&self) -> Arc<ForeignBuffer> {
        Arc::clone(&self.session.buffer)
    }

    /// A call that can be made again if it was cut short.
    fn again<R>(
        &mut self,
        call: impl Fn(&ForeignBuffer, Python<'py>) -> Result<R, Trouble>,
    ) -> Result<R, Trouble> {
        let buffer = self.buffer();
        loop {
            match call(&buffer, self.py) {
                Err(Trouble::Interrupted(error)) => self.interrupted(error)?,
                done => return done,
            }
        }
    }

    /// Whether the buffer may be asked again.
    fn interrupted(&mut self, error: PyErr) -> Result<(), Trouble> {
        if self.patience == 0 {
            return Err(Trouble::Interrupted(error));
        }
        self.patience -= 1;
        self.cut_short.get_or_insert(error);
        Ok(())
    }

    /// What has cut the calls short, where their caller is told so at once. A thread of a listener has no
    /// caller.
    fn cut_short_here(&mut self) -> Option<Arc<Raised>> {
        let error = self.cut_short.take_if(|_| !polytls_io::is_worker())?;
        Some(Raised::once(error.value(self.py)))
    }

    fn error(&mut self, trouble: Trouble) -> Error {
        if !matches!(trouble, Trouble::WantRead) {
            // An alert, perhaps.
            drop(self.drain());
        }
        let py = self.py;
        match trouble {
            Trouble::WantRead => Error::WantRead,
            Trouble::WantWrite => Error::WantWrite,
            Trouble::Raised(error) => self.session.buffer.failed(error.value(py)).error(true),
            Trouble::Interrupted(error) => {
                Error::CutShort(Some(callbacks::cause(py, error.value(py))))
            }
            Trouble::Broken(what) => Error::Internal(what),
        }
    }

    // --- ciphertext ---

    fn show(&mut self, record: &[u8]) -> Result<(), Trouble> {
        const METHOD: &str = "process_incoming";
        let (py, buffer) = (self.py, self.buffer());
        let waiting = |buffer: &ForeignBuffer, py| {
            buffer.count(py, "incoming_bytes_buffered", (), usize::MAX)
        };
        let before = if self.session.version.is_none() {
            self.again(waiting)?
        } else {
            0
        };
        self.session.shown += record.len() as u64;
        let record = PyBytes::new(py, record);
        loop {
            match buffer.call(py, METHOD, (&record,)) {
                Ok(_) => return Ok(()),
                Err(Trouble::Interrupted(error)) => {
                    self.interrupted(error)?;
                    if self.again(waiting)? > before {
                        return Ok(());
                    }
                }
                Err(Trouble::WantRead | Trouble::WantWrite) => {
                    let what = format!(
                        "accepts no record with {before} bytes buffered; the limit must be at \
                         least 64 KiB"
                    );
                    return Err(buffer.broken(METHOD, &what));
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Takes all that has to be sent; whether there was anything.
    fn drain(&mut self) -> Result<bool, Trouble> {
        const METHOD: &str = "process_outgoing";
        let (py, buffer) = (self.py, self.buffer());
        let waiting = |buffer: &ForeignBuffer, py| {
            buffer.count(py, "outgoing_bytes_buffered", (), usize::MAX)
        };
        let mut any = false;
        loop {
            let length = self.again(waiting)?;
            if length == 0 {
                return Ok(any);
            }
            match buffer.bytes(py, METHOD, length) {
                Ok(bytes) => {
                    let taken = bytes.as_bytes().len();
                    if taken == 0 {
                        let what = format!("returned nothing, though {length} bytes are waiting");
                        return Err(buffer.broken(METHOD, &what));
                    }
                    self.pass_on(&bytes);
                    any = true;
                    if taken == length {
                        return Ok(true);
                    }
                }
                Err(Trouble::Interrupted(error)) => {
                    // What it gave is lost, and the peer would miss it.
                    if self.again(waiting)? < length {
                        return Err(Trouble::Interrupted(error));
                    }
                    self.interrupted(error)?;
                }
                Err(Trouble::WantRead | Trouble::WantWrite) => {
                    return Err(buffer.broken(METHOD, "raised WantReadError or WantWriteError"));
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    fn pass_on(&mut self, bytes: &Bound<'py, PyBytes>) {
        if bytes.is_exact_instance_of::<PyBytes>() && bytes.as_bytes().len() >= WHOLE_FROM {
            self.out.give(Box::new(SharedBytes::of(bytes)));
        } else {
            self.out.extend(bytes.as_bytes());
        }
    }

    /// Goes on after a call that wants to write.
    fn make_way(&mut self, method: &str) -> Result<(), Trouble> {
        if self.drain()? {
            return Ok(());
        }
        let buffer = self.buffer();
        Err(buffer.broken(method, "raised WantWriteError with nothing to send"))
    }

    // --- the handshake ---

    /// Whether it is done.
    fn handshake(&mut self) -> Result<bool, Trouble> {
        const METHOD: &str = "do_handshake";
        loop {
            match self.again(|buffer, py| buffer.call(py, METHOD, ())) {
                Ok(_) => return self.drain().map(|_| true),
                Err(Trouble::WantRead) => return self.drain().map(|_| false),
                Err(Trouble::WantWrite) => self.make_way(METHOD)?,
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// The version that was agreed on: what the connection has to know.
    fn version(&mut self) -> Result<Version, Trouble> {
        const NAME: &str = "negotiated_tls_version";
        let py = self.py;
        let found = self.again(|buffer, py| buffer.told(py, NAME))?;
        for (name, version) in [("TLSv1_3", Version::Tls13), ("TLSv1_2", Version::Tls12)] {
            let class = VERSIONS.get(py).map_err(Trouble::Raised)?;
            if found.is(&class.attribute(name).map_err(Trouble::Raised)?) {
                return Ok(version);
            }
        }
        let buffer = self.buffer();
        Err(buffer.broken(
            "do_handshake",
            "returned, but negotiated_tls_version is neither TLSv1_2 nor TLSv1_3",
        ))
    }

    // --- plaintext ---

    /// Takes all there is. `true`: the peer's close_notify has come.
    fn read(&mut self, plaintext: &mut Vec<Bound<'py, PyBytes>>) -> Result<bool, Trouble> {
        const METHOD: &str = "read";
        loop {
            match self.again(|buffer, py| buffer.bytes(py, METHOD, MAX_FRAGMENT)) {
                Ok(bytes) if bytes.as_bytes().is_empty() => {
                    self.drain()?;
                    return Ok(true);
                }
                Ok(bytes) => {
                    self.count(METHOD, bytes.as_bytes().len())?;
                    plaintext.push(bytes);
                }
                Err(Trouble::WantRead) => {
                    self.drain()?;
                    return Ok(false);
                }
                Err(Trouble::WantWrite) => self.make_way(METHOD)?,
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Takes all early data there is of a client's. `true`: there was some.
    fn read_early(&mut self, plaintext: &mut Sink<'_>) -> Result<bool, Trouble> {
        const METHOD: &str = "read_early_data";
        let mut any = false;
        if !self.session.is_server || !self.session.has_early_data {
            return Ok(any);
        }
        loop {
            match self.again(|buffer, py| buffer.bytes(py, METHOD, MAX_FRAGMENT)) {
                Ok(bytes) if bytes.as_bytes().is_empty() => break,
                Ok(bytes) => {
                    self.count(METHOD, bytes.as_bytes().len())?;
                    plaintext.put_early(bytes.as_bytes());
                    any = true;
                }
                Err(Trouble::WantRead) => break,
                Err(Trouble::WantWrite) => self.make_way(METHOD)?,
                Err(trouble) => return Err(trouble),
            }
        }
        self.drain()?;
        Ok(any)
    }

    /// There is never more plaintext than ciphertext.
    fn count(&mut self, method: &str, more: usize) -> Result<(), Trouble> {
        let session = &mut *self.session;
        session.given += more as u64;
        if session.given > session.shown {
            let what = "returned more plaintext than it got ciphertext";
            return Err(session.buffer.broken(method, what));
        }
        Ok(())
    }

    /// Seals what there is no more of than a record holds; says how much it took.
    fn seal(&mut self, plaintext: &[u8]) -> Result<usize, Trouble> {
        const METHOD: &str = "write";
        let (py, buffer) = (self.py, self.buffer());
        let mut left = plaintext;
        while !left.is_empty() {
            let data = PyBytes::new(py, left);
            match buffer.count(py, METHOD, (data,), left.len()) {
                Ok(taken) => {
                    let any = self.drain()?;
                    if taken == 0 && !any {
                        return Err(buffer.broken(METHOD, "accepted nothing, and raised nothing"));
                    }
                    left = &left[taken..];
                }
                Err(Trouble::WantWrite) => self.make_way(METHOD)?,
                Err(Trouble::WantRead) => {
                    self.drain()?;
                    break;
                }
                Err(Trouble::Interrupted(error)) => {
                    self.interrupted(error)?;
                    if self.drain()? {
                        left = &[];
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(plaintext.len() - left.len())
    }

    /// Seals what was taken over before; whether none of it is left.
    fn seal_rest(&mut self) -> Result<bool, Trouble> {
        while !self.session.unsealed.is_empty() {
            let mut piece = std::mem::take(&mut self.session.unsealed);
            let behind = piece.split_off(piece.len().min(MAX_FRAGMENT));
            let taken = self.seal(&piece)?;
            let is_whole = taken == piece.len();
            piece.drain(..taken);
            piece.extend(behind);
            self.session.unsealed = piece;
            if !is_whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Seals all of it; keeps what cannot be sealed yet, unless that is all of it.
    fn seal_all(&mut self, plaintext: &[u8]) -> Result<(), Trouble> {
        if !self.seal_rest()? {
            return Err(Trouble::WantRead);
        }
        let mut left = plaintext;
        while !left.is_empty() {
            let piece = &left[..left.len().min(MAX_FRAGMENT)];
            let taken = self.seal(piece)?;
            left = &left[taken..];
            if taken < piece.len() {
                if left.len() == plaintext.len() {
                    return Err(Trouble::WantRead);
                }
                self.session.unsealed = left.to_vec();
                break;
            }
        }
        Ok(())
    }

    // --- the end ---

    fn shutdown(&mut self) -> Result<(), Trouble> {
        const METHOD: &str = "shutdown";
        if !self.seal_rest()? {
            let buffer = self.buffer();
            return Err(buffer.broken(
                "write",
                "does not accept data that it accepted in part \
                                      before",
            ));
        }
        loop {
            let called = self.again(|buffer, py| buffer.call(py, METHOD, ()));
            match called {
                Ok(_) | Err(Trouble::WantRead) => return self.drain().map(drop),
                Err(Trouble::WantWrite) => self.make_way(METHOD)?,
                Err(trouble) => return Err(trouble),
            }
        }
    }
}

impl Session for ForeignSession {
    fn is_handshaking(&self) -> bool {
        self.version.is_none()
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        out.limit_answers()?;
        if self.is_handshaking() {
            self.handshake(inbound.bytes(), plaintext, out)
        } else {
            self.open(inbound.bytes(), plaintext, out)
        }
    }

    fn has_early_data(&self) -> bool {
        self.has_early_data
    }

    fn write_early(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<usize, Error> {
        const METHOD: &str = "write_early_data";
        let mut refused = None;
        let taken = self.with(out, |calls| {
            let data = PyBytes::new(calls.py, plaintext);
            let taken =
                calls.again(|buffer, py| buffer.count(py, METHOD, (&data,), plaintext.len()));
            // It was asked at the wrong time, or is not to do it: the connection goes on.
            if let Err(Trouble::Raised(error)) = &taken {
                refused = Some(Raised::once(error.value(calls.py)));
                return Ok(0);
            }
            taken
        })?;
        refused.map_or(Ok(taken), |raised| Err(raised.error(false)))
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        self.with(out, |calls| calls.seal_all(plaintext))
    }

    fn overhead(&self) -> usize {
        LEAST_OVERHEAD
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        self.with(out, |calls| calls.shutdown())?;
        Ok(Progress::default())
    }

    fn send_alert(&mut self, _: Alert, found: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let handshaking = self.is_handshaking();
        self.with(out, |calls| {
            if !found.is_empty() {
                calls.show(found)?;
            }
            // It finds the fault by itself, if it is one by its rules. What it raises about it is of no
            // interest: the connection's own error is told.
            let method = if handshaking { "do_handshake" } else { "read" };
            let seen = calls.again(|buffer, py| {
                if handshaking {
                    buffer.call(py, method, ())
                } else {
                    buffer.call(py, method, (1,))
                }
            });
            if let Err(Trouble::Interrupted(error)) = seen {
                calls.interrupted(error)?;
            }
            calls.drain().map(drop)
        })
    }

    fn update_keys(&mut self, out: &mut Outbound) -> Result<(), Error> {
        const METHOD: &str = "update_keys";
        let mut refused = None;
        self.with(out, |calls| {
            match calls.again(|buffer, py| buffer.call(py, METHOD, ())) {
                Err(Trouble::Raised(error)) if is_misuse(calls.py, &error) => {
                    refused = Some(Raised::once(error.value(calls.py)));
                }
                called => drop(called?),
            }
            calls.drain().map(drop)
        })?;
        refused.map_or(Ok(()), |raised| Err(raised.error(false)))
    }

    fn version(&self) -> Option<Version> {
        self.version
    }

    // Whoever wants more asks the buffer.
    fn facts(&self) -> Facts {
        Facts {
            version: self.version.map_or(0, Version::wire),
            ..Facts::default()
        }
    }

    fn calls_python(&self) -> bool {
        true
    }

    fn origin(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::clone(&self.buffer) as Arc<dyn Any + Send + Sync>)
    }
}
