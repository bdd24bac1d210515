//! What a TLS library provides for one side of one connection.

use crate::alert::Alert;
use crate::buffers::Outbound;
use crate::error::Error;
use crate::lineage::Lineage;
use crate::plaintext::Sink;
use crate::record;

/// One side of one connection, as a TLS library implements it: records in, records out.
///
/// [`crate::Connection`] is the only caller. It owns the buffers, never calls again after a fatal
/// error, and calls [`Self::seal`] and [`Self::close`] only once [`Self::is_handshaking`] is
/// false; [`Self::seal`] also once [`Received::answerable`] was told.
pub trait Session: Send {
    /// Whether the handshake is not complete yet, the peer's certificate not judged included.
    fn is_handshaking(&self) -> bool;

    /// Goes on with what `records` holds: whole records from the front of what the peer sent, the
    /// last one new, the others shown before and not consumed. Empty at the start, which is how a
    /// client makes its first flight. The bytes may be changed (opened in place).
    ///
    /// Plaintext goes to `plaintext`, whatever has to be answered to `out`.
    ///
    /// # Errors
    ///
    /// Fatal ones only; the alert that goes with it has then been put into `out`.
    fn receive(
        &mut self,
        records: &mut [u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Received, Error>;

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

    /// Seals all of `plaintext` into as many records as it takes. `shown`: the records shown to
    /// [`Self::receive`] and not consumed, as a library may want to see them at every call.
    ///
    /// # Errors
    ///
    /// Fatal ones only (keys exhausted).
    fn seal(&mut self, shown: &mut [u8], plaintext: &[u8], out: &mut Outbound)
    -> Result<(), Error>;

    /// As [`Self::receive`], for one whole record which comes behind all that was shown before, and
    /// which stays as it is. `None`: records have to be shown to [`Self::receive`] now.
    ///
    /// # Errors
    ///
    /// As [`Self::receive`].
    fn receive_shared(
        &mut self,
        _record: &[u8],
        _plaintext: &mut Sink<'_>,
        _out: &mut Outbound,
    ) -> Option<Result<Received, Error>> {
        None
    }

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
            "this library seals into its own memory only".to_owned(),
        ))
    }

    /// Puts close_notify into `out`. Called once. `shown`: as for [`Self::seal`].
    ///
    /// # Errors
    ///
    /// Fatal ones only.
    fn close(&mut self, shown: &mut [u8], out: &mut Outbound) -> Result<(), Error>;

    /// Puts a fatal alert into `out`, encrypted if the peer expects that: the peer sent a record that may not
    /// come, as [`crate::Connection`] has found. Called once at most, after which nothing is called, and not after
    /// [`Self::close`].
    ///
    /// `found`: what has come and was not consumed, for a library that has no way to send an alert but
    /// finding the fault itself.
    ///
    /// # Errors
    ///
    /// Fatal ones only.
    fn send_alert(
        &mut self,
        alert: Alert,
        found: &mut [u8],
        out: &mut Outbound,
    ) -> Result<(), Error>;

    /// Puts a KeyUpdate that asks for another one into `out`, and seals with the next keys from then
    /// on (RFC 8446 section 4.6.3). Called in TLS 1.3 alone, and not after [`Self::close`]. `shown`:
    /// as for [`Self::seal`].
    ///
    /// # Errors
    ///
    /// Fatal ones; [`Error::Misuse`] from a library that cannot.
    fn update_keys(&mut self, shown: &mut [u8], out: &mut Outbound) -> Result<(), Error> {
        let _ = (shown, out);
        Err(Error::Misuse("this TLS library cannot change keys"))
    }

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
            "this library does not export keying material",
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
}

/// What [`Session::receive`] did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    /// How many bytes of the records it is done with, from the front.
    pub consumed: usize,
    /// Whether the peer's close_notify was among them.
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
    /// Whether TLS 1.3 was agreed, where each direction is closed on its own
    /// (RFC 8446 section 6.1).
    #[must_use]
    pub const fn is_tls13(&self) -> bool {
        self.version == 0x0304
    }
}
