"""The contexts of every library that the Rust core drives: arguments, names, and the warnings of
insecure contexts. The core has the buffers and sockets.

An implementation names its backend, which creates the engine for a configuration. For its insecure
contexts, `InsecureClient` or `InsecureServer` precedes its own class among the bases.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, NoReturn, TypedDict, TypeVar, cast

from .. import _native
from ..arguments import (
    DEFAULT,
    Default,
    explained_call,
    instance_of,
    kind_of,
    not_copied,
    seconds_of,
)
from ..capabilities import check
from ..certificates import loaded
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import CipherSuite, NamedGroup
from ..identity import SigningChain
from ..info import SessionStatistics
from ..interfaces import ByteStream
from ..interfaces.insecure import InsecureConfiguration, warn
from ..names import host_of, port_of, resolve, verified_name
from ..sessions import TLSSession, lineage_of
from .key_log import warn_of_key_log, writer
from .misuse import NotSSLContext

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ..streams import StreamSocket

__all__ = [
    "Client",
    "InsecureClient",
    "InsecureServer",
    "Server",
    "validate",
]

_Buffer = TypeVar("_Buffer", _native.TLSBuffer, _native.ExtendedTLSBuffer)
_Socket = TypeVar("_Socket", bound=_native.TLSSocket)
_C = TypeVar("_C", TLSClientConfiguration, TLSServerConfiguration)


class _Wrapping(TypedDict):
    """How TLS starts on an existing connection: the keywords of `wrap_socket`."""

    leftover: Buffer
    do_handshake_on_connect: bool
    accept_truncated_end: bool


class _Parameters(NamedTuple):
    """What belongs to one client connection: the core's `Parameters`."""

    #: The name to verify, in the form that TLS uses; None only if names are not verified.
    verified: str | None
    #: The server's port, if it is known. Sessions are stored by name and port.
    port: int | None = None
    #: The session to resume, as `admit` returned it for this name; None: a stored one.
    offer: _native.Offer | None = None
    #: The zone of a link-local address (RFC 4007 11): sessions are stored by zone, too.
    scope: int | None = None
    #: What encrypts ClientHello, as the engine chose it for this name; None: nothing.
    ech: _native.Ech | None = None


def validate(
    backend: _native.Backend, configuration: TLSClientConfiguration | TLSServerConfiguration
) -> None:
    """Refuse what a library cannot honour, as far as is known without files and tokens.

    Raises ConfigurationError with the field, TypeError if the configuration is none.
    """
    check(configuration, backend.capabilities, backend.id)
    backend.check_ids(configuration)


def _signs_elsewhere(configuration: TLSClientConfiguration | TLSServerConfiguration) -> bool:
    """Return whether any of its private keys is a signer or in a token."""
    chains: tuple[SigningChain | None, ...]
    if isinstance(configuration, TLSServerConfiguration):
        chains = configuration.certificate_chain or ()
    else:
        chains = (configuration.certificate_chain, *configuration.alternative_chains)
    keys = (chain.leaf[1] for chain in chains if chain is not None)
    return any(key is not None and key.source in ("id", "signer") for key in keys)


def _wrapping(
    leftover: Buffer, do_handshake_on_connect: bool, accept_truncated_end: bool
) -> _Wrapping:
    return {
        "leftover": leftover,
        "do_handshake_on_connect": do_handshake_on_connect,
        "accept_truncated_end": instance_of("accept_truncated_end", accept_truncated_end, bool),
    }


@cache
def _maker() -> Callable[[_native.SocketHandle], StreamSocket]:
    """What makes sockets of what the core has created."""
    # Takes milliseconds to import; buffers do not need it.
    from ..streams.connection import made_of

    return made_of


def _opened(
    backend: _native.Backend, configuration: _C, insecure: InsecureConfiguration | None
) -> tuple[_C, _native.Effective, InsecureConfiguration | None]:
    """Check a configuration, then read its files: the input for an engine.

    Raises ConfigurationError.
    """
    verifies = not (insecure and insecure.disable_verification)
    effective = check(configuration, backend.capabilities, backend.id, verification=verifies)
    return loaded(configuration, backend.id), effective, insecure


