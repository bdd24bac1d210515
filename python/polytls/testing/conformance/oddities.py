"""The table of odd certificates: one oddity each, what must come of it, and what must be said.

RFC 5280 says what is odd; who is told of it must learn what stands in the certificate, and no
library's name for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from polytls import Certificate, SigningChain, VerificationFailure
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.drafts import (
    EXPLICIT_P256,
    Draft,
    Extension,
    bits,
    element,
    elements,
    integer,
    octets,
    oid,
    sequence,
)
from polytls.testing.conformance.lab import HOST

__all__ = ["ROWS", "Row", "explicit_curve"]

_F = VerificationFailure


@dataclass(frozen=True)
class Row:
    """One oddity."""

    title: str
    #: The certificate, from an authority that signs with ECDSA on P-256.
    make: Callable[[CertificateAuthority], SigningChain]
    #: Why it is refused; None: it is accepted.
    reason: VerificationFailure | None
    #: What the message says, all of it.
    said: tuple[str, ...] = ()
    #: What the last line of the explanation says.
    advice: str = ""
    #: Which certificate is at fault.
    index: int = 0
    #: Whether a server can sign handshakes of TLS 1.2 with it.
    signs: bool = True


def _leaf(change: Callable[[Draft], Draft]) -> Callable[[CertificateAuthority], SigningChain]:
    """A certificate with that change."""
    return lambda ca: change(Draft.leaf(ca, HOST)).issued(ca)


def _between(change: Callable[[Draft], Draft]) -> Callable[[CertificateAuthority], SigningChain]:
    """A certificate below an authority with that change."""

    def make(ca: CertificateAuthority) -> SigningChain:
        between = ca.intermediate("the one between")
        chain = between.issue(HOST)
        changed = change(Draft.of(between.certificate_der)).signed(ca)
        return SigningChain(chain.leaf, [Certificate.from_buffer(changed)])

    return make


def _purposes(*ids: str) -> Extension:
    return Extension("2.5.29.37", sequence(*map(oid, ids)))


def explicit_curve(spki: bytes) -> bytes:
    """Return a key on P-256 with the curve by its numbers (RFC 5480 2.1.1 forbids it)."""
    ((_, outer, _),) = elements(spki)
    _, (_, _, point) = elements(outer)
    return sequence(sequence(oid("1.2.840.10045.2.1"), EXPLICIT_P256), point)


def _time(text: str) -> bytes:
    return element(0x17, text.encode())


def _pss(salt: int) -> bytes:
    """RSASSA-PSS with SHA-256 and a salt of that size (RFC 4055 3.1)."""
    sha256 = sequence(oid("2.16.840.1.101.3.4.2.1"), element(0x05))
    mask = sequence(oid("1.2.840.113549.1.1.8"), sha256)
    parameters = sequence(element(0xA0, sha256), element(0xA1, mask), element(0xA2, integer(salt)))
    return sequence(oid("1.2.840.113549.1.1.10"), parameters)


_NEW_VERSION: Final = "have it reissued as version 3"
_NAMELESS: Final = "1.3.6.1.4.1.55738.7"
_KEY_USAGE: Final = "2.5.29.15"
_BASIC: Final = "2.5.29.19"
_CONSTRAINTS: Final = "2.5.29.30"


def _permitted(name: str) -> bytes:
    """Name constraints: this DNS name, and what is below it (RFC 5280 4.2.1.10)."""
    return sequence(element(0xA0, sequence(element(0x82, name.encode()))))


def _named(*, critical: bool) -> Extension:
    return Extension("2.5.29.17", sequence(element(0x82, HOST.encode())), critical)


ROWS: Final = (
    # --- versions ---
    Row(
        "version 1",
        _leaf(lambda it: it.but(version=1)),
        _F.BAD_ENCODING,
        ("has X.509 version 1, which has no extensions to state its use",),
        _NEW_VERSION,
    ),
    Row(
        "version 2",
        _leaf(lambda it: it.but(version=2)),
        _F.BAD_ENCODING,
        ("has X.509 version 2",),
        _NEW_VERSION,
    ),
    # --- extensions ---
    Row(
        "a critical extension without a name",
        _leaf(lambda it: it.having(Extension(_NAMELESS, octets(b""), critical=True))),
        _F.UNHANDLED_CRITICAL_EXTENSION,
        ("has a critical extension that polytls does not support", _NAMELESS),
        "have it reissued without it",
    ),
    Row(
        "a precertificate",
        _leaf(
            lambda it: it.having(Extension("1.3.6.1.4.1.11129.2.4.3", element(0x05), critical=True))
        ),
        _F.UNHANDLED_CRITICAL_EXTENSION,
        ("1.3.6.1.4.1.11129.2.4.3 (Certificate Transparency poison",),
        "have it reissued without it",
    ),
    Row(
        "two critical extensions of an authority",
        _between(
            lambda it: it.having(
                Extension(_NAMELESS, octets(b""), critical=True),
                Extension("1.3.6.1.5.5.7.1.24", sequence(integer(5)), critical=True),
            )
        ),
        _F.UNHANDLED_CRITICAL_EXTENSION,
        (
            "the certificate of CN=the one between (intermediate 1)",
            "has critical extensions that polytls does not support",
            f"{_NAMELESS} and 1.3.6.1.5.5.7.1.24 (TLS features)",
        ),
        "have it reissued without them",
        index=1,
    ),
    Row(
        "an extension without a name",
        _leaf(lambda it: it.having(Extension(_NAMELESS, octets(b"")))),
        None,
    ),
    Row(
        "an authority's malformed extension",
        _between(lambda it: it.having(Extension(_KEY_USAGE, element(0x05), critical=True))),
        _F.BAD_ENCODING,
        ("(intermediate 1)", "cannot be read: its key usage is malformed"),
        "have it reissued",
        index=1,
    ),
    # --- uses ---
    Row(
        "for code and mail",
        _leaf(lambda it: it.having(_purposes("1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.4"))),
        _F.INVALID_PURPOSE,
        ("is for code signing and email protection (extended key usage)", "not for TLS"),
        "Auth in its extended key usage",
    ),
    Row(
        "for a purpose without a name",
        _leaf(lambda it: it.having(_purposes("1.3.6.1.4.1.55738.9"))),
        _F.INVALID_PURPOSE,
        ("is for 1.3.6.1.4.1.55738.9 (extended key usage)",),
        "Auth in its extended key usage",
    ),
    Row(
        "an authority for time stamps",
        _between(lambda it: it.having(_purposes("1.3.6.1.5.5.7.3.8"))),
        _F.INVALID_PURPOSE,
        (
            "the certificate of CN=the one between (intermediate 1)",
            "is for time stamping (extended key",
        ),
        "Auth in its extended key usage",
        index=1,
    ),
    Row(
        "a key to encrypt keys with",
        _leaf(lambda it: it.having(Extension(_KEY_USAGE, bits(b"\x20", 5), critical=True))),
        _F.INVALID_PURPOSE,
        ("has a key for key encipherment (key usage), not for digital signatures",),
        "have it reissued with digital signatures in its key usage",
        signs=False,
    ),
    Row(
        "an authority that is none",
        _between(lambda it: it.having(Extension(_BASIC, sequence(), critical=True))),
        _F.INVALID_PURPOSE,
        ("issued another certificate, but is not a CA: its basic constraints say CA:FALSE",),
        "get one issued by a CA",
        index=1,
    ),
    Row(
        "an authority without basic constraints",
        _between(lambda it: it.without(_BASIC)),
        _F.INVALID_PURPOSE,
        ("issued another certificate, but is not a CA: it has no basic constraints",),
        "get one issued by a CA",
        index=1,
    ),
    Row(
        "an authority that may not sign certificates",
        _between(lambda it: it.having(Extension(_KEY_USAGE, bits(b"\x80", 7), critical=True))),
        _F.INVALID_PURPOSE,
        ("has a key for digital signatures (key usage), not for signing certificates",),
        "have it reissued with signing certificates in its key usage",
        index=1,
    ),
    # --- keys and signatures ---
    Row(
        "a curve by its numbers",
        _leaf(lambda it: it.but(spki=explicit_curve(it.spki))),
        _F.UNSUPPORTED_SIGNATURE_ALGORITHM,
        ("uses explicit elliptic curve parameters instead of a named curve",),
        "create a key on a named curve, such as P-256",
    ),
    Row(
        "an authority's curve by its numbers",
        _between(lambda it: it.but(spki=explicit_curve(it.spki))),
        _F.UNSUPPORTED_SIGNATURE_ALGORITHM,
        ("(intermediate 1)", "uses explicit elliptic curve parameters instead of a named curve"),
        "create a key on a named curve, such as P-256",
        index=1,
    ),
    Row(
        "a salt of 20 bytes",
        _leaf(lambda it: it.but(algorithm=_pss(20))),
        _F.UNSUPPORTED_SIGNATURE_ALGORITHM,
        (
            "is signed with RSASSA-PSS with SHA-256 and a salt of 20 bytes, which is not supported",
            "must have 32 bytes",
        ),
        "have the issuer sign it with a newer algorithm",
    ),
    Row(
        "SHA-1",
        _leaf(lambda it: it.but(algorithm=sequence(oid("1.2.840.10045.4.1")))),
        _F.UNSUPPORTED_SIGNATURE_ALGORITHM,
        ("is signed with ECDSA with SHA-1, which is not supported",),
        "have the issuer sign it with a newer algorithm",
    ),
    Row(
        "DSA",
        _leaf(lambda it: it.but(algorithm=sequence(oid("2.16.840.1.101.3.4.3.2")))),
        _F.UNSUPPORTED_SIGNATURE_ALGORITHM,
        ("is signed with DSA with SHA-256, which is not supported",),
        "have the issuer sign it with a newer algorithm",
    ),
    Row(
        "Ed448",
        _leaf(lambda it: it.but(algorithm=sequence(oid("1.3.101.113")))),
        _F.UNSUPPORTED_SIGNATURE_ALGORITHM,
        ("is signed with Ed448, which is not supported",),
        "have the issuer sign it with a newer algorithm",
    ),
    Row(
        "a signature without a name",
        _leaf(lambda it: it.but(algorithm=sequence(oid("1.3.6.1.4.1.55738.3")))),
        _F.UNSUPPORTED_SIGNATURE_ALGORITHM,
        ("is signed with 1.3.6.1.4.1.55738.3, which is not supported",),
        "have the issuer sign it with a newer algorithm",
    ),
    Row(
        "one algorithm inside, another outside",
        _leaf(lambda it: it.but(outside=sequence(oid("1.2.840.10045.4.3.3")))),
        _F.BAD_SIGNATURE,
        ("has signature algorithm fields that differ",),
        "have it reissued",
    ),
    # --- times and numbers ---
    Row(
        "a month too many",
        _leaf(lambda it: it.but(validity=sequence(_time("261301000000Z"), _time("491301000000Z")))),
        _F.BAD_ENCODING,
        ("cannot be read: invalid date",),
        "have it reissued",
    ),
    Row(
        "an end before its beginning",
        _leaf(lambda it: it.but(validity=sequence(_time("491201000000Z"), _time("250101000000Z")))),
        _F.BAD_ENCODING,
        ("has an invalid validity period: notBefore is after notAfter",),
        "have it reissued",
    ),
    # --- names ---
    Row(
        "a subject of an unknown kind that is no text",
        _leaf(
            lambda it: it.but(
                version=1,
                subject=sequence(
                    element(0x31, sequence(oid("1.3.6.1.4.1.55738.5"), element(0x14, b"\xff\xfe"))),
                    element(0x31, sequence(oid("2.5.4.3"), sequence(integer(1)))),
                ),
            )
        ),
        _F.BAD_ENCODING,
        ("the certificate of 1.3.6.1.4.1.55738.5=\ufffd\ufffd, CN=#020101 has X.509 version 1",),
        _NEW_VERSION,
    ),
    Row("a negative serial number", _leaf(lambda it: it.but(serial=integer(-5))), None),
    Row("a serial number of 0", _leaf(lambda it: it.but(serial=integer(0))), None),
    Row("a serial number of 30 bytes", _leaf(lambda it: it.but(serial=integer(2**239))), None),
    # --- what the profile forbids ---
    Row(
        "a leaf that may sign certificates",
        _leaf(lambda it: it.having(Extension(_KEY_USAGE, bits(b"\x84", 2), critical=True))),
        _F.INVALID_PURPOSE,
        ("is not a CA certificate (no CA:TRUE), but its key usage includes keyCertSign",),
        "have it reissued without keyCertSign",
    ),
    Row(
        "a leaf with name constraints",
        _leaf(lambda it: it.having(Extension(_CONSTRAINTS, _permitted("example"), critical=True))),
        _F.INVALID_PURPOSE,
        ("is not a CA certificate (no CA:TRUE), but has name constraints",),
        "have it reissued without name constraints",
    ),
    Row(
        "no subject, and names that are not critical",
        _leaf(lambda it: it.but(subject=sequence())),
        _F.BAD_ENCODING,
        ("has an empty subject, but its subject alternative name is not critical",),
        "have it reissued, as RFC 5280 requires",
    ),
    Row(
        "no subject, and names that are critical",
        _leaf(lambda it: it.but(subject=sequence()).having(_named(critical=True))),
        None,
    ),
    Row(
        "an authority's policy constraints that are not critical",
        _between(lambda it: it.having(Extension("2.5.29.36", sequence(b"\x80\x01\x00")))),
        _F.BAD_ENCODING,
        ("(intermediate 1)", "has policy constraints that are not critical"),
        "have it reissued, as RFC 5280 requires",
        index=1,
    ),
    Row(
        "an authority's name constraints without a name",
        _between(lambda it: it.having(Extension(_CONSTRAINTS, sequence(), critical=True))),
        _F.BAD_ENCODING,
        ("(intermediate 1)", "has empty name constraints"),
        "have it reissued, as RFC 5280 requires",
        index=1,
    ),
    Row(
        "an authority's name constraints with an empty list",
        _between(
            lambda it: it.having(Extension(_CONSTRAINTS, sequence(element(0xA0)), critical=True))
        ),
        _F.BAD_ENCODING,
        ("(intermediate 1)", "has empty name constraints"),
        "have it reissued, as RFC 5280 requires",
        index=1,
    ),
    Row(
        "an authority's name constraints that are none",
        _between(lambda it: it.having(Extension(_CONSTRAINTS, element(0x05), critical=True))),
        _F.BAD_ENCODING,
        ("(intermediate 1)", "has empty name constraints"),
        "have it reissued, as RFC 5280 requires",
        index=1,
    ),
    # --- name constraints ---
    Row(
        "names outside what its authority may issue for",
        lambda ca: ca.intermediate("the one between", permitted=("test",)).issue(HOST),
        _F.NAME_CONSTRAINT_VIOLATION,
        (
            "the certificate of CN=the one between (intermediate 1)",
            "must only issue for test (name constraints), and a certificate below it has other",
        ),
        "get one from a CA that is allowed to issue for all of its names",
        index=1,
    ),
    Row(
        "an address that its authority may not issue for",
        lambda ca: ca.intermediate("the one between", excluded=("192.0.2.0/24",)).issue(
            HOST, "192.0.2.1"
        ),
        _F.NAME_CONSTRAINT_VIOLATION,
        ("must not issue for 192.0.2.0/24 (name constraints)",),
        "get one from a CA that is allowed to issue for all of its names",
        index=1,
    ),
    # --- path lengths ---
    Row(
        "an authority too many",
        lambda ca: (
            ca.intermediate("the upper", path_length=0).intermediate("the lower").issue(HOST)
        ),
        _F.PATH_TOO_LONG,
        (
            "the certificate of CN=the upper (intermediate 2)",
            "violates its path length constraint: 0 CAs allowed below it, 1 present",
        ),
        "get a certificate from a CA that is allowed to issue it",
        index=2,
    ),
)
