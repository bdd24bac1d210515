"""PEP 748 on the standard library's `ssl`, with whatever OpenSSL Python was built with.

Contexts read files and make `ssl.SSLContext`s of their configuration, once; buffers are
`StdlibBuffer`, and sockets the generic ones of `polytls.streams`.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from ...capabilities import effective_groups
from ...configuration import TLSClientConfiguration, TLSServerConfiguration
from ...constants import CipherSuite, NamedGroup
from ...info import SessionStatistics
from ...insecure import InsecureTLSImplementation
from ...interfaces import ByteStream, TLSImplementation
from ...names import Address
from ..contexts import (
    Client,
    InsecureClient,
    InsecureServer,
    Listening,
    Parameters,
    Server,
    Wrapping,
)
from .buffer import StdlibBuffer
from .credentials import NAME
from .engine import ClientEngine, ServerEngine
from .sessions import Lineage
from .settings import CAPABILITIES, validate

if TYPE_CHECKING:
    import socket

    from ...streams import StreamListener, StreamSocket

__all__ = [
    "CAPABILITIES",
    "IMPLEMENTATION",
    "INSECURE_IMPLEMENTATION",
    "StdlibClientContext",
    "StdlibInsecureClientContext",
    "StdlibInsecureServerContext",
    "StdlibServerContext",
    "validate_config",
]


def validate_config(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Refuse what this implementation cannot honour, as far as is known without files.

    Raises ConfigurationError with the field, TypeError if the configuration is none.
    """
    validate(configuration)


class _Effective:
    """What took effect of a configuration."""

    __slots__ = ()
    _configuration: TLSClientConfiguration | TLSServerConfiguration
    _engine: ClientEngine | ServerEngine

    @property
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]:
        """The suites that may be negotiated, in order of preference."""
        return self._engine.effective_ciphers

    @property
    def effective_groups(self) -> tuple[NamedGroup | int, ...]:
        """The key exchange groups that may be negotiated and that `ssl` can choose."""
        return effective_groups(self._configuration, CAPABILITIES)

    @property
    def statistics(self) -> SessionStatistics:
        """What has become of its connections and sessions so far."""
        return self._engine.counters.read()


class StdlibClientContext(_Effective, Client[StdlibBuffer, "StreamSocket"]):
    __slots__ = ("_engine",)
    __doc__ = Client.__doc__
    _configuration: TLSClientConfiguration
    _engine: ClientEngine

    def _open(self) -> None:
        self._engine = ClientEngine(self._configuration, self._insecure)

    def _admit(self, lineage: Lineage, verified: str | None) -> Lineage:
        return self._engine.admit(lineage, verified)

    def _make_buffer(self, parameters: Parameters) -> StdlibBuffer:
        return StdlibBuffer(self, self._engine.begin(parameters))

    def _make_connection(
        self,
        addresses: list[Address],
        parameters: Parameters,
        timeout: float | None,
        *,
        accept_truncated_end: bool,
    ) -> StreamSocket:
        # Costs milliseconds; buffers do without it.
        from ...streams import Deadline, connect

        deadline = Deadline.after(timeout)
        return connect(
            addresses,
            lambda: self._make_buffer(parameters),
            timeout,
            deadline,
            accept_truncated_end=accept_truncated_end,
        )

    def _make_wrapped(
        self, sock: socket.socket | ByteStream, parameters: Parameters, options: Wrapping
    ) -> StreamSocket:
        from ...streams import wrap

        return wrap(sock, self._make_buffer(parameters), **options)


class StdlibServerContext(_Effective, Server[StdlibBuffer, "StreamListener"]):
    __slots__ = ("_engine",)
    __doc__ = Server.__doc__
    _configuration: TLSServerConfiguration
    _engine: ServerEngine

    def _open(self) -> None:
        self._engine = ServerEngine(self._configuration, self._insecure)

    def _make_buffer(self) -> StdlibBuffer:
        return StdlibBuffer(self, self._engine.begin())

    def _make_listener(
        self, addresses: list[Address], timeout: float | None, options: Listening
    ) -> StreamListener:
        from ...streams import listen

        return listen(
            addresses,
            self,
            self._make_buffer,
            implementation=NAME,
            timeout=timeout,
            **options,
        )

    def _make_wrapped(self, sock: socket.socket | ByteStream, options: Wrapping) -> StreamSocket:
        from ...streams import wrap

        return wrap(sock, self._make_buffer(), **options)


class StdlibInsecureClientContext(
    InsecureClient[StdlibBuffer, "StreamSocket"], StdlibClientContext
):
    __slots__ = ()
    __doc__ = InsecureClient.__doc__


class StdlibInsecureServerContext(
    InsecureServer[StdlibBuffer, "StreamListener"], StdlibServerContext
):
    __slots__ = ()
    __doc__ = InsecureServer.__doc__


_FACTS: Final[dict[str, Any]] = {
    "name": NAME,
    "version": f"ssl, {' '.join(ssl.OPENSSL_VERSION.split()[:2])}",
    "capabilities": CAPABILITIES,
}

IMPLEMENTATION: Final = TLSImplementation(
    StdlibClientContext, StdlibServerContext, validate_config, **_FACTS
)

INSECURE_IMPLEMENTATION: Final = InsecureTLSImplementation(
    StdlibClientContext,
    StdlibServerContext,
    validate_config,
    StdlibInsecureClientContext,
    StdlibInsecureServerContext,
    **_FACTS,
)
