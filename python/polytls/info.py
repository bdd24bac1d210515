"""The facts of one connection, as its handshake settled them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .constants import CipherSuite, NamedGroup, NextProtocol, TLSVersion

__all__ = ["ConnectionInfo", "SessionStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
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
    #: The certificates as the peer presented them: DER, leaf first.
    peer_chain: tuple[bytes, ...] | None = field(default=None, repr=False)
    #: The path that was verified, from the leaf to the trust anchor, each as DER. None where
    #: nothing was verified, or where the library does not tell.
    verified_chain: tuple[bytes, ...] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
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
