//! The interface of a TLS library for one side of one connection.

use std::any::Any;
use std::sync::Arc;

use crate::alert::Alert;
use crate::buffers::{Inbound, Outbound};
use crate::config::Version;
use crate::ech;
use crate::error::Error;
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

    /// The handshake messages that were encrypted, of a library that shows them: those since the
    /// last call, the peer's first. Called after each call of the handshake; the last time when that is
    /// complete.
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

/// What was negotiated. Numbers are those of the IANA TLS registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The protocol version as on the wire: 0x0303 or 0x0304.
    pub version: u16,
    /// The cipher suite.
    pub cipher: u16,
    /// The key exchange group; `None` if there was none or the library does not report it.
    pub group: Option<u16>,
    /// The application protocol.
    pub alpn: Option<Vec<u8>>,
    /// The name in ClientHello (SNI), on either side; `None` if there was none, as with addresses.
    pub server_name: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificates the peer presented, leaf first, DER; empty if none.
    pub peer_chain: Vec<Vec<u8>>,
    /// The verified path, from the leaf to the anchor, DER; `None` if nothing was verified in this
    /// handshake or the library does not report it.
    pub verified_chain: Option<Vec<Vec<u8>>>,
    /// Whether the server accepted the client's early data, which may be empty. `None`: a client
    /// sent none, a server was offered none, or the library does not report it.
    pub early_data: Option<bool>,
    /// What became of Encrypted ClientHello; `None` if there was none, or the library does not
    /// report it.
    pub ech: Option<ech::Status>,
    /// The OCSP response that the server stapled, on a client that has verified it in this handshake.
    pub staple: Option<Box<Staple>>,
    /// What the records of the handshake told: [`crate::Connection`] fills it in.
    pub handshake: Option<Course>,
}

/// What the records of a handshake tell, whatever library does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Whether the server requested another ClientHello (HelloRetryRequest, RFC 8446 section
    /// 4.1.4).
    pub retried: bool,
    /// Whether the client offered early data (RFC 8446 section 4.2.10); `None` if its ClientHello
    /// cannot be read.
    pub early_data_offered: Option<bool>,
    /// The signature scheme of the server's CertificateVerify or, in TLS 1.2, ServerKeyExchange;
    /// `None` if it did not sign or the library does not show it.
    pub server_scheme: Option<u16>,
    /// The signature scheme of the client's CertificateVerify; `None` likewise.
    pub client_scheme: Option<u16>,
    /// How many bytes of records were sent before the handshake was complete on this side, early
    /// data included. In TLS 1.3, a server's session tickets come after it.
    pub sent: u64,
    /// How many bytes of records were received by then.
    pub received: u64,
    /// How often the client had to wait for the server.
    pub round_trips: u32,
}

/// A stapled OCSP response that says that the certificate is not revoked, and that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    /// OCSPResponse in DER (RFC 6960 section 4.2.1).
    pub der: Vec<u8>,
    /// producedAt, in seconds since 1970 UTC.
    pub produced_at: i64,
    /// thisUpdate, likewise.
    pub this_update: i64,
    /// nextUpdate, likewise, where it says so.
    pub next_update: Option<i64>,
    /// The subject of the certificate whose key has signed it, for display.
    pub signer: String,
}

impl Facts {
    /// Whether TLS 1.3 was negotiated.
    #[must_use]
    pub const fn is_tls13(&self) -> bool {
        self.version == Version::Tls13.wire()
    }
}
