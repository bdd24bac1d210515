"""Proxies: HTTP CONNECT (RFC 9110 9.3.6), also over TLS, and SOCKS 5 (RFC 1928, RFC 1929).

A proxy sees host, port, and what a client of TLS shows: no less, and no more, than any router.
"""

from __future__ import annotations

import base64
import socket
import struct
from dataclasses import dataclass, field
from typing import Final

from .dialogue import Dialogue, DialogueError

__all__ = ["AuthenticationError", "Proxy", "parse"]

_KINDS: Final = ("http", "https", "socks5")
#: The reply codes of RFC 1928 6.
_SOCKS_REPLIES: Final = (
    "succeeded",
    "general SOCKS server failure",
    "connection not allowed by ruleset",
    "network unreachable",
    "host unreachable",
    "connection refused",
    "TTL expired",
    "command not supported",
    "address type not supported",
)
_NO_AUTHENTICATION: Final = 0
_PASSWORD: Final = 2


class AuthenticationError(DialogueError):
    """The proxy wants to know who we are, or did not accept it."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and who we are to it."""

    kind: str
    host: str
    port: int
    user: str | None = None
    password: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """Its address, without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}"

    def connect(self, dialogue: Dialogue, host: str, port: int) -> None:
        """Have it connect to `host`, which it resolves itself.

        Raises DialogueError if it does not, TimeoutError, and what the socket raises.
        """
        if self.kind in ("http", "https"):
            self._connect_by_http(dialogue, host, port)
        else:
            self._connect_by_socks(dialogue, host, port)

    def _connect_by_http(self, dialogue: Dialogue, host: str, port: int) -> None:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.user is not None:
            given = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {given}")
        dialogue.send("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        status = dialogue.line()
        version, _, rest = status.partition(b" ")
        if version.startswith(b"HTTP/1.") and rest[:3] == b"407":
            raise AuthenticationError("the proxy requires authentication (HTTP status 407)")
        if not version.startswith(b"HTTP/1.") or rest[:1] != b"2":
            dialogue.refuse(status)
        dialogue.reply(lambda line: not line)

    def _connect_by_socks(self, dialogue: Dialogue, host: str, port: int) -> None:
        methods = [_NO_AUTHENTICATION, *([] if self.user is None else [_PASSWORD])]
        dialogue.send(bytes([5, len(methods), *methods]))
        version, method = dialogue.exactly(2)
        if version != 5:
            raise DialogueError("the proxy's reply is not SOCKS 5")
        if method not in methods:
            raise AuthenticationError("the proxy requires authentication")
        if method == _PASSWORD:
            dialogue.send(b"\x01" + _counted(self.user or "") + _counted(self.password))
            if dialogue.exactly(2)[1] != 0:
                raise AuthenticationError("the proxy refused the user name and password")
        dialogue.send(b"\x05\x01\x00" + _address(host) + struct.pack(">H", port))
        version, code, _, kind = dialogue.exactly(4)
        if version != 5:
            raise DialogueError("the proxy's reply is not SOCKS 5")
        if code != 0:
            known = code < len(_SOCKS_REPLIES)
            dialogue.refuse((_SOCKS_REPLIES[code] if known else f"code {code}").encode())
        lengths = {1: 4, 4: 16, 3: None}
        if kind not in lengths:
            raise DialogueError("the proxy's reply is not SOCKS 5")
        length = lengths[kind]
        dialogue.exactly((dialogue.exactly(1)[0] if length is None else length) + 2)


def parse(text: str) -> Proxy:
    """Return the proxy that a URL names: http://[USER:PASSWORD@]HOST:PORT, https:// or socks5://...

    Raises ValueError, which never has the password.
    """
    # Takes milliseconds to import, and is only needed for URLs.
    from urllib.parse import unquote, urlsplit

    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError("the proxy's URL is not valid") from None
    if url.scheme not in _KINDS or not host or not port or url.path not in ("", "/"):
        raise ValueError(
            "a proxy is given as http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
        )
    user = None if url.username is None else unquote(url.username)
    password = unquote(url.password or "")
    if max(len((user or "").encode()), len(password.encode())) > 255:
        raise ValueError("the proxy's user name and password have at most 255 bytes each")
    return Proxy(url.scheme, host, port, user, password)


def _counted(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _address(host: str) -> bytes:
    for kind, family in ((1, socket.AF_INET), (4, socket.AF_INET6)):
        try:
            return bytes([kind]) + socket.inet_pton(family, host)
        except OSError:
            continue
    return b"\x03" + _counted(host)
