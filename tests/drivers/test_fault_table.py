"""The fault table: what can go wrong with a socket, on either side of it, and what is told then.

`TABLE` has a row for each fault, and in it a cell for a client's socket and one for a server's. A
cell is here, as an outcome (the class of the error, and its facts) of a function of this file; or
in the conformance kit, by the name of its case; or it says why there is none. Both hold for every
implementation. Around each cell of this file descriptors and threads are counted, and after the
fault every byte that came before it was received.

`tests/drivers/test_every_offset.py` has cuts and resets at every byte, and delays.
"""

from __future__ import annotations

import ast
import errno
import gc
import os
import resource
import select
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

import polytls
from polytls import (
    AlertReceived,
    PeerMisbehaved,
    RaggedEOF,
    TLSVersion,
    WantReadError,
    WantWriteError,
)
from polytls.testing import conformance
from polytls.testing.certificates import pem
from polytls.testing.conformance.raw_peer import RawPeer, reset
from polytls.testing.conformance.tables import read, table_of

PATIENCE: Final = 30.0
#: The timeout that is waited for, in seconds.
SHORT: Final = 0.15
#: How long what a fault leaves behind may take to go away, in seconds.
SETTLING: Final = 2.0

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
#: Kinds of records, and messages of the handshake.
ALERT, HANDSHAKE, DATA = 21, 22, 23
HELLO_REQUEST = b"\0\0\0\0"
#: A well-formed one: version, random, no session, one suite, no compression.
CLIENT_HELLO = b"\x01\0\0\x29\x03\x03" + bytes(32) + b"\0\0\x02\xc0\x2f\x01\0"


# --- the scene: a socket of ours, and a peer that can do anything ---


class Scene:
    """Our socket on one side, and what makes the other side."""

    def __init__(
        self,
        lab: Any,
        role: str,
        version: TLSVersion,
        threads: ThreadPoolExecutor,
        forger: Callable[..., Any],
    ) -> None:
        self.lab, self.role, self.version, self.threads = lab, role, version, threads
        self._forger = forger
        self._closing = ExitStack()
        #: Our socket, once there is one.
        self.ours: Any = None
        self.plain: socket.socket

    def close(self) -> None:
        self._closing.close()

    def begin(self, timeout: float = PATIENCE) -> Any:
        """A plain peer, and our handshake waiting in a thread: its task."""
        if self.role == "client":
            there = self._closing.enter_context(socket.create_server(("127.0.0.1", 0)))
            task = self.threads.submit(self._dial, there.getsockname(), timeout)
            self.plain = self._closing.enter_context(there.accept()[0])
        else:
            server = self.lab.server(sessions=None)
            listener = self._closing.enter_context(server.connect(("127.0.0.1", 0)))
            listener.setblocking(False)
            self.plain = self._closing.enter_context(
                socket.create_connection(listener.getsockname())
            )
            assert select.select([listener], [], [], PATIENCE)[0]
            self.ours = self._closing.enter_context(listener.accept()[0])
            self.ours.settimeout(timeout)
            task = self.threads.submit(self.ours.do_handshake)
        self.plain.settimeout(PATIENCE)
        self.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return task

    def _dial(self, address: tuple[str, int], timeout: float) -> None:
        context = self.lab.client(version=self.version, sessions=None)
        self.ours = self._closing.enter_context(
            context.connect(address, server_hostname=self.lab.host, timeout=timeout)
        )

    def buffer(self) -> Any:
        """The peer's side, as a buffer."""
        if self.role == "client":
            return self.lab.server(sessions=None).create_buffer()
        return self.lab.client(version=self.version, sessions=None).create_buffer(self.lab.host)

    def connect(self) -> RawPeer:
        """The handshake is done; the peer is a buffer over a plain socket."""
        task = self.begin()
        peer = RawPeer(self.buffer(), self.plain)
        peer.drive(peer.buffer.do_handshake)
        task.result(PATIENCE)
        return peer

    def forge(self) -> Any:
        """The handshake is done; the peer seals whatever it is told to."""
        task = self.begin()
        forger = self._forger(self)
        forger.handshake()
        task.result(PATIENCE)
        return forger

    def fill(self) -> int:
        """Send until nothing more is taken; return how much was."""
        self.ours.setblocking(False)
        taken = 0
        with suppress(WantWriteError):
            while True:
                taken += self.ours.send(bytes(65536))
        self.ours.settimeout(PATIENCE)
        return taken


