"""What an object claims by `isinstance`: it is what the capabilities say, and it works.

A program asks with `isinstance` and calls. So a method that is there only to raise is no offer, and
what the library can do is offered by every connection: over buffers, sockets and wrapped streams.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest

from polytls import (
    Capabilities,
    ConfigurationError,
    SessionStatistics,
    TLSError,
    TLSSession,
    interfaces,
)
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.upgrade import tied

#: What `polytls.interfaces` has beyond the PEP.
EXTENSIONS: Final[list[Any]] = [
    getattr(interfaces, name) for name in interfaces.__all__ if name.startswith("Supports")
]

#: Extensions that the capabilities tell of. The others have to be claimed to be there.
TOLD: Final[dict[Any, Callable[[Capabilities], bool]]] = {
    interfaces.SupportsExporter: lambda capabilities: capabilities.exporter,
    interfaces.SupportsChannelBinding: lambda capabilities: bool(capabilities.channel_bindings),
    interfaces.SupportsEarlyData: lambda capabilities: capabilities.early_data,
    interfaces.SupportsSession: lambda capabilities: capabilities.named_sessions,
}

#: Names that the PEP's buffers have with a meaning of their own.
OF_SOCKETS: Final = {interfaces.SupportsShutdown, interfaces.SupportsDoHandshake}


# --- each claim put to the test: the object that makes it, and the other end ---


def _unwrap(side: Any, other: Any, threads: Any) -> None:
    unwrapping = threads.submit(other.unwrap)
    with side.unwrap() as plain, unwrapping.result(PATIENCE) as far:
        plain.sendall(b"x")
        assert far.recv(1) == b"x"


def _shutdown(side: Any, other: Any, _: Any) -> None:
    side.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""


def _do_handshake(side: Any, _: Any, __: Any) -> None:
    assert side.do_handshake() is None


def _early_data(side: Any, _: Any, __: Any) -> None:
    # After the handshake a client comes too late, and a server knows that nothing comes any more.
    if side.context.configuration.__class__.__name__ == "TLSServerConfiguration":
        assert side.read_early_data(1) == b""
    else:
        with pytest.raises(TLSError) as late:
            side.write_early_data(b"x")
        assert not isinstance(late.value, ConfigurationError)


def _makefile(side: Any, other: Any, _: Any) -> None:
    with side.makefile("wb") as file:
        file.write(b"x")
    assert other.recv(1) == b"x"


def _sendfile(side: Any, other: Any, _: Any) -> None:
    assert side.sendfile(io.BytesIO(b"x")) == 1
    assert other.recv(1) == b"x"


def _detach(side: Any, _: Any, __: Any) -> None:
    socket.close(side.detach())


def _socket_options(side: Any, _: Any, __: Any) -> None:
    assert side.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == side.type == socket.SOCK_STREAM
    assert side.family in (socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", None))
    assert side.proto >= 0
    side.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert side.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def _key_update(side: Any, other: Any, _: Any) -> None:
    side.update_keys()
    if isinstance(side, interfaces.SupportsSendall):
        side.sendall(b"x")
        assert other.recv(1) == b"x"


def _recv_into(side: Any, other: Any, _: Any) -> None:
    other.send(b"x")
    assert side.recv_into(bytearray(1)) == 1


def _sendall(side: Any, other: Any, _: Any) -> None:
    side.sendall(b"x")
    assert other.recv(1) == b"x"


def _pending(side: Any, _: Any, __: Any) -> None:
    assert side.pending() == 0


def _open(side: Any, other: Any, _: Any) -> None:
    other.write(b"x")
    assert side.open(other.process_outgoing(other.outgoing_bytes_buffered()), 1) == b"x"


def _seal(side: Any, other: Any, _: Any) -> None:
    other.process_incoming(side.seal(b"x"))
    assert other.read(1) == b"x"


def _timeout(side: Any, _: Any, __: Any) -> None:
    side.settimeout(PATIENCE)
    assert side.gettimeout() == PATIENCE
    assert side.getblocking() is True
    side.setblocking(False)
    assert side.gettimeout() == 0


def _fileno(side: Any, _: Any, __: Any) -> None:
    assert side.fileno() >= 0


def _info(side: Any, _: Any, __: Any) -> None:
    assert side.info.version is side.negotiated_tls_version is not None


def _session(side: Any, _: Any, __: Any) -> None:
    serves = side.context.configuration.__class__.__name__ == "TLSServerConfiguration"
    assert isinstance(side.session, type(None) if serves else TLSSession)


def _exporter(side: Any, other: Any, _: Any) -> None:
    asked = ("EXPORTER-claims", None, 32)
    assert side.export_keying_material(*asked) == other.export_keying_material(*asked)


def _channel_binding(side: Any, other: Any, _: Any, kinds: frozenset[str]) -> None:
    for kind in kinds:
        assert side.channel_binding(kind) == other.channel_binding(kind)


def _effective_ciphers(context: Any, _: Any, __: Any) -> None:
    assert context.effective_ciphers


def _statistics(context: Any, _: Any, __: Any) -> None:
    assert type(context.statistics) is SessionStatistics


def _handshake_may_block(context: Any, _: Any, __: Any) -> None:
    assert context.handshake_may_block is False


PROBES: Final[dict[Any, Callable[..., None]]] = {
    interfaces.SupportsChannelBinding: _channel_binding,
    interfaces.SupportsDetach: _detach,
    interfaces.SupportsDoHandshake: _do_handshake,
    interfaces.SupportsEarlyData: _early_data,
    interfaces.SupportsEffectiveCiphers: _effective_ciphers,
    interfaces.SupportsExporter: _exporter,
    interfaces.SupportsFileno: _fileno,
    interfaces.SupportsHandshakeMayBlock: _handshake_may_block,
    interfaces.SupportsInfo: _info,
    interfaces.SupportsSession: _session,
    interfaces.SupportsKeyUpdate: _key_update,
    interfaces.SupportsMakefile: _makefile,
    interfaces.SupportsOpen: _open,
    interfaces.SupportsPending: _pending,
    interfaces.SupportsRecvInto: _recv_into,
    interfaces.SupportsSeal: _seal,
    interfaces.SupportsSendall: _sendall,
    interfaces.SupportsSendfile: _sendfile,
    interfaces.SupportsShutdown: _shutdown,
    interfaces.SupportsSocketOptions: _socket_options,
    interfaces.SupportsStatistics: _statistics,
    interfaces.SupportsTimeout: _timeout,
    interfaces.SupportsUnwrap: _unwrap,
}

#: `wrap_socket` is put to the test by the connections of `_wrapped`.
WRAPPING: Final = {interfaces.SupportsClientWrapSocket, interfaces.SupportsServerWrapSocket}


# --- the objects: pairs of ends, or of contexts ---


class _Stream:
    """What carries bytes over a socket, and is none."""

    def __init__(self, below: socket.socket) -> None:
        self.recv, self.send, self.close = below.recv, below.send, below.close


@contextmanager
def _contexts(lab: Any, _: Any, **given: Any) -> Iterator[tuple[Any, Any]]:
    yield lab.client(**given), lab.server(**given)


@contextmanager
def _buffers(lab: Any, _: Any, **given: Any) -> Iterator[tuple[Any, Any]]:
    pair = lab.connect(lab.client(**given), lab.server(**given))
    assert lab.drain(pair.client) == b""  # The tickets of TLS 1.3.
    yield pair.client, pair.server


@contextmanager
def _sockets(lab: Any, threads: Any, **given: Any) -> Iterator[tuple[Any, Any]]:
    with lab.server(**given).connect(("127.0.0.1", 0)) as listener, ExitStack() as closing:
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        client = closing.enter_context(
            lab.client(**given).connect(
                listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
            )
        )
        accepted = closing.enter_context(accepting.result(PATIENCE)[0])
        accepted.settimeout(PATIENCE)
        yield client, accepted


@contextmanager
def _wrapped(
    lab: Any, threads: Any, *, below: Callable[[Any], Any] = lambda plain: plain, **given: Any
) -> Iterator[tuple[Any, Any]]:
    with tied() as (one, other), ExitStack() as closing:
        for plain in (one, other):
            plain.settimeout(PATIENCE)
        serving = threads.submit(lab.server(**given).wrap_socket, below(other))
        client = closing.enter_context(lab.client(**given).wrap_socket(below(one), lab.host))
        yield client, closing.enter_context(serving.result(PATIENCE))


def _over_streams(lab: Any, threads: Any, **given: Any) -> Any:
    return _wrapped(lab, threads, below=_Stream, **given)


each_connection = pytest.mark.parametrize(
    "made",
    [
        pytest.param(_buffers, id="buffers"),
        pytest.param(_sockets, id="sockets"),
        pytest.param(_wrapped, id="wrapped", marks=needs("wrap_socket")),
        pytest.param(_over_streams, id="over streams", marks=needs("wrap_socket")),
    ],
)
each_object = pytest.mark.parametrize(
    "made",
    [
        pytest.param(_contexts, id="contexts"),
        pytest.param(_buffers, id="buffers"),
        pytest.param(_sockets, id="sockets"),
        pytest.param(_wrapped, id="wrapped", marks=needs("wrap_socket")),
    ],
)


def _asking(protocol: Any, capabilities: Capabilities) -> dict[str, Any]:
    """What contexts are to be given so that the extension is of use."""
    asked = protocol is interfaces.SupportsEarlyData and capabilities.early_data
    return {"early_data": True} if asked else {}


# --- the cases ---


@pytest.mark.parametrize("protocol", TOLD, ids=lambda each: each.__name__)
@each_connection
def test_a_connection_offers_what_the_capabilities_say(
    lab: Any, made: Any, protocol: Any, threads: Any
) -> None:
    capabilities = lab.implementation.capabilities
    with made(lab, threads) as ends:
        for side in ends:
            assert isinstance(side, protocol) is TOLD[protocol](capabilities)


@pytest.mark.parametrize("protocol", EXTENSIONS, ids=lambda each: each.__name__)
@each_object
def test_what_an_object_claims_it_does(lab: Any, made: Any, protocol: Any, threads: Any) -> None:
    assert {*PROBES, *WRAPPING} == set(EXTENSIONS), "every extension is put to the test"
    if protocol in WRAPPING or (made is _buffers and protocol in OF_SOCKETS):
        return
    capabilities = lab.implementation.capabilities
    further: dict[str, Any] = {}
    if protocol is interfaces.SupportsChannelBinding:
        further["kinds"] = capabilities.channel_bindings
    for which in (0, 1):
        with made(lab, threads, **_asking(protocol, capabilities)) as ends:
            if isinstance(ends[which], protocol):
                PROBES[protocol](ends[which], ends[1 - which], threads, **further)
