"""Errors, and who is responsible.

The first four classes are PEP 748's (section "Errors"); the others say who is to blame: the
configuration, the peer's certificate, the peer's behaviour, or the peer's judgement of us.

Rules of this file:

- It imports nothing of polytls: every other module, and the Rust core, may raise from here.
- An error takes one positional argument, its message. `TLSError` is an `OSError`, and an
  `OSError` reads a second positional argument as «errno, text». Facts are therefore keyword-only
  attributes, and they are the only state: copies and pickles keep them.
- A `repr` shows the facts, never key material or certificate bytes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "AlertReceived",
    "CertificateVerificationError",
    "ConfigurationError",
    "NotTLSError",
    "PeerIncompatible",
    "PeerMisbehaved",
    "PeerRejectedCertificate",
    "RaggedEOF",
    "Responsible",
    "TLSError",
    "TokenError",
    "TokenFailure",
    "VerificationFailure",
    "WantReadError",
    "WantWriteError",
    "is_retryable",
    "refusal",
]


class Responsible(Enum):
    """Who can fix the problem."""

    #: Whoever configured or called this side.
    YOU = "you"
    #: Whoever runs the other side.
    PEER = "the peer's operator"
    #: Whoever looks after this machine and its trust store.
    ADMINISTRATOR = "your administrator"


class TLSError(OSError):
    """The base of all TLS errors, whichever implementation raised them (PEP 748, "Errors").

    It is an `OSError`, so that handlers written for network errors catch it; `errno` is None, but
    EAGAIN in WantReadError and WantWriteError. `str(error)` is the message.

    Raised itself only for what no class below describes, such as an implementation's own fault.
    The connection cannot be used any more; nobody else is to blame.
    """

    #: Names of the keyword-only attributes that `repr` shows, in order.
    _facts: ClassVar[tuple[str, ...]] = ()

    #: Who can fix it; None where the error alone does not tell.
    responsible: Responsible | None = None

    def __init__(self, message: str = "", /) -> None:
        super().__init__(message)

    def explain(self) -> str:
        """Return what happened in a few lines that a person can act on."""
        if self.responsible is None:
            return str(self)
        return f"{self}\nTo fix: this is up to {self.responsible.value}"

    def __repr__(self) -> str:
        shown = [repr(argument) for argument in self.args]
        shown += [f"{name}={_shown(getattr(self, name, None))}" for name in self._facts]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError's own __reduce__ calls the class with the positional arguments alone, which
        # fails where a fact is required. The facts travel in the instance's dictionary.
        return _rebuild, (type(self), self.args), self.__dict__ or None


def _rebuild(kind: type[TLSError], arguments: tuple[object, ...]) -> TLSError:
    """Make a copied or unpickled error without its constructor; its state follows."""
    error = kind.__new__(kind)
    error.args = arguments
    return error


def _shown(fact: object) -> str:
    """A fact as `repr` prints it: a chain by its length, an enumeration by its member's name."""
    if isinstance(fact, tuple):
        return f"<{len(fact)} certificate{'' if len(fact) == 1 else 's'}>"
    return str(fact) if isinstance(fact, Enum) else repr(fact)


class WantReadError(TLSError, BlockingIOError):
    """More must come from the network before the call can go on (PEP 748, "Errors").

    Raised by buffers, and by sockets in non-blocking mode, only when no progress at all was
    possible. `TLSBuffer.process_incoming` raises it when its buffer is full: read, then repeat.
    It is a `BlockingIOError` with `errno` EAGAIN, as code for plain sockets expects.

    The connection is as good as before: receive, then repeat the call. Nobody is to blame.
    """

    # In place of the attribute of OSError, whose constructor would make it a part of the message.
    errno: int | None = errno.EAGAIN


class WantWriteError(TLSError, BlockingIOError):
    """More must go out to the network before the call can go on (PEP 748, "Errors").

    Raised by buffers at their output limit, and by sockets in non-blocking mode, only when no
    progress at all was possible. It is a `BlockingIOError` with `errno` EAGAIN, as WantReadError.

    The connection is as good as before: send what is waiting, then repeat the call. Nobody is to
    blame.
    """

    # As in WantReadError.
    errno: int | None = errno.EAGAIN


class RaggedEOF(TLSError):
    """The transport ended without the peer's close_notify (RFC 8446 6.1; PEP 748, "Errors").

    Raised when reading, after all data that came before the end was delivered, and at every read
    thereafter. The data may have been cut short by anyone on the path; a protocol that marks its
    own ends, such as HTTP, can tell.

    Nothing can be read any more. Blames the peer or the network: there is no telling which.

    `during_handshake`: the end came before the handshake was done; no data was ever exchanged.
    """

    _facts = ("during_handshake",)

    def __init__(self, message: str = "", /, *, during_handshake: bool = False) -> None:
        super().__init__(message)
        self.during_handshake = during_handshake


