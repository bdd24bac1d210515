"""Certificates and keys out of bytes, for libraries that take them in one form only.

PEM or DER are told apart by the preamble (PEP 748, "Certificates"), as the core's `pem.rs` does,
in the same words. What a certificate says is read by the core alone (`polytls.certificates`).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final

__all__ = ["Malformed", "certificates", "pem", "private_key"]

_ENCRYPTED: Final = (
    "the private key is encrypted; decrypt it first, for instance with "
    "`openssl pkey -in key.pem -out plain.pem`, and pass the result"
)

#: What editors on Windows put before text in UTF-8.
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_BEGIN: Final = re.compile(rb"BEGIN (.*?)-----")

_KEY_LABELS: Final = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY")

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
    if not data:
        raise Malformed("no data where a certificate should be")
    if data[0] == _SEQUENCE:
        try:
            _, _, end = _element(data, 0, len(data))
        except Malformed:
            raise Malformed("the DER certificate is cut short") from None
        if end < len(data):
            raise Malformed(f"{len(data) - end} bytes of something else follow the DER certificate")
        return [data]
    found = [der for _, der in _sections(data, (b"CERTIFICATE",))]
    if not found:
        raise Malformed("neither PEM with a CERTIFICATE section nor a certificate in DER")
    return found


def private_key(data: bytes) -> bytes:
    """Return the one private key in `data`, PKCS#8, PKCS#1 or SEC1, as a PEM section.

    Raises Malformed if there is none or more than one, or if it is encrypted.
    """
    if not data:
        raise Malformed("no data where a private key should be")
    if data[0] == _SEQUENCE:
        return pem(_label_of(data), _in_first_version(data))
    if b"-----BEGIN ENCRYPTED PRIVATE KEY" in data or b"4,ENCRYPTED" in data:
        raise Malformed(_ENCRYPTED)
    keys = [*_sections(data, _KEY_LABELS)]
    if not keys:
        raise Malformed(
            "no private key: neither PEM with a PRIVATE KEY section (PKCS#8, PKCS#1, SEC1) nor DER"
        )
    if len(keys) > 1:
        raise Malformed("more than one private key")
    label, der = keys[0]
    return pem(label.decode(), _in_first_version(der))


def _sections(data: bytes, labels: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """The sections of these kinds in a PEM file: label and contents.

    All else is passed over: it may well be no PEM of today, such as keys with headers (RFC 1421).
    But a section that begins within a line would be missing in silence.
    """
    label: bytes | None = None
    body: list[bytes] = []
    for line in map(bytes.strip, data.removeprefix(_BYTE_ORDER_MARK).splitlines()):
        begin = _BEGIN.search(line)
        alone = begin and line == b"-----BEGIN " + begin[1] + b"-----"
        if begin and not alone and not line.startswith(b"#"):
            raise Malformed(
                "a PEM section whose BEGIN line holds something else, too: each BEGIN and each END "
                "needs a line of its own"
            )
        if line.startswith(b"-----BEGIN ") and label is None:
            name = line.removeprefix(b"-----BEGIN ").removesuffix(b"-----")
            label, body = (name if name in labels else None), []
        elif label is not None and line == b"-----END " + label + b"-----":
            yield label, _decoded(body)
            label = None
        else:
            body.append(line)
    if label is not None:
        raise Malformed("a PEM section without its END line: the file is cut short")


def _decoded(lines: list[bytes]) -> bytes:
    try:
        der = binascii.a2b_base64(b"".join(lines), strict_mode=True)
    except binascii.Error:
        raise Malformed("a PEM section that is not valid base64") from None
    if not der:
        raise Malformed("a PEM section with nothing in it")
    return der


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


def _label_of(der: bytes) -> str:
    """The PEM label of a private key in DER, by its first two elements."""
    try:
        _, start, end = _element(der, 0, len(der), _SEQUENCE)
        kinds = [kind for kind, _, _ in _elements(der, start, end)][:2]
    except Malformed:
        kinds = []
    # EncryptedPrivateKeyInfo (RFC 5958 3) begins with an AlgorithmIdentifier, a sequence; the
    # plain forms with a version, an integer.
    if kinds[:1] == [_SEQUENCE]:
        raise Malformed(_ENCRYPTED)
    labels = {
        (_INTEGER, _SEQUENCE): "PRIVATE KEY",
        (_INTEGER, _INTEGER): "RSA PRIVATE KEY",
        (_INTEGER, _OCTETS): "EC PRIVATE KEY",
    }
    try:
        return labels[tuple(kinds)]  # type: ignore[index]
    except KeyError:
        raise Malformed("not a private key in PKCS#8, PKCS#1 or SEC1 DER") from None


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
