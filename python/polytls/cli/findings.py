"""What `polytls inspect` finds out: connections are made here, and nothing printed.

Nothing is verified less than usual. What a refused server presented comes from the error that
refused it, not from a second look with closed eyes.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from .. import names
from ..errors import CertificateVerificationError, ConfigurationError, NotTLSError, RaggedEOF
from ..info import ConnectionInfo
from ..interfaces import (
    SupportsClientWrapSocket,
    SupportsInfo,
    SupportsShutdown,
    SupportsTimeout,
    TLSSocket,
)
from .offers import Offer, Wanted, enumerate_offers
from .route import Route, Stage, drop
from .targets import CertificateFile, Target

__all__ = ["Attempt", "Findings", "gather", "of_file"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was found."""

    target: Target | CertificateFile
    #: The proxy, without its password; None for none.
    proxy: str | None = None
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
    #: Whether it is known what the server stapled, if anything, as soon as the handshake is done.
    tells_staple: bool = False
    #: What the server accepts, version by version; None if it was not asked.
    offers: tuple[Offer, ...] | None = None

    @property
    def chain(self) -> tuple[bytes, ...]:
        """What the server presented, as DER, leaf first; empty if nothing is known."""
        if isinstance(self.target, CertificateFile):
            return self.target.certificates
        if refusal := self._refusal:
            return refusal.chain
        return (self.info.peer_chain if self.info else None) or ()

    @property
    def _refusal(self) -> CertificateVerificationError | None:
        """Why the server, and not the proxy, was refused."""
        is_servers = self.stage is not Stage.PROXY
        error = self.error
        return error if is_servers and isinstance(error, CertificateVerificationError) else None

    @property
    def ocsp_response(self) -> bytes | None:
        """What the server stapled, even if that was refused; None for nothing, or not known."""
        if refusal := self._refusal:
            return refusal.ocsp_response
        return self.info.ocsp_response if self.info else None


def of_file(file: CertificateFile) -> Findings:
    """Return what there is to say of a file, which nothing is verified of."""
    return Findings(target=file, stage=Stage.FILE)


def gather(
    target: Target,
    context: SupportsClientWrapSocket,
    route: Route,
    wanted: Wanted | None = None,
    step: Callable[[str], None] = lambda _: None,
    *,
    ech: bytes | None = None,
    tells_staple: bool = False,
) -> Findings:
    """Connect, and connect again to see whether sessions are resumed.

    `wanted`: what else to ask by probes. `ech`: the configurations for Encrypted ClientHello.
    `tells_staple`: whether the implementation verifies what
    servers staple. `step` is called with the next thing to happen.

    Raises ValueError for an invalid host name or port, ConfigurationError for what the
    implementation does not support.
    """
    resolving, connecting = Stage.RESOLVING, Stage.CONNECTING
    if route.proxy is not None:
        resolving = connecting = Stage.PROXY
    proxy = None if route.proxy is None else route.proxy.label
    timings: dict[str, float] = {}
    begun = monotonic()
    try:
        addresses = route.addresses(target)
    except socket.gaierror as error:
        return Findings(target=target, proxy=proxy, stage=resolving, error=error)
    timings["resolve"] = monotonic() - begun
    attempts: list[Attempt] = []
    for address in addresses:
        begun = monotonic()
        try:
            plain = route.dial(address)
        except OSError as error:
            attempts.append(Attempt(*address[:2], error))
            continue
        timings["connect"] = monotonic() - begun
        attempts.append(Attempt(*address[:2]))
        first = _Connection(target, context, route, plain, ech)
        resumed, fault = _again(first, address) if first.error is None else (None, None)
        offers = None
        if wanted is not None and first.stage in (Stage.HANDSHAKE, Stage.CONNECTED):
            offers = enumerate_offers(target, route, address, wanted, step)
        return Findings(
            target=target,
            proxy=proxy,
            stage=first.stage,
            attempts=(*attempts,),
            info=first.info,
            error=first.error,
            resumed=resumed,
            resumption_fault=fault,
            timings=timings | first.timings,
            tells_staple=tells_staple and first.info is not None,
            offers=offers,
        )
    kind = {None: "", socket.AF_INET: "IPv4 ", socket.AF_INET6: "IPv6 "}[route.family]
    return Findings(
        target=target,
        proxy=proxy,
        stage=connecting,
        attempts=(*attempts,),
        error=attempts[-1].fault if attempts else OSError(f"the name has no {kind}address"),
        timings=timings,
    )


class _Connection:
    """One connection, from the plain socket to its end, and what became of it."""

    def __init__(
        self,
        target: Target,
        context: SupportsClientWrapSocket,
        route: Route,
        plain: socket.socket,
        ech: bytes | None,
    ) -> None:
        self.target, self.context, self.route, self.ech = target, context, route, ech
        self.stage = Stage.HANDSHAKE
        self.info: ConnectionInfo | None = None
        self.error: OSError | None = None
        self.timings: dict[str, float] = {}
        try:
            self._run(plain)
        except ConfigurationError:
            raise
        except OSError as error:
            self.error = error

    def _run(self, plain: socket.socket) -> None:
        stream, leftover, self.timings = self.route.prepare(plain, self.target, self._enter)
        try:
            if self.target.starttls is None and not leftover and isinstance(stream, socket.socket):
                _check_silence(stream)
            begun = monotonic()
            connection = self.context.wrap_socket(
                stream, self.target.server_hostname, leftover=leftover, ech=self.ech
            )
        except BaseException:
            drop(stream)
            raise
        self.timings["handshake"] = monotonic() - begun
        try:
            self.info = _facts(connection)
            self.stage = Stage.CONNECTED
            _settle(connection, min(self.route.timeout, _SETTLING))
        finally:
            with suppress(OSError):
                connection.close(force=True)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage


def _again(first: _Connection, address: names.Address) -> tuple[bool | None, OSError | None]:
    """Whether a second connection resumes the session of the first, or why it is not known."""
    try:
        plain = first.route.dial(address)
    except OSError as error:
        return None, error
    second = _Connection(first.target, first.context, first.route, plain, first.ech)
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
