"""Contexts of the libraries that the Rust core drives: buffers are the core's, and so are sockets.

An implementation names its backend, which makes the engine of a configuration.
"""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from .. import _native
from ..capabilities import check
from ..certificates import loaded
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import CipherSuite, NamedGroup
from ..info import SessionStatistics
from ..interfaces import ByteStream
from ..interfaces.insecure import InsecureConfiguration
from ..names import Address
from .contexts import Client, Listening, Parameters, Server, Wrapping
from .key_log import writer

if TYPE_CHECKING:
    import socket

    from ..streams import StreamSocket

__all__ = ["NativeClient", "NativeServer"]

_Buffer = TypeVar("_Buffer", _native.TLSBuffer, _native.ExtendedTLSBuffer)
_Socket = TypeVar("_Socket", bound=_native.TLSSocket)

_C = TypeVar("_C", TLSClientConfiguration, TLSServerConfiguration)


def _opened(
    backend: _native.Backend, configuration: _C, insecure: InsecureConfiguration | None
) -> tuple[_C, _native.Effective, InsecureConfiguration | None]:
    """Judge a configuration, then read its files: what an engine is made of.

    Raises ConfigurationError.
    """
    verifies = not (insecure and insecure.disable_verification)
    effective = check(configuration, backend.capabilities, backend.id, verification=verifies)
    return loaded(configuration, backend.id), effective, insecure


class _Native:
    """What both sides have in common."""

    __slots__ = ()
    #: What makes engines, unless `_open` does it otherwise.
    _backend: ClassVar[_native.Backend]
    _configuration: TLSClientConfiguration | TLSServerConfiguration
    _insecure: InsecureConfiguration | None
    _engine: _native.ClientEngine | _native.ServerEngine

    @property
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]:
        """The suites that may be negotiated, in order of preference."""
        return self._engine.effective_ciphers

    @property
    def effective_groups(self) -> tuple[NamedGroup | int, ...]:
        """The key exchange groups that may be negotiated, in order of preference.

        Those of them that the library can choose, if it chooses one by itself.
        """
        return self._engine.effective_groups

    @property
    def statistics(self) -> SessionStatistics:
        """What has become of its connections and sessions so far."""
        return SessionStatistics(**self._engine.statistics())


class NativeClient(_Native, Client[_Buffer, _Socket], ABC):
    __slots__ = ("_engine",)
    __doc__ = Client.__doc__
    _configuration: TLSClientConfiguration
    _engine: _native.ClientEngine

    def _open(self) -> None:
        backend, configuration = self._backend, self._configuration
        opened = _opened(backend, configuration, self._insecure)
        self._engine = backend.client(*opened, key_log=writer(configuration.key_log, backend.id))

    def _admit(self, lineage: _native.Lineage, verified: str | None) -> _native.Offer:
        return self._engine.admit(lineage, verified)

    def _make_buffer(self, parameters: Parameters) -> _Buffer:
        return cast("_Buffer", self._engine.buffer(self, parameters))

    def _make_connection(
        self,
        addresses: list[Address],
        parameters: Parameters,
        timeout: float | None,
        *,
        accept_truncated_end: bool,
    ) -> _Socket:
        handle = self._engine.connect(
            self,
            parameters,
            addresses,
            timeout=timeout,
            accept_truncated_end=accept_truncated_end,
        )
        return cast("_Socket", _made(handle))

    def _make_wrapped(
        self, sock: socket.socket | ByteStream, parameters: Parameters, options: Wrapping
    ) -> StreamSocket:
        from ..streams import wrap

        return wrap(sock, self._make_buffer(parameters), **options)


class NativeServer(_Native, Server[_Buffer, _Socket], ABC):
    __slots__ = ("_engine",)
    __doc__ = Server.__doc__
    _configuration: TLSServerConfiguration
    _engine: _native.ServerEngine

    def _open(self) -> None:
        backend, configuration = self._backend, self._configuration
        opened = _opened(backend, configuration, self._insecure)
        self._engine = backend.server(*opened, key_log=writer(configuration.key_log, backend.id))

    def _make_buffer(self) -> _Buffer:
        return cast("_Buffer", self._engine.buffer(self))

    def _make_listener(
        self, addresses: list[Address], timeout: float | None, options: Listening
    ) -> _Socket:
        handle = self._engine.listen(
            self,
            addresses,
            timeout=timeout,
            handshake_may_block=self.handshake_may_block,
            **options,
        )
        return cast("_Socket", _made(handle))

    def _make_wrapped(self, sock: socket.socket | ByteStream, options: Wrapping) -> StreamSocket:
        from ..streams import wrap

        return wrap(sock, self._make_buffer(), **options)


def _made(handle: _native.SocketHandle) -> StreamSocket:
    # Costs milliseconds; buffers do without it.
    from ..streams.connection import made_of

    return made_of(handle)
