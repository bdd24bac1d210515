"""The generic listener: its options, clients that stall, machines that lack something, forks."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest

import polytls
from polytls import TLSError, WantReadError
from polytls.streams import StreamSocket, listen
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import HOST, PATIENCE, Lab

LOOPBACK = ("127.0.0.1", 0, 0, 0)


@pytest.fixture(scope="module")
def lab(ca: CertificateAuthority) -> Lab:
    """What makes contexts."""
    return Lab(polytls.implementation("stdlib"), ca)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that are joined at the end of the test."""
    with ThreadPoolExecutor() as executor:
        yield executor


def listening(lab: Lab, *addresses: Any, timeout: float | None = PATIENCE, **given: Any) -> Any:
    context = lab.server()
    return listen(
        addresses or [LOOPBACK],
        context,
        context.create_buffer,
        implementation="stdlib",
        timeout=timeout,
        **given,
    )


def connect(lab: Lab, address: Any) -> Any:
    return lab.client().connect(address, server_hostname=HOST, timeout=PATIENCE)


def serve_one(lab: Lab, listener: StreamSocket, threads: ThreadPoolExecutor) -> None:
    connecting = threads.submit(connect, lab, listener.getsockname())
    with listener.accept()[0] as accepted, connecting.result(PATIENCE) as client:
        client.sendall(b"ping")
        assert accepted.recv(100) == b"ping"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"handshake_limit": 0}, "handshake_limit"),
        ({"handshake_timeout": 0}, "handshake_timeout"),
        ({"handshake_timeout": -1.0}, "handshake_timeout"),
        ({"dual_stack": True}, "dual_stack"),
    ],
)
def test_options_that_mean_nothing_are_refused(lab: Lab, given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        listening(lab, **given)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no dual stack")
def test_a_dual_stack_listener_takes_clients_of_both(lab: Lab, threads: ThreadPoolExecutor) -> None:
    with listening(lab, ("::", 0, 0, 0), dual_stack=True) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            connecting = threads.submit(connect, lab, (host, port))
            accepted, peer = listener.accept()
            with accepted, connecting.result(PATIENCE):
                assert peer[0] in ("::ffff:127.0.0.1", "::1")
    with listening(lab, ("::", 0, 0, 0)) as listener, pytest.raises(ConnectionRefusedError):
        connect(lab, ("127.0.0.1", listener.getsockname()[1]))


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")
def test_a_port_is_shared_where_all_agree(lab: Lab) -> None:
    with listening(lab, reuse_port=True) as one:
        address = (*one.getsockname(), 0, 0)
        with listening(lab, address, reuse_port=True) as other:
            assert other.getsockname() == one.getsockname()
        with pytest.raises(OSError, match="in use"):
            listening(lab, address)


def test_handshakes_can_be_left_to_others(lab: Lab, threads: ThreadPoolExecutor) -> None:
    with listening(lab, do_handshake_on_accept=False) as listener:
        with ExitStack() as closing:
            # One that stalls holds up nobody, and costs nothing.
            closing.enter_context(socket.create_connection(listener.getsockname()))
            stalled = closing.enter_context(listener.accept()[0])
            connecting = threads.submit(connect, lab, listener.getsockname())
            accepted = closing.enter_context(listener.accept()[0])
            assert accepted.negotiated_tls_version is None
            accepted.settimeout(PATIENCE)
            accepted.do_handshake()
            closing.enter_context(connecting.result(PATIENCE))
            assert accepted.negotiated_tls_version is not None
            assert stalled.negotiated_tls_version is None
        listener.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_clients_that_stall_give_way_at_the_limit(lab: Lab, threads: ThreadPoolExecutor) -> None:
    with listening(lab, handshake_limit=3, handshake_timeout=None) as listener, ExitStack() as all_:
        for _ in range(9):
            all_.enter_context(socket.create_connection(listener.getsockname()))
        for _ in range(3):
            serve_one(lab, listener, threads)
        # Without a limit of time nothing else has made room for them.
        assert listener.failed_handshakes >= 7


def test_a_handshake_has_its_time_and_no_more(lab: Lab, threads: ThreadPoolExecutor) -> None:
    with (
        listening(lab, handshake_timeout=0.2) as listener,
        socket.create_connection(listener.getsockname()) as stalling,
    ):
        accepting = threads.submit(listener.accept)
        stalling.settimeout(PATIENCE)
        assert stalling.recv(1) == b""
        assert not accepting.done()
        listener.close()
        with pytest.raises(OSError, match="closed"):
            accepting.result(PATIENCE)


def test_without_descriptors_accept_says_so_and_a_loop_that_goes_on_does_not_spin(
    lab: Lab, threads: ThreadPoolExecutor
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listening(lab) as listener, ExitStack() as closing:
        for _ in range(3):
            closing.enter_context(socket.create_connection(listener.getsockname()))
        # None above what is open now.
        with open(os.devnull) as probe:
            most = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        raised = 0
        try:
            listener.settimeout(0.5)
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                with pytest.raises(OSError, match=r"Too many open files|timed out") as caught:
                    listener.accept()
                raised += caught.value.errno == errno.EMFILE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        # Ten a second at most; a loop that spins has thousands.
        assert 1 <= raised <= 50
        listener.settimeout(PATIENCE)
        serve_one(lab, listener, threads)
        assert listener.failed_handshakes == 0


def test_a_listener_gives_its_descriptor_away(lab: Lab, threads: ThreadPoolExecutor) -> None:
    listener = listening(lab)
    address = listener.getsockname()
    accepting = threads.submit(listener.accept)
    time.sleep(0.05)
    descriptor = listener.detach()
    assert listener.fileno() == listener.detach() == -1
    with pytest.raises(OSError, match="closed"):
        accepting.result(PATIENCE)
    with socket.socket(fileno=descriptor) as plain, socket.create_connection(address):
        plain.settimeout(PATIENCE)
        plain.accept()[0].close()


def test_what_is_dropped_warns_and_leaves_no_descriptor(
    lab: Lab, threads: ThreadPoolExecutor
) -> None:
    listener = listening(lab)
    connecting = threads.submit(connect, lab, listener.getsockname())
    accepted, _ = listener.accept()
    client = connecting.result(PATIENCE)
    del connecting
    with pytest.warns(ResourceWarning, match="unclosed <TLSSocket of stdlib: connection"):
        del accepted
    with pytest.warns(ResourceWarning, match="unclosed <TLSSocket of stdlib: listener"):
        del listener
    with pytest.raises(TLSError):
        client.recv(1)
    client.close(force=True)


CHILDREN = """
import os, sys, threading
import polytls
from polytls import TLSError
from polytls.streams import listen, wrap
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import HOST, Lab

lab = Lab(polytls.implementation("stdlib"), CertificateAuthority())
context = lab.server()


def listening():
    address = ("127.0.0.1", 0, 0, 0)
    return listen(
        [address], context, context.create_buffer, implementation="stdlib", timeout=20
    )


def forked(work):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        return
    try:
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def refused(call, *given):
    try:
        call(*given)
    except TLSError as error:
        assert "fork" in str(error), error
    else:
        raise AssertionError("it was not refused")


def connection(listener):
    accepted = []
    thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
    thread.start()
    client = lab.client().connect(listener.getsockname(), server_hostname=HOST, timeout=20)
    thread.join()
    return client, accepted[0]


fresh, used = listening(), listening()
client, server = connection(used)
upper = []
accepting = threading.Thread(target=lambda: upper.append(wrap(server, context.create_buffer())))
accepting.start()
inner = wrap(client, lab.client().create_buffer(HOST))
accepting.join()
waiting = threading.Thread(target=lambda: upper[0].recv(5), daemon=True)
waiting.start()


def child():
    for call in (
        lambda: inner.recv(1),
        lambda: inner.send(b"x"),
        lambda: inner.shutdown(1),
        inner.unwrap,
        inner.do_handshake,
        inner.pending,
        inner.detach,
        lambda: upper[0].recv(1),
        used.accept,
        used.getsockname,
        lambda: inner.info,
    ):
        refused(call)
    assert repr(inner) and repr(used)
    # The descriptor is this process's, to be closed.
    assert inner.fileno() >= 0
    inner.settimeout(inner.gettimeout())
    # What closes says nothing to the peer, and waits for no lock.
    for each in (inner, upper[0], used):
        each.close()
        each.close()
        assert each.fileno() == -1
    # Contexts go on, and a listener that nobody has accepted from.
    one, other = connection(fresh)
    one.sendall(b"here")
    assert other.recv(10) == b"here"
    one.close(force=True)
    other.close(force=True)
    fresh.close()


forked(child)
forked(child)
inner.sendall(b"still")
waiting.join()
inner.close(force=True)
assert upper[0].recv(1) == b""
upper[0].close(force=True)
one, other = connection(fresh)
for each in (one, other, fresh, used):
    each.close(force=True)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_children_accept_for_themselves_and_touch_no_connection() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILDREN],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_many_threads_accept_while_clients_come_go_and_stall(
    lab: Lab, threads: ThreadPoolExecutor
) -> None:
    total = 60
    served = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.settimeout(PATIENCE)
                    accepted.sendall(accepted.recv(10)[::-1])
                    served.append(accepted)

    def fetch(number: int) -> bytes:
        with connect(lab, listener.getsockname()) as client:
            client.sendall(b"%04d" % number)
            return bytes(client.recv(10))

    with listening(lab, timeout=None, handshake_limit=8) as listener:
        serving = [threading.Thread(target=serve) for _ in range(4)]
        for thread in serving:
            thread.start()
        with ExitStack() as closing, ThreadPoolExecutor(8) as clients:
            for _ in range(6):
                closing.enter_context(socket.create_connection(listener.getsockname()))
            answers = clients.map(fetch, range(total))
            assert [*answers] == [(b"%04d" % number)[::-1] for number in range(total)]
        listener.close()
        for thread in serving:
            thread.join(PATIENCE)
    assert len(served) == total
    assert all(isinstance(each, StreamSocket) for each in served)


def test_a_non_blocking_listener_gives_what_is_there(lab: Lab, threads: ThreadPoolExecutor) -> None:
    with listening(lab, timeout=0.0) as listener:
        with pytest.raises(WantReadError):
            listener.accept()
        connecting = threads.submit(connect, lab, listener.getsockname())
        while True:
            try:
                accepted, _ = listener.accept()
                break
            except WantReadError:
                time.sleep(0.001)
        with accepted:
            accepted.settimeout(PATIENCE)
            accepted.do_handshake()
            connecting.result(PATIENCE).close(force=True)
