"""The native handle of a connection, which the drivers for event loops hold, and who makes it.

The rules of a connection (limits, the latched error, close in each direction, the end of the
transport) are those of `polytls_core::Connection`, whoever provides TLS below it. A buffer of a
native library has one; any other `TLSBuffer` becomes the session of one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from . import _native
from .capabilities import check_no_early_data
from .configuration import TLSServerConfiguration
from .interfaces import ClientContext, ServerContext, SupportsHandshakeMayBlock, TLSBuffer
from .sessions import TLSSession

__all__ = [
    "Handle",
    "buffer_maker",
    "engine_of",
    "handle_of",
    "handshake_may_block",
    "is_server",
]

Handle: TypeAlias = _native.TLSBuffer | _native.ExtendedTLSBuffer


def handle_of(buffer: TLSBuffer, *, accept_truncated_end: bool) -> Handle:
    """Return the handle of the connection that `buffer` is one side of, and at its beginning.

    `accept_truncated_end`: those who read take an end of the transport without close_notify for an
    end of the data.
    """
    handle = _native.connection_of(buffer)
    if accept_truncated_end:
        handle._accept_truncated_end()
    return handle


def engine_of(context: ServerContext) -> _native.ServerEngine | None:
    """Return what a native context's connections come from; None for any other context."""
    engine = getattr(context, "_engine", None)
    return engine if isinstance(engine, _native.ServerEngine) else None


def handshake_may_block(context: object) -> bool:
    """Whether a step of a handshake is to be left to a worker thread."""
    return isinstance(context, SupportsHandshakeMayBlock) and context.handshake_may_block


def is_server(tls: object, module: str) -> bool:
    """Whether `tls` is a server's context; `module` is what is to drive its connections.

    Raises TypeError if it is no context at all, ConfigurationError if it asks for early data, which
    these drivers do not have.
    """
    if not isinstance(tls, ClientContext) and not isinstance(tls, ServerContext):
        raise TypeError(f"tls: expected a ClientContext or a ServerContext, got {tls!r}")
    if not isinstance(tls.configuration, TLSServerConfiguration):
        return False
    check_no_early_data(tls.configuration, module)
    return True


def buffer_maker(
    tls: Any, server_hostname: str | None, session: TLSSession | None, module: str
) -> tuple[Callable[[], TLSBuffer], bool]:
    """Return what makes a buffer, and whether that is to be left to a worker thread.

    A session that is named is judged when the buffer is made: a verifier may be asked.

    Raises what `is_server` does, and ValueError for what means nothing on that side, or is missing.
    """
    if is_server(tls, module):
        if server_hostname is not None:
            raise ValueError("server_hostname is only meaningful with a client context")
        if session is not None:
            raise ValueError("session is only meaningful with a client context")
        return tls.create_buffer, False
    if server_hostname is None:
        raise ValueError("server_hostname is required with a client context")
    if session is None:
        return partial(tls.create_buffer, server_hostname), False
    return partial(tls.create_buffer, server_hostname, session=session), handshake_may_block(tls)
