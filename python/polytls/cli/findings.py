"""What `polytls inspect` finds out: connections are made here, and nothing printed.

Nothing is verified less than usual. What a refused server presented comes from the error that
refused it, not from a second look with closed eyes.
"""

from __future__ import annotations

import select
import socket
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from typing import Final

from .. import names
from ..errors import CertificateVerificationError, NotTLSError, RaggedEOF
from ..info import ConnectionInfo
from ..interfaces import (
    SupportsClientWrapSocket,
    SupportsInfo,
    SupportsShutdown,
    SupportsTimeout,
    TLSSocket,
)
from .starttls import upgrade
from .targets import CertificateFile, Target

__all__ = ["Attempt", "Findings", "Stage", "gather", "of_file"]

#: How long the server has to answer our close_notify, in seconds: the time in which it may still
#: object to our certificate (RFC 8446 4.4.2.4) and sends tickets.
_SETTLING: Final = 3.0
#: How much is read meanwhile, in bytes.
_MOST_DATA: Final = 1 << 20
_PIECE: Final = 65536
#: How long a service that begins in plaintext has to show it, in seconds. A slower one is found out
#: by its answer to ClientHello.
_GREETING_WAIT: Final = 0.05
#: How much of a greeting is shown, in bytes.
_GREETING: Final = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address that was connected to, or not."""

    address: str
    port: int
    #: Why not; None if it was.
    fault: OSError | None = None


class Stage(Enum):
    """How far it got; the error, if there is one, is that of this stage."""

    #: A file was read: there is no connection.
    FILE = "file"
    RESOLVING = "resolving"
    CONNECTING = "connecting"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    #: After the handshake, where a server may object to our certificate.
    CONNECTED = "connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was found."""

    target: Target | CertificateFile
    stage: Stage
    attempts: tuple[Attempt, ...] = ()
    #: None if the handshake was not done.
    info: ConnectionInfo | None = None
    error: OSError | None = None
    #: Whether a second connection resumed the first one's session; None if there was none, or if
    #: it is not known.
    resumed: bool | None = None
    #: Why there was no second connection, if it was tried.
    resumption_fault: OSError | None = None
    #: How long each completed step took, in seconds, by the name that reports give it.
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """What the server presented, as DER, leaf first; empty if nothing is known."""
        if isinstance(self.target, CertificateFile):
            return self.target.certificates
        if isinstance(self.error, CertificateVerificationError):
            return self.error.chain
        return (self.info.peer_chain if self.info else None) or ()


def of_file(file: CertificateFile) -> Findings:
    """Return what there is to say of a file, which nothing is verified of."""
    return Findings(target=file, stage=Stage.FILE)


def gather(
    target: Target,
    context: SupportsClientWrapSocket,
    timeout: float,
    family: socket.AddressFamily | None = None,
) -> Findings:
    """Connect, and connect again to see whether sessions are resumed.

    `timeout`: seconds for each step: one address, the dialogue of STARTTLS, the handshake.
    `family`: the only kind of addresses to use; None for both.

    Raises ValueError for an invalid host name or port.
    """
    timings: dict[str, float] = {}
    begun = monotonic()
    try:
        addresses = names.resolve((target.host, target.port))
    except socket.gaierror as error:
        return Findings(target=target, stage=Stage.RESOLVING, error=error)
    timings["resolve"] = monotonic() - begun
    addresses = [each for each in addresses if family in (None, _family(each))]
    attempts: list[Attempt] = []
    for address in addresses:
        begun = monotonic()
        try:
            plain = _dial(address, timeout)
        except OSError as error:
            attempts.append(Attempt(*address[:2], error))
            continue
        timings["connect"] = monotonic() - begun
        attempts.append(Attempt(*address[:2]))
        first = _Connection(target, context, timeout, plain)
        resumed, fault = _again(first, address) if first.error is None else (None, None)
        return Findings(
            target=target,
            stage=first.stage,
            attempts=(*attempts,),
            info=first.info,
            error=first.error,
            resumed=resumed,
            resumption_fault=fault,
            timings=timings | first.timings,
        )
    kind = {None: "", socket.AF_INET: "IPv4 ", socket.AF_INET6: "IPv6 "}[family]
    return Findings(
        target=target,
        stage=Stage.CONNECTING,
        attempts=(*attempts,),
        error=attempts[-1].fault if attempts else OSError(f"the name has no {kind}address"),
        timings=timings,
    )


