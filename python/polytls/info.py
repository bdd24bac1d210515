"""The facts of one connection, as its handshake settled them, and of the certificates in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .constants import CipherSuite, NamedGroup, NextProtocol, TLSVersion
from .frozen import field, frozen

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["CertificateInfo", "ConnectionInfo", "PresentedPeer", "SessionStatistics"]


@frozen(kw_only=True)
class CertificateInfo:
    """What a certificate says of itself (RFC 5280 4).

    Reading proves nothing: whether it is true is what verification found. In names for people
    (`subject`, `issuer`, `common_name`) control characters are escaped; the others stand as they
    are in the certificate.
    """

    #: The certificate itself.
    der: bytes = field(repr=False)
    #: Distinguished names in one line, such as "CN=Alice, O=Example".
    subject: str
    issuer: str
    #: The subject's common name: for people, never to be compared with a host name.
    common_name: str | None
    #: The subject's alternative names, by kind.
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    email_addresses: tuple[str, ...]
    uris: tuple[str, ...]
    #: The validity, both ends included, in UTC.
    not_before: datetime
    not_after: datetime
    serial_number: int
    #: "RSA", "ECDSA", "Ed25519" and the like; the OID of a kind that has no name here.
    key_type: str
    #: The size of the key in bits; 0 where it is unknown.
    key_bits: int
    #: Whether it may issue certificates (RFC 5280 4.2.1.9).
    is_authority: bool
    #: SubjectPublicKeyInfo: the public key with its algorithm, as DER.
    spki: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """The certificate's fingerprint: SHA-256 over `der`, in hexadecimal."""
        return _sha256(self.der)

    @property
    def spki_sha256(self) -> str:
        """The key's fingerprint: SHA-256 over `spki`, in hexadecimal, as pins take it."""
        return _sha256(self.spki)


def _sha256(data: bytes) -> str:
    # Costs milliseconds; connections do without it.
    import hashlib

    return hashlib.sha256(data).hexdigest()


@frozen(kw_only=True)
class PresentedPeer:
    """What a `peer_verifier` is shown of the peer, which was found in order so far."""

    #: What the peer is: "server" or "client".
    role: Literal["client", "server"]
    #: The name or address that was asked for; None on a server.
    hostname: str | None
    #: The peer's certificate, read; None if it cannot be.
    certificate: CertificateInfo | None
    #: The certificates as the peer presented them: DER, leaf first. In a resumed session they are
    #: those of its first handshake, as far as the library keeps them.
    presented_chain: tuple[bytes, ...] = field(repr=False)
    #: As `ConnectionInfo.verified_chain`.
    verified_chain: tuple[bytes, ...] | None = field(repr=False)


@frozen(kw_only=True)
class ConnectionInfo:
    """The facts of one connection: a snapshot, which never changes.

    None means: not negotiated, not (yet) known, or more than the library can tell.
    """

    #: Name of the implementation, as `polytls.implementation` takes it.
    implementation: str
    #: The negotiated version.
    version: TLSVersion | None = None
    #: The negotiated cipher suite; its number where it has no name in `CipherSuite`.
    cipher: CipherSuite | int | None = None
    #: The group of the key exchange; its number where it has no name in `NamedGroup`.
    group: NamedGroup | int | None = None
    #: The protocol negotiated with ALPN (RFC 7301); bytes where it has no name in `NextProtocol`.
    alpn: NextProtocol | bytes | None = None
    #: The name in the client's server_name extension (RFC 6066 3). A client that dialled an IP
    #: address sends none.
    server_name: str | None = None
    #: Whether an earlier session was resumed.
    resumed: bool | None = None
    #: Whether the server took the client's early data. False on a client: it was refused, and the
    #: application has to send it again itself. True on a server: it took what was offered, which
    #: may turn out to be nothing. None: a client sent none, a server was offered none.
    early_data: bool | None = None
    #: Whether the server asked for another ClientHello (HelloRetryRequest, RFC 8446 4.1.4), which
    #: costs a round trip: usually because the client began with a key share of another group.
    hello_retry_request: bool | None = None
    #: The peer's certificate, read; None if it presented none, or one that cannot be read.
    peer: CertificateInfo | None = None
    #: The certificates as the peer presented them: DER, leaf first.
    peer_chain: tuple[bytes, ...] | None = field(default=None, repr=False)
    #: The path that was verified, from the leaf to the trust anchor, each as DER; the leaf alone
    #: where that is trusted itself. None where nothing was verified in this handshake (it was
    #: resumed), or where the library does not tell.
    verified_chain: tuple[bytes, ...] | None = field(default=None, repr=False)


@frozen(kw_only=True)
class SessionStatistics:
    """What has become of a context's connections and sessions so far: a snapshot.

    None where the library cannot tell.
    """

    #: Handshakes that were done in full.
    full: int
    #: Handshakes that resumed a session.
    resumed: int
    #: Sessions that a client has kept; tickets that a server has given out.
    stored: int | None
    #: Connections that a client had a session for; tickets shown to a server that were good.
    hits: int | None
    #: Connections that a client had none for; tickets shown to a server that were of no use.
    misses: int | None
