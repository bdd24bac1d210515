"""Certificates that rcgen does not make: one that was issued is changed, and signed anew.

DER is put together by hand (ITU-T X.690), in the form of RFC 5280 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from polytls import Certificate, PrivateKey, SigningChain, _native
from polytls.constants import SignatureScheme
from polytls.testing import CertificateAuthority

__all__ = [
    "EXPLICIT_P256",
    "Draft",
    "Extension",
    "bits",
    "element",
    "elements",
    "integer",
    "octets",
    "oid",
    "sequence",
]

_INTEGER, _BITS, _OCTETS, _OID, _SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30


def element(tag: int, *contents: bytes) -> bytes:
    """Return an element in DER."""
    data = b"".join(contents)
    if len(data) < 0x80:
        return bytes([tag, len(data)]) + data
    length = len(data).to_bytes((len(data).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + data


def elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the elements in `data`: each its tag, its contents and all of it."""
    while data:
        tag, length, start = data[0], data[1], 2
        if length >= 0x80:
            start = 2 + (length & 0x7F)
            length = int.from_bytes(data[2:start])
        yield tag, data[start : start + length], data[: start + length]
        data = data[start + length :]


def sequence(*contents: bytes) -> bytes:
    """Return a SEQUENCE."""
    return element(_SEQUENCE, *contents)


def integer(number: int) -> bytes:
    """Return an INTEGER."""
    return element(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, signed=True))


def octets(*contents: bytes) -> bytes:
    """Return an OCTET STRING."""
    return element(_OCTETS, *contents)


def bits(data: bytes, unused: int = 0) -> bytes:
    """Return a BIT STRING."""
    return element(_BITS, bytes([unused]), data)


def oid(text: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = map(int, text.split("."))
    data = bytearray()
    for number in (40 * first + second, *rest):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        data += bytes(reversed(digits))
    return element(_OID, bytes(data))


#: SpecifiedECDomain for P-256 (SEC 1 C.2, SEC 2 2.4.2): the curve by its numbers.
_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G: Final = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
_N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
EXPLICIT_P256: Final = sequence(
    integer(1),
    sequence(oid("1.2.840.10045.1.1"), integer(_P)),
    sequence(octets((_P - 3).to_bytes(32)), octets(_B.to_bytes(32))),
    octets(_G),
    integer(_N),
    integer(1),
)

#: The algorithm that authorities of `polytls.testing` sign with by default.
_ECDSA: Final = sequence(oid("1.2.840.10045.4.3.2"))


@dataclass(frozen=True)
class Extension:
    """One extension."""

    id: str
    value: bytes
    critical: bool = False

    def der(self) -> bytes:
        """Return it in DER."""
        critical = [b"\x01\x01\xff"] if self.critical else []
        return sequence(oid(self.id), *critical, octets(self.value))


@dataclass(frozen=True)
class Draft:
    """A certificate before it is signed. Parts are elements in DER."""

    serial: bytes
    issuer: bytes
    validity: bytes
    subject: bytes
    spki: bytes
    #: 1 has no version in it; 2 and 3 have.
    version: int = 3
    extensions: tuple[Extension, ...] = ()
    #: The algorithm that it names, inside and outside.
    algorithm: bytes = _ECDSA
    #: What it names outside, if that is another.
    outside: bytes | None = None
    key: PrivateKey | None = field(default=None, repr=False)
    above: tuple[Certificate, ...] = ()

    @classmethod
    def of(cls, der: bytes) -> Draft:
        """Take a certificate of version 3 apart."""
        ((_, outer, _),) = elements(der)
        (_, inner, _), (_, _, algorithm), _ = elements(outer)
        _, serial, _, issuer, validity, subject, spki, *rest = (
            all_ for *_, all_ in elements(inner)
        )
        extensions = []
        for tagged in rest:
            ((_, tagged_contents, _),) = elements(tagged)
            ((_, listed, _),) = elements(tagged_contents)
            for _, each, _ in elements(listed):
                (_, name, whole), *middle, (_, value, _) = elements(each)
                del name
                extensions.append(Extension(_text(whole), value, bool(middle)))
        return cls(
            serial, issuer, validity, subject, spki, extensions=(*extensions,), algorithm=algorithm
        )

    @classmethod
    def leaf(cls, authority: CertificateAuthority, *names: str, **given: Any) -> Draft:
        """Take a certificate that `authority` issues, as `issue` is told, with its key."""
        chain = authority.issue(*names, **given)
        certificate, key = chain.leaf
        made = cls.of(certificate.buffer or b"")
        return replace(made, key=key, above=(*chain.chain,))

    def but(self, **changed: Any) -> Draft:
        """Return one with other parts."""
        return replace(self, **changed)

    def having(self, *extensions: Extension) -> Draft:
        """Return one with these extensions, in the place of those of the same kind."""
        ids = {each.id for each in extensions}
        kept = [each for each in self.extensions if each.id not in ids]
        return replace(self, extensions=(*kept, *extensions))

    def without(self, *ids: str) -> Draft:
        """Return one without the extensions of these kinds."""
        return replace(self, extensions=tuple(x for x in self.extensions if x.id not in ids))

    def signed(self, by: CertificateAuthority) -> bytes:
        """Return the certificate, signed with the key of `by`, which is ECDSA on P-256."""
        version = [] if self.version == 1 else [element(0xA0, integer(self.version - 1))]
        listed = sequence(*(each.der() for each in self.extensions))
        extensions = [element(0xA3, listed)] if self.extensions and self.version == 3 else []
        inner = sequence(
            *version,
            self.serial,
            self.algorithm,
            self.issuer,
            self.validity,
            self.subject,
            self.spki,
            *extensions,
        )
        key = by.identity.leaf[1]
        assert key is not None
        signature = _native.sign(key.buffer or b"", inner, SignatureScheme.ecdsa_secp256r1_sha256)
        return sequence(inner, self.outside or self.algorithm, bits(signature))

    def issued(self, by: CertificateAuthority) -> SigningChain:
        """Return the certificate signed with the key of `by`, and what is above it."""
        assert self.key is not None
        leaf = Certificate.from_buffer(self.signed(by))
        return SigningChain((leaf, self.key), [*self.above])


def _text(whole: bytes) -> str:
    """An OBJECT IDENTIFIER as text."""
    ((_, data, _),) = elements(whole)
    numbers, number = [], 0
    for byte in data:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
