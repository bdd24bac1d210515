"""Errors, and who can fix them.

The first four classes are PEP 748's (section "Errors"). The others show where the fault is: in the
configuration, the peer's certificate, the peer's behaviour, or what the peer thinks of us.

Rules of this file:

- It imports nothing from polytls: every other module, and the Rust core, can raise from here.
- An error takes one positional argument, its message. `TLSError` is an `OSError`, and `OSError`
  interprets a second positional argument as "errno, text". Facts are therefore keyword-only
  attributes, and the only state: copies and pickles keep them.
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
    "ECHRejected",
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

    #: The user or the program on this side: its configuration or its calls.
    YOU = "you"
    #: The operator of the other side.
    PEER = "the peer's operator"
    #: The administrator of this machine and its trust store.
    ADMINISTRATOR = "your administrator"


class TLSError(OSError):
    """The base class of all TLS errors of every implementation (PEP 748, "Errors").

    It is an `OSError`, so handlers for network errors catch it; `errno` is None, and
    EAGAIN in WantReadError and WantWriteError. `str(error)` is the message.

    Raised itself only for errors that no subclass describes, such as a fault in the
    implementation. The connection cannot be used any more.
    """

    #: Names of the keyword-only attributes that `repr` shows, in order.
    _facts: ClassVar[tuple[str, ...]] = ()

    #: Who can fix it; None if the error does not show it.
    responsible: Responsible | None = None

    def __init__(self, message: str = "", /) -> None:
        super().__init__(message)

    def explain(self) -> str:
        """Return a few lines that say what happened and who can fix it."""
        if self.responsible is None:
            return str(self)
        return f"{self}\nTo fix: this is up to {self.responsible.value}"

    def __repr__(self) -> str:
        shown = [repr(argument) for argument in self.args]
        shown += [f"{name}={_shown(getattr(self, name, None))}" for name in self._facts]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError's own __reduce__ calls the class with only the positional arguments, which fails
        # if a fact is required. The facts are in the instance's dictionary.
        return _rebuild, (type(self), self.args), self.__dict__ or None


def _rebuild(kind: type[TLSError], arguments: tuple[object, ...]) -> TLSError:
    """Create a copied or unpickled error without its constructor; its state follows."""
    error = kind.__new__(kind)
    error.args = arguments
    return error


def _shown(fact: object) -> str:
    """A fact as `repr` shows it: a chain by its length, an enumeration member by its name."""
    if isinstance(fact, tuple):
        return f"<{len(fact)} certificate{'' if len(fact) == 1 else 's'}>"
    return str(fact) if isinstance(fact, Enum) else repr(fact)


class WantReadError(TLSError, BlockingIOError):
    """More data from the network is needed before the call can continue (PEP 748, "Errors").

    Raised by buffers, and by sockets in non-blocking mode, only if no progress was possible.
    `TLSBuffer.process_incoming` raises it when its buffer is full: read, then repeat. It is a
    `BlockingIOError` with `errno` EAGAIN, so code written for non-blocking sockets handles it.

    The connection is unaffected: receive, then repeat the call.
    """

    # In place of the attribute of OSError, whose constructor would make it a part of the message.
    errno: int | None = errno.EAGAIN


class WantWriteError(TLSError, BlockingIOError):
    """Data has to be sent to the network before the call can continue (PEP 748, "Errors").

    Raised by buffers at their output limit, and by sockets in non-blocking mode, only if no
    progress was possible. It is a `BlockingIOError` with `errno` EAGAIN, like WantReadError.

    The connection is unaffected: send the waiting data, then repeat the call.
    """

    # As in WantReadError.
    errno: int | None = errno.EAGAIN


class RaggedEOF(TLSError):
    """The transport ended without the peer's close_notify (RFC 8446 6.1; PEP 748, "Errors").

    Raised when reading, after all data that arrived before the end was returned, and by every later
    read. Anyone on the path may have truncated the data. A protocol that marks the end of its
    messages, such as HTTP, can detect that.

    Nothing more can be read. The error does not show whether the peer or the network is at fault.

    `during_handshake`: the end came before the handshake was complete; no data was exchanged.
    """

    _facts = ("during_handshake",)

    def __init__(self, message: str = "", /, *, during_handshake: bool = False) -> None:
        super().__init__(message)
        self.during_handshake = during_handshake


class ConfigurationError(TLSError):
    """A configuration that this implementation does not support (PEP 748, "Errors").

    Raised by `validate_config` for what it can check without opening a file, by a context's
    constructor for the rest, and by the lookup of implementations. Nothing is ever ignored
    silently.

    No connection exists yet. The fault is in the caller's configuration, or on this machine.

    `field`: the parameter at fault, or None if there is no single one.
    `implementation`: the name of the implementation that refuses it, or None if every one would.
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
    """Return the error for a parameter `field` that `implementation` does not support."""
    return ConfigurationError(
        f"{implementation}: {field}: {message}", field=field, implementation=implementation
    )


