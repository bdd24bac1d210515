"""What can go wrong with a socket: each fault as a function of its place, giving what was raised.

`test_fault_table.py` says what that has to be.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from drivers.forgery import ALERT, DATA, HANDSHAKE, Forger
from drivers.scene import PATIENCE, Scene, assert_all_arrives, assert_goes_on, everything, raised
from polytls.testing.conformance.raw_peer import RawPeer, reset

#: The timeout that is waited for, in seconds.
SHORT: Final = 0.15


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
    error = raised(scene.ours.close)
    assert scene.ours.fileno() == -1
    # An answer of TLS 1.2 would find nobody.
    assert peer.plain.recv(1)
    return error


def no_room_at_close(scene: Scene) -> BaseException | None:
    scene.connect()
    scene.fill()
    scene.ours.settimeout(SHORT)
    error = raised(scene.ours.close)
    assert scene.ours.fileno() == -1
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
    """SIGALRM comes soon, and again if requested."""
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
    scene.fill()
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


def continues(scene: Scene, forger: Forger) -> None:
    """What was forged has done no harm."""
    forger.say(DATA, b"goes on")
    assert scene.ours.recv(100) == b"goes on"
    scene.ours.sendall(b"goes on too")
    while (heard := forger.hear()) != (DATA, b"goes on too"):
        # What it had to say to that.
        assert heard is not None
        assert heard[0] in (HANDSHAKE, ALERT)


def ends(scene: Scene, forger: Forger) -> BaseException | None:
    """What was forged ends the connection, with data before it delivered, and an alert for it."""
    assert scene.ours.recv(100) == b"before"
    error = raised(scene.ours.recv, 100)
    again = raised(scene.ours.send, b"x")
    assert type(again) is type(error)
    assert vars(again) == vars(error)  # type: ignore[arg-type]
    return error


def refused(*records: tuple[int, bytes], alert: int) -> Callable[[Scene], BaseException | None]:
    """The records end the connection; the peer is told by that alert."""

    def act(scene: Scene) -> BaseException | None:
        forger = scene.forge()
        forger.say(DATA, b"before")
        forger.plain.sendall(b"".join(forger.seal(*record) for record in records))
        error = ends(scene, forger)
        # In TLS 1.2 warnings may have been answered before.
        while (heard := forger.hear()) != (ALERT, bytes([2, alert])):
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
