"""Where certificates, keys and trust come from (PEP 748, "Certificates" to "Trust Store").

These objects name a source, no more: a buffer, a file, or an identifier that only the
implementation understands. Nothing is opened or parsed here; contexts do that, once.

Rules of this file:

- Every object is a record: immutable, equal and hashable by value, and can be copied and pickled.
  A pickle of a `PrivateKey` made from a buffer holds the key.
- A `repr` never shows the bytes of a buffer or an identifier (an identifier may carry a PIN).
- Wrong types are a TypeError that names the parameter; wrong contents are for the context.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, runtime_checkable

from .arguments import bytes_of, explained_call, instance_of, items_of, path_of
from .constants import SignatureScheme
from .frozen import Record, fill, frozen

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = [
    "Certificate",
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
    """One of a buffer, a file's path and an identifier, or none of them.

    A copy made by `with_contents` has a path and what its file held.
    """

    #: The bytes it was made from, PEM or DER; None if it has another source. For a file, None as
    #: well, unless `ReloadingServerContext` has read it.
    buffer: bytes | None
    #: The path of the file it is in; None if it has another source.
    path: str | None
    #: The identifier, opaque to all but the implementation; None if it has another source.
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
        """The source by its parameter: one, or none."""
        sources = ((name, getattr(self, name, None)) for name in ("buffer", "path", "id", "signer"))
        return {name: value for name, value in sources if value is not None}

    @property
    def source(self) -> str:
        """How it was made: "buffer", "file" or "id", as `Capabilities` name the sources."""
        if self.path is not None:
            return "file"
        return "buffer" if self.buffer is not None else "id"

    @classmethod
    @explained_call
    def from_buffer(cls, buffer: Buffer) -> Self:
        """Name it by its contents, which are copied.

        Raises TypeError for anything but a bytes-like object.
        """
        return cls(buffer=_given("buffer", buffer))

    @classmethod
    @explained_call
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Name it by the file it is in, which a context opens when it is made.

        Raises TypeError for what is no path, ValueError for PEM text in its place.
        """
        return cls(path=_given("path", path))

    @classmethod
    @explained_call
    def from_id(cls, id: Buffer) -> Self:
        """Name it by an identifier that the implementation understands.

        Which identifiers there are, if any, is the implementation's to say; on one that knows
        none, `validate_config` raises ConfigurationError.

        Raises TypeError for anything but a bytes-like object.
        """
        return cls(id=_given("id", id))

    def with_contents(self, contents: bytes) -> Self:
        """Return a copy that holds what its file holds: contexts use that and open no file.

        It keeps its path, which messages name. It is equal only to copies with the same contents.
        """
        made = object.__new__(type(self))
        fill(made, **self._asdict() | {"buffer": contents})
        return made

    def __repr__(self) -> str:
        shown = [f"{name}={_shown(value)}" for name, value in self._given().items()]
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(value: object) -> str:
    """Paths as they are, the size of what may be secret, the class of objects."""
    if isinstance(value, str):
        return repr(value)
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else f"<{type(value).__name__}>"


def _given(name: str, value: _T) -> _T:
    """Refuse None where a source is named: for a trust store it would mean the system's."""
    if value is None:
        raise TypeError(f"{name} must not be None")
    return value


@frozen()
class Certificate(Source):
    """A certificate, by its source (PEP 748, "Certificates").

    Its contents are PEM, which begins with "-----BEGIN CERTIFICATE-----", or else DER. The first
    certificate of a PEM bundle is the one meant; further ones there extend a chain.

    Exactly one parameter must be given: ValueError otherwise, TypeError for wrong types.
    """


@runtime_checkable
class Signer(Protocol):
    """A private key that is elsewhere: in a token, an agent, another process."""

    @property
    @abstractmethod
    def public_key(self) -> bytes:
        """Its public key, as SubjectPublicKeyInfo in DER (RFC 5280 4.1); never changes."""
        ...

    @property
    @abstractmethod
    def algorithms(self) -> Sequence[SignatureScheme]:
        """The algorithms that it can sign with, the preferred first; never changes.

        They are all of one kind of key. RSA: rsa_pss_rsae for TLS 1.3, rsa_pkcs1 as well for old
        peers of TLS 1.2.
        """
        ...

    @abstractmethod
    def sign(self, data: bytes, algorithm: SignatureScheme) -> bytes:
        """Return the signature over `data`, which is not hashed yet, made with `algorithm`.

        Called in the thread that does the handshake, by several at once, within the connection's
        lock: the connection itself cannot be used. It may take long; how long the handshake has
        taken is looked at when it returns. Whatever it raises ends the handshake: the peer gets
        the alert internal_error, the caller a TLSError with the exception as its cause.
        """
        ...


