"""The dialogue that comes before TLS where a service begins in plaintext: STARTTLS and its kin.

SMTP (RFC 3207), LMTP (RFC 2033), IMAP (RFC 9051 6.2.1), POP3 (RFC 2595 4), ManageSieve (RFC 5804
2.2), NNTP (RFC 4642), FTP (RFC 4217 4), LDAP (RFC 4511 4.14), XMPP (RFC 6120 5), PostgreSQL and
MySQL (their manuals' chapters on the protocol). What came behind the last reply is handed on, to
be refused: nothing that is received before ClientHello can be TLS.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .dialogue import Dialogue, DialogueError

__all__ = ["PORTS", "upgrade"]

#: The services, and the ports they have if none is given.
PORTS: Final = {
    "smtp": 25,
    "lmtp": 24,
    "imap": 143,
    "pop3": 110,
    "sieve": 4190,
    "nntp": 119,
    "ftp": 21,
    "ldap": 389,
    "xmpp": 5222,
    "xmpp-server": 5269,
    "postgres": 5432,
    "mysql": 3306,
}

#: Tags in a reply of XMPP.
_MOST_TAGS: Final = 1000
_TAG: Final = b"a"


def upgrade(dialogue: Dialogue, service: str, name: str) -> None:
    """Have `service` begin TLS. What came behind its consent is left unread.

    `name`: the server's host name, which XMPP requires.

    Raises DialogueError for any other answer, TimeoutError, and what the socket raises.
    """
    _DIALOGUES[service](dialogue, name)


def _is_last_numbered(line: bytes) -> bool:
    """A reply's last line has no hyphen behind its number (RFC 5321 4.2.1, RFC 959 4.2)."""
    return re.match(rb"\d{3}( |$)", line) is not None


def _smtp(dialogue: Dialogue, _: str, greeting: bytes = b"EHLO") -> None:
    hello = greeting + b" " + _own_address(dialogue)
    for text, wanted in ((None, b"220"), (hello, b"250"), (b"STARTTLS", b"220")):
        if text is not None:
            dialogue.say(text)
        dialogue.expect(wanted, dialogue.reply(_is_last_numbered))


def _lmtp(dialogue: Dialogue, name: str) -> None:
    _smtp(dialogue, name, b"LHLO")


def _own_address(dialogue: Dialogue) -> bytes:
    """An address in place of a name (RFC 5321 4.1.3)."""
    host = str(dialogue.stream.getsockname()[0]).partition("%")[0]
    return f"[{'IPv6:' if ':' in host else ''}{host}]".encode()


def _imap(dialogue: Dialogue, _: str) -> None:
    dialogue.expect(b"* OK", dialogue.line())
    dialogue.say(_TAG + b" STARTTLS")
    dialogue.expect(_TAG + b" OK", dialogue.reply(lambda line: line.startswith(_TAG + b" ")))


def _pop3(dialogue: Dialogue, _: str) -> None:
    dialogue.expect(b"+OK", dialogue.line())
    dialogue.say(b"STLS")
    dialogue.expect(b"+OK", dialogue.line())


def _ftp(dialogue: Dialogue, _: str) -> None:
    dialogue.expect(b"220", dialogue.reply(_is_last_numbered))
    dialogue.say(b"AUTH TLS")
    dialogue.expect(b"234", dialogue.reply(_is_last_numbered))


def _sieve(dialogue: Dialogue, _: str) -> None:
    def ends(line: bytes) -> bool:
        return re.match(rb"(OK|NO|BYE)\b", line, re.IGNORECASE) is not None

    dialogue.expect(b"OK", dialogue.reply(ends))
    dialogue.say(b"STARTTLS")
    dialogue.expect(b"OK", dialogue.reply(ends))


def _nntp(dialogue: Dialogue, _: str) -> None:
    dialogue.expect(b"20", dialogue.line())
    dialogue.say(b"STARTTLS")
    dialogue.expect(b"382", dialogue.line())


# --- messages in binary ---


def _postgres(dialogue: Dialogue, _: str) -> None:
    dialogue.send(struct.pack(">II", 8, 80877103))  # SSLRequest.
    if (answer := dialogue.exactly(1)) != b"S":
        dialogue.refuse(answer)


#: MySQL: what the client says it can do, and what the greeting says the server can.
_MYSQL_SSL: Final = 0x0800
_MYSQL_CLIENT: Final = 0x0008_8200 | _MYSQL_SSL  # PLUGIN_AUTH, SECURE_CONNECTION, PROTOCOL_41.


def _mysql(dialogue: Dialogue, _: str) -> None:
    head = dialogue.exactly(4)
    greeting = dialogue.exactly(int.from_bytes(head[:3], "little"))
    if greeting[:1] == b"\xff":
        dialogue.refuse(greeting[3:])
    # Protocol 10: a version that ends with a null byte, then 4 + 8 + 1 bytes, then capabilities.
    rest = greeting.partition(b"\0")[2]
    if greeting[:1] != b"\x0a" or len(rest) < 15:
        raise DialogueError("the server did not begin with the greeting of MySQL's protocol 10")
    if not int.from_bytes(rest[13:15], "little") & _MYSQL_SSL:
        raise DialogueError("the server's greeting does not offer TLS")
    # SSLRequest: capabilities, the longest packet, the character set utf8mb4, and zeros.
    request = struct.pack("<IIB23x", _MYSQL_CLIENT, 1 << 24, 45)
    dialogue.send(len(request).to_bytes(3, "little") + bytes([head[3] + 1 & 0xFF]) + request)


