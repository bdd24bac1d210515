"""What `tls=` may be."""

from __future__ import annotations

import threading

from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..interfaces import ClientContext, ServerContext
from ..registry import implementation

__all__ = ["client_context", "server_context"]

_lock = threading.Lock()
_default: ClientContext | None = None


def client_context(tls: ClientContext | TLSClientConfiguration | None) -> ClientContext:
    """Return the context that `tls` is, or that is made of it.

    A configuration gets a new context of the default implementation. None is the context that all
    share, which trusts what the system trusts, and which is made when it is first needed.

    Raises TypeError for anything else, and ConfigurationError as a context's constructor does.
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
    """Return the context that `tls` is, or that the default implementation makes of it.

    Raises TypeError for anything else, and ConfigurationError as a context's constructor does.
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
