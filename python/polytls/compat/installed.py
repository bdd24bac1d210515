"""Putting the functions of `context` into `ssl.SSLContext` itself, and taking them out again."""

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
#: What `ssl.SSLContext` had before, by name; None: it inherited it from the C class.
_before: dict[str, Any] = {}
#: The contents of `ssl.CHANNEL_BINDING_TYPES`.
_bindings: list[str] = []

_MISSING: Final = object()

#: The standard library's class, below those that gevent and eventlet put in its place.
_STANDARD: Final[Any] = next(found for found in ssl.SSLContext.__mro__ if C in found.__bases__)

#: Contexts that were made since.
_made: weakref.WeakSet[ssl.SSLContext] = weakref.WeakSet()


def _new(cls: Any, protocol: int | None = None, *args: Any, **kwargs: Any) -> Any:
    self = _before["__new__"](cls, protocol, *args, **kwargs)
    self.__dict__.setdefault(NAME, Settings(self))
    if not isinstance(self, SSLContext):
        _made.add(self)
    return self


def install(fallback: bool = False) -> None:
    """Have polytls serve every `ssl.SSLContext` that this process makes from now on.

    The class stays what it is, so that `from ssl import SSLContext` done before is reached, too.
    Contexts that exist stay OpenSSL's.

    `fallback`: a context that asks for what polytls cannot honour is given to OpenSSL, and counted
    (`report`); otherwise its connections are refused by an `ssl.SSLError` that says what it is.

    Calling it again changes `fallback`.

    Where Python has no OpenSSL, polytls serves all contexts without it, and `fallback` raises
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
        # tls-unique is refused; the list stays the one that others have imported.
        _bindings[:] = ssl.CHANNEL_BINDING_TYPES
        ssl.CHANNEL_BINDING_TYPES[:] = []


def uninstall() -> None:
    """Give `ssl.SSLContext` back what it had.

    The next connections of contexts that were made meanwhile are OpenSSL's, with the same settings.
    Where Python has no OpenSSL, they stay polytls's.
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
    """Return who serves: `installed`, how many connections were made by `polytls` and by `openssl`,
    and `reasons`, why contexts were OpenSSL's and how many connections that were.
    """
    return {
        "installed": bool(_before) or not IS_OPENSSL,
        "fallback": state.fallback,
        "polytls": counts["polytls"],
        "openssl": counts["openssl"],
        "reasons": dict(reasons),
    }
