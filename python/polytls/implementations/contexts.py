"""What the contexts of every implementation have in common: arguments, names, and the warnings of
the insecure ones. An implementation adds how a buffer, a connection and a listener are made.

A subclass has to fill `_open` and the methods that begin with `_make`. Its insecure contexts are
made by putting `InsecureClient` or `InsecureServer` before it among the bases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from ..arguments import DEFAULT, Default, seconds_of
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..identity import instance_of
from ..insecure import InsecureConfiguration, warn
from ..names import Address, host_of, port_of, resolve, verified_name

__all__ = ["Client", "InsecureClient", "InsecureServer", "Server", "verification"]

_Buffer = TypeVar("_Buffer")
_Socket = TypeVar("_Socket")


def verification(insecure: InsecureConfiguration | None) -> str:
    """Return how much of the peer's certificate is checked: "full", "any name" or "nothing"."""
    if insecure is None or not insecure.disable_hostname_check:
        return "full"
    return "nothing" if insecure.disable_verification else "any name"


class Client(ABC, Generic[_Buffer, _Socket]):
    """Makes client connections of one configuration; immutable, to be shared by threads.

    Raises ConfigurationError, naming the field, for what cannot be honoured, and for files and
    encodings that cannot be read: all of that is done here, once.
    """

    __slots__ = ("__weakref__", "_configuration", "_insecure")

    def __init__(self, configuration: TLSClientConfiguration) -> None:
        self._configuration = instance_of("configuration", configuration, TLSClientConfiguration)
        self._insecure: InsecureConfiguration | None = None
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Check, read and parse everything."""

    @abstractmethod
    def _make_buffer(self, verified: str | None) -> _Buffer: ...

    @abstractmethod
    def _make_connection(
        self, addresses: list[Address], port: int, verified: str | None, timeout: float | None
    ) -> _Socket: ...

    @property
    def configuration(self) -> TLSClientConfiguration:
        """The configuration this context was made from."""
        return self._configuration

    @property
    def handshake_may_block(self) -> bool:
        """Whether a step of a handshake may take long: a `peer_verifier` has its say in it."""
        return self._configuration.peer_verifier is not None

    def connect(
        self,
        address: tuple[str | None, int],
        *,
        server_hostname: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> _Socket:
        """Resolve, connect and do the handshake; return the connected socket.

        `server_hostname`: the name to verify where it is not the address's host. `timeout`:
        seconds for all of it, and for each later call; None waits for ever; by default that of
        `socket.setdefaulttimeout`.

        Raises TimeoutError, `socket.gaierror`, other OSErrors as a plain socket does, and TLSError
        for what the handshake finds; ValueError for what is no host name.
        """
        return self._connect(address, server_hostname, timeout)

    def _connect(
        self,
        address: tuple[str | None, int],
        server_hostname: str | None,
        timeout: float | Default | None,
    ) -> _Socket:
        verified = self._name_of(host_of(address) if server_hostname is None else server_hostname)
        seconds = seconds_of(timeout)
        if seconds == 0:
            raise ValueError(
                "timeout: connecting takes time; give more than 0, and setblocking(False) "
                "afterwards"
            )
        return self._make_connection(resolve(address), port_of(address), verified, seconds)

    def create_buffer(self, server_hostname: str) -> _Buffer:
        """Return one side of a connection in memory, to the server of that name.

        Raises ValueError for what is no host name, TypeError for what is no str.
        """
        return self._make_buffer(verified_name(server_hostname))

    def _name_of(self, name: str | None) -> str | None:
        """The name to verify, in the form TLS uses it."""
        if name is None:
            raise ValueError("server_hostname: there is no name to verify; give one")
        return verified_name(name)


class Server(ABC, Generic[_Buffer, _Socket]):
    """Makes server connections of one configuration; immutable, to be shared by threads.

    Raises as `Client` does.
    """

    __slots__ = ("__weakref__", "_configuration", "_insecure")

    def __init__(self, configuration: TLSServerConfiguration) -> None:
        self._configuration = instance_of("configuration", configuration, TLSServerConfiguration)
        self._insecure: InsecureConfiguration | None = None
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Check, read and parse everything."""

    @abstractmethod
    def _make_buffer(self) -> _Buffer: ...

    @abstractmethod
    def _make_listener(
        self, addresses: list[Address], backlog: int, timeout: float | None
    ) -> _Socket: ...

    @property
    def configuration(self) -> TLSServerConfiguration:
        """The configuration this context was made from."""
        return self._configuration

    @property
    def handshake_may_block(self) -> bool:
        """Whether a step of a handshake may take long: a `peer_verifier` has its say in it."""
        return self._configuration.peer_verifier is not None

    def connect(self, address: tuple[str | None, int], *, backlog: int = 128) -> _Socket:
        """Bind and listen; return the listening socket, whose `accept` gives connections.

        `backlog`: how many connections may wait to be accepted.

        Raises OSError as `socket.bind` does.
        """
        return self._make_listener(resolve(address, passive=True), backlog, seconds_of(DEFAULT))

    def create_buffer(self) -> _Buffer:
        """Return one side of a connection in memory."""
        return self._make_buffer()


class InsecureClient(Client[_Buffer, _Socket]):
    """A client context that verifies less, as `insecure_configuration` says. It warns."""

    __slots__ = ()

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
        warn("InsecureClientContext", stacklevel=2)
        self._open()

    @property
    def insecure_configuration(self) -> InsecureConfiguration:
        """What is not verified."""
        assert self._insecure is not None  # noqa: S101 - the constructor put it there
        return self._insecure

    def connect(
        self,
        address: tuple[str | None, int],
        *,
        server_hostname: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> _Socket:
        """As `ClientContext.connect`, with a warning."""
        warn("InsecureClientContext.connect", stacklevel=2)
        return self._connect(address, server_hostname, timeout)

    def create_buffer(self, server_hostname: str | None = None) -> _Buffer:
        """As `ClientContext.create_buffer`, with a warning."""
        warn("InsecureClientContext.create_buffer", stacklevel=2)
        return self._make_buffer(self._name_of(server_hostname))

    def _name_of(self, name: str | None) -> str | None:
        # Where names are not checked none is needed; the server is then not told one either.
        if name is None and self.insecure_configuration.disable_hostname_check:
            return None
        return super()._name_of(name)


class InsecureServer(Server[_Buffer, _Socket]):
    """A server context that verifies less, as `insecure_configuration` says. It warns."""

    __slots__ = ()

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
        warn("InsecureServerContext", stacklevel=2)
        self._open()

    @property
    def insecure_configuration(self) -> InsecureConfiguration:
        """What is not verified."""
        assert self._insecure is not None  # noqa: S101 - the constructor put it there
        return self._insecure

    def connect(self, address: tuple[str | None, int], *, backlog: int = 128) -> _Socket:
        """As `ServerContext.connect`, with a warning."""
        warn("InsecureServerContext.connect", stacklevel=2)
        return super().connect(address, backlog=backlog)

    def create_buffer(self) -> _Buffer:
        """As `ServerContext.create_buffer`, with a warning."""
        warn("InsecureServerContext.create_buffer", stacklevel=2)
        return super().create_buffer()