class _Context(NotSSLContext):
    """What both sides have in common."""

    __slots__ = ("__weakref__", "_configuration", "_engine", "_insecure")
    #: Creates engines, unless `_open` does it in another way.
    _backend: ClassVar[_native.Backend]
    _configuration: TLSClientConfiguration | TLSServerConfiguration
    _insecure: InsecureConfiguration | None
    _engine: _native.ClientEngine | _native.ServerEngine

    def __reduce__(self) -> NoReturn:
        raise not_copied(self)

    def _note_use(self, method: str) -> None:
        """Called by public methods, on behalf of their caller."""

    @property
    def handshake_may_block(self) -> bool:
        """Whether a step of a handshake may block, in a `peer_verifier`, `on_event` or a signer."""
        configuration = self._configuration
        return (
            configuration.peer_verifier is not None
            or configuration.on_event is not None
            or _signs_elsewhere(configuration)
        )

    @property
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]:
        """The cipher suites that can be negotiated, in order of preference."""
        return self._engine.effective_ciphers

    @property
    def effective_groups(self) -> tuple[NamedGroup | int, ...]:
        """The key exchange groups that can be negotiated, in order of preference.

        If the library has its own default, only those that can be configured.
        """
        return self._engine.effective_groups

    @property
    def statistics(self) -> SessionStatistics:
        """Counts of its connections and sessions so far."""
        return SessionStatistics(**self._engine.statistics())


class Client(_Context, Generic[_Buffer, _Socket]):
    """Creates client connections from one configuration; immutable, and threads can share it.

    Raises ConfigurationError, naming the field, for what is not supported, and for files and
    encodings that cannot be read. All of that is done here, once.
    """

    __slots__ = ()
    _configuration: TLSClientConfiguration
    _engine: _native.ClientEngine

    @explained_call
    def __init__(self, configuration: TLSClientConfiguration) -> None:
        self._configuration = instance_of("configuration", configuration, TLSClientConfiguration)
        self._insecure = None
        warn_of_key_log(self._configuration)
        self._open()

    def _open(self) -> None:
        """Check, read and parse everything."""
        backend, configuration = self._backend, self._configuration
        opened = _opened(backend, configuration, self._insecure)
        self._engine = backend.client(*opened, key_log=writer(configuration.key_log, backend.id))

    @property
    def configuration(self) -> TLSClientConfiguration:
        """The configuration this context was created from."""
        return self._configuration

    @explained_call
    def connect(
        self,
        address: tuple[str | None, int],
        *,
        server_hostname: str | None = None,
        timeout: float | Default | None = DEFAULT,
        session: TLSSession | None = None,
        ech: bytes | None = None,
        accept_truncated_end: bool = False,
    ) -> _Socket:
        """Resolve the name, connect, and do the handshake; return the connected socket.

        `server_hostname`: the name to verify, if it is not the address's host.
        `timeout`: seconds for all of it, and for each later call; None waits indefinitely; the
        default is that of `socket.setdefaulttimeout`.
        `session`: the session to resume, from another connection (`SupportsSession`).
        `ech`: the list of configurations of the host for Encrypted ClientHello, from
        `polytls.ech.from_https_record` (docs/ech.md). The connection then uses TLS 1.3.
        `accept_truncated_end`: if the peer ends TCP without close_notify, `recv` returns `b""`
        instead of raising RaggedEOF. An attacker on the path can then truncate the data with a
        forged FIN without being noticed (RFC 8446 6.1): use it only for protocols that have no
        other end marker, such as HTTP/1.0 bodies without a length (RFC 9112 9.8), and for data that
        may be incomplete. An end within a record or during the handshake, a reset, and an end that
        `unwrap` finds are still errors.

        Raises TimeoutError, `socket.gaierror`, other OSErrors like a plain socket, and TLSError for
        failures of the handshake, such as ECHRejected; ValueError for an invalid host name, and for
        a session that must not be resumed on this connection; ConfigurationError for an `ech` that
        cannot be used.
        """
        self._note_use("connect")
        instance_of("accept_truncated_end", accept_truncated_end, bool)
        verified = self._name_of(host_of(address) if server_hostname is None else server_hostname)
        seconds = seconds_of(timeout)
        if seconds == 0:
            raise ValueError(
                "timeout: connect() needs a timeout above 0; call setblocking(False) afterwards"
            )
        offer, chosen = self._offer(session, verified), self._ech(ech, verified)
        addresses = resolve(address)
        # The same in all of them: only a zone in the host sets one.
        scope = addresses[0][3] or None if addresses else None
        handle = self._engine.connect(
            self,
            _Parameters(verified, port_of(address), offer, scope, chosen),
            addresses,
            timeout=seconds,
            accept_truncated_end=accept_truncated_end,
        )
        return cast("_Socket", _maker()(handle))

    @explained_call
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        server_hostname: str,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        session: TLSSession | None = None,
        ech: bytes | None = None,
        accept_truncated_end: bool = False,
    ) -> _Socket | StreamSocket:
        """Start TLS on an existing connection (`SupportsClientWrapSocket.wrap_socket`)."""
        verified = verified_name(server_hostname)
        options = _wrapping(leftover, do_handshake_on_connect, accept_truncated_end)
        return self._wrap(sock, verified, session, ech, options)

    def _wrap(
        self,
        sock: socket.socket | ByteStream,
        verified: str | None,
        session: TLSSession | None,
        ech: bytes | None,
        options: _Wrapping,
    ) -> _Socket | StreamSocket:
        # Takes milliseconds to import; buffers do not need it.
        from ..streams import server_below, wrap

        port, scope = server_below(sock)
        offer, chosen = self._offer(session, verified), self._ech(ech, verified)
        parameters = _Parameters(verified, port, offer, scope, chosen)
        return wrap(sock, self._engine.buffer(self, parameters), **options)

    @explained_call
    def create_buffer(
        self,
        server_hostname: str,
        *,
        session: TLSSession | None = None,
        ech: bytes | None = None,
    ) -> _Buffer:
        """Return one side of a connection in memory, to the server with that name.

        `session`, `ech`: as in `connect`.

        Raises ValueError for an invalid host name and, like `connect`, for a session;
        ConfigurationError for an `ech` that cannot be used; TypeError for another type.
        """
        return self._buffer(verified_name(server_hostname), session, ech)

    def _buffer(
        self, verified: str | None, session: TLSSession | None, ech: bytes | None
    ) -> _Buffer:
        offer, chosen = self._offer(session, verified), self._ech(ech, verified)
        parameters = _Parameters(verified, offer=offer, ech=chosen)
        return cast("_Buffer", self._engine.buffer(self, parameters))

    def _offer(self, session: TLSSession | None, verified: str | None) -> _native.Offer | None:
        """The offer of the session that was passed, if any; nothing has been sent at that point."""
        if session is None:
            return None
        return self._engine.admit(lineage_of(session, self), verified)

    def _ech(self, ech: bytes | None, verified: str | None) -> _native.Ech | None:
        """The configuration of the list that was passed, if any; nothing has been sent."""
        if ech is None:
            return None
        if not isinstance(ech, bytes | bytearray | memoryview):
            raise TypeError(f"ech must be bytes, not {kind_of(ech)}")
        return self._engine.ech(bytes(ech), verified)

    def _name_of(self, name: str | None) -> str | None:
        """The name to verify, in the form that TLS uses."""
        if name is None:
            raise ValueError("server_hostname is required: the name to verify")
        return verified_name(name)


