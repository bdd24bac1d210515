"""Patches `ssl.SSLContext` with the functions of `context`, and removes the patch."""

from __future__ import annotations

import ssl
import threading
import weakref
from typing import Any, Final

from ..errors import ConfigurationError
from .base import IS_OPENSSL, C
from .context import NAME, OVERRIDDEN, counts, load_deferred, reasons, state
from .making import SSLContext
from .settings import Settings

__all__ = ["install", "report", "uninstall"]

_LOCK: Final = threading.Lock()
#: The previous attributes of `ssl.SSLContext`, by name; None: inherited from the C class.
_before: dict[str, Any] = {}
#: The contents of `ssl.CHANNEL_BINDING_TYPES`.
_bindings: list[str] = []

_MISSING: Final = object()

#: The standard library's class, below those that gevent and eventlet replace it with.
_STANDARD: Final[Any] = next(found for found in ssl.SSLContext.__mro__ if C in found.__bases__)

#: Contexts created since.
_made: weakref.WeakSet[ssl.SSLContext] = weakref.WeakSet()


def _new(cls: Any, protocol: int | None = None, *args: Any, **kwargs: Any) -> Any:
    self = _before["__new__"](cls, protocol, *args, **kwargs)
    self.__dict__.setdefault(NAME, Settings(self))
    if not isinstance(self, SSLContext):
        _made.add(self)
    return self


def install(fallback: bool = False) -> None:
    """Make every `ssl.SSLContext` that this process creates from now on use polytls.

    The class is patched in place, so this also works after `from ssl import SSLContext`. Existing
    contexts keep using OpenSSL.

    `fallback`: a context with settings that polytls does not support uses OpenSSL, and is counted
    (`report`); otherwise its connections are refused with an `ssl.SSLError` that names the setting.

    Another call changes `fallback`.

    If Python has no OpenSSL, all contexts use polytls without this call, and `fallback` raises
    ConfigurationError.
    """
    if fallback and not IS_OPENSSL:
        raise ConfigurationError("fallback: this Python has no OpenSSL to fall back to; remove it")
    with _LOCK:
        state.fallback = bool(fallback)
        if _before:
            return
        mine = _STANDARD.__dict__
        for name in ("__new__", *OVERRIDDEN):
            found = mine.get(name, _MISSING)
            _before[name] = found.__func__ if isinstance(found, staticmethod) else found
        if IS_OPENSSL:
            _STANDARD.__new__ = _new
            for name, function in OVERRIDDEN.items():
                setattr(_STANDARD, name, function)
        # tls-unique is refused; the list object stays the one that others have imported.
        _bindings[:] = ssl.CHANNEL_BINDING_TYPES
        ssl.CHANNEL_BINDING_TYPES[:] = []


def uninstall() -> None:
    """Remove the patch from `ssl.SSLContext`.

    Contexts created in the meantime use OpenSSL for their next connections, with the same settings.
    If Python has no OpenSSL, they keep using polytls.
    """
    with _LOCK:
        if not _before:
            return
        if IS_OPENSSL:
            _take_out()
        ssl.CHANNEL_BINDING_TYPES[:] = _bindings
        _before.clear()
        state.fallback = False


def _take_out() -> None:
    _STANDARD.__new__ = _before["__new__"]
    for made in list(_made):
        load_deferred(made)
    _made.clear()
    for name in OVERRIDDEN:
        if _before[name] is _MISSING:
            delattr(_STANDARD, name)
        else:
            setattr(_STANDARD, name, _before[name])


def report() -> dict[str, Any]:
    """Return `installed`, how many connections used `polytls` and `openssl`, and `reasons`: why
    contexts used OpenSSL, and how many connections that were.
    """
    return {
        "installed": bool(_before) or not IS_OPENSSL,
        "fallback": state.fallback,
        "polytls": counts["polytls"],
        "openssl": counts["openssl"],
        "reasons": dict(reasons),
    }
