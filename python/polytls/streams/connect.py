"""Sockets for any context: connected to a server, and listening for clients.

polytls's contexts create their own. These functions are for third-party contexts, which only need
buffers.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Final

from .. import _native
from ..arguments import amount_of, instance_of
from ..interfaces import ClientContext, ServerContext, SupportsHandshakeMayBlock, TLSBuffer
from .connection import StreamSocket, made_of

__all__ = ["HANDSHAKE_LIMIT", "HANDSHAKE_TIMEOUT", "Address", "connect", "listen"]

#: An address as returned by `polytls.names.resolve`: IP, port, and for IPv6 flow label and scope.
Address = tuple[str, int, int, int]

#: How many connections can be in progress: in their handshakes, or complete and not yet returned.
#: At this limit, further ones stay in the system's queue.
HANDSHAKE_LIMIT: Final = 128
#: How long one handshake may take, in seconds. Time in which no thread accepts does not count.
HANDSHAKE_TIMEOUT: Final = 10.0


def connect(
    addresses: Iterable[Address],
    context: ClientContext,
    make_buffer: Callable[[], TLSBuffer],
    timeout: float | None,
    *,
    accept_truncated_end: bool = False,
) -> StreamSocket:
    """Connect to the first of `addresses` that answers, and do the handshake.

    `timeout`: seconds for all of it, and for each later call; None waits indefinitely.
    `accept_truncated_end`: as in a client context's `connect`.

    Raises the error of the last address, TimeoutError, and failures of the handshake; ValueError
    for a timeout of 0. No descriptor remains open after an error.
    """
    engine = _native.foreign_client(make_buffer)
    handle = engine.connect(
        context,
        (None, None, None, None, None),
        [*addresses],
        timeout=timeout,
        accept_truncated_end=instance_of("accept_truncated_end", accept_truncated_end, bool),
    )
    return made_of(handle)


def listen(
    addresses: Iterable[Address],
    context: ServerContext,
    make_buffer: Callable[[], TLSBuffer],
    *,
    implementation: str,
    timeout: float | None,
    engine: _native.ServerEngine | None = None,
    backlog: int = 128,
    reuse_port: bool = False,
    dual_stack: bool = False,
    do_handshake_on_accept: bool = True,
    handshake_timeout: float | None = HANDSHAKE_TIMEOUT,
    handshake_limit: int = HANDSHAKE_LIMIT,
    accept_truncated_end: bool = False,
) -> StreamSocket:
    """Listen on the first of `addresses` that is available.

    `engine`: creates connections, instead of the buffers that `make_buffer` returns.
    `reuse_port`: other sockets can listen on the same port, and the system distributes clients
    (SO_REUSEPORT).
    `dual_stack`: an IPv6 address accepts IPv4 clients, too. Without it, an IPv6 address is for IPv6
    only, so that `::` and `0.0.0.0` can be bound at the same time.
    `timeout`: how long `accept` waits.
    `do_handshake_on_accept`: whether a blocking `accept` does handshakes.
    `handshake_timeout`: seconds for each handshake; None: no limit.
    `handshake_limit`: maximum number of handshakes in progress.
    `accept_truncated_end`: applies to the connections, as in a client context's `connect`.

    Raises the error of the last address; ValueError for a limit below 1 or a timeout of 0, for
    `dual_stack` without an IPv6 address, and for what the system does not support.
    """
    if dual_stack and not socket.has_dualstack_ipv6():
        raise ValueError(
            "dual_stack needs an IPv6 address, such as ::, and a system that supports it"
        )
    blocks = isinstance(context, SupportsHandshakeMayBlock) and context.handshake_may_block
    handle = (engine or _native.foreign_server(make_buffer, implementation)).listen(
        context,
        [*addresses],
        timeout=timeout,
        backlog=backlog,
        reuse_port=reuse_port,
        dual_stack=dual_stack,
        do_handshake_on_accept=do_handshake_on_accept,
        handshake_timeout=handshake_timeout,
        handshake_limit=amount_of("handshake_limit", handshake_limit),
        handshake_may_block=blocks,
        accept_truncated_end=instance_of("accept_truncated_end", accept_truncated_end, bool),
    )
    return made_of(handle)
