"""Reads certificates and keys into memory for implementations, whatever their source.

Files are read here, once, when a context is created. The TLS library decodes them. The Rust core
reads certificate fields, for all implementations.
"""

from __future__ import annotations

from typing import TypeVar

from . import _native
from .configuration import TLSClientConfiguration, TLSServerConfiguration, with_sources
from .errors import refusal
from .identity import Source
from .info import CertificateInfo

__all__ = [
    "contents_of",
    "leaf_validity",
    "loaded",
    "read",
    "split",
    "staple_validity",
    "subject_of",
]

_C = TypeVar("_C", TLSClientConfiguration, TLSServerConfiguration)


def loaded(configuration: _C, implementation: str) -> _C:
    """Return a copy with the contents of its files; everything else is unchanged.

    Raises ConfigurationError, with the path, for a file that cannot be read.
    """

    def load(field: str, source: Source) -> Source:
        if source.path is None or source.buffer is not None:
            return source
        return source.with_contents(contents_of(source.path, field, implementation))

    return with_sources(configuration, load)


def contents_of(path: str, field: str, implementation: str) -> bytes:
    """Return the contents of a file that the configuration names in `field`.

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
    """Return notBefore and notAfter of the first certificate, in seconds since 1970.

    Raises ValueError if there is no readable certificate.
    """
    return _native.leaf_validity(data)


def staple_validity(response: bytes, data: bytes) -> tuple[int, int]:
    """Return the first and last second since 1970 in which clients accept an OCSP response.

    `data`: the certificate it must be about, as for `leaf_validity`. The signature is not checked.

    Raises ValueError if either cannot be read, and if the response is about another certificate.
    """
    return _native.staple_validity(response, data)


def read(der: bytes) -> CertificateInfo:
    """Return the fields of a certificate in DER.

    Raises ValueError for a certificate that cannot be parsed.
    """
    return _native.read_certificate(der)


def split(data: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a file in PEM or DER, as DER, in order.

    Raises ValueError, with what was found, if there is none.
    """
    return (*_native.certificates(data),)


def subject_of(der: bytes) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return the subject's distinguished name: its parts in order, each of types and values.

    Types are named as by `ssl.SSLSocket.getpeercert`. Values are as they stand in the certificate.

    Raises ValueError if it cannot be parsed.
    """
    subject: tuple[tuple[tuple[str, str], ...], ...] = _native.certificate_dictionary(der)[
        "subject"
    ]
    return subject
