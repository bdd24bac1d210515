"""The certificates and CRLs that a context was given, counted like OpenSSL does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

from ... import _native
from ..pem import der_of, sections, split
from .errors import SSLError, no_error, reasoned

__all__ = ["Store", "contents", "path_of"]

_WRONG_CADATA: Final = "cadata should be an ASCII string or a bytes-like object"


def contents(path: str | bytes) -> bytes:
    """Return what is in a file. The errors of files say no name, as OpenSSL's."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise OSError(error.errno, error.strerror) from None


def path_of(path: object, parameter: str) -> str | bytes | None:
    """Judge a path. Raises TypeError."""
    if path is None:
        return None
    try:
        return os.fspath(path)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        raise TypeError(f"{parameter} should be a valid filesystem path") from None


def _is_authority(der: bytes) -> bool:
    """As X509_check_ca(3), which takes self-issued certificates of version 1 for authorities."""
    read = _native.read_certificate(der)
    if read.is_authority or read.subject != read.issuer:
        return read.is_authority
    version: int = _native.certificate_dictionary(der)["version"]
    return version == 1


class Store:
    """Each certificate and each list once."""

    def __init__(self) -> None:
        #: By DER: whether it is an authority's.
        self._certificates: dict[bytes, bool] = {}
        self._lists: set[bytes] = set()

    def load(self, cafile: object, capath: object, cadata: object) -> None:
        """Take what `SSLContext.load_verify_locations` is given; folders are read when needed."""
        if cafile is None and capath is None and cadata is None:
            raise TypeError("cafile, capath and cadata cannot be all omitted")
        file, folder = path_of(cafile, "cafile"), path_of(capath, "capath")
        if cadata is not None:
            self._load_data(cadata)
        if file is not None:
            self._load_file(contents(file))
        if folder is not None and not folder:
            raise reasoned("X509", "INVALID_DIRECTORY", 113)

    def _load_data(self, cadata: object) -> None:
        data: bytes
        if isinstance(cadata, str):
            try:
                data = cadata.encode("ascii")
            except UnicodeEncodeError:
                raise TypeError(_WRONG_CADATA) from None
            missing = "no start line: cadata does not contain a certificate"
        else:
            try:
                data = bytes(memoryview(cadata))  # type: ignore[arg-type]
            except TypeError:
                raise TypeError(_WRONG_CADATA) from None
            missing = "not enough data: cadata does not contain a certificate"
        if not data:
            raise ValueError("Empty certificate data")
        found, wrong = _pem(data) if isinstance(cadata, str) else _der(data)
        if not found:
            raise no_error(missing)
        self._add(found)
        if wrong is not None:
            raise wrong

    def _load_file(self, data: bytes) -> None:
        found, wrong = _pem(data)
        if wrong is not None:
            raise reasoned("X509", None, 0x80009, "PEM lib")
        lists = {der_of(section) for section in sections(data, "X509 CRL")}
        if not found and not lists:
            raise reasoned("X509", "NO_CERTIFICATE_OR_CRL_FOUND", 136)
        self._add(found)
        self._lists |= lists

    def _add(self, found: list[bytes]) -> None:
        for der in found:
            self._certificates[der] = _is_authority(der)

    def load_system(self) -> None:
        """Take those of the system's file. An unreadable file is not an error, as in OpenSSL.

        What connections trust is the core's to read; this is what `cert_store_stats` tells.
        """
        file = os.environ.get("SSL_CERT_FILE") or _native.system_places()[0]
        try:
            found, _ = _pem(contents(file))
        except OSError:
            return
        self._add(found)

    def stats(self) -> dict[str, int]:
        """Return what `SSLContext.cert_store_stats` does."""
        return {
            "x509": len(self._certificates),
            "crl": len(self._lists),
            "x509_ca": sum(self._certificates.values()),
        }

    def authorities(self, binary_form: bool) -> list[Any]:
        """Return what `SSLContext.get_ca_certs` does."""
        found = [der for der, is_authority in self._certificates.items() if is_authority]
        return found if binary_form else [_native.certificate_dictionary(der) for der in found]


def _pem(data: bytes) -> tuple[list[bytes], SSLError | None]:
    found = map(der_of, sections(data, "CERTIFICATE"))
    return _readable(found, reasoned("PEM", "BAD_BASE64_DECODE", 100))


def _der(data: bytes) -> tuple[list[bytes], SSLError | None]:
    return _readable(split(data), reasoned("ASN1", "HEADER_TOO_LONG", 123))


def _readable(
    certificates: Iterable[bytes], wrong: SSLError
) -> tuple[list[bytes], SSLError | None]:
    """Those before the first that cannot be read, and the error if there is one."""
    found: list[bytes] = []
    try:
        for der in certificates:
            _native.read_certificate(der)
            found.append(der)
    except ValueError:
        return found, wrong
    return found, None
