"""A process that ends while its daemon threads are busy: `python -m …conformance.exiting …`.

Run by cases (`assert_exits`) in a process of its own. The end takes long enough for each thread to
wake up in it. Before Python 3.14 the interpreter ends such threads, and must not abort. The exit
code is the one that was given, and what was registered for the end has run.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from polytls import (
    ConfigurationError,
    PresentedPeer,
    PrivateKey,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    WantReadError,
)
from polytls.testing import CertificateAuthority, KeySigner, Pair, tie
from polytls.testing.conformance.target import load

HOST = "server.example"
LOOPBACK = ("127.0.0.1", 0)
PATIENCE = 20.0

#: What the process is to exit with.
CODE = 7

#: Threads that have come to where they stay.
_arrived = threading.Semaphore(0)


#: What wakes threads when the interpreter is being finalized.
_wakes: list[Callable[[], object]] = []


class Late:
    """Wakes threads when the interpreter is being finalized, and gives them time to meet that.

    It is in `sys.modules` alone: what a thread may reach, by its frames, is never freed.
    """

    def __del__(self) -> None:
        for wake in _wakes:
            wake()
        time.sleep(0.2)
        os.write(1, b"finalized\n")


class Ground:
    """Contexts without callbacks, and daemon threads."""

    def __init__(self, name: str) -> None:
        self.made, self.ca = load(name).implementation, CertificateAuthority()
        self.trust, self.chain = self.ca.trust_store(), self.ca.issue(HOST)
        self.threads = 0
        #: Stay open.
        self.kept: list[Any] = []

    def client(self, **given: Any) -> Any:
        configuration = TLSClientConfiguration(trust_store=self.trust, **given)
        return self.made.client_context(configuration)

    def server(self, chain: SigningChain | None = None, **given: Any) -> Any:
        return self.made.server_context(TLSServerConfiguration([chain or self.chain], **given))

    def daemon(self, work: Callable[[], object]) -> None:
        """Run `work` in a thread that never ends; what it raises at the end is its matter."""

        def run() -> None:
            with suppress(Exception):
                work()

        self.threads += 1
        threading.Thread(target=run, daemon=True).start()

    def ends(self) -> tuple[Any, Any]:
        """A connection's two ends, which stay open."""
        with self.server().connect(LOOPBACK) as listener:
            accepted: list[Any] = []
            accepting = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
            accepting.start()
            client = self.client().connect(listener.getsockname(), server_hostname=HOST)
            accepting.join()
        self.kept += [client, *accepted]
        return client, accepted[0]

    def wait_for_threads(self) -> None:
        for _ in range(self.threads):
            assert _arrived.acquire(timeout=PATIENCE)


def arrived() -> None:
    _arrived.release()


def stay() -> None:
    """In a callback: for ever, and eager to go on."""
    arrived()
    while True:
        time.sleep(0.001)


def waits(ground: Ground) -> None:
    """Calls that wait for the network, which is there when it is too late."""

    def waiting(call: Callable[[], object]) -> Callable[[], object]:
        def wait() -> None:
            arrived()
            call()

        return wait

    one, other = ground.ends()
    ground.daemon(waiting(lambda: one.recv(1)))
    _wakes.append(lambda: other.close(force=True))
    one, other = ground.ends()
    ground.daemon(waiting(lambda: one.sendall(bytes(1 << 26))))
    _wakes.append(lambda: other.close(force=True))
    one, other = ground.ends()
    ground.daemon(waiting(one.close))
    _wakes.append(lambda: other.close(force=True))
    listener = ground.server().connect(LOOPBACK)
    ground.kept.append(listener)
    ground.daemon(waiting(listener.accept))
    # No resolver (`create_connection`): its encoding cannot be imported any more by then.
    caller = socket.socket()
    _wakes.append(lambda: caller.connect(address))
    address = listener.getsockname()
    silent = socket.create_server(LOOPBACK)
    there = silent.getsockname()
    ground.daemon(waiting(lambda: ground.client().connect(there, server_hostname=HOST)))
    _wakes.append(silent.close)
    # They are in their calls by then.
    time.sleep(0.1)


