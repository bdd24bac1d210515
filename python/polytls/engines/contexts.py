"""What the contexts of every implementation have in common: arguments, names, and the warnings of
the insecure ones. An implementation adds how a buffer, a connection and a listener are made.

A subclass has to fill `_open` and the methods that begin with `_make`. Its insecure contexts are
made by putting `InsecureClient` or `InsecureServer` before it among the bases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, TypedDict, TypeVar

from ..arguments import DEFAULT, Default, explained_call, instance_of, not_copied, seconds_of
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..identity import SigningChain
from ..interfaces import ByteStream
from ..interfaces.insecure import InsecureConfiguration, warn
from ..names import Address, host_of, port_of, resolve, verified_name
from ..sessions import TLSSession, lineage_of
from .key_log import warn_of_key_log
from .misuse import NotSSLContext

if TYPE_CHECKING:
    import socket

    from typing_extensions import Buffer

    from ..streams import StreamSocket

__all__ = [
    "Client",
    "InsecureClient",
    "InsecureServer",
    "Listening",
    "Parameters",
    "Server",
    "Wrapping",
    "signs_elsewhere",
]

_Buffer = TypeVar("_Buffer")
_Socket = TypeVar("_Socket")


class Listening(TypedDict):
    """How a listener is to behave: the keywords of `Server.connect`."""

    backlog: int
    reuse_port: bool
    dual_stack: bool
    do_handshake_on_accept: bool
    handshake_timeout: float | None
    handshake_limit: int
    accept_truncated_end: bool


class Wrapping(TypedDict):
    """How TLS is to begin on a connection that exists: the keywords of `wrap_socket`."""

    leftover: Buffer
    do_handshake_on_connect: bool
    accept_truncated_end: bool


class Parameters(NamedTuple):
    """What belongs to one client connection: the core's `Parameters`."""

    #: The name to verify, in the form TLS uses it; None only where names are not verified.
    verified: str | None
    #: The server's port, if it is known. Sessions are remembered by the name and this.
    port: int | None = None
    #: The session to resume, as `_admit` returned it for this name; None: one that is remembered.
    offer: Any = None


def signs_elsewhere(configuration: TLSClientConfiguration | TLSServerConfiguration) -> bool:
    """Return whether any of its private keys is a signer."""
    chains: tuple[SigningChain | None, ...]
    if isinstance(configuration, TLSServerConfiguration):
        chains = configuration.certificate_chain or ()
    else:
        chains = (configuration.certificate_chain, *configuration.alternative_chains)
    keys = (chain.leaf[1] for chain in chains if chain is not None)
    return any(key is not None and key.signer is not None for key in keys)


def _wrapping(
    leftover: Buffer, do_handshake_on_connect: bool, accept_truncated_end: bool
) -> Wrapping:
    return {
        "leftover": leftover,
        "do_handshake_on_connect": do_handshake_on_connect,
        "accept_truncated_end": instance_of("accept_truncated_end", accept_truncated_end, bool),
    }