class Server(_Context, Generic[_Buffer, _Socket]):
    """Creates server connections from one configuration; immutable, and threads can share it.

    Raises the same as `Client`.
    """

    __slots__ = ()
    _configuration: TLSServerConfiguration
    _engine: _native.ServerEngine

    @explained_call
    def __init__(self, configuration: TLSServerConfiguration) -> None:
        self._configuration = instance_of("configuration", configuration, TLSServerConfiguration)
        self._insecure = None
        warn_of_key_log(self._configuration)
        self._open()

    def _open(self) -> None:
        """Check, read and parse everything."""
        backend, configuration = self._backend, self._configuration
        opened = _opened(backend, configuration, self._insecure)
        self._engine = backend.server(*opened, key_log=writer(configuration.key_log, backend.id))

    @property
    def configuration(self) -> TLSServerConfiguration:
        """The configuration this context was created from."""
        return self._configuration

    @explained_call
    def connect(
        self,
        address: tuple[str | None, int],
        *,
        backlog: int = 128,
        reuse_port: bool = False,
        dual_stack: bool = False,
        do_handshake_on_accept: bool = True,
        handshake_timeout: float | None = 10.0,
        handshake_limit: int = 128,
        accept_truncated_end: bool = False,
    ) -> _Socket:
        """Bind and listen; return the listening socket, whose `accept` returns connections.

        `backlog`: how many connections the system queues.
        `reuse_port`: other sockets can listen on the same port, and the system distributes clients
        (SO_REUSEPORT).
        `dual_stack`: an IPv6 address accepts IPv4 clients, too.
        `do_handshake_on_accept`: whether a blocking `accept` does handshakes and returns the first
        connection whose handshake is complete; otherwise it returns the next connection, and its
        `do_handshake`, `recv` or `send` does the handshake.
        `handshake_timeout`: seconds for each handshake during `accept`, whatever the client does;
        None: no limit.
        `handshake_limit`: maximum number of handshakes in progress. At the limit, a new client
        replaces the oldest handshake, if it has taken more than a second; otherwise the new client
        waits.
        `accept_truncated_end`: applies to the connections, as in a client context's `connect`.

        Raises OSError like `socket.bind`, ValueError for a limit below 1, a timeout that is not
        above 0, and for `dual_stack` without an IPv6 address to listen on.
        """
        self._note_use("connect")
        handle = self._engine.listen(
            self,
            resolve(address, passive=True),
            timeout=seconds_of(DEFAULT),
            backlog=instance_of("backlog", backlog, int),
            reuse_port=instance_of("reuse_port", reuse_port, bool),
            dual_stack=instance_of("dual_stack", dual_stack, bool),
            do_handshake_on_accept=instance_of(
                "do_handshake_on_accept", do_handshake_on_accept, bool
            ),
            handshake_timeout=handshake_timeout,
            handshake_limit=handshake_limit,
            handshake_may_block=self.handshake_may_block,
            accept_truncated_end=instance_of("accept_truncated_end", accept_truncated_end, bool),
        )
        return cast("_Socket", _maker()(handle))

    @explained_call
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        accept_truncated_end: bool = False,
    ) -> _Socket | StreamSocket:
        """Start TLS on an existing connection (`SupportsServerWrapSocket.wrap_socket`)."""
        self._note_use("wrap_socket")
        # Takes milliseconds to import; buffers do not need it.
        from ..streams import wrap

        options = _wrapping(leftover, do_handshake_on_connect, accept_truncated_end)
        return wrap(sock, self._engine.buffer(self), **options)

    @explained_call
    def create_buffer(self) -> _Buffer:
        """Return one side of a connection in memory."""
        self._note_use("create_buffer")
        return cast("_Buffer", self._engine.buffer(self))