class TokenFailure(Enum):
    """Why a token, or what a URI names, cannot be used."""

    #: The URI is malformed (RFC 7512), or no URI.
    INVALID_URI = "invalid URI"
    #: The PKCS#11 module was not found, or cannot be loaded; OpenSSL has no provider for the URI.
    NO_MODULE = "no module"
    #: No token or no object matches the URI.
    NOT_FOUND = "not found"
    #: Several tokens or objects match the URI.
    AMBIGUOUS = "ambiguous"
    #: The token requires a PIN, and none was given.
    NO_PIN = "no PIN"
    #: The token rejected the PIN.
    WRONG_PIN = "wrong PIN"
    #: The token has locked the PIN.
    PIN_LOCKED = "PIN locked"
    #: The key or the certificate cannot be used for TLS, or they do not match.
    UNUSABLE = "unusable"
    #: The token failed, or was removed.
    FAILED = "failed"


class TokenError(TLSError):
    """A token, or what a URI names, cannot be used (`polytls.tokens`, `from_id`).

    Messages never contain a PIN. `reason`: what went wrong.
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
    #: The peer presented no certificate, but one is required.
    NO_CERTIFICATE = "no certificate"
    REVOKED = "revoked"
    BAD_SIGNATURE = "bad signature"
    #: The certificate is not well-formed DER or X.509.
    BAD_ENCODING = "bad encoding"
    #: Not valid for this use: extended key usage, key usage, or a CA where a leaf is expected.
    INVALID_PURPOSE = "invalid purpose"
    NAME_CONSTRAINT_VIOLATION = "name constraint violation"
    #: A path length constraint, or a chain that is too long or too expensive to verify.
    PATH_TOO_LONG = "path too long"
    UNSUPPORTED_SIGNATURE_ALGORITHM = "unsupported signature algorithm"
    #: A key that is too small.
    WEAK_KEY = "weak key"
    UNHANDLED_CRITICAL_EXTENSION = "unhandled critical extension"
    #: CRLs were given, and no current one covers a certificate in the chain.
    REVOCATION_UNKNOWN = "revocation unknown"
    #: Neither the certificate nor its key is pinned.
    PIN_MISMATCH = "pin mismatch"
    #: `peer_verifier` refused the peer; the error's `__cause__` is its exception.
    REFUSED_BY_VERIFIER = "refused by verifier"
    #: The library gave another reason; the message has it.
    OTHER = "other"


class CertificateVerificationError(TLSError):
    """We refused the peer's certificate (RFC 5280 6, RFC 9525).

    Raised by the handshake, before any of our data or certificates was sent. The connection cannot
    be used any more, but the alert for the peer still has to be sent. The fault is in the peer's
    certificate, or in our trust store.

    `reason`: the first defect found.
    `hostname`: the expected name or address; None on a server, and if names were not checked.
    `chain`: the certificates as the peer presented them, in DER, leaf first; empty if there were
    none.
    `index`: which of them is at fault; None if none of them is, or if it is unknown.
    `names`: the names that the peer's certificate is valid for, where relevant; otherwise empty.
    `not_before`, `not_after`: the validity period of the certificate at fault, where relevant, in
    UTC; otherwise None.
    `trust_source`: what the chain was verified against, such as "the system's trust store".
    `responsible`: who can fix it.
    `ocsp_response`: the OCSP response that the server stapled, in DER, if the refusal is about it;
    otherwise None.
    `__cause__`: the exception from `peer_verifier`, if it refused the peer.
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
        ocsp_response: bytes | None = None,
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
        self.ocsp_response = ocsp_response
        self.responsible = responsible
        self.explanation = explanation

    @property
    def certificate(self) -> bytes | None:
        """The certificate at fault in DER; None if `index` is None."""
        return None if self.index is None else self.chain[self.index]

    def explain(self) -> str:
        """Return a few lines that say what happened and how to fix it.

        The first line has the reason and the message, the last says who can fix it and how.
        """
        if self.explanation is not None:
            return self.explanation
        return f"{self.reason.value}: {super().explain()}"


