"""Certificates and keys as implementations need them: bytes, wherever they come from.

Files are read here, once, when a context is made; encodings are the TLS library's business. What a
certificate says is read by the Rust core, in one place for all.
"""

from __future__ import annotations

from typing import TypeVar

from . import _native
from .configuration import TLSClientConfiguration, TLSServerConfiguration, with_sources
from .errors import refusal
from .identity import Source
from .info import CertificateInfo

__all__ = ["contents_of", "leaf_validity", "loaded", "read"]

_C = TypeVar("_C", TLSClientConfiguration, TLSServerConfiguration)


def loaded(configuration: _C, implementation: str) -> _C:
    """Return a copy that holds what its files hold; nothing else of it changes.

    Raises ConfigurationError, with the path, for a file that cannot be read.
    """

    def load(field: str, source: Source) -> Source:
        if source.path is None or source.buffer is not None:
            return source
        return source.with_contents(contents_of(source.path, field, implementation))

    return with_sources(configuration, load)


def contents_of(path: str, field: str, implementation: str) -> bytes:
    """Return what a file holds that a configuration names in `field`.

    Raises ConfigurationError, with the path, if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise refusal(
            implementation, field, f"cannot read {path}: {error.strerror or error}"
        ) from error


def leaf_validity(data: bytes) -> tuple[int, int]:
    """Return notBefore and notAfter of the first certificate there, in seconds since 1970.

    Raises ValueError if there is none that can be read.
    """
    return _native.leaf_validity(data)


def read(der: bytes) -> CertificateInfo:
    """Return what a certificate in DER says of itself.

    Raises ValueError for what cannot be read.
    """
    return _native.read_certificate(der)
