"""Where certificates, keys and trust come from (PEP 748, "Certificates" to "Trust Store").

These objects name a source, no more: a buffer, a file, or an identifier that only the
implementation understands. Nothing is opened or parsed here; contexts do that, once.

Rules of this file:

- Every object is immutable, equal and hashable by value, and can be copied and pickled. A pickle
  of a `PrivateKey` made from a buffer holds the key.
- A `repr` never shows the bytes of a buffer or an identifier (an identifier may carry a PIN).
- Wrong types are a TypeError that names the parameter; wrong contents are for the context.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from .constants import SignatureScheme

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["Certificate", "PrivateKey", "Signer", "SigningChain", "TrustStore"]

_T = TypeVar("_T")


class Value:
    """An immutable object, compared by value: the base of identities and configurations.

    A subclass lists its constructor's parameters in `_fields`, keeps each in a slot of the same
    name with an underscore before it, and fills the slots with `_fill`.
    """

    __slots__ = ()

    _fields: ClassVar[tuple[str, ...]] = ()

    def _fill(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, f"_{name}", value)

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, f"_{name}") for name in self._fields}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), *self._values().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._values())


def _rebuild(kind: type[Value], values: dict[str, Any]) -> Value:
    """Make a copied or unpickled value through its constructor, so that types are checked."""
    return kind(**values)


def instance_of(name: str, value: object, kind: type[_T], hint: str = "") -> _T:
    """Return `value`, or raise a TypeError that names the parameter `name`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}{hint}")
    return value


def items_of(name: str, value: object, kind: str, hint: str = "") -> tuple[object, ...]:
    """Return the sequence `value` as a tuple, or raise a TypeError that names the parameter.

    Text and bytes are sequences too, but never meant as one here. Sets and iterators have no
    order, or but one use.
    """
    text = isinstance(value, str | bytes | bytearray | memoryview)
    if text or not isinstance(value, Sequence):
        wrong = type(value).__name__
        raise TypeError(f"{name} must be a sequence of {kind}, not {wrong}{hint}")
    return tuple(value)


def bytes_of(name: str, value: Buffer) -> bytes:
    """Return a copy of a bytes-like object as `bytes`."""
    if type(value) is bytes:
        return value
    try:
        # Not bytes(value): that would take an integer, and make so many zeros of it.
        return memoryview(value).tobytes()
    except TypeError:
        wrong = type(value).__name__
        raise TypeError(f"{name} must be a bytes-like object, not {wrong}") from None


def path_of(name: str, value: object) -> str | None:
    """Return a path as `str`; refuse what is the contents of a file rather than its path."""
    if value is None:
        return None
    # Paths are shown in messages and by `repr`, so contents given by mistake must not pass for
    # one: they could be a private key. Hence no bytes, and no PEM.
    if isinstance(value, bytes | bytearray | memoryview) or not isinstance(
        value, str | os.PathLike
    ):
        raise TypeError(f"{name} must be str or os.PathLike, not {type(value).__name__}")
    path = os.fsdecode(value)
    if "-----BEGIN" in path:
        raise ValueError(f"{name} holds PEM text, not a path: use from_buffer")
    return path


