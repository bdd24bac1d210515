"""ClientHello and ServerHello (RFC 8446 4.1.2 and 4.1.3): what they show, and how to change it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = [
    "CERTIFICATE_AUTHORITIES",
    "KEY_SHARE",
    "RETRY",
    "SIGNATURE_ALGORITHMS",
    "SUPPORTED_GROUPS",
    "SUPPORTED_VERSIONS",
    "Hello",
    "groups_shared",
    "offered_tickets",
]

#: Extensions.
SUPPORTED_GROUPS, SIGNATURE_ALGORITHMS = 10, 13
PRE_SHARED_KEY, SUPPORTED_VERSIONS, CERTIFICATE_AUTHORITIES, KEY_SHARE = 41, 43, 47, 51

#: The random of a ServerHello that is a HelloRetryRequest.
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

_HANDSHAKE, _CLIENT = 22, 1


@dataclass
class Hello:
    """One of the two, taken apart."""

    kind: int
    version: int
    random: bytes
    session: bytes
    #: The suites and compression methods that are offered, or the one of each that was chosen.
    suites: bytes
    compression: bytes
    extensions: list[tuple[int, bytes]]

    @classmethod
    def of(cls, flight: bytes) -> Hello:
        """Read the one that is in the first record of `flight`."""
        body = flight[9 : 9 + int.from_bytes(flight[6:9])]
        kind, (version,) = flight[5], struct.unpack("!H", body[:2])
        session, rest = _split(body[34:], 1)
        if kind == _CLIENT:
            suites, rest = _split(rest, 2)
            compression, rest = _split(rest, 1)
        else:
            suites, compression, rest = rest[:2], rest[2:3], rest[3:]
        listed = _split(rest, 2)[0] if rest else b""
        extensions = []
        while listed:
            content, behind = _split(listed[2:], 2)
            extensions.append((int.from_bytes(listed[:2]), content))
            listed = behind
        return cls(kind, version, body[2:34], session, suites, compression, extensions)

    def without(self, *kinds: int) -> Hello:
        """Return it without these extensions."""
        self.extensions = [
            (kind, content) for kind, content in self.extensions if kind not in kinds
        ]
        return self

    def message(self) -> bytes:
        """Return the handshake message."""
        listed = b"".join(
            kind.to_bytes(2) + _counted(content, 2) for kind, content in self.extensions
        )
        client = self.kind == _CLIENT
        body = (
            struct.pack("!H", self.version)
            + self.random
            + _counted(self.session, 1)
            + (_counted(self.suites, 2) if client else self.suites)
            + (_counted(self.compression, 1) if client else self.compression)
            + _counted(listed, 2)
        )
        return bytes([self.kind]) + _counted(body, 3)

    def record(self) -> bytes:
        """Return the message in a record of its own."""
        return struct.pack("!BH", _HANDSHAKE, 0x0303) + _counted(self.message(), 2)


def _split(data: bytes, width: int) -> tuple[bytes, bytes]:
    """What stands behind a length of so many bytes, and what behind that."""
    end = width + int.from_bytes(data[:width])
    return data[width:end], data[end:]


def _counted(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width) + data


def offered_tickets(flight: bytes) -> list[bytes]:
    """The identities in pre_shared_key of a ClientHello in one record (RFC 8446 4.2.11)."""
    found = []
    for kind, content in Hello.of(flight).extensions:
        identities = _split(content, 2)[0] if kind == PRE_SHARED_KEY else b""
        while identities:
            identity, behind = _split(identities, 2)
            found.append(identity)
            identities = behind[4:]
    return found


def groups_shared(key_share: bytes) -> list[bytes]:
    """Return the groups of a client's key shares, two bytes each (RFC 8446 4.2.8)."""
    groups, at = [], 2
    while at < len(key_share):
        groups.append(key_share[at : at + 2])
        at += 4 + int.from_bytes(key_share[at + 2 : at + 4])
    return groups
