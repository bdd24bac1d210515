"""A client's way from addresses to a connection."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from ..interfaces import TLSBuffer
from .carrier import carrier_of
from .connection import StreamSocket
from .sockets import host_and_port
from .waiting import WRITE, Deadline, wait_for

__all__ = ["Address", "connect", "prepare"]

#: An address as `polytls.names.resolve` gives it: IP, port, and for IPv6 flow label and scope.
Address = tuple[str, int, int, int]


def connect(
    addresses: Iterable[Address],
    make_buffer: Callable[[], TLSBuffer],
    timeout: float | None,
    deadline: Deadline,
    *,
    accept_truncated_end: bool = False,
) -> StreamSocket:
    """Connect to the first of `addresses` that answers and do the handshake, all by `deadline`.

    `timeout`: of later calls. `accept_truncated_end`: as a client context's `connect` has it.

    Raises the last address's error, TimeoutError, and what the handshake finds. No descriptor is
    left behind.
    """
    fault = OSError("no address to connect to")
    for address in addresses:
        try:
            dialled = _dial(address, deadline)
        except OSError as error:
            if deadline.passed:
                raise
            fault = error
            continue
        try:
            made = StreamSocket(
                carrier_of(dialled),
                make_buffer(),
                host_and_port(address),
                timeout,
                accept_truncated_end=accept_truncated_end,
            )
        except BaseException:
            dialled.close()
            raise
        try:
            made.handshake(deadline)
        except BaseException:
            made.abandon()
            raise
        return made
    raise fault


def _dial(address: Address, deadline: Deadline) -> socket.socket:
    host, port, flow, scope = address
    version_6 = ":" in host
    made = socket.socket(socket.AF_INET6 if version_6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        prepare(made)
        number = made.connect_ex((host, port, flow, scope) if version_6 else (host, port))
        if number in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
            if not wait_for([(made.fileno(), WRITE)], deadline):
                raise TimeoutError("timed out")
            number = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    except BaseException:
        made.close()
        raise
    return made


def prepare(stream: socket.socket) -> None:
    """Make a socket as connections want it.

    TLS hands over whole records: Nagle's algorithm would hold the last part of each back until the
    peer's delayed acknowledgement.
    """
    stream.setblocking(False)
    with suppress(OSError):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
