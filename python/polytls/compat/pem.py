"""PEM and DER in the form that `ssl` contexts accept."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final

__all__ = ["der_of", "encoded", "first_of", "sections", "split"]

_SECTION: Final = re.compile(
    rb"-----BEGIN ((?:TRUSTED )?CERTIFICATE|X509 CRL|DH PARAMETERS|[A-Z ]*PRIVATE KEY)-----.*?"
    rb"-----END \1-----",
    re.S,
)


def sections(data: bytes, kind: str) -> list[bytes]:
    """Return the sections whose label ends with `kind`, each with its boundaries."""
    return [
        match[0] + b"\n" for match in _SECTION.finditer(data) if match[1].decode().endswith(kind)
    ]


def der_of(section: bytes) -> bytes:
    """Return the first DER value of a section. Raises ValueError if there is none."""
    lines = map(bytes.strip, section.strip().splitlines()[1:-1])
    der = binascii.a2b_base64(b"".join(lines), strict_mode=True)
    # The rest of a TRUSTED CERTIFICATE is OpenSSL's own data.
    return first_of(der)


def encoded(der: bytes) -> str:
    """Return a certificate in PEM."""
    text = binascii.b2a_base64(der, newline=False).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def first_of(data: bytes) -> bytes:
    """Return the first DER value of data. Raises ValueError if it is invalid or truncated."""
    length = _length(data)
    if length > len(data):
        raise ValueError("DER that is cut off")
    return data[:length]


def split(data: bytes) -> Iterator[bytes]:
    """Yield consecutive DER values. Raises ValueError for invalid ones."""
    while data:
        found = first_of(data)
        yield found
        data = data[len(found) :]


def _length(der: bytes) -> int:
    if len(der) < 2 or der[0] != 0x30:
        raise ValueError("no DER")
    first = der[1]
    if first < 0x80:
        return 2 + first
    digits = first & 0x7F
    return 2 + digits + int.from_bytes(der[2 : 2 + digits], "big")
