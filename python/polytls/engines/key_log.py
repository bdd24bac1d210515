"""Where secrets are written for debugging (`key_log=`), and the warning that they are.

The file is the one that SSLKEYLOGFILE of other programs names: lines of the NSS key log format are
appended. Nobody but its owner may read it, and that is whoever runs this.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import warnings
from collections.abc import Callable
from typing import Final

from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..errors import refusal
from ..interfaces.insecure import SecurityWarning

__all__ = ["prepare", "warn_of_key_log", "writer"]

_OWNER_ALONE: Final = 0o600


def prepare(path: str, implementation: str) -> None:
    """Make the file if it is not there, with mode 0600, and refuse one that others can read.

    Raises ConfigurationError.
    """
    os.close(_open(path, implementation))


def writer(
    key_log: str | Callable[[str], object] | None, implementation: str
) -> Callable[[str], object] | None:
    """Return what takes each line; a file stays open as long as that.

    Raises ConfigurationError.
    """
    if not isinstance(key_log, str):
        return key_log
    return _File(_open(key_log, implementation))


class _File:
    """Appends lines to a descriptor, and closes it when it goes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, line: str) -> None:
        # One call for a line: other threads and programs append here as well.
        os.write(self._descriptor, line.encode("ascii") + b"\n")

    def __del__(self) -> None:
        os.close(self._descriptor)


def warn_of_key_log(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Issue a SecurityWarning to whoever makes a context that has a key log."""
    if configuration.key_log is not None:
        warnings.warn(
            "key_log: anyone who reads it can decrypt these connections; use it only for debugging",
            SecurityWarning,
            stacklevel=4,
        )


def _open(path: str, implementation: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    for name in ("O_CLOEXEC", "O_NOFOLLOW"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, _OWNER_ALONE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            # Whoever may write to the folder chooses what it leads to.
            raise refusal(
                implementation,
                "key_log",
                f"{path} is a symbolic link; give the path of the file itself",
            ) from error
        raise refusal(
            implementation, "key_log", f"cannot write {path}: {error.strerror or error}"
        ) from error
    if why := _readable_by_others(os.fstat(descriptor)):
        os.close(descriptor)
        raise refusal(implementation, "key_log", f"others can read {path} ({why}")
    return descriptor


def _readable_by_others(found: os.stat_result) -> str | None:
    """Why, and what to do; None if they cannot."""
    if sys.platform == "win32" or stat.S_ISCHR(found.st_mode):  # A terminal, or /dev/null.
        return None
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}); give a path that is yours"
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077:
        return f"mode {stat.S_IMODE(found.st_mode):03o}); chmod 600 it"
    return None
