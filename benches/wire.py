"""What a ServerHello says, read from the wire: libraries need not be believed.

Some cannot tell their group, some tell «not resumed» whatever happened. ServerHello is in the clear
(RFC 8446 section 4.1.3).
"""

from __future__ import annotations

from typing import NamedTuple

import polytls

__all__ = ["ServerHello"]

_HANDSHAKE, _SERVER_HELLO = 22, 2
_PRE_SHARED_KEY, _KEY_SHARE = 41, 51


class ServerHello(NamedTuple):
    """The facts of one handshake."""

    suite: int
    group: int | None
    resumed: bool

    @classmethod
    def parse(cls, flight: bytes) -> ServerHello:
        """Read the record at the start of a server's first flight."""
        assert flight[0] == _HANDSHAKE
        assert flight[5] == _SERVER_HELLO
        # Header of record and message, version, random, session id, suite, compression.
        at = 5 + 4 + 2 + 32
        at += 1 + flight[at]
        suite = int.from_bytes(flight[at : at + 2])
        at += 3
        end = at + 2 + int.from_bytes(flight[at : at + 2])
        at += 2
        extensions: dict[int, bytes] = {}
        while at < end:
            kind, length = (int.from_bytes(flight[i : i + 2]) for i in (at, at + 2))
            extensions[kind] = flight[at + 4 : at + 4 + length]
            at += 4 + length
        share = extensions.get(_KEY_SHARE)
        group = None if share is None else int.from_bytes(share[:2])
        return cls(suite, group, _PRE_SHARED_KEY in extensions)

    def group_name(self) -> str:
        """The group as people call it."""
        for group in polytls.NamedGroup:
            if group == self.group:
                return group.name
        return f"group {self.group}"
