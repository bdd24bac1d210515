"""Certificates and keys out of bytes, for libraries that take them in one form only.

PEM or DER are told apart by the preamble (PEP 748, "Certificates"), as the core's `pem.rs` does,
in the same words; and of certificates just what names and explanations need is read. Nothing here
decides whether a certificate is trusted: that is the TLS library's business.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

__all__ = ["Facts", "Malformed", "certificates", "facts", "pem", "private_key"]

_ENCRYPTED: Final = (
    "the private key is encrypted; decrypt it first, for instance with "
    "`openssl pkey -in key.pem -out plain.pem`, and pass the result"
)

_KEY_LABELS: Final = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY")

# Tags of DER (ITU-T X.690 8.1.2), and those that RFC 5280 4.1 gives to parts of a certificate.
_BOOLEAN, _INTEGER, _OCTETS, _OID = 0x01, 0x02, 0x04, 0x06
_UTC_TIME, _SEQUENCE = 0x17, 0x30
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_BMP_STRING = 0x1E

_SUBJECT_ALT_NAME: Final = bytes.fromhex("551d11")
#: Attributes of distinguished names that have a short name (RFC 4514 3).
_ATTRIBUTES: Final = {
    bytes.fromhex("550403"): "CN",
    bytes.fromhex("550406"): "C",
    bytes.fromhex("550407"): "L",
    bytes.fromhex("550408"): "ST",
    bytes.fromhex("55040a"): "O",
    bytes.fromhex("55040b"): "OU",
}


class Malformed(ValueError):
    """Bytes that hold no usable certificate or key. The message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says of itself; for people, and for the choice between certificates."""

    #: The DNS names among the subject's alternative names, never the common name.
    dns_names: tuple[str, ...]
    ip_addresses: tuple[IPv4Address | IPv6Address, ...]
    #: Distinguished names in one line; control characters are escaped.
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime


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


def facts(der: bytes) -> Facts:
    """Read one certificate (RFC 5280 4.1).

    Raises Malformed for anything else, and if something follows the certificate.
    """
    try:
        return _facts(der)
    except (IndexError, UnicodeError, OverflowError) as error:
        raise Malformed(f"it is cut short or malformed ({error})") from None


def _facts(der: bytes) -> Facts:
    _, start, end = _element(der, 0, len(der), _SEQUENCE)
    if end != len(der):
        raise Malformed(f"{len(der) - end} bytes follow it")
    _, start, end = _element(der, start, end, _SEQUENCE)
    parts = list(_elements(der, start, end))
    if parts and parts[0][0] == _VERSION:
        del parts[0]
    if len(parts) < 6:
        raise Malformed("it is no certificate")
    _, _, issuer, validity, subject, _, *rest = parts
    before, after = (_time(der, *part) for part in _elements(der, *validity[1:]))
    names, addresses = _alternative_names(der, rest)
    return Facts(
        dns_names=tuple(names),
        ip_addresses=tuple(addresses),
        subject=_distinguished_name(der, *subject[1:]),
        issuer=_distinguished_name(der, *issuer[1:]),
        not_before=before,
        not_after=after,
    )


def _alternative_names(
    der: bytes, parts: list[tuple[int, int, int]]
) -> tuple[list[str], list[IPv4Address | IPv6Address]]:
    names: list[str] = []
    addresses: list[IPv4Address | IPv6Address] = []
    for tag, start, end in parts:
        if tag != _EXTENSIONS:
            continue
        _, start, end = _element(der, start, end, _SEQUENCE)
        for _, inner, inner_end in _elements(der, start, end):
            (_, oid, oid_end), *_, (_, value, value_end) = _elements(der, inner, inner_end)
            if der[oid:oid_end] != _SUBJECT_ALT_NAME:
                continue
            _, value, value_end = _element(der, value, value_end, _SEQUENCE)
            for kind, at, to in _elements(der, value, value_end):
                if kind == _DNS_NAME:
                    names.append(der[at:to].decode("ascii"))
                elif kind == _IP_ADDRESS and to - at in (4, 16):
                    addresses.append(ip_address(der[at:to]))
    return names, addresses


def _distinguished_name(der: bytes, start: int, end: int) -> str:
    shown = []
    for _, one, one_end in _elements(der, start, end):
        for _, pair, pair_end in _elements(der, one, one_end):
            (_, oid, oid_end), (kind, value, value_end) = _elements(der, pair, pair_end)
            encoding = "utf-16-be" if kind == _BMP_STRING else "utf-8"
            text = der[value:value_end].decode(encoding, "replace")
            name = _ATTRIBUTES.get(der[oid:oid_end], der[oid:oid_end].hex())
            # Names come from strangers: nothing in them may steer a terminal.
            printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
            shown.append(f"{name}={printable}")
    return ", ".join(shown)


def _time(der: bytes, kind: int, start: int, end: int) -> datetime:
    """A time as RFC 5280 4.1.2.5 allows it: to the second, in UTC."""
    text = der[start:end].decode("ascii")
    if kind == _UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Malformed("a time that is none") from None


def _sections(data: bytes, labels: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """The sections of these kinds in a PEM file: label and contents.

    All else is passed over: it may well be no PEM of today, such as keys with headers (RFC 1421).
    """
    label: bytes | None = None
    body: list[bytes] = []
    for line in map(bytes.strip, data.splitlines()):
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
