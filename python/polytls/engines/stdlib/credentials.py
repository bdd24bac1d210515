"""Loads trust anchors and certificates into `ssl.SSLContext`s; the Rust core has parsed them.

No key is written to disk. `ssl` reads certificates and keys only from paths; `system` has paths
that lead to no disk.
"""

from __future__ import annotations

import binascii
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ...identity import TrustStore
from . import system
from .refusals import refuse

__all__ = [
    "Identity",
    "Trust",
    "identity_of",
    "load_identity",
    "load_trust",
    "trust_of",
]


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
    wanted = store is None or store.source == "system"
    found = system.store() if wanted else ()
    return Trust(given, crls, wanted, *found)


def load_trust(context: ssl.SSLContext, trust: Trust) -> None:
    """Make `context` trust the anchors.

    Raises ConfigurationError, with the index of the one that cannot be parsed.
    """
    if trust.system:
        system.load_store(context, trust.anchors, trust.folders)
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


def _load_revocation_lists(context: ssl.SSLContext, crls: Iterable[bytes]) -> None:
    try:
        with system.path_to(b"".join(pem("X509 CRL", der) for der in crls)) as path:
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
        with system.path_to(identity.chain) as chain, system.path_to(identity.key) as key:
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
    reason = error.strerror or error
    return f"the ssl module reads {what} only from paths, and {system.NO_PATH} ({reason})"
