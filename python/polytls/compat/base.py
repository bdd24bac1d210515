"""The base of `compat`: `_ssl`, or its replacement if Python was built without OpenSSL.

Both have the constants, the errors and the context class that checks arguments and stores plain
settings. `compat` takes them from here, never from `ssl`, which may be in the process of being
imported (`polytls.compat.provided`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

__all__ = ["BASE", "IS_OPENSSL", "C"]


def _found() -> Any:
    try:
        found = import_module("_ssl")
    except ImportError:
        return None
    # A module without a context class is our own, which is being created.
    return found if hasattr(found, "_SSLContext") else None


_OPENSSL: Final = _found()

#: Whether OpenSSL is available.
IS_OPENSSL: Final = _OPENSSL is not None

#: The module.
BASE: Final[Any] = _OPENSSL or import_module("polytls.compat.foundation")

#: Its context class.
C: Final[Any] = BASE._SSLContext
