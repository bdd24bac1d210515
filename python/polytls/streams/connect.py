"""Sockets of any context: connected to a server, and listening for clients.

Contexts of polytls make their own. These are for whoever has written another one, of which buffers
are enough.
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

#: An address as `polytls.names.resolve` gives it: IP, port, and for IPv6 flow label and scope.
Address = tuple[str, int, int, int]

#: How many connections may be in hand: in their handshakes, or finished and not returned yet. At
#: this limit further ones stay with the system.
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
    """Connect to the first of `addresses` that answers and do the handshake.

    `timeout`: seconds for all of it, and for each later call; None waits for ever.
    `accept_truncated_end`: as a client context's `connect` has it.

    Raises the last address's error, TimeoutError, and what the handshake finds; ValueError for a
    timeout of 0. No descriptor is left behind.
    """
    engine = _native.foreign_client(make_buffer)
    handle = engine.connect(
        context,
        (None, None, None, None),
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
    """Listen at the first of `addresses` that can be had.

    `engine`: what connections come from, in place of the buffers that `make_buffer` makes. An IPv6
    address means IPv6 alone, so that `::` and `0.0.0.0` can be bound side by side; with
    `dual_stack` it takes clients of both. `reuse_port`: others may listen there as well, and the
    system deals clients out (SO_REUSEPORT). `timeout`: how long `accept` waits.
    `do_handshake_on_accept`: whether a blocking `accept` does. `handshake_timeout`: seconds for
    each, None for ever. `handshake_limit`: how many at a time. `accept_truncated_end`: of the
    connections, as a client context's `connect` has it.

    Raises the last address's error; ValueError for a limit below 1 or a timeout of 0, for
    `dual_stack` without an IPv6 address, and for what the system does not have.
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
