"""Sources of certificates, keys and trust (PEP 748, "Certificates" to "Trust Store").

These objects only name a source: a buffer, a file, or an identifier that the implementation
understands. Nothing is opened or parsed here; contexts do that, once.

Rules of this file:

- Every object is a record: immutable, equal and hashable by value, and can be copied and pickled. A
  pickle of a `PrivateKey` from a buffer contains the key.
- A `repr` never shows the bytes of a buffer or an identifier (an identifier may contain a PIN).
- Wrong types raise a TypeError that names the parameter; contexts check the contents.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, runtime_checkable

from .arguments import bytes_of, explained_call, instance_of, instances_of, items_of, path_of
from .constants import SignatureScheme
from .frozen import Record, fill, frozen

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = [
    "Certificate",
    "ECHKey",
    "OCSPResponse",
    "Pins",
    "PrivateKey",
    "RevocationList",
    "Signer",
    "SigningChain",
    "Source",
    "TrustStore",
    "decrypt",
    "map_sources",
]

_T = TypeVar("_T")


@frozen()
class Source(Record):
    """A source: a buffer, a file's path or an identifier, or none of them.

    A copy created by `with_contents` has a path and the contents of its file.
    """

    #: The bytes, in PEM or DER; None for another source, and for a file, unless
    #: `ReloadingServerContext` has read it.
    buffer: bytes | None
    #: The path of the file; None for another source.
    path: str | None
    #: The identifier, which only the implementation interprets; None for another source.
    id: bytes | None

    _may_be_empty = False

    @explained_call
    def __init__(
        self,
        buffer: Buffer | None = None,
        path: str | os.PathLike[str] | None = None,
        id: Buffer | None = None,
    ) -> None:
        fill(
            self,
            buffer=None if buffer is None else bytes_of("buffer", buffer),
            path=path_of("path", path),
            id=None if id is None else bytes_of("id", id),
        )
        given = [*self._given()]
        kind = type(self).__name__
        if not given and not self._may_be_empty:
            raise ValueError(f"{kind} cannot be empty.")
        if len(given) > 1:
            raise ValueError(f"{kind} takes one source, not both {given[0]} and {given[1]}")

    def _given(self) -> dict[str, object]:
        """The given source, by parameter name: one, or none."""
        sources = ((name, getattr(self, name, None)) for name in ("buffer", "path", "id", "signer"))
        return {name: value for name, value in sources if value is not None}

    @property
    def source(self) -> str:
        """The kind of source, as in `Capabilities`: "buffer", "file" or "id"."""
        if self.path is not None:
            return "file"
        return "buffer" if self.buffer is not None else "id"

    @classmethod
    @explained_call
    def from_buffer(cls, buffer: Buffer) -> Self:
        """Create it from its contents, which are copied.

        Raises TypeError for anything but a bytes-like object.
        """
        return cls(buffer=_given("buffer", buffer))

    @classmethod
    @explained_call
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Create it from a file, which the context reads when it is created.

        Raises TypeError for anything but a path, and ValueError for PEM text in its place.
        """
        return cls(path=_given("path", path))

    @classmethod
    @explained_call
    def from_id(cls, id: Buffer) -> Self:
        """Create it from an identifier that the implementation understands.

        Each implementation defines its identifiers, if any: `rustls` and `openssl` take `pkcs11:`
        URIs (RFC 7512), and `openssl` those of OpenSSL's providers. If it has none,
        `validate_config` raises ConfigurationError.

        Raises TypeError for anything but a bytes-like object.
        """
        return cls(id=_given("id", id))

    def with_contents(self, contents: bytes) -> Self:
        """Return a copy with the contents of its file: contexts use them and open no file.

        The copy keeps the path for messages. It is equal only to copies with the same contents.
        """
        made = object.__new__(type(self))
        fill(made, **self._asdict() | {"buffer": contents})
        return made

    def __repr__(self) -> str:
        shown = [f"{name}={_shown(value)}" for name, value in self._given().items()]
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(value: object) -> str:
    """Shows paths unchanged, the size of what may be secret, and the class of objects."""
    if isinstance(value, str):
        return repr(value)
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else f"<{type(value).__name__}>"


