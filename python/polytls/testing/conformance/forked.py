"""A process that forks: `python -m polytls.testing.conformance.forked …`.

Run by cases (`assert_done_in_a_process`) in a process of its own, as its threads must not be there
when it forks. Prints «done» and exits with 0, or fails, or hangs.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from polytls import (
    PresentedPeer,
    TLSClientConfiguration,
    TLSServerConfiguration,
    WantReadError,
)
from polytls.testing import CertificateAuthority, tie
from polytls.testing.conformance.target import load

HOST = "server.example"
PATIENCE = 20.0


class Ground:
    """Contexts, a listener, and a connection to it."""

    def __init__(self, name: str) -> None:
        self.made, self.ca = load(name).implementation, CertificateAuthority()
        made, ca = self.made, self.ca
        self.client = made.client_context(TLSClientConfiguration(trust_store=ca.trust_store()))
        self.server = made.server_context(TLSServerConfiguration([ca.issue(HOST)]))
        self.listener = self.server.connect(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)

    def dial(self) -> Any:
        address = self.listener.getsockname()
        return self.client.connect(address, server_hostname=HOST, timeout=PATIENCE)

    def tie(self) -> tuple[Any, Any]:
        """A client's connection and the accepted one. No thread is left."""
        dialled: list[Any] = []
        thread = threading.Thread(target=lambda: dialled.append(self.dial()))
        thread.start()
        accepted, _ = self.listener.accept()
        thread.join()
        accepted.settimeout(PATIENCE)
        return dialled[0], accepted


def in_child(work: Callable[[], None]) -> Callable[[], None]:
    """Fork, and run `work` in the child; what is returned waits for it to succeed."""
    if sys.platform == "win32":
        raise OSError("Windows does not fork")
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def wait() -> None:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return wait


def refused(call: Callable[[], object]) -> None:
    """It raises an error that speaks of the fork."""
    error: OSError | None = None
    try:
        call()
    except OSError as raised:
        error = raised
    assert "fork" in str(error), repr(error)


def connection(ground: Ground) -> None:
    """The child is told; closing there does not end the parent's connection."""
    client, accepted = ground.tie()

    def child() -> None:
        for side in (client, accepted):
            for call in (partial(side.recv, 1), partial(side.send, b"x"), side.do_handshake):
                refused(call)
        client.close(force=True)

    in_child(child)()
    for sender, receiver in ((client, accepted), (accepted, client)):
        sender.sendall(b"goes on")
        assert receiver.recv(100) == b"goes on"
    client.close(force=True)
    assert accepted.recv(1) == b""
    accepted.close(force=True)


def unfinished(ground: Ground) -> None:
    """A connection whose handshake had begun, or not."""
    ground.listener.setblocking(False)
    with socket.create_connection(ground.listener.getsockname()):
        select.select([ground.listener], [], [], PATIENCE)
        accepted, _ = ground.listener.accept()

        def child() -> None:
            refused(accepted.do_handshake)
            refused(partial(accepted.recv, 1))

        in_child(child)()
        accepted.close(force=True)


def listener(ground: Ground) -> None:
    """One made before the fork serves in two children, which resume each other's sessions."""

    def serve() -> None:
        for _ in range(3):
            accepted, _ = ground.listener.accept()
            with accepted:
                accepted.settimeout(PATIENCE)
                accepted.sendall(accepted.recv(100))

    waits = [in_child(serve), in_child(serve)]
    for number in range(6):
        with ground.dial() as client:
            client.sendall(b"%d" % number)
            assert client.recv(100) == b"%d" % number
    for wait in waits:
        wait()


def context(ground: Ground) -> None:
    """Contexts that were in use go on in the child, and in the parent."""
    for side in ground.tie():
        side.close(force=True)

    def child() -> None:
        own = Ground.__new__(Ground)
        own.client, own.server = ground.client, ground.server
        own.listener = own.server.connect(("127.0.0.1", 0))
        talk(own)

    wait = in_child(child)
    talk(ground)
    wait()


def talk(ground: Ground) -> None:
    for _ in range(3):
        client, accepted = ground.tie()
        with client, accepted:
            client.sendall(b"hello")
            assert accepted.recv(100) == b"hello"


