"""What callers pass to sockets and buffers: checked, and in one form.

Errors name the parameter, as those of the Rust core do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["DEFAULT", "Default", "amount_of", "seconds_of", "view_of"]


class Default:
    """Stands for a timeout that was left out."""

    def __repr__(self) -> str:
        return "socket.getdefaulttimeout()"


DEFAULT: Final = Default()

#: Seconds are counted in 64 bits, here and in the Rust core.
_TOO_LONG: Final = 2**64


def seconds_of(timeout: float | Default | None) -> float | None:
    """Return the timeout asked for in seconds, or `socket`'s default; None is no limit.

    Raises TypeError if it is no number, ValueError if it is negative, OverflowError if it is larger
    than any clock.
    """
    if isinstance(timeout, Default):
        # Costs milliseconds; buffers do without it.
        import socket

        return socket.getdefaulttimeout()
    if timeout is None:
        return None
    if not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number or None, not {type(timeout).__name__}")
    if math.isnan(timeout):
        raise ValueError("timeout is not a number")
    if timeout < 0:
        raise ValueError("timeout must not be negative")
    if timeout >= _TOO_LONG:
        raise OverflowError("timeout is too large")
    return float(timeout)


def amount_of(name: str, value: int) -> int:
    """Return a number of bytes.

    Raises TypeError if it is no int, ValueError if it is negative.
    """
    if not isinstance(value, int):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must not be negative")
    return value


def view_of(name: str, value: Buffer, *, writable: bool = False) -> memoryview:
    """Return the bytes of a bytes-like object, whatever its items are.

    Raises TypeError if it is none, or is not writable and has to be; BufferError if its bytes do
    not lie side by side.
    """
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"{name} must be bytes-like, not {type(value).__name__}") from None
    if writable and view.readonly:
        raise TypeError(f"{name} must be writable")
    if not view.c_contiguous:
        raise BufferError(f"{name} must be contiguous")
    if not view.nbytes:
        return memoryview(b"")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