class ConfigurationError(TLSError):
    """A configuration that this implementation cannot honour (PEP 748, "Errors").

    Raised by `validate_config` for what can be known without opening a file, by a context's
    constructor for the rest, and by the lookup of implementations. Nothing is ever ignored
    silently.

    No connection exists yet. Blames the caller's configuration, or this machine's outfit.

    `field`: the configuration's parameter at fault, or None where there is no single one.
    `implementation`: name of the implementation that refuses, or None where every one would.
    """

    _facts = ("field", "implementation")

    responsible = Responsible.YOU

    def __init__(
        self, message: str = "", /, *, field: str | None = None, implementation: str | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.implementation = implementation


def refusal(implementation: str, field: str, message: str) -> ConfigurationError:
    """Return the error for a parameter `field` that `implementation` cannot honour."""
    return ConfigurationError(
        f"{implementation}: {field}: {message}", field=field, implementation=implementation
    )


class TokenFailure(Enum):
    """Why a PKCS#11 token, or what is in it, cannot be used."""

    #: The `pkcs11:` URI is malformed (RFC 7512).
    INVALID_URI = "invalid URI"
    #: The PKCS#11 module was not found, or cannot be loaded.
    NO_MODULE = "no module"
    #: No token or no object matches the URI.
    NOT_FOUND = "not found"
    #: Several tokens or objects match the URI.
    AMBIGUOUS = "ambiguous"
    #: The token requires a PIN, and there is none.
    NO_PIN = "no PIN"
    #: The token rejected the PIN.
    WRONG_PIN = "wrong PIN"
    #: The token has locked the PIN.
    PIN_LOCKED = "PIN locked"
    #: The key or the certificate cannot be used for TLS, or they do not belong together.
    UNUSABLE = "unusable"
    #: The token failed, or was removed.
    FAILED = "failed"


class TokenError(TLSError):
    """A PKCS#11 token, or what is in it, cannot be used (`polytls.tokens`).

    No message contains a PIN. `reason`: what went wrong.
    """

    _facts = ("reason",)

    responsible = Responsible.YOU

    def __init__(self, message: str = "", /, *, reason: TokenFailure = TokenFailure.FAILED) -> None:
        super().__init__(message)
        self.reason = reason


class VerificationFailure(Enum):
    """Why a peer's certificate was refused: a closed list, the same for every implementation."""

    UNKNOWN_ISSUER = "unknown issuer"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    HOSTNAME_MISMATCH = "hostname mismatch"
    #: The peer presented none where one is required.
    NO_CERTIFICATE = "no certificate"
    REVOKED = "revoked"
    BAD_SIGNATURE = "bad signature"
    #: A certificate that is not well-formed DER or X.509.
    BAD_ENCODING = "bad encoding"
    #: Not meant for this use: extended key usage, key usage, or a CA where a leaf belongs.
    INVALID_PURPOSE = "invalid purpose"
    NAME_CONSTRAINT_VIOLATION = "name constraint violation"
    #: A path length constraint, or a chain too deep or too costly to follow.
    PATH_TOO_LONG = "path too long"
    UNSUPPORTED_SIGNATURE_ALGORITHM = "unsupported signature algorithm"
    #: A key that is too small.
    WEAK_KEY = "weak key"
    UNHANDLED_CRITICAL_EXTENSION = "unhandled critical extension"
    #: Revocation lists were given, and no current one covers a certificate in the chain.
    REVOCATION_UNKNOWN = "revocation unknown"
    #: Neither the certificate nor its key is pinned.
    PIN_MISMATCH = "pin mismatch"
    #: `peer_verifier` said no; what it raised is the error's `__cause__`.
    REFUSED_BY_VERIFIER = "refused by verifier"
    #: The library gave a reason that is none of these; the message has it.
    OTHER = "other"


class CertificateVerificationError(TLSError):
    """The peer's certificate was refused by us (RFC 5280 6, RFC 9525).

    Raised by the handshake, before any data or certificate of ours went out. The connection cannot
    be used any more, but the alert that tells the peer is still to be sent. Blames the peer's
    certificate, or the trust store it was judged by.

    `reason`: the first thing found wrong.
    `hostname`: the name or address that was expected, None on a server or where none was checked.
    `chain`: the certificates as DER, leaf first, as the peer presented them; empty if there were
    none.
    `index`: which of them is at fault; None where the library cannot tell, or it is none of them.
    `names`: the names that the peer's certificate is valid for, where they matter; else empty.
    `not_before`, `not_after`: validity of the one at fault, where it matters, in UTC; else None.
    `trust_source`: what the chain was judged by, in words such as "the system's trust store".
    `responsible`: who can fix it.
    `__cause__`: what `peer_verifier` raised, if that refused.
    """

    _facts = ("reason", "hostname", "chain", "index")

    def __init__(
        self,
        message: str = "",
        /,
        *,
        reason: VerificationFailure = VerificationFailure.OTHER,
        hostname: str | None = None,
        chain: Iterable[bytes] = (),
        index: int | None = None,
        names: Iterable[str] = (),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        trust_source: str | None = None,
        responsible: Responsible | None = Responsible.PEER,
        explanation: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.hostname = hostname
        self.chain: tuple[bytes, ...] = tuple(chain)
        self.index = index
        self.names: tuple[str, ...] = tuple(names)
        self.not_before = not_before
        self.not_after = not_after
        self.trust_source = trust_source
        self.responsible = responsible
        self.explanation = explanation

    @property
    def certificate(self) -> bytes | None:
        """The certificate at fault as DER; None where `index` is."""
        return None if self.index is None else self.chain[self.index]

    def explain(self) -> str:
        """Return a few lines that a person can act on.

        The first is the reason with the message, the last says who can fix it and how.
        """
        if self.explanation is not None:
            return self.explanation
        return f"{self.reason.value}: {super().explain()}"


class AlertReceived(TLSError):
    """The peer sent a fatal alert (RFC 8446 6.2).

    Raised by the call that read it, and by every later one. The connection cannot be used any more.
    Blames nobody by itself: the peer objects to something, and `alert` says to what.

    `alert`: the alert's number, 0 to 255; `polytls.AlertDescription` has the names, and what each
    of them means.
    """

    _facts = ("alert",)

    def __init__(self, message: str = "", /, *, alert: int) -> None:
        super().__init__(message)
        self.alert = alert

    def explain(self) -> str:
        """Return what happened, and what the alert means (RFC 8446 6)."""
        meaning = getattr(self.alert, "meaning", None)
        told = super().explain()
        if meaning is None:
            return told
        first, newline, rest = told.partition("\n")
        return f"{first}\nthe alert means: {meaning}{newline}{rest}"


class PeerRejectedCertificate(AlertReceived):
    """The peer refused our certificate, or the lack of one (RFC 8446 6.2).

    Raised by the handshake, and on a TLS 1.3 client by the first read or write after it: there
    the handshake is done before the server judges the client's certificate.

    The connection cannot be used any more. Blames our certificate, or the peer's trust store.
    """

    responsible = Responsible.YOU


class PeerIncompatible(TLSError):
    """The peer keeps to the protocol, but the two sides have nothing in common.

    Raised by the handshake when no version, cipher suite, group, signature algorithm or protocol
    suits both. The connection cannot be used any more, but the alert is still to be sent. Blames
    the difference between both configurations.
    """


class PeerMisbehaved(TLSError):
    """The peer broke the protocol: a malformed, forged or unexpected message.

    Raised by the call that processed it, and by every later one. The connection is of no more
    use, but the alert is still to be sent. Blames the peer, or someone on the path.
    """

    responsible = Responsible.PEER


class NotTLSError(PeerMisbehaved):
    """What the peer sent first is not TLS at all; plain HTTP, say, on a port without TLS.

    Raised by the handshake. The connection cannot be used any more. Blames the address more often
    than the peer: it is the wrong port, or the service expects another protocol first.
    """

    responsible = Responsible.YOU


def is_retryable(error: BaseException) -> bool:
    """Return whether a new connection may succeed where one failed with `error`, all else equal.

    True for timeouts, for refused, reset and broken connections, for an end of the transport
    within the handshake, for a network that cannot be reached, and for a name that could not be
    resolved for now. False for everything that another attempt would meet again: a refused
    certificate, a configuration, a peer that speaks no TLS, or has nothing in common with us, or
    refuses us by an alert; also for a RaggedEOF after the handshake, where data has come that may
    be all there was, and for WantReadError and WantWriteError, after which the call is repeated.

    It says nothing about the request: one that was sent may have been executed, whatever the
    error. After the handshake, retry only what may be done twice (RFC 9110 9.2.2).
    """
    if isinstance(error, RaggedEOF):
        return error.during_handshake
    if isinstance(error, TLSError):
        return False
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if not isinstance(error, OSError):
        return False
    # Costs milliseconds; whoever connects has it already.
    from socket import EAI_AGAIN, gaierror

    if isinstance(error, gaierror):
        return error.errno == EAI_AGAIN
    return error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
