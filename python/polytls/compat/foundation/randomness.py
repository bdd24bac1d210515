"""The random numbers of `_ssl`: the system's."""

from __future__ import annotations

import os
import warnings

__all__ = ["RAND_add", "RAND_bytes", "RAND_pseudo_bytes", "RAND_status"]


def RAND_bytes(n: int, /) -> bytes:
    """Generate n cryptographically strong pseudo-random bytes."""
    if n < 0:
        raise ValueError("num must be positive")
    return os.urandom(n)


def RAND_pseudo_bytes(n: int, /) -> tuple[bytes, bool]:
    """Generate n pseudo-random bytes, and say that they are strong."""
    warnings.warn("ssl.RAND_pseudo_bytes() is deprecated", DeprecationWarning, stacklevel=2)
    return RAND_bytes(n), True


def RAND_status() -> bool:
    """Say that the system's generator was seeded."""
    return True


def RAND_add(string: str | bytes, entropy: float, /) -> None:
    """Judge the arguments. The system's generator needs nothing from programs."""
    float(entropy)
    if not isinstance(string, str):
        memoryview(string)
