"""Directories of certificates and CRLs, with files named by hash (`openssl rehash`)."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Final

from .. import _native
from .pem import der_of, sections

__all__ = ["Folders"]

#: HASH.0, HASH.1 are certificates with that hash of the subject; HASH.r0, HASH.r1 are CRLs.
_FIRST: Final = re.compile(r"([0-9a-f]{8}\.)(r?)0")

#: A file system whose times are this coarse may have changed since, with the same time.
_COARSE: Final = 2_000_000_000

_Found = tuple[list[bytes], list[bytes]]


class Folders:
    """The directories of one context. They are read again when their entries have changed."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._seen: list[int | None] | None = None
        self._found: _Found = [], []

    def __bool__(self) -> bool:
        return bool(self._paths)

    @property
    def certificates(self) -> list[bytes]:
        """The certificates, in DER."""
        return self._found[0]

    @property
    def crls(self) -> list[bytes]:
        """The CRLs, in PEM."""
        return self._found[1]

    def add(self, path: str | bytes) -> None:
        """Add a directory, or several separated like in PATH. They need not exist."""
        self._paths += filter(None, os.fsdecode(path).split(os.pathsep))
        self._seen = None

    def look(self) -> bool:
        """Read them, if they have changed; return whether there are other contents now."""
        seen = [_changed_at(path) for path in self._paths]
        if seen == self._seen:
            return False
        latest = max((at for at in seen if at is not None), default=0)
        is_settled = latest + _COARSE < time.time_ns()
        found: _Found = [], []
        for path in self._paths:
            _read(Path(path), found)
        before, self._found = self._found, found
        self._seen = seen if is_settled else None
        return found != before


def _changed_at(path: str) -> int | None:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None


def _read(folder: Path, found: _Found) -> None:
    """Read a directory like OpenSSL: it skips what it cannot read."""
    certificates, crls = found
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return
    for first in filter(None, map(_FIRST.fullmatch, names)):
        hash_, is_crl = first[1], bool(first[2])
        number = 0
        while True:
            try:
                data = (folder / f"{hash_}{first[2]}{number}").read_bytes()
            except OSError:
                break
            number += 1
            if is_crl:
                crls += sections(data, "X509 CRL")
            elif not _take(data, hash_, certificates):
                break


def _take(data: bytes, hash_: str, found: list[bytes]) -> bool:
    """Take certificates with this hash; whether all could be read, and there were any."""
    listed = sections(data, "CERTIFICATE")
    for section in listed:
        try:
            der = der_of(section)
            subject = _native.canonical_subject(der)
        except ValueError:
            return False
        if _hash(subject) == hash_:
            found.append(der)
    return bool(listed)


def _hash(subject: bytes) -> str:
    digest = hashlib.sha1(subject, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}."
