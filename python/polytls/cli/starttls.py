"""The dialogue that comes before TLS where a service begins in plaintext: STARTTLS.

SMTP (RFC 3207), IMAP (RFC 9051 6.2.1), POP3 (RFC 2595 4) and FTP (RFC 4217 4). All of it together
has one deadline, lines and their number have limits, and what came behind the last line is handed
on, to be refused: nothing that is received before ClientHello can be TLS.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

__all__ = ["PORTS", "UpgradeRefused", "upgrade"]

#: The services, and the ports they have if none is given.
PORTS: Final = {"smtp": 25, "imap": 143, "pop3": 110, "ftp": 21}

#: Bytes in a line, its end included. RFC 5321 4.5.3.1.5 has 512 for replies, IMAP no limit.
_LONGEST_LINE: Final = 8192
#: Lines in a reply.
_MOST_LINES: Final = 100
_PIECE: Final = 4096
_TAG: Final = b"a"


class UpgradeRefused(OSError):
    """The server did not start TLS. The message has its reply, which cannot be trusted."""


def upgrade(plain: socket.socket, service: str, timeout: float) -> bytes:
    """Have `service` begin TLS on a connected socket; return what came behind its consent.

    `timeout`: seconds for the whole dialogue.

    Raises UpgradeRefused for any other answer, TimeoutError, and what the socket raises.
    """
    dialogue = _Dialogue(plain, monotonic() + timeout)
    _DIALOGUES[service](dialogue)
    return bytes(dialogue.unread)


@dataclass
class _Dialogue:
    """Lines over a plain socket, until a moment."""

    plain: socket.socket
    deadline: float

    def __post_init__(self) -> None:
        self.unread = bytearray()

    def say(self, text: bytes) -> None:
        self._limit()
        self.plain.sendall(text + b"\r\n")

    def line(self) -> bytes:
        while (end := self.unread.find(b"\n")) < 0:
            if len(self.unread) >= _LONGEST_LINE:
                raise UpgradeRefused(f"the server sent a line of more than {_LONGEST_LINE} bytes")
            self._limit()
            data = self.plain.recv(_PIECE)
            if not data:
                raise UpgradeRefused("the server closed the connection before TLS started")
            self.unread += data
        if end >= _LONGEST_LINE:
            raise UpgradeRefused(f"the server sent a line of more than {_LONGEST_LINE} bytes")
        line = bytes(self.unread[:end])
        del self.unread[: end + 1]
        return line.rstrip(b"\r")

    def reply(self, is_last: Callable[[bytes], bool]) -> bytes:
        """The last line of a reply."""
        for _ in range(_MOST_LINES):
            if is_last(line := self.line()):
                return line
        raise UpgradeRefused(f"the server sent a reply of more than {_MOST_LINES} lines")

    def expect(self, wanted: bytes, line: bytes) -> None:
        if not line.startswith(wanted):
            said = line.decode("utf-8", "replace")
            raise UpgradeRefused(f'the server replied "{said}", expected "{wanted.decode()}"')

    def _limit(self) -> None:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.plain.settimeout(left)


def _is_last_numbered(line: bytes) -> bool:
    """A reply's last line has no hyphen behind its number (RFC 5321 4.2.1, RFC 959 4.2)."""
    return re.match(rb"\d{3}( |$)", line) is not None


def _smtp(dialogue: _Dialogue) -> None:
    for text, wanted in ((None, b"220"), (_ehlo(dialogue.plain), b"250"), (b"STARTTLS", b"220")):
        if text is not None:
            dialogue.say(text)
        dialogue.expect(wanted, dialogue.reply(_is_last_numbered))


def _ehlo(plain: socket.socket) -> bytes:
    """The command, with an address in place of a name (RFC 5321 4.1.3)."""
    host = str(plain.getsockname()[0]).partition("%")[0]
    return f"EHLO [{'IPv6:' if ':' in host else ''}{host}]".encode()


def _imap(dialogue: _Dialogue) -> None:
    dialogue.expect(b"* OK", dialogue.line())
    dialogue.say(_TAG + b" STARTTLS")
    dialogue.expect(_TAG + b" OK", dialogue.reply(lambda line: line.startswith(_TAG + b" ")))


def _pop3(dialogue: _Dialogue) -> None:
    dialogue.expect(b"+OK", dialogue.line())
    dialogue.say(b"STLS")
    dialogue.expect(b"+OK", dialogue.line())


def _ftp(dialogue: _Dialogue) -> None:
    dialogue.expect(b"220", dialogue.reply(_is_last_numbered))
    dialogue.say(b"AUTH TLS")
    dialogue.expect(b"234", dialogue.reply(_is_last_numbered))


_DIALOGUES: Final[dict[str, Callable[[_Dialogue], None]]] = {
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ftp": _ftp,
}
