"""Writes secrets for debugging (`key_log=`), and warns about it.

The format is that of the file that other programs take from SSLKEYLOGFILE: lines of the NSS key log
format are appended. Only its owner, the user who runs the program, may be able to read it.
"""

from __future__ import annotations

import errno
import os
import stat
import warnings
from collections.abc import Callable
from typing import Final

from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..errors import refusal
from ..interfaces.insecure import SecurityWarning

__all__ = ["prepare", "warn_of_key_log", "writer"]

_OWNER_ALONE: Final = 0o600


def prepare(path: str, implementation: str) -> None:
    """Create the file with mode 0600 if it does not exist, and refuse one that others can read.

    Raises ConfigurationError.
    """
    os.close(_open(path, implementation))


def writer(
    key_log: str | Callable[[str], object] | None, implementation: str
) -> Callable[[str], object] | None:
    """Return the function that receives each line; it keeps a file open as long as it exists.

    Raises ConfigurationError.
    """
    if not isinstance(key_log, str):
        return key_log
    return _File(_open(key_log, implementation))


class _File:
    """Appends lines to a descriptor, and closes it when it is freed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, line: str) -> None:
        # One call per line: other threads and programs append to the file as well.
        os.write(self._descriptor, line.encode("ascii") + b"\n")

    def __del__(self) -> None:
        os.close(self._descriptor)


def warn_of_key_log(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Issue a SecurityWarning to the code that creates a context with a key log."""
    if configuration.key_log is not None:
        warnings.warn(
            "key_log: anyone who reads it can decrypt these connections; use it only for debugging",
            SecurityWarning,
            stacklevel=4,
        )


def _open(path: str, implementation: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, _OWNER_ALONE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            # Anyone who can write to the directory controls where the link leads.
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
    """Why others can read it, and what to do; None if they cannot."""
    if not hasattr(os, "geteuid") or stat.S_ISCHR(found.st_mode):  # A terminal, or /dev/null.
        return None  # On Windows, a file is as open to others as its folder.
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}); give a path that is yours"
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077:
        return f"mode {stat.S_IMODE(found.st_mode):03o}); chmod 600 it"
    return None
