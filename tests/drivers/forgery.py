"""The kit's forger over a socket: its handshake is done, and then it says whatever a test says."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from polytls import TLSVersion
from polytls.testing.conformance.forger import Forger as Sealing
from polytls.testing.conformance.sealing import ALERT, DATA, HANDSHAKE, Direction13

__all__ = ["ALERT", "DATA", "HANDSHAKE", "Forger"]


class Forger:
    """The peer. `role` is its own."""

    def __init__(
        self, plain: socket.socket, lab: Any, role: str, version: TLSVersion, folder: Path
    ) -> None:
        self.plain = plain
        self._sealing = Sealing(lab, role, version, folder)

    def handshake(self) -> None:
        """Do the handshake, and take the keys."""
        sealing = self._sealing
        self.plain.sendall(sealing.go_on())
        while not sealing.done:
            data = self.plain.recv(65536)
            assert data, "the end came too soon"
            self.plain.sendall(sealing.go_on(data))
        self._unread = sealing.unread
        self._ours, self._theirs = sealing.keys(sealing.role), sealing.keys(sealing.other)

    # --- what a test says ---

    def seal(self, kind: int, content: bytes) -> bytes:
        """One record, sealed and not sent."""
        return self._ours.seal(kind, content)

    def say(self, kind: int, content: bytes) -> None:
        """Send one record."""
        self.plain.sendall(self.seal(kind, content))

    def update_keys(self, request: bool) -> None:
        """Send KeyUpdate, and change our keys (RFC 8446 4.6.3)."""
        self.say(HANDSHAKE, bytes([24, 0, 0, 1, request]))
        assert isinstance(self._ours, Direction13)
        self._ours.update()

    def hear(self) -> tuple[int, bytes] | None:
        """The next record of the other side, its kind and content; None at the end."""
        while len(self._unread) < 5 or len(self._unread) < self._length():
            data = self.plain.recv(65536)
            if not data:
                assert not self._unread, "the end is within a record"
                return None
            self._unread += data
        length = self._length()
        record, self._unread = self._unread[:length], self._unread[length:]
        kind, content = self._theirs.open(record)
        if kind == HANDSHAKE and content[:1] == b"\x18":
            assert isinstance(self._theirs, Direction13)
            self._theirs.update()
        return kind, content

    def _length(self) -> int:
        return 5 + int.from_bytes(self._unread[3:5])