@pytest.fixture
def scene(
    lab: Any,
    role: str,
    version: TLSVersion,
    threads: ThreadPoolExecutor,
    forger: Any,
    tmp_path: Path,
) -> Iterator[Scene]:
    """The place of a fault."""

    def make(scene: Scene) -> Any:
        theirs = "server" if scene.role == "client" else "client"
        server = theirs == "server"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=lab.ca.certificate_pem.decode())
        if server:
            certificate, key = lab.chain().leaf
            for name, label, what in (
                ("cert", "CERTIFICATE", certificate),
                ("key", "PRIVATE KEY", key),
            ):
                (tmp_path / name).write_bytes(pem(label, what.buffer))
            context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        native = {V12: ssl.TLSVersion.TLSv1_2, V13: ssl.TLSVersion.TLSv1_3}[version]
        context.minimum_version = context.maximum_version = native
        context.set_ciphers("ECDHE+AESGCM")
        return forger(scene.plain, context, theirs, lab.host, tmp_path / "secrets")

    made = Scene(lab, role, version, threads, make)
    yield made
    made.close()


def raised(call: Callable[..., Any], *given: Any) -> BaseException | None:
    """What `call` raises."""
    try:
        call(*given)
    except BaseException as error:
        return error
    return None


def everything(peer: RawPeer) -> int:
    """How many bytes of data come until our close_notify."""
    count = 0
    while data := peer.drive(peer.buffer.read, 1 << 20):
        count += len(data)
    return count


def assert_all_arrives(scene: Scene, peer: RawPeer, taken: int) -> None:
    """What was taken, and no more, comes to the peer when it reads at last."""
    counting = scene.threads.submit(everything, peer)
    scene.ours.settimeout(PATIENCE)
    scene.ours.close(force=True)
    assert counting.result(PATIENCE) == taken


def assert_goes_on(scene: Scene, peer: RawPeer) -> None:
    """Data goes both ways as if nothing had been."""
    scene.ours.settimeout(PATIENCE)
    peer.drive(peer.buffer.write, b"goes on")
    assert scene.ours.recv(100) == b"goes on"
    scene.ours.sendall(b"goes on too")
    assert peer.read(11) == b"goes on too"


# --- time ---


def no_handshake(scene: Scene) -> BaseException | None:
    return scene.begin(SHORT).exception(PATIENCE)


