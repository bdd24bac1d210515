"""What a ClientHello shows to whoever looks on."""

from __future__ import annotations

__all__ = ["offered_tickets"]

_PRE_SHARED_KEY = 41


def offered_tickets(flight: bytes) -> list[bytes]:
    """The identities in pre_shared_key of a ClientHello in one record (RFC 8446 4.2.11)."""
    at = 5 + 4 + 2 + 32  # Record and handshake headers, version, random.
    at += 1 + flight[at]
    at += 2 + int.from_bytes(flight[at : at + 2], "big")
    at += 1 + flight[at]
    at += 2
    found = []
    while at < len(flight):
        kind, length = (int.from_bytes(flight[at + i : at + i + 2], "big") for i in (0, 2))
        if kind == _PRE_SHARED_KEY:
            identities = flight[at + 6 : at + 6 + int.from_bytes(flight[at + 4 : at + 6], "big")]
            while identities:
                size = int.from_bytes(identities[:2], "big")
                found.append(identities[2 : 2 + size])
                identities = identities[2 + size + 4 :]
        at += 4 + length
    return found
