"""Buffers as somebody else might have written them, under a connection of polytls's.

Limits, errors that are told again and the end of the transport are the same for all
implementations: sockets and event loops get them from the one connection that drives all buffers
(`polytls_core::Connection`).
"""

from __future__ import annotations

from typing import Any, Final

from polytls import _native
from polytls.testing import Pair

__all__ = ["Wrapped", "driven"]

#: The methods of PEP 748's buffers, and what they tell.
_INTERFACE: Final = frozenset(
    {
        "cipher",
        "context",
        "do_handshake",
        "getpeercert",
        "incoming_bytes_buffered",
        "negotiated_protocol",
        "negotiated_tls_version",
        "outgoing_bytes_buffered",
        "process_incoming",
        "process_outgoing",
        "read",
        "shutdown",
        "write",
    }
)


class Wrapped:
    """A buffer in Python, with PEP 748's interface and nothing beyond. Cases change its methods."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in _INTERFACE:
            return getattr(self.inner, name)
        raise AttributeError(name)


def driven(pair: Pair, wrapped: Any) -> Pair[Any, Any]:
    """Return the pair, its client driven by a connection of polytls's, which calls `wrapped`."""
    return Pair(_native.connection_of(wrapped), pair.server)
