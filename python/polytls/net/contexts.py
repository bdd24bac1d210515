"""The values of `tls=`."""

from __future__ import annotations

import threading

from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..interfaces import ClientContext, ServerContext
from ..registry import implementation

__all__ = ["client_context", "server_context"]

_lock = threading.Lock()
_default: ClientContext | None = None


def client_context(tls: ClientContext | TLSClientConfiguration | None) -> ClientContext:
    """Return `tls` if it is a context, otherwise a context created from it.

    For a configuration, the default implementation creates a new context. None is the shared
    context, which trusts the system's trust store, and is created on first use.

    Raises TypeError for anything else, and ConfigurationError like a context's constructor.
    """
    if tls is None:
        return _shared()
    if isinstance(tls, TLSClientConfiguration):
        return implementation().client_context(tls)
    if isinstance(tls, ClientContext):
        return tls
    raise TypeError(
        "tls must be a client context or a TLSClientConfiguration, "
        f"not {type(tls).__module__}.{type(tls).__qualname__}"
    )


def server_context(tls: ServerContext | TLSServerConfiguration) -> ServerContext:
    """Return `tls` if it is a context, otherwise a context that the default implementation creates.

    Raises TypeError for anything else, and ConfigurationError like a context's constructor.
    """
    if isinstance(tls, TLSServerConfiguration):
        return implementation().server_context(tls)
    if isinstance(tls, ServerContext) and isinstance(tls.configuration, TLSServerConfiguration):
        return tls
    raise TypeError(
        "tls must be a server context or a TLSServerConfiguration, "
        f"not {type(tls).__module__}.{type(tls).__qualname__}"
    )


def _shared() -> ClientContext:
    global _default
    with _lock:
        if _default is None:
            _default = implementation().client_context(TLSClientConfiguration())
        return _default