class AlertReceived(TLSError):
    """The peer sent a fatal alert (RFC 8446 6.2).

    Raised by the call that read it, and by every later one. The connection cannot be used any more.
    `alert` says what the peer objects to; the fault can be on either side.

    `alert`: the alert's number, 0 to 255; `polytls.AlertDescription` has names and meanings.
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

    Raised by the handshake. On a TLS 1.3 client, raised by the first read or write after it,
    because the server verifies the client's certificate after the client's handshake is complete.

    The connection cannot be used any more. The fault is in our certificate, or in the peer's trust
    store.
    """

    responsible = Responsible.YOU


class PeerIncompatible(TLSError):
    """The peer follows the protocol, but the two sides have nothing in common.

    Raised by the handshake if both sides support no common version, cipher suite, group, signature
    algorithm or protocol. The connection cannot be used any more, but the alert still has to be
    sent. The fault is in the difference between the two configurations.
    """


class ECHRejected(TLSError):
    """The server rejected Encrypted ClientHello (RFC 9849 6.1.6).

    Raised by the handshake, after the server was verified for the public name of the configuration.
    No data and no client certificate was sent, and the host name was not revealed. The connection
    cannot be used any more, but the alert still has to be sent. The fault is usually an outdated
    DNS record, or a server that has lost its key.

    `public_name`: the name that the server was verified for.
    `retry_configs`: the list of configurations that the server sent; None if it sent none. Pass it
    as `ech` to a new connection, once: if that is rejected, too, do not repeat it. A connection
    without `ech` would reveal the host name: that is for the application to decide.
    """

    _facts = ("public_name",)

    responsible = Responsible.PEER

    def __init__(
        self, message: str = "", /, *, public_name: str = "", retry_configs: bytes | None = None
    ) -> None:
        super().__init__(message)
        self.public_name = public_name
        self.retry_configs = retry_configs


class PeerMisbehaved(TLSError):
    """The peer violated the protocol: a malformed, forged or unexpected message.

    Raised by the call that processed it, and by every later one. The connection cannot be used any
    more, but the alert still has to be sent. The fault is with the peer, or someone on the path.
    """

    responsible = Responsible.PEER


class NotTLSError(PeerMisbehaved):
    """The first data from the peer is not TLS; for example, plain HTTP on a port without TLS.

    Raised by the handshake. The connection cannot be used any more. The address is often at fault:
    the port is wrong, or the service expects another protocol first.
    """

    responsible = Responsible.YOU


def is_retryable(error: BaseException) -> bool:
    """Return whether a new connection may succeed after `error`, with nothing changed on either
    side.

    True for timeouts; refused, reset and broken connections; an end of the transport during the
    handshake; an unreachable network; and a temporary name resolution failure. False for errors
    that another attempt would meet again: a refused certificate, a configuration error, a peer that
    does not speak TLS, has nothing in common with us, or refuses us by an alert. False also for
    RaggedEOF after the handshake, because the data that arrived may be complete, and for
    WantReadError and WantWriteError, after which the call is repeated.

    It says nothing about the request: a request that was sent may have been executed, whatever the
    error. After the handshake, retry only requests that are safe to repeat (RFC 9110 9.2.2).
    """
    if isinstance(error, RaggedEOF):
        return error.during_handshake
    if isinstance(error, TLSError):
        return False
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if not isinstance(error, OSError):
        return False
    # Takes milliseconds to import; programs that connect have already imported it.
    from socket import EAI_AGAIN, gaierror

    if isinstance(error, gaierror):
        return error.errno == EAI_AGAIN
    return error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
