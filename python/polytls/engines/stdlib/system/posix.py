"""POSIX: descriptors with paths for keys, and OpenSSL's bundle and directories of certificates."""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .... import _native
from ..refusals import refuse

assert sys.platform != "win32"  # noqa: S101 - type checkers read it

__all__ = ["NO_PATH", "load_store", "path_to", "store"]

#: What a message says if `path_to` raises OSError.
NO_PATH: Final = "this system has neither memory files nor pipes under /dev/fd"

#: Where descriptors have paths.
_DESCRIPTORS: Final = Path("/dev/fd")


@contextmanager
def path_to(data: bytes) -> Iterator[str]:
    """A path that leads to `data`, but not to a disk."""
    if not _DESCRIPTORS.is_dir():
        raise OSError(f"there is no {_DESCRIPTORS}")
    descriptor = _memory(data) if hasattr(os, "memfd_create") else _pipe(data)
    try:
        yield str(_DESCRIPTORS / str(descriptor))
    finally:
        os.close(descriptor)


def _memory(data: bytes) -> int:
    descriptor = os.memfd_create("polytls")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    return descriptor


def _pipe(data: bytes) -> int:
    reader, writer = os.pipe()
    try:
        # Nobody is reading yet, so what does not fit now never will.
        os.set_blocking(writer, False)
        fits = os.write(writer, data) == len(data)
    finally:
        os.close(writer)
    if not fits:
        os.close(reader)
        raise OSError("larger than a pipe")
    return reader


# --- trust ---


def store() -> tuple[list[bytes], str | None]:
    """The system's certificates, in DER, and directories, where OpenSSL looks for them.

    The environment variables replace both.

    OpenSSL could read them itself, but stops at the first root that it cannot parse, and accepts an
    empty store. Raises ConfigurationError if there are none.
    """
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folders:
        paths = ssl.get_default_verify_paths()
        file, folders = paths.openssl_cafile, paths.openssl_capath
    anchors: list[bytes] = []
    if file:
        with suppress(ValueError):
            anchors = _native.certificates(_system_file(file))
    # OpenSSL finds certificates in a directory by the hash of their subjects, on demand.
    there = [name for name in (folders or "").split(os.pathsep) if _has_hashed(Path(name))]
    if not anchors and not there:
        raise _no_system_trust()
    return anchors, os.pathsep.join(there) or None


def _system_file(path: str) -> bytes:
    """The contents of the bundle; nothing if the system has none.

    Raises ConfigurationError if SSL_CERT_FILE names it.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        if os.environ.get("SSL_CERT_FILE"):
            raise refuse(
                "trust_store",
                f"SSL_CERT_FILE names {path}, which cannot be read ({error.strerror or error}); "
                "correct the variable, or unset it to use the system's default store",
            ) from None
        return b""


def _has_hashed(folder: Path) -> bool:
    try:
        return any(re.fullmatch(r"[0-9a-f]{8}\.\d+", entry.name) for entry in folder.iterdir())
    except OSError:
        return False


def _chosen() -> str:
    """The variables that select the store, in words."""
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    given = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    return f", chosen by {' and '.join(given)}," if given else ""


def _no_system_trust() -> Exception:
    return refuse(
        "trust_store",
        f"the system's trust store{_chosen()} contains no usable certificate; install the "
        "system's CA "
        "certificates (ca-certificates on Debian), point SSL_CERT_FILE to a bundle, or pass a "
        "trust_store",
    )


def load_store(context: ssl.SSLContext, anchors: Sequence[bytes], folders: str | None) -> None:
    """Make `context` trust what `store` has found, as far as it can be parsed."""
    if folders:
        context.load_verify_locations(capath=folders)
    with suppress(ssl.SSLError):
        if anchors:
            context.load_verify_locations(cadata=b"".join(anchors))
        return
    readable = 0
    for anchor in anchors:
        with suppress(ssl.SSLError):
            context.load_verify_locations(cadata=anchor)
            readable += 1
    if not readable and not folders:
        raise _no_system_trust()