def _given(name: str, value: _T) -> _T:
    """Reject None as a source: for a trust store it would mean the system's."""
    if value is None:
        raise TypeError(f"{name} must not be None")
    return value


@frozen()
class Certificate(Source):
    """A certificate, by its source (PEP 748, "Certificates").

    Its contents are PEM, which starts with "-----BEGIN CERTIFICATE-----", or DER. In a PEM bundle,
    the first certificate is used; the others extend the chain.

    Requires exactly one parameter: ValueError otherwise, TypeError for wrong types.
    """


@runtime_checkable
class Signer(Protocol):
    """A private key outside this process or library: in a token, an agent, another process."""

    @property
    @abstractmethod
    def public_key(self) -> bytes:
        """Its public key, as SubjectPublicKeyInfo in DER (RFC 5280 4.1); must not change."""
        ...

    @property
    @abstractmethod
    def algorithms(self) -> Sequence[SignatureScheme]:
        """The algorithms that it can sign with, in order of preference; must not change.

        All must be for one type of key. For RSA: rsa_pss_rsae for TLS 1.3, and also rsa_pkcs1 for
        old TLS 1.2 peers.
        """
        ...

    @abstractmethod
    def sign(self, data: bytes, algorithm: SignatureScheme) -> bytes:
        """Return the signature of `algorithm` over `data`, which is not hashed yet.

        Called in the thread that does the handshake, possibly in several threads at once, while the
        connection is locked: it cannot use the connection. It may block; the handshake's timeout is
        checked when it returns. An exception ends the handshake: the peer gets the alert
        internal_error, and the caller a TLSError with the exception as its cause.
        """
        ...


@frozen()
class PrivateKey(Source):
    """A private key, by its source (PEP 748, "Private Keys"), or as a signer.

    Its contents are PEM, which starts with "-----BEGIN" and the key's type, or DER.

    Requires exactly one parameter: ValueError otherwise, TypeError for wrong types.
    """

    #: The signer; None for another source.
    signer: Signer | None

    @explained_call
    def __init__(
        self,
        buffer: Buffer | None = None,
        path: str | os.PathLike[str] | None = None,
        id: Buffer | None = None,
        *,
        signer: Signer | None = None,
    ) -> None:
        if signer is not None:
            instance_of("signer", signer, Signer)  # type: ignore[type-abstract]
        fill(self, signer=signer)
        Source.__init__(self, buffer, path, id)

    @property
    def source(self) -> str:
        """The kind of source, as in `Capabilities`: "buffer", "file", "id" or "signer"."""
        given = self._given()
        return "file" if "path" in given else next(iter(given))

    @classmethod
    @explained_call
    def from_signer(cls, signer: Signer) -> Self:
        """Create it from a signer; such keys are equal if the signer is the same object.

        Raises TypeError for anything but a `Signer`.
        """
        return cls(signer=_given("signer", signer))


@frozen()
class ECHKey(Source):
    """A server's key of Encrypted ClientHello with its configurations, by its source (RFC 9934).

    Its contents are PEM with a PRIVATE KEY section and an ECHCONFIG section, as `openssl ech`
    writes them. The list in the second is what the HTTPS record of the host publishes. A
    `ReloadingServerContext` reads its file again.

    Requires exactly one parameter: ValueError otherwise, TypeError for wrong types.
    """


@explained_call
def decrypt(data: Buffer, password: str | Buffer) -> PrivateKey:
    """Decrypt the private key in `data` with `password`; PEM or DER, PKCS#8.

    Also supports OpenSSL's older PEM format ("Proc-Type: 4,ENCRYPTED"). PEP 748 excludes encrypted
    keys: contexts refuse them. Requires the extra `polytls[encrypted-keys]`, which installs
    `cryptography`.

    Raises ValueError for a wrong password, and if there is no private key; ImportError without the
    extra.
    """
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        message = "decrypting private keys needs cryptography: pip install polytls[encrypted-keys]"
        raise ImportError(message, name=error.name) from error
    encrypted = bytes_of("data", data)
    secret = password.encode() if isinstance(password, str) else bytes_of("password", password)
    is_pem = b"-----BEGIN" in encrypted
    load = serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
    try:
        key = load(encrypted, secret)
    except TypeError as error:
        # cryptography's message for a key that is not encrypted.
        raise ValueError("data: the private key is not encrypted; use it as it is") from error
    except ValueError as error:
        raise ValueError("data: wrong password, or no private key") from error
    plain = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return PrivateKey.from_buffer(plain)


