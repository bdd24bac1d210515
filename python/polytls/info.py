"""The facts of a connection, as negotiated in its handshake, and of its certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .constants import (
    AlertDescription,
    CertificateCompressionAlgorithm,
    CipherSuite,
    ECHStatus,
    HandshakeType,
    NamedGroup,
    NextProtocol,
    SignatureScheme,
    TLSVersion,
)
from .frozen import field, frozen

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "CertificateInfo",
    "ConnectionEvent",
    "ConnectionInfo",
    "PresentedPeer",
    "SessionStatistics",
    "Staple",
]


@frozen(kw_only=True)
class CertificateInfo:
    """The contents of a certificate (RFC 5280 4).

    Parsing proves nothing: only verification shows whether the contents are true. Control
    characters are escaped in names for display (`subject`, `issuer`, `common_name`); the others are
    unchanged.
    """

    #: The certificate itself.
    der: bytes = field(repr=False)
    #: Distinguished names in one line, such as "CN=Alice, O=Example".
    subject: str
    issuer: str
    #: The subject's common name: for display, never to be compared with a host name.
    common_name: str | None
    #: The subject alternative names, by type.
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    email_addresses: tuple[str, ...]
    uris: tuple[str, ...]
    #: The validity period, both ends included, in UTC.
    not_before: datetime
    not_after: datetime
    serial_number: int
    #: "RSA", "ECDSA", "Ed25519" and similar; the OID of a type without a name here.
    key_type: str
    #: The size of the key in bits; 0 if unknown.
    key_bits: int
    #: Whether it is a CA certificate (RFC 5280 4.2.1.9).
    is_authority: bool
    #: SubjectPublicKeyInfo: the public key with its algorithm, in DER.
    spki: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """The certificate's fingerprint: SHA-256 over `der`, in hexadecimal."""
        return _sha256(self.der)

    @property
    def spki_sha256(self) -> str:
        """The key's fingerprint: SHA-256 over `spki`, in hexadecimal, as used for pins."""
        return _sha256(self.spki)


def _sha256(data: bytes) -> str:
    # Takes milliseconds to import; connections do not need it.
    import hashlib

    return hashlib.sha256(data).hexdigest()


@frozen(kw_only=True)
class PresentedPeer:
    """What a `peer_verifier` receives: the peer, which has passed all other checks."""

    #: The peer's role: "server" or "client".
    role: Literal["client", "server"]
    #: The name or address that was requested; None on a server.
    hostname: str | None
    #: The parsed certificate of the peer; None if it cannot be parsed.
    certificate: CertificateInfo | None
    #: The certificates as the peer presented them: DER, leaf first. In a resumed session they are
    #: those of the full handshake, as far as the library keeps them.
    presented_chain: tuple[bytes, ...] = field(repr=False)
    #: See `ConnectionInfo.verified_chain`.
    verified_chain: tuple[bytes, ...] | None = field(repr=False)


@frozen(kw_only=True)
class Staple:
    """A stapled OCSP response that was verified: the certificate is not revoked (RFC 6066 8)."""

    #: The response itself, OCSPResponse in DER (RFC 6960 4.2.1).
    der: bytes = field(repr=False)
    #: The subject of the certificate whose key signed it: the issuer of the server's certificate,
    #: or a responder that the issuer has authorized.
    signer: str
    #: When it was signed, in UTC.
    produced_at: datetime
    #: Since when it is known to be correct, in UTC.
    this_update: datetime
    #: From when on it does not count any more, in UTC; None: 24 hours after `this_update`.
    next_update: datetime | None