def held(ground: Ground) -> None:
    """A thread of the parent has the lock of a connection: the child is told at once."""
    begun, release = threading.Event(), threading.Event()

    def verify(peer: PresentedPeer) -> None:
        del peer
        begun.set()
        assert release.wait(PATIENCE)

    trust = ground.ca.trust_store()
    asking = TLSClientConfiguration(trust_store=trust, peer_verifier=verify)
    plain, other = socket.socketpair()
    with plain, other:
        server = ground.server.wrap_socket(other, do_handshake_on_connect=False)
        over = ground.made.client_context(asking).wrap_socket(
            plain, server_hostname=HOST, do_handshake_on_connect=False
        )
        threads = [threading.Thread(target=side.do_handshake) for side in (server, over)]
        for thread in threads:
            thread.start()
        assert begun.wait(PATIENCE)
        calls = [over.pending, over.do_handshake, partial(over.recv, 1)]
        capabilities = ground.made.capabilities
        if capabilities is not None and capabilities.exporter:
            calls.append(partial(over.export_keying_material, "EXPORTER-x", None, 16))
        if capabilities is not None and "tls-exporter" in capabilities.channel_bindings:
            calls.append(partial(over.channel_binding, "tls-exporter"))

        def child() -> None:
            for call in calls:
                refused(call)
            over.close()

        in_child(child)()
        release.set()
        for thread in threads:
            thread.join()
        over.sendall(b"goes on")
        server.settimeout(PATIENCE)
        assert server.recv(100) == b"goes on"
        for side in (over, server):
            side.close(force=True)


def closed_once(ground: Ground) -> None:
    """A child closes the listener's descriptor and no other, whatever threads of the parent do."""
    client, accepted = ground.tie()
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            ground.listener.getsockname()

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        ground.listener.close()
        # It may have the number that has become free.
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
        del ground.listener
        gc.collect()
        for other in others:
            os.fstat(other)

    for _ in range(20):
        in_child(child)()
    stop.set()
    for thread in threads:
        thread.join()
    for side in (client, accepted):
        side.close(force=True)


def early_data(ground: Ground) -> None:
    """What one process could take, the others cannot: neither the child nor, after it, a second."""
    trust, chain = ground.ca.trust_store(), ground.ca.issue(HOST)
    client = ground.made.client_context(TLSClientConfiguration(trust_store=trust, early_data=True))
    server = ground.made.server_context(TLSServerConfiguration([chain], early_data=True))
    first = tie(client.create_buffer(HOST), server.create_buffer())
    assert read(first.client.read) == b""
    buffer = client.create_buffer(HOST)
    assert buffer.write_early_data(b"early") == 5
    assert read(lambda _: buffer.do_handshake()) == b""
    flight = buffer.process_outgoing(buffer.outgoing_bytes_buffered())

    def taken() -> bytes:
        side = server.create_buffer()
        side.process_incoming(flight)
        data: bytes = read(side.read_early_data)
        return data

    def child() -> None:
        assert taken() == b""

    in_child(child)()
    in_child(child)()
    assert taken() == b"early"
    in_child(child)()
    assert taken() == b""


def named_session(ground: Ground) -> None:
    """A child has no tickets of its parent's: its handshake is a full one. The parent goes on."""
    first = tie(ground.client.create_buffer(HOST), ground.server.create_buffer())
    assert read(first.client.read) == b""
    session = first.client.session

    def resumed() -> bool:
        buffer = ground.client.create_buffer(HOST, session=session)
        found: bool = tie(buffer, ground.server.create_buffer()).client.info.resumed
        return found

    def child() -> None:
        assert not resumed()

    assert resumed()
    in_child(child)()
    for _ in range(5):
        assert resumed()


def read(call: Callable[[int], Any]) -> Any:
    """What it gives, or nothing."""
    try:
        return call(100)
    except WantReadError:
        return b""


CASES = {
    "connection": connection,
    "unfinished": unfinished,
    "listener": listener,
    "context": context,
    "held": held,
    "closed once": closed_once,
}

#: Run by `test_early_data.py` and `test_named_sessions.py`.
OTHERS = {"early data": early_data, "named session": named_session}


def assert_done_in_a_process(name: str, case: str) -> None:
    """Run this file, and hold it to what it says above."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, name, case],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


if __name__ == "__main__":
    ground = Ground(sys.argv[1])
    (CASES | OTHERS)[sys.argv[2]](ground)
    ground.listener.close()
    print("done")