@frozen()
class RevocationList(Source):
    """Certificate revocation lists (CRLs), by their source (RFC 5280 5).

    Their contents are PEM, with any number of sections that start with "-----BEGIN X509 CRL-----",
    or one CRL in DER.

    Requires exactly one parameter: ValueError otherwise, TypeError for wrong types.
    """


@frozen()
class OCSPResponse(Source):
    """An OCSP response, by its source, for a server to staple (RFC 6960 4.2, RFC 6066 8).

    Its contents are DER, as `openssl ocsp -respout` and most ACME clients write it. A
    `ReloadingServerContext` reads its file again, so a fetched response is in use without a
    restart.

    Requires exactly one parameter: ValueError otherwise, TypeError for wrong types.
    """


@frozen()
class Pins(Record):
    """Pinned certificates and keys: see `TrustStore.pinned`.

    Raises ValueError if there are none, and for a hash of the wrong length; TypeError for wrong
    types, naming the parameter.
    """

    #: The accepted certificates; the first one of each source.
    certificates: tuple[Certificate, ...]
    #: The SHA-256 hashes of the accepted keys, 32 bytes each.
    spki_sha256: tuple[bytes, ...]
    #: Whether the certificate must also be valid for the host name.
    check_hostname: bool

    @explained_call
    def __init__(
        self,
        certificates: Sequence[Certificate] = (),
        spki_sha256: Sequence[str | Buffer] = (),
        check_hostname: bool = True,
    ) -> None:
        hashes = items_of("spki_sha256", spki_sha256, "str or bytes")
        fill(
            self,
            certificates=instances_of("certificates", certificates, Certificate),
            spki_sha256=tuple(
                _hash_of(f"spki_sha256[{index}]", item) for index, item in enumerate(hashes)
            ),
            check_hostname=instance_of("check_hostname", check_hostname, bool),
        )
        if not self.certificates and not self.spki_sha256:
            raise ValueError("Pins cannot be empty: give certificates, spki_sha256, or both")

    def __repr__(self) -> str:
        unchecked = "" if self.check_hostname else ", check_hostname=False"
        return (
            f"Pins(certificates={list(self.certificates)!r}, "
            f"spki_sha256={[value.hex() for value in self.spki_sha256]!r}{unchecked})"
        )


#: The size of a SHA-256 hash in bytes.
_SHA256_LENGTH: Final = 32


def _hash_of(name: str, value: object) -> bytes:
    """A SHA-256 hash, given as bytes or in hexadecimal with or without colons."""
    if isinstance(value, str):
        try:
            digest = bytes.fromhex(value.replace(":", ""))
        except ValueError:
            raise ValueError(
                f"{name} is not hexadecimal: a SHA-256 hash has 64 hexadecimal digits; for "
                "base64, pass base64.b64decode(...)"
            ) from None
    else:
        digest = bytes_of(name, value)  # type: ignore[arg-type]
    if len(digest) != _SHA256_LENGTH:
        raise ValueError(f"{name} has {len(digest)} bytes; a SHA-256 hash has {_SHA256_LENGTH}")
    return digest


