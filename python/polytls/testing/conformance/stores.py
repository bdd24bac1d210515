"""The table of what stands in trust stores: self-signed certificates, and what each is good for.

A certificate in a store is a leaf, for its own names and purposes, and an authority only if it may
issue by its own words (RFC 5280 6.1.4). Each row says both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from polytls import TrustStore, VerificationFailure
from polytls.testing import CertificateAuthority

__all__ = ["KINDS", "WAYS", "Kind", "device", "store"]

_NOW: Final = datetime.now(UTC)
_F = VerificationFailure

#: Signs handshakes; may sign certificates as well.
_LEAF: Final = ("digital signature",)
_BOTH: Final = (*_LEAF, "certificate signing")


@dataclass(frozen=True)
class Kind:
    """One kind of self-signed certificate."""

    title: str
    #: What `CertificateAuthority` is made with.
    given: dict[str, Any] = field(default_factory=dict)
    #: Why it is refused as a leaf; None: it is accepted.
    as_leaf: VerificationFailure | None = None
    #: Why what it issues is refused; None: it is accepted.
    as_authority: VerificationFailure | None = None
    #: The same where it is one of the system's.
    as_systems: VerificationFailure | None = None
    #: Whether its purpose is the other role's.
    misused: bool = False
    #: Whether names are in it.
    named: bool = True


def _kind(title: str, refused: VerificationFailure | None = None, **given: Any) -> Kind:
    """One that is a leaf, and an authority unless it is `refused`."""
    return Kind(title, given, as_authority=refused, as_systems=refused)


KINDS: Final = (
    _kind("CA:FALSE", _F.UNKNOWN_ISSUER, authority=False, key_usage=_LEAF),
    _kind("CA:FALSE without key usage", _F.UNKNOWN_ISSUER, authority=False, key_usage=()),
    _kind("no basic constraints", _F.UNKNOWN_ISSUER, authority=None, key_usage=()),
    # As `openssl req -x509` makes them.
    _kind("CA:TRUE without key usage", key_usage=()),
    _kind("CA:TRUE with keyCertSign", key_usage=_BOTH),
    _kind("CA:TRUE with keyCertSign alone", key_usage=("certificate signing",)),
    _kind("CA:TRUE without keyCertSign", _F.UNKNOWN_ISSUER, key_usage=_LEAF),
    Kind(
        "version 1",
        {"version": 1},
        as_authority=_F.UNKNOWN_ISSUER,
        named=False,
    ),
    Kind(
        "expired",
        {
            "key_usage": (),
            "not_before": _NOW - timedelta(days=9),
            "not_after": _NOW - timedelta(days=2),
        },
        as_leaf=_F.EXPIRED,
        as_authority=_F.EXPIRED,
        as_systems=_F.EXPIRED,
    ),
    Kind(
        "another purpose",
        {"key_usage": ()},
        as_leaf=_F.INVALID_PURPOSE,
        as_authority=_F.INVALID_PURPOSE,
        as_systems=_F.INVALID_PURPOSE,
        misused=True,
    ),
)


def device(kind: Kind, host: str, *, server: bool) -> CertificateAuthority:
    """A device that has such a certificate, to be a server or a client with it."""
    given = {**kind.given}
    if kind.misused:
        given |= {"server": not server, "client": server}
    return CertificateAuthority("device", names=[host], **given)


def _system(
    trusted: CertificateAuthority, folder: Path, setenv: Callable[[str, str], None]
) -> TrustStore:
    bundle = folder / "bundle.pem"
    others = CertificateAuthority().certificate_pem
    bundle.write_bytes(others + trusted.certificate_pem)
    setenv("SSL_CERT_FILE", str(bundle))
    setenv("SSL_CERT_DIR", str(folder / "none"))
    return TrustStore.system()


#: How a certificate comes to be trusted.
WAYS: Final = ("given", "given with others", "extra", "peers", "system")


def store(
    way: str, trusted: CertificateAuthority, folder: Path, setenv: Callable[[str, str], None]
) -> TrustStore:
    """A store with that certificate."""
    others = CertificateAuthority()
    if way == "given":
        return TrustStore.from_buffer(trusted.certificate_der)
    if way == "given with others":
        return TrustStore.from_buffer(trusted.certificate_pem + others.certificate_pem)
    if way == "peers":
        return TrustStore.from_buffer(others.certificate_pem, peers=[trusted.certificate])
    if way == "extra":
        _system(others, folder, setenv)
        return TrustStore.system(extra=[trusted.certificate])
    return _system(trusted, folder, setenv)
