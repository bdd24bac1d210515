"""What `ssl` can tell of a connection, once its handshake is done."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final

from ...certificates import read
from ...constants import CipherSuite, NamedGroup, NextProtocol, TLSVersion, known
from ...info import CertificateInfo, ConnectionInfo
from .credentials import NAME
from .engine import Session, Side
from .openssl_names import GROUPS, suites

__all__ = ["facts_of", "peer_chain", "presented_chain", "verified_chain"]

#: What `public_bytes` of a certificate of the inner object's takes (X509_FILETYPE_ASN1).
_DER: Final = 2

_VERSIONS: Final = {"TLSv1.2": TLSVersion.TLSv1_2, "TLSv1.3": TLSVersion.TLSv1_3}
_NUMBERS: Final = {suite.name: suite.number for suite in suites()}
_GROUPS: Final = {name.lower(): group for group, name in GROUPS.items()} | {
    group.name.lower(): group for group in GROUPS
}


def facts_of(side: Side) -> ConnectionInfo:
    """Return the facts of a handshake that is done."""
    tls = side.tls
    name, version, _ = tls.cipher() or ("", "", 0)
    resumed = bool(tls.session_reused)
    protocol = tls.selected_alpn_protocol()
    presented = peer_chain(side, resumed)
    return ConnectionInfo(
        implementation=NAME,
        version=_VERSIONS[tls.version() or version],
        cipher=known(CipherSuite, _NUMBERS[name]),
        group=_group(side, name, resumed),
        alpn=None if protocol is None else _protocol(protocol.encode()),
        server_name=tls.server_name if side.server else _asked_for(side.host),
        resumed=resumed,
        peer=_read(presented),
        peer_chain=presented or None,
        verified_chain=None if side.verdict is None else side.verdict.path,
    )


def presented_chain(tls: Session) -> tuple[bytes, ...]:
    """Return what the peer presented, leaf first, as far as `ssl` tells.

    On a client OpenSSL 3 keeps it even if it was refused; on a server, and where the session was
    resumed from a ticket, it does not (SSL_get_peer_cert_chain(3)).
    """
    return _chain(tls, "get_unverified_chain")


def verified_chain(tls: Session) -> tuple[bytes, ...]:
    """Return the path by which OpenSSL accepted the peer, as far as `ssl` tells."""
    return _chain(tls, "get_verified_chain")


def _chain(tls: Session, method: str) -> tuple[bytes, ...]:
    # Python 3.13 has public methods (gh-109109), which fail where the chain holds None: on
    # servers whose client presented nothing. What they call, the inner object has had since 3.10.
    inner: Any = getattr(tls, "_sslobj", None)
    found = getattr(inner, method, lambda: None)()
    return tuple(each.public_bytes(_DER) for each in found or () if each)


def peer_chain(side: Side, resumed: bool) -> tuple[bytes, ...]:
    """Return what the peer presented, once the handshake is done; when it began, if resumed."""
    if resumed and side.offered is not None:
        return side.offered.peer_chain
    chain = presented_chain(side.tls)
    if not chain and (leaf := side.tls.getpeercert(True)):
        return (leaf,)
    return chain


def _read(presented: tuple[bytes, ...]) -> CertificateInfo | None:
    with suppress(ValueError):
        return read(presented[0]) if presented else None
    return None


def _group(side: Side, suite: str, resumed: bool) -> NamedGroup | int | None:
    tls: Any = side.tls
    if hasattr(tls, "group"):  # Python 3.15 (gh-136306).
        return _GROUPS.get(str(tls.group()).lower())
    # TLS 1.3 always exchanges keys, as `ssl` uses it; TLS 1.2 by ECDHE, unless it is resumed.
    exchanged = suite.startswith("TLS_") or ("ECDHE" in suite and not resumed)
    return side.only_group if exchanged else None


def _protocol(name: bytes) -> NextProtocol | bytes:
    try:
        return NextProtocol(name)
    except ValueError:
        return name


def _asked_for(host: str | None) -> str | None:
    """The name in ClientHello: addresses are never asked for (RFC 6066 3)."""
    try:
        ip_address(host or "::")
    except ValueError:
        return host
    return None