@frozen(kw_only=True)
class ConnectionInfo:
    """The facts of one connection: a snapshot, which never changes.

    None means: not negotiated, not (yet) known, or not reported by the library.
    """

    #: The name of the implementation, as for `polytls.implementation`.
    implementation: str
    #: The negotiated version.
    version: TLSVersion | None = None
    #: The negotiated cipher suite; a number if it has no name in `CipherSuite`.
    cipher: CipherSuite | int | None = None
    #: The key exchange group; a number if it has no name in `NamedGroup`.
    group: NamedGroup | int | None = None
    #: The protocol negotiated with ALPN (RFC 7301); bytes if it has no name in `NextProtocol`.
    alpn: NextProtocol | bytes | None = None
    #: The name in the client's server_name extension (RFC 6066 3). A client that connects to an IP
    #: address sends none.
    server_name: str | None = None
    #: Whether an earlier session was resumed.
    resumed: bool | None = None
    #: Whether the server accepted the client's early data. False on a client: it was rejected, and
    #: the application has to send it again. True on a server: the offer was accepted, even if no
    #: data followed. None: the client sent, or offered, none.
    early_data: bool | None = None
    #: Whether the server requested a second ClientHello (HelloRetryRequest, RFC 8446 4.1.4), which
    #: costs a round trip: usually because the client sent a key share for another group.
    hello_retry_request: bool | None = None
    #: Whether the client offered early data in its (first) ClientHello (RFC 8446 4.2.10), on either
    #: side, whether or not it was accepted.
    early_data_offered: bool | None = None
    #: Whether the client offered to decompress certificates in its (first) ClientHello (RFC 8879
    #: 3), on either side.
    certificate_compression_offered: bool | None = None
    #: Whether the client's (first) ClientHello had the extension encrypted_client_hello (RFC 9849
    #: 5), on either side. A server that does not decrypt it cannot tell an encrypted ClientHello
    #: from GREASE.
    ech_offered: bool | None = None
    #: The signature scheme that the server signed the handshake with: in its CertificateVerify
    #: (RFC 8446 4.4.3), in TLS 1.2 in ServerKeyExchange; a number if it has no name in
    #: `SignatureScheme`. None if it did not sign (the session was resumed).
    server_signature_scheme: SignatureScheme | int | None = None
    #: The same for the client's CertificateVerify. None if it did not authenticate with a
    #: certificate in this handshake.
    client_signature_scheme: SignatureScheme | int | None = None
    #: The algorithm that the server's certificates were compressed with (RFC 8879); a number if it
    #: has no name in `CertificateCompressionAlgorithm`. None if they were sent as they are, or not
    #: at all (the session was resumed).
    server_certificate_compression: CertificateCompressionAlgorithm | int | None = None
    #: The same for the client's certificates.
    client_certificate_compression: CertificateCompressionAlgorithm | int | None = None
    #: The size of the handshake in bytes, as TLS records: what was sent, and received, until it was
    #: complete on this side. Early data is included; a TLS 1.3 server's session tickets are not.
    handshake_bytes_sent: int | None = None
    handshake_bytes_received: int | None = None
    #: How many round trips the client waited for: 1 in TLS 1.3, and in TLS 1.2 if a session was
    #: resumed; 2 in TLS 1.2 otherwise; one more with a HelloRetryRequest.
    handshake_round_trips: int | None = None
    #: What became of Encrypted ClientHello; None if it was not used. After ECHRejected, this is the
    #: only fact of the connection that is known. On a server ACCEPTED, or None: see `ech_offered`.
    ech: ECHStatus | None = None
    #: The parsed certificate of the peer; None if it presented none, or one that cannot be parsed.
    peer: CertificateInfo | None = None
    #: The certificates as the peer presented them: DER, leaf first.
    peer_chain: tuple[bytes, ...] | None = field(default=None, repr=False)
    #: The verified path, from the leaf to the trust anchor, in DER; only the leaf if it is trusted
    #: itself. None if nothing was verified in this handshake (the session was resumed), or if the
    #: library does not report it.
    verified_chain: tuple[bytes, ...] | None = field(default=None, repr=False)
    #: The OCSP response that the server stapled and this client verified in this handshake. None on
    #: a server, if the server stapled none, and if the session was resumed.
    staple: Staple | None = None
    #: The OCSP response that the server stapled, in DER as it was sent, whether or not it was
    #: verified: `staple` is None for an error of the responder, which proves nothing, and for a
    #: certificate that is pinned, or trusted itself. None also if this client verifies no staples.
    ocsp_response: bytes | None = field(default=None, repr=False)


@frozen(kw_only=True)
class ConnectionEvent:
    """What an `on_event` receives: something that happened on a connection. It has no secrets.

    `kind` says what:

    - "message": a handshake message passed by (`sent`, `message`, `size`). TLS 1.3 encrypts all but
      the hellos; encrypted ones are reported only if the library shows them.
    - "alert": a fatal alert, or close_notify (`sent`, `alert`), as far as the library reports it.
    - "established": the handshake is complete on this side (`info`).
    - "end": the connection is over (`error`). No event of this connection follows.
    """

    #: The connection: a number that no other connection of this process has.
    connection: int
    #: This side's role.
    role: Literal["client", "server"]
    kind: Literal["message", "alert", "established", "end"]
    #: Whether this side sent the message or alert.
    sent: bool | None = None
    #: The message; a number if it has no name in `HandshakeType`.
    message: HandshakeType | int | None = None
    #: The size of the message in bytes, including its header of 4 bytes.
    size: int | None = None
    #: The alert; a number if it has no name in `AlertDescription`.
    alert: AlertDescription | int | None = None
    #: The facts of the connection.
    info: ConnectionInfo | None = None
    #: Why it ended; None if it was closed.
    error: Exception | None = None


@frozen(kw_only=True)
class SessionStatistics:
    """Counts of a context's connections and sessions so far: a snapshot.

    None means: not reported by the library.
    """

    #: Full handshakes.
    full: int
    #: Handshakes that resumed a session.
    resumed: int
    #: Sessions that a client stored; tickets that a server issued.
    stored: int | None
    #: On a client: connections with a session to offer. On a server: tickets that were valid.
    hits: int | None
    #: On a client: connections without a session to offer. On a server: tickets that were not
    #: valid.
    misses: int | None
