"""Chooses the libssl of `polytls.implementation("openssl")`."""

from __future__ import annotations

import os

from .. import _native
from ..arguments import path_of

__all__ = ["use"]


def use(path: str | os.PathLike[str]) -> None:
    """Have `openssl` use this libssl, of OpenSSL 3.0 to 4, instead of the one that it would find.

    Call it before the first use of `openssl` in the process: before `polytls.implementation` and
    `polytls.implementations`, and before `polytls.engines.openssl` is imported. The file is loaded
    then; if that fails, the implementation cannot be used, and the error there says why. A process
    has only one library of a name, so if its libcrypto is called like the one of Python's `ssl`,
    that one is used.

    Raises RuntimeError if another libssl is in use already, TypeError for anything but a path.
    """
    chosen = path_of("path", path)
    if chosen is None:
        raise TypeError("path must be str or os.PathLike, not None")
    _native.use_openssl(chosen)