@frozen()
class TrustStore(Source):
    """What peers are verified against (PEP 748, "Trust Store").

    Its contents are certificates in PEM or DER. Without a parameter it is the system's trust store.
    polytls's additions are keyword-only; the class methods are easier to read.

    Each certificate in a store, including the system's, has two roles. It is a CA, whose
    certificates are accepted, if it is allowed to issue: CA:TRUE in basic constraints, and
    keyCertSign if it has key usage. And it is accepted itself from a peer that presents it, for its
    own names and uses. A certificate that is not allowed to issue is not an error: `explain()` says
    where that mattered.

    `extra`: certificates in addition to the store's.
    `peers`: certificates that are accepted as leaves, and never as CAs, whatever they say. Put the
    certificates of devices here.
    `crls`: certificate revocation lists. If you give any, every certificate on the path, from the
    peer's own up to but not including the trust anchor, must be covered by a current CRL from its
    issuer; otherwise the peer is refused. A leaf that is in the store or in `peers` itself is
    refused only if a CRL lists it.
    `pins`: accept only these; excludes all other arguments.
    `v1_authorities`: accept self-issued X.509 version 1 certificates in this store as CAs. They
    cannot state that they are; those of the system's store are always accepted.

    Raises ValueError for more than one source, and for pins with anything else; TypeError for wrong
    types.
    """

    #: Certificates in addition to the store's.
    extra: tuple[Certificate, ...]
    #: The CRLs; if there are any, certificates with unknown status are refused.
    crls: tuple[RevocationList, ...]
    #: The pins; None for a store of certificates.
    pins: Pins | None
    #: Certificates that are accepted as leaves, and never as CAs.
    peers: tuple[Certificate, ...]
    #: Whether self-issued version 1 certificates in this store are CAs.
    v1_authorities: bool

    _may_be_empty = True

    @explained_call
    def __init__(
        self,
        buffer: Buffer | None = None,
        path: str | os.PathLike[str] | None = None,
        id: Buffer | None = None,
        *,
        extra: Sequence[Certificate] = (),
        crls: Sequence[RevocationList] = (),
        pins: Pins | None = None,
        peers: Sequence[Certificate] = (),
        v1_authorities: bool = False,
    ) -> None:
        fill(
            self,
            extra=instances_of("extra", extra, Certificate),
            peers=instances_of("peers", peers, Certificate),
            v1_authorities=instance_of("v1_authorities", v1_authorities, bool),
            crls=instances_of("crls", crls, RevocationList),
            pins=None if pins is None else instance_of("pins", pins, Pins),
        )
        Source.__init__(self, buffer, path, id)
        added = ("extra", "crls", "peers", "v1_authorities")
        others = [*self._given(), *(name for name in added if getattr(self, name))]
        if pins is not None and others:
            raise ValueError(f"pins cannot be combined with {others[0]}")

    @property
    def source(self) -> str:
        """The kind of source, as in `Capabilities`: "system", "buffer", "file", "id" or "pins"."""
        if self.pins is not None:
            return "pins"
        given = self._given()
        return "file" if "path" in given else next(iter(given), "system")

    @classmethod
    @explained_call
    def from_buffer(
        cls,
        buffer: Buffer,
        *,
        crls: Sequence[RevocationList] = (),
        peers: Sequence[Certificate] = (),
        v1_authorities: bool = False,
    ) -> Self:
        """Create it from its contents, which are copied.

        Raises TypeError for anything but a bytes-like object.
        """
        buffer = _given("buffer", buffer)
        return cls(buffer=buffer, crls=crls, peers=peers, v1_authorities=v1_authorities)

    @classmethod
    @explained_call
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        crls: Sequence[RevocationList] = (),
        peers: Sequence[Certificate] = (),
        v1_authorities: bool = False,
    ) -> Self:
        """Create it from a file, which the context reads when it is created.

        Raises TypeError for anything but a path, and ValueError for PEM text in its place.
        """
        path = _given("path", path)
        return cls(path=path, crls=crls, peers=peers, v1_authorities=v1_authorities)

    @classmethod
    @explained_call
    def system(
        cls,
        *,
        extra: Sequence[Certificate] = (),
        crls: Sequence[RevocationList] = (),
        peers: Sequence[Certificate] = (),
        v1_authorities: bool = False,
    ) -> Self:
        """Create the system's trust store, with additions."""
        return cls(extra=extra, crls=crls, peers=peers, v1_authorities=v1_authorities)

    @classmethod
    @explained_call
    def pinned(
        cls,
        certificates: Sequence[Certificate] = (),
        spki_sha256: Sequence[str | Buffer] = (),
        *,
        check_hostname: bool = True,
    ) -> Self:
        """Accept only peers with one of these certificates or keys.

        For devices with self-signed certificates, and services with a known key. The certificate
        must be within its validity period, and valid for the host name unless `check_hostname` is
        False; its issuer does not matter. The handshake proves that the peer has the key.

        `certificates`: compared byte by byte.
        `spki_sha256`: SHA-256 hashes of the key (SubjectPublicKeyInfo, as in
        `CertificateInfo.spki_sha256`), 32 bytes or 64 hexadecimal digits; a renewed certificate
        with the same key remains accepted.

        Raises ValueError if neither is given, and for a hash of the wrong length; TypeError for
        wrong types.
        """
        return cls(pins=Pins(certificates, spki_sha256, check_hostname))

    def __repr__(self) -> str:
        if self.pins is not None:
            return f"TrustStore(pins={self.pins!r})"
        shown = [f"{name}={_shown(value)}" for name, value in self._given().items()]
        shown += [
            f"{name}=<{len(value)}>"
            for name in ("extra", "crls", "peers")
            if (value := getattr(self, name))
        ]
        if self.v1_authorities:
            shown.append("v1_authorities=True")
        return f"TrustStore({', '.join(shown)})"


