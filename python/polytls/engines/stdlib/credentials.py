"""Loads trust anchors and certificates into `ssl.SSLContext`s; the Rust core has parsed them.

No key is written to disk. `ssl` reads certificates and keys only from paths, so they are passed
through a descriptor (/dev/fd) of a memory file, or else of a pipe.
"""

from __future__ import annotations

import binascii
import os
import re
import ssl
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from ... import _native
from ...errors import refusal
from ...identity import TrustStore

__all__ = [
    "NAME",
    "Identity",
    "Trust",
    "identity_of",
    "load_identity",
    "load_trust",
    "refuse",
    "trust_of",
]

NAME: Final = "stdlib"

#: Creates the ConfigurationError for a field.
refuse: Final = partial(refusal, NAME)


@dataclass(frozen=True, slots=True)
class Trust:
    """What peers are verified against, in the form that `ssl` needs."""

    #: All given certificates, in DER. To OpenSSL all are trust anchors; the verdict knows which are
    #: not.
    given: Sequence[bytes]
    #: CRLs in DER for OpenSSL; if there are any, every certificate must be covered by one.
    crls: Sequence[bytes]
    #: Whether the system's certificates are trusted as well; certificates of the system's, in DER,
    #: and OpenSSL's directories of certificates.
    system: bool
    anchors: Sequence[bytes] = ()
    folders: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A chain and its key in PEM; the leaf in DER."""

    chain: bytes
    key: bytes
    leaf: bytes


def trust_of(store: TrustStore | None, given: Sequence[bytes], crls: Sequence[bytes]) -> Trust:
    """Add the system's trust store to the given certificates, if it is selected.

    Raises ConfigurationError.
    """
    system = store is None or store.source == "system"
    found = _system_trust() if system else ()
    return Trust(given, crls, system, *found)


def _system_trust() -> tuple[list[bytes], str | None]:
    """The system's certificates and directories, where OpenSSL looks for them.

    The environment variables replace both.

    OpenSSL could read them itself, but stops at the first root that it cannot parse, and accepts an
    empty store.
    """
    if sys.platform == "win32":
        return [], None
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


def load_trust(context: ssl.SSLContext, trust: Trust) -> None:
    """Make `context` trust the anchors.

    Raises ConfigurationError, with the index of the one that cannot be parsed.
    """
    if trust.system and sys.platform == "win32":
        context.load_default_certs(
            ssl.Purpose.CLIENT_AUTH
            if context.protocol is ssl.PROTOCOL_TLS_SERVER
            else ssl.Purpose.SERVER_AUTH
        )
    if trust.folders:
        context.load_verify_locations(capath=trust.folders)
    if trust.system:
        _load_system(context, trust)
    for index, anchor in enumerate(trust.given):
        _load_anchor(context, anchor, index)
    if trust.crls:
        _load_revocation_lists(context, trust.crls)


def _load_anchor(context: ssl.SSLContext, anchor: bytes, index: int) -> None:
    try:
        context.load_verify_locations(cadata=anchor)
    except ssl.SSLError:
        raise refuse(
            "trust_store",
            f"certificate {index} of the trust store is malformed: OpenSSL cannot read it",
        ) from None


def _load_system(context: ssl.SSLContext, trust: Trust) -> None:
    """Load the system's anchors, as far as they can be parsed."""
    with suppress(ssl.SSLError):
        if trust.anchors:
            context.load_verify_locations(cadata=b"".join(trust.anchors))
        return
    readable = 0
    for anchor in trust.anchors:
        with suppress(ssl.SSLError):
            context.load_verify_locations(cadata=anchor)
            readable += 1
    if not readable and not trust.folders:
        raise _no_system_trust()


def _load_revocation_lists(context: ssl.SSLContext, crls: Iterable[bytes]) -> None:
    try:
        with _path_to(b"".join(pem("X509 CRL", der) for der in crls)) as path:
            context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise refuse("trust_store", "a CRL is malformed: OpenSSL cannot read it") from None
    except OSError as error:
        raise refuse("trust_store", _no_path("CRLs", error)) from None
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


# --- certificates and keys ---


def identity_of(chain: Sequence[bytes], key: tuple[str, bytes]) -> Identity:
    """Convert a chain in DER and a key, with its label in PEM, to the form that OpenSSL reads.

    Raises ConfigurationError if it cannot use them.
    """
    sections = b"".join(pem("CERTIFICATE", der) for der in chain)
    identity = Identity(sections, pem(*key), chain[0])
    # Separately: in a context with several, a leaf could match the key of another one.
    load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), identity)
    return identity


def pem(label: str, der: bytes) -> bytes:
    """Return `der` as a PEM section (RFC 7468)."""
    text = binascii.b2a_base64(der, newline=False).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


#: Where descriptors have paths.
_DESCRIPTORS: Final = Path("/dev/fd")

#: How OpenSSL reports that a key does not match the certificate; with a key of another type it
#: looks for the certificate in the wrong place (SSL_CTX_check_private_key(3)).
_MISMATCH: Final = frozenset(
    {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
)


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Make `context` present the identity, replacing another one with a key of that type.

    Raises ConfigurationError.
    """
    field = "certificate_chain"
    try:
        with _path_to(identity.chain) as chain, _path_to(identity.key) as key:
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(chain, key, password=lambda: b"")
    except ssl.SSLError as error:
        raise refuse(field, _unusable(error, identity)) from None
    except OSError as error:
        raise refuse(field, _no_path("certificates and keys", error)) from None


#: What OpenSSL's security level forbids (SSL_CTX_set_security_level(3)).
_TOO_WEAK: Final = {
    "EE_KEY_TOO_SMALL": "the key of the leaf is too small",
    "CA_KEY_TOO_SMALL": "the key of an issuer in the chain is too small",
    "CA_MD_TOO_WEAK": "the hash function of a signature in the chain is too weak",
}


def _unusable(error: ssl.SSLError, identity: Identity) -> str:
    """Why OpenSSL does not accept an identity: it reports neither what is at fault nor why."""
    reason = error.reason or ""
    if reason in _MISMATCH:
        return "the private key does not match the leaf certificate"
    if reason in _TOO_WEAK:
        return (
            f"{_TOO_WEAK[reason]} for OpenSSL's security level; get a certificate with a larger "
            "key and a newer signature"
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=identity.leaf)
    except ssl.SSLError:
        return "the leaf certificate is malformed: OpenSSL cannot read it"
    if reason == "INVALID_CERTIFICATE":
        return "the leaf certificate has a malformed extension: OpenSSL cannot use it"
    return (
        f"OpenSSL cannot use this {_form(identity.key)} private key; it supports valid RSA, ECDSA "
        "and EdDSA keys"
    )


def _form(key: bytes) -> str:
    label = key.split(b"-----", 2)[1].removeprefix(b"BEGIN ")
    return {b"RSA PRIVATE KEY": "PKCS#1", b"EC PRIVATE KEY": "SEC1"}.get(label, "PKCS#8")


def _no_path(what: str, error: OSError) -> str:
    return (
        f"the ssl module reads {what} only from paths, and this system has neither memory files "
        f"nor pipes under /dev/fd ({error.strerror or error})"
    )


@contextmanager
def _path_to(data: bytes) -> Iterator[str]:
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