def no_data(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    scene.ours.settimeout(SHORT)
    error = raised(scene.ours.recv, 100)
    assert_goes_on(scene, peer)
    return error


def no_room(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    taken = scene.fill()
    scene.ours.settimeout(SHORT)
    error = raised(scene.ours.send, b"not taken")
    assert_all_arrives(scene, peer, taken)
    return error


def no_goodbye(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    scene.ours.settimeout(SHORT)
    error = raised(scene.ours.close)
    assert scene.ours.fileno() == -1
    # An answer of TLS 1.2 would find nobody.
    assert peer.plain.recv(1)
    return error


def half_a_record(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    peer.buffer.write(b"whole")
    record = peer.take()
    peer.plain.sendall(record[:-1])
    scene.ours.settimeout(SHORT)
    error = raised(scene.ours.recv, 100)
    peer.plain.sendall(record[-1:])
    scene.ours.settimeout(PATIENCE)
    assert scene.ours.recv(100) == b"whole"
    assert_goes_on(scene, peer)
    return error


def trickle(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    peer.buffer.write(bytes(16_000))
    record = peer.take()
    sent, stop = 0, threading.Event()

    def send() -> None:
        nonlocal sent
        while sent < len(record) and not stop.wait(0.005):
            sent += peer.plain.send(record[sent : sent + 1])

    sending = scene.threads.submit(send)
    scene.ours.settimeout(SHORT)
    start = time.monotonic()
    error = raised(scene.ours.recv, 100)
    assert time.monotonic() - start < PATIENCE / 2
    stop.set()
    sending.result(PATIENCE)
    peer.plain.sendall(record[sent:])
    scene.ours.settimeout(PATIENCE)
    data = b""
    while len(data) < 16_000:
        data += scene.ours.recv(16_000)
    assert data == bytes(16_000)
    return error


# --- modes ---


def nothing_to_read(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    scene.ours.setblocking(False)
    error = raised(scene.ours.recv, 100)
    assert_goes_on(scene, peer)
    return error


def nothing_can_be_written(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    taken = scene.fill()
    scene.ours.setblocking(False)
    error = raised(scene.ours.send, b"not taken")
    assert_all_arrives(scene, peer, taken)
    return error


def partial_send(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    scene.ours.setblocking(False)
    taken = scene.ours.send(bytes(64 << 20))
    assert 0 < taken < 64 << 20
    assert_all_arrives(scene, peer, taken)
    return None


# --- signals ---


class Stopped(Exception):
    """Raised by a signal's handler."""


def stop(*_: object) -> None:
    raise Stopped


@contextmanager
def alarm(handler: Callable[..., None], every: float = 0.0) -> Iterator[None]:
    """SIGALRM comes soon, and again if so wished."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, SHORT, every)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def signal_in_recv(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    with alarm(stop):
        error = raised(scene.ours.recv, 100)
    assert_goes_on(scene, peer)
    return error


def signal_in_sendall(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    with alarm(stop):
        error = raised(scene.ours.sendall, bytes(64 << 20))
    counting = scene.threads.submit(everything, peer)
    scene.ours.sendall(b"the end")
    scene.ours.close(force=True)
    assert len(b"the end") < counting.result(PATIENCE) < 64 << 20
    return error


def signal_in_close(scene: Scene) -> BaseException | None:
    scene.connect()
    with alarm(stop):
        error = raised(scene.ours.close)
    assert scene.ours.fileno() == -1
    return error


def signals_that_return(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    ran = threading.Event()

    def write() -> None:
        assert ran.wait(PATIENCE)
        peer.drive(peer.buffer.write, b"at last")

    writing = scene.threads.submit(write)
    with alarm(lambda *_: ran.set(), every=0.01):
        assert scene.ours.recv(100) == b"at last"
    writing.result(PATIENCE)
    assert_goes_on(scene, peer)
    return None


# --- peers that go away ---


def reset_in_handshake(scene: Scene) -> BaseException | None:
    task = scene.begin()
    if scene.role == "client":
        assert scene.plain.recv(1)
    reset(scene.plain)
    return task.exception(PATIENCE)


def reset_while_sending(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    scene.fill()
    peer.reset()
    error = raised(scene.ours.sendall, b"nobody is there")
    again = raised(scene.ours.sendall, b"nobody is there")
    assert isinstance(again, ConnectionError)
    return error


def end_in_handshake(scene: Scene) -> BaseException | None:
    task = scene.begin()
    if scene.role == "client":
        assert scene.plain.recv(1)
    scene.plain.shutdown(socket.SHUT_WR)
    return task.exception(PATIENCE)


def dribbled_handshake(scene: Scene) -> BaseException | None:
    class Dribble(RawPeer):
        def flush(self) -> None:
            for byte in self.take():
                self.plain.send(bytes([byte]))
                time.sleep(0.0002)

    task = scene.begin()
    peer = Dribble(scene.buffer(), scene.plain)
    peer.drive(peer.buffer.do_handshake)
    task.result(PATIENCE)
    assert_goes_on(scene, peer)
    return None


def dribbled_data(scene: Scene) -> BaseException | None:
    peer = scene.connect()
    peer.buffer.write(b"little by little" * 20)
    for byte in peer.take():
        peer.plain.send(bytes([byte]))
        time.sleep(0.0002)
    data = b""
    while len(data) < 320:
        data += scene.ours.recv(1000)
    assert data == b"little by little" * 20
    assert_goes_on(scene, peer)
    return None


# --- peers that say what is seldom said ---


def continues(scene: Scene, forger: Any) -> None:
    """What was forged has done no harm."""
    forger.say(DATA, b"goes on")
    assert scene.ours.recv(100) == b"goes on"
    scene.ours.sendall(b"goes on too")
    while (heard := forger.hear()) != (DATA, b"goes on too"):
        # What it had to say to that.
        assert heard is not None
        assert heard[0] in (HANDSHAKE, ALERT)


def ends(scene: Scene, forger: Any) -> BaseException | None:
    """What was forged ends the connection, with data before it delivered, and an alert for it."""
    assert scene.ours.recv(100) == b"before"
    error = raised(scene.ours.recv, 100)
    again = raised(scene.ours.send, b"x")
    assert type(again) is type(error)
    assert vars(again) == vars(error)  # type: ignore[arg-type]
    return error


def refused(
    *records: tuple[int, bytes], alert: int | None
) -> Callable[[Scene], BaseException | None]:
    """The records end the connection; the peer is told by that alert, if it matters by which."""

    def act(scene: Scene) -> BaseException | None:
        forger = scene.forge()
        forger.say(DATA, b"before")
        forger.plain.sendall(b"".join(forger.seal(*record) for record in records))
        error = ends(scene, forger)
        # In TLS 1.2 warnings may have been answered before.
        while alert is not None and (heard := forger.hear()) != (ALERT, bytes([2, alert])):
            assert heard is not None
            assert heard[:1] == (ALERT,)
            assert heard[1][0] == 1, heard
        return error

    return act


def taken(*records: tuple[int, bytes]) -> Callable[[Scene], BaseException | None]:
    def act(scene: Scene) -> BaseException | None:
        forger = scene.forge()
        for record in records:
            forger.say(*record)
        continues(scene, forger)
        return None

    return act


def told_by_alert(scene: Scene) -> BaseException | None:
    forger = scene.forge()
    forger.say(DATA, b"before")
    forger.say(ALERT, bytes([2, 80]))
    return ends(scene, forger)


def keys_changed(scene: Scene) -> BaseException | None:
    forger = scene.forge()
    for request in (False, True, True, False):
        forger.update_keys(request)
        continues(scene, forger)
    return None


# --- no descriptors ---


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No descriptor can be had meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    filling: list[int] = []
    try:
        with suppress(OSError):
            while True:
                filling.append(os.dup(0))
        yield
    finally:
        for descriptor in filling:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def no_descriptor_to_connect(scene: Scene) -> BaseException | None:
    context = scene.lab.client()
    with socket.create_server(("127.0.0.1", 0)) as there, no_descriptors():
        return raised(
            lambda: context.connect(
                there.getsockname(), server_hostname=scene.lab.host, timeout=PATIENCE
            )
        )


def no_descriptor_to_accept(scene: Scene) -> BaseException | None:
    """The client waits in the system's queue, and is served later."""
    with scene.lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with socket.create_connection(listener.getsockname()) as plain:
            with no_descriptors():
                error = raised(listener.accept)
            peer = RawPeer(scene.buffer(), plain)
            shaking = scene.threads.submit(peer.drive, peer.buffer.do_handshake)
            with listener.accept()[0] as scene.ours:
                shaking.result(PATIENCE)
                assert_goes_on(scene, peer)
    return error


# --- the table ---


@dataclass(frozen=True)
class Here:
    """A cell of this file: what `act` raises, with its facts; None: nothing."""

    act: Callable[[Scene], BaseException | None]
    error: type[BaseException] | None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kit:
    """A cell of the conformance kit: its case, as `module::name`."""

    case: str


@dataclass(frozen=True)
class Nothing:
    """No cell."""

    reason: str


Cell = Here | Kit | Nothing


def kit(module: str, case: str) -> Kit:
    return Kit(f"test_socket_{module}::test_{case}")


def both(cell: Cell) -> tuple[Cell, Cell]:
    return cell, cell


NO_12 = Nothing("TLS 1.2 has no such message")

RESET = {"errno": errno.ECONNRESET}

#: Fault and version ("" is both) to a client's cell and a server's.
TABLE: Final[dict[tuple[str, str], tuple[Cell, Cell]]] = {
    # Time.
    ("nobody takes the connection", ""): (
        kit("timeouts", "connect_waits_no_longer_for_a_connection_that_nobody_takes"),
        Nothing("a server does not connect"),
    ),
    ("nobody answers the handshake", ""): both(Here(no_handshake, TimeoutError)),
    ("the handshake trickles", ""): (
        kit("timeouts", "a_server_that_trickles_does_not_prolong_connect"),
        kit("listeners", "clients_that_stall_hold_up_nobody"),
    ),
    ("accept gets no client", ""): (
        Nothing("a client does not accept"),
        kit("timeouts", "accept_waits_no_longer_and_accepts_later"),
    ),
    ("no data comes", ""): both(Here(no_data, TimeoutError)),
    ("data trickles", ""): both(Here(trickle, TimeoutError)),
    ("a record is never complete", ""): both(Here(half_a_record, TimeoutError)),
    ("the peer does not read", ""): both(Here(no_room, TimeoutError)),
    ("the peer does not read all of sendall", ""): (
        kit("timeouts", "sendalls_timeout_is_for_the_whole"),
        Nothing("it is the client's code"),
    ),
    ("the peer does not say goodbye", ""): both(Here(no_goodbye, TimeoutError)),
    # Modes.
    ("non-blocking: nothing to read", ""): both(Here(nothing_to_read, WantReadError)),
    ("non-blocking: no room to write", ""): both(Here(nothing_can_be_written, WantWriteError)),
    ("non-blocking: a part is taken", ""): both(Here(partial_send, None)),
    ("non-blocking: with a selector", ""): both(
        kit("nonblocking", "a_selector_echoes_a_mebibyte_on_both_sides_in_one_thread")
    ),
    # Signals.
    ("a handler raises in connect or accept", ""): (
        kit("signals", "a_handler_that_raises_ends_connect_and_leaves_no_descriptor"),
        kit("signals", "a_handler_that_raises_ends_accept_and_accepting_goes_on_later"),
    ),
    ("a handler raises in recv", ""): both(Here(signal_in_recv, Stopped)),
    ("a handler raises in sendall", ""): both(Here(signal_in_sendall, Stopped)),
    ("a handler raises in close", ""): both(Here(signal_in_close, Stopped)),
    ("handlers return (EINTR)", ""): both(Here(signals_that_return, None)),
    # Peers that go away.
    ("reset in the handshake", ""): both(Here(reset_in_handshake, ConnectionResetError, RESET)),
    ("reset while nothing happens", ""): both(kit("ends", "a_reset_stays_a_reset")),
    ("reset while sending", ""): both(Here(reset_while_sending, ConnectionResetError, RESET)),
    ("reset at close", ""): both(kit("ends", "the_descriptor_is_closed_even_if_the_peer_has_gone")),
    ("gone in the handshake", ""): both(
        Here(end_in_handshake, RaggedEOF, {"during_handshake": True})
    ),
    ("gone without close_notify", ""): both(
        kit("ends", "an_end_without_close_notify_is_told_after_all_data_and_for_ever")
    ),
    ("gone within a record", ""): both(kit("ends", "an_end_within_a_record_is_ragged")),
    ("half-closed", ""): both(
        kit("ends", "after_the_peers_close_notify_only_tls_1_3_goes_on_writing")
    ),
    # Peers that are slow.
    ("the handshake comes byte by byte", ""): both(Here(dribbled_handshake, None)),
    ("data comes byte by byte", ""): both(Here(dribbled_data, None)),
    ("slow clients are many", ""): (
        Nothing("a client has one peer"),
        kit("listeners", "clients_that_stall_hold_up_nobody"),
    ),
    # Peers that say what is seldom said.
    ("empty records", ""): both(Here(taken(*[(DATA, b"")] * 20), None)),
    ("an empty message of the handshake", "TLSv1.3"): both(
        # RFC 8446 5.1.
        Here(refused((HANDSHAKE, b""), alert=10), PeerMisbehaved)
    ),
    ("renegotiation", "TLSv1.2"): (
        Here(taken((HANDSHAKE, HELLO_REQUEST)), None),
        Nothing("a server does not get HelloRequest, but a ClientHello: see below"),
    ),
    ("a second ClientHello", "TLSv1.2"): (
        Nothing("a client does not get ClientHello"),
        # no_renegotiation is the answer (RFC 5246 7.2.2), and data goes on. Of many in a row rustls
        # has enough one day; OpenSSL answers each.
        Here(taken((HANDSHAKE, CLIENT_HELLO)), None),
    ),
    ("a second ClientHello", "TLSv1.3"): both(
        Here(refused((HANDSHAKE, CLIENT_HELLO), alert=10), PeerMisbehaved)
    ),
    ("renegotiation", "TLSv1.3"): both(
        Here(refused((HANDSHAKE, HELLO_REQUEST), alert=10), PeerMisbehaved)
    ),
    ("change of keys", "TLSv1.2"): both(
        Here(refused((HANDSHAKE, bytes([24, 0, 0, 1, 0])), alert=10), PeerMisbehaved)
    ),
    ("change of keys", "TLSv1.3"): both(Here(keys_changed, None)),
    ("a change of keys that is none", "TLSv1.3"): both(
        # RFC 8446 4.6.3.
        Here(refused((HANDSHAKE, bytes([24, 0, 0, 1, 2])), alert=47), PeerMisbehaved)
    ),
    ("a warning", ""): both(
        # user_canceled (RFC 8446 6.1).
        Here(taken((ALERT, bytes([1, 90]))), None)
    ),
    ("warnings without end", ""): both(
        Here(refused(*[(ALERT, bytes([1, 90]))] * 50, alert=None), PeerMisbehaved)
    ),
    ("a fatal alert", ""): both(Here(told_by_alert, AlertReceived, {"alert": 80})),
    ("a record of an unknown kind", "TLSv1.2"): both(
        # unexpected_message (RFC 5246 6); rustls says decode_error.
        Here(refused((99, b"what is this"), alert=None), PeerMisbehaved)
    ),
    ("a record of an unknown kind", "TLSv1.3"): both(
        # RFC 8446 5.
        Here(refused((99, b"what is this"), alert=10), PeerMisbehaved)
    ),
    ("a forged record", ""): both(
        kit("ends", "a_forged_record_is_told_for_ever_and_the_peer_is_told_why")
    ),
    ("plain HTTP", ""): (
        kit("listeners", "a_server_that_is_none_is_told_from_one_that_is_broken"),
        kit("listeners", "a_client_that_speaks_http_is_not_left_waiting"),
    ),
    # The system.
    ("no descriptors (EMFILE)", ""): (
        Here(no_descriptor_to_connect, OSError, {"errno": errno.EMFILE}),
        Here(no_descriptor_to_accept, OSError, {"errno": errno.EMFILE}),
    ),
}


def cells() -> Iterator[Any]:
    """The cells of this file, as parameters: fault, role, version, cell."""
    for (fault, only), row in TABLE.items():
        for role, cell in zip(("client", "server"), row, strict=True):
            for version in (V12, V13):
                if isinstance(cell, Here) and only in ("", version.value):
                    name = f"{fault}-{role}-{version.value}"
                    yield pytest.param(cell, role, version, id=name.replace(" ", "_"))


@pytest.mark.parametrize(("cell", "role", "version"), [*cells()])
def test_a_fault_is_told_as_the_table_says(
    cell: Here, scene: Scene, threads: ThreadPoolExecutor, outside: Any
) -> None:
    before = outside()
    error = cell.act(scene)
    assert type(error) is (type(None) if cell.error is None else cell.error), repr(error)
    for name, value in cell.facts.items():
        assert getattr(error, name) == value
    del error  # It keeps what it came through.
    scene.close()
    threads.shutdown()
    gc.collect()
    deadline = time.monotonic() + SETTLING
    while outside() != before and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    assert outside() == before


def cases_of_the_kit() -> set[str]:
    found = set()
    for path in Path(conformance.__file__).parent.glob("test_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                found.add(f"{path.stem}::{node.name}")
    return found


def test_the_cells_that_are_in_the_kit_are_there_and_hold_for_every_implementation() -> None:
    named = {cell.case for row in TABLE.values() for cell in row if isinstance(cell, Kit)}
    assert named <= cases_of_the_kit()
    for name in polytls.implementations():
        table = table_of(name)
        for deviation in read([table]) if table else ():
            assert deviation.pattern.partition("[")[0] not in named


def test_every_fault_has_a_cell_for_some_side() -> None:
    for fault, row in TABLE.items():
        assert not all(isinstance(cell, Nothing) for cell in row), fault
