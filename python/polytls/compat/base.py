"""What the face stands on: `_ssl`, or where Python was built without OpenSSL, a state of our own.

Either has the constants, the errors and the class of contexts that judges arguments and keeps plain
settings. The face takes them from here, and never from `ssl`: that may be what is being imported
(`polytls.compat.provided`).
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
    # What has no class of contexts is our own, which is being made.
    return found if hasattr(found, "_SSLContext") else None


_OPENSSL: Final = _found()

#: Whether OpenSSL is there.
IS_OPENSSL: Final = _OPENSSL is not None

#: The module.
BASE: Final[Any] = _OPENSSL or import_module("polytls.compat.foundation")

#: Its class of contexts.
C: Final[Any] = BASE._SSLContext
