"""Certificates and keys as implementations need them: bytes, wherever they come from.

Files are read here, once, when a context is made; encodings are the TLS library's business. What a
certificate says, and why one was refused, is read by the Rust core, in one place for all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal, TypedDict

from . import _native
from .capabilities import refusal
from .errors import CertificateVerificationError, VerificationFailure
from .identity import PrivateKey, Signer, SigningChain, Source, TrustStore
from .info import CertificateInfo

__all__ = [
    "Chain",
    "Data",
    "SignerData",
    "TrustData",
    "chain_data",
    "contents_of",
    "leaf_validity",
    "read",
    "refusal_of",
    "trust_data",
]

#: What was read: the path that it came from, for messages, empty for a buffer; and the bytes.
Data = tuple[str, bytes]

#: A key that is elsewhere: its public half, the numbers of its algorithms, what signs.
SignerData = tuple[bytes, list[int], Signer]

#: The data of a chain's certificates, leaf first, of its key, and what is stapled to it; the key is
#: None where it stands in the leaf's data.
Chain = tuple[list[Data], Data | SignerData | None, bytes | None]


def chain_data(chain: SigningChain, implementation: str) -> Chain:
    """Return the data of all that `chain` names.

    Raises ConfigurationError, with the path, for a file that cannot be read.
    """
    certificate, key = chain.leaf
    data = [
        _data(item, "certificate_chain", implementation) for item in (certificate, *chain.chain)
    ]
    return data, _key_data(key, implementation), chain.ocsp_response


def _key_data(key: PrivateKey | None, implementation: str) -> Data | SignerData | None:
    if key is None:
        return None
    if key.signer is None:
        return _data(key, "certificate_chain", implementation)
    public_key, algorithms = key.signer.public_key, key.signer.algorithms
    return public_key, [int(algorithm) for algorithm in algorithms], key.signer


def leaf_validity(data: bytes) -> tuple[int, int]:
    """Return notBefore and notAfter of the first certificate there, in seconds since 1970.

    Raises ValueError if there is none that can be read.
    """
    return _native.leaf_validity(data)


class TrustData(TypedDict):
    """What a trust store comes to."""

    source: Literal["system", "given", "pinned"]
    #: The data of certificates: the store's and the extra ones, or those that are pinned.
    certificates: list[Data]
    #: Hashes of keys that are pinned.
    spki_sha256: list[bytes]
    #: Whether a pinned certificate may be of any name.
    any_name: bool
    #: The data of revocation lists.
    crls: list[Data]
    #: Where trust comes from, in words.
    description: str


def trust_data(store: TrustStore | None, implementation: str) -> TrustData:
    """Return what a trust store comes to; None is the system's.

    Raises ConfigurationError, with the path, for a file that cannot be read.
    """
    store = TrustStore.system() if store is None else store
    pins = store.pins
    sources = [*store.extra] if pins is None else [*pins.certificates]
    data = [_data(item, "trust_store", implementation) for item in sources]
    if store.source not in ("system", "pins"):
        data.insert(0, _data(store, "trust_store", implementation))
    return {
        "source": "pinned" if pins else "system" if store.source == "system" else "given",
        "certificates": data,
        "spki_sha256": [] if pins is None else [*pins.spki_sha256],
        "any_name": pins is not None and not pins.check_hostname,
        "crls": [_data(item, "trust_store", implementation) for item in store.crls],
        "description": _description(store),
    }


def _description(store: TrustStore) -> str:
    if store.source == "pins":
        return "the pins"
    if store.source == "system":
        more = " or the certificates added to it" if store.extra else ""
        return f"the system's trust store{more}"
    return "the trust store" if store.path is None else f"the trust store {store.path}"


def read(der: bytes) -> CertificateInfo:
    """Return what a certificate in DER says of itself.

    Raises ValueError for what cannot be read.
    """
    return _native.read_certificate(der)


def refusal_of(
    reason: VerificationFailure,
    said: str,
    *,
    chain: Iterable[bytes],
    hostname: str | None,
    role: Literal["client", "server"],
    trust_source: str,
) -> CertificateVerificationError:
    """Return the error for a peer that was refused, with all that can be found out by reading.

    `said`: what the library said. `chain`: what the peer presented, leaf first. `hostname`: the
    name that was checked. `role`: the peer's.
    """
    return _native.explain_refusal(
        reason=reason.name,
        said=said,
        chain=[*chain],
        hostname=hostname,
        role=role,
        trust_source=trust_source,
        now=int(time.time()),
    )


def _data(source: Source, field: str, implementation: str) -> Data:
    if source.buffer is not None:
        return source.path or "", source.buffer
    if source.path is None:
        raise refusal(implementation, field, "an id cannot be used here; give a buffer or a file")
    return source.path, contents_of(source.path, field, implementation)


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
