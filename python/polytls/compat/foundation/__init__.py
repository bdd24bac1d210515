"""What `_ssl` is made of where Python has no OpenSSL: constants, errors, and the state of contexts.

It has the names of `_ssl` that the face needs of it (`polytls.compat.base`), and imports no `ssl`.
The classes that make connections are the face's; `polytls.compat.provided` puts the two together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from ... import _native
from ..pem import der_of, sections
from .constants import CONSTANTS
from .context import Context as _SSLContext
from .errors import (
    SSLCertVerificationError,
    SSLEOFError,
    SSLError,
    SSLSyscallError,
    SSLWantReadError,
    SSLWantWriteError,
    SSLZeroReturnError,
)
from .objects import nid2obj, txt2obj
from .randomness import RAND_add, RAND_bytes, RAND_pseudo_bytes, RAND_status
from .store import contents

__all__ = ["NAMES", "SSLError", "_SSLContext"]


def get_default_verify_paths() -> tuple[str, str, str, str]:
    """Return the variables that choose the system's certificates, and where they are otherwise."""
    file, folder = _native.system_places()
    return "SSL_CERT_FILE", file, "SSL_CERT_DIR", folder


def _test_decode_cert(path: str, /) -> dict[str, Any]:
    found = sections(contents(path), "CERTIFICATE")
    if not found:
        raise SSLError("Error decoding PEM-encoded file")
    return _native.certificate_dictionary(der_of(found[0]))


def _names() -> dict[str, Any]:
    found = dict(CONSTANTS)
    kinds: tuple[type, ...] = (
        SSLError,
        SSLCertVerificationError,
        SSLEOFError,
        SSLSyscallError,
        SSLWantReadError,
        SSLWantWriteError,
        SSLZeroReturnError,
        _native.MemoryBIO,
    )
    functions: list[Callable[..., Any]] = [
        RAND_add,
        RAND_bytes,
        RAND_status,
        _test_decode_cert,
        get_default_verify_paths,
        nid2obj,
        txt2obj,
    ]
    if sys.version_info < (3, 12):
        functions.append(RAND_pseudo_bytes)
    found |= {kind.__name__: kind for kind in kinds}
    return found | {function.__name__: function for function in functions}


#: All names of `_ssl` but the classes that make connections.
NAMES: Final = _names()
globals().update(NAMES)
