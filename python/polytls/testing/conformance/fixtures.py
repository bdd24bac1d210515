"""What all cases share: a watch over descriptors and threads, and connections quick to make.

Of polytls's own tests, a conftest that defines `implementation` may import them too.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from polytls import TLSImplementation, TLSVersion, WantReadError
from polytls.testing import CertificateAuthority, Pair

from .lab import PATIENCE, Lab, give_up
from .leftovers import RAISED, Census
from .raw_peer import RawPeer
from .target import signers
from .upgrade import Upgrade

__all__ = [
    "ca",
    "census",
    "connected",
    "ends",
    "lab",
    "leaves_nothing_behind",
    "one",
    "rng",
    "threads",
    "upgrade",
    "version",
]

#: How long what a test leaves behind may take to go away, in seconds.
_SETTLING = 2.0

_DESCRIPTORS = next(filter(os.path.isdir, ("/proc/self/fd", "/dev/fd")), None)


def _open_descriptors() -> dict[int, tuple[int, int]]:
    """The open descriptors, each with what tells its file; empty where they cannot be listed."""
    found = {}
    for name in os.listdir(_DESCRIPTORS) if _DESCRIPTORS else ():  # noqa: PTH208 - numbers
        try:
            status = os.fstat(int(name))
        except OSError:  # The one that the listing itself used.
            continue
        found[int(name)] = (status.st_dev, status.st_ino)
    return found


def _outside() -> tuple[dict[int, tuple[int, int]], set[threading.Thread]]:
    return _open_descriptors(), set(threading.enumerate())


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Hold descriptors and threads after each test against those before it."""
    gc.collect()
    before = _outside()
    yield
    # pytest keeps the last failure here, for debuggers, and with it what that test had open.
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)
    deadline = time.monotonic() + _SETTLING
    gc.collect()
    while (after := _outside()) != before and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    assert after == before, "descriptors or threads differ before and after the test"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers, the same in every run of one test."""
    return random.Random(request.node.name)


@pytest.fixture(params=[TLSVersion.TLSv1_2, TLSVersion.TLSv1_3], ids=lambda version: version.value)
def version(request: pytest.FixtureRequest) -> Any:
    """Each version of TLS."""
    return request.param


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    """The authority that clients and servers trust if nothing else is said."""
    return CertificateAuthority()


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[Census]:
    """What connections leave behind. All that is reported is what callbacks have raised."""
    reported: list[Any] = []
    for hook in ("sys.unraisablehook", "threading.excepthook"):
        monkeypatch.setattr(hook, lambda what: reported.append(what.exc_type))
    yield Census()
    assert set(reported) <= set(RAISED.values())


@pytest.fixture(scope="session")
def lab(
    pytestconfig: pytest.Config,
    implementation: TLSImplementation[Any, Any],
    ca: CertificateAuthority,
) -> Lab:
    """Contexts and connections of each implementation."""
    return Lab(implementation, ca, signers(pytestconfig.getoption("--polytls-signers")))


@pytest.fixture
def connected(lab: Lab, version: TLSVersion) -> Pair:
    """A connection of each version with its handshake done and nothing on the wire."""
    pair = lab.connect(lab.client(version=version), lab.server())
    with pytest.raises(WantReadError):  # Takes in the tickets of TLS 1.3.
        pair.client.read(1)
    return pair


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that are joined at the end of the test."""
    with ThreadPoolExecutor() as executor:
        yield executor


@pytest.fixture
def ends(lab: Lab, version: TLSVersion, threads: ThreadPoolExecutor) -> Iterator[tuple[Any, Any]]:
    """A client's socket and the one accepted for it, their handshake done."""
    with ExitStack() as closing:
        listener = closing.enter_context(lab.server().connect(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        client = lab.client(version=version).connect(
            listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
        )
        closing.callback(give_up, client)
        accepted, _ = accepting.result()
        closing.callback(give_up, accepted)
        accepted.settimeout(PATIENCE)
        yield client, accepted


@pytest.fixture(params=["client", "server"])
def one(
    request: pytest.FixtureRequest, lab: Lab, version: TLSVersion, threads: ThreadPoolExecutor
) -> Iterator[tuple[Any, RawPeer]]:
    """A socket on either side, and a raw peer of it; the handshake is done."""
    with ExitStack() as closing:
        if request.param == "client":
            there = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
            buffer = lab.server().create_buffer()
            connecting = threads.submit(
                lab.client(version=version).connect,
                there.getsockname(),
                server_hostname=lab.host,
                timeout=PATIENCE,
            )
            peer = RawPeer(buffer, closing.enter_context(there.accept()[0]))
            peer.drive(buffer.do_handshake)
            ours = connecting.result()
        else:
            listener = closing.enter_context(lab.server().connect(("127.0.0.1", 0)))
            listener.settimeout(PATIENCE)
            accepting = threads.submit(listener.accept)
            buffer = lab.client(version=version).create_buffer(lab.host)
            plain = socket.create_connection(listener.getsockname())
            peer = RawPeer(buffer, closing.enter_context(plain))
            peer.drive(buffer.do_handshake)
            ours = accepting.result()[0]
            ours.settimeout(PATIENCE)
        closing.callback(give_up, ours)
        yield ours, peer


@pytest.fixture(params=["client", "server"])
def upgrade(
    request: pytest.FixtureRequest, lab: Lab, version: TLSVersion, threads: ThreadPoolExecutor
) -> Iterator[Upgrade]:
    """A plain connection that is about to become TLS, for cases that need "wrap_socket"."""
    with Upgrade(lab, request.param, version, threads) as made:
        yield made