@frozen()
class PrivateKey(Source):
    """A private key, by its source (PEP 748, "Private Keys"), or by what signs with it.

    Its contents are PEM, which begins with "-----BEGIN" and the key's type, or else DER.

    Exactly one parameter must be given: ValueError otherwise, TypeError for wrong types.
    """

    #: What signs with it; None if it has another source.
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
        """How it was made: "buffer", "file", "id" or "signer", as `Capabilities` name them."""
        given = self._given()
        return "file" if "path" in given else next(iter(given))

    @classmethod
    @explained_call
    def from_signer(cls, signer: Signer) -> Self:
        """Name it by what signs with it; keys so given are compared by that object.

        Raises TypeError for anything that is no `Signer`.
        """
        return cls(signer=_given("signer", signer))


@explained_call
def decrypt(data: Buffer, password: str | Buffer) -> PrivateKey:
    """Return the private key in `data`, which is encrypted with `password`; PEM or DER, PKCS#8.

    PEM of OpenSSL's older form ("Proc-Type: 4,ENCRYPTED") is taken as well. PEP 748 leaves
    encrypted keys out: contexts refuse them. Needs the extra `polytls[encrypted-keys]`, which
    installs `cryptography`.

    Raises ValueError for a wrong password, and for what holds no private key; ImportError without
    the extra.
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
        # What is said of a key that is not encrypted.
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
    """Certificate revocation lists, by their source (RFC 5280 5).

    Its contents are PEM, with any number of sections that begin with "-----BEGIN X509 CRL-----",
    or else one list in DER.

    Exactly one parameter must be given: ValueError otherwise, TypeError for wrong types.
    """


@frozen()
class Pins(Record):
    """The certificates and keys that are accepted themselves: see `TrustStore.pinned`.

    Raises ValueError if there are none, and for a hash of the wrong length; TypeError for wrong
    types, naming the parameter.
    """

    #: The certificates that are accepted; of each source the first one.
    certificates: tuple[Certificate, ...]
    #: The SHA-256 hashes of keys that are accepted, 32 bytes each.
    spki_sha256: tuple[bytes, ...]
    #: Whether the certificate must be valid for the host name too.
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
            certificates=_sources_of("certificates", certificates, Certificate),
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


#: Bytes of a SHA-256 hash.
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


def _sources_of(name: str, value: object, kind: type[_T]) -> tuple[_T, ...]:
    return tuple(
        instance_of(f"{name}[{index}]", item, kind)
        for index, item in enumerate(items_of(name, value, kind.__name__))
    )


@frozen()
class TrustStore(Source):
    """What peers are verified by (PEP 748, "Trust Store").

    Its contents are certificates in PEM or DER. Without a parameter it is the system's store. What
    polytls adds is keyword-only; the class methods are easier to read.

    Each certificate in a store, the system's included, is two things. It is an authority, whose
    certificates are accepted, if it may issue: basic constraints with CA:TRUE, and keyCertSign if
    there is key usage. And it is accepted itself from a peer that presents it, for its own names
    and purposes. One that may not issue is no error: `explain()` tells where it mattered.

    `extra`: certificates that are added to the store's.
    `peers`: certificates that are accepted themselves, and are never authorities, whatever they
    say: give the certificates of devices here.
    `crls`: revocation lists. With any, every certificate between a peer's and its anchor, the
    peer's own included, must be spoken of by a list of its issuer that is in force, or the peer is
    refused: unknown is refused as revoked is. A leaf that is in the store or in `peers` itself is
    refused only if a list names it.
    `pins`: accept these and nothing else; no other argument goes with it.
    `v1_authorities`: take self-issued certificates of X.509 version 1, given here, for
    authorities. They cannot say that they are; the system's are taken in any case.

    Raises ValueError for more than one source, and for pins with anything else; TypeError for
    wrong types.
    """

    #: Certificates that are added to the store's.
    extra: tuple[Certificate, ...]
    #: The revocation lists; with any, an unknown status is refused.
    crls: tuple[RevocationList, ...]
    #: What alone is accepted; None for a store of anchors.
    pins: Pins | None
    #: Certificates that are accepted themselves, and speak for nobody else.
    peers: tuple[Certificate, ...]
    #: Whether self-issued certificates of version 1, given here, are authorities.
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
            extra=_sources_of("extra", extra, Certificate),
            peers=_sources_of("peers", peers, Certificate),
            v1_authorities=instance_of("v1_authorities", v1_authorities, bool),
            crls=_sources_of("crls", crls, RevocationList),
            pins=None if pins is None else instance_of("pins", pins, Pins),
        )
        Source.__init__(self, buffer, path, id)
        added = ("extra", "crls", "peers", "v1_authorities")
        others = [*self._given(), *(name for name in added if getattr(self, name))]
        if pins is not None and others:
            raise ValueError(f"pins cannot be combined with {others[0]}")

    @property
    def source(self) -> str:
        """How it was made: "system", "buffer", "file", "id" or "pins", as `Capabilities` say."""
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
        """Name it by its contents, which are copied.

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
        """Name it by the file it is in, which a context opens when it is made.

        Raises TypeError for what is no path, ValueError for PEM text in its place.
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
        """Name the store of the system, with what is added to it."""
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
        """Accept peers with one of these certificates or keys, and nothing else.

        For devices with self-signed certificates, and for services whose key is known. The
        certificate must be valid in time, and for the host name unless `check_hostname` is False;
        who issued it does not matter. The handshake proves that the peer has the key.

        `certificates`: compared byte by byte. `spki_sha256`: SHA-256 hashes over the key
        (SubjectPublicKeyInfo, as `CertificateInfo.spki_sha256` gives it), 32 bytes or 64
        hexadecimal digits; a renewed certificate with the same key stays accepted.

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

    `leaf`: a tuple of the certificate and its private key; None in place of the key if it is in
    the certificate's PEM.
    `chain`: the intermediate certificates, the leaf's issuer first; None for none.
    `ocsp_response`: what the issuer says of the leaf's revocation (RFC 6960, DER), which a server
    passes on to clients that ask (RFC 6066 8); as fresh as whoever gives it keeps it.

    Raises TypeError for anything else, naming the parameter.
    """

    #: The certificate and its key; None for the key if it is in the certificate's PEM.
    leaf: tuple[Certificate, PrivateKey | None]
    #: The intermediate certificates, the leaf's issuer first.
    chain: tuple[Certificate, ...]
    #: What the leaf's issuer says of its revocation, DER.
    ocsp_response: bytes | None

    @explained_call
    def __init__(
        self,
        leaf: tuple[Certificate, PrivateKey | None],
        chain: Sequence[Certificate] | None = None,
        *,
        ocsp_response: Buffer | None = None,
    ) -> None:
        if not isinstance(leaf, tuple) or len(leaf) != 2:
            raise TypeError("leaf must be a tuple of a Certificate and a PrivateKey or None")
        certificate, key = leaf
        if key is not None:
            instance_of("leaf[1]", key, PrivateKey)
        fill(
            self,
            leaf=(instance_of("leaf[0]", certificate, Certificate), key),
            chain=() if chain is None else _sources_of("chain", chain, Certificate),
            ocsp_response=None
            if ocsp_response is None
            else bytes_of("ocsp_response", ocsp_response),
        )

    def __repr__(self) -> str:
        more = f", chain=<{len(self.chain)}>" if self.chain else ""
        if self.ocsp_response is not None:
            more += f", ocsp_response=<{len(self.ocsp_response)} bytes>"
        return f"SigningChain(leaf={self.leaf!r}{more})"


def map_sources(value: object, change: Callable[[Source], Source]) -> Any:
    """Return `value` with every source in it replaced by what `change` makes of it.

    `value`: a record, a tuple, or anything else, which is returned as it is. A source that holds
    others, as a trust store does, is changed after them.
    """
    if isinstance(value, tuple):
        return tuple(map_sources(item, change) for item in value)
    if not isinstance(value, Record):
        return value
    made = object.__new__(type(value))
    fill(made, **{name: map_sources(item, change) for name, item in value._asdict().items()})
    return change(made) if isinstance(made, Source) else made