class _Insecure:
    """What insecure contexts of both sides have in common."""

    __slots__ = ()
    _insecure: InsecureConfiguration | None
    #: The public name of such contexts.
    _kind: ClassVar[str]

    def _note_use(self, method: str) -> None:
        warn(f"{self._kind}.{method}", stacklevel=4)

    @property
    def insecure_configuration(self) -> InsecureConfiguration:
        """What is not verified."""
        assert self._insecure is not None  # noqa: S101 - the constructor put it there
        return self._insecure


class InsecureClient(_Insecure, Client[_Buffer, _Socket]):
    """A client context that verifies less, as in `insecure_configuration`. It warns."""

    __slots__ = ()
    _kind = "InsecureClientContext"

    @explained_call
    def __init__(
        self,
        tls_configuration: TLSClientConfiguration,
        insecure_configuration: InsecureConfiguration,
    ) -> None:
        self._configuration = instance_of(
            "tls_configuration", tls_configuration, TLSClientConfiguration
        )
        self._insecure = instance_of(
            "insecure_configuration", insecure_configuration, InsecureConfiguration
        )
        warn(self._kind, stacklevel=3)
        warn_of_key_log(self._configuration)
        self._open()

    @explained_call
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        server_hostname: str | None = None,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        session: TLSSession | None = None,
        ech: bytes | None = None,
        accept_truncated_end: bool = False,
    ) -> _Socket | StreamSocket:
        """Like `ClientContext.wrap_socket`, with a warning."""
        self._note_use("wrap_socket")
        verified = self._name_of(server_hostname)
        options = _wrapping(leftover, do_handshake_on_connect, accept_truncated_end)
        return self._wrap(sock, verified, session, ech, options)

    @explained_call
    def create_buffer(
        self,
        server_hostname: str | None = None,
        *,
        session: TLSSession | None = None,
        ech: bytes | None = None,
    ) -> _Buffer:
        """Like `ClientContext.create_buffer`, with a warning."""
        self._note_use("create_buffer")
        return self._buffer(self._name_of(server_hostname), session, ech)

    def _name_of(self, name: str | None) -> str | None:
        # If names are not verified, none is required; the server is then not sent one either.
        if name is None and self.insecure_configuration.disable_hostname_check:
            return None
        return super()._name_of(name)


class InsecureServer(_Insecure, Server[_Buffer, _Socket]):
    """A server context that verifies less, as in `insecure_configuration`. It warns."""

    __slots__ = ()
    _kind = "InsecureServerContext"

    @explained_call
    def __init__(
        self,
        tls_configuration: TLSServerConfiguration,
        insecure_configuration: InsecureConfiguration,
    ) -> None:
        self._configuration = instance_of(
            "tls_configuration", tls_configuration, TLSServerConfiguration
        )
        self._insecure = instance_of(
            "insecure_configuration", insecure_configuration, InsecureConfiguration
        )
        warn(self._kind, stacklevel=3)
        warn_of_key_log(self._configuration)
        self._open()