class Client(NotSSLContext, ABC, Generic[_Buffer, _Socket]):
    """Makes client connections of one configuration; immutable, to be shared by threads.

    Raises ConfigurationError, naming the field, for what cannot be honoured, and for files and
    encodings that cannot be read: all of that is done here, once.
    """

    __slots__ = ("__weakref__", "_configuration", "_insecure")

    @explained_call
    def __init__(self, configuration: TLSClientConfiguration) -> None:
        self._configuration = instance_of("configuration", configuration, TLSClientConfiguration)
        self._insecure: InsecureConfiguration | None = None
        warn_of_key_log(self._configuration)
        self._open()

    def __reduce__(self) -> NoReturn:
        raise not_copied(self)

    @abstractmethod
    def _open(self) -> None:
        """Check, read and parse everything."""

    @abstractmethod
    def _admit(self, lineage: Any, verified: str | None) -> Any:
        """Give the whole verdict on a session for a name now; return what offers it.

        No library verifies anything when it resumes. `lineage`: what `TLSSession` was made with.
        Raises ValueError, from the CertificateVerificationError if it is one.
        """

    @abstractmethod
    def _make_buffer(self, parameters: Parameters) -> _Buffer: ...

    @abstractmethod
    def _make_connection(
        self,
        addresses: list[Address],
        parameters: Parameters,
        timeout: float | None,
        *,
        accept_truncated_end: bool,
    ) -> _Socket: ...

    @abstractmethod
    def _make_wrapped(
        self, sock: socket.socket | ByteStream, parameters: Parameters, options: Wrapping
    ) -> _Socket | StreamSocket: ...

    @property
    def configuration(self) -> TLSClientConfiguration:
        """The configuration this context was made from."""
        return self._configuration

    @property
    def handshake_may_block(self) -> bool:
        """Whether a handshake's step may take long: a `peer_verifier` or a signer is asked."""
        return self._configuration.peer_verifier is not None or signs_elsewhere(self._configuration)

    @explained_call
    def connect(
        self,
        address: tuple[str | None, int],
        *,
        server_hostname: str | None = None,
        timeout: float | Default | None = DEFAULT,
        session: TLSSession | None = None,
        accept_truncated_end: bool = False,
    ) -> _Socket:
        """Resolve, connect and do the handshake; return the connected socket.

        `server_hostname`: the name to verify where it is not the address's host. `timeout`:
        seconds for all of it, and for each later call; None waits for ever; by default that of
        `socket.setdefaulttimeout`. `session`: the one to resume, of another connection
        (`SupportsSession`).

        `accept_truncated_end`: where the peer ends TCP without close_notify, `recv` gives `b""` in
        place of RaggedEOF. Then nobody can tell the end of the data from a cut that somebody on the
        path has made with a forged FIN (RFC 8446 6.1): only for protocols that have no other end,
        as HTTP/1.0 bodies without a length (RFC 9112 9.8), and for data that may be incomplete. An
        end within a record or a handshake, a reset, and an end that `unwrap` finds stay errors.

        Raises TimeoutError, `socket.gaierror`, other OSErrors as a plain socket does, and TLSError
        for what the handshake finds; ValueError for what is no host name, and for a session that
        must not be resumed on this connection.
        """
        return self._connect(address, server_hostname, timeout, session, accept_truncated_end)

    def _connect(
        self,
        address: tuple[str | None, int],
        server_hostname: str | None,
        timeout: float | Default | None,
        session: TLSSession | None,
        accept_truncated_end: bool,
    ) -> _Socket:
        instance_of("accept_truncated_end", accept_truncated_end, bool)
        verified = self._name_of(host_of(address) if server_hostname is None else server_hostname)
        seconds = seconds_of(timeout)
        if seconds == 0:
            raise ValueError(
                "timeout: connecting takes time; give more than 0, and setblocking(False) "
                "afterwards"
            )
        offer = self._offer(session, verified)
        parameters = Parameters(verified, port_of(address), offer)
        return self._make_connection(
            resolve(address), parameters, seconds, accept_truncated_end=accept_truncated_end
        )

    @explained_call
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        server_hostname: str,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        session: TLSSession | None = None,
        accept_truncated_end: bool = False,
    ) -> _Socket | StreamSocket:
        """Begin TLS on a connection that exists (`SupportsClientWrapSocket.wrap_socket`)."""
        verified = verified_name(server_hostname)
        options = _wrapping(leftover, do_handshake_on_connect, accept_truncated_end)
        return self._wrap(sock, verified, session, options)

    def _wrap(
        self,
        sock: socket.socket | ByteStream,
        verified: str | None,
        session: TLSSession | None,
        options: Wrapping,
    ) -> _Socket | StreamSocket:
        # Costs milliseconds; buffers do without it.
        from ..streams import port_below

        parameters = Parameters(verified, port_below(sock), self._offer(session, verified))
        return self._make_wrapped(sock, parameters, options)

    @explained_call
    def create_buffer(self, server_hostname: str, *, session: TLSSession | None = None) -> _Buffer:
        """Return one side of a connection in memory, to the server of that name.

        `session`: as `connect` has it.

        Raises ValueError for what is no host name, and as `connect` for a session; TypeError for
        what is no str.
        """
        return self._buffer(verified_name(server_hostname), session)

    def _buffer(self, verified: str | None, session: TLSSession | None) -> _Buffer:
        return self._make_buffer(Parameters(verified, offer=self._offer(session, verified)))

    def _offer(self, session: TLSSession | None, verified: str | None) -> Any:
        """What offers the session that is named, if one is; nothing has been sent by then."""
        return None if session is None else self._admit(lineage_of(session, self), verified)

    def _name_of(self, name: str | None) -> str | None:
        """The name to verify, in the form TLS uses it."""
        if name is None:
            raise ValueError("server_hostname: there is no name to verify; give one")
        return verified_name(name)


