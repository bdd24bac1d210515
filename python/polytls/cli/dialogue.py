"""What is said over a connection before TLS to the server begins: lines and messages, with limits.

A dialogue has one deadline however slowly it goes, and its lines, messages and replies have limits.
What was received beyond a reply stays unread.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import Final, NoReturn

from ..interfaces import Connection

__all__ = ["Dialogue", "DialogueError"]

#: Bytes in a line, its end included, or in a message that has no lines. RFC 5321 4.5.3.1.5 has 512
#: for replies, IMAP no limit.
_LONGEST: Final = 8192
#: Lines in a reply.
_MOST_LINES: Final = 100
_PIECE: Final = 4096


class DialogueError(OSError):
    """The other side did not agree. The message has its reply, which cannot be trusted."""


class Dialogue:
    """Lines and messages over a plain socket, or over TLS to a proxy."""

    def __init__(self, stream: socket.socket | Connection) -> None:
        self.stream = stream
        #: What has been received and not been read.
        self.unread = bytearray()
        self.begin("server", 0)

    def begin(self, party: str, timeout: float) -> None:
        """Begin with the next party, who has so many seconds for all that follows."""
        self._party = party
        self._deadline = monotonic() + timeout

    def say(self, text: bytes) -> None:
        """Send a line."""
        self.send(text + b"\r\n")

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._limit()
        self.stream.sendall(data)

    def line(self) -> bytes:
        """Return the next line, without its end."""
        return self.until(b"\n").rstrip(b"\r\n")

    def until(self, end: bytes) -> bytes:
        """Return all up to a byte, and this byte."""
        while (at := self.unread.find(end)) < 0:
            if len(self.unread) >= _LONGEST:
                raise self._too_much("line", f"{_LONGEST} bytes")
            self._receive()
        if at >= _LONGEST:
            raise self._too_much("line", f"{_LONGEST} bytes")
        return self._taken(at + 1)

    def exactly(self, length: int) -> bytes:
        """Return so many bytes of a message."""
        if length > _LONGEST:
            raise self._too_much("message", f"{_LONGEST} bytes")
        while len(self.unread) < length:
            self._receive()
        return self._taken(length)

    def reply(self, is_last: Callable[[bytes], bool]) -> bytes:
        """Return the last line of a reply."""
        for _ in range(_MOST_LINES):
            if is_last(line := self.line()):
                return line
        raise self._too_much("reply", f"{_MOST_LINES} lines")

    def expect(self, wanted: bytes, line: bytes) -> None:
        """Refuse a line that begins otherwise, in any case."""
        if line[: len(wanted)].lower() != wanted.lower():
            self.refuse(line, f', expected "{wanted.decode()}"')

    def refuse(self, line: bytes, wanted: str = "") -> NoReturn:
        """Raise a DialogueError that quotes a reply."""
        said = line.decode("utf-8", "replace")
        raise DialogueError(f'the {self._party} replied "{said}"{wanted}')

    def _too_much(self, kind: str, limit: str) -> DialogueError:
        return DialogueError(f"the {self._party} sent a {kind} of more than {limit}")

    def _receive(self) -> None:
        self._limit()
        data = self.stream.recv(_PIECE)
        if not data:
            raise DialogueError(f"the {self._party} closed the connection before TLS started")
        self.unread += data

    def _taken(self, length: int) -> bytes:
        data = bytes(self.unread[:length])
        del self.unread[:length]
        return data

    def _limit(self) -> None:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.stream.settimeout(left)