def _family(address: names.Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def _dial(address: names.Address, timeout: float) -> socket.socket:
    family = _family(address)
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        plain.settimeout(timeout)
        plain.connect(address if family == socket.AF_INET6 else address[:2])
    except BaseException:
        plain.close()
        raise
    return plain


class _Connection:
    """One connection, from the plain socket to its end, and what became of it."""

    def __init__(
        self,
        target: Target,
        context: SupportsClientWrapSocket,
        timeout: float,
        plain: socket.socket,
    ) -> None:
        self.target, self.context, self.timeout = target, context, timeout
        self.stage = Stage.HANDSHAKE
        self.info: ConnectionInfo | None = None
        self.error: OSError | None = None
        self.timings: dict[str, float] = {}
        with closing(plain):  # Detached by then, unless it failed before TLS.
            try:
                self._run(plain)
            except OSError as error:
                self.error = error

    def _run(self, plain: socket.socket) -> None:
        leftover = b""
        if self.target.starttls is None:
            _check_silence(plain)
        else:
            self.stage = Stage.STARTTLS
            begun = monotonic()
            name = names.verified_name(self.target.server_hostname)
            leftover = upgrade(plain, self.target.starttls, name, self.timeout)
            self.timings["starttls"] = monotonic() - begun
            plain.settimeout(self.timeout)
            self.stage = Stage.HANDSHAKE
        begun = monotonic()
        connection = self.context.wrap_socket(plain, self.target.server_hostname, leftover=leftover)
        self.timings["handshake"] = monotonic() - begun
        try:
            self.info = _facts(connection)
            self.stage = Stage.CONNECTED
            _settle(connection, min(self.timeout, _SETTLING))
        finally:
            with suppress(OSError):
                connection.close(force=True)


def _again(first: _Connection, address: names.Address) -> tuple[bool | None, OSError | None]:
    """Whether a second connection resumes the session of the first, or why it is not known."""
    try:
        plain = _dial(address, first.timeout)
    except OSError as error:
        return None, error
    second = _Connection(first.target, first.context, first.timeout, plain)
    return (None if second.info is None else second.info.resumed), second.error


def _check_silence(plain: socket.socket) -> None:
    """Tell a service that begins in plaintext; `wrap_socket` would take it for an attack."""
    spoke = select.select([plain], [], [], _GREETING_WAIT)[0]
    if spoke and (said := plain.recv(_GREETING, socket.MSG_PEEK)):
        text = said.partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace")
        raise NotTLSError(f'the server sent plaintext first: "{text}"')


def _facts(connection: TLSSocket) -> ConnectionInfo:
    if isinstance(connection, SupportsInfo):
        return connection.info
    leaf = connection.getpeercert()
    return ConnectionInfo(
        implementation="",
        version=connection.negotiated_tls_version,
        cipher=connection.cipher(),
        alpn=connection.negotiated_protocol(),
        peer_chain=None if leaf is None else (leaf,),
    )


def _settle(connection: TLSSocket, timeout: float) -> None:
    """Say goodbye, and listen for objections and tickets until the server has said it as well.

    Raises what the server objects to: a TLS 1.3 client is done before it is judged.
    """
    deadline = monotonic() + timeout
    if isinstance(connection, SupportsShutdown):
        with suppress(ConnectionError):  # What the server said before it left is read below.
            connection.shutdown(socket.SHUT_WR)
    with suppress(RaggedEOF, ConnectionError, TimeoutError):
        left, much = timeout, 0
        while left > 0 and much < _MOST_DATA:
            if isinstance(connection, SupportsTimeout):
                connection.settimeout(left)
            data = connection.recv(_PIECE)
            if not data:
                return
            left, much = deadline - monotonic(), much + len(data)
