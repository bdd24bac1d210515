"""Starts TLS on an existing stream: STARTTLS, HTTP CONNECT, TLS in TLS."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from .. import _native
from ..arguments import DEFAULT, Default, instance_of, seconds_of, view_of
from ..configuration import TLSServerConfiguration
from ..errors import NotTLSError, PeerMisbehaved
from ..interfaces import ByteStream, TLSBuffer
from .addresses import peer_of
from .carrier import Carrier, carrier_of, is_plain
from .connection import StreamSocket, made_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["begins_hello", "check_leftover", "check_stream", "server_below", "wrap"]

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1


def wrap(
    sock: socket.socket | ByteStream,
    buffer: TLSBuffer,
    *,
    leftover: Buffer = b"",
    timeout: float | Default | None = DEFAULT,
    do_handshake_on_connect: bool = True,
    accept_truncated_end: bool = False,
) -> StreamSocket:
    """Start TLS on a connected stream, with `buffer` of any implementation, and return the socket.

    `sock`: a plain socket, which is detached, or any byte stream, which then belongs to the
    connection and is closed with it.
    `leftover`: data that was received from the peer and not used.
    `timeout`: in seconds, for the handshake and for each later call; the default is that of `sock`,
    or none. The handshake is done at once, unless the timeout is 0, or without
    `do_handshake_on_connect`: then `do_handshake`, `recv` or `send` does it.
    `accept_truncated_end`: as in a client context's `connect`.

    `SupportsClientWrapSocket.wrap_socket` and `SupportsServerWrapSocket.wrap_socket` say what is
    refused, and what happens to `sock` then. Also raises ValueError for a timeout that `sock` does
    not support: see docs/streams.md.
    """
    instance_of("accept_truncated_end", accept_truncated_end, bool)
    received = bytes(view_of("leftover", leftover))
    serves = isinstance(buffer.context.configuration, TLSServerConfiguration)
    driven = _native.connection_of(buffer)
    below, seconds = _take(sock, timeout)
    over = _native.over_stream if isinstance(below, Carrier) else _native.over_socket
    try:
        check_leftover(received, serves=serves)
        handle = over(
            driven, below, received, timeout=seconds, accept_truncated_end=accept_truncated_end
        )
    except BaseException:
        if isinstance(below, Carrier):
            below.close(waited_for=False)
        else:
            below.close()
        raise
    made = made_of(handle)
    if do_handshake_on_connect and seconds != 0:
        try:
            made.do_handshake()
        except BaseException:
            made.close(force=True)
            raise
    return made


def check_stream(sock: Any) -> None:
    """Refuse what cannot carry TLS: TypeError, ValueError."""
    for name in ("recv", "send", "close"):
        if not callable(getattr(sock, name, None)):
            raise TypeError(f"sock must have recv, send and close, not {type(sock).__name__}")
    if isinstance(sock, socket.socket) and sock.type != socket.SOCK_STREAM:
        raise ValueError(f"sock must be a stream socket, not {sock.type!r}")


def server_below(sock: Any) -> tuple[int | None, int | None]:
    """Return the port that a system socket is connected to, and a link-local peer's zone.

    None for other streams. Raises like `wrap` for what that does not accept.
    """
    check_stream(sock)
    peer = peer_of(sock) if is_plain(sock) else None
    if peer is None:
        return None, None
    host, port = peer
    zone = host.partition("%")[2]
    return port, int(zone) if zone else None


def check_leftover(received: bytes, *, serves: bool) -> None:
    """Refuse data that cannot be TLS at that point: PeerMisbehaved, NotTLSError."""
    if received and not serves:
        raise PeerMisbehaved(
            "leftover: the peer sent plaintext before TLS started, which an attacker may have "
            "injected"
        )
    if not begins_hello(received):
        start = received[:8].hex(" ")
        raise NotTLSError(
            f"leftover does not start with a ClientHello; its first bytes are {start}"
        )


def begins_hello(data: bytes) -> bool:
    """Whether `data` can be the start of a ClientHello in a record (RFC 8446 4.1.2, 5.1)."""
    fields = zip(data, (_HANDSHAKE, 3, None, None, None, _CLIENT_HELLO), strict=False)
    empty = len(data) >= 5 and not any(data[3:5])
    return not empty and all(expected in (None, there) for there, expected in fields)


def _take(sock: Any, timeout: float | Default | None) -> tuple[Any, float | None]:
    """Take the stream over: what the core drives, a plain socket or a carrier, and the timeout."""
    check_stream(sock)
    before = sock.gettimeout() if hasattr(sock, "gettimeout") else None
    seconds = before if isinstance(timeout, Default) else seconds_of(timeout)
    if is_plain(sock):
        peer_of(sock)  # Has a peer, or raises.
        return sock, seconds
    carrier = carrier_of(sock)
    try:
        carrier.check_timeout(seconds)
    except ValueError:
        carrier.give_back(before, b"")
        raise
    return carrier, seconds