def calls(ground: Ground) -> None:
    """Calls without end, which raise, tell, and make objects."""
    for _ in range(4):
        pair = tie(ground.client().create_buffer(HOST), ground.server().create_buffer())

        def call(pair: Pair = pair) -> None:
            arrived()
            while True:
                with suppress(WantReadError):
                    pair.server.read(1)
                assert pair.client.getpeercert()
                assert pair.client.cipher()

        ground.daemon(call)


def _verifying(ground: Ground) -> tuple[Any, Any]:
    def verify(peer: PresentedPeer) -> None:
        del peer
        stay()

    server = ground.server(trust_store=ground.trust, peer_verifier=verify)
    return ground.client(certificate_chain=ground.ca.issue("client.example")), server


def _signing(ground: Ground) -> tuple[Any, Any]:
    class Signer(KeySigner):
        def sign(self, data: bytes, algorithm: Any) -> bytes:
            stay()
            return super().sign(data, algorithm)

    certificate, key = ground.chain.leaf
    assert key is not None
    signing = (certificate, PrivateKey.from_signer(Signer(key)))
    return ground.client(), ground.server(SigningChain(signing, ground.chain.chain))


def _telling(ground: Ground) -> tuple[Any, Any]:
    def log(line: str) -> None:
        del line
        stay()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ground.client(), ground.server(key_log=log)


def _each_callback(ground: Ground) -> list[tuple[Any, Any]]:
    """Contexts with each callback that there is, on the server."""
    found = []
    for make in (_verifying, _signing, _telling):
        with suppress(ConfigurationError):
            found.append(make(ground))
    assert found
    return found


def callbacks_of_callers(ground: Ground) -> None:
    """Callbacks in the thread that has made the call: of a buffer, and of a socket."""
    for client, server in _each_callback(ground):
        pair = Pair(client.create_buffer(HOST), server.create_buffer())
        ground.daemon(pair.handshake)
        one, other = socket.socketpair()
        ground.kept += [one, other]
        if not hasattr(client, "wrap_socket"):
            continue
        ground.daemon(partial(server.wrap_socket, other))
        # It waits for an answer; the process ends first.
        ground.daemon(partial(client.wrap_socket, one, server_hostname=HOST))
        ground.threads -= 1


def callbacks_of_listeners(ground: Ground) -> None:
    """Callbacks for the clients of a listener, in whatever thread it calls them."""
    for client, server in _each_callback(ground):
        listener = server.connect(LOOPBACK)
        ground.kept.append(listener)
        ground.daemon(listener.accept)
        address = listener.getsockname()
        for _ in range(2):
            ground.daemon(partial(client.connect, address, server_hostname=HOST))
        # One for the listener and two for its clients: the callbacks arrive, and nobody else does.
        # A key log is called in the thread that accepts, for one client alone.
        ground.threads -= 1 if server.handshake_may_block else 2


def finalizers(ground: Ground) -> None:
    """Connections that are used when the interpreter is finalized."""
    one, other = ground.ends()

    def talk() -> None:
        one.sendall(b"at the end")
        assert other.recv(100) == b"at the end"
        other.close(force=True)
        one.close()
        os.write(1, b"closed\n")

    _wakes.append(talk)


CASES = {
    "waits": waits,
    "calls": calls,
    "callbacks of callers": callbacks_of_callers,
    "callbacks of listeners": callbacks_of_listeners,
    "finalizers": finalizers,
}


def assert_exits(name: str, case: str) -> None:
    """Run this file, and hold it to what it says above."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, name, case],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    said = ["cleaned up", *(["closed"] if case == "finalizers" else []), "finalized"]
    assert (done.returncode, done.stdout.splitlines()) == (CODE, said), done.stderr
    assert done.stderr == ""


if __name__ == "__main__":
    ground = Ground(sys.argv[1])
    CASES[sys.argv[2]](ground)
    ground.wait_for_threads()
    sys.modules[f"{__name__}.late"] = Late()  # type: ignore[assignment]
    atexit.register(print, "cleaned up", flush=True)
    sys.exit(CODE)
