"""The place of a fault: a socket of ours, and a peer that can do anything."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, Final

from drivers.forgery import Forger
from polytls import TLSVersion, WantWriteError
from polytls.testing.conformance.lab import give_up
from polytls.testing.conformance.raw_peer import RawPeer

PATIENCE: Final = 30.0


class Scene:
    """Our socket on one side, and what makes the other side."""

    def __init__(
        self,
        lab: Any,
        role: str,
        version: TLSVersion,
        threads: ThreadPoolExecutor,
        forger: Callable[[Scene], Forger],
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
            self.ours = listener.accept()[0]
            self._closing.callback(give_up, self.ours)
            self.ours.settimeout(timeout)
            task = self.threads.submit(self.ours.do_handshake)
        self.plain.settimeout(PATIENCE)
        self.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return task

    def _dial(self, address: tuple[str, int], timeout: float) -> None:
        context = self.lab.client(version=self.version, sessions=None)
        self.ours = context.connect(address, server_hostname=self.lab.host, timeout=timeout)
        self._closing.callback(give_up, self.ours)

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

    def forge(self) -> Forger:
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


# --- what happens there ---


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
