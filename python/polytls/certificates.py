"""Certificates and keys as implementations need them: bytes, wherever they come from.

Files are read here, once, when a context is made; encodings are the TLS library's business. What a
certificate says is read by the Rust core, in one place for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from . import _native
from .errors import refusal
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

    #: Whether the system's certificates are trusted.
    system: bool
    #: The data of certificates that are trusted: the store's and the extra ones.
    certificates: list[Data]
    #: The data of certificates that are accepted themselves, and speak for nobody else.
    peers: list[Data]
    #: Whether certificates of version 1 may be authorities.
    v1_authorities: bool
    #: The file that the store's certificates are from.
    path: str | None
    #: What alone is accepted: the data of certificates, hashes of keys, whether any name will do.
    pins: tuple[list[Data], list[bytes], bool] | None
    #: The data of revocation lists.
    crls: list[Data]


def trust_data(store: TrustStore | None, implementation: str) -> TrustData:
    """Return what a trust store comes to; None is the system's.

    Raises ConfigurationError, with the path, for a file that cannot be read.
    """
    store = TrustStore.system() if store is None else store

    def data(sources: Iterable[Source]) -> list[Data]:
        return [_data(source, "trust_store", implementation) for source in sources]

    given = () if store.source in ("system", "pins") else (store,)
    pins = store.pins
    return {
        "system": store.source == "system",
        "certificates": data((*given, *store.extra)),
        "peers": data(store.peers),
        "v1_authorities": store.v1_authorities,
        "path": store.path,
        "pins": None
        if pins is None
        else (data(pins.certificates), [*pins.spki_sha256], not pins.check_hostname),
        "crls": data(store.crls),
    }


def read(der: bytes) -> CertificateInfo:
    """Return what a certificate in DER says of itself.

    Raises ValueError for what cannot be read.
    """
    return _native.read_certificate(der)


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
