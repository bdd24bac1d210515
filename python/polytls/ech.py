r"""Encrypted ClientHello (RFC 9849): where a client finds the configurations of a server.

polytls does no DNS queries. The caller looks up the HTTPS record of the host, preferably over an
encrypted connection, and passes its data to `from_https_record`. The result is the argument `ech`
of `connect`, `wrap_socket` and `create_buffer`.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from . import _native
from .arguments import kind_of

__all__ = ["from_https_record"]

#: Words, in which quotation marks can hold spaces (RFC 9460 2.1).
_WORD: Final = re.compile(r'(?:[^\s"\\]|\\.|"(?:[^"\\]|\\.)*")+', re.DOTALL)


def from_https_record(record: bytes | str) -> bytes | None:
    r"""Return the list of ECH configurations in an HTTPS record (RFC 9848 3), for one host.

    `record`: the data of the record (RDATA). Either bytes in wire format (RFC 9460 2.2), or text:
    the presentation format (`1 . alpn=h2 ech="AEX+..."`), or the form for unknown types
    (`\# 73 00 01 ...`, RFC 3597 5).

    Returns None if the record has no configurations, such as one in alias mode: the record of its
    target may have some. The list itself is parsed when it is used.

    Raises ValueError for a malformed record, TypeError for another type.
    """
    if isinstance(record, bytes | bytearray | memoryview):
        return _native.ech_of_record(bytes(record))
    if not isinstance(record, str):
        raise TypeError(f"record must be bytes or str, not {kind_of(record)}")
    words = _WORD.findall(record)
    if words[:1] == [r"\#"]:
        return _native.ech_of_record(_unknown(words[1:]))
    if len(words) < 2 or not words[0].isdecimal():
        raise ValueError("record: expected a priority and a target, then parameters")
    parameters = [word.partition("=") for word in words[2:]] if int(words[0]) else []
    names = [name.lower() for name, _, _ in parameters]
    if "key5" in names:
        raise ValueError("record: ech is written as key5; give the record in wire format")
    values = [value for name, _, value in parameters if name.lower() == "ech"]
    if not values:
        return None
    if len(values) > 1:
        raise ValueError("record: it has ech twice")
    try:
        return base64.b64decode(values[0].strip('"'), validate=True)
    except ValueError as error:
        raise ValueError("record: the value of ech is not Base64") from error


def _unknown(words: list[str]) -> bytes:
    """The bytes in the form of an unknown type."""
    try:
        length, data = int(words[0]), bytes.fromhex("".join(words[1:]))
    except (IndexError, ValueError) as error:
        raise ValueError(r"record: expected \#, a length and hexadecimal digits") from error
    if len(data) != length:
        raise ValueError(f"record: it has {len(data)} bytes, and states {length}")
    return data