@frozen()
class SigningChain(Record):
    """What a side proves its identity with (PEP 748, "Signing Chain").

    `leaf`: a tuple of the certificate and its private key; None in place of the key if the
    certificate's PEM contains it.
    `chain`: the intermediate certificates, the leaf's issuer first; None for none.
    `ocsp_response`: the OCSP response for the leaf, which a server staples for clients that ask
    (RFC 6066 8): an `OCSPResponse`, or its contents. You have to keep it current; from its
    nextUpdate on, it is not stapled.

    Raises TypeError for anything else, naming the parameter.
    """

    #: The certificate and its key; None for the key if the certificate's PEM contains it.
    leaf: tuple[Certificate, PrivateKey | None]
    #: The intermediate certificates, the leaf's issuer first.
    chain: tuple[Certificate, ...]
    #: The OCSP response for the leaf.
    ocsp_response: OCSPResponse | None

    @explained_call
    def __init__(
        self,
        leaf: tuple[Certificate, PrivateKey | None],
        chain: Sequence[Certificate] | None = None,
        *,
        ocsp_response: OCSPResponse | Buffer | None = None,
    ) -> None:
        if not isinstance(leaf, tuple) or len(leaf) != 2:
            raise TypeError("leaf must be a tuple of a Certificate and a PrivateKey or None")
        certificate, key = leaf
        if key is not None:
            instance_of("leaf[1]", key, PrivateKey)
        fill(
            self,
            leaf=(instance_of("leaf[0]", certificate, Certificate), key),
            chain=() if chain is None else instances_of("chain", chain, Certificate),
            ocsp_response=_response_of("ocsp_response", ocsp_response),
        )

    def __repr__(self) -> str:
        more = f", chain=<{len(self.chain)}>" if self.chain else ""
        if self.ocsp_response is not None:
            more += f", ocsp_response={self.ocsp_response!r}"
        return f"SigningChain(leaf={self.leaf!r}{more})"


def _response_of(name: str, value: OCSPResponse | Buffer | None) -> OCSPResponse | None:
    if value is None or isinstance(value, OCSPResponse):
        return value
    return OCSPResponse.from_buffer(bytes_of(name, value))


def map_sources(value: object, change: Callable[[Source], Source]) -> Any:
    """Return `value` with every source in it replaced by `change`.

    `value`: a record, a tuple, or anything else, which is returned unchanged. A source that
    contains others, such as a trust store, is changed after them.
    """
    if isinstance(value, tuple):
        return tuple(map_sources(item, change) for item in value)
    if not isinstance(value, Record):
        return value
    made = object.__new__(type(value))
    fill(made, **{name: map_sources(item, change) for name, item in value._asdict().items()})
    return change(made) if isinstance(made, Source) else made
