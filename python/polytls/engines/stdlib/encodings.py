"""Certificates and keys out of bytes, for libraries that take them in one form only.

The core reads PEM and DER (`pem.rs`), for all implementations.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from ... import _native

__all__ = ["Malformed", "certificates", "pem", "private_key"]

# Tags of DER (ITU-T X.690 8.1.2).
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30


class Malformed(ValueError):
    """Bytes that hold no usable certificate or key. The message says what to do about it."""


def pem(label: str, der: bytes) -> bytes:
    """Return `der` as a PEM section (RFC 7468)."""
    text = binascii.b2a_base64(der, newline=False).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def certificates(data: bytes) -> list[bytes]:
    """Return all certificates in `data` as DER: those of a PEM bundle, or one in DER.

    Raises Malformed if there is none, or if a section is broken.
    """
    try:
        return _native.certificates(data)
    except ValueError as error:
        raise Malformed(str(error)) from None


def private_key(data: bytes) -> bytes:
    """Return the one private key in `data`, PKCS#8, PKCS#1 or SEC1, as a PEM section.

    Raises Malformed if there is none or more than one, or if it is encrypted.
    """
    try:
        label, der = _native.private_key(data)
    except ValueError as error:
        raise Malformed(str(error)) from None
    return pem(label, _in_first_version(der))


def _in_first_version(der: bytes) -> bytes:
    """A PKCS#8 key without what its second version adds: OpenSSL 3.0 does not read that.

    The public key, that is (RFC 5958 2; some tools write it for Ed25519).
    """
    try:
        _, start, end = _element(der, 0, len(der), _SEQUENCE)
        (first, at, to), (second, *_), (third, _, last), *_ = _elements(der, start, end)
    except (Malformed, ValueError):
        return der
    if (first, second, third) != (_INTEGER, _SEQUENCE, _OCTETS) or der[at:to] != b"\x01":
        return der
    content = der[start:at] + b"\x00" + der[to:last]
    return bytes([_SEQUENCE, 0x82, *len(content).to_bytes(2)]) + content


def _element(
    der: bytes, start: int, limit: int, expected: int | None = None
) -> tuple[int, int, int]:
    """The element at `start`: its tag, and where its contents begin and end."""
    if start + 2 > limit:
        raise Malformed("it is cut short")
    tag, length, content = der[start], der[start + 1], start + 2
    if length >= 0x80:
        digits = length & 0x7F
        if not 1 <= digits <= 4 or content + digits > limit:
            raise Malformed("it is cut short")
        length = int.from_bytes(der[content : content + digits])
        content += digits
    if content + length > limit:
        raise Malformed("it is cut short")
    if expected is not None and tag != expected:
        raise Malformed("it is no certificate")
    return tag, content, content + length


def _elements(der: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The elements between `start` and `end`."""
    while start < end:
        found = _element(der, start, end)
        yield found
        start = found[2]
