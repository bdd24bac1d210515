"""Certificates and keys as implementations need them: bytes, wherever they come from.

Files are read here, once, when a context is made; encodings are the TLS library's business.
"""

from __future__ import annotations

from . import _native
from .errors import ConfigurationError
from .identity import Certificate, PrivateKey, Signer, SigningChain, TrustStore

__all__ = ["Chain", "SignerData", "chain_data", "leaf_validity", "trust_data"]

#: A key that is elsewhere: its public half, the numbers of its algorithms, what signs.
SignerData = tuple[bytes, list[int], Signer]

#: The data of a chain's certificates, leaf first, of its key, and what is stapled to it; the key is
#: None where it stands in the leaf's data.
Chain = tuple[list[bytes], bytes | SignerData | None, bytes | None]


def chain_data(chain: SigningChain, implementation: str) -> Chain:
    """Return the data of all that `chain` names.

    Raises ConfigurationError, with the path, for a file that cannot be read.
    """
    certificate, key = chain.leaf
    data = [
        _data(item, "certificate_chain", implementation) for item in (certificate, *chain.chain)
    ]
    return data, _key_data(key, implementation), chain.ocsp_response


def _key_data(key: PrivateKey | None, implementation: str) -> bytes | SignerData | None:
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


def trust_data(store: TrustStore | None, implementation: str) -> bytes | None:
    """Return the data of a trust store, None for the system's.

    Raises ConfigurationError, with the path, for a file that cannot be read.
    """
    if store is None or store.source == "system":
        return None
    return _data(store, "trust_store", implementation)


def _data(source: Certificate | PrivateKey | TrustStore, field: str, implementation: str) -> bytes:
    if source.buffer is not None:
        return source.buffer
    if source.path is None:
        raise ConfigurationError(
            f"{implementation}: {field}: an id cannot be used here; give a buffer or a file",
            field=field,
            implementation=implementation,
        )
    try:
        with open(source.path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(
            f"{implementation}: {field}: cannot read {source.path}: {error.strerror or error}",
            field=field,
            implementation=implementation,
        ) from error
