//! What a TLS library provides for one side of one connection.

use std::any::Any;
use std::sync::Arc;

use crate::alert::Alert;
use crate::buffers::{Inbound, Outbound};
use crate::config::Version;
use crate::error::Error;
use crate::lineage::Lineage;
use crate::plaintext::Sink;
use crate::record;

/// One side of one connection, as a TLS library implements it: records in, records out.
///
/// [`crate::Connection`] is the only caller. It owns the buffers, never calls again after a fatal
/// error, and calls [`Self::seal`] and [`Self::close`] only once [`Self::is_handshaking`] is
/// false; [`Self::seal`] also once [`Progress::answerable`] was told.
///
/// An error that is not fatal ([`Error::is_fatal`]) leaves the connection as it was: the call is made
/// again, with the same records.
pub trait Session: Send {
    /// Whether the handshake is not complete yet, the peer's certificate not judged included.
    fn is_handshaking(&self) -> bool;

    /// Whether [`Self::receive`] may be shown many records at once after the handshake. Otherwise, and
    /// in the handshake, it is shown one at a time.
    fn takes_batches(&self) -> bool {
        false
    }

    /// Goes on with `inbound`: what came next from the peer, in whole records. Empty at the start,
    /// which is how a client makes its first flight.
    ///
    /// Plaintext goes to `plaintext`, whatever has to be answered to `out`. What a library wants to see
    /// again, such as the beginning of a handshake message, the session keeps.
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

    /// Whether early data was asked for (RFC 8446 section 2.3): a client's may be written, a server's
    /// comes through [`Sink::put_early`].
    fn has_early_data(&self) -> bool {
        false
    }

    /// Begins a client's handshake: puts its first flight into `out`, once, and behind it as much of
    /// `plaintext` as may go with it, which is nothing where no session is offered that allows it.
    /// Says how much that was. Called before the first [`Self::receive`] alone.
    ///
    /// # Errors
    ///
    /// Fatal ones only.
    fn write_early(&mut self, _plaintext: &[u8], _out: &mut Outbound) -> Result<usize, Error> {
        Ok(0)
    }

    /// Seals all of `plaintext` into as many records as it takes.
    ///
    /// # Errors
    ///
    /// Fatal ones: keys exhausted.
    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error>;

    /// How much longer a record of data is than its content, header included, at the least. Called
    /// after the handshake only.
    fn overhead(&self) -> usize {
        record::HEADER + 16
    }

    /// How many bytes [`Self::seal`] would make of so much plaintext now, exactly. `None`: that
    /// cannot be told, and [`Self::seal_into`] must not be called.
    fn sealed_len(&self, _plaintext: usize) -> Option<usize> {
        None
    }

    /// As [`Self::seal`], into memory of exactly [`Self::sealed_len`] bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::seal`].
    fn seal_into(&mut self, _plaintext: &[u8], _into: &mut [u8]) -> Result<(), Error> {
        Err(Error::Internal(
            "this TLS library can only seal into its own memory".to_owned(),
        ))
    }

    /// Puts close_notify into `out`. Called once. A library may look for the peer's on the way.
    ///
    /// # Errors
    ///
    /// Fatal ones only.
    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error>;

    /// Puts a fatal alert into `out`, encrypted if the peer expects that. Called once at most, after which
    /// nothing is called, and not after [`Self::close`].
    ///
    /// `found`: what the alert is about, if a record may not come as [`crate::Connection`] has found it;
    /// for a library that has no way to send an alert but finding the fault itself.
    ///
    /// # Errors
    ///
    /// Fatal ones only.
    fn send_alert(&mut self, alert: Alert, found: &[u8], out: &mut Outbound) -> Result<(), Error>;

    /// The alert that goes with the error that ended the connection, where this side found it; `None` where the
    /// library does not tell.
    fn alert(&self) -> Option<Alert> {
        None
    }

    /// Puts a KeyUpdate that asks for another one into `out`, and seals with the next keys from then
    /// on (RFC 8446 section 4.6.3). Called in TLS 1.3 alone, and not after [`Self::close`].
    ///
    /// # Errors
    ///
    /// Fatal ones; [`Error::Misuse`] from a library that cannot.
    fn update_keys(&mut self, _out: &mut Outbound) -> Result<(), Error> {
        Err(Error::Misuse(
            "this TLS library does not support key updates",
        ))
    }

    /// The protocol version agreed on. Called after the handshake only; `None` where the library cannot
    /// tell.
    fn version(&self) -> Option<Version>;

    /// What was agreed. Called after the handshake only.
    fn facts(&self) -> Facts;

    /// Fills `into` with keying material of this connection (RFC 8446 section 7.5, RFC 5705). Called
    /// after the handshake only; `into` is not empty.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`], which leaves the connection as it is, where this library or this
    /// connection cannot.
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
    /// each time. `None` on a server, and where no sessions are kept. Called after the handshake only.
    fn lineage(&mut self) -> Option<Lineage> {
        None
    }

    /// The connection is over: nothing is received, sealed, exported or told to the peer any more. Keys are to
    /// be wiped, as far as that can be done; facts, lineage and own certificate stay.
    fn forget_keys(&mut self) {}

    /// The certificate this side is known by on this connection, DER; `None` without one, and where the
    /// library cannot tell. Called after the handshake only.
    ///
    /// # Errors
    ///
    /// Why the library cannot tell, where there is more to be said. The connection stays as it is.
    fn own_certificate(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    /// Whether it is made of Python's objects. A thread that holds the interpreter then keeps it for the
    /// calls that seal and open data, which give it up themselves while they work.
    fn calls_python(&self) -> bool {
        false
    }

    /// What the session is made of, where that tells more than the session: for whoever has made it.
    fn origin(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
}

/// What [`Session::receive`] or [`Session::close`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of what it was shown it is done with: a record at least; what follows is shown again.
    /// All of it, but where a batch has filled the room for plaintext, or holds the peer's close_notify,
    /// behind which nothing is taken.
    pub consumed: usize,
    /// Whether the peer's close_notify was found.
    pub peer_closed: bool,
    /// Whether early data was taken, so that a server may answer before the handshake is complete.
    pub answerable: bool,
}

/// What the handshake agreed on. Numbers are those of the IANA TLS registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The protocol version as on the wire: 0x0303 or 0x0304.
    pub version: u16,
    /// The cipher suite.
    pub cipher: u16,
    /// The key exchange group; `None` where none took part or the library cannot tell.
    pub group: Option<u16>,
    /// The application protocol.
    pub alpn: Option<Vec<u8>>,
    /// The name in ClientHello (SNI), on either side; `None` if there was none, as with addresses.
    pub server_name: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificates the peer presented, leaf first, DER; empty if none.
    pub peer_chain: Vec<Vec<u8>>,
    /// The path that was verified, from the leaf to the anchor, DER; `None` where nothing was
    /// verified in this handshake or the library does not tell.
    pub verified_chain: Option<Vec<Vec<u8>>>,
    /// Whether the server took the client's early data, of which there may be none at all. `None`: a client
    /// sent none, a server was offered none, or the library cannot tell.
    pub early_data: Option<bool>,
    /// Whether the server asked for another ClientHello (HelloRetryRequest, RFC 8446 section 4.1.4);
    /// `None` where the library cannot tell.
    pub hello_retry_request: Option<bool>,
}

impl Facts {
    /// Whether TLS 1.3 was agreed.
    #[must_use]
    pub const fn is_tls13(&self) -> bool {
        self.version == Version::Tls13.wire()
    }
}
