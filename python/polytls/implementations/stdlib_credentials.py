"""Trust and identities for `ssl`: read once, checked, and loaded into `ssl.SSLContext`s.

No key touches a disk. `ssl` reads certificates and keys from paths alone, so they are handed over
through a descriptor (/dev/fd) to memory, or else to a pipe.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from ..capabilities import refusal
from ..certificates import chain_data, trust_data
from ..identity import SigningChain, TrustStore
from .encodings import Malformed, certificates, facts, pem, private_key

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

#: Makes the ConfigurationError for a field.
refuse: Final = partial(refusal, NAME)


@dataclass(frozen=True, slots=True)
class Trust:
    """Certificates that are anchors, in DER, and OpenSSL's folders of such."""

    anchors: tuple[bytes, ...] = ()
    folders: str | None = None
    #: Whether unreadable anchors are passed over and, on Windows, its own stores are read.
    system: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A chain and its key, each as PEM, and the DNS names of its leaf; the leaf as DER."""

    chain: bytes
    key: bytes
    names: tuple[str, ...]
    leaf: bytes


def trust_of(store: TrustStore | None) -> Trust:
    """Read a trust store; None is the system's.

    Raises ConfigurationError.
    """
    data = trust_data(store, NAME)
    if data is None:
        return _system_trust()
    try:
        return Trust(tuple(certificates(data)))
    except Malformed as error:
        raise refuse("trust_store", str(error)) from None


def _system_trust() -> Trust:
    """The system's anchors, where OpenSSL looks for them; the variables replace both places.

    OpenSSL would read them by itself, but stops at the first root that it cannot read, and takes
    an empty store for a store.
    """
    if sys.platform == "win32":
        return Trust(system=True)
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folders:
        paths = ssl.get_default_verify_paths()
        file, folders = paths.openssl_cafile, paths.openssl_capath
    anchors: list[bytes] = []
    if file:
        with suppress(OSError, Malformed):
            anchors = certificates(Path(file).read_bytes())
    # OpenSSL finds certificates in a folder by the hash of their subjects, when it needs them.
    there = [name for name in (folders or "").split(os.pathsep) if _has_hashed(Path(name))]
    if not anchors and not there:
        raise _no_system_trust()
    return Trust(tuple(anchors), os.pathsep.join(there) or None, system=True)


def _has_hashed(folder: Path) -> bool:
    try:
        return any(re.fullmatch(r"[0-9a-f]{8}\.\d+", entry.name) for entry in folder.iterdir())
    except OSError:
        return False


def _no_system_trust() -> Exception:
    return refuse(
        "trust_store",
        "the system's trust store holds no usable certificate; install the system's CA "
        "certificates (ca-certificates on Debian), point SSL_CERT_FILE to a bundle, or pass a "
        "trust_store",
    )


def load_trust(context: ssl.SSLContext, trust: Trust) -> None:
    """Have `context` trust the anchors.

    Raises ConfigurationError, with the index of the one that cannot be read.
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
        try:
            if trust.anchors:
                context.load_verify_locations(cadata=b"".join(trust.anchors))
        except ssl.SSLError:
            pass
        else:
            return
    _load_one_by_one(context, trust)


def _load_one_by_one(context: ssl.SSLContext, trust: Trust) -> None:
    readable = 0
    for index, anchor in enumerate(trust.anchors):
        try:
            context.load_verify_locations(cadata=anchor)
            readable += 1
        except ssl.SSLError as error:
            if not trust.system:
                raise refuse(
                    "trust_store",
                    f"certificate {index} of the trust store cannot be read: {_words(error)}",
                ) from None
    if not readable and not trust.folders:
        raise _no_system_trust()


# --- identities ---


def identity_of(chain: SigningChain) -> Identity:
    """Read a chain and its key (SEMANTICS: without a key of its own, it stands in the leaf's PEM).

    Raises ConfigurationError.
    """
    field = "certificate_chain"
    files, key, _ = chain_data(chain, NAME)
    assert key is None or isinstance(key, bytes)  # noqa: S101 - `check` has refused signers
    try:
        found = [der for file in files for der in certificates(file)]
    except Malformed as error:
        raise refuse(field, str(error)) from None
    try:
        key = private_key(files[0] if key is None else key)
    except Malformed as error:
        missing = (
            ""
            if key is not None
            else ("no key was given, and the leaf's own data holds none that can be used: ")
        )
        raise refuse(field, f"{missing}{error}") from None
    names: tuple[str, ...] = ()
    for index, der in enumerate(found):
        try:
            names = names if index else facts(der).dns_names
        except Malformed as error:
            raise refuse(
                field,
                f"certificate {index} of the chain is not a certificate that can be read: {error}",
            ) from None
    identity = Identity(b"".join(pem("CERTIFICATE", der) for der in found), key, names, found[0])
    # By itself: in a context with several, a leaf could find the key of another one.
    load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), identity)
    return identity


#: Where descriptors have paths.
_DESCRIPTORS: Final = Path("/dev/fd")

#: What OpenSSL calls a key that belongs to another certificate; with a key of another type it
#: looks for the certificate in the wrong place (SSL_CTX_check_private_key(3)).
_MISMATCH: Final = frozenset(
    {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
)


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Have `context` present the identity, in place of another with a key of that type.

    Raises ConfigurationError.
    """
    field = "certificate_chain"
    try:
        with _path_to(identity.chain) as chain, _path_to(identity.key) as key:
            # Without a password at hand OpenSSL would ask for one at the terminal.
            context.load_cert_chain(chain, key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason in _MISMATCH:
            raise refuse(
                field, "the private key does not belong to the certificate of the leaf"
            ) from None
        raise refuse(
            field, f"OpenSSL cannot use this certificate or its key: {_words(error)}"
        ) from None
    except OSError as error:
        raise refuse(
            field,
            "the ssl module reads certificates and keys from paths alone, and here is neither a "
            f"file in memory nor a pipe to be had under /dev/fd ({error.strerror or error})",
        ) from None


@contextmanager
def _path_to(data: bytes) -> Iterator[str]:
    """A path that leads to `data`, and to no disk."""
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
        # Nobody reads yet, so what does not fit in now never will.
        os.set_blocking(writer, False)
        fits = os.write(writer, data) == len(data)
    finally:
        os.close(writer)
    if not fits:
        os.close(reader)
        raise OSError("larger than a pipe")
    return reader


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
