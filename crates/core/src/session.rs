//! The interface of a TLS library for one side of one connection.

use std::any::Any;
use std::sync::Arc;

use crate::alert::Alert;
use crate::buffers::{Inbound, Outbound};
use crate::config::Version;
use crate::error::Error;
use crate::events::Tracer;
use crate::facts::Facts;
use crate::lineage::Lineage;
use crate::messages::Message;
use crate::plaintext::Sink;
use crate::record;

/// One side of one connection, as a TLS library implements it: records in, records out.
///
/// [`crate::Connection`] is the only caller. It owns the buffers, never calls again after a fatal
/// error, and calls [`Self::seal`] and [`Self::close`] only when [`Self::is_handshaking`] is false;
/// [`Self::seal`] also after [`Progress::answerable`] was reported.
///
/// An error that is not fatal ([`Error::is_fatal`]) leaves the connection unchanged: the call is
/// repeated with the same records.
pub trait Session: Send {
    /// Whether the handshake is not complete yet; it includes verifying the peer's certificate.
    fn is_handshaking(&self) -> bool;

    /// Whether [`Self::receive`] can get many records at once after the handshake. Otherwise, and
    /// in the handshake, it gets one at a time.
    fn takes_batches(&self) -> bool {
        false
    }

    /// Processes `inbound`: the next data from the peer, in whole records. Empty at the start,
    /// which makes a client create its first flight.
    ///
    /// Plaintext goes to `plaintext`, responses to `out`. If a library needs to see data again,
    /// such as the start of a handshake message, the session keeps it.
    ///
    /// # Errors
    ///
    /// If they are fatal, the alert that goes with them has been put into `out`.
    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error>;

    /// Whether early data is enabled (RFC 8446 section 2.3): a client's can be written, a server's
    /// arrives through [`Sink::put_early`].
    fn has_early_data(&self) -> bool {
        false
    }

    /// Starts a client's handshake: puts its first flight into `out`, once, followed by as much of
    /// `plaintext` as is allowed, which is nothing if no session that allows early data is offered.
    /// Returns how much that was. Only called before the first [`Self::receive`].
    ///
    /// # Errors
    ///
    /// Fatal ones only.
    fn write_early(&mut self, _plaintext: &[u8], _out: &mut Outbound) -> Result<usize, Error> {
        Ok(0)
    }

    /// Encrypts all of `plaintext` into as many records as necessary.
    ///
    /// # Errors
    ///
    /// Fatal ones: keys exhausted.
    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error>;

    /// The minimum difference between the length of a data record, including its header, and its
    /// content. Only called after the handshake.
    fn overhead(&self) -> usize {
        record::HEADER + 16
    }

    /// How many bytes [`Self::seal`] would make of that much plaintext now, exactly. `None`:
    /// unknown, and [`Self::seal_into`] must not be called.
    fn sealed_len(&self, _plaintext: usize) -> Option<usize> {
        None
    }

    /// Like [`Self::seal`], into memory of exactly [`Self::sealed_len`] bytes.
    ///
    /// # Errors
    ///
    /// Like [`Self::seal`].
    fn seal_into(&mut self, _plaintext: &[u8], _into: &mut [u8]) -> Result<(), Error> {
        Err(Error::Internal(
            "this TLS library can only seal into its own memory".to_owned(),
        ))
    }

    /// Puts close_notify into `out`. Called once. A library may look for the peer's at the same
    /// time.
    ///
    /// # Errors
    ///
    /// Fatal ones only.
    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error>;

    /// Puts a fatal alert into `out`, encrypted if the peer expects that. Called at most once;
    /// nothing is called after it, and it is not called after [`Self::close`].
    ///
    /// `found`: the record that [`crate::Connection`] found to be invalid, if any; for a library
    /// that can only send an alert by finding the fault itself.
    ///
    /// # Errors
    ///
    /// Fatal ones only.
    fn send_alert(&mut self, alert: Alert, found: &[u8], out: &mut Outbound) -> Result<(), Error>;

    /// The alert that goes with the error that ended the connection, if this side found it; `None`
    /// if the library does not report it.
    fn alert(&self) -> Option<Alert> {
        None
    }

    /// Puts a KeyUpdate that requests another one into `out`, and encrypts with the next keys from
    /// then on (RFC 8446 section 4.6.3). Only called in TLS 1.3, and not after [`Self::close`].
    ///
    /// # Errors
    ///
    /// Fatal ones; [`Error::Misuse`] if the library does not support it.
    fn update_keys(&mut self, _out: &mut Outbound) -> Result<(), Error> {
        Err(Error::Misuse(
            "this TLS library does not support key updates",
        ))
    }

    /// Who is told what happens on this connection.
    fn tracer(&self) -> Option<Arc<dyn Tracer>> {
        None
    }

    /// The fatal alert that this side has sent, if the library reports it.
    fn sent_alert(&self) -> Option<Alert> {
        self.alert()
    }

    /// The handshake messages that were encrypted, of a library that shows them: those since the
    /// last call, the peer's first. Called after each call of the handshake, the last time when that is
    /// complete; with a [`Self::tracer`], also after that.
    fn take_shown(&mut self) -> Vec<Shown> {
        Vec::new()
    }

    /// The negotiated protocol version. Only called after the handshake; `None` if the library does
    /// not report it.
    fn version(&self) -> Option<Version>;

    /// What was negotiated. Only called after the handshake.
    fn facts(&self) -> Facts;

    /// Fills `into` with keying material of this connection (RFC 8446 section 7.5, RFC 5705). Only
    /// called after the handshake; `into` is not empty.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`], which leaves the connection unchanged, if this library or this connection
    /// does not support it.
    fn export(
        &self,
        _label: &[u8],
        _context: Option<&[u8]>,
        _into: &mut [u8],
    ) -> Result<(), Error> {
        Err(Error::Misuse(
            "this TLS library does not export keying material",
        ))
    }

    /// The session of this connection, for other connections of its engine to resume; the same one
    /// each time. `None` on a server, and if no sessions are kept. Only called after the handshake.
    fn lineage(&mut self) -> Option<Lineage> {
        None
    }

    /// The connection is over: nothing more is received, encrypted, exported or sent. Keys have to
    /// be wiped as far as possible; facts, lineage and own certificate remain.
    fn forget_keys(&mut self) {}

    /// This side's certificate on this connection, DER; `None` without one, and if the library does
    /// not report it. Only called after the handshake.
    ///
    /// # Errors
    ///
    /// Why the library does not report it, if there is more to say. The connection is unchanged.
    fn own_certificate(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    /// Whether it consists of Python objects. A thread that holds the interpreter then keeps it for
    /// the calls that encrypt and decrypt data, which release it themselves.
    fn calls_python(&self) -> bool {
        false
    }

    /// The object the session was created from, if that has more information, for its creator.
    fn origin(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
}

/// The result of [`Session::receive`] or [`Session::close`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of the data are processed: at least a record; the rest is passed again. All
    /// of it, unless a batch has filled the room for plaintext, or contains the peer's
    /// close_notify, after which nothing is consumed.
    pub consumed: usize,
    /// Whether the peer's close_notify was found.
    pub peer_closed: bool,
    /// Whether early data was accepted, so that a server can respond before the handshake is
    /// complete.
    pub answerable: bool,
}

/// A handshake message that was encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whether this side sent it.
    pub is_ours: bool,
    /// The message.
    pub message: Message,
}
