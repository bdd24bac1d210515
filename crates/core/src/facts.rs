//! What a connection reports about its handshake.

use crate::ech;
use crate::messages::Offers;

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
    /// The OCSP response that the server stapled, on a client that verifies such in this handshake.
    pub staple: Option<Box<Stapled>>,
    /// What the records of the handshake told: the connection fills it in.
    pub handshake: Option<Course>,
}

/// What the records of a handshake tell, whatever library does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Whether the server requested another ClientHello (HelloRetryRequest, RFC 8446 section
    /// 4.1.4).
    pub retried: bool,
    /// What the client offered in its first ClientHello; `None` if that cannot be read.
    pub offered: Option<Offers>,
    /// The signature scheme of the server's CertificateVerify or, in TLS 1.2, ServerKeyExchange;
    /// `None` if it did not sign or the library does not show it.
    pub server_scheme: Option<u16>,
    /// The signature scheme of the client's CertificateVerify; `None` likewise.
    pub client_scheme: Option<u16>,
    /// The algorithm that the server's Certificate message was compressed with (RFC 8879); `None`
    /// if it was not or the library does not show it.
    pub server_compression: Option<u16>,
    /// The algorithm of the client's; `None` likewise.
    pub client_compression: Option<u16>,
    /// How many bytes of records were sent before the handshake was complete on this side, early
    /// data included. In TLS 1.3, a server's session tickets come after it.
    pub sent: u64,
    /// How many bytes of records were received by then.
    pub received: u64,
    /// How often the client had to wait for the server.
    pub round_trips: u32,
}

/// What a server stapled, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stapled {
    /// It counts.
    Verified(Staple),
    /// It proves nothing, but nothing had to be proven: OCSPResponse, or whatever the server sent in its place.
    Unverified(Vec<u8>),
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

impl Stapled {
    /// The response as it was sent.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        match self {
            Self::Verified(staple) => &staple.der,
            Self::Unverified(der) => der,
        }
    }

    /// The response, if it counts.
    #[must_use]
    pub const fn verified(&self) -> Option<&Staple> {
        match self {
            Self::Verified(staple) => Some(staple),
            Self::Unverified(_) => None,
        }
    }
}

impl Facts {
    /// Whether TLS 1.3 was negotiated.
    #[must_use]
    pub const fn is_tls13(&self) -> bool {
        self.version == 0x0304
    }
}