_START_TLS_OID: Final = b"1.3.6.1.4.1.1466.20037"


def _ldap(dialogue: Dialogue, _: str) -> None:
    name = b"\x80" + bytes([len(_START_TLS_OID)]) + _START_TLS_OID
    request = b"\x02\x01\x01\x77" + bytes([len(name)]) + name  # Message 1, ExtendedRequest.
    dialogue.send(b"\x30" + bytes([len(request)]) + request)
    message = _ber(dialogue.exactly, 0x30)
    reader = _Reader(message)
    _ber(reader.exactly, 0x02)
    response = _Reader(_ber(reader.exactly, 0x78))  # ExtendedResponse.
    code = _ber(response.exactly, 0x0A)
    _ber(response.exactly, 0x04)  # matchedDN
    said = _ber(response.exactly, 0x04)
    if code != b"\0":
        dialogue.refuse(b"result %d: %s" % (int.from_bytes(code), said))


@dataclass
class _Reader:
    """A part of a message."""

    data: bytes

    def exactly(self, length: int) -> bytes:
        if length > len(self.data):
            raise DialogueError("the server's response is not LDAP")
        taken, self.data = self.data[:length], self.data[length:]
        return taken


def _ber(exactly: Callable[[int], bytes], tag: int) -> bytes:
    """The content of one element (ITU-T X.690 8.1; RFC 4511 5.1 has definite lengths only)."""
    found, length = exactly(2)
    if found != tag:
        raise DialogueError("the server's response is not LDAP")
    if length == 0x80 or length > 0x84:
        raise DialogueError("the server's response is not LDAP")
    return exactly(int.from_bytes(exactly(length & 0x7F)) if length & 0x80 else length)


# --- XMPP ---

_STREAMS: Final = "http://etherx.jabber.org/streams"
_XMPP_TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"


def _xmpp(dialogue: Dialogue, name: str, kind: str = "client") -> None:
    stream = _Stream(dialogue)
    dialogue.send(
        f"<?xml version='1.0'?><stream:stream to='{name}' version='1.0' "
        f"xmlns='jabber:{kind}' xmlns:stream='{_STREAMS}'>".encode()
    )
    offered = stream.read(f"{_STREAMS} features")
    if f"{_XMPP_TLS} starttls" not in offered:
        raise DialogueError("the server does not offer STARTTLS for this name")
    dialogue.send(f"<starttls xmlns='{_XMPP_TLS}'/>".encode())
    stream.read(f"{_XMPP_TLS} proceed")


def _xmpp_server(dialogue: Dialogue, name: str) -> None:
    _xmpp(dialogue, name, "server")


class _Stream:
    """The elements in the server's stream, each as its namespace and its name."""

    def __init__(self, dialogue: Dialogue) -> None:
        # Takes milliseconds to import, and is only needed here.
        from xml.parsers import expat

        self._dialogue = dialogue
        self._fault = expat.ExpatError
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        # RFC 6120 11.1 allows none; entities are what they could be used for.
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._depth = 0
        self._names: list[str] = []
        self._ended: list[str] = []

    def read(self, wanted: str) -> list[str]:
        """Read to the end of one child of the stream; the names of all elements in it.

        It reads tag by tag: what comes behind the last one may not be XML any more.
        """
        for _ in range(_MOST_TAGS):
            tag = self._dialogue.until(b">")
            try:
                self._parser.Parse(tag, False)
            except self._fault:
                raise DialogueError("the server's reply is not XMPP") from None
            if self._ended:
                found, names = self._ended.pop(), self._names
                self._names = []
                if found != wanted:
                    said = " ".join(name.rpartition(" ")[2] for name in names)
                    raise DialogueError(f'the server replied "{said}"')
                return names
        raise DialogueError(f"the server sent a reply of more than {_MOST_TAGS} tags")

    def _start(self, name: str, _: object) -> None:
        self._depth += 1
        if self._depth == 1:
            if name != f"{_STREAMS} stream":
                raise DialogueError("the server's reply is not XMPP")
        else:
            self._names.append(name)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            raise DialogueError("the server ended the stream before TLS started")
        if self._depth == 1:
            self._ended.append(name)

    def _refuse(self, *_: object) -> None:
        raise DialogueError("the server's reply is not XMPP")


_DIALOGUES: Final[dict[str, Callable[[Dialogue, str], None]]] = {
    "smtp": _smtp,
    "lmtp": _lmtp,
    "imap": _imap,
    "pop3": _pop3,
    "sieve": _sieve,
    "nntp": _nntp,
    "ftp": _ftp,
    "ldap": _ldap,
    "xmpp": _xmpp,
    "xmpp-server": _xmpp_server,
    "postgres": _postgres,
    "mysql": _mysql,
}
