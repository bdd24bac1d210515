"""The native handle of a connection, which the event loop drivers hold, and how to get one.

`polytls_core::Connection` has the rules of a connection (limits, the latched error, closing each
direction, the end of the transport), whichever library provides TLS. Buffers of native libraries
have a handle; any other `TLSBuffer` becomes the session of a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from . import _native
from .capabilities import check_no_early_data
from .configuration import TLSServerConfiguration
from .interfaces import ServerContext, TLSBuffer
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
    """Return the handle of the connection that `buffer` is one side of, before its handshake.

    `accept_truncated_end`: readers treat an end of the transport without close_notify as the end of
    the data.
    """
    handle = _native.connection_of(buffer)
    if accept_truncated_end:
        handle._accept_truncated_end()
    return handle


def engine_of(context: ServerContext) -> _native.ServerEngine | None:
    """Return the engine of a native context; None for any other context."""
    engine = getattr(context, "_engine", None)
    return engine if isinstance(engine, _native.ServerEngine) else None


def handshake_may_block(context: object) -> bool:
    """Whether a worker thread should run the steps of a handshake."""
    return bool(getattr(context, "handshake_may_block", False))


def is_server(tls: object, module: str) -> bool:
    """Whether `tls` is a server context; `module` is the module that will drive its connections.

    Raises TypeError if it is not a context, and ConfigurationError if it enables early data, which
    these drivers do not support.
    """
    # For each connection: `isinstance` with both protocols takes 30 us on Python 3.11.
    configuration = getattr(tls, "configuration", None)
    if configuration is None or not hasattr(tls, "create_buffer") or not hasattr(tls, "connect"):
        raise TypeError(f"tls: expected a ClientContext or a ServerContext, got {tls!r}")
    if not isinstance(configuration, TLSServerConfiguration):
        return False
    check_no_early_data(configuration, module)
    return True


def buffer_maker(
    tls: Any,
    server_hostname: str | None,
    session: TLSSession | None,
    ech: bytes | None,
    module: str,
) -> tuple[Callable[[], TLSBuffer], bool]:
    """Return a function that creates a buffer, and whether a worker thread should call it.

    A session passed as `session=` is verified when the buffer is created, which may call a
    verifier.

    Raises what `is_server` does, and ValueError for arguments that are missing or have no meaning
    on that side.
    """
    if is_server(tls, module):
        if server_hostname is not None:
            raise ValueError("server_hostname is only meaningful with a client context")
        for name, value in (("session", session), ("ech", ech)):
            if value is not None:
                raise ValueError(f"{name} is only meaningful with a client context")
        return tls.create_buffer, False
    if server_hostname is None:
        raise ValueError("server_hostname is required with a client context")
    # Other implementations need not know them.
    given: dict[str, Any] = {} if ech is None else {"ech": ech}
    if session is None:
        return partial(tls.create_buffer, server_hostname, **given), False
    given["session"] = session
    return partial(tls.create_buffer, server_hostname, **given), handshake_may_block(tls)
