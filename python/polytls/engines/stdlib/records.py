"""The record header (RFC 8446 5.1), as far as framing needs it: the core's `record.rs` in Python.

For implementations whose library has no framing of its own that could be used without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = [
    "HEADER",
    "MALFORMED",
    "MAX_FRAGMENT",
    "describe_foreign",
    "front",
    "is_only_hello",
    "last_alert",
    "plain_alert",
]

#: The most plaintext that one record holds.
MAX_FRAGMENT: Final = 1 << 14

HEADER: Final = 5

#: The longest record: header, and a TLS 1.2 ciphertext (RFC 5246 6.2.3).
_MAX_RECORD: Final = HEADER + MAX_FRAGMENT + 2048

#: What `front` gives where no record of TLS 1.0 to 1.3 begins like this.
MALFORMED: Final = -1

_TYPES: Final = range(20, 25)
_CHANGE_CIPHER_SPEC: Final = 20
_ALERT: Final = 21
_HANDSHAKE: Final = 22
_APPLICATION_DATA: Final = 23
_FATAL: Final = 2

#: The type of a handshake message (RFC 8446 4).
_CLIENT_HELLO: Final = 1

#: The longest alert of TLS 1.3 without padding: header, level and number, content type, tag. No
#: flight of a handshake ends in so short a record: Finished has 32 bytes or more.
_MAX_SEALED_ALERT: Final = HEADER + 2 + 1 + 16

_HTTP_REQUEST: Final = "the peer sent a plain HTTP request"
_GREETING: Final = (
    "the peer greets in plain SMTP or FTP; TLS begins there after STARTTLS or AUTH TLS"
)
_FOREIGN: Final = {
    b"HTTP/": "the peer answered in plain HTTP",
    b"GET ": _HTTP_REQUEST,
    b"POST ": _HTTP_REQUEST,
    b"HEAD ": _HTTP_REQUEST,
    b"PUT ": _HTTP_REQUEST,
    b"OPTIO": _HTTP_REQUEST,
    b"CONNE": _HTTP_REQUEST,
    b"PRI *": "the peer sent plain HTTP/2",
    b"SSH-": "the peer speaks SSH",
    b"220 ": _GREETING,
    b"220-": _GREETING,
    b"* OK": "the peer greets in plain IMAP; TLS begins there after STARTTLS",
    b"+OK": "the peer greets in plain POP3; TLS begins there after STLS",
}


def front(data: bytearray, start: int) -> int:
    """Return the length of the record at `start`, header included.

    0: it is not there as a whole yet. `MALFORMED`: it is none.
    """
    there = len(data) - start
    if there < HEADER:
        return 0
    length = HEADER + (data[start + 3] << 8) + data[start + 4]
    if data[start] not in _TYPES or data[start + 1] != 3 or length > _MAX_RECORD:
        return MALFORMED
    return length if there >= length else 0


def plain_alert(record: bytes | bytearray) -> int | None:
    """Return the number of a fatal alert that is not encrypted; None if `record` is no such.

    Encrypted alerts are longer than two bytes, in every version.
    """
    if record[0] == _ALERT and len(record) == HEADER + 2 and record[HEADER] == _FATAL:
        return record[HEADER + 1]
    return None


def is_only_hello(flight: bytes) -> bool:
    """Return whether whole records of a client hold a ClientHello and nothing that comes after it.

    The second ClientHello, after HelloRetryRequest, follows ChangeCipherSpec (RFC 8446 D.4).
    """
    messages = b""
    for record in _records(flight):
        if record[0] == _HANDSHAKE:
            messages += record[HEADER:]
        elif record[0] not in (_CHANGE_CIPHER_SPEC, _ALERT):
            return False
    if not messages:
        return True
    return messages[0] == _CLIENT_HELLO and len(messages) == 4 + int.from_bytes(messages[1:4])


def last_alert(flight: bytes) -> bytes:
    """Return the alert, plain or encrypted, that whole records end with; b"" if they do not."""
    *_, last = (b"", *_records(flight))
    sealed = last[:1] == bytes([_APPLICATION_DATA]) and len(last) <= _MAX_SEALED_ALERT
    return last if sealed or last[:1] == bytes([_ALERT]) else b""


def _records(flight: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(flight):
        end = start + HEADER + int.from_bytes(flight[start + 3 : start + HEADER])
        yield flight[start:end]
        start = end


def describe_foreign(data: bytes | bytearray) -> str | None:
    """Say what bytes look like that came first on a connection and do not begin a record.

    None: it is TLS, only wrong.
    """
    for prefix, what in _FOREIGN.items():
        if data.startswith(prefix):
            return what
    if data[0] in (_ALERT, _HANDSHAKE) and data[1] == 3:
        return None  # A TLS peer that got the header wrong.
    return f"the peer does not speak TLS; its first bytes are {bytes(data[:8]).hex(' ')}"
