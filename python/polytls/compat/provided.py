"""A complete `_ssl`, for the standard library's `ssl` in a Python without OpenSSL."""

from __future__ import annotations

import sys
import types
from functools import cache
from typing import Any, Final

from ..errors import ConfigurationError
from .base import BASE, IS_OPENSSL
from .connection import Certificate, Connection, SSLSession
from .context import NAME, OVERRIDDEN
from .settings import Settings

__all__ = ["provide"]

#: The minor versions of Python whose names of `_ssl` are known.
_KNOWN: Final = ((3, 11), (3, 12), (3, 13))


def provide() -> bool:
    """Give Python an `_ssl` that uses polytls, if it has none: `import ssl` works from then on.

    Returns whether there was none. If Python has OpenSSL, nothing changes; use `install` in that
    case.

    Raises ConfigurationError for a version of Python whose `ssl` is not known.
    """
    if IS_OPENSSL:
        return False
    if sys.version_info[:2] not in _KNOWN:
        known = ", ".join(f"{major}.{minor}" for major, minor in _KNOWN)
        raise ConfigurationError(
            f"Python {sys.version_info.major}.{sys.version_info.minor} has no _ssl, and polytls "
            f"only replaces that of {known}; use one of these, or a Python with OpenSSL"
        )
    sys.modules["_ssl"] = _module()
    return True


def _class() -> type:
    class _SSLContext(BASE._SSLContext):  # type: ignore[misc]
        __module__, __qualname__ = "_ssl", "_SSLContext"

        def __new__(cls, protocol: int, /) -> Any:
            self = super().__new__(cls, protocol)
            self.__dict__[NAME] = Settings(self)
            return self

    for name, function in OVERRIDDEN.items():
        setattr(_SSLContext, name, function)
    return _SSLContext


@cache
def _module() -> types.ModuleType:
    made = types.ModuleType("_ssl", __doc__)
    made.__dict__.update(BASE.NAMES)
    made.__dict__.update(
        Certificate=Certificate, SSLSession=SSLSession, _SSLContext=_class(), _SSLSocket=Connection
    )
    return made