class Server(NotSSLContext, ABC, Generic[_Buffer, _Socket]):
    """Makes server connections of one configuration; immutable, to be shared by threads.

    Raises as `Client` does.
    """

    __slots__ = ("__weakref__", "_configuration", "_insecure")

    @explained_call
    def __init__(self, configuration: TLSServerConfiguration) -> None:
        self._configuration = instance_of("configuration", configuration, TLSServerConfiguration)
        self._insecure: InsecureConfiguration | None = None
        warn_of_key_log(self._configuration)
        self._open()

    def __reduce__(self) -> NoReturn:
        raise not_copied(self)

    @abstractmethod
    def _open(self) -> None:
        """Check, read and parse everything."""

    @abstractmethod
    def _make_buffer(self) -> _Buffer: ...

    @abstractmethod
    def _make_listener(
        self, addresses: list[Address], timeout: float | None, options: Listening
    ) -> _Socket: ...

    @abstractmethod
    def _make_wrapped(
        self, sock: socket.socket | ByteStream, options: Wrapping
    ) -> _Socket | StreamSocket: ...

    @property
    def configuration(self) -> TLSServerConfiguration:
        """The configuration this context was made from."""
        return self._configuration

    @property
    def handshake_may_block(self) -> bool:
        """Whether a handshake's step may take long: a `peer_verifier` or a signer is asked."""
        return self._configuration.peer_verifier is not None or signs_elsewhere(self._configuration)

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
        """Bind and listen; return the listening socket, whose `accept` gives connections.

        `backlog`: how many connections may wait to be accepted. `reuse_port`: other sockets may
        listen there as well, and the system deals clients out (SO_REUSEPORT). `dual_stack`: an IPv6
        address takes clients over IPv4, too.

        `do_handshake_on_accept`: whether a blocking `accept` does handshakes and returns the first
        connection whose handshake is done; otherwise it returns the next connection, and
        `do_handshake`, `recv` or `send` on that does it. `handshake_timeout`: how many seconds each
        may take while somebody accepts, whatever the client does; None: no limit.
        `handshake_limit`: how many are in hand at a time. At the limit the oldest gives way to a
        client that comes in, if it has taken more than a second; else that client waits.
        `accept_truncated_end`: of the connections, as a client context's `connect` has it.

        Raises OSError as `socket.bind` does, ValueError for a limit below 1, a time that is not
        above 0, and for `dual_stack` where there is no IPv6 address to listen at.
        """
        self._note_use("connect")
        options: Listening = {
            "backlog": instance_of("backlog", backlog, int),
            "reuse_port": instance_of("reuse_port", reuse_port, bool),
            "dual_stack": instance_of("dual_stack", dual_stack, bool),
            "do_handshake_on_accept": instance_of(
                "do_handshake_on_accept", do_handshake_on_accept, bool
            ),
            "handshake_timeout": handshake_timeout,
            "handshake_limit": handshake_limit,
            "accept_truncated_end": instance_of("accept_truncated_end", accept_truncated_end, bool),
        }
        return self._make_listener(resolve(address, passive=True), seconds_of(DEFAULT), options)

    @explained_call
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        accept_truncated_end: bool = False,
    ) -> _Socket | StreamSocket:
        """Begin TLS on a connection that exists (`SupportsServerWrapSocket.wrap_socket`)."""
        self._note_use("wrap_socket")
        options = _wrapping(leftover, do_handshake_on_connect, accept_truncated_end)
        return self._make_wrapped(sock, options)

    @explained_call
    def create_buffer(self) -> _Buffer:
        """Return one side of a connection in memory."""
        self._note_use("create_buffer")
        return self._make_buffer()

    def _note_use(self, method: str) -> None:
        """Called by each public method, on behalf of its caller."""


class _Insecure:
    """What insecure contexts of both sides have in common."""

    __slots__ = ()
    _insecure: InsecureConfiguration | None

    @property
    def insecure_configuration(self) -> InsecureConfiguration:
        """What is not verified."""
        assert self._insecure is not None  # noqa: S101 - the constructor put it there
        return self._insecure


class InsecureClient(_Insecure, Client[_Buffer, _Socket]):
    """A client context that verifies less, as `insecure_configuration` says. It warns."""

    __slots__ = ()

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
        warn("InsecureClientContext", stacklevel=3)
        warn_of_key_log(self._configuration)
        self._open()

    @explained_call
    def connect(
        self,
        address: tuple[str | None, int],
        *,
        server_hostname: str | None = None,
        timeout: float | Default | None = DEFAULT,
        session: TLSSession | None = None,
        accept_truncated_end: bool = False,
    ) -> _Socket:
        """As `ClientContext.connect`, with a warning."""
        warn("InsecureClientContext.connect", stacklevel=3)
        return self._connect(address, server_hostname, timeout, session, accept_truncated_end)

    @explained_call
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        server_hostname: str | None = None,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        session: TLSSession | None = None,
        accept_truncated_end: bool = False,
    ) -> _Socket | StreamSocket:
        """As `ClientContext.wrap_socket`, with a warning."""
        warn("InsecureClientContext.wrap_socket", stacklevel=3)
        verified = self._name_of(server_hostname)
        options = _wrapping(leftover, do_handshake_on_connect, accept_truncated_end)
        return self._wrap(sock, verified, session, options)

    @explained_call
    def create_buffer(
        self, server_hostname: str | None = None, *, session: TLSSession | None = None
    ) -> _Buffer:
        """As `ClientContext.create_buffer`, with a warning."""
        warn("InsecureClientContext.create_buffer", stacklevel=3)
        return self._buffer(self._name_of(server_hostname), session)

    def _name_of(self, name: str | None) -> str | None:
        # Where names are not checked none is needed; the server is then not told one either.
        if name is None and self.insecure_configuration.disable_hostname_check:
            return None
        return super()._name_of(name)


class InsecureServer(_Insecure, Server[_Buffer, _Socket]):
    """A server context that verifies less, as `insecure_configuration` says. It warns."""

    __slots__ = ()

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
        warn("InsecureServerContext", stacklevel=3)
        warn_of_key_log(self._configuration)
        self._open()

    def _note_use(self, method: str) -> None:
        warn(f"InsecureServerContext.{method}", stacklevel=4)