class _Source(Value):
    """One of a buffer, a file's path and an identifier, or none of them."""

    __slots__ = ("_buffer", "_id", "_path")

    _fields: ClassVar[tuple[str, ...]] = ("buffer", "path", "id")
    _may_be_empty: ClassVar[bool] = False

    _buffer: bytes | None
    _path: str | None
    _id: bytes | None

    def __init__(
        self,
        buffer: Buffer | None = None,
        path: str | os.PathLike[str] | None = None,
        id: Buffer | None = None,
    ) -> None:
        self._fill(
            buffer=None if buffer is None else bytes_of("buffer", buffer),
            path=path_of("path", path),
            id=None if id is None else bytes_of("id", id),
        )
        given = [name for name, value in self._values().items() if value is not None]
        kind = type(self).__name__
        if not given and not self._may_be_empty:
            raise ValueError(f"{kind} cannot be empty.")
        if len(given) > 1:
            raise ValueError(f"{kind} takes one source, not both {given[0]} and {given[1]}")

    @property
    def buffer(self) -> bytes | None:
        """The bytes it was made from, PEM or DER; None if it has another source."""
        return self._buffer

    @property
    def path(self) -> str | None:
        """The path of the file it is in; None if it has another source."""
        return self._path

    @property
    def id(self) -> bytes | None:
        """The identifier, opaque to all but the implementation; None if it has another source."""
        return self._id

    @property
    def source(self) -> str:
        """How it was made: "buffer", "file" or "id", as `Capabilities` name the sources."""
        if self._path is not None:
            return "file"
        return "buffer" if self._buffer is not None else "id"

    @classmethod
    def from_buffer(cls, buffer: Buffer) -> Self:
        """Name it by its contents, which are copied.

        Raises TypeError for anything but a bytes-like object.
        """
        return cls(buffer=_given("buffer", buffer))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Name it by the file it is in, which a context opens when it is made.

        Raises TypeError for what is no path, ValueError for PEM text in its place.
        """
        return cls(path=_given("path", path))

    @classmethod
    def from_id(cls, id: Buffer) -> Self:
        """Name it by an identifier that the implementation understands.

        Which identifiers there are, if any, is the implementation's to say; on one that knows
        none, `validate_config` raises ConfigurationError.

        Raises TypeError for anything but a bytes-like object.
        """
        return cls(id=_given("id", id))

    def __repr__(self) -> str:
        shown = [
            f"{name}={_shown(value)}" for name, value in self._values().items() if value is not None
        ]
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


class Certificate(_Source):
    """A certificate, by its source (PEP 748, "Certificates").

    Its contents are PEM, which begins with "-----BEGIN CERTIFICATE-----", or else DER. The first
    certificate of a PEM bundle is the one meant; further ones there extend a chain.

    Exactly one parameter must be given: ValueError otherwise, TypeError for wrong types.
    """

    __slots__ = ()


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


class PrivateKey(_Source):
    """A private key, by its source (PEP 748, "Private Keys"), or by what signs with it.

    Its contents are PEM, which begins with "-----BEGIN" and the key's type, or else DER.

    Exactly one parameter must be given: ValueError otherwise, TypeError for wrong types.
    """

    __slots__ = ("_signer",)

    _fields = (*_Source._fields, "signer")

    _signer: Signer | None

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
        self._fill(signer=signer)
        super().__init__(buffer, path, id)

    @property
    def signer(self) -> Signer | None:
        """What signs with it; None if it has another source."""
        return self._signer

    @property
    def source(self) -> str:
        """How it was made: "buffer", "file", "id" or "signer", as `Capabilities` name them."""
        return super().source if self._signer is None else "signer"

    @classmethod
    def from_signer(cls, signer: Signer) -> Self:
        """Name it by what signs with it; keys so given are compared by that object.

        Raises TypeError for anything that is no `Signer`.
        """
        return cls(signer=_given("signer", signer))


class TrustStore(_Source):
    """The certificates that peers are verified by (PEP 748, "Trust Store").

    Its contents are certificates in PEM, each of which is an anchor. Without a parameter it is
    the system's store.

    At most one parameter may be given: ValueError otherwise, TypeError for wrong types.
    """

    __slots__ = ()

    _may_be_empty = True

    @property
    def source(self) -> str:
        """How it was made: "system", "buffer", "file" or "id", as `Capabilities` name them."""
        if self._buffer is None and self._path is None and self._id is None:
            return "system"
        return super().source

    @classmethod
    def system(cls) -> Self:
        """Name the store of the system."""
        return cls()


class SigningChain(Value):
    """What a side proves its identity with (PEP 748, "Signing Chain").

    `leaf`: a tuple of the certificate and its private key; None in place of the key if it is in
    the certificate's PEM.
    `chain`: the intermediate certificates, the leaf's issuer first; None for none.
    `ocsp_response`: what the issuer says of the leaf's revocation (RFC 6960, DER), which a server
    passes on to clients that ask (RFC 6066 8); as fresh as whoever gives it keeps it.

    Raises TypeError for anything else, naming the parameter.
    """

    __slots__ = ("_chain", "_leaf", "_ocsp_response")

    _fields = ("leaf", "chain", "ocsp_response")

    _leaf: tuple[Certificate, PrivateKey | None]
    _chain: tuple[Certificate, ...]
    _ocsp_response: bytes | None

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
        given = () if chain is None else items_of("chain", chain, "Certificate")
        self._fill(
            leaf=(instance_of("leaf[0]", certificate, Certificate), key),
            chain=tuple(
                instance_of(f"chain[{index}]", item, Certificate)
                for index, item in enumerate(given)
            ),
            ocsp_response=None
            if ocsp_response is None
            else bytes_of("ocsp_response", ocsp_response),
        )

    @property
    def leaf(self) -> tuple[Certificate, PrivateKey | None]:
        """The certificate and its key; None for the key if it is in the certificate's PEM."""
        return self._leaf

    @property
    def chain(self) -> tuple[Certificate, ...]:
        """The intermediate certificates, the leaf's issuer first."""
        return self._chain

    @property
    def ocsp_response(self) -> bytes | None:
        """What the leaf's issuer says of its revocation, DER."""
        return self._ocsp_response

    def __repr__(self) -> str:
        more = f", chain=<{len(self._chain)}>" if self._chain else ""
        if self._ocsp_response is not None:
            more += f", ocsp_response=<{len(self._ocsp_response)} bytes>"
        return f"SigningChain(leaf={self._leaf!r}{more})"
